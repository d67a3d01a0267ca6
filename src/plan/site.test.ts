/** From site files to transactions: what is assigned, kept, refused and told. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { loadSite } from "../config/load.ts";
import { GuardError } from "../model/errors.ts";
import type { MacAddress } from "../model/mac.ts";
import { type ObjectName, parseObjectName } from "../model/names.ts";
import type { GroupSpec } from "../model/policy.ts";
import type { Guest, Kind, NetworkSpec } from "../model/resources.ts";
import { type ClaimRecord, decodeRecord } from "../store/collections.ts";
import type { Json, Key, Revision, Transaction } from "../store/store.ts";
import type { CoolingClaim } from "./claims.ts";
import { type HeldSite, planRemove, planSite, type SitePlan } from "./site.ts";

/** A store and its reading, as small as it can be; it refuses what the real one would refuse. */
function createSite() {
  const entries = new Map<Key, { readonly value: Json; readonly revision: Revision }>();
  const attached = new Set<ObjectName>();
  let revision = 0;
  const commit = ({ expect: expected, writes }: Transaction): void => {
    for (const { key, revision: wanted } of expected)
      if ((entries.get(key)?.revision ?? 0) !== wanted) throw new Error(`conflict on ${key}`);
    revision += 1;
    for (const write of writes) {
      if (write.op === "put") entries.set(write.key, { value: write.value, revision });
      else if (!entries.delete(write.key)) throw new Error(`deletes what is not there: ${write.key}`);
    }
  };
  return { entries, attached, commit, held: () => read(entries, attached) };
}

/** Through the store's own reader, so that whatever a plan writes can be read. */
function read(
  entries: ReadonlyMap<Key, { readonly value: Json; readonly revision: Revision }>,
  attached: ReadonlySet<ObjectName>,
): HeldSite {
  const networks = new Map<ObjectName, NetworkSpec>();
  const groups = new Map<ObjectName, GroupSpec>();
  const guests = new Map<ObjectName, Guest>();
  const addresses = new Map<string, ClaimRecord>();
  const macs = new Map<MacAddress, ClaimRecord>();
  for (const [key, { value }] of entries) {
    const record = decodeRecord(key, JSON.parse(JSON.stringify(value)));
    if (record.kind === "network") networks.set(record.name, record.value);
    if (record.kind === "group") groups.set(record.name, record.value);
    if (record.kind === "guest") guests.set(record.name, record.value);
    if (record.kind === "address") addresses.set(record.what, record.value);
    if (record.kind === "mac") macs.set(record.what, record.value);
  }
  const revisions = new Map([...entries].map(([key, entry]) => [key, entry.revision]));
  const cooling = { addresses: takeCold(addresses), macs: takeCold(macs) };
  return { networks, groups, guests, addresses, macs, cooling, revisions, attached };
}

/** Out of those that are held. */
function takeCold<What>(claims: Map<What, ClaimRecord>): ReadonlyMap<What, CoolingClaim> {
  const cold = new Map<What, CoolingClaim>();
  for (const [what, { cooling, ...claim }] of [...claims]) {
    if (cooling === undefined) continue;
    claims.delete(what);
    cold.set(what, { ...claim, cooling });
  }
  return cold;
}

/** As the agent writes it; nothing here ends a cool-down. */
const whole = ({ transaction, cooling }: SitePlan): Transaction => ({
  ...transaction,
  writes: [
    ...transaction.writes,
    ...cooling.map(
      ({ key, claim: { guest, nic } }) => ({ op: "put", key, value: { guest, nic, cooling: { until: "" } } }) as const,
    ),
  ],
});

/** Counts up, so that every draw is another one and every run the same. */
function counting(): (count: number) => Uint8Array {
  let n = 0;
  return (count) => {
    n += 1;
    return Uint8Array.from({ length: count }, (_, at) => (at < count - 2 ? 0 : at === count - 2 ? n >> 8 : n & 255));
  };
}

type Site = ReturnType<typeof createSite> & { readonly random: (count: number) => Uint8Array };
const newSite = (...files: readonly string[]): Site => {
  const site = { ...createSite(), random: counting() };
  for (const file of files) apply(site, file);
  return site;
};

function plan(site: Site, ...documents: readonly string[]): SitePlan {
  return planSite(site.held(), loadSite(documents.join("\n---\n"), "site.yaml"), site.random);
}

