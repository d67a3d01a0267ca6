/** Public addresses of nat networks: who may have which, what a plan says and writes of it, and that two writers of one address meet. */
import { describe, expect, test } from "vitest";
import { loadSite } from "../config/load.ts";
import { GuardError } from "../model/errors.ts";
import type { MacAddress } from "../model/mac.ts";
import type { Json, Key, Revision, Transaction } from "../store/store.ts";
import { loadSite as loadStored } from "../store/stored-site.ts";
import type { Claim } from "./claims.ts";
import { type HeldSite, planRemove, planSite, type SitePlan } from "./site.ts";

type Entries = Map<Key, { readonly key: Key; readonly value: Json; readonly revision: Revision }>;

function createSite() {
  const entries: Entries = new Map();
  let revision = 0;
  const commit = ({ expect: expected, writes }: Transaction): void => {
    for (const { key, revision: wanted } of expected)
      if ((entries.get(key)?.revision ?? 0) !== wanted) throw new Error(`conflict on ${key}`);
    revision += 1;
    for (const write of writes)
      if (write.op === "put") entries.set(write.key, { key: write.key, value: write.value, revision });
      else entries.delete(write.key);
  };
  const held = (): HeldSite => {
    const copied = new Map(
      [...entries].map(([key, entry]) => [key, { ...entry, value: JSON.parse(JSON.stringify(entry.value)) }]),
    );
    const { networks, groups, guests, addressClaims, macClaims, publics, revisions } = loadStored({
      revision,
      entries: copied,
    });
    const addresses: ReadonlyMap<string, Claim> = addressClaims;
    const macs: ReadonlyMap<MacAddress, Claim> = macClaims;
    return { networks, groups, guests, addresses, macs, publics, revisions, attached: new Set() };
  };
  return { entries, commit, held };
}
type Site = ReturnType<typeof createSite>;

const plan = (site: Site, ...documents: readonly string[]): SitePlan =>
  planSite(site.held(), loadSite(documents.join("\n---\n"), "site.yaml"), (count) => new Uint8Array(count));
function apply(site: Site, ...documents: readonly string[]): readonly string[] {
  const { changes, transaction } = plan(site, ...documents);
  site.commit(transaction);
  return changes.flatMap(({ sentences }) => sentences);
}
const publics = (site: Site): Readonly<Record<string, Json>> =>
  Object.fromEntries(
    [...site.entries.values()]
      .filter(({ key }) => key.startsWith("public/"))
      .map(({ key, value }) => [key.slice(7), value]),
  );
function refusal(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof GuardError) return `${error.code} ${error.message}`;
    throw error;
  }
  throw new Error("it was planned");
}

const inside = (name = "inside", masquerade = "false", prefix = "10.66.0"): string =>
  `{ kind: network, name: ${name}, spec: { prefix4: ${prefix}.0/24, gateway4: ${prefix}.1, range4: [${prefix}.10-${prefix}.99],
    wiring: { kind: nat, uplink: eth0, masquerade: ${masquerade} }, addressing: { kind: managed, macScheme: ip } } }`;
const lan = (range = "203.0.113.10-203.0.113.12"): string =>
  `{ kind: network, name: lan0, spec: { prefix4: 203.0.113.0/24, gateway4: 203.0.113.1, range4: [${range}],
    wiring: { kind: routed, uplink: eth0 }, addressing: { kind: managed, macScheme: ip } } }`;
const guest = (name: string, nic = "", network = "inside"): string =>
  `{ kind: guest, name: ${name}, spec: { nics: [{ network: ${network}${nic === "" ? "" : `, ${nic}`} }] } }`;
const whole = (last: number): string => `public4: 203.0.113.${last}`;
const service = (last: number, ports: string, protocol = "tcp"): string =>
  `services: [{ public4: 203.0.113.${last}, protocol: ${protocol}, ports: [${ports}] }]`;

