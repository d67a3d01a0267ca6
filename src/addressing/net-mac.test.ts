/** MACs that spell a guest's settings: both directions, and everything that cannot be said in them. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ipv4FromNumber, parseIpv4, parsePrefix4 } from "../model/ipv4.ts";
import { isGroupMac, macFromBytes, parseMac } from "../model/mac.ts";
import { randomMac } from "./mac-scheme.ts";
import { macFromSettings, type NetSettings, settingsFromMac, unspellable } from "./net-mac.ts";

function settings(text: string): NetSettings {
  const [, address = "", length, gateway = ""] = /^(.*)\/(\d+) (.*)$/.exec(text) ?? [];
  const [own, gate] = [parseIpv4(address), parseIpv4(gateway)];
  if (own === undefined || gate === undefined) throw new TypeError(text);
  return { address: own, length: Number(length), gateway: gate };
}

describe("what a MAC can spell", () => {
  test.each([
    ["203.0.113.10/24 203.0.113.1", "82:01:cb:00:71:0a"],
    ["203.0.113.10/24 203.0.113.254", "82:fe:cb:00:71:0a"],
    ["10.64.51.7/17 10.64.0.1", "f2:01:0a:40:33:07"],
    ["10.64.51.7/22 10.64.48.255", "a2:ff:0a:40:33:07"],
    ["192.0.2.70/26 192.0.2.65", "62:41:c0:00:02:46"],
    ["192.0.2.6/30 192.0.2.5", "22:05:c0:00:02:06"],
    ["192.0.2.7/31 192.0.2.6", "12:06:c0:00:02:07"],
    ["192.0.2.7/32 192.0.2.1", "02:01:c0:00:02:07"],
  ])("%s is %s", (text, mac) => {
    expect(macFromSettings(settings(text))).toEqual({ ok: true, mac });
    const back = parseMac(mac);
    expect(back && settingsFromMac(back)).toEqual(settings(text));
  });
});

describe("what it cannot, and why", () => {
  test.each([
    ["10.0.0.5/16 10.0.0.1", "a MAC can spell prefixes from /17 to /32, and this one is a /16"],
    ["10.64.51.7/17 10.64.1.1", "10.64.1.1 is not in 10.64.0.0/24"],
    ["10.64.51.7/17 10.63.255.1", "10.63.255.1 is not in 10.64.0.0/24"],
    ["192.0.2.7/32 192.0.3.1", "192.0.3.1 is not in 192.0.2.0/24"],
    ["203.0.113.0/24 203.0.113.1", "nothing that a guest can have"],
    ["203.0.113.255/24 203.0.113.1", "nothing that a guest can have"],
    ["203.0.113.10/24 203.0.113.10", "nothing that a guest can have"],
    ["203.0.113.10/24 203.0.113.0", "nothing that a guest can have"],
    ["192.0.2.6/30 192.0.2.9", "nothing that a guest can have"],
    ["127.0.0.5/24 127.0.0.1", "nothing that a guest can have"],
    ["224.0.0.5/24 224.0.0.1", "nothing that a guest can have"],
    ["0.0.0.5/24 0.0.0.1", "nothing that a guest can have"],
  ])("%s", (text, why) => {
    const spelled = macFromSettings(settings(text));
    expect(spelled.ok ? spelled.mac : spelled.why).toContain(why);
  });

  test("a network is asked as a whole", () => {
    const why = (text: string, gateway: string) => {
      const [one, gate] = [parsePrefix4(text), parseIpv4(gateway)];
      return one === undefined || gate === undefined ? text : unspellable(one, gate);
    };
    expect(why("10.64.0.0/17", "10.64.0.1")).toBeUndefined();
    expect(why("192.0.2.6/31", "192.0.2.6")).toBeUndefined();
    expect(why("192.0.2.6/31", "192.0.2.7")).toBeUndefined();
    expect(why("10.64.0.0/16", "10.64.0.1")).toContain("/17 to /32");
    expect(why("10.64.0.0/17", "10.64.9.1")).toContain("10.64.9.1 is not in 10.64.0.0/24");
  });
});

const octet = fc.integer({ min: 0, max: 255 });
const anySettings = fc.record({
  address: fc.integer({ min: 0, max: 0xffffffff }).map(ipv4FromNumber),
  length: fc.integer({ min: 0, max: 33 }),
  gateway: fc.integer({ min: 0, max: 0xffffffff }).map(ipv4FromNumber),
});
/** Most of them can be spelled: the gateway is near. */
const likely = anySettings.chain((any) =>
  octet.map((gate) => {
    const first = Number.parseInt(any.address.split(".")[0] ?? "0", 10);
    const address = parseIpv4(any.address.replace(/^\d+/, String(1 + (first % 223)))) ?? any.address;
    const base = address.replace(/\d+$/, "");
    return { address, length: 17 + (any.length % 16), gateway: parseIpv4(`${base}${gate}`) ?? any.gateway };
  }),
);

describe("laws", () => {
  test("what is spelled is read back, in a local unicast MAC", () => {
    let spelledOnes = 0;
    fc.assert(
      fc.property(fc.oneof(likely, anySettings), (wanted) => {
        const spelled = macFromSettings(wanted);
        if (!spelled.ok) return;
        spelledOnes += 1;
        expect(settingsFromMac(spelled.mac)).toEqual(wanted);
        expect(isGroupMac(spelled.mac)).toBe(false);
        expect(Number.parseInt(spelled.mac.slice(0, 2), 16) & 0x0f).toBe(2);
      }),
      { numRuns: 2000 },
    );
    expect(spelledOnes, "the law was tried").toBeGreaterThan(100);
  });

  test("what is read spells the same MAC, and no two MACs the same settings", () => {
    const spelling = fc.tuple(fc.integer({ min: 0, max: 15 }), octet, octet, octet, octet, octet);
    let readOnes = 0;
    fc.assert(
      fc.property(spelling, ([high, ...rest]) => {
        const mac = macFromBytes(Uint8Array.of((high << 4) | 2, ...rest));
        const read = settingsFromMac(mac);
        if (read === undefined) return;
        readOnes += 1;
        expect(macFromSettings(read)).toEqual({ ok: true, mac });
      }),
      { numRuns: 2000 },
    );
    expect(readOnes, "the law was tried").toBeGreaterThan(500);
  });

  test("a MAC whose low nibble is not 2 spells nothing, and none that is drawn spells anything", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 6, maxLength: 6 }),
        fc.array(fc.uint8Array({ minLength: 6, maxLength: 6 }), { minLength: 64, maxLength: 64 }),
        (bytes, draws) => {
          fc.pre(((bytes[0] ?? 0) & 15) !== 2);
          expect(settingsFromMac(macFromBytes(bytes))).toBeUndefined();
          let at = 0;
          const random = (count: number): Uint8Array => {
            at += 1;
            return draws[at - 1] ?? new Uint8Array(count);
          };
          expect(settingsFromMac(randomMac(random, () => false))).toBeUndefined();
        },
      ),
    );
  });
});
