/** What was given up is nobody else's for a while: who gets it back, who is refused it, and what goes from hand to hand. */
import { expect, test } from "vitest";
import { loadSite } from "../config/load.ts";
import { GuardError } from "../model/errors.ts";
import type { MacAddress } from "../model/mac.ts";
import type { ObjectName } from "../model/names.ts";
import type { Guest, Kind, NetworkSpec } from "../model/resources.ts";
import { type ClaimRecord, decodeRecord } from "../store/collections.ts";
import type { Json, Key } from "../store/store.ts";
import type { CoolingClaim } from "./claims.ts";
import { type HeldSite, planRemove, planSite, type SitePlan } from "./site.ts";

const UNTIL = "2026-01-01T00:10:00.000Z";

/** A store and an agent in a few lines: what is planned is done, and nothing cools down by itself. */
function createSite(...files: readonly string[]) {
  const entries = new Map<Key, { readonly value: Json; readonly revision: number }>();
  let revision = 0;
  let drawn = 0;
  const random = (count: number): Uint8Array => {
    drawn += 1;
    return new Uint8Array(count).fill(drawn);
  };
  function make({ transaction, cooling, changes }: SitePlan): readonly string[] {
    const keys = new Set(transaction.expect.map(({ key }) => key));
    for (const { key, revision: at } of transaction.expect) expect(entries.get(key)?.revision ?? 0, key).toBe(at);
    for (const { key } of cooling) expect(keys.has(key), key).toBe(true);
    revision += 1;
    for (const write of transaction.writes)
      if (write.op === "put") entries.set(write.key, { value: write.value, revision });
      else entries.delete(write.key);
    for (const { key, claim } of cooling)
      entries.set(key, { value: { guest: claim.guest, nic: claim.nic, cooling: { until: UNTIL } }, revision });
    return changes.flatMap(({ sentences }) => sentences);
  }
  const site = {
    entries,
    apply: (...documents: readonly string[]) =>
      make(planSite(held(entries), loadSite(documents.join("\n---\n"), "site"), random)),
    remove: (kind: Kind, name: string) => make(planRemove(held(entries), kind, name)),
    plan: (...documents: readonly string[]) =>
      planSite(held(entries), loadSite(documents.join("\n---\n"), "site"), random),
    cooling: () => [...entries].filter(([, { value }]) => Object(value).cooling !== undefined).map(([key]) => key),
    of: (name: string) => Object(entries.get(`guest/${name}`)?.value).nics,
  };
  for (const file of files) site.apply(file);
  return site;
}

function split<What>(claims: ReadonlyMap<What, ClaimRecord>) {
  const [now, cold] = [new Map<What, ClaimRecord>(), new Map<What, CoolingClaim>()];
  for (const [what, { cooling, ...claim }] of claims)
    if (cooling === undefined) now.set(what, claim);
    else cold.set(what, { ...claim, cooling });
  return { now, cold };
}

function held(entries: ReadonlyMap<Key, { readonly value: Json; readonly revision: number }>): HeldSite {
  const networks = new Map<ObjectName, NetworkSpec>();
  const guests = new Map<ObjectName, Guest>();
  const addresses = new Map<string, ClaimRecord>();
  const macs = new Map<MacAddress, ClaimRecord>();
  for (const [key, { value }] of entries) {
    const record = decodeRecord(key, value);
    if (record.kind === "network") networks.set(record.name, record.value);
    if (record.kind === "guest") guests.set(record.name, record.value);
    if (record.kind === "address") addresses.set(record.what, record.value);
    if (record.kind === "mac") macs.set(record.what, record.value);
  }
  const [byAddress, byMac] = [split(addresses), split(macs)];
  return {
    networks,
    guests,
    groups: new Map(),
    addresses: byAddress.now,
    macs: byMac.now,
    cooling: { addresses: byAddress.cold, macs: byMac.cold },
    revisions: new Map([...entries].map(([key, { revision }]) => [key, revision])),
    attached: new Set(),
  };
}

function refusal(act: () => unknown): GuardError {
  try {
    act();
  } catch (error) {
    if (error instanceof GuardError) return error;
    throw error;
  }
  throw new TypeError("it was not refused");
}