describe("what a NIC has outside", () => {
  test("is told, held in one record for the address, and given back", () => {
    const site = createSite();
    expect(apply(site, inside(), guest("web", whole(5)))).toEqual([
      "network inside: create 10.66.0.0/24 with gateway 10.66.0.1 translated by uplink eth0, without a way out for guests that have no public address",
      "guest web: assign 10.66.0.10 (fe:00:0a:42:00:0a) on inside, public 203.0.113.5",
    ]);
    expect(publics(site)).toEqual({ "203.0.113.5": { holders: [{ kind: "whole", guest: "web", nic: 0 }] } });
    expect(apply(site, guest("web", service(5, "80, 8000-8010")))).toEqual([
      "guest web: remove nics[0].public4 (203.0.113.5)",
      "guest web: set nics[0].services to 203.0.113.5 tcp 80, 8000-8010",
    ]);
    expect(apply(site, guest("names", service(5, "53", "udp")))).toEqual([
      "guest names: assign 10.66.0.11 (fe:00:0a:42:00:0b) on inside, public 203.0.113.5 udp 53",
    ]);
    expect(publics(site)["203.0.113.5"]).toEqual({
      holders: [
        { kind: "service", guest: "web", nic: 0, protocol: "tcp", first: 80, last: 80 },
        { kind: "service", guest: "web", nic: 0, protocol: "tcp", first: 8000, last: 8010 },
        { kind: "service", guest: "names", nic: 0, protocol: "udp", first: 53, last: 53 },
      ],
    });
    site.commit(planRemove(site.held(), "guest", "web").transaction);
    expect(publics(site)["203.0.113.5"]).toEqual({
      holders: [{ kind: "service", guest: "names", nic: 0, protocol: "udp", first: 53, last: 53 }],
    });
    site.commit(planRemove(site.held(), "guest", "names").transaction);
    expect(publics(site)).toEqual({});
  });

  test("applied again changes nothing; two guests may swap", () => {
    const site = createSite();
    const file = [inside("inside", "203.0.113.9"), guest("a", whole(5)), guest("b", whole(6))];
    apply(site, ...file);
    expect(plan(site, ...file).transaction.writes).toEqual([]);
    apply(site, guest("a", whole(6)), guest("b", whole(5)));
    expect(publics(site)["203.0.113.5"]).toEqual({ holders: [{ kind: "whole", guest: "b", nic: 0 }] });
    expect(publics(site)["203.0.113.9"]).toEqual({ holders: [{ kind: "masquerade", network: "inside" }] });
    for (const name of ["a", "b"]) site.commit(planRemove(site.held(), "guest", name).transaction);
    site.commit(planRemove(site.held(), "network", "inside").transaction);
    expect(publics(site)).toEqual({});
  });
});

