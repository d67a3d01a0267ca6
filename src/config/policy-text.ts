/** Text of the rules of security groups: protocols, ports, types of ICMP and prefixes of either family, both ways. */
import { isIpv6, parseIp } from "../model/ip-block.ts";
import { type Ipv4Prefix, parsePrefix4, prefix4Bounds } from "../model/ipv4.ts";
import { isMulticast6, parseIpv6, parsePrefix6 } from "../model/ipv6.ts";
import { suggestion } from "../model/nearest.ts";
import type { GroupRule, Peer, PortRange, Service } from "../model/policy.ts";
import { type IcmpKind, openingTypes, portRangeText, protocolOf } from "../model/services.ts";
import { show } from "./faults.ts";
import { prefix4, prefix6, type TextForm } from "./text.ts";

export type ProtocolWord = "any" | "tcp" | "udp" | "icmp" | "icmpv6" | number;

const PROTOCOL_NAMES = ["any", "tcp", "udp", "icmp", "icmpv6"] as const;

/** Numbers that no flow between machines has: headers of IPv6 on the way to the protocol (RFC 8200 section 4), and IGMP, which is multicast's. */
const NO_SERVICE: ReadonlyMap<number, string> = new Map([
  ...[0, 43, 44, 60, 135, 139, 140].map((number) => [number, "is an extension header of IPv6, not a service"] as const),
  [59, "means that nothing follows"],
  [2, "is IGMP: what the network's 'multicast' allows"],
]);

function parseProtocol(text: string): ProtocolWord | undefined {
  const word = text === "any" ? text : protocolOf(text);
  return typeof word === "number" && NO_SERVICE.has(word) ? undefined : word;
}

export const protocol: TextForm<ProtocolWord> = {
  type: "any | tcp | udp | icmp | icmpv6 | 1-255",
  parse: parseProtocol,
  explain: (text) => {
    const word = protocolOf(text);
    const why = typeof word === "number" ? NO_SERVICE.get(word) : undefined;
    if (why !== undefined) return `${show(text)} ${why}`;
    const near = suggestion(text, PROTOCOL_NAMES);
    return `${show(text)} is not any, tcp, udp, icmp, icmpv6 or a protocol number 1-255${near}`;
  },
};

/** `80` or `8000-8100`. */
function parsePorts(text: string): PortRange | undefined {
  const [, low, high = low] = /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(text) ?? [];
  const [first, last] = [Number(low), Number(high)];
  return first >= 1 && first <= last && last <= 65_535 ? { first, last } : undefined;
}

export const portRange: TextForm<PortRange> = {
  type: "port or range",
  parse: parsePorts,
  explain: (text) => `${show(text)} is not a port 1-65535 or a range such as "8000-8100" (first not above last)`,
};

export const icmpTypeText = "echo-request | timestamp-request | information-request | address-mask-request | 0-255";

const errorsOf = { icmp: [3, 4, 5, 11, 12], icmpv6: [1, 2, 3, 4] } as const;
const answersOf: { readonly [K in IcmpKind]: readonly number[] } = {
  icmp: [0, 14, 16, 18],
  icmpv6: [129, 140],
};

function whyNotOpening(kind: IcmpKind, type: number): string {
  const errors: readonly number[] = errorsOf[kind];
  if (errors.includes(type)) return "is an error: it passes with the flow that it speaks of";
  if (answersOf[kind].includes(type)) return "is an answer: it passes with the flow of its question";
  if (kind === "icmpv6" && ((type >= 130 && type <= 137) || type === 143))
    return "is the link's own business, which the guard judges and no group";
  const names = Object.entries(openingTypes[kind]).map(([name, number]) => `${name} (${number})`);
  return `opens no flow; there is: ${names.join(", ")}`;
}

/** The number of the type, or why it cannot be. */
export function icmpTypeOf(kind: IcmpKind, written: number | string): number | string {
  const known = new Map<number | string, number>(Object.entries(openingTypes[kind]));
  const type = typeof written === "string" && /^\d{1,3}$/.test(written) ? Number(written) : written;
  const number = known.get(type) ?? type;
  if (typeof number === "string") {
    const words = Object.keys(openingTypes[kind]);
    return `${show(String(written))} is no type that opens a flow of ${kind} (there is: ${words.join(", ")}, or its number)${suggestion(String(written), words)}`;
  }
  return [...known.values()].includes(number) ? number : `type ${number} of ${kind} ${whyNotOpening(kind, number)}`;
}

type PrefixPeer = Extract<Peer, { readonly prefix: unknown }>;

/** 224.0.0.0 and everything behind it, ff00::/8. */
const isGroup4 = (text: Ipv4Prefix): boolean => prefix4Bounds(text).first >= 0xe0_00_00_00;
const isGroup6 = (text: string): boolean => {
  const address = parseIpv6(text.slice(0, text.indexOf("/")));
  return address !== undefined && isMulticast6(address);
};

function parsePrefix(text: string): PrefixPeer | undefined {
  const four = parsePrefix4(text);
  if (four !== undefined) return isGroup4(four) ? undefined : { kind: "prefix4", prefix: four };
  const six = parsePrefix6(text);
  return six === undefined || isGroup6(six) ? undefined : { kind: "prefix6", prefix: six };
}

/** Both families; an address alone is more often a forgotten length than a wish. */
export const prefix: TextForm<PrefixPeer> = {
  type: "IPv4 or IPv6 prefix",
  parse: parsePrefix,
  explain: (text) => {
    const address = parseIp(text);
    if (address !== undefined)
      return `${show(text)} is one address; did you mean '${address}/${isIpv6(address) ? 128 : 32}'?`;
    if (parsePrefix4(text) !== undefined || parsePrefix6(text) !== undefined)
      return `${show(text)} is multicast or reserved: no group judges it, but what the network's 'multicast' allows`;
    return text.includes(":") ? prefix6.explain(text) : prefix4.explain(text);
  },
};

function serviceForm(service: Service): object {
  switch (service.kind) {
    case "any":
      return { protocol: "any" };
    case "tcp":
    case "udp": {
      const ports = service.ports.map((range) => (range.first === range.last ? range.first : portRangeText(range)));
      return { protocol: service.kind, ...(ports.length === 0 ? {} : { ports }) };
    }
    case "icmp":
    case "icmpv6": {
      const { kind, ...rest } = service;
      return { protocol: kind, ...rest };
    }
    default:
      return { protocol: service.number };
  }
}

function peerForm(peer: Peer): unknown {
  if (peer.kind === "group") return { group: peer.group };
  return "prefix" in peer ? { prefix: peer.prefix } : peer.kind;
}

/** As a site file has it. */
export const ruleForm =
  (peerField: "from" | "to") =>
  ({ service, peer }: GroupRule): object => ({ ...serviceForm(service), [peerField]: peerForm(peer) });
