/** Networks whose MACs spell the network: assigned so, refused where they cannot, and never left telling what is no longer true. */
import { describe, expect, test } from "vitest";
import { loadSite } from "../config/load.ts";
import type { Guest, NetworkSpec } from "../model/resources.ts";
import { addressOn, type Claim } from "./claims.ts";
import type { SiteView } from "./desired.ts";
import { freshSite, type HeldSite, planSite } from "./site.ts";

const network = (fields: string): string =>
  `kind: network\nname: lan0\nspec: { wiring: { kind: bridged, bridge: br0 }, ${fields} }\n`;
const guest = (name: string, nic = ""): string =>
  `---\nkind: guest\nname: ${name}\nspec: { nics: [{ network: lan0${nic} }] }\n`;
const LAN = "prefix4: 10.64.0.0/17, range4: [10.64.3.5-10.64.3.90], addressing: { kind: managed, macScheme: net }";

let drawn = 0;
const random = (count: number): Uint8Array => {
  drawn += 1;
  return new Uint8Array(count).fill(drawn);
};
const fresh = (text: string): SiteView => freshSite(loadSite(text, "test"), random);

function held({ networks, guests }: SiteView): HeldSite {
  const claims = [...guests.values()].flatMap((one) =>
    one.nics.map((nic, n) => ({ nic, claim: { guest: one.name, nic: n } satisfies Claim })),
  );
  const addresses = claims.flatMap(({ nic, claim }) =>
    nic.addresses4.map((address) => [addressOn(nic.network, address), claim] as const),
  );
  return {
    networks: new Map<Parameters<typeof networks.get>[0], NetworkSpec>(networks),
    groups: new Map(),
    guests,
    addresses: new Map(addresses),
    macs: new Map(claims.map(({ nic, claim }) => [nic.mac, claim])),
    revisions: new Map(),
    attached: new Set(),
  };
}

const macsOf = (guests: Iterable<Guest>): readonly string[] =>
  [...guests].flatMap(({ nics }) => nics.map(({ mac }) => mac));

describe("macScheme: net", () => {
  const site = fresh(
    network(`${LAN}, gateway4: 10.64.0.1`) +
      guest("a") +
      guest("b", ", address4: 10.64.7.9") +
      guest("c", ", mac: 02:00:5e:00:00:01"),
  );
  const change = (text: string): unknown => planSite(held(site), loadSite(text, "test"), random).transaction.writes;

  test("every NIC without a MAC of its own gets the one that spells its address, prefix and gateway", () => {
    expect(macsOf(site.guests.values())).toEqual(["f2:01:0a:40:03:05", "f2:01:0a:40:07:09", "02:00:5e:00:00:01"]);
  });

  test.each([
    ["prefix4: 10.64.0.0/16, gateway4: 10.64.0.1", "a MAC can spell prefixes from /17 to /32, and this one is a /16"],
    ["prefix4: 10.64.0.0/17, gateway4: 10.64.9.1", "10.64.9.1 is not in 10.64.0.0/24"],
  ])("a network that no MAC can spell is refused: %s", (fields, why) => {
    const text = network(`${fields}, addressing: { kind: managed, macScheme: net }`);
    expect(() => fresh(text)).toThrow(`network lan0: spec.addressing.macScheme: `);
    expect(() => fresh(text)).toThrow(why);
    expect(() => fresh(text.replace("net }", "ip }"))).not.toThrow();
  });

  test("the gateway stays while MACs spell it, whatever the scheme says by then; without them it may go", () => {
    for (const scheme of ["net", "ip", "random"]) {
      const text = network(`${LAN.replace("net }", `${scheme} }`)}, gateway4: 10.64.0.2`);
      expect(() => change(text)).toThrow(
        "network 'lan0' cannot be so: another prefix or gateway stands in the MACs of a (10.64.3.5), b (10.64.7.9)",
      );
    }
    expect(change(network(`${LAN}, gateway4: 10.64.0.1, mode: observe`))).toHaveLength(1);
    const named = fresh(network(`${LAN}, gateway4: 10.64.0.1`) + guest("c", ", mac: 02:00:5e:00:00:01"));
    const moved = loadSite(network(`${LAN}, gateway4: 10.64.0.2`), "test");
    expect(planSite(held(named), moved, random).transaction.writes).toHaveLength(1);
  });

  test("a guest with a new address gets a new MAC, and what was its own is free for the next", () => {
    const text = guest("a", ", address4: 10.64.7.10").slice(4) + guest("d", ", address4: 10.64.3.5");
    const writes = planSite(held(site), loadSite(text, "test"), random).transaction.writes;
    const macs = writes.flatMap(({ op, key }) => (key.startsWith("mac/") ? [`${op} ${key}`] : []));
    expect(macs.sort()).toEqual(["put mac/f2:01:0a:40:03:05", "put mac/f2:01:0a:40:07:0a"]);
  });
});

