/** Links and their ends: arithmetic that must never give one address to two. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Ipv4Address, type Ipv4Prefix, ipv4FromNumber, ipv4ToNumber, parseIpv4, parsePrefix4 } from "./ipv4.ts";
import { type Ipv6Address, type Ipv6Prefix, parseIpv6, parsePrefix6, prefix6Contains } from "./ipv6.ts";
import { link4Lengths } from "./resources.ts";
import {
  link4At,
  link6At,
  linkCount4,
  linkCount6,
  notRightHand4,
  notRightHand6,
  rightHands,
  twinOf,
} from "./transport.ts";

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError("the test's own value does not parse");
  return value;
}
const four = (text: string): Ipv4Address => must(parseIpv4(text));
const six = (text: string): Ipv6Address => must(parseIpv6(text));
const pool4 = (text: string): Ipv4Prefix => must(parsePrefix4(text));
const pool6 = (text: string): Ipv6Prefix => must(parsePrefix6(text));

test.each([
  ["10.0.0.0", 31, "10.0.0.0/31", "10.0.0.0", "10.0.0.1"],
  ["10.0.0.1", 31, "10.0.0.0/31", "10.0.0.0", "10.0.0.1"],
  ["10.0.0.255", 31, "10.0.0.254/31", "10.0.0.254", "10.0.0.255"],
  ["10.0.0.4", 30, "10.0.0.4/30", "10.0.0.5", "10.0.0.6"],
  ["10.0.0.7", 30, "10.0.0.4/30", "10.0.0.5", "10.0.0.6"],
  ["255.255.255.254", 31, "255.255.255.254/31", "255.255.255.254", "255.255.255.255"],
] as const)("%s lies in the /%i link %s with ends %s and %s", (address, length, prefix, left, right) => {
  expect(link4At(four(address), length)).toEqual({ prefix, left, right });
});

test.each([
  ["2001:db8::6", "2001:db8::6/127", "2001:db8::6", "2001:db8::7"],
  ["2001:db8::ffff", "2001:db8::fffe/127", "2001:db8::fffe", "2001:db8::ffff"],
])("%s lies in the link %s with ends %s and %s", (address, prefix, left, right) => {
  expect(link6At(six(address))).toEqual({ prefix, left, right });
});

describe("what the guest of a link cannot have is refused with what it can", () => {
  test.each([
    [
      31,
      "10.0.0.4",
      "10.0.0.4 is the left-hand address, which is the host's, of the link 10.0.0.4/31: its guest has 10.0.0.5",
    ],
    [30, "10.0.0.4", "10.0.0.4 is the network address of the link 10.0.0.4/30: its guest has 10.0.0.6"],
    [
      30,
      "10.0.0.5",
      "10.0.0.5 is the left-hand address, which is the host's, of the link 10.0.0.4/30: its guest has 10.0.0.6",
    ],
    [30, "10.0.0.7", "10.0.0.7 is the broadcast address of the link 10.0.0.4/30: its guest has 10.0.0.6"],
    [31, "10.0.1.1", "10.0.1.1 is outside prefix4 10.0.0.0/24"],
    [31, "10.0.0.5", undefined],
    [30, "10.0.0.6", undefined],
    [31, "10.0.0.255", undefined],
  ] as const)("/%i %s", (length, address, says) => {
    expect(notRightHand4(pool4("10.0.0.0/24"), length, four(address))).toBe(says);
  });

  test("of IPv6, too", () => {
    const pool = pool6("2001:db8::/64");
    expect(notRightHand6(pool, six("2001:db8::8"))).toBe(
      "2001:db8::8 is the left-hand address, which is the host's, of the link 2001:db8::8/127: its guest has 2001:db8::9",
    );
    expect(notRightHand6(pool, six("2001:db9::9"))).toBe("2001:db9::9 is outside prefix6 2001:db8::/64");
    expect(notRightHand6(pool, six("2001:db8::9"))).toBeUndefined();
  });
});

const length = fc.constantFrom(...link4Lengths);
const address = fc.integer({ min: 0, max: 0xffff_ffff }).map(ipv4FromNumber);

test("two links are the same or have no address in common, and both ends are inside", () => {
  fc.assert(
    fc.property(address, address, length, (a, b, size) => {
      const [one, other] = [link4At(a, size), link4At(b, size)];
      expect(link4At(one.left, size)).toEqual(one);
      expect(link4At(one.right, size)).toEqual(one);
      expect(ipv4ToNumber(one.right) - ipv4ToNumber(one.left)).toBe(1);
      const ends = new Set([one.left, one.right, other.left, other.right]);
      expect(ends.size).toBe(one.prefix === other.prefix ? 2 : 4);
    }),
  );
});

test("the right-hand addresses of a range are exactly those that a guest may have", () => {
  const octet = fc.integer({ min: 0, max: 255 });
  fc.assert(
    fc.property(octet, octet, length, (a, b, size) => {
      const [low, high] = [Math.min(a, b), Math.max(a, b)];
      const base = ipv4ToNumber(four("10.0.0.0"));
      const { first, count, step } = rightHands(size, base + low, base + high);
      const given = Array.from({ length: count }, (_, n) => ipv4FromNumber(first + n * step));
      const wanted = Array.from({ length: high - low + 1 }, (_, n) => ipv4FromNumber(base + low + n)).filter(
        (one) => notRightHand4(pool4("10.0.0.0/24"), size, one) === undefined,
      );
      expect(given).toEqual(wanted);
    }),
  );
});

test("every IPv4 link has a twin of its own in a pool that counts as large enough, and never the first", () => {
  const pools = { prefix4: pool4("10.0.0.0/24"), prefix6: pool6("2001:db8::1:0/119") };
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 255 }), length, (last, size) => {
      expect(linkCount6(pools.prefix6)).toBeGreaterThanOrEqual(linkCount4(pools.prefix4, size));
      const twin = twinOf(pools, size, ipv4FromNumber(ipv4ToNumber(four("10.0.0.0")) + last));
      expect(prefix6Contains(pools.prefix6, twin)).toBe(true);
      expect(notRightHand6(pools.prefix6, twin)).toBeUndefined();
      expect(twin).not.toBe("2001:db8::1:1");
    }),
  );
  const twins = new Set(Array.from({ length: 128 }, (_, n) => twinOf(pools, 31, four(`10.0.0.${2 * n + 1}`))));
  expect(twins.size).toBe(128);
});

test("twins of the ends of a pool, with a carry", () => {
  const pools = { prefix4: pool4("10.0.0.0/16"), prefix6: pool6("2001:db8::/64") };
  expect(twinOf(pools, 31, four("10.0.0.1"))).toBe("2001:db8::3");
  expect(twinOf(pools, 31, four("10.0.255.255"))).toBe("2001:db8::1:1");
  expect(twinOf(pools, 30, four("10.0.0.2"))).toBe("2001:db8::3");
});
