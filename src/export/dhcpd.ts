/** dhcpd.conf and dhcpd6.conf of ISC dhcpd 4.4 (dhcpd.conf(5), dhcp-options(5)): fixed addresses only, nothing for anybody else. */
import { type Ipv4Prefix, netmask4 } from "../model/ipv4.ts";
import { links6, networksOf, nicText, origin, type Reservation, type ServedLink, type ServedNetwork } from "./site.ts";

const indented = (lines: readonly string[]): readonly string[] => lines.map((line) => `  ${line}`);
const quoted = (words: readonly string[]): string => words.map((word) => `"${word}"`).join(", ");
const some = (name: string, words: readonly (string | number)[]): readonly string[] =>
  words.length === 0 ? [] : [`option ${name} ${words.join(", ")};`];

/** One block for a link of several networks: dhcpd refuses to serve two subnets on one interface without it. */
function linkLines({ bridge, networks }: ServedLink, lines: (network: ServedNetwork) => readonly string[]) {
  const inside = networks.flatMap(lines);
  return networks.length === 1 ? inside : [`shared-network ${bridge} {`, ...indented(inside), "}"];
}

const baseOf = (prefix: Ipv4Prefix): string => prefix.slice(0, prefix.indexOf("/"));

function subnet4(network: ServedNetwork): readonly string[] {
  const { prefix, leaseSeconds, broadcast, domain, search, mtu } = network;
  return [
    `# network ${network.name}`,
    `subnet ${baseOf(prefix)} netmask ${netmask4(prefix)} {`,
    ...indented([
      `default-lease-time ${leaseSeconds};`,
      `min-lease-time ${leaseSeconds};`,
      `max-lease-time ${leaseSeconds};`,
      ...some("routers", [network.gateway]),
      ...some("broadcast-address", broadcast === undefined ? [] : [broadcast]),
      ...some("domain-name-servers", network.dns),
      ...some("ntp-servers", network.ntp),
      ...(domain === undefined ? [] : [`option domain-name "${domain}";`]),
      ...(search.length === 0 ? [] : [`option domain-search ${quoted(search)};`]),
      ...some("interface-mtu", mtu === undefined ? [] : [mtu]),
      ...some("rfc3442-classless-static-routes", [...network.routes]),
    ]),
    "}",
  ];
}

/** A name that dhcpd's grammar takes whatever the guest is called: MACs are unique, and digits may not lead. */
const hostName = ({ mac }: Reservation): string => `nic-${mac.replaceAll(":", "")}`;

const host4 = (nic: Reservation): string =>
  `host ${hostName(nic)} { hardware ethernet ${nic.mac}; fixed-address ${nic.address}; option host-name "${nic.hostname}"; } # ${nicText(nic)}`;

export function renderDhcpd4(links: readonly ServedLink[]): string {
  const lines = [
    `# ${origin("dhcpd")}`,
    "ddns-update-style none;",
    "deny unknown-clients;",
    "deny bootp;",
    "option rfc3442-classless-static-routes code 121 = array of unsigned integer 8;",
    ...links.flatMap((link) => linkLines(link, subnet4)),
    ...networksOf(links).flatMap(({ reservations }) => reservations.map(host4)),
  ];
  return `${lines.join("\n")}\n`;
}

function subnet6({ name, prefix6, leaseSeconds, dns6, search6 }: ServedNetwork): readonly string[] {
  return [
    `# network ${name}`,
    `subnet6 ${prefix6} {`,
    ...indented([
      `default-lease-time ${leaseSeconds};`,
      `preferred-lifetime ${leaseSeconds};`,
      ...some("dhcp6.name-servers", dns6),
      ...(search6.length === 0 ? [] : [`option dhcp6.domain-search ${quoted(search6)};`]),
    ]),
    "}",
  ];
}

const host6 = (nic: Reservation): readonly string[] =>
  nic.address6 === undefined
    ? []
    : [`host ${hostName(nic)} { hardware ethernet ${nic.mac}; fixed-address6 ${nic.address6}; } # ${nicText(nic)}`];

/** @throws NOT_EXPORTABLE when no network has IPv6 */
export function renderDhcpd6(links: readonly ServedLink[]): string {
  const served = links6(links);
  const lines = [
    `# ${origin("dhcpd --family 6")}`,
    "deny unknown-clients;",
    ...served.flatMap((link) => linkLines(link, subnet6)),
    ...networksOf(served).flatMap(({ reservations }) => reservations.flatMap(host6)),
  ];
  return `${lines.join("\n")}\n`;
}
