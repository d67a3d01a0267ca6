/** Transport networks from the file to what the host is to hold: which ends guests get, that nobody gets two guests' ends, and what the guard knows of a link. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { loadSite } from "../config/load.ts";
import { memoryLinks } from "../kernel/links-memory.ts";
import { parseInterfaceName, parseObjectName } from "../model/names.ts";
import { link4At } from "../model/transport.ts";
import { HOST_PORT_MAC } from "../model/wiring.ts";
import { networkElements, portElements } from "../ruleset/elements.ts";
import { networkFacts, portWish, type SiteView } from "./desired.ts";
import { freshSite, planSite } from "./site.ts";
import { address6Of, nicsOf } from "./sources.ts";

const zeros = (count: number): Uint8Array => new Uint8Array(count);
const network = (fields: string, name = "t", wiring = "transport, uplink: eth0"): string =>
  `{ kind: network, name: ${name}, spec: { ${fields}, wiring: { kind: ${wiring} }, addressing: { kind: managed, macScheme: ip } } }\n`;
const guest = (name: string, nic = "", of = "t"): string =>
  `---\n{ kind: guest, name: ${name}, spec: { nics: [{ network: ${of}${nic} }] } }\n`;
const fresh = (text: string): SiteView => freshSite(loadSite(text, "test"), zeros);

function addressesOf(site: SiteView, name: string): readonly string[] {
  const found = [...site.guests.values()].find((one) => one.name === name);
  return (found === undefined ? [] : nicsOf(found)).flatMap((nic) => {
    const spec = site.networks.get(nic.identity.network);
    const six = spec === undefined ? undefined : address6Of(nic, spec);
    return [...nic.identity.addresses4, ...(six === undefined ? [] : [six])];
  });
}

describe("guests get right-hand ends, lowest first, and the twin link of IPv6", () => {
  const pool = "prefix4: 10.0.0.0/24, prefix6: 2001:db8::/64, range4: [10.0.0.0-10.0.0.255]";
  test.each([
    [31, ["10.0.0.1", "2001:db8::3"], ["10.0.0.3", "2001:db8::5"]],
    [30, ["10.0.0.2", "2001:db8::3"], ["10.0.0.6", "2001:db8::5"]],
  ])("/%i", (link4, first, second) => {
    const site = fresh(network(pool, "t", `transport, uplink: eth0, link4: ${link4}`) + guest("a") + guest("b"));
    expect([addressesOf(site, "a"), addressesOf(site, "b")]).toEqual([first, second]);
  });

  test("named ends come before those that are assigned, in both families", () => {
    const site = fresh(network(pool) + guest("a") + guest("b", ", address4: 10.0.0.1, address6: '2001:db8::1'"));
    expect([addressesOf(site, "a"), addressesOf(site, "b")]).toEqual([
      ["10.0.0.3", "2001:db8::5"],
      ["10.0.0.1", "2001:db8::1"],
    ]);
  });

  test("an end that another guest's link has already is refused, the other end of it too", () => {
    const text = network(pool) + guest("a");
    expect(() => fresh(text + guest("b", ", address4: 10.0.0.3, address6: '2001:db8::3'"))).toThrow(
      "2001:db8::2/127 of NIC 0 of guest 'b' meets 2001:db8::2/127 of NIC 0 of guest 'a'",
    );
    expect(fresh(text + guest("b", ", address4: 10.0.0.3, address6: '2001:db8::7'")).guests.size, "control").toBe(2);
  });

  test("when the pool is used up it says so with the number of its links", () => {
    const small = network("prefix4: 10.0.0.0/30, range4: [10.0.0.0-10.0.0.3]") + guest("a") + guest("b");
    expect(fresh(small).guests.size).toBe(2);
    expect(() => fresh(small + guest("c"))).toThrow(
      "network 't' has no free address: all 2 of 10.0.0.0-10.0.0.3 are held or the gateway's",
    );
  });

  test("however many are named and assigned, no two links overlap, and nobody has a left-hand end", () => {
    const named = fc.uniqueArray(fc.integer({ min: 0, max: 31 }), { maxLength: 8 });
    fc.assert(
      fc.property(named, fc.integer({ min: 0, max: 20 }), fc.constantFrom(30, 31), (numbers, more, link4) => {
        const step = link4 === 31 ? 2 : 4;
        const guests = [
          ...numbers.map((n) => guest(`n${n}`, `, address4: 10.0.0.${n * step + step / 2}`)),
          ...Array.from({ length: more }, (_, n) => guest(`m${n}`)),
        ];
        const site = fresh(network(pool, "t", `transport, uplink: eth0, link4: ${link4}`) + guests.join(""));
        const ends = [...site.guests.values()].flatMap(({ nics }) => nics.flatMap(({ addresses4 }) => addresses4));
        const links = ends.map((end) => link4At(end, link4 === 31 ? 31 : 30));
        expect(links.map(({ right }) => right)).toEqual(ends);
        expect(new Set(links.map(({ prefix }) => prefix)).size).toBe(numbers.length + more);
        const six = [...site.guests.keys()].map((name) => addressesOf(site, name)[1]);
        expect(new Set(six).size).toBe(six.length);
      }),
      { numRuns: 40 },
    );
  });
});

test("MACs that spell the network spell the link: its length and its gateway", () => {
  const text = network("prefix4: 10.0.0.0/16").replace("macScheme: ip", "macScheme: net");
  const site = fresh(text + guest("a", ", address4: 10.0.7.9"));
  expect([...site.guests.values()][0]?.nics[0]?.mac).toBe("12:08:0a:00:07:09");
});

test("a change of the links' length is refused while it would make a guest's end another one, and told in sentences", () => {
  const wanted = (link4: number): string =>
    network("prefix4: 10.0.0.0/24", "t", `transport, uplink: eth0, link4: ${link4}`);
  const { networks, guests } = fresh(wanted(31) + guest("a", ", address4: 10.0.0.1"));
  const held = {
    networks,
    guests,
    groups: new Map(),
    addresses: new Map([["t/10.0.0.1", { guest: [...guests.keys()][0] ?? fail(), nic: 0 }]]),
    macs: new Map(),
    revisions: new Map(),
    attached: new Set<never>(),
  };
  expect(() => planSite(held, loadSite(wanted(30), "test"), zeros)).toThrow(
    "network 't' cannot be so: 10.0.0.0/24 has no place for the addresses of a (10.0.0.1)",
  );
  const { changes } = planSite({ ...held, networks: new Map() }, loadSite(wanted(31), "test"), zeros);
  expect(changes[0]?.sentences).toEqual(["network t: create 10.0.0.0/24 in links of /31 by uplink eth0"]);
});

function fail(): never {
  throw new TypeError("no guest");
}

describe("the guard of a link", () => {
  const site = fresh(
    network("prefix4: 10.0.0.0/24, prefix6: 2001:db8::/64, range4: [10.0.0.0-10.0.0.255]") + guest("a") + guest("b"),
  );
  const facts = networkFacts(site);
  const links = memoryLinks();
  links.add("eth0");
  const [port, name] = [parseInterfaceName("vif1.0"), parseObjectName("a")];
  if (port === undefined || name === undefined) throw new TypeError("names");
  const attachment = { port, ifindex: 7, epoch: "e", guest: name, nic: 0, fence: 1, since: 0 };
  const wish = portWish(site, facts, attachment, { links, families: ["inet"] });
  const own = [...facts.values()][0];

  test("the port has its own gateway; the network has none of ARP's, and no subnet to ask in", () => {
    expect(wish.binding).toMatchObject({ gateway4: "10.0.0.0", uplink: links.list()[0]?.ifindex });
    const sets = portElements(wish.binding).map(({ set }) => set);
    expect(sets).toContain("link_gateways");
    expect(sets, "it is the kernel that answers").not.toContain("answers4");
    const ofNetwork = own === undefined ? [] : networkElements(own).map(({ set }) => set);
    expect(ofNetwork).not.toContain("prefix4");
    expect(ofNetwork).not.toContain("answers4");
    expect(ofNetwork).not.toContain("answers_all6");
    expect(ofNetwork).toContain("routers");
  });

  test("both ends of every link are at the host's port, for whoever asks", () => {
    const members = (own?.members ?? []).flatMap(({ what, mac }) => ("address" in what ? [[what.address, mac]] : []));
    for (const address of ["10.0.0.0", "10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8::2", "2001:db8::3", "2001:db8::4"])
      expect(members).toContainEqual([address, HOST_PORT_MAC]);
  });

  test("nothing is told to the LAN, and nothing answered there", () => {
    expect(wish.routed?.announced).toEqual([]);
    expect(wish.routed?.items.map(({ kind }) => kind)).not.toContain("proxy");
  });
});
