/** How full ranges are: what counts as taken, and when it is told. */
import { expect, test } from "vitest";
import { loadSite } from "../config/load.ts";
import { parseObjectName } from "../model/names.ts";
import { addressOn, type Claim } from "./claims.ts";
import { isFull, isNearlyFull, type PoolSite, poolUses } from "./pools.ts";
import { freshSite } from "./site.ts";

const network = (name: string, range: string, gateway = "10.0.0.1"): string =>
  `kind: network\nname: ${name}\nspec: { prefix4: 10.0.0.0/24, gateway4: ${gateway}, range4: [${range}], wiring: { kind: bridged, bridge: br0 }, addressing: { kind: managed, macScheme: ip } }\n`;
function must<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError("the test's own value");
  return value;
}

const guests = (network: string, count: number): string =>
  Array.from(
    { length: count },
    (_, n) => `---\nkind: guest\nname: ${network}-${n}\nspec: { nics: [{ network: ${network} }] }\n`,
  ).join("");

function siteOf(text: string): PoolSite {
  const site = freshSite(loadSite(text, "test"), (count) => new Uint8Array(count));
  const addresses = [...site.guests.values()].flatMap(({ name, nics }) =>
    nics.flatMap((nic, n) =>
      nic.addresses4.map(
        (address) => [addressOn(nic.network, address), { guest: name, nic: n } satisfies Claim] as const,
      ),
    ),
  );
  return { networks: site.networks, addresses: new Map(addresses) };
}

test.each([
  [8, undefined, "room for two of ten"],
  [9, "nearly", "room for one"],
  [10, "full", "room for none"],
])("%i of ten: %s", (count, state, _says) => {
  const [use] = poolUses(siteOf(network("a", "10.0.0.10-10.0.0.19") + guests("a", count)));
  if (use === undefined) throw new TypeError("not counted");
  expect(use).toEqual({ network: "a", size: 10, free: 10 - count, cooling: 0 });
  expect([isNearlyFull(use), isFull(use)]).toEqual([state === "nearly", state === "full"]);
});

test("a pool with room is not counted unless everything is asked for; a network without a range never", () => {
  const site = siteOf(`${network("a", "10.0.0.10-10.0.0.19")}${guests("a", 3)}---\n${network("b", "")}`);
  expect(poolUses(site)).toEqual([]);
  expect(poolUses(site, true)).toEqual([{ network: "a", size: 10, free: 7, cooling: 0 }]);
});

test("what cools down is neither held nor free, and counts as free where there is no cool-down any more", () => {
  const cold = (network: string, address: string) =>
    [`${network}/${address}`, { guest: must(parseObjectName("x")), nic: 0, cooling: { until: "" } }] as const;
  const addresses = new Map([
    cold("a", "10.0.0.15"),
    cold("a", "10.0.0.10"),
    cold("a", "10.0.0.99"),
    cold("z", "10.0.0.16"),
  ]);
  const text = `${network("a", "10.0.0.10-10.0.0.19")}${guests("a", 3)}`;
  const site = { ...siteOf(text), cooling: { addresses } };
  expect(poolUses(site, true), "one of it is held again").toEqual([{ network: "a", size: 10, free: 6, cooling: 1 }]);
  const off = { ...siteOf(text.replace("range4", "coolDown: 0, range4")), cooling: { addresses } };
  expect(poolUses(off, true)).toEqual([{ network: "a", size: 10, free: 7, cooling: 0 }]);
});

test("the gateway, and what others on the wire have of the range, is taken; what lies outside is not", () => {
  const text = `${network("a", "10.0.0.10-10.0.0.19", "10.0.0.10")}---\n${network("b", "10.0.0.30-10.0.0.39", "10.0.0.11")}---
kind: guest
name: fixed
spec: { nics: [{ network: b, address4: 10.0.0.12 }, { network: a, address4: 10.0.0.99 }] }
`;
  expect(poolUses(siteOf(text), true)).toContainEqual({ network: "a", size: 10, free: 7, cooling: 0 });
});
