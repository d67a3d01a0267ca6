/** Who may open what to whom, on small sites; and what holds of every policy: it only ever allows. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { loadSite } from "../config/load.ts";
import { parseIp } from "../model/ip-block.ts";
import { parseObjectName } from "../model/names.ts";
import { areOpen, type FlowService, groupsOf, isOpen, policyOf } from "./policy.ts";
import { addressEnd, type EndRuling, type FlowEnd, judgeFlow, nicEnd } from "./policy-flow.ts";
import { type Members, mainAddresses, siteMembers } from "./policy-members.ts";
import { freshSite } from "./site.ts";

const lan = (name: string, octet: number, more = "", bridge = "br0"): string =>
  `{ kind: network, name: ${name}, spec: { prefix4: 10.0.${octet}.0/24, gateway4: 10.0.${octet}.1, range4: [10.0.${octet}.10-10.0.${octet}.99],
    prefix6: "2001:db8:${octet}::/64", wiring: { kind: bridged, bridge: ${bridge} }, addressing: { kind: managed, macScheme: ip }${more} } }`;
const group = (name: string, spec: object): string => JSON.stringify({ kind: "group", name, spec });
const guest = (name: string, ...nics: readonly string[]): string =>
  `{ kind: guest, name: ${name}, spec: { nics: [${nics.join(", ")}] } }`;
const nic = (groups: readonly string[], more = "", network = "lan0"): string =>
  `{ network: ${network}, groups: [${groups.join(", ")}]${more} }`;

function members(...documents: readonly string[]): Members {
  return siteMembers(freshSite(loadSite(documents.join("\n---\n"), "site.yaml"), (count) => new Uint8Array(count)));
}

function sure<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Error(what);
  return value;
}

/** `web1`, `web1/6` for its IPv6 address, or an address. */
function end(site: Members, text: string, other: string): FlowEnd {
  const address = parseIp(text);
  const [name = "", family] = text.split("/");
  const nics = (who: string) => site.ofGuest(sure(parseObjectName(who.split("/")[0] ?? ""), who)) ?? [];
  if (address !== undefined)
    return sure(addressEnd(site, address, parseIp(other) === undefined ? nics(other) : []), text);
  const own = sure(nics(name)[0], name);
  return nicEnd(site, own, sure(mainAddresses(own)[family === "6" ? 1 : 0], text));
}

const word = (ruling: EndRuling): string => {
  if (ruling.kind === "not-judged") return "-";
  if (ruling.kind === "dropped") return ruling.reason;
  return "everything" in ruling.by ? `all(${ruling.by.group ?? ""})` : `rule(${ruling.by.group})`;
};

function judged(site: Members, from: string, to: string, service: FlowService): string {
  const { egress, ingress } = judgeFlow(site, { from: end(site, from, to), to: end(site, to, from), service });
  return `${word(egress)} ${word(ingress)}`;
}
const tcp = (port: number): FlowService => ({ kind: "tcp", port });
const ping: FlowService = { kind: "icmp", type: 8, code: 0 };
const ping6: FlowService = { kind: "icmpv6", type: 128, code: 0 };

const site = members(
  lan("lan0", 0),
  lan("lan1", 1, ", groups: [web]", "br1"),
  group("web", {
    ingress: [
      { protocol: "tcp", ports: [80, "8000-8100"], from: "any" },
      { protocol: "tcp", ports: [22], from: { group: "admin" } },
      { protocol: "icmp", type: 8, from: { prefix: "198.51.100.0/24" } },
    ],
  }),
  group("db", {
    ingress: [
      { protocol: "tcp", ports: [5432], from: { group: "web" } },
      { protocol: "any", from: "network" },
    ],
    egress: [],
  }),
  group("admin", {
    egress: [
      { protocol: "tcp", to: { prefix: "2001:db8::/64" } },
      { protocol: 132, to: "network" },
    ],
  }),
  group("ping", {
    ingress: [
      { protocol: "icmp", from: "any" },
      { protocol: "icmpv6", type: 128, from: "any" },
    ],
    egress: [{ protocol: "any", to: { group: "db" } }],
  }),
  guest("web1", nic(["web"], ", allowedPairs: [{ address: 10.0.0.200 }]")),
  guest("db1", nic(["db"])),
  guest("admin1", nic(["admin"], ", addresses: [10.9.0.0/24]")),
  guest("none1", nic([], ", allowedPairs: [{ address: 10.0.0.200 }]")),
  guest("far1", nic([], "", "lan1")),
  guest("both1", nic(["ping", "db"])),
);