describe("kind: mac", () => {
  const MAC = LAN.replace("{ kind: managed, macScheme: net }", "{ kind: mac }");
  const site = fresh(network(`${MAC}, gateway4: 10.64.0.1`) + guest("a") + guest("b", ", address4: 10.64.7.9"));
  const change = (from: SiteView, text: string) => planSite(held(from), loadSite(text, "test"), random);

  test("every MAC spells the address, prefix and gateway", () => {
    expect(macsOf(site.guests.values())).toEqual(["f2:01:0a:40:03:05", "f2:01:0a:40:07:09"]);
  });

  test.each([
    ["prefix4: 10.64.0.0/16, gateway4: 10.64.0.1", "a MAC can spell prefixes from /17 to /32, and this one is a /16"],
    ["prefix4: 10.64.0.0/17, gateway4: 10.64.9.1", "10.64.9.1 is not in 10.64.0.0/24"],
  ])("a network that no MAC can spell is refused: %s", (fields, why) => {
    const text = network(`${fields}, addressing: { kind: mac }`);
    expect(() => fresh(text)).toThrow("network lan0: spec.addressing.kind: ");
    expect(() => fresh(text)).toThrow(why);
    expect(() => fresh(text.replace("kind: mac", "kind: static"))).not.toThrow();
  });

  test("a MAC of the operator's own says nothing and is refused, unless it says the same", () => {
    const own = network(`${MAC}, gateway4: 10.64.0.1`);
    const named = (mac: string): string => `${own}${guest("c", `, address4: 10.64.3.7, mac: ${mac}`)}`;
    expect(() => fresh(named("02:00:5e:00:00:01"))).toThrow(
      "guest c: spec.nics[0].mac: guests of network 'lan0' read their MACs, and 02:00:5e:00:00:01 does not say 10.64.3.7: leave it out",
    );
    expect(macsOf(fresh(named("f2:01:0a:40:03:07")).guests.values())).toEqual(["f2:01:0a:40:03:07"]);
  });

  test("a network turns to it only when its guests' MACs can tell them", () => {
    const random4 = LAN.replace("macScheme: net", "macScheme: ip");
    const before = fresh(network(`${random4}, gateway4: 10.64.0.1`) + guest("a"));
    expect(() => change(before, network(`${MAC}, gateway4: 10.64.0.1`))).toThrow(
      "network 'lan0' cannot be so: its guests would read their MACs, and none of the network stands in those of a (10.64.3.5)",
    );
    const spelled = fresh(network(`${LAN}, gateway4: 10.64.0.1`) + guest("a"));
    expect(change(spelled, network(`${MAC}, gateway4: 10.64.0.1`)).transaction.writes).toHaveLength(1);
  });

  test("the gateway stays while MACs spell it", () => {
    expect(() => change(site, network(`${MAC}, gateway4: 10.64.0.2`))).toThrow(
      "another prefix or gateway stands in the MACs of a (10.64.3.5), b (10.64.7.9)",
    );
  });
});

test("an address that a NIC names is handed to nobody else, though it lies in the range and is written last", () => {
  const range = LAN.replace("10.64.3.5-10.64.3.90", "10.64.3.5-10.64.3.7");
  const site = fresh(
    network(`${range}, gateway4: 10.64.0.1`) + guest("a") + guest("b") + guest("c", ", address4: 10.64.3.5"),
  );
  const addresses = [...site.guests.values()].map(({ name, nics }) => [name, nics[0]?.addresses4[0]]);
  expect(addresses).toEqual([
    ["a", "10.64.3.6"],
    ["b", "10.64.3.7"],
    ["c", "10.64.3.5"],
  ]);
  const more = loadSite(guest("d").slice(4), "test");
  expect(() => planSite(held(site), more, random)).toThrow("network 'lan0' has no free address: all 3");
});
