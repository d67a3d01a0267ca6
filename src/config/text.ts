/** Text of a site file to branded values: what was asked for, and in words what is wrong with what was written. */
import { parseIp, parseIpBlock } from "../model/ip-block.ts";
import {
  type Ipv4Address,
  type Ipv4Prefix,
  type Ipv4Range,
  ipv4FromNumber,
  ipv4ToNumber,
  netmask4,
  parseIpv4,
  parsePrefix4,
  parseRange4,
} from "../model/ipv4.ts";
import {
  type Ipv6Address,
  type Ipv6Prefix,
  ipv6FromBytes,
  ipv6ToBytes,
  parseIpv6,
  parsePrefix6,
  prefix6Bounds,
} from "../model/ipv6.ts";
import { type MacAddress, parseMac } from "../model/mac.ts";
import { type InterfaceName, type ObjectName, parseInterfaceName, parseObjectName } from "../model/names.ts";
import type { HostService, IpBlock } from "../model/resources.ts";
import { protocolOf } from "../model/services.ts";
import { show } from "./faults.ts";

/** How one kind of text is read. `explain` is asked only about text that `parse` refused. */
export interface TextForm<T> {
  /** Short name for the reference page. */
  readonly type: string;
  readonly parse: (text: string) => T | undefined;
  readonly explain: (text: string) => string;
}

const form = <T>(type: string, parse: (text: string) => T | undefined, rule: string): TextForm<T> => ({
  type,
  parse,
  explain: (text) => `${show(text)} is not ${rule}`,
});

/** A form of IPv4 text: IPv6 gets its own answer. */
function form4<T>(base: TextForm<T>): TextForm<T> {
  const explain = (text: string): string =>
    text.includes(":") ? `${show(text)} is IPv6, and IPv4 is wanted here` : base.explain(text);
  return { ...base, explain };
}

export const address6: TextForm<Ipv6Address> = form(
  "IPv6 address",
  parseIpv6,
  "an IPv6 address such as 2001:db8:66::10",
);

export const prefix6: TextForm<Ipv6Prefix> = {
  type: "IPv6 prefix",
  parse: parsePrefix6,
  explain: (text) => {
    const [head = "", length = ""] = text.split("/");
    const address = parseIpv6(head);
    const masked = address === undefined ? undefined : maskedPrefix6(address, length);
    if (masked !== undefined) return `${show(text)} has host bits set; did you mean '${masked}'?`;
    return `${show(text)} is not an IPv6 prefix such as 2001:db8:66::/64`;
  },
};

function maskedPrefix6(address: Ipv6Address, length: string): string | undefined {
  if (!/^\d{1,3}$/.test(length) || Number(length) > 128) return undefined;
  const whole = parsePrefix6(`::/${length}`);
  if (whole === undefined) return undefined;
  const { last } = prefix6Bounds(whole);
  const bytes = ipv6ToBytes(address).map((byte, i) => byte & ~(last[i] ?? 0));
  return `${ipv6FromBytes(bytes)}/${Number(length)}`;
}

export const ipAddress: TextForm<Ipv4Address | Ipv6Address> = form("IP address", parseIp, "an IPv4 or IPv6 address");

export const ipBlock: TextForm<IpBlock> = form(
  "IP address or prefix",
  parseIpBlock,
  "an IPv4 or IPv6 address, or a prefix without host bits such as 203.0.113.64/28",
);

export const objectName: TextForm<ObjectName> = form(
  "name",
  parseObjectName,
  "a name: 1 to 63 of the small letters a-z, digits, '.' and '-', beginning and ending with a letter or digit",
);

export const interfaceName: TextForm<InterfaceName> = form(
  "interface name",
  parseInterfaceName,
  "an interface name: 1 to 15 of letters, digits, '_', '.' and '-', not beginning with '.' or '-'",
);

export const macAddress: TextForm<MacAddress> = form(
  "MAC address",
  parseMac,
  "a MAC address such as 02:00:5e:10:00:01",
);

export const address4: TextForm<Ipv4Address> = form4(
  form("IPv4 address", parseIpv4, "an IPv4 address such as 203.0.113.10 (four numbers 0-255 without leading zeros)"),
);

export const range4: TextForm<Ipv4Range> = form4(
  form(
    "IPv4 range",
    parseRange4,
    "an IPv4 range such as 203.0.113.10-203.0.113.250 (first not above last) or one address",
  ),
);

const PREFIX_RULE = "an IPv4 prefix such as 203.0.113.0/24";

/** The prefix that the address with its length lies in. */
function maskedPrefix(text: string): string | undefined {
  const slash = text.indexOf("/");
  const address = parseIpv4(text.slice(0, slash));
  const whole = parsePrefix4(`0.0.0.0${text.slice(slash)}`);
  if (slash < 0 || address === undefined || whole === undefined) return undefined;
  const mask = ipv4ToNumber(netmask4(whole));
  return `${ipv4FromNumber(ipv4ToNumber(address) & mask)}/${text.slice(slash + 1)}`;
}

function explainPrefix(text: string): string {
  const masked = maskedPrefix(text);
  if (masked !== undefined) return `${show(text)} has host bits set; did you mean '${masked}'?`;
  return `${show(text)} is not ${PREFIX_RULE}`;
}

export const prefix4: TextForm<Ipv4Prefix> = form4({
  type: "IPv4 prefix",
  parse: parsePrefix4,
  explain: explainPrefix,
});

// RFC 1035 section 2.3.1 with the digits of RFC 1123; '_' because service zones have it.
const LABEL = "[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?";
const DOMAIN = new RegExp(`^${LABEL}(?:\\.${LABEL})*$`);
const HOSTNAME = /^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/;

export const domainName: TextForm<string> = form(
  "domain name",
  (text) => (text.length <= 253 && DOMAIN.test(text) ? text : undefined),
  "a domain name such as example.net (labels of letters, digits, '-' and '_', at most 253 characters)",
);

export const hostname: TextForm<string> = form(
  "host name",
  (text) => (HOSTNAME.test(text) ? text : undefined),
  "a host name: 1 to 63 letters, digits and '-', beginning and ending with a letter or digit",
);

function parseHostProtocol(text: string): HostService["protocol"] | undefined {
  const known = protocolOf(text);
  return known === "icmpv6" ? "icmp" : known;
}

export const hostProtocol: TextForm<HostService["protocol"]> = {
  type: "tcp | udp | icmp | 0-255",
  parse: parseHostProtocol,
  explain: (text) => `${show(text)} is not tcp, udp, icmp or a protocol number 0-255`,
};

/** What one option carries at most here, in octets; split over several of 255 (RFC 3396). */
const OPTION_OCTETS = 1024;

/** Digits alone, as they are kept. */
function parseHex(text: string): string | undefined {
  const digits = text.replaceAll(/[ :]/g, "").toLowerCase();
  const isWhole = /^(?:[0-9a-f]{2})+$/.test(digits) && digits.length <= 2 * OPTION_OCTETS;
  return isWhole ? digits : undefined;
}

export const hexText: TextForm<string> = form(
  "hexadecimal digits",
  parseHex,
  `1 to ${OPTION_OCTETS} octets in hexadecimal digits such as 01:0a:ff or 010aff`,
);

const PRINTABLE = /^[\x20-\x7e]+$/;
const printable = (most: number): TextForm<string> =>
  form(
    "text",
    (text) => (PRINTABLE.test(text) && text.length <= most ? text : undefined),
    `1 to ${most} printable ASCII characters`,
  );
export const optionText: TextForm<string> = printable(OPTION_OCTETS);
export const bootText: TextForm<string> = printable(255);
