/** What routers are told of a site, as text: reviewed files for every daemon, protocol and side, the same text for the same site, small differences, and nothing but guests. */
import { describe, expect, test } from "vitest";
import { type AnnouncedWish, announcedSite } from "../src/export/announced.ts";
import { renderBird } from "../src/export/bird.ts";
import { renderFrr } from "../src/export/frr.ts";
import { type RouteFormat, type RoutesWish, renderRoutes, routeFormats, staticRoutes } from "../src/export/routes.ts";
import { type ExportedSite, plainWord } from "../src/export/site.ts";
import { type RoutingProtocol, routingProtocols, type Speaker, speakerSides } from "../src/export/speaker.ts";
import { type IpAddress, parseIp } from "../src/model/ip-block.ts";
import { parseIpv4 } from "../src/model/ipv4.ts";
import type { RouteView } from "../src/model/operations.ts";
import { siteOf, smallSite } from "./support/export-site.ts";

const routedSite = `${smallSite}---
kind: network
name: far
spec:
  prefix4: 198.18.7.0/24
  gateway4: 198.18.7.1
  range4: [198.18.7.10-198.18.7.250]
  prefix6: 2001:db8:f::/64
  wiring: { kind: routed, uplink: eth1 }
  addressing: { kind: managed, macScheme: ip }
---
kind: network
name: near
spec:
  prefix4: 100.64.0.0/10
  gateway4: 100.64.0.1
  range4: [100.64.0.10-100.64.0.250]
  wiring: { kind: routed, uplink: eth0 }
  addressing: { kind: managed, macScheme: ip }
---
kind: guest
name: router
spec: { nics: [{ network: far, addresses: [192.0.2.16/28, "2001:db8:77::/64", 198.18.7.200, 192.0.2.77] }] }
---
kind: guest
name: plain
spec: { nics: [{ network: near }, { network: lan0, addresses: [10.9.9.9] }, { network: far }] }
`;

function known<T>(text: string, parse: (text: string) => T | undefined): T {
  const value = parse(text);
  if (value === undefined) throw new TypeError(text);
  return value;
}

const addresses: readonly IpAddress[] = ["203.0.113.1", "2001:db8:66::1"].map((text) => known(text, parseIp));
const bgp = { as: 65001, peerAs: 65000, addresses, ttlSecurity: true, secret: plainWord("s3cret", "the word") };
const everything: AnnouncedWish = { networks: [], exact: false };

function speaker(
  site: ExportedSite,
  own: Partial<Speaker> & { readonly protocol: RoutingProtocol },
  wish = everything,
) {
  const announced = announcedSite(site, wish);
  return {
    side: "host" as const,
    announced,
    interfaces: announced.uplinks,
    routerId: known("203.0.113.3", parseIpv4),
    hello: 10,
    limit: 1000,
    ...(own.protocol === "bgp" ? { bgp } : {}),
    ...own,
  };
}

const daemons = [
  { name: "bird", render: renderBird, comment: "#" },
  { name: "frr", render: renderFrr, comment: "!" },
] as const;
const cases = daemons.flatMap(({ name, render }) =>
  routingProtocols.flatMap((protocol) => speakerSides.map((side) => ({ name, render, protocol, side }))),
);
const site = siteOf(routedSite);

describe.each(cases)("$name, $protocol, $side", ({ name, render, protocol, side }) => {
  test("is the text that was reviewed", async () => {
    const text = render(speaker(site, { protocol, side }));
    await expect(text).toMatchFileSnapshot(`golden/routing/${name}-${protocol}-${side}.conf`);
  });

  test("is the same whatever order the site comes in", () => {
    const turned: ExportedSite = {
      networks: new Map([...site.networks].reverse()),
      guests: new Map([...site.guests].reverse()),
    };
    for (const exact of [true, false]) {
      const wish = { networks: [], exact };
      expect(render(speaker(turned, { protocol, side }, wish))).toBe(render(speaker(site, { protocol, side }, wish)));
    }
  });

  test("has one line more for one guest more where every address is named, and else none", () => {
    const more = siteOf(`${routedSite}---\nkind: guest\nname: third\nspec: { nics: [{ network: near }] }\n`);
    const lines = (from: ExportedSite, exact: boolean): readonly string[] =>
      render(speaker(from, { protocol, side }, { networks: [], exact })).split("\n");
    expect(lines(more, false)).toEqual(lines(site, false));
    const before = lines(site, true);
    expect(lines(more, true).filter((line) => !before.includes(line))).toEqual([
      expect.stringContaining("100.64.0.11/32"),
    ]);
  });
});