describe("an address is never two guests', nor anybody else's", () => {
  test.each([
    [
      "whole twice",
      [whole(5), whole(5)],
      "public address 203.0.113.5, wanted for NIC 0 of guest 'b', is held by NIC 0 of guest 'a'",
    ],
    [
      "whole, and a port of it",
      [whole(5), service(5, "80")],
      "wanted for NIC 0 of guest 'b' (tcp 80), is held by NIC 0 of guest 'a'",
    ],
    [
      "a port of it, and whole",
      [service(5, "80"), whole(5)],
      "wanted for NIC 0 of guest 'b', is held by NIC 0 of guest 'a' (tcp 80)",
    ],
    [
      "one port twice",
      [service(5, "80"), service(5, "70-90")],
      "wanted for NIC 0 of guest 'b' (tcp 70-90), is held by NIC 0 of guest 'a' (tcp 80)",
    ],
  ])("%s", (_, [a = "", b = ""], says) => {
    const site = createSite();
    apply(site, inside(), guest("a", a));
    expect(refusal(() => plan(site, guest("b", b)))).toContain(says);
    expect(refusal(() => plan(createSite(), inside(), guest("a", a), guest("b", b)))).toContain("ADDRESS_TAKEN");
  });

  test.each([
    ["other ports", [service(5, "80"), service(5, "81-90")]],
    ["the same port of another protocol", [service(5, "53"), service(5, "53", "udp")]],
    ["by which a network leaves", [service(9, "80"), ""]],
  ])("control: %s may be shared", (_, [a = "", b = ""]) => {
    expect(() => plan(createSite(), inside("inside", "203.0.113.9"), guest("a", a), guest("b", b))).not.toThrow();
  });

  test("a gateway's, a routed guest's, one inside, or one by which a network leaves", () => {
    const site = createSite();
    apply(site, inside(), lan(), guest("routed", "", "lan0"), inside("other", "203.0.113.9", "10.67.0"));
    const why = (nic: string): string => refusal(() => plan(site, guest("b", nic)));
    expect(why(whole(1))).toContain("is held by the gateway of network 'lan0'");
    expect(why(whole(10))).toContain("is held by NIC 0 of guest 'routed' on network 'lan0'");
    expect(why("public4: 10.67.0.50")).toContain("whose private prefix4 10.67.0.0/24 it lies in");
    expect(why(whole(9))).toContain("is held by network 'other', whose guests leave by it");
    expect(() => plan(site, guest("b", whole(5)))).not.toThrow();
  });

  test("nor is it given to a routed guest: a pool goes round it, and a fixed address is refused", () => {
    const site = createSite();
    apply(site, inside(), lan(), guest("a", whole(10)), guest("routed", "", "lan0"));
    expect([...site.held().guests.values()].find(({ name }) => name === "routed")?.nics[0]?.addresses4).toEqual([
      "203.0.113.11",
    ]);
    expect(refusal(() => plan(site, guest("c", "address4: 203.0.113.10", "lan0")))).toBe(
      "ADDRESS_TAKEN 203.0.113.10, wanted for NIC 0 of guest 'c', is held by NIC 0 of guest 'a' as its public address",
    );
  });

  test("nor does a network come to meet it, or give up translating it, afterwards", () => {
    const site = createSite();
    apply(site, inside(), guest("a", whole(1)), guest("b", "public4: 10.67.0.9"));
    expect(refusal(() => plan(site, lan()))).toContain(
      "203.0.113.1, wanted for NIC 0 of guest 'a', is held by the gateway",
    );
    expect(refusal(() => plan(site, inside("other", "false", "10.67.0")))).toContain(
      "whose private prefix4 10.67.0.0/24 it lies in",
    );
    expect(
      refusal(() => plan(site, inside().replace("kind: nat", "kind: routed").replace(", masquerade: false", ""))),
    ).toBe("IN_USE network 'inside' must stay of wiring nat: guests have public addresses ('a', 'b')");
    expect(() => plan(site, inside("inside", "true"))).not.toThrow();
  });

  test("of two writers who do not know of each other one must look again", () => {
    const site = createSite();
    apply(site, inside(), lan());
    const one = plan(site, guest("a", `address4: 10.66.0.20, ${service(11, "80")}`)).transaction;
    const sameAddress = plan(site, guest("b", `address4: 10.66.0.21, ${whole(11)}`)).transaction;
    const routed = plan(site, guest("c", "address4: 203.0.113.11", "lan0")).transaction;
    site.commit(one);
    expect(() => site.commit(sameAddress)).toThrow("conflict on public/203.0.113.11");
    expect(() => site.commit(routed)).toThrow("conflict on public/203.0.113.11");
    const shared = plan(site, guest("b", `address4: 10.66.0.21, ${service(11, "81")}`)).transaction;
    const alsoShared = plan(site, guest("c", `address4: 10.66.0.22, ${service(11, "81")}`)).transaction;
    site.commit(shared);
    expect(() => site.commit(alsoShared)).toThrow("conflict on public/203.0.113.11");
  });
});
