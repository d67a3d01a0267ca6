/** Whose a host name is, case by case; and what a forgotten host leaves of a claim. */
import { expect, test } from "vitest";
import type { AliveRecord, HostRecord } from "../model/hosts.ts";
import { type HostId, type InterfaceName, parseHostId, parseInterfaceName } from "../model/names.ts";
import type { NicClaim } from "../model/resources.ts";
import { forgotten, judgeName, type NameView } from "./host-names.ts";
import { holdOf } from "./nic-claims.ts";

const me = { instance: "i1", machine: "m1", epoch: "b1/1", run: "r2" };
const record = (own: Partial<HostRecord>): HostRecord => ({ ...me, version: "1", since: 1, ...own });
const alive = (own: Partial<AliveRecord>): AliveRecord => ({ ...me, version: "1", since: 1, run: "r1", ...own });
const nothing: NameView = { record: undefined, alive: undefined, holdsPorts: false };

const stolen = { instance: "i2", machine: "m2", epoch: "b2/1" };
const cases: readonly (readonly [string, Partial<NameView>, string, string])[] = [
  ["nobody's", {}, "ours i1", "ours i1"],
  ["this host's, silent", { record: record({}), holdsPorts: true }, "ours i1", "ours i1"],
  ["this host's before it was booted", { record: record({ epoch: "b0/1" }), holdsPorts: true }, "ours i1", "ours i1"],
  ["of the agent before this one", { alive: alive({}) }, "ours i1", "twin"],
  ["written by this very process", { alive: alive({ run: "r2" }) }, "ours i1", "ours i1"],
  ["this machine's before its boot, or a copy's", { alive: alive({ epoch: "b0/1" }) }, "wait", "twin"],
  ["of this kernel, with another state directory", { alive: alive({ instance: "i2" }) }, "wait", "twin"],
  ["the same, silent", { record: record({ instance: "i2" }), holdsPorts: true }, "ours i2", "ours i2"],
  ["of a copy of the state directory alone", { alive: alive({ machine: "m2" }) }, "twin", "twin"],
  ["another's", { record: record(stolen), alive: alive(stolen) }, "twin", "twin"],
  ["another's, silent, with ports", { record: record(stolen), holdsPorts: true }, "twin", "twin"],
  ["another's, silent, without any", { record: record(stolen) }, "ours i1", "ours i1"],
];

test.each(cases)("a name that is %s", (_, view, starting, later) => {
  const verdict = (isStarting: boolean): string => {
    const found = judgeName(me, { ...nothing, ...view }, isStarting);
    return found.kind === "ours" ? `ours ${found.instance}` : found.kind;
  };
  expect([verdict(true), verdict(false)]).toEqual([starting, later]);
});

function names(): { readonly a: HostId; readonly b: HostId; readonly port: InterfaceName } {
  const [a, b, port] = [parseHostId("a"), parseHostId("b"), parseInterfaceName("vif1.0")];
  if (a === undefined || b === undefined || port === undefined) throw new TypeError("names");
  return { a, b, port };
}

test("what a forgotten host had opens nowhere under its old number, and who waits for it has it", () => {
  const { a, b, port } = names();
  const here = { host: a, port };
  const there = { host: b, port };
  const held: NicClaim = { fence: 4, holder: here };
  const claims: readonly (readonly [NicClaim, NicClaim | undefined])[] = [
    [held, { fence: 5 }],
    [{ ...held, next: here }, { fence: 5 }],
    [
      { ...held, next: there, knows: ["x"] },
      { fence: 5, holder: there },
    ],
    [
      { fence: 4, holder: there, next: here },
      { fence: 4, holder: there },
    ],
    [{ fence: 4, next: here }, { fence: 4 }],
    [{ fence: 4, holder: there }, undefined],
    [{ fence: 4 }, undefined],
  ];
  for (const [claim, left] of claims) {
    expect(forgotten(claim, a), JSON.stringify(claim)).toEqual(left);
    for (const fence of [4, 5]) expect(holdOf(left ?? claim, a, { port, fence })).toBe("lost");
  }
  expect(holdOf(held, a, { port, fence: 4 }), "control").toBe("ours");
  expect(holdOf(forgotten({ ...held, next: there }, a), b, { port, fence: 5 }), "who waited opens").toBe("ours");
  expect(forgotten(undefined, a)).toBeUndefined();
});
