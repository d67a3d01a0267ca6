/** Exports as text: reviewed files for a small site, the same text for the same site, small differences, bounded time and size, and nothing that a name could do. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cmdlineWords } from "../src/export/cmdline.ts";
import { renderDhcpd4, renderDhcpd6 } from "../src/export/dhcpd.ts";
import { renderDnsmasq } from "../src/export/dnsmasq.ts";
import { renderKea4, renderKea6 } from "../src/export/kea.ts";
import { type ExportedSite, type ServedLink, servedLinks, type Wanted } from "../src/export/site.ts";
import { patience } from "../src/lab/patience.ts";
import { parseInterfaceName } from "../src/model/names.ts";
import { bigSite, siteOf, smallSite } from "./support/export-site.ts";

const formats = [
  { name: "dhcpd.conf", render: renderDhcpd4 },
  { name: "dhcpd6.conf", render: renderDhcpd6 },
  { name: "kea-dhcp4.conf", render: renderKea4 },
  { name: "kea-dhcp6.conf", render: renderKea6 },
  { name: "dnsmasq.conf", render: renderDnsmasq },
] as const;

const everything: Wanted = { networks: [], interfaces: new Map() };
type Render = (links: readonly ServedLink[]) => string;
const textOf = (render: Render, site: ExportedSite, wanted: Wanted = everything): string =>
  render(servedLinks(site, wanted));

function heardOn(...pairs: readonly (readonly [string, string])[]): Wanted["interfaces"] {
  return new Map(
    pairs.flatMap(([network, text]) => {
      const name = parseInterfaceName(text);
      return name === undefined ? [] : [[network, name] as const];
    }),
  );
}

describe.each(formats)("$name", ({ name, render }) => {
  test("is the text that was reviewed", async () => {
    const interfaces = heardOn(["", "eth1"], ["pair", "eth2"]);
    await expect(textOf(render, siteOf(smallSite), { networks: [], interfaces })).toMatchFileSnapshot(
      `golden/export/${name}`,
    );
  });

  test("is the same whatever order the site comes in", () => {
    const site = siteOf(smallSite);
    const turned: ExportedSite = {
      networks: new Map([...site.networks].reverse()),
      guests: new Map([...site.guests].reverse()),
    };
    expect(textOf(render, turned)).toBe(textOf(render, site));
  });

  test("has one line more for one guest more, and all others as they were", () => {
    const site = bigSite(20);
    const missing = [...site.guests.keys()][7];
    const before = textOf(render, {
      ...site,
      guests: new Map([...site.guests].filter(([guest]) => guest !== missing)),
    });
    const lines = textOf(render, site).split("\n");
    const more = lines.filter((line) => !before.includes(line));
    expect(more).toHaveLength(1);
    expect(more[0]).toContain("fe:00:0a:41:00:07");
    expect(lines.filter((line) => line !== more[0]).join("\n")).toBe(before);
  });

  test.each([1, 1000, 50_000])("%i guests cost little time, and a line each", (count) => {
    const site = bigSite(count);
    const started = performance.now();
    const text = textOf(render, site);
    // 0.9 s for 50 000 on a busy machine of two cores.
    expect(performance.now() - started).toBeLessThan(patience(8000));
    expect(text.match(/fe:00:0a:4[12]:[0-9a-f:]{5}/g)).toHaveLength(count);
    expect(text.length).toBeLessThan(3000 + 200 * count);
  });

  test("of one network has nothing of the others", () => {
    const text = textOf(render, siteOf(smallSite), { networks: ["lan0"], interfaces: new Map() });
    expect(text).toContain("lan0");
    expect(text).not.toMatch(/lan1|pair|198\.51\.100|2001:db8:67/);
    expect(text).not.toContain("shared-network");
  });
});

describe("Kea's files", () => {
  test("are JSON, with a reservation for every NIC", () => {
    const four: unknown = JSON.parse(textOf(renderKea4, siteOf(smallSite)));
    expect(four).toMatchObject({
      Dhcp4: {
        "interfaces-config": { interfaces: ["*"] },
        "shared-networks": [{ name: "br0", subnet4: [{ subnet: "203.0.113.0/24" }, { subnet: "198.51.100.0/25" }] }],
        subnet4: [{ subnet: "192.0.2.6/31", reservations: [{ "ip-address": "192.0.2.7" }] }],
      },
    });
    const six: unknown = JSON.parse(textOf(renderKea6, siteOf(smallSite)));
    expect(six).toMatchObject({
      Dhcp6: { subnet6: [{ subnet: "2001:db8:66::/64" }, { subnet: "2001:db8:67::/112" }] },
    });
  });

  test("number a subnet by its name: others come and go, leases stay where they are filed", () => {
    const numbers = (networks: readonly string[]): readonly string[] =>
      textOf(renderKea4, siteOf(smallSite), { networks, interfaces: new Map() }).match(/"id": \d+/g) ?? [];
    expect(numbers([])).toContain(numbers(["pair"])[0]);
    expect(new Set(numbers([])).size).toBe(3);
  });
});

const withDomain = (domain: string): ExportedSite => {
  const site = siteOf(smallSite);
  const networks = new Map(
    [...site.networks].map(([name, spec]) => [name, { ...spec, addressing: { ...spec.addressing, domain } }]),
  );
  return { ...site, networks };
};

describe("what cannot be exported", () => {
  test("text that would mean something else to a server; whatever else is written means itself", () => {
    const words = fc.oneof(fc.string(), fc.constantFrom('a";', "a b", "a,b", "a\nb", "a\\b", "a#b", "}", "é", ""));
    fc.assert(
      fc.property(words, fc.constantFrom(...formats), (domain, { render }) => {
        const isPlain = /^[A-Za-z0-9_][A-Za-z0-9_.-]*$/.test(domain) && domain.length < 254;
        if (!isPlain) expect(() => textOf(render, withDomain(domain))).toThrow("cannot be written");
        else expect(textOf(render, withDomain(domain))).toContain(domain);
      }),
    );
  });

  test("more routes, or search domains, than one option holds", () => {
    const route = (n: number): string => `{ to: 10.${n}.0.0/16, via: 203.0.113.9 }`;
    const routes = (count: number): string =>
      smallSite.replace(/routes: .*/, `routes: [${Array.from({ length: count }, (_, n) => route(n)).join(", ")}]`);
    expect(() => textOf(renderDnsmasq, siteOf(routes(35)))).not.toThrow();
    expect(() => textOf(renderDnsmasq, siteOf(routes(36)))).toThrow("its routes take 257 octets");
    const search = (count: number): string =>
      smallSite.replace(
        /search: .*/,
        `search: [${Array.from({ length: count }, (_, n) => `${n}.very-long-domain.example.net`)}]`,
      );
    expect(() => textOf(renderKea4, siteOf(search(7)))).not.toThrow();
    expect(() => textOf(renderKea4, siteOf(search(8)))).toThrow("its search domains take");
  });

  test("a network that is not there, and IPv6 where there is none", () => {
    const wanted = (network: string): Wanted => ({ networks: [network], interfaces: new Map() });
    expect(() => textOf(renderKea4, siteOf(smallSite), wanted("lan9"))).toThrow("network 'lan9' does not exist");
    expect(() =>
      textOf(renderKea4, siteOf(smallSite), { networks: [], interfaces: heardOn(["lan9", "eth0"]) }),
    ).toThrow("network 'lan9' does not exist");
    for (const render of [renderKea6, renderDhcpd6])
      expect(() => textOf(render, siteOf(smallSite), wanted("lan1"))).toThrow("none of the networks has a prefix6");
  });
});