describe("one flow, both ends", () => {
  test.each<[string, string, FlowService, string]>([
    ["web1", "db1", tcp(5432), "all(web) rule(db)"],
    ["web1/6", "db1/6", tcp(5432), "all(web) rule(db)"],
    // Of the own network everything may come in.
    ["web1", "db1", tcp(1), "all(web) rule(db)"],
    // The groups of a network are those of its NICs that name none; group peers know no networks.
    ["far1", "db1", tcp(5432), "all(web) rule(db)"],
    ["far1", "db1", tcp(5433), "all(web) policy-ingress"],
    ["db1", "web1", tcp(80), "policy-egress rule(web)"],
    ["none1", "web1", tcp(8050), "all() rule(web)"],
    ["none1", "web1", tcp(7999), "all() policy-ingress"],
    ["none1", "web1", tcp(8101), "all() policy-ingress"],
    ["web1", "none1", tcp(80), "all(web) policy-ingress"],
    ["admin1", "web1", tcp(22), "policy-egress rule(web)"],
    ["admin1/6", "web1/6", tcp(22), "rule(admin) rule(web)"],
    ["admin1/6", "web1/6", { kind: "udp", port: 22 }, "policy-egress policy-ingress"],
    ["admin1", "db1", { kind: "protocol", number: 132 }, "rule(admin) rule(db)"],
    ["admin1", "db1", { kind: "protocol", number: 47 }, "policy-egress rule(db)"],
    // A prefix behind a NIC is as good as its address.
    ["10.9.0.77", "web1", tcp(22), "policy-egress rule(web)"],
    ["10.9.1.77", "web1", tcp(22), "- policy-ingress"],
    // Who is no guest is not judged.
    ["198.51.100.7", "web1", tcp(80), "- rule(web)"],
    ["198.51.100.7", "web1", ping, "- rule(web)"],
    ["198.51.100.7", "web1", { kind: "icmp", type: 13, code: 0 }, "- policy-ingress"],
    ["198.51.101.7", "web1", ping, "- policy-ingress"],
    ["web1", "198.51.100.7", tcp(443), "all(web) -"],
    ["db1", "198.51.100.7", tcp(443), "policy-egress -"],
    ["10.0.0.50", "db1", tcp(443), "- rule(db)"],
    ["198.51.100.7", "198.51.100.8", tcp(443), "- -"],
    // Groups add up: `ping` gives what may come in, both what may go out.
    ["198.51.100.7", "both1", ping, "- rule(ping)"],
    ["2001:db8:9::1", "both1/6", ping6, "- rule(ping)"],
    ["both1", "db1", tcp(1), "rule(ping) rule(db)"],
    ["both1", "web1", tcp(80), "policy-egress rule(web)"],
    // An address that two NICs may have is judged by the groups of both.
    ["198.51.100.7", "10.0.0.200", tcp(80), "- rule(web)"],
    ["10.0.0.200", "db1", tcp(5432), "all(web) rule(db)"],
  ])("%s > %s %j: %s", (from, to, service, expected) => {
    expect(judged(site, from, to, service)).toBe(expected);
  });

  test("an address of two bridges is the near one's, and without a near one nobody can say", () => {
    const twins = members(
      lan("lan0", 0),
      lan("lan1", 0, "", "br1"),
      guest("a", nic([], ", address4: 10.0.0.50")),
      guest("b", nic([], ", address4: 10.0.0.50, mac: 02:00:00:00:00:0b", "lan1")),
      guest("c", nic([])),
      guest("d", nic([], "", "lan1")),
    );
    const shared = sure(parseIp("10.0.0.50"), "address");
    const namesFrom = (who: string): readonly string[] | undefined =>
      addressEnd(twins, shared, twins.ofGuest(sure(parseObjectName(who), who)) ?? [])?.nics.map(({ name }) => name);
    expect([namesFrom("c"), namesFrom("d"), namesFrom("nobody")]).toEqual([["a/0"], ["b/0"], undefined]);
  });
});

