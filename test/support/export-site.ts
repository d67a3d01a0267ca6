/** Sites for the exports: a small one with everything in it, and large ones. */

import { macFromIpv4 } from "../../src/addressing/mac-scheme.ts";
import { checkSite } from "../../src/config/check.ts";
import { loadSite } from "../../src/config/load.ts";
import type { ExportedSite } from "../../src/export/site.ts";
import { ipv4FromNumber } from "../../src/model/ipv4.ts";
import { type ObjectName, parseObjectName } from "../../src/model/names.ts";
import type { Guest, Resource } from "../../src/model/resources.ts";
import { freshSite } from "../../src/plan/site.ts";

/** Two networks on one wire and one elsewhere; names that look like something else. */
export const smallSite = `kind: network
name: lan0
spec:
  prefix4: 203.0.113.0/24
  gateway4: 203.0.113.1
  range4: [203.0.113.10-203.0.113.250]
  prefix6: 2001:db8:66::/64
  gateway6: fe80::1
  wiring: { kind: bridged, bridge: br0 }
  addressing:
    kind: managed
    macScheme: ip
    leaseSeconds: 600
    dns: [203.0.113.2, 203.0.113.3]
    dns6: ["2001:db8:66::2"]
    ntp: [203.0.113.4]
    domain: example.net
    search: [example.net, example.org]
    mtu: 1400
    routes: [{ to: 10.0.0.0/8, via: 203.0.113.9 }, { to: 192.0.2.0/24, via: 0.0.0.0 }]
---
kind: network
name: lan1
spec:
  prefix4: 198.51.100.0/25
  gateway4: 198.51.100.1
  range4: [198.51.100.10-198.51.100.99]
  wiring: { kind: bridged, bridge: br0 }
  addressing: { kind: managed, macScheme: ip, leaseSeconds: 1200 }
---
kind: network
name: pair
spec:
  prefix4: 192.0.2.6/31
  gateway4: 192.0.2.6
  prefix6: 2001:db8:67::/112
  wiring: { kind: bridged, bridge: br1 }
  addressing: { kind: managed, domain: example.org }
---
kind: guest
name: web1
spec:
  nics:
    - { network: lan0 }
    - { network: pair, address4: 192.0.2.7, address6: "2001:db8:67::7", mac: 02:00:00:00:00:07 }
---
kind: guest
name: 10.0.0.5
spec: { nics: [{ network: lan1 }] }
---
kind: guest
name: db
spec: { hostname: 45m, nics: [{ network: lan0, address6: "2001:db8:66::d" }] }
---
kind: guest
name: cache
spec: { nics: [{ network: lan0, address4: 203.0.113.100, addresses: [203.0.113.101] }] }
`;

export function siteOf(text: string): ExportedSite {
  const resources: readonly Resource[] = loadSite(text, "test");
  checkSite(resources, { networks: new Map(), groups: new Map() });
  let drawn = 0;
  const next = (): number => {
    drawn = (drawn * 167 + 13) & 0xff;
    return drawn;
  };
  return freshSite(resources, (count) => Uint8Array.from({ length: count }, next));
}

const BIG = `kind: network
name: lan0
spec:
  prefix4: 10.64.0.0/12
  gateway4: 10.64.0.1
  range4: [10.65.0.0-10.66.255.255]
  prefix6: 2001:db8:66::/64
  wiring: { kind: bridged, bridge: br0 }
  addressing: { kind: managed, macScheme: ip, dns: [10.64.0.2], search: [example.net] }
`;

const FIRST = (10 << 24) + (65 << 16);

function nameOf(text: string): ObjectName {
  const name = parseObjectName(text);
  if (name === undefined) throw new TypeError(text);
  return name;
}

const made = new Map<number, ExportedSite>();

/** So many guests, made directly and once: the time it takes to read a file of 50 000 is not the matter here. */
export function bigSite(count: number): ExportedSite {
  const site = made.get(count) ?? makeBigSite(count);
  made.set(count, site);
  return site;
}

function makeBigSite(count: number): ExportedSite {
  const { networks } = siteOf(BIG);
  const network = nameOf("lan0");
  const guests = Array.from({ length: count }, (_, n): Guest => {
    const address = ipv4FromNumber(FIRST + n);
    const nic = { network, addresses: [], allowedPairs: [], roles: [], unchecked: [], rates: {}, groups: [] };
    return {
      name: nameOf(`guest-${n}`),
      spec: { nics: [nic] },
      nics: [{ network, mac: macFromIpv4(address), addresses4: [address] }],
    };
  });
  return { networks, guests: new Map(guests.map((guest) => [guest.name, guest])) };
}