test("networks whose addresses another DHCP server gives are left out, and refused by name or alone", () => {
  const learned = `---
kind: network
name: far
spec: { prefix4: 198.18.0.0/24, gateway4: 198.18.0.1, wiring: { kind: bridged, bridge: br0 }, addressing: { kind: snoop, servers: [198.18.0.2] } }
---
kind: guest
name: there
spec: { nics: [{ network: far }] }
`;
  const [without, site] = [siteOf(smallSite), siteOf(smallSite + learned)];
  for (const { render } of formats) expect(textOf(render, site)).toBe(textOf(render, without));
  const says = "addresses of network 'far' are another DHCP server's to decide";
  expect(() => servedLinks(site, { networks: ["far"], interfaces: new Map() })).toThrow(says);
  expect(() => servedLinks(siteOf(learned.slice(4)), everything)).toThrow(says);
  expect(() => cmdlineWords(site, { guest: "there" })).toThrow(says);
});

test("routed networks are left out, and refused by name: what their guests ask does not leave their ports", () => {
  const routed = `${smallSite}---
kind: network
name: far
spec: { prefix4: 198.18.0.0/24, gateway4: 198.18.0.1, wiring: { kind: routed, uplink: eth0 }, addressing: { kind: managed, macScheme: ip } }
`;
  const [without, site] = [siteOf(smallSite), siteOf(routed)];
  for (const { render } of formats) expect(textOf(render, site)).toBe(textOf(render, without));
  expect(() => servedLinks(site, { networks: ["far"], interfaces: new Map() })).toThrow("'far' is routed");
  const links = siteOf(routed.replace("gateway4: 198.18.0.1, wiring: { kind: routed", "wiring: { kind: transport"));
  for (const { render } of formats) expect(textOf(render, links)).toBe(textOf(render, without));
  expect(() => servedLinks(links, { networks: ["far"], interfaces: new Map() })).toThrow("'far' is routed");
});

test.each(["static", "mac"])("so are networks that are %s: their guests ask nobody", (kind) => {
  const silent = `${smallSite}---
kind: network
name: far
spec: { prefix4: 198.18.0.0/24, gateway4: 198.18.0.1, wiring: { kind: bridged, bridge: br9 }, addressing: { kind: ${kind} } }
`;
  const [without, site] = [siteOf(smallSite), siteOf(silent)];
  for (const { render } of formats) expect(textOf(render, site)).toBe(textOf(render, without));
  const far = { networks: ["far"], interfaces: new Map() };
  expect(() => servedLinks(site, far)).toThrow(`'far' is 'kind: ${kind}': its guests ask nobody`);
  expect(servedLinks(siteOf(silent.replace(`kind: ${kind}`, "kind: managed")), far)).toHaveLength(1);
});
