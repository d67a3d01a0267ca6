/** Which address is next, and what is said when there is none. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Ipv4Address, ipv4FromNumber, ipv4ToNumber, parseIpv4, parsePrefix4, parseRange4 } from "../model/ipv4.ts";
import { parseInterfaceName } from "../model/names.ts";
import { link4Lengths } from "../model/resources.ts";
import { link4At } from "../model/transport.ts";
import { allocate, isAssignable, type Pool } from "./pool.ts";

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("the test's own value does not parse");
  return value;
}

const uplink = must(parseInterfaceName("eth0"));

function pool(prefix: string, gateway: string, ...ranges: readonly string[]): Pool {
  return {
    name: "lan0",
    prefix4: must(parsePrefix4(prefix)),
    gateway4: must(parseIpv4(gateway)),
    range4: ranges.map((range) => must(parseRange4(range))),
  };
}

const nobody = (): boolean => false;
const held =
  (...addresses: readonly string[]) =>
  (address: Ipv4Address): boolean =>
    addresses.includes(address);

describe("the lowest free address", () => {
  test.each([
    ["is the first of the range", pool("10.0.0.0/24", "10.0.0.1", "10.0.0.10-10.0.0.20"), nobody, "10.0.0.10"],
    ["is not one that is held", pool("10.0.0.0/24", "10.0.0.1", "10.0.0.10-10.0.0.20"), held("10.0.0.10"), "10.0.0.11"],
    ["is never the network address", pool("10.0.0.0/24", "10.0.0.9", "10.0.0.0-10.0.0.20"), nobody, "10.0.0.1"],
    ["is never the gateway", pool("10.0.0.0/24", "10.0.0.1", "10.0.0.1-10.0.0.20"), nobody, "10.0.0.2"],
    [
      "comes from the next range when one is full",
      pool("10.0.0.0/24", "10.0.0.1", "10.0.0.5", "10.0.0.9"),
      held("10.0.0.5"),
      "10.0.0.9",
    ],
    ["follows the order of the ranges", pool("10.0.0.0/24", "10.0.0.1", "10.0.0.9", "10.0.0.5"), nobody, "10.0.0.9"],
    [
      "of a /31 is the one beside the gateway",
      pool("10.0.0.0/31", "10.0.0.0", "10.0.0.0-10.0.0.1"),
      nobody,
      "10.0.0.1",
    ],
    ["is never outside the prefix", pool("10.0.0.0/30", "10.0.0.1", "9.0.0.0-10.0.0.255"), nobody, "10.0.0.2"],
  ])("%s", (_, network, taken, expected) => {
    expect(allocate(network, taken).address).toBe(expected);
  });

  test("goes on at the hint, and comes back for what was freed before it", () => {
    const network = pool("10.0.0.0/24", "10.0.0.1", "10.0.0.10-10.0.0.12");
    const first = allocate(network, nobody);
    expect(first).toEqual({ address: "10.0.0.10", next: 1 });
    expect(allocate(network, nobody, first.next).address).toBe("10.0.0.11");
    expect(allocate(network, held("10.0.0.12"), 2).address).toBe("10.0.0.10");
    expect(allocate(network, nobody, 999).address).toBe("10.0.0.10");
  });
});

describe("a pool with nothing left", () => {
  test.each([
    [pool("10.0.0.0/24", "10.0.0.1"), "network 'lan0' has no range4 to take addresses from"],
    [
      pool("10.0.0.0/30", "10.0.0.1", "10.0.0.1-10.0.0.2"),
      "network 'lan0' has no free address: all 2 of 10.0.0.1-10.0.0.2 are held or the gateway's",
    ],
    [
      pool("10.0.0.0/24", "10.0.0.1", "10.0.0.4-10.0.0.7", "10.0.0.9"),
      "network 'lan0' has no free address: all 5 of 10.0.0.4-10.0.0.7, 10.0.0.9 are held or the gateway's",
    ],
  ])("says so with its numbers", (network, message) => {
    expect(() => allocate(network, () => true)).toThrow(expect.objectContaining({ code: "POOL_EXHAUSTED", message }));
  });
});

test("a /16 that is 99 % full costs one walk for all that is left", () => {
  const network = pool("10.1.0.0/16", "10.1.0.1", "10.1.0.0-10.1.255.255");
  const last = ipv4ToNumber(must(parseIpv4("10.1.255.254")));
  const taken = new Set<string>();
  for (let n = ipv4ToNumber(must(parseIpv4("10.1.0.2"))); n <= last; n += 1)
    if (n % 100 !== 0) taken.add(ipv4FromNumber(n));
  let looks = 0;
  let hint = 0;
  const free = 65_533 - taken.size;
  for (let n = 0; n < free; n += 1) {
    const got = allocate(
      network,
      (address) => {
        looks += 1;
        return taken.has(address);
      },
      hint,
    );
    taken.add(got.address);
    hint = got.next;
  }
  expect(free).toBeGreaterThan(600);
  expect(looks).toBeLessThanOrEqual(65_534);
  expect(() => allocate(network, (address) => taken.has(address), hint)).toThrow("all 65534");
});

test("allocation to the end gives every assignable address of the ranges exactly once", () => {
  const octet = fc.integer({ min: 0, max: 63 });
  fc.assert(
    fc.property(octet, octet, octet, fc.integer({ min: 0, max: 70 }), (a, b, gateway, hint) => {
      const [low, high] = [Math.min(a, b), Math.max(a, b)];
      const network = pool("10.0.0.0/26", `10.0.0.${gateway}`, `10.0.0.${low}-10.0.0.${high}`);
      const wanted = Array.from({ length: high - low + 1 }, (_, n) => must(parseIpv4(`10.0.0.${low + n}`)));
      const given = new Set<Ipv4Address>();
      for (const _ of wanted.filter((address) => isAssignable(network, address)))
        given.add(allocate(network, (address) => given.has(address), hint).address);
      expect([...given].sort()).toEqual(wanted.filter((address) => isAssignable(network, address)).sort());
      expect(() => allocate(network, (address) => given.has(address), hint)).toThrow();
    }),
  );
});

test("a pool of links gives every right-hand address of its ranges exactly once, and never another", () => {
  const octet = fc.integer({ min: 0, max: 63 });
  fc.assert(
    fc.property(
      octet,
      octet,
      fc.constantFrom(...link4Lengths),
      fc.integer({ min: 0, max: 40 }),
      (a, b, link4, hint) => {
        const [low, high] = [Math.min(a, b), Math.max(a, b)];
        const links: Pool = {
          ...pool("10.0.0.0/26", "10.0.0.0", `10.0.0.${low}-10.0.0.${high}`),
          wiring: { kind: "transport", uplink, link4 },
        };
        const all = Array.from({ length: high - low + 1 }, (_, n) => must(parseIpv4(`10.0.0.${low + n}`)));
        const wanted = all.filter((address) => link4At(address, link4).right === address);
        expect(all.filter((address) => isAssignable(links, address))).toEqual(wanted);
        const given = new Set<Ipv4Address>();
        for (const _ of wanted) given.add(allocate(links, (address) => given.has(address), hint).address);
        expect([...given].sort()).toEqual([...wanted].sort());
        expect(() => allocate(links, (address) => given.has(address), hint)).toThrow(
          expect.objectContaining({ code: "POOL_EXHAUSTED" }),
        );
      },
    ),
  );
});