const lan = (more = "", scheme = "ip", range = "10.0.0.10-10.0.0.12", name = "lan0"): string =>
  `{ kind: network, name: ${name}, spec: { prefix4: 10.0.0.0/24, gateway4: 10.0.0.1, range4: [${range}], ${more}
    wiring: { kind: bridged, bridge: br0 }, addressing: { kind: managed, macScheme: ${scheme} } } }`;
const guest = (name: string, ...nics: readonly string[]): string =>
  `{ kind: guest, name: ${name}, spec: { nics: [${(nics.length === 0 ? ["{ network: lan0 }"] : nics).join(", ")}] } }`;

test("what a deleted guest had is kept from others, and its own again at once", () => {
  const site = createSite(lan(), guest("a"), guest("b"));
  site.remove("guest", "a");
  expect(site.cooling()).toEqual(["address/lan0/10.0.0.10", "mac/fe:00:0a:00:00:0a"]);
  expect(site.apply(guest("c"))).toEqual(["guest c: assign 10.0.0.12 (fe:00:0a:00:00:0c) on lan0"]);
  expect(site.apply(guest("a"))).toEqual(["guest a: assign 10.0.0.10 (fe:00:0a:00:00:0a) on lan0"]);
  expect(site.cooling(), "held again, and under no lease").toEqual([]);
});

test("a file that names what cools down for another guest is refused, says until when and how to free it", () => {
  const site = createSite(lan(), guest("a"));
  site.remove("guest", "a");
  const { code, message } = refusal(() => site.plan(guest("b", "{ network: lan0, address4: 10.0.0.10 }")));
  expect([code, message]).toEqual([
    "COOLING_DOWN",
    `10.0.0.10 on network 'lan0', wanted for NIC 0 of guest 'b', was given up by guest 'a' and cools down until ${UNTIL}; 'vifguard cooling end lan0/10.0.0.10' frees it now`,
  ]);
  const byMac = refusal(() => site.plan(guest("b", "{ network: lan0, address4: 10.0.0.11, mac: fe:00:0a:00:00:0a }")));
  expect(byMac.message).toContain("MAC fe:00:0a:00:00:0a, wanted for NIC 0 of guest 'b', was given up by guest 'a'");
  expect(site.apply(guest("a", "{ network: lan0, address4: 10.0.0.10 }")), "the same guest may name it").toHaveLength(
    1,
  );
});

test("IPv6 addresses and further ones that a NIC names cool down as well", () => {
  const more = "prefix6: 2001:db8::/64, ";
  const nic = "{ network: lan0, address6: 2001:db8::5, addresses: [10.0.0.77] }";
  const site = createSite(lan(more), guest("a", nic));
  site.apply(guest("a"));
  expect(site.cooling()).toEqual(["address/lan0/2001:db8::5", "address/lan0/10.0.0.77"]);
  expect(refusal(() => site.plan(guest("b", nic))).code).toBe("COOLING_DOWN");
  site.apply(guest("a", nic));
  expect(site.cooling(), "its own").toEqual([]);
});

test("a guest with another address leaves the old one to cool down, and no guest of the same file is given it", () => {
  const site = createSite(lan(), guest("a"));
  const sentences = site.apply(guest("a", "{ network: lan0, address4: 10.0.0.12 }"), guest("b"));
  expect(sentences.at(-1)).toBe("guest b: assign 10.0.0.11 (fe:00:0a:00:00:0b) on lan0");
  expect(site.cooling()).toEqual(["address/lan0/10.0.0.10", "mac/fe:00:0a:00:00:0a"]);
  site.apply(guest("a", "{ network: lan0, address4: 10.0.0.10 }"));
  expect([site.of("a")[0].addresses4, site.cooling()]).toEqual([
    ["10.0.0.10"],
    ["address/lan0/10.0.0.12", "mac/fe:00:0a:00:00:0c"],
  ]);
});

test("what one guest leaves and another names in one file goes from hand to hand", () => {
  const [first, second] = ["{ network: lan0, address4: 10.0.0.10 }", "{ network: lan0, address4: 10.0.0.11 }"];
  const site = createSite(lan(), guest("a", first), guest("b", second));
  site.apply(guest("a", second), guest("b", first));
  expect([site.of("a")[0].addresses4, site.of("b")[0].addresses4, site.cooling()]).toEqual([
    ["10.0.0.11"],
    ["10.0.0.10"],
    [],
  ]);
});

