/** What the host's responder says in neighbour discovery (RFC 4861, RFC 8106), and what it reads of a solicitation. */
import type { Ipv6Prefix } from "../model/ipv6.ts";
import { prefix6Bounds } from "../model/ipv6.ts";
import { type MacAddress, macToBytes } from "../model/mac.ts";
import { createWriter } from "./writer.ts";

export const nd = { routerSolicitation: 133, routerAdvertisement: 134, solicitation: 135, advertisement: 136 } as const;

const SOURCE_LINK_LAYER = 1;
const TARGET_LINK_LAYER = 2;
const PREFIX = 3;
const MTU = 5;
const DNS = 25;

/**
 * RFC 4861 section 4.4: an answer (S) that replaces what was known (O); of a router (R), who without it would be one no more (section 7.2.5); or nobody asked, and it
 * replaces all the same.
 */
const ADVERTISED = { asked: 0x6000_0000, router: 0xe000_0000, unasked: 0x2000_0000 } as const;

/** @param target 16 octets */
export function neighbourAdvertisement(
  target: Uint8Array,
  mac: MacAddress,
  why: keyof typeof ADVERTISED = "asked",
): Uint8Array {
  return createWriter()
    .u32(nd.advertisement * 0x100_0000)
    .u32(ADVERTISED[why])
    .bytes(target)
    .u8(TARGET_LINK_LAYER)
    .u8(1)
    .mac(mac)
    .done();
}

export interface RouterAdvertisement {
  /** Seconds it is a default router; 0: it is none. */
  readonly routerLifetime: number;
  /** Addresses in it come from DHCPv6 alone. */
  readonly prefix: Ipv6Prefix;
  /** Whether its machines are on this link. */
  readonly onLink: boolean;
  /** Of the router, when it is known. */
  readonly mac?: MacAddress;
  readonly mtu?: number;
  /** 16 octets each. */
  readonly dns: readonly Uint8Array[];
  /** How long prefix and DNS servers count, in seconds. */
  readonly lifetime: number;
}

/** M and O (RFC 4861 section 4.2): addresses and the rest by DHCPv6. */
const MANAGED_AND_OTHER = 0xc0;
/** Never for autonomous configuration (RFC 4861 section 4.6.2). */
const ON_LINK = 0x80;
const OFF_LINK = 0;
const HOP_LIMIT = 64;

export function routerAdvertisement(says: RouterAdvertisement): Uint8Array {
  const { routerLifetime, prefix, onLink, mac, mtu, dns, lifetime } = says;
  const { first, length } = prefix6Bounds(prefix);
  const writer = createWriter()
    .u32(nd.routerAdvertisement * 0x100_0000)
    .u8(HOP_LIMIT)
    .u8(MANAGED_AND_OTHER)
    .u16(routerLifetime)
    .u32(0)
    .u32(0);
  if (mac !== undefined) writer.u8(SOURCE_LINK_LAYER).u8(1).bytes(macToBytes(mac));
  if (mtu !== undefined) writer.u8(MTU).u8(1).u16(0).u32(mtu);
  writer
    .u8(PREFIX)
    .u8(4)
    .u8(length)
    .u8(onLink ? ON_LINK : OFF_LINK)
    .u32(lifetime)
    .u32(lifetime)
    .u32(0)
    .bytes(first);
  if (dns.length > 0) {
    writer
      .u8(DNS)
      .u8(1 + 2 * dns.length)
      .u16(0)
      .u32(lifetime);
    for (const address of dns) writer.bytes(address);
  }
  return writer.done();
}
