/**
 * Two ways to the same answer: a site's groups read rule by rule (`judgeFlow`, what `explain` tells), and the numbers that the kernel looks up (`policyFacts`).
 * Whatever the site, they must agree on any flow; and the numbers must be fit for the kernel's sets.
 */

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { network, randomSite, siteOf } from "../../test/support/policy-sites.ts";
import type { IpAddress } from "../model/ip-block.ts";
import { parseIp } from "../model/ip-block.ts";
import { policyElements } from "../ruleset/policy-elements.ts";
import type { SiteView } from "./desired.ts";
import { type FlowService, isOpen, policyOf } from "./policy.ts";
import { policyFacts } from "./policy-classes.ts";
import { addressEnd, type FlowEnd, judgeFlow } from "./policy-flow.ts";
import { createFlowJudge } from "./policy-flows.ts";
import { type Members, siteMembers } from "./policy-members.ts";

const STRANGERS = [
  "198.51.100.7",
  "198.51.100.200",
  "10.0.1.250",
  "10.0.0.200",
  "10.9.0.77",
  "2001:db8:1::77",
  "2001:db8:9::5",
  "fe80::77",
];
type Opened = Extract<FlowService, { kind: "tcp" | "udp" | "protocol" }>;
const flowService: fc.Arbitrary<Opened> = fc.oneof(
  fc.record({ kind: fc.constantFrom("tcp" as const, "udp" as const), port: fc.constantFrom(22, 80, 84, 92, 443) }),
  fc.constant<Opened>({ kind: "protocol", number: 47 }),
);
const numberOf = (one: Opened): { readonly protocol: number; readonly service: number | undefined } =>
  one.kind === "protocol"
    ? { protocol: one.number, service: undefined }
    : { protocol: one.kind === "tcp" ? 6 : 17, service: one.port };

/** What both ways say of one flow; undefined when there is no such flow. */
function bothSay(
  view: SiteView,
  members: Members,
  [from, to, opened]: readonly [IpAddress, IpAddress, Opened],
): { readonly rules: boolean; readonly numbers: boolean } | undefined {
  if (from === to || from.includes(":") !== to.includes(":")) return undefined;
  const ends = { from: addressEnd(members, from, []), to: addressEnd(members, to, []) };
  if (ends.from === undefined || ends.to === undefined) return undefined;
  const ruling = judgeFlow(members, { from: ends.from, to: ends.to, service: opened });
  // The kernel judges the NICs that are not open.
  const isJudged = ({ nics }: FlowEnd): boolean => nics.some(({ groups }) => !isOpen(policyOf(groups, view.groups)));
  const judged = { out: isJudged(ends.from), in: isJudged(ends.to) };
  return {
    rules: ruling.egress.kind !== "dropped" && ruling.ingress.kind !== "dropped",
    numbers: createFlowJudge(policyFacts(view))({ from, to, ...numberOf(opened) }, judged),
  };
}

function addressesOf(members: Members): readonly IpAddress[] {
  const own = members.all.flatMap(({ sources }) =>
    sources.flatMap(({ what }) => ("address" in what ? [what.address] : [])),
  );
  return [...own, ...STRANGERS.flatMap((text) => parseIp(text) ?? [])];
}

/** First and last key of every element, by what must not overlap: the fields before the last one. */
function stretches(view: SiteView): ReadonlyMap<string, readonly (readonly [string, string])[]> {
  const found = new Map<string, (readonly [string, string])[]>();
  const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");
  for (const { set, key, keyEnd } of policyElements(["inet"], policyFacts(view))) {
    const [first, last] = [hex(key), hex(keyEnd ?? key)];
    const at = `${set}/${keyEnd === undefined ? first : first.slice(0, set === "services" ? 16 : 8)}`;
    found.set(at, [...(found.get(at) ?? []), [first, last]]);
  }
  return found;
}

describe("a site's numbers", () => {
  test("say of every flow what its rules say", () => {
    const seen = new Set<boolean>();
    const question = fc.tuple(fc.nat(), fc.nat(), flowService);
    fc.assert(
      fc.property(randomSite, fc.array(question, { minLength: 12, maxLength: 12 }), (view, asked) => {
        const members = siteMembers(view);
        const addresses = addressesOf(members);
        for (const [a, b, opened] of asked) {
          const [from, to] = [addresses[a % addresses.length], addresses[b % addresses.length]];
          const said = from === undefined || to === undefined ? undefined : bothSay(view, members, [from, to, opened]);
          expect(said?.numbers, `${from} to ${to} ${JSON.stringify(opened)}`).toBe(said?.rules);
          if (said !== undefined) seen.add(said.rules);
        }
      }),
      { numRuns: 400 },
    );
    expect(seen, "both happen").toEqual(new Set([true, false]));
  });

  test("make elements of which no two meet", () => {
    fc.assert(
      fc.property(randomSite, (view) => {
        for (const [at, ranges] of stretches(view)) {
          const sorted = [...ranges].sort(([a], [b]) => (a < b ? -1 : 1));
          expect(
            sorted.filter(([first], n) => n > 0 && (sorted[n - 1]?.[1] ?? "") >= first),
            at,
          ).toEqual([]);
        }
      }),
      { numRuns: 200 },
    );
  });

  test("do not depend on the order things were declared in, so that a start changes nothing", () => {
    fc.assert(
      fc.property(randomSite, (view) => {
        const turned: SiteView = {
          networks: new Map([...view.networks].reverse()),
          groups: new Map([...view.groups].reverse()),
          guests: new Map([...view.guests].reverse()),
        };
        const texts = (one: SiteView): readonly string[] =>
          policyElements(["inet"], policyFacts(one))
            .map(({ set, key, keyEnd, data }) => `${set} ${key} ${keyEnd} ${data}`)
            .sort();
        expect(texts(turned)).toEqual(texts(view));
      }),
      { numRuns: 100 },
    );
  });

  test("are none where every NIC is open and no rule names a group", () => {
    const open = { ingress: [{ protocol: "any", from: "any" }] };
    const guests = (own: readonly string[]): object => ({
      kind: "guest",
      name: "g",
      spec: { nics: [{ network: "lan0", groups: own }] },
    });
    const documents = [network("lan0", 0), { kind: "group", name: "a", spec: open }];
    expect(policyElements(["inet"], policyFacts(siteOf([...documents, guests(["a"])])))).toEqual([]);
    expect(policyElements(["inet"], policyFacts(siteOf([...documents, guests([])]))).length, "control").toBeGreaterThan(
      0,
    );
  });
});
