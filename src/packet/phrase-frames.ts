/** Frames for phrases: headers with true lengths and sums around what a phrase says, and the MAC addresses it leaves out. */
import { type IpAddress, isIpv6 } from "../model/ip-block.ts";
import { type Ipv4Address, ipv4ToBytes } from "../model/ipv4.ts";
import { type Ipv6Address, ipv6ToBytes, isMulticast6, multicastMac6 } from "../model/ipv6.ts";
import { BROADCAST_MAC, type MacAddress, macFromBytes, macToBytes } from "../model/mac.ts";
import { checksum, pseudoHeader4 } from "./checksum.ts";
import { etherTypes } from "./ethernet.ts";
import { ipProtocols, ipv4Codec } from "./ipv4.ts";
import { ipv6Codec } from "./ipv6.ts";
import { ALL4, type PhraseContext } from "./phrase-words.ts";
import { createWriter } from "./writer.ts";

/** A frame before clauses about MAC addresses and tags. */
export interface FrameDraft {
  readonly destination: MacAddress;
  readonly source: MacAddress;
  /** EtherType, or the length of an 802.3 frame. */
  readonly type: number;
  readonly payload: Uint8Array;
}

export interface Ends {
  readonly source: IpAddress;
  readonly destination: IpAddress;
}

const LINK_ONLY = 1;
/** Nobody's packet from farther than this link (RFC 4861 section 7.1). */
export const ND_HOPS = 255;
/** Router alert (RFC 2113), in IPv6 inside hop-by-hop options with two octets of padding (RFC 2711). */
const ROUTER_ALERT4 = Uint8Array.of(0x94, 4, 0, 0);
const ROUTER_ALERT6 = Uint8Array.of(ipProtocols.icmp6, 0, 5, 2, 0, 0, 1, 0);

const isMulticast4 = (address: Ipv4Address): boolean => /^(?:22[4-9]|23\d)\./.test(address);

/** The last 23 bits of the group behind 01:00:5e (RFC 1112 section 6.4). */
function multicastMac4(group: Ipv4Address): MacAddress {
  const [, b = 0, c = 0, d = 0] = ipv4ToBytes(group);
  return macFromBytes(Uint8Array.of(1, 0, 0x5e, b & 0x7f, c, d));
}

/** Where a stack that knows its neighbours would send a packet for this address. */
export function macFor(context: PhraseContext, address: IpAddress): MacAddress {
  const { own, gateway } = context;
  if (isIpv6(address)) {
    if (isMulticast6(address)) return macFromBytes(multicastMac6(address));
  } else {
    if (address === ALL4) return BROADCAST_MAC;
    if (isMulticast4(address)) return multicastMac4(address);
  }
  for (const party of [own, gateway])
    if ([party.address4, party.address6, party.linkLocal6].includes(address)) return party.mac;
  return context.neighbour(address) ?? gateway.mac;
}

/** What a guest sends bears its own MAC even when the address is somebody else's; towards the guest it is the sender's. */
export function sourceMac(context: PhraseContext, address: IpAddress): MacAddress {
  return context.direction === "from-guest" ? context.own.mac : macFor(context, address);
}

function pseudoHeader6(source: Ipv6Address, destination: Ipv6Address, protocol: number, length: number): Uint8Array {
  return createWriter().bytes(ipv6ToBytes(source)).bytes(ipv6ToBytes(destination)).u32(length).u32(protocol).done();
}

/** Checksum of a transport message over the pseudo header of its family. */
export function transportSum({ source, destination }: Ends, protocol: number, message: Uint8Array): number {
  const pseudo =
    isIpv6(source) && isIpv6(destination)
      ? pseudoHeader6(source, destination, protocol, message.length)
      : !isIpv6(source) && !isIpv6(destination)
        ? pseudoHeader4(source, destination, protocol, message.length)
        : new Uint8Array(0);
  return checksum(pseudo, message);
}

/** The message with its checksum written at `at`. */
export function summed(ends: Ends, protocol: number, at: number, message: Uint8Array): Uint8Array {
  const sum = transportSum(ends, protocol, message);
  // UDP has no other way to say 0 (RFC 768), and the others never come out as 0 over a pseudo header that is not all zeros.
  return createWriter()
    .bytes(message)
    .patch16(at, sum === 0 ? 0xffff : sum)
    .done();
}

export interface PacketExtras {
  /** TTL or hop limit; 64 by default. */
  readonly hops?: number;
  /** Router alert, as group membership has it; hops then are 1. */
  readonly alert?: boolean;
}

function packet4(
  source: Ipv4Address,
  destination: Ipv4Address,
  protocol: number,
  payload: Uint8Array,
  extras: PacketExtras,
): Uint8Array {
  return ipv4Codec.encode({
    tos: 0,
    id: 0,
    flags: 2,
    offset: 0,
    ttl: extras.alert === true ? LINK_ONLY : (extras.hops ?? 64),
    protocol,
    source,
    destination,
    options: extras.alert === true ? ROUTER_ALERT4 : new Uint8Array(0),
    payload,
  });
}

function packet6(
  source: Ipv6Address,
  destination: Ipv6Address,
  protocol: number,
  payload: Uint8Array,
  extras: PacketExtras,
): Uint8Array {
  const alert = extras.alert === true;
  return ipv6Codec.encode({
    trafficClass: 0,
    flowLabel: 0,
    nextHeader: alert ? 0 : protocol,
    hopLimit: alert ? LINK_ONLY : (extras.hops ?? 64),
    source: ipv6ToBytes(source),
    destination: ipv6ToBytes(destination),
    payload: alert ? createWriter().bytes(ROUTER_ALERT6).bytes(payload).done() : payload,
  });
}

/** Both ends must be of one family, which the reader of the phrase sees to. */
export function ipFrame(
  context: PhraseContext,
  ends: Ends,
  protocol: number,
  payload: Uint8Array,
  extras: PacketExtras = {},
): FrameDraft {
  const { source, destination } = ends;
  const link = { destination: macFor(context, destination), source: sourceMac(context, source) };
  if (isIpv6(source) && isIpv6(destination))
    return { ...link, type: etherTypes.ipv6, payload: packet6(source, destination, protocol, payload, extras) };
  if (isIpv6(source) || isIpv6(destination)) throw new TypeError(`${source} and ${destination} are of two families`);
  return { ...link, type: etherTypes.ipv4, payload: packet4(source, destination, protocol, payload, extras) };
}

export function icmp6Frame(
  context: PhraseContext,
  ends: Ends,
  message: Uint8Array,
  extras: PacketExtras = {},
): FrameDraft {
  return ipFrame(context, ends, ipProtocols.icmp6, summed(ends, ipProtocols.icmp6, 2, message), extras);
}

/** A link-layer address option of neighbour discovery (RFC 4861 section 4.6.1). */
export function linkOption(type: 1 | 2, mac: MacAddress): Uint8Array {
  return createWriter().u8(type).u8(1).bytes(macToBytes(mac)).done();
}