describe("a NIC's groups", () => {
  const [a, b] = [sure(parseObjectName("a"), "a"), sure(parseObjectName("b"), "b")];
  test("are its own, or its network's", () => {
    expect(groupsOf({ groups: [a] }, { groups: [b] })).toEqual([a]);
    expect(groupsOf({ groups: [] }, { groups: [b] })).toEqual([b]);
    expect(groupsOf({ groups: [] }, undefined)).toEqual([]);
  });

  const openIn = { protocol: "any", from: "any" };
  test.each<[string, readonly object[], boolean]>([
    ["no group", [], false],
    ["a group of nothing", [{}], false],
    ["everything in, everything out", [{ ingress: [openIn] }], true],
    ["in from one group, out from another", [{ ingress: [openIn], egress: [] }, {}], true],
    ["out by a rule", [{ ingress: [openIn], egress: [{ protocol: "any", to: "any" }] }], true],
    ["nothing out", [{ ingress: [openIn], egress: [] }], false],
    ["everything of one protocol", [{ ingress: [{ protocol: "tcp", from: "any" }] }], false],
    ["everything of the network", [{ ingress: [{ protocol: "any", from: "network" }] }], false],
    ["out to one family", [{ ingress: [openIn], egress: [{ protocol: "any", to: { prefix: "0.0.0.0/0" } }] }], false],
  ])("%s: open %j", (_, specs, expected) => {
    const { site: held } = members(lan("lan0", 0), ...specs.map((spec, n) => group(`g${n}`, spec)));
    expect(isOpen(policyOf([...held.groups.keys()], held.groups))).toBe(expected);
    expect(areOpen([...held.groups.keys()], held.groups)).toBe(expected);
  });
});

const names = ["a", "b", "c"] as const;
const peer = fc.oneof(
  fc.constantFrom("any", "network", { prefix: "10.0.0.0/28" }, { prefix: "2001:db8::/32" }),
  fc.constantFrom(...names).map((name) => ({ group: name })),
);
const service = fc.oneof(
  fc.constantFrom({ protocol: "any" }, { protocol: "tcp" }, { protocol: 47 }),
  fc.constantFrom(80, "80-90", "85-99").map((port) => ({ protocol: "tcp", ports: [port] })),
);
const rule = (word: "from" | "to") => fc.tuple(service, peer).map(([what, who]) => ({ ...what, [word]: who }));
const rules = (word: "from" | "to") =>
  fc.uniqueArray(rule(word), { maxLength: 3, selector: (one) => JSON.stringify(one) });
interface Spec {
  readonly ingress: readonly object[];
  readonly egress?: readonly object[];
}
const spec: fc.Arbitrary<Spec> = fc
  .tuple(rules("from"), fc.option(rules("to"), { nil: undefined }))
  .map(([ingress, egress]) => ({ ingress, ...(egress === undefined ? {} : { egress }) }));
const carried = fc.subarray([...names], { minLength: 1 });
const world = fc.record({ specs: fc.tuple(spec, spec, spec), carried: fc.tuple(carried, carried) });
interface World {
  readonly specs: readonly Spec[];
  readonly carried: readonly (readonly string[])[];
}
const raise = ({ specs, carried: [first = [], second = []] }: World): Members =>
  members(
    lan("lan0", 0),
    ...names.map((name, n) => group(name, specs[n] ?? {})),
    guest("one", nic(first)),
    guest("two", nic(second)),
  );

