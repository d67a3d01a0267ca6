/** MACs that spell addresses, and MACs that are drawn. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ipv4FromNumber, parseIpv4 } from "../model/ipv4.ts";
import { isGroupMac, type MacAddress, macFromBytes, parseMac } from "../model/mac.ts";
import { ipv4FromMac, macFromIpv4, randomMac } from "./mac-scheme.ts";

const address = fc.integer({ min: 0, max: 0xffffffff }).map(ipv4FromNumber);
const sixBytes = fc.uint8Array({ minLength: 6, maxLength: 6 });

describe("the MAC that spells an address", () => {
  test.each([
    ["203.0.113.10", "fe:00:cb:00:71:0a"],
    ["0.0.0.0", "fe:00:00:00:00:00"],
    ["255.255.255.255", "fe:00:ff:ff:ff:ff"],
  ])("%s is %s", (text, mac) => {
    const parsed = parseIpv4(text);
    expect(parsed && macFromIpv4(parsed)).toBe(mac);
    const back = parseMac(mac);
    expect(back && ipv4FromMac(back)).toBe(text);
  });

  test("both directions undo each other, and no such MAC is a group address", () => {
    fc.assert(
      fc.property(address, (value) => {
        const mac = macFromIpv4(value);
        expect(ipv4FromMac(mac)).toBe(value);
        expect(isGroupMac(mac)).toBe(false);
      }),
    );
  });

  test("a MAC of any other space spells nothing", () => {
    fc.assert(
      fc.property(sixBytes, (bytes) => {
        const mac = macFromBytes(bytes);
        const spelled = ipv4FromMac(mac);
        expect(spelled === undefined ? mac.startsWith("fe:00:") : macFromIpv4(spelled) !== mac).toBe(false);
      }),
    );
  });
});

/** The given draws, one after the other, then zeros. */
function drawing(draws: readonly Uint8Array[]): (count: number) => Uint8Array {
  const left = [...draws];
  return (count) => left.shift() ?? new Uint8Array(count);
}

describe("a MAC that is drawn", () => {
  test("is locally administered, unicast and outside FE:00, whatever is drawn", () => {
    fc.assert(
      fc.property(fc.array(sixBytes, { minLength: 1, maxLength: 4 }), (draws) => {
        const mac = randomMac(drawing(draws), () => false);
        expect(Number.parseInt(mac.slice(0, 2), 16) & 3).toBe(2);
        expect(ipv4FromMac(mac)).toBeUndefined();
      }),
    );
  });

  test("FE:00 is drawn again", () => {
    expect(randomMac(drawing([Uint8Array.of(0xff, 0, 1, 2, 3, 4)]), () => false)).toBe("02:00:00:00:00:00");
  });

  test("one that somebody holds is drawn again; the same draw is taken when nobody holds it", () => {
    const draws = [Uint8Array.of(2, 1, 1, 1, 1, 1), Uint8Array.of(2, 2, 2, 2, 2, 2)];
    expect(randomMac(drawing(draws), () => false)).toBe("02:01:01:01:01:01");
    const held = new Set<string>(["02:01:01:01:01:01"]);
    expect(randomMac(drawing(draws), (mac: MacAddress) => held.has(mac))).toBe("02:02:02:02:02:02");
  });

  test("a source that repeats itself is an error, not an endless search", () => {
    expect(() => randomMac(drawing([]), () => true)).toThrow("no free MAC in 64 draws");
  });
});