function apply(site: Site, ...documents: readonly string[]): readonly string[] {
  const made = plan(site, ...documents);
  site.commit(whole(made));
  return made.changes.flatMap(({ sentences }) => sentences);
}

function remove(site: Site, kind: Kind, name: string): readonly string[] {
  const made = planRemove(site.held(), kind, name);
  site.commit(whole(made));
  return made.changes.flatMap(({ sentences }) => sentences);
}

function refusal(action: () => unknown): { readonly code: string; readonly message: string } {
  try {
    action();
  } catch (error) {
    if (error instanceof GuardError) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error("it was planned");
}

/** Without a cool-down, which has tests of its own: what is given up here is free. */
const lan = (
  name = "lan0",
  prefix = "10.0.0.0/24",
  more = "range4: [10.0.0.10-10.0.0.12]",
  scheme = "ip",
  bridge = "br0",
): string =>
  `{ kind: network, name: ${name}, spec: { prefix4: ${prefix}, gateway4: ${prefix.replace(/0\/.*/, "1")}, ${more}, coolDown: 0,
    wiring: { kind: bridged, bridge: ${bridge} }, addressing: { kind: managed, macScheme: ${scheme} } } }`;
const guest = (name: string, ...nics: readonly string[]): string =>
  `{ kind: guest, name: ${name}, spec: { nics: [${nics.join(", ")}] } }`;
const onLan = "{ network: lan0 }";
const web = "{ kind: group, name: web, spec: { ingress: [{ protocol: tcp, ports: [80], from: any }] } }";

/** `network/address mac` of every NIC of a guest. */
function nicsOf(site: Site, name: string): readonly string[] {
  const parsed = parseObjectName(name);
  const nics = parsed === undefined ? [] : (site.held().guests.get(parsed)?.nics ?? []);
  return nics.map(({ network, addresses4, mac }) => `${network}/${addresses4.join()} ${mac}`);
}

describe("a first site", () => {
  test("is created whole, with its keys and its sentences", () => {
    const site = newSite();
    const sentences = apply(site, lan(), web, guest("web1", "{ network: lan0, groups: [web] }"), guest("web2", onLan));
    expect(sentences).toEqual([
      "network lan0: create 10.0.0.0/24 with gateway 10.0.0.1 on bridge br0",
      "group web: create with 1 ingress rule, everything out",
      "guest web1: assign 10.0.0.10 (fe:00:0a:00:00:0a) on lan0",
      "guest web2: assign 10.0.0.11 (fe:00:0a:00:00:0b) on lan0",
    ]);
    expect([...site.entries.keys()].sort()).toEqual([
      "address/lan0/10.0.0.10",
      "address/lan0/10.0.0.11",
      "carrier/web/web1/0",
      "group/web",
      "guest/web1",
      "guest/web2",
      "mac/fe:00:0a:00:00:0a",
      "mac/fe:00:0a:00:00:0b",
      "member/lan0/web1/0",
      "member/lan0/web2/0",
      "network/lan0",
    ]);
    expect(site.entries.get("address/lan0/10.0.0.11")?.value).toEqual({ guest: "web2", nic: 0 });
    expect(site.entries.get("guest/web2")?.value).toEqual({
      name: "web2",
      spec: {
        nics: [{ network: "lan0", addresses: [], allowedPairs: [], roles: [], unchecked: [], rates: {}, groups: [] }],
      },
      nics: [{ network: "lan0", mac: "fe:00:0a:00:00:0b", addresses4: ["10.0.0.11"] }],
    });
  });

  test("does not depend on the order of its documents", () => {
    const site = newSite();
    apply(site, guest("a", "{ network: lan0, groups: [web] }"), web, lan());
    expect(nicsOf(site, "a")).toEqual(["lan0/10.0.0.10 fe:00:0a:00:00:0a"]);
  });

  test("replayed changes nothing, writes nothing and expects nothing", () => {
    const site = newSite();
    const file = [lan(), web, guest("a", "{ network: lan0, groups: [web] }", "{ network: lan0, address4: 10.0.0.50 }")];
    apply(site, ...file);
    const again = plan(site, ...file);
    expect(again.changes.map(({ action, sentences }) => [action, sentences])).toEqual(Array(3).fill(["unchanged", []]));
    expect(again.transaction).toEqual({ expect: [], writes: [] });
  });

  test("expects the revision of everything it leans on", () => {
    const site = newSite(lan(), web);
    const { expect: expected } = plan(site, guest("a", "{ network: lan0, groups: [web] }")).transaction;
    expect(Object.fromEntries(expected.map(({ key, revision }) => [key, revision]))).toEqual({
      "network/lan0": 1,
      "group/web": 2,
      "guest/a": 0,
      "member/lan0/a/0": 0,
      "carrier/web/a/0": 0,
      "address/lan0/10.0.0.10": 0,
      "mac/fe:00:0a:00:00:0a": 0,
    });
  });

  test("expects the groups of a network", () => {
    const site = newSite(lan(), web);
    const withGroups = lan("lan0", "10.0.0.0/24", "range4: [10.0.0.10-10.0.0.12], groups: [web]");
    const { expect: expected } = plan(site, withGroups).transaction;
    expect(Object.fromEntries(expected.map(({ key, revision }) => [key, revision]))).toEqual({
      "network/lan0": 1,
      "group/web": 2,
    });
  });

  test("says what changes of a group, rule by rule", () => {
    const site = newSite(web);
    const rules = "ingress: [{ protocol: tcp, ports: [80, 443], from: any }, { protocol: any, from: { group: web } }]";
    const group = (spec: string): string => `{ kind: group, name: web, spec: { ${spec} } }`;
    expect(apply(site, group(`${rules}, egress: []`))).toEqual([
      "group web: remove ingress tcp 80 from any",
      "group web: add ingress tcp 80, 443 from any",
      "group web: add ingress everything from group web",
      "group web: change egress from everything to []",
    ]);
    const ping = "egress: [{ protocol: icmpv6, type: 128, to: network }, { protocol: 47, to: { prefix: 10.0.0.0/8 } }]";
    expect(apply(site, group(`${rules}, ${ping}`))).toEqual([
      "group web: add egress icmpv6 echo-request to the own network",
      "group web: add egress protocol 47 to 10.0.0.0/8",
    ]);
  });

  test("two plans for one address: the second is refused by the store", () => {
    const site = newSite(lan());
    const [first, second] = [plan(site, guest("a", onLan)), plan(site, guest("b", onLan))];
    site.commit(first.transaction);
    expect(() => site.commit(second.transaction)).toThrow("conflict on address/lan0/10.0.0.10");
  });
});

describe("identities", () => {
  test("stay when anything else of the guest or its network changes", () => {
    const site = newSite(lan(), web, guest("a", onLan));
    expect(apply(site, lan("lan0", "10.0.0.0/24", "range4: [10.0.0.90-10.0.0.99]", "random"))).toEqual([
      "network lan0: remove range4 10.0.0.10-10.0.0.12",
      "network lan0: add range4 10.0.0.90-10.0.0.99",
      "network lan0: change addressing.macScheme from ip to random",
    ]);
    expect(apply(site, guest("a", "{ network: lan0, groups: [web] }"))).toEqual(["guest a: add nics[0].groups web"]);
    expect(nicsOf(site, "a")).toEqual(["lan0/10.0.0.10 fe:00:0a:00:00:0a"]);
  });

  test("named in the file replace those assigned, and what is given back is free again", () => {
    const site = newSite(lan(), guest("a", onLan));
    expect(apply(site, guest("a", "{ network: lan0, address4: 10.0.0.77 }"))).toEqual([
      "guest a: change NIC 0 on lan0 from 10.0.0.10 (fe:00:0a:00:00:0a) to 10.0.0.77 (fe:00:0a:00:00:4d)",
    ]);
    expect(
      apply(site, guest("a", "{ network: lan0, address4: 10.0.0.77, mac: 02:00:00:00:00:09 }"), guest("b", onLan)),
    ).toEqual([
      "guest a: change NIC 0 on lan0 from 10.0.0.77 (fe:00:0a:00:00:4d) to 10.0.0.77 (02:00:00:00:00:09)",
      "guest b: assign 10.0.0.10 (fe:00:0a:00:00:0a) on lan0",
    ]);
  });

  test("named first and left out later are kept", () => {
    const site = newSite(lan(), guest("a", "{ network: lan0, address4: 10.0.0.77, mac: 02:00:00:00:00:09 }"));
    expect(apply(site, guest("a", onLan))).toEqual([
      "guest a: remove nics[0].mac (02:00:00:00:00:09)",
      "guest a: remove nics[0].address4 (10.0.0.77)",
    ]);
    expect(nicsOf(site, "a")).toEqual(["lan0/10.0.0.77 02:00:00:00:00:09"]);
  });

  test("of a drawn MAC: it stays with the NIC when the address changes", () => {
    const site = newSite(lan("lan0", "10.0.0.0/24", "range4: [10.0.0.10-10.0.0.12]", "random"), guest("a", onLan));
    expect(nicsOf(site, "a")).toEqual(["lan0/10.0.0.10 02:00:00:00:00:01"]);
    apply(site, guest("a", "{ network: lan0, address4: 10.0.0.77 }"));
    expect(nicsOf(site, "a")).toEqual(["lan0/10.0.0.77 02:00:00:00:00:01"]);
  });

  test("of a MAC that spells an address given up: it goes with the address", () => {
    const site = newSite(
      lan(),
      guest("a", onLan),
      lan("lan0", "10.0.0.0/24", "range4: [10.0.0.10-10.0.0.12]", "random"),
    );
    apply(site, guest("a", "{ network: lan0, address4: 10.0.0.77 }"));
    expect(nicsOf(site, "a")).toEqual(["lan0/10.0.0.77 02:00:00:00:00:01"]);
  });

  test("two guests can swap their addresses in one file", () => {
    const nic = (last: number): string => `{ network: lan0, address4: 10.0.0.${last} }`;
    const site = newSite(lan(), guest("a", nic(20)), guest("b", nic(21)));
    apply(site, guest("a", nic(21)), guest("b", nic(20)));
    expect([nicsOf(site, "a"), nicsOf(site, "b")]).toEqual([
      ["lan0/10.0.0.21 fe:00:0a:00:00:15"],
      ["lan0/10.0.0.20 fe:00:0a:00:00:14"],
    ]);
    expect(site.entries.get("address/lan0/10.0.0.21")?.value).toEqual({ guest: "a", nic: 0 });
  });

  test("named anywhere in the file are not assigned to a guest before it", () => {
    const site = newSite(lan());
    apply(site, guest("a", onLan), guest("b", "{ network: lan0, address4: 10.0.0.10 }"));
    expect(nicsOf(site, "a")).toEqual(["lan0/10.0.0.11 fe:00:0a:00:00:0b"]);
  });

  test("NICs are appended, and the last is taken away with what it held", () => {
    const site = newSite(lan(), guest("a", onLan));
    expect(apply(site, guest("a", onLan, onLan))).toEqual(["guest a: assign 10.0.0.11 (fe:00:0a:00:00:0b) on lan0"]);
    expect(apply(site, guest("a", onLan))).toEqual([
      "guest a: remove NIC 1, release 10.0.0.11 (fe:00:0a:00:00:0b) on lan0",
    ]);
    expect([...site.entries.keys()].filter((key) => /^(?:address|mac)\//.test(key))).toEqual([
      "address/lan0/10.0.0.10",
      "mac/fe:00:0a:00:00:0a",
    ]);
  });

  test("a NIC moves to another network with a new address", () => {
    const site = newSite(lan(), lan("lan1", "10.1.0.0/24", "range4: [10.1.0.5]", "ip", "br1"), guest("a", onLan));
    expect(apply(site, guest("a", "{ network: lan1 }"))).toEqual([
      "guest a: move NIC 0 from lan0 to lan1, 10.0.0.10 (fe:00:0a:00:00:0a) to 10.1.0.5 (fe:00:0a:01:00:05)",
    ]);
    expect(site.entries.has("address/lan0/10.0.0.10")).toBe(false);
  });

  test("on one bridge an address is one machine, by whichever network it is given", () => {
    const site = newSite(lan(), lan("lan1", "10.0.0.0/16", "range4: [10.0.0.2-10.0.0.30]"), guest("a", onLan));
    const { transaction } = plan(site, guest("b", ...Array(9).fill("{ network: lan1 }")));
    site.commit(transaction);
    expect(nicsOf(site, "b").map((text) => text.split(" ")[0])).toEqual(
      [2, 3, 4, 5, 6, 7, 8, 9, 11].map((n) => `lan1/10.0.0.${n}`),
    );
    expect(transaction.expect).toContainEqual({ key: "address/lan0/10.0.0.11", revision: 0 });
    expect(refusal(() => plan(site, guest("c", "{ network: lan0, address4: 10.0.0.4 }")))).toEqual({
      code: "ADDRESS_TAKEN",
      message: "10.0.0.4 on network 'lan1', wanted for NIC 0 of guest 'c', is held by NIC 2 of guest 'b'",
    });
  });

  test("a derived MAC that another wire's guest holds makes the next address the free one", () => {
    const site = newSite(
      lan(),
      lan("far", "10.0.0.0/24", "range4: [10.0.0.10-10.0.0.12]", "ip", "br1"),
      guest("a", onLan),
    );
    apply(site, guest("b", "{ network: far }"));
    expect(nicsOf(site, "b")).toEqual(["far/10.0.0.11 fe:00:0a:00:00:0b"]);
  });
});

describe("what is one NIC's alone", () => {
  const lan6 = lan("lan0", "10.0.0.0/24", 'range4: [10.0.0.10-10.0.0.12], prefix6: "2001:db8::/64"');
  const alone = (...addresses: readonly string[]): string =>
    `{ network: lan0, addresses: [${addresses.map((address) => `"${address}"`).join(", ")}] }`;

  test.each<[string, string, string, string]>([
    ["a prefix with somebody's address in it", alone("10.0.0.8/29"), onLan, "10.0.0.8/29 of NIC 0 of guest 'b'"],
    ["a prefix with the gateway in it", alone("10.0.0.0/30"), onLan, "10.0.0.0/30 of NIC 0 of guest 'b'"],
    ["two prefixes that meet", alone("10.9.0.0/24"), alone("10.9.0.128/25"), "10.9.0.128/25 of NIC 0 of guest 'a'"],
    ["an address in a prefix", alone("2001:db8:9::/48"), alone("2001:db8:9::5"), "2001:db8:9::5 of NIC 0 of guest 'a'"],
    [
      "the address that another NIC's MAC makes",
      '{ network: lan0, address6: "2001:db8::fc00:aff:fe00:a" }',
      onLan,
      "2001:db8::fc00:aff:fe00:a of NIC 0 of guest",
    ],
  ])("meets nobody else's: %s", (_, first, second, words) => {
    const site = newSite(lan6);
    apply(site, guest("a", onLan));
    const given = refusal(() => plan(site, guest("a", second), guest("b", first)));
    expect(given.code).toBe("ADDRESS_TAKEN");
    expect(given.message).toContain(words);
  });

  test("may hold its own single addresses, and others' prefixes beside it", () => {
    const site = newSite(lan6);
    apply(site, guest("a", alone("10.9.0.0/25", "10.9.0.7")), guest("b", alone("10.9.0.128/25", "2001:db8:1::/64")));
    expect(nicsOf(site, "a")).toEqual(["lan0/10.0.0.10 fe:00:0a:00:00:0a"]);
  });

  test("outside the network's prefix does not hinder the network", () => {
    const site = newSite(lan6, guest("a", alone("10.9.0.7")));
    expect(
      apply(site, lan("lan0", "10.0.0.0/24", 'range4: [10.0.0.10-10.0.0.99], prefix6: "2001:db8::/64"')),
    ).not.toEqual([]);
  });
});

describe("is refused whole", () => {
  const full = (): Site => newSite(lan(), web, guest("a", "{ network: lan0, groups: [web] }"), guest("b", onLan));
  test.each<[string, string, string, readonly string[]]>([
    [
      "an address somebody holds",
      "ADDRESS_TAKEN",
      "10.0.0.10 on network 'lan0', wanted for NIC 0 of guest 'c', is held by NIC 0 of guest 'a'",
      [guest("c", "{ network: lan0, address4: 10.0.0.10 }")],
    ],
    [
      "a MAC somebody holds",
      "MAC_TAKEN",
      "MAC fe:00:0a:00:00:0a, wanted for NIC 0 of guest 'c', is held by NIC 0 of guest 'a'",
      [guest("c", "{ network: lan0, mac: fe:00:0a:00:00:0a }")],
    ],
    [
      "a full pool",
      "POOL_EXHAUSTED",
      "network 'lan0' has no free address: all 3 of 10.0.0.10-10.0.0.12 are held or the gateway's",
      [guest("c", onLan), guest("d", onLan)],
    ],
    [
      "a network that is not there",
      "SITE_INVALID",
      "guest c: spec.nics[0].network: there is no network 'lan9'",
      [guest("c", "{ network: lan9 }")],
    ],
    [
      "a group that is not there",
      "SITE_INVALID",
      "guest c: spec.nics[0].groups: there is no group 'db'",
      [guest("c", "{ network: lan0, groups: [db] }")],
    ],
    [
      "a network's group that is not there",
      "SITE_INVALID",
      "network lan2: spec.groups: there is no group 'db'",
      [lan("lan2", "10.0.2.0/24", "range4: [], groups: [web, db]")],
    ],
    [
      "the gateway's address",
      "SITE_INVALID",
      "guest c: spec.nics[0].address4: 10.0.0.1 is not an address for guests in 10.0.0.0/24",
      [guest("c", "{ network: lan0, address4: 10.0.0.1 }")],
    ],
    [
      "a prefix without the addresses that are held",
      "IN_USE",
      "network 'lan0' cannot be so: 10.0.1.0/24 with gateway 10.0.1.1 has no place for the addresses of a (10.0.0.10), b (10.0.0.11)",
      [lan("lan0", "10.0.1.0/24", "range4: [10.0.1.10]")],
    ],
    [
      "a gateway at a guest's address",
      "IN_USE",
      "network 'lan0' cannot be so: 10.0.0.0/24 with gateway 10.0.0.11 has no place for the addresses of b (10.0.0.11)",
      [lan().replace("gateway4: 10.0.0.1,", "gateway4: 10.0.0.11,")],
    ],
    [
      "another network's gateway at a guest's address",
      "IN_USE",
      "network 'lan1' cannot be so: its gateway is the address of b (10.0.0.11)",
      [lan("lan1", "10.0.0.0/24", "range4: []").replace("gateway4: 10.0.0.1,", "gateway4: 10.0.0.11,")],
    ],
    [
      "a gateway's MAC that a guest holds",
      "MAC_TAKEN",
      "gatewayMac fe:00:0a:00:00:0a of network 'lan0' is held by guest 'a'",
      [lan("lan0", "10.0.0.0/24", "range4: [10.0.0.10-10.0.0.12], gatewayMac: fe:00:0a:00:00:0a")],
    ],
  ])("%s", (_, code, message, documents) => {
    const site = full();
    expect(plan(site, guest("c", onLan)).transaction.writes.length, "control").toBeGreaterThan(0);
    expect(refusal(() => plan(site, ...documents))).toEqual({ code, message });
  });

  test("a bridge on which others have the same addresses", () => {
    const site = newSite(
      lan(),
      lan("far", "10.0.0.0/24", "range4: [10.0.0.10]", "random", "br1"),
      guest("a", onLan),
      guest("b", "{ network: far }"),
    );
    expect(refusal(() => plan(site, lan("far", "10.0.0.0/24", "range4: []", "random")))).toEqual({
      code: "IN_USE",
      message: "network 'far' cannot be so: network 'lan0' on the same bridge has the addresses of b (10.0.0.10)",
    });
  });

  test("taking a NIC from a guest that is attached; without a port it is taken", () => {
    const site = newSite(lan(), guest("a", onLan, onLan));
    const name = parseObjectName("a");
    if (name !== undefined) site.attached.add(name);
    expect(refusal(() => plan(site, guest("a", onLan)))).toEqual({
      code: "IN_USE",
      message:
        "guest 'a' cannot lose 1 of its NICs while it is attached: 'vifguard detach PORT' first ('vifguard status' shows its ports)",
    });
    site.attached.clear();
    expect(apply(site, guest("a", onLan))).toHaveLength(1);
  });
});

describe("removing", () => {
  test("a guest gives back what it held", () => {
    const site = newSite(lan(), guest("a", onLan), guest("b", onLan));
    expect(remove(site, "guest", "a")).toEqual([
      "guest a: delete",
      "guest a: release 10.0.0.10 (fe:00:0a:00:00:0a) on lan0",
    ]);
    expect([...site.entries.keys()].sort()).toEqual([
      "address/lan0/10.0.0.11",
      "guest/b",
      "mac/fe:00:0a:00:00:0b",
      "member/lan0/b/0",
      "network/lan0",
    ]);
    apply(site, guest("c", onLan));
    expect(nicsOf(site, "c")).toEqual(["lan0/10.0.0.10 fe:00:0a:00:00:0a"]);
  });

  test("what is used is refused with its users, and goes once they are gone", () => {
    const peer = "{ kind: group, name: db, spec: { ingress: [{ protocol: tcp, from: { group: web } }] } }";
    const site = newSite([lan("lan0", "10.0.0.0/24", "range4: [10.0.0.10-10.0.0.99]"), web, peer].join("\n---\n"));
    for (let n = 1; n <= 10; n += 1) apply(site, guest(`g${n}`, "{ network: lan0, groups: [web] }"));
    const eight = [1, 2, 3, 4, 5, 6, 7, 8].map((n) => `guest 'g${n}'`).join(", ");
    expect(refusal(() => remove(site, "network", "lan0"))).toEqual({
      code: "IN_USE",
      message: `network 'lan0' is used by ${eight} and 2 more`,
    });
    expect(refusal(() => remove(site, "group", "web"))).toEqual({
      code: "IN_USE",
      message: `group 'web' is used by ${eight} and 3 more`,
    });
    for (let n = 1; n <= 10; n += 1) remove(site, "guest", `g${n}`);
    expect(refusal(() => remove(site, "group", "web"))).toEqual({
      code: "IN_USE",
      message: "group 'web' is used by group 'db'",
    });
    const base = lan("lan0", "10.0.0.0/24", "range4: [10.0.0.10-10.0.0.99], groups: [web]");
    expect(apply(site, base)).toEqual(["network lan0: add groups web"]);
    remove(site, "group", "db");
    expect(refusal(() => remove(site, "group", "web"))).toEqual({
      code: "IN_USE",
      message: "group 'web' is used by network 'lan0'",
    });
    apply(site, base.replace(", groups: [web]", ""), peer);
    expect([remove(site, "group", "db"), remove(site, "group", "web"), remove(site, "network", "lan0")]).toEqual([
      ["group db: delete"],
      ["group web: delete"],
      ["network lan0: delete"],
    ]);
    expect(site.entries.size).toBe(0);
  });

  test("a guest that is attached is refused", () => {
    const site = newSite(lan(), guest("a", onLan));
    const name = parseObjectName("a");
    if (name !== undefined) site.attached.add(name);
    expect(refusal(() => remove(site, "guest", "a"))).toEqual({
      code: "IN_USE",
      message:
        "guest 'a' cannot be deleted while it is attached: 'vifguard detach PORT' first ('vifguard status' shows its ports)",
    });
    site.attached.clear();
    expect(remove(site, "guest", "a")).toHaveLength(2);
  });

  test.each<[Kind, string]>([
    ["network", "lan9"],
    ["group", "web"],
    ["guest", "../a"],
  ])("%s %s, which is not there", (kind, name) => {
    expect(refusal(() => remove(newSite(lan()), kind, name))).toEqual({
      code: "NOT_FOUND",
      message: `${kind} "${name}" does not exist`,
    });
  });
});

test("four thousand guests of one file", () => {
  const site = newSite(
    lan("lan0", "10.0.0.0/16", "range4: [10.0.0.0-10.0.255.254]".replace("10.0.0.0-", "10.0.0.2-"), "random"),
  );
  const file = [web, ...Array.from({ length: 4000 }, (_, n) => guest(`g${n}`, "{ network: lan0, groups: [web] }"))];
  const first = plan(site, ...file);
  site.commit(first.transaction);
  expect(first.transaction.writes).toHaveLength(1 + 5 * 4000);
  expect(new Set([...site.held().guests.values()].flatMap(({ nics }) => nics.map(({ mac }) => mac))).size).toBe(4000);
  expect(nicsOf(site, "g3999")[0]).toMatch(/^lan0\/10\.0\.15\.161 /);
  expect(plan(site, ...file).transaction.writes).toEqual([]);
});

type Step =
  | { readonly op: "apply"; readonly documents: readonly string[] }
  | { readonly op: "remove"; readonly kind: Kind; readonly name: string };

const names = fc.constantFrom("a", "b", "c", "d");
const someNic = fc
  .record(
    {
      network: fc.constantFrom("lan0", "lan1", "far"),
      address4: fc.integer({ min: 2, max: 9 }).map((last) => `10.0.0.${last}`),
      mac: fc.constantFrom("02:00:00:00:00:01", "02:00:00:00:00:02", "fe:00:0a:00:00:03"),
      groups: fc.constant(["web"]),
    },
    { requiredKeys: ["network"] },
  )
  .map((nic) => JSON.stringify(nic));
const someGuest = fc
  .tuple(names, fc.array(someNic, { minLength: 1, maxLength: 3 }))
  .map(([name, nics]) => ({ name, text: guest(name, ...nics) }));
const someLan = fc
  .record({
    name: fc.constantFrom("lan0", "lan1", "far"),
    length: fc.constantFrom(28, 29, 24),
    range: fc.constantFrom("10.0.0.2-10.0.0.6", "10.0.0.4"),
    scheme: fc.constantFrom("ip", "random"),
    bridge: fc.constantFrom("br0", "br0", "br1"),
  })
  .map(({ name, length, range, scheme, bridge }) =>
    lan(name, `10.0.0.0/${length}`, `range4: [${range}]`, scheme, bridge),
  );
const step: fc.Arbitrary<Step> = fc.oneof(
  {
    weight: 4,
    arbitrary: fc
      .uniqueArray(someGuest, { minLength: 1, maxLength: 3, selector: ({ name }) => name })
      .map((guests) => ({ op: "apply" as const, documents: guests.map(({ text }) => text) })),
  },
  { weight: 1, arbitrary: someLan.map((text) => ({ op: "apply" as const, documents: [text] })) },
  { weight: 1, arbitrary: names.map((name) => ({ op: "remove" as const, kind: "guest" as const, name })) },
  {
    weight: 1,
    arbitrary: fc
      .constantFrom("lan1", "far")
      .map((name) => ({ op: "remove" as const, kind: "network" as const, name })),
  },
);

/** True when the step was planned and committed; what is refused leaves everything as it was. */
function take(site: Site, next: Step): boolean {
  const before = JSON.stringify([...site.entries]);
  try {
    if (next.op === "remove") remove(site, next.kind, next.name);
    else apply(site, ...next.documents);
    return true;
  } catch (error) {
    if (!(error instanceof GuardError)) throw error;
    expect(JSON.stringify([...site.entries])).toBe(before);
    return false;
  }
}

/** Claims as the guests' own NICs say them. */
function claimsOfGuests({ guests }: HeldSite): readonly (readonly [Key, Json])[] {
  return [...guests.values()].flatMap(({ name, nics }) =>
    nics.flatMap(({ network, mac, addresses4 }, nic) => [
      ...addresses4.map((address) => [`address/${network}/${address}`, { guest: name, nic }] as const),
      [`mac/${mac}`, { guest: name, nic }] as const,
    ]),
  );
}

function assertSound(site: Site): void {
  const held = site.held();
  const claims = claimsOfGuests(held);
  expect(new Set(claims.map(([key]) => key)).size, "nothing is held twice").toBe(claims.length);
  const stored = [...site.entries]
    .filter(([key]) => /^(?:address|mac)\//.test(key))
    .map(([key, { value }]) => [key, value]);
  expect(Object.fromEntries(stored), "claims and NICs are the same").toEqual(Object.fromEntries(claims));
  const onWire = [...held.guests.values()].flatMap(({ nics }) =>
    nics.flatMap(({ network, addresses4 }) =>
      addresses4.map((address) => `${JSON.stringify(held.networks.get(network)?.wiring)} ${address}`),
    ),
  );
  expect(new Set(onWire).size, "one address is one machine on a bridge").toBe(onWire.length);
  for (const { spec, nics } of held.guests.values()) {
    expect(nics.map(({ network }) => network)).toEqual(spec.nics.map(({ network }) => network));
    for (const [n, { mac, addresses4 }] of nics.entries()) {
      expect(addresses4).not.toContain("10.0.0.1");
      expect([mac, addresses4[0]]).toEqual([spec.nics[n]?.mac ?? mac, spec.nics[n]?.address4 ?? addresses4[0]]);
    }
  }
}

test("any history of plans keeps addresses and MACs single and claimed, and a file replayed is an empty plan", () => {
  const taken = { apply: 0, remove: 0 };
  fc.assert(
    fc.property(fc.array(step, { minLength: 5, maxLength: 30 }), (steps) => {
      const site = newSite(
        web,
        lan(),
        lan("lan1", "10.0.0.0/28", "range4: [10.0.0.2-10.0.0.6]"),
        lan("far", "10.0.0.0/29", "range4: [10.0.0.2-10.0.0.4]", "ip", "br1"),
      );
      for (const next of steps) {
        if (!take(site, next)) continue;
        taken[next.op] += 1;
        assertSound(site);
        if (next.op === "apply") expect(plan(site, ...next.documents).transaction).toEqual({ expect: [], writes: [] });
      }
    }),
    { numRuns: 150 },
  );
  expect(taken.apply, "control").toBeGreaterThan(300);
  expect(taken.remove, "control").toBeGreaterThan(50);
});
