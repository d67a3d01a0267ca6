/** The table of lies on paper: complete, well named, and every lie beside a truth. Whether they are real is proved on the kernel in test/lab. */
import { describe, expect, test } from "vitest";
import { macToBytes } from "../model/mac.ts";
import { type Reason, reasonTable } from "../model/reasons.ts";
import { toHex } from "../packet/hex.ts";
import type { Attack, AttackContext } from "./attack.ts";
import { attackNamed, attacks, demoLies } from "./attacks.ts";
import { checksum, u16 } from "./forge.ts";
import { planLab } from "./topology.ts";

const { gateway, neighbour, host, prefix4, guests } = planLab({ name: "x", guests: 2, nic: "veth" });

function contextOf(serial: number): AttackContext {
  const [self, victim] = guests;
  if (self === undefined || victim === undefined) throw new TypeError("two guests");
  return { self, victim, gateway, neighbour, host, prefix4, serial };
}

const context = contextOf(7);

/** The lines of the contract that this table is about: all that judge one frame by itself. Rates and policy have their own tests. */
const lines: readonly Reason[] = [
  "mac-source",
  "vlan",
  "ethertype",
  "arp-shape",
  "arp-sender",
  "arp-target",
  "ip4-source",
  "ip4-shape",
  "dhcp-client",
  "dhcp-server",
  "broadcast",
  "multicast",
  "ip6-source",
  "nd",
  "ra",
  "ip6-shape",
  "dest-mac",
  "host",
  "tunnel",
  "routing",
];

describe("the table", () => {
  test("has a lie for every line of the contract", () => {
    const told = new Set(attacks.map((attack) => attack.reason));
    expect(lines.filter((reason) => !told.has(reason))).toEqual([]);
  });
  test("names every lie once, in words, and finds it again", () => {
    expect(new Set(attacks.map(({ name }) => name)).size).toBe(attacks.length);
    for (const attack of attacks) {
      expect(attack.name).toMatch(/^[a-z][a-z0-9-]{2,30}$/);
      expect(attackNamed(attack.name)).toBe(attack);
      if (attack.reason !== undefined) expect(reasonTable).toHaveProperty(attack.reason);
    }
    expect(() => attackNamed("truth")).toThrow(expect.objectContaining({ code: "NOT_FOUND" }));
  });
  test("has the ten of the demonstration", () => {
    expect(demoLies.map((name) => attackNamed(name).name)).toEqual([...demoLies]);
    expect(new Set(demoLies).size).toBe(10);
  });
});

describe.each(attacks.map((attack): [string, Attack] => [attack.name, attack]))("%s", (_, attack) => {
  test("is bounded, fits a frame, and is not the truth", () => {
    const lie = attack.build(context);
    const truth = new Set(attack.control.build(context).map(toHex));
    expect(lie.length).toBeGreaterThan(0);
    expect(lie.length).toBeLessThanOrEqual(256);
    for (const frame of lie) {
      expect(frame.length).toBeGreaterThanOrEqual(14);
      expect(frame.length).toBeLessThanOrEqual(1514);
      expect(truth).not.toContain(toHex(frame));
    }
  });
  test("is told again the same way, and with another serial its twin is another frame", () => {
    expect(attack.build(context)).toEqual(attack.build(contextOf(7)));
    const isArp = attack.layer === "arp";
    if (!isArp) expect(attack.control.build(context)).not.toEqual(attack.control.build(contextOf(8)));
  });
  test("lies in one way only: its source MAC is false only when that is the lie", () => {
    const own = toHex(macToBytes(context.self.mac));
    const senders = attack.build(context).map((frame) => toHex(frame.subarray(6, 12)));
    if (attack.reason === "mac-source") expect(senders).not.toContain(own);
    else expect(new Set(senders)).toEqual(new Set([own]));
  });
  test("has an honest twin: own MAC, own address, sums right", () => {
    for (const frame of attack.control.build(context)) {
      expect(frame.subarray(6, 12)).toEqual(macToBytes(context.self.mac));
      if (toHex(frame.subarray(12, 14)) !== "0800") continue;
      expect(checksum(frame.subarray(14, 34))).toBe(0);
      expect([...u16(frame.length - 14)]).toEqual([...frame.subarray(16, 18)]);
    }
  });
});

test("mac-flood never repeats a MAC and never uses a group address", () => {
  const macs = attackNamed("mac-flood")
    .build(context)
    .map((frame) => frame.subarray(6, 12));
  expect(new Set(macs.map(toHex)).size).toBe(256);
  expect(macs.filter(([first = 1]) => (first & 1) === 1)).toEqual([]);
});
