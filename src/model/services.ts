/** Names and numbers of what security groups speak of: ports, and the types of ICMP that open a flow. */
import type { PortRange } from "./policy.ts";

/**
 * What opens a flow: questions. Linux tracks these and no other type as the beginning of one (nf_conntrack_proto_icmp.c and _icmpv6.c, `valid_new`);
 * of ICMPv6 the guard lets by only the echo.
 */
export const openingTypes = {
  icmp: { "echo-request": 8, "timestamp-request": 13, "information-request": 15, "address-mask-request": 17 },
  icmpv6: { "echo-request": 128 },
} as const satisfies Record<IcmpKind, Readonly<Record<string, number>>>;

export type IcmpKind = "icmp" | "icmpv6";

/** The usual name of a type, or its number. */
export function icmpTypeName(kind: IcmpKind, type: number): string {
  return Object.entries(openingTypes[kind]).find(([, number]) => number === type)?.[0] ?? `type ${type}`;
}

export function portRangeText({ first, last }: PortRange): string {
  return first === last ? String(first) : `${first}-${last}`;
}

const PROTOCOLS = new Map<string, "tcp" | "udp" | IcmpKind>([
  ["tcp", "tcp"],
  ["udp", "udp"],
  ["icmp", "icmp"],
  ["icmpv6", "icmpv6"],
  ["1", "icmp"],
  ["6", "tcp"],
  ["17", "udp"],
  ["58", "icmpv6"],
]);

/** Names and numbers of the same protocol become one value, so that a file replayed in the other form changes nothing. */
export function protocolOf(text: string): "tcp" | "udp" | IcmpKind | number | undefined {
  const named = PROTOCOLS.get(text);
  if (named !== undefined) return named;
  return /^(?:0|[1-9]\d{0,2})$/.test(text) && Number(text) <= 255 ? Number(text) : undefined;
}