describe("what is announced", () => {
  const blocks = (wish: AnnouncedWish): readonly string[] => {
    const { blocks4, blocks6 } = announcedSite(site, wish);
    return [...blocks4, ...blocks6].map(({ base, length, hosts }) => `${base}/${length}${hosts ? "+" : ""}`);
  };

  test("is of routed networks alone, with what is behind their guests", () => {
    expect(blocks(everything)).toEqual([
      "100.64.0.0/10+",
      "192.0.2.16/28",
      "192.0.2.77/32",
      "198.18.7.0/24+",
      "2001:db8:f::/64+",
      "2001:db8:77::/64",
    ]);
    expect(announcedSite(site, everything).uplinks).toEqual(["eth0", "eth1"]);
  });

  test("is every address by itself where that is asked for, or one network", () => {
    expect(blocks({ networks: ["far"], exact: true })).toEqual([
      "192.0.2.16/28",
      "192.0.2.77/32",
      "198.18.7.10/32",
      "198.18.7.11/32",
      "198.18.7.200/32",
      "2001:db8:f:0:fc00:c6ff:fe12:70a/128",
      "2001:db8:f:0:fc00:c6ff:fe12:70b/128",
      "2001:db8:77::/64",
    ]);
  });

  test.each([
    [{ networks: ["lan0"], exact: false }, "network 'lan0' is bridged: routers find its guests by themselves"],
    [{ networks: ["lan9"], exact: false }, "network 'lan9' does not exist"],
  ])("%j is refused", (wish, says) => {
    expect(() => announcedSite(site, wish)).toThrow(says);
  });

  test("a site without a routed network has nothing to announce", () => {
    expect(() => announcedSite(siteOf(smallSite), everything)).toThrow("no network is routed, transport or nat");
  });

  test("IPv6 without a peer of its own is said to be left out", () => {
    const [four] = addresses;
    const own = { ...bgp, addresses: four === undefined ? [] : [four] };
    expect(renderBird(speaker(site, { protocol: "bgp", bgp: own }))).toContain("# IPv6 is not spoken of");
  });
});

test("links of a transport network are announced by their right-hand ends, with what is behind them", () => {
  const links = siteOf(`kind: network
name: links
spec:
  prefix4: 10.9.0.0/24
  range4: [10.9.0.0-10.9.0.255]
  prefix6: 2001:db8:9::/64
  wiring: { kind: transport, uplink: eth0 }
  addressing: { kind: managed, macScheme: ip }
---
kind: guest
name: web1
spec: { nics: [{ network: links, address4: 10.9.0.5, addresses: [198.51.100.64/28] }] }
`);
  const { blocks4, blocks6, uplinks } = announcedSite(links, { networks: [], exact: true });
  const texts = [...blocks4, ...blocks6].map(({ base, length }) => `${base}/${length}`);
  expect(texts).toEqual(["10.9.0.5/32", "198.51.100.64/28", "2001:db8:9::7/128"]);
  expect(uplinks).toEqual(["eth0"]);
});

