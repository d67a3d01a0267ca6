/** One file for dnsmasq 2.86 and newer (dnsmasq(8)): DHCP of both families for known hosts only; its DNS is switched off. */

import { netmask4 } from "../model/ipv4.ts";
import { prefix6Bounds } from "../model/ipv6.ts";
import { toHex } from "../packet/hex.ts";
import {
  interfacesOf,
  networksOf,
  nicText,
  origin,
  type Reservation,
  type ServedLink,
  type ServedNetwork,
} from "./site.ts";

/** dnsmasq gives no lease shorter than two minutes. */
const SHORTEST_LEASE = 120;

const baseOf = (prefix: string): string => prefix.slice(0, prefix.indexOf("/"));
const octets = (bytes: Uint8Array): string => toHex(bytes).replace(/..(?=.)/g, "$&:");

type Option = readonly [string, readonly (string | number)[]];

const optionLines = (tag: string, options: readonly Option[]): readonly string[] =>
  options.flatMap(([name, values]) =>
    values.length === 0 ? [] : [`dhcp-option=tag:${tag},${name},${values.join(",")}`],
  );

function network4(network: ServedNetwork, tag: string): readonly string[] {
  const { prefix, domain, mtu, routes } = network;
  const seconds = Math.max(network.leaseSeconds, SHORTEST_LEASE);
  return [
    `dhcp-range=set:${tag},${baseOf(prefix)},static,${netmask4(prefix)},${seconds}`,
    ...optionLines(tag, [
      ["option:router", [network.gateway]],
      ["option:dns-server", network.dns],
      ["option:ntp-server", network.ntp],
      ["option:domain-name", domain === undefined ? [] : [domain]],
      ["option:domain-search", network.search],
      ["option:mtu", mtu === undefined ? [] : [mtu]],
      // As octets: 0.0.0.0, which is "on the link" here (RFC 3442), would be read as "this server".
      ["121", routes.length === 0 ? [] : [octets(routes)]],
    ]),
  ];
}

function network6(network: ServedNetwork, tag: string): readonly string[] {
  const { prefix6 } = network;
  if (prefix6 === undefined) return [];
  const seconds = Math.max(network.leaseSeconds, SHORTEST_LEASE);
  return [
    `dhcp-range=set:${tag},${baseOf(prefix6)},static,${prefix6Bounds(prefix6).length},${seconds}`,
    ...optionLines(tag, [
      ["option6:dns-server", network.dns6.map((address) => `[${address}]`)],
      ["option6:domain-search", network.search6],
    ]),
  ];
}

/** Words that would be taken for something else between the commas: a lease time, a keyword, an address. */
const AMBIGUOUS = /\.|^\d+[smhdw]?$|^(?:infinite|ignore)$/i;

function hostLines(nic: Reservation): readonly string[] {
  const { mac, address, address6, hostname } = nic;
  const isAmbiguous = AMBIGUOUS.test(hostname);
  const tag = `nic-${mac.replaceAll(":", "")}`;
  const words = [
    mac,
    // Whatever the client calls itself (option 61): a guest is its MAC.
    "id:*",
    ...(isAmbiguous ? [`set:${tag}`] : []),
    address,
    ...(address6 === undefined ? [] : [`[${address6}]`]),
    ...(isAmbiguous ? [] : [hostname]),
  ];
  // Quoted, it is text whatever it looks like; option 12 has no other way in.
  const named = isAmbiguous ? [`"${hostname}"`] : [];
  return [`dhcp-host=${words.join(",")} # ${nicText(nic)}`, ...optionLines(tag, [["12", named]])];
}

const MOST_LEASES = 1000;

export function renderDnsmasq(links: readonly ServedLink[]): string {
  const networks = networksOf(links);
  const hosts = networks.flatMap(({ reservations }) => reservations);
  const lines = [
    `# ${origin("dnsmasq")}`,
    "port=0",
    ...interfacesOf(links).map((name) => `interface=${name}`),
    // Authoritative towards known guests only, because nobody else is answered: a lost lease file then harms nobody.
    "dhcp-authoritative",
    "dhcp-ignore=tag:!known",
    `dhcp-lease-max=${Math.max(MOST_LEASES, 2 * hosts.length)}`,
    ...networks.flatMap((network) => {
      const tag = `net-${network.name}`;
      return [`# network ${network.name}`, ...network4(network, tag), ...network6(network, tag)];
    }),
    ...hosts.flatMap(hostLines),
  ];
  return `${lines.join("\n")}\n`;
}
