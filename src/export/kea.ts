/** kea-dhcp4.conf and kea-dhcp6.conf of Kea 2.2 and newer: reservations only and no pools, so that there is nothing for anybody else. */
import { toHex } from "../packet/hex.ts";
import { stableNumbers } from "../ruleset/element-bytes.ts";
import { interfacesOf, links6, networksOf, type Reservation, type ServedLink, type ServedNetwork } from "./site.ts";

type Word = string | number | boolean;
type Value = Word | readonly Value[] | { readonly [name: string]: Value };

const isList = (value: Value): value is readonly Value[] => Array.isArray(value);

/** Whether a line of its own is enough: no list of objects in it. */
function isLine(value: Value): boolean {
  if (typeof value !== "object") return true;
  if (isList(value)) return value.every((item) => typeof item !== "object");
  return Object.values(value).every(isLine);
}

function lineOf(value: Value): string {
  if (typeof value !== "object") return JSON.stringify(value);
  if (isList(value)) return `[${value.map(lineOf).join(", ")}]`;
  return `{ ${Object.entries(value)
    .map(([name, field]) => `${JSON.stringify(name)}: ${lineOf(field)}`)
    .join(", ")} }`;
}

/** JSON with one line for a reservation, so that one that changes is one line of a diff. */
function write(value: Value, before: string, after: string, indent: string, lines: string[]): void {
  if (typeof value !== "object" || isLine(value)) {
    lines.push(`${indent}${before}${lineOf(value)}${after}`);
    return;
  }
  const entries: readonly (readonly [string, Value])[] = isList(value)
    ? value.map((item) => ["", item])
    : Object.entries(value).map(([name, item]) => [`${JSON.stringify(name)}: `, item]);
  lines.push(`${indent}${before}${isList(value) ? "[" : "{"}`);
  for (const [n, [name, item]] of entries.entries())
    write(item, name, n === entries.length - 1 ? "" : ",", `${indent}  `, lines);
  lines.push(`${indent}${isList(value) ? "]" : "}"}${after}`);
}

function textOf(value: Value): string {
  const lines: string[] = [];
  write(value, "", "", "", lines);
  return `${lines.join("\n")}\n`;
}

/** Lists are text with commas in `option-data`; what is empty is not told. */
const optionData = (options: readonly (readonly [string, string | undefined])[]): readonly Value[] =>
  options.flatMap(([name, data]) => (data === undefined || data === "" ? [] : [{ name, data }]));

/** As the responder does it (RFC 2131 section 4.4.5). */
const times = (leaseSeconds: number): { readonly [name: string]: Value } => ({
  "valid-lifetime": leaseSeconds,
  "renew-timer": Math.floor(leaseSeconds / 2),
  "rebind-timer": Math.floor((leaseSeconds * 7) / 8),
});

/** By number and as octets: only later versions than 2.2 have a name for option 121. */
const routesData = (routes: Uint8Array): readonly Value[] =>
  routes.length === 0 ? [] : [{ code: 121, space: "dhcp4", "csv-format": false, data: toHex(routes) }];

const whose = ({ guest, nic }: Reservation): Value => ({ guest, nic });

function subnet4(network: ServedNetwork, id: number): Value {
  const options = optionData([
    ["routers", network.gateway],
    ["broadcast-address", network.broadcast],
    ["domain-name-servers", network.dns.join(", ")],
    ["ntp-servers", network.ntp.join(", ")],
    ["domain-name", network.domain],
    ["domain-search", network.search.join(", ")],
    ["interface-mtu", network.mtu === undefined ? undefined : String(network.mtu)],
  ]);
  return {
    id,
    subnet: network.prefix,
    "user-context": { network: network.name },
    ...times(network.leaseSeconds),
    "option-data": [...options, ...routesData(network.routes)],
    reservations: network.reservations.map((nic) => ({
      "hw-address": nic.mac,
      "ip-address": nic.address,
      hostname: nic.hostname,
      "user-context": whose(nic),
    })),
  };
}

function subnet6(network: ServedNetwork, id: number): Value {
  return {
    id,
    subnet: network.prefix6 ?? "",
    // A question that was not relayed names no network: the subnet is known by where it was heard.
    ...(network.interface === undefined ? {} : { interface: network.interface }),
    "user-context": { network: network.name },
    "preferred-lifetime": network.leaseSeconds,
    ...times(network.leaseSeconds),
    "option-data": optionData([
      ["dns-servers", network.dns6.join(", ")],
      ["domain-search", network.search6.join(", ")],
    ]),
    reservations: network.reservations.flatMap((nic) =>
      nic.address6 === undefined
        ? []
        : [{ "hw-address": nic.mac, "ip-addresses": [nic.address6], "user-context": whose(nic) }],
    ),
  };
}

/** Subnets that share a wire are one shared network; every subnet has its number from its name, because leases are filed under it. */
function subnetsOf(
  links: readonly ServedLink[],
  list: "subnet4" | "subnet6",
  subnet: (network: ServedNetwork, id: number) => Value,
): { readonly [name: string]: Value } {
  const numbers = stableNumbers(networksOf(links).map(({ name }) => name));
  const each = ({ networks }: ServedLink): readonly Value[] =>
    networks.map((network) => subnet(network, numbers.get(network.name) ?? 0));
  const shared = links.filter(({ networks }) => networks.length > 1);
  return {
    ...(shared.length === 0
      ? {}
      : { "shared-networks": shared.map((link) => ({ name: link.bridge, [list]: each(link) })) }),
    [list]: links.filter(({ networks }) => networks.length === 1).flatMap(each),
  };
}

function common(links: readonly ServedLink[]): { readonly [name: string]: Value } {
  const interfaces = interfacesOf(links);
  return {
    "interfaces-config": { interfaces: interfaces.length === 0 ? ["*"] : interfaces },
    "lease-database": { type: "memfile", persist: true },
    // A guest is its MAC, whatever it calls itself.
    "host-reservation-identifiers": ["hw-address"],
    "reservations-global": false,
    "reservations-in-subnet": true,
    "reservations-out-of-pool": true,
  };
}

export function renderKea4(links: readonly ServedLink[]): string {
  return textOf({
    Dhcp4: { ...common(links), "match-client-id": false, ...subnetsOf(links, "subnet4", subnet4) },
  });
}

/**
 * Where DHCPv6 says a MAC: what a relay names (RFC 6939), then the DUID. Kea takes a MAC from a link-local address only when it is a
 * universal one (seen with 2.2), and those that are assigned here are local.
 */
const macSources = ["client-link-addr-option", "duid", "ipv6-link-local"] as const;

/** @throws NOT_EXPORTABLE when no network has IPv6 */
export function renderKea6(links: readonly ServedLink[]): string {
  const served = links6(links);
  return textOf({
    Dhcp6: { ...common(served), "mac-sources": macSources, ...subnetsOf(served, "subnet6", subnet6) },
  });
}