describe("static routes", () => {
  const view = (prefix: string, own: Partial<RouteView> = {}): RouteView => ({
    prefix,
    network: "far",
    guest: "web1",
    nic: 0,
    ...own,
  });
  const here = { host: "h1", port: "vif1.0" };
  const views: readonly RouteView[] = [
    view("2001:db8:f::a/128", { ...here, via: "2001:db8::3" }),
    view("198.18.7.10/32", { ...here, via: "203.0.113.3" }),
    view("192.0.2.16/28", { ...here, via: "203.0.113.3" }),
    view("198.18.7.9/32", { guest: "gone" }),
    view("198.18.7.8/32", { guest: "away", host: "h2" }),
    view("2001:db8:f::9/128", { guest: "gone" }),
  ];
  const wish: RoutesWish = { networks: [], via: [], blackhole: false };
  const text = (format: RouteFormat, own: Partial<RoutesWish> = {}): string =>
    renderRoutes(staticRoutes(views, { ...wish, ...own }), format);

  test.each(routeFormats)("for %s are the text that was reviewed", async (format) => {
    await expect(text(format, { blackhole: true })).toMatchFileSnapshot(`golden/routing/routes-${format}.txt`);
  });

  test("are of guests that are attached here, and lead where the operator says", () => {
    expect(text("ip")).not.toMatch(/blackhole|gone|away/);
    expect(text("ip", { blackhole: true })).toMatch(/blackhole 198\.18\.7\.9\/32 # gone/);
    expect(text("ip", { blackhole: true })).not.toContain("away");
    expect(text("cisco", { via: addresses })).toContain("ip route 192.0.2.16 255.255.255.240 203.0.113.1");
    expect(text("cisco", { via: addresses })).toContain("ipv6 route 2001:db8:f::a/128 2001:db8:66::1");
  });

  test("without a next hop are refused, not written wrongly", () => {
    const blind = [view("2001:db8:f::a/128", here)];
    expect(() => staticRoutes(blind, wish)).toThrow(
      "has no IPv6 address to send 2001:db8:f::a/128 to: name one with --via",
    );
    expect(staticRoutes(blind, { ...wish, via: addresses })[0]?.via).toBe("2001:db8:66::1");
    expect(() => staticRoutes(views, { ...wish, networks: ["near"] })).toThrow("network 'near' has no guest");
  });
});

describe("a nat network", () => {
  const inside = (masquerade: string): string => `kind: network
name: inside
spec:
  prefix4: 10.66.0.0/24
  gateway4: 10.66.0.1
  range4: [10.66.0.10-10.66.0.250]
  prefix6: 2001:db8:6::/64
  wiring: { kind: nat, uplink: eth0, masquerade: ${masquerade} }
  addressing: { kind: managed, macScheme: ip }
---
kind: guest
name: web1
spec: { nics: [{ network: inside, address4: 10.66.0.10, address6: "2001:db8:6::10", public4: 198.51.100.5 }] }
---
kind: guest
name: names
spec:
  nics:
    - network: inside
      address4: 10.66.0.11
      address6: "2001:db8:6::11"
      services: [{ public4: 198.51.100.6, protocol: udp, ports: [53] }]
`;
  const texts = (masquerade: string, exact: boolean): readonly string[] => {
    const { blocks4, blocks6 } = announcedSite(siteOf(inside(masquerade)), { networks: [], exact });
    return [...blocks4, ...blocks6].map(({ base, length, hosts }) => `${base}/${length}${hosts ? "+" : ""}`);
  };

  test("is announced by its public addresses and its IPv6, and never by what is private", () => {
    const publics = ["198.51.100.5/32", "198.51.100.6/32"];
    expect(texts("false", false)).toEqual([...publics, "2001:db8:6::/64+"]);
    expect(texts("true", true)).toEqual([...publics, "2001:db8:6::10/128", "2001:db8:6::11/128"]);
    expect(texts("198.51.100.9", true)).toContain("198.51.100.9/32");
  });

  test("an address that guests share is one route, to where one of them is", () => {
    const shared = { prefix: "198.51.100.6/32", network: "inside", nic: 0 };
    const views = [
      { ...shared, guest: "names" },
      { ...shared, guest: "mail", host: "h1", port: "vif2.0", via: "203.0.113.3" },
    ];
    for (const list of [views, views.toReversed()])
      expect(staticRoutes(list, { networks: [], via: [], blackhole: true })).toEqual([
        { family: 4, prefix: "198.51.100.6/32", via: "203.0.113.3", guest: "mail", nic: 0 },
      ]);
  });
});