test("a pool of which the rest cools down is full, and says how much of it", () => {
  const site = createSite(lan(), guest("a"), guest("b"), guest("c"));
  site.remove("guest", "a");
  site.remove("guest", "b");
  const { code, message, fields } = refusal(() => site.plan(guest("d")));
  expect([code, message, fields]).toEqual([
    "POOL_EXHAUSTED",
    "network 'lan0' has no free address: all 3 of 10.0.0.10-10.0.0.12 are held or the gateway's (2 of them cool down: 'vifguard cooling list')",
    { network: "lan0", size: 3, cooling: 2 },
  ]);
});

test("without a cool-down what is given up is free, and so is what cooled down when it was switched off", () => {
  const site = createSite(lan(), guest("a"), guest("b"));
  site.remove("guest", "a");
  site.apply(lan("coolDown: 0,"));
  expect(site.apply(guest("c"))).toEqual(["guest c: assign 10.0.0.10 (fe:00:0a:00:00:0a) on lan0"]);
  site.remove("guest", "b");
  expect(site.cooling()).toEqual([]);
  expect(site.apply(guest("d"))).toEqual(["guest d: assign 10.0.0.11 (fe:00:0a:00:00:0b) on lan0"]);
});

test("an address that cools down on another network of the same wire is taken here too", () => {
  const other = lan("", "ip", "10.0.0.10-10.0.0.12", "lan1").replace("gateway4: 10.0.0.1", "gateway4: 10.0.0.2");
  const site = createSite(
    lan().replace("10.0.0.10-10.0.0.12", ""),
    guest("z", "{ network: lan0, address4: 10.0.0.10 }"),
  );
  site.apply(other);
  site.remove("guest", "z");
  expect(site.apply(guest("b", "{ network: lan1 }"))).toEqual([
    "guest b: assign 10.0.0.11 (fe:00:0a:00:00:0b) on lan1",
  ]);
  expect(refusal(() => site.plan(guest("c", "{ network: lan1, address4: 10.0.0.10 }"))).code).toBe("COOLING_DOWN");
});

test("what cools down is no public address of another guest either", () => {
  const inside = `{ kind: network, name: inside, spec: { prefix4: 192.168.0.0/24, gateway4: 192.168.0.1, range4: [192.168.0.10-192.168.0.20],
    wiring: { kind: nat, uplink: eth0 }, addressing: { kind: managed } } }`;
  const site = createSite(lan(), inside, guest("a"));
  site.remove("guest", "a");
  const wanted = (name: string): string => guest(name, "{ network: inside, public4: 10.0.0.10 }");
  expect(refusal(() => site.plan(wanted("b"))).message).toContain(
    "is held by nobody since guest 'a' gave it up, and cools down until",
  );
  expect(site.plan(wanted("a")).changes, "the guest that had it").toHaveLength(1);
});

test("a drawn MAC is its guest's again, NIC by NIC, and no other's", () => {
  const site = createSite(lan("", "random"), guest("a", "{ network: lan0 }", "{ network: lan0 }"));
  const before = site.of("a");
  site.remove("guest", "a");
  expect(refusal(() => site.plan(guest("b", `{ network: lan0, mac: "${before[0].mac}" }`))).code).toBe("COOLING_DOWN");
  site.apply(guest("b"));
  expect(site.of("b")[0].addresses4).toEqual(["10.0.0.12"]);
  site.apply(guest("a", "{ network: lan0 }", "{ network: lan0 }"));
  expect(site.of("a")).toEqual(before);
});

test("scattered, two plans of the same site part ways, and the last free address is found from anywhere", () => {
  const range = "10.0.0.10-10.0.0.250";
  const site = createSite(lan("", "ip", range));
  const wanted = loadSite(guest("a"), "site");
  const begin = (byte: number) => (count: number) => new Uint8Array(count).fill(byte);
  const at = (byte: number): unknown => {
    const { changes } = planSite(held(site.entries), wanted, begin(byte), true);
    return changes.map(({ sentences }) => sentences);
  };
  expect(at(1)).not.toEqual(at(2));
  const full = createSite(lan("", "ip", "10.0.0.10-10.0.0.12"), guest("x"), guest("y"));
  for (const byte of [0, 1, 2, 3]) {
    const { changes } = planSite(held(full.entries), wanted, begin(byte), true);
    expect(changes[0]?.sentences).toEqual(["guest a: assign 10.0.0.12 (fe:00:0a:00:00:0c) on lan0"]);
  }
});
