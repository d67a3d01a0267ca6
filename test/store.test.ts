/** The store contract on both stores, and what the records in them mean. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { GuardError } from "../src/model/errors.ts";
import { parseIpv4, parsePrefix4 } from "../src/model/ipv4.ts";
import { parseIpv6, parsePrefix6 } from "../src/model/ipv6.ts";
import { keys } from "../src/model/keys.ts";
import { parseMac } from "../src/model/mac.ts";
import { parseHostId, parseInterfaceName, parseObjectName } from "../src/model/names.ts";
import type { NicSpec } from "../src/model/resources.ts";
import { decodeRecord, encodeRecord, parseKey, type StoreRecord } from "../src/store/collections.ts";
import { openEmbeddedStore } from "../src/store/embedded.ts";
import { memoryStore } from "../src/store/memory.ts";
import type { Json } from "../src/store/store.ts";
import { loadSite } from "../src/store/stored-site.ts";
import { commits, storeContract, testClock } from "./store.contract.ts";

storeContract("memory store", async (clock, options) => ({
  store: memoryStore(clock, options),
  clean: () => undefined,
}));

storeContract("embedded store", async (clock, options) => {
  const directory = mkdtempSync(join(tmpdir(), "vifguard-store-"));
  return {
    store: await openEmbeddedStore({ directory, clock, ...options }),
    clean: () => rmSync(directory, { recursive: true }),
  };
});

function sure<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("the test's own value does not parse");
  return value;
}
const lan0 = sure(parseObjectName("lan0"));
const web1 = sure(parseObjectName("web1"));
const host = sure(parseHostId("host-1.example"));
const port = sure(parseInterfaceName("vif1.0"));
const bridge = sure(parseInterfaceName("br0"));
const mac = sure(parseMac("fe:00:0a:00:00:05"));
const address = sure(parseIpv4("10.0.0.5"));
const gateway = sure(parseIpv4("10.0.0.1"));
const prefix = sure(parsePrefix4("10.0.0.0/24"));
const prefix6 = sure(parsePrefix6("2001:db8::/64"));
const address6 = sure(parseIpv6("2001:db8::5"));
const gateway6 = sure(parseIpv6("fe80::1"));
const group4 = sure(parseIpv4("224.0.0.18"));
const group6 = sure(parseIpv6("ff02::12"));
const nic: NicSpec = {
  network: lan0,
  address4: address,
  address6,
  addresses: [
    { kind: "address4", address },
    { kind: "prefix6", prefix: prefix6 },
  ],
  allowedPairs: [{ what: { kind: "prefix4", prefix }, mac }, { what: { kind: "address6", address: address6 } }],
  roles: ["router"],
  unchecked: ["dest-mac"],
  mode: "observe",
  rates: { toGuestPackets: { perSecond: 7, burst: 9 } },
  connections: 100,
  groups: [web1],
};

const records: readonly StoreRecord[] = [
  {
    kind: "network",
    name: lan0,
    value: {
      prefix4: prefix,
      gateway4: gateway,
      range4: [{ first: address, last: address }],
      gatewayMac: mac,
      prefix6,
      gateway6,
      hostServices: [{ protocol: "udp", ports: [53] }],
      multicast: [group4, group6],
      suppression: true,
      mode: "enforce",
      rates: { arp: { perSecond: 10, burst: 20 } },
      groups: [web1],
      connections: 8192,
      wiring: { kind: "bridged", bridge },
      addressing: {
        kind: "managed",
        leaseSeconds: 3600,
        macScheme: "ip",
        dns: [gateway],
        dns6: [address6],
        ntp: [],
        search: ["example.org"],
        routes: [{ to: prefix, via: gateway }],
      },
    },
  },
  {
    kind: "group",
    name: web1,
    value: {
      ingress: [
        { service: { kind: "tcp", ports: [{ first: 80, last: 80 }] }, peer: { kind: "any" } },
        { service: { kind: "any" }, peer: { kind: "network" } },
      ],
      egress: [
        { service: { kind: "protocol", number: 47 }, peer: { kind: "group", group: lan0 } },
        { service: { kind: "icmp", type: 8, code: 0 }, peer: { kind: "prefix4", prefix } },
        { service: { kind: "icmpv6" }, peer: { kind: "prefix6", prefix: prefix6 } },
      ],
    },
  },
  {
    kind: "guest",
    name: web1,
    value: {
      name: web1,
      spec: { nics: [nic], hostname: "www" },
      nics: [{ network: lan0, mac, addresses4: [address] }],
    },
  },
  { kind: "address", what: "lan0/10.0.0.5", network: lan0, address, value: { guest: web1, nic: 0 } },
  { kind: "mac", what: mac, value: { guest: web1, nic: 0 } },
  {
    kind: "claim",
    what: "web1/0",
    guest: web1,
    nic: 0,
    value: { fence: 3, holder: { host, port }, next: { host, port } },
  },
  {
    kind: "attachment",
    host,
    port,
    value: { port, ifindex: 7, epoch: "boot/4026531840", guest: web1, nic: 0, fence: 3, since: 1 },
  },
  {
    kind: "lease",
    what: "lan0/10.0.0.5",
    network: lan0,
    address,
    value: { network: lan0, address, guest: web1, nic: 0, mac, state: "bound", expiresAt: 1_700_000_000_000 },
  },
];

function refusal(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof GuardError) return `${error.code} ${error.message}`;
    throw error;
  }
  return "taken";
}

describe("keys", () => {
  test.each(records)("the key of a $kind reads back", (record) => {
    const { value: _, ...parsed } = record;
    expect(parseKey(encodeRecord(record).key)).toEqual(parsed);
  });

  test("no name can break out of its place", () => {
    for (const name of ["a/b", "..", ".", "", "a/", "A", "a b", "ü", `${"a".repeat(64)}`])
      expect(parseObjectName(name), name).toBeUndefined();
    expect(parseObjectName("a.b-c")).toBe("a.b-c");
  });

  test.each([
    "",
    "guest",
    "guest/",
    "guest/a/b",
    "guest/A",
    "mac/FE:00:0A:00:00:05",
    "mac/fe000a000005",
    "address/lan0",
    "address/lan0/10.0.0.05",
    "address/lan0/10.0.0.5/x",
    "attachment/host/a/b",
    "attachment/host/",
    "something/else",
    "__proto__/a",
  ])("%j is the key of nothing", (key) => {
    expect(parseKey(key)).toBeUndefined();
    expect(refusal(() => decodeRecord(key, {}))).toContain(`STORE_CORRUPT store entry '${key}'`);
  });
});

describe("records", () => {
  test.each(records)("a $kind comes back as it was", (record) => {
    const { key, value } = encodeRecord(record);
    expect(decodeRecord(key, value)).toEqual(record);
  });

  const networkKey = keys.network(lan0);
  test.each<[string, (network: Record<string, Json>) => void]>([
    ["gateway4 is not an IPv4 address", (n) => Object.assign(n, { gateway4: "10.0.0.256" })],
    ["prefix4 is not an IPv4 prefix", (n) => delete n["prefix4"]],
    [
      "range4[1].last is not an IPv4 address",
      (n) => (n["range4"] = [n["range4"], { first: "10.0.0.9" }].flat() as Json),
    ],
    ["gatewayMac is not a MAC address", (n) => (n["gatewayMac"] = "FE:00:0A:00:00:05")],
    [
      "wiring.kind is not bridged or routed or nat or brouted or transport",
      (n) => (n["wiring"] = { kind: "teleported" }),
    ],
    [
      "wiring.uplink is not an interface name",
      (n) => (n["wiring"] = { kind: "routed", uplink: "e/0", gives: "address" }),
    ],
    ["wiring.link4 is not 30 or 31", (n) => (n["wiring"] = { kind: "transport", uplink: "eth0", link4: 29 })],
    ["wiring.bridge is not an interface name", (n) => (n["wiring"] = { kind: "bridged", bridge: "br0; flush" })],
    ["addressing.kind is not managed or static or mac or relay or snoop", (n) => (n["addressing"] = [])],
  ])("a damaged network is refused: %s", (says, damage) => {
    const [whole] = records;
    const { value } = encodeRecord(sure(whole));
    expect(refusal(() => decodeRecord(networkKey, value))).toBe("taken");
    const network: Record<string, Json> = JSON.parse(JSON.stringify(value));
    damage(network);
    expect(refusal(() => decodeRecord(networkKey, network))).toBe(`STORE_CORRUPT store entry 'network/lan0': ${says}`);
  });

  test.each(records)("a $kind is no other JSON", (record) => {
    const { key } = encodeRecord(record);
    for (const junk of [null, 1, "x", [], {}, [record.value].length, { kind: record.kind }])
      expect(refusal(() => decodeRecord(key, junk))).toContain(`STORE_CORRUPT store entry '${key}': `);
  });

  test("a record under another one's key is refused", () => {
    const [, , guest, , , , attachment, lease] = records.map(encodeRecord);
    expect(refusal(() => decodeRecord("guest/web2", sure(guest).value))).toContain("it is the record of 'guest/web1'");
    expect(refusal(() => decodeRecord("attachment/h/vif2.0", sure(attachment).value))).toContain("attachment/h/vif1.0");
    expect(refusal(() => decodeRecord("lease/lan0/10.0.0.6", sure(lease).value))).toContain("lease/lan0/10.0.0.5");
  });

  test("fields nobody here knows are left alone", () => {
    const { key, value } = encodeRecord(sure(records[0]));
    const more = { ...(value as Record<string, Json>), prefix6: "2001:db8::/64" };
    expect(decodeRecord(key, more)).toMatchObject({ kind: "network", value: { prefix6: "2001:db8::/64" } });
  });
});

test("a site is loaded whole from a snapshot, with the revision of every key", async () => {
  const store = memoryStore(testClock());
  const writes = records.map(encodeRecord).map(({ key, value }) => ({ op: "put", key, value }) as const);
  await commits(store, { expect: [], writes: writes.slice(0, 4) });
  await commits(store, { expect: [], writes: writes.slice(4) });
  const site = loadSite(await store.read(""));
  expect(site.networks.get(lan0)?.gateway4).toBe(gateway);
  expect([...site.groups.keys(), ...site.guests.keys()]).toEqual([web1, web1]);
  expect(site.attachments.get(keys.attachment(host, port))?.ifindex).toBe(7);
  expect([...site.leases.keys()]).toEqual(["lan0/10.0.0.5"]);
  expect(site.addressClaims.get("lan0/10.0.0.5")).toEqual(site.macClaims.get(mac));
  expect(site.revisions.get("network/lan0")).toBe(1);
  expect(site.revisions.get("lease/lan0/10.0.0.5")).toBe(2);
  await commits(store, { expect: [], writes: [{ op: "put", key: "guest/web1", value: { name: "web1" } }] });
  const damaged = await store.read("");
  expect(refusal(() => loadSite(damaged))).toBe("STORE_CORRUPT store entry 'guest/web1': spec is not an object");
  await store.close();
});