/** Every flow there is to try between the two, by name. */
const flows = ["one>two", "two>one", "one/6>two/6", "198.51.100.7>one", "one>10.0.0.5"].flatMap((ends) =>
  ([tcp(80), tcp(88), { kind: "udp", port: 80 }, { kind: "protocol", number: 47 }] as const).map((what) => ({
    ends,
    what,
  })),
);
const allowed = (site: Members): readonly boolean[] =>
  flows.map(({ ends, what }) => {
    const [from = "", to = ""] = ends.split(">");
    return !judged(site, from, to, what).includes("policy-");
  });
const counts = { before: 0, after: 0 };

function expectWider(before: Members, after: Members): void {
  const [was, is] = [allowed(before), allowed(after)];
  counts.before += was.filter(Boolean).length;
  counts.after += is.filter(Boolean).length;
  for (const [n, flow] of flows.entries()) if (was[n] === true) expect(is[n], JSON.stringify(flow)).toBe(true);
}

describe("of every policy", () => {
  test("one more rule, or one more group, takes nothing away", () => {
    fc.assert(
      fc.property(
        world,
        fc.nat(2),
        rule("from"),
        rule("to"),
        fc.constantFrom(...names),
        (w, n, more, moreOut, extra) => {
          const before = raise(w);
          const wider = w.specs.map((one, i): Spec => {
            if (i !== n) return one;
            const grow = (list: readonly object[], added: object) =>
              list.some((own) => JSON.stringify(own) === JSON.stringify(added)) ? list : [...list, added];
            const egress = one.egress === undefined ? {} : { egress: grow(one.egress, moreOut) };
            return { ingress: grow(one.ingress, more), ...egress };
          });
          expectWider(before, raise({ ...w, specs: wider }));
          const joined = w.carried.map((own) => [...new Set([...own, extra])]);
          expectWider(before, raise({ ...w, carried: joined }));
        },
      ),
      { numRuns: 60 },
    );
    expect(counts.before, "control: flows were allowed").toBeGreaterThan(100);
    expect(counts.after, "control: and more were by more").toBeGreaterThan(counts.before);
  });

  test("the order of rules and of groups means nothing", () => {
    fc.assert(
      fc.property(world, (w) => {
        const turned = {
          specs: w.specs.map(({ ingress, egress }) => ({
            ingress: [...ingress].reverse(),
            ...(egress === undefined ? {} : { egress: [...egress].reverse() }),
          })),
          carried: w.carried.map((own) => [...own].reverse()),
        };
        expect(allowed(raise(turned))).toEqual(allowed(raise(w)));
      }),
      { numRuns: 60 },
    );
  });

  test("without egress everything goes out, whatever the other groups say", () => {
    fc.assert(
      fc.property(world, fc.nat(2), (w, n) => {
        const free = w.specs.map(
          ({ ingress, egress }, i): Spec => (i === n || egress === undefined ? { ingress } : { ingress, egress }),
        );
        const site = raise({ specs: free, carried: [[...names], []] });
        for (const what of [tcp(1), ping, { kind: "protocol", number: 132 } as const])
          expect(judged(site, "one", "198.51.100.7", what)).toMatch(/^all\([abc]\) -$/);
      }),
      { numRuns: 40 },
    );
  });

  test("a rule for a group is a rule for whoever carries it, as soon as it does and no longer", () => {
    const of = (...groups: readonly string[]): Members =>
      members(
        lan("lan0", 0),
        group("db", { ingress: [{ protocol: "tcp", ports: [5432], from: { group: "web" } }] }),
        group("web", {}),
        guest("db1", nic(["db"])),
        guest("web1", nic(groups)),
      );
    expect([of(), of("web"), of("db"), of("db", "web")].map((one) => judged(one, "web1", "db1", tcp(5432)))).toEqual([
      "all() policy-ingress",
      "all(web) rule(db)",
      "all(db) policy-ingress",
      "all(db) rule(db)",
    ]);
  });
});
