/** IPv6 byte by byte, with true lengths and checksums; what lies is patched over, or put together in a way that no honest stack does. */
import { type Ipv6Address, ipv6ToBytes, parseIpv6 } from "../model/ipv6.ts";
import { type MacAddress, macToBytes } from "../model/mac.ts";
import { checksum, join, patched, u16, u32 } from "./forge.ts";

/** "Next header" numbers. */
export const NEXT = {
  hopByHop: 0,
  ip4: 4,
  tcp: 6,
  udp: 17,
  ip6: 41,
  routing: 43,
  fragment: 44,
  gre: 47,
  icmp6: 58,
  none: 59,
  options: 60,
} as const;

/** ICMPv6 types. */
export const ICMP6 = {
  echo: 128,
  echoReply: 129,
  mldQuery: 130,
  mldReport: 131,
  mldDone: 132,
  routerSolicitation: 133,
  routerAdvertisement: 134,
  neighbourSolicitation: 135,
  neighbourAdvertisement: 136,
  redirect: 137,
  mld2Report: 143,
} as const;

/** Options of neighbour discovery (RFC 4861 section 4.6, RFC 3971 section 5.3.2). */
export const ND_OPTION = { source: 1, target: 2, prefix: 3, redirected: 4, nonce: 14 } as const;

type Bytes = Uint8Array | readonly number[];

export function ip6Of(text: string): Ipv6Address {
  const address = parseIpv6(text);
  if (address === undefined) throw new TypeError(`not an IPv6 address: ${text}`);
  return address;
}

export interface Ip6Fields {
  readonly from: Ipv6Address;
  readonly to: Ipv6Address;
  readonly next: number;
  readonly hopLimit?: number;
  /** 20 bits. */
  readonly flow?: number;
}

/** RFC 8200 section 3. */
export function ip6(fields: Ip6Fields, payload: Uint8Array): Uint8Array {
  return join(
    u32(0x6000_0000 | ((fields.flow ?? 0) & 0xf_ffff)),
    u16(payload.length),
    [fields.next, fields.hopLimit ?? 64],
    ipv6ToBytes(fields.from),
    ipv6ToBytes(fields.to),
    payload,
  );
}

export type Ends = Pick<Ip6Fields, "from" | "to">;

/** The message with the checksum over the pseudo header (RFC 8200 section 8.1) at `at`. */
function summed(ends: Ends, protocol: number, at: number, message: Uint8Array): Uint8Array {
  const pseudo = join(ipv6ToBytes(ends.from), ipv6ToBytes(ends.to), u32(message.length), [0, 0, 0, protocol]);
  return patched(message, at, u16(checksum(join(pseudo, message))));
}

/** Octets 2 and 3 of `message` are written over. */
export function icmp6(ends: Ends, message: Uint8Array): Uint8Array {
  return summed(ends, NEXT.icmp6, 2, message);
}

/** A checksum of 0 would mean "none", which IPv6 does not have: it is sent as 0xffff (RFC 8200 section 8.1). */
export function udp6(ends: Ends, from: number, to: number, payload: Uint8Array): Uint8Array {
  const whole = summed(ends, NEXT.udp, 6, join(u16(from), u16(to), u16(8 + payload.length), [0, 0], payload));
  return whole[6] === 0 && whole[7] === 0 ? patched(whole, 6, [255, 255]) : whole;
}

/** A SYN without options or checksum (RFC 9293 section 3.1). */
export function syn(from: number, to: number, sequence: number): Uint8Array {
  return join(u16(from), u16(to), u32(sequence), u32(0), [0x50, 2], u16(64_240), u16(0), u16(0));
}

export function tcp6(ends: Ends, from: number, to: number, sequence: number): Uint8Array {
  return summed(ends, NEXT.tcp, 16, syn(from, to, sequence));
}

/** Filled with zeros to whole units of 8 octets, as the length field counts them. */
function units(type: number, body: Bytes, uncounted: number): Uint8Array {
  const count = Math.ceil((2 + body.length) / 8);
  const bytes = join([type, count - uncounted], body);
  return join(bytes, new Uint8Array(count * 8 - bytes.length));
}

/** Type, length in units of 8 octets, body (RFC 4861 section 4.6). */
export function ndOption(type: number, body: Bytes): Uint8Array {
  return units(type, body, 0);
}

export function linkLayer(type: number, mac: MacAddress): Uint8Array {
  return ndOption(type, macToBytes(mac));
}

/** Prefix information, on link and for autoconfiguration (RFC 4861 section 4.6.2). */
export function prefixOption(address: Ipv6Address, length: number, seconds = 1800): Uint8Array {
  return ndOption(ND_OPTION.prefix, join([length, 0xc0], u32(seconds), u32(seconds), u32(0), ipv6ToBytes(address)));
}

/** Both have type, code, four octets of flags or nothing, target, options (RFC 4861 sections 4.3 and 4.4). */
export function neighbourMessage(
  type: number,
  target: Ipv6Address,
  options: readonly Uint8Array[],
  flags = 0,
): Uint8Array {
  return join([type, 0, 0, 0, flags, 0, 0, 0], ipv6ToBytes(target), ...options);
}

/** RFC 4861 section 4.2. */
export function routerAdvertisement(lifetime: number, options: readonly Uint8Array[]): Uint8Array {
  return join([ICMP6.routerAdvertisement, 0, 0, 0, 64, 0], u16(lifetime), u32(0), u32(0), ...options);
}

/** PadN, so that an options header of any size says nothing (RFC 8200 section 4.2). */
export function padding(bytes: number): readonly number[] {
  return [1, bytes - 2, ...new Array<number>(bytes - 2).fill(0)];
}

/** RFC 2711: for MLD. */
export const ROUTER_ALERT6: readonly number[] = [5, 2, 0, 0, 1, 0];

/** Hop-by-hop or destination options (RFC 8200 sections 4.3 and 4.6); `options` must come to 6 octets, 14, 22, … */
export function optionsHeader(next: number, options: readonly number[] = padding(6)): Uint8Array {
  return units(next, options, 1);
}

/** Types 0 (RFC 2460 section 4.4) and 2 (RFC 6275 section 6.4) look the same: one address, one segment left. */
export function routingHeader(next: number, type: number, via: Ipv6Address): Uint8Array {
  return units(next, join([type, 1], u32(0), ipv6ToBytes(via)), 1);
}

/** @param offset in units of 8 octets */
export function fragmentHeader(next: number, offset: number, more: boolean, id: number): Uint8Array {
  return join([next, 0], u16((offset << 3) | (more ? 1 : 0)), u32(id));
}

/** Message type, transaction id of 24 bits, options (RFC 8415 section 8). */
export function dhcp6(type: number, transaction: number, options: readonly Uint8Array[]): Uint8Array {
  return join([type], u32(transaction & 0xff_ffff).slice(1), ...options);
}

export function dhcp6Option(code: number, body: Bytes): Uint8Array {
  return join(u16(code), u16(body.length), body);
}

/** DUID-LL of an Ethernet address (RFC 8415 section 11.4). */
export function duidOf(mac: MacAddress): Uint8Array {
  return join(u16(3), u16(1), macToBytes(mac));
}

/** MLDv1 report and done (RFC 2710 section 3). */
export function mld1(type: number, group: Ipv6Address): Uint8Array {
  return join([type, 0, 0, 0], u16(0), u16(0), ipv6ToBytes(group));
}

/** General query of MLDv2 (RFC 3810 section 5.1): robustness 2, interval 125 seconds. */
export function mld2Query(): Uint8Array {
  return join([ICMP6.mldQuery, 0, 0, 0], u16(10_000), u16(0), new Uint8Array(16), [2, 125], u16(0));
}

/** Changes one group to "exclude nothing", which joins it (RFC 3810 section 5.2). */
export function mld2Report(group: Ipv6Address): Uint8Array {
  return join([ICMP6.mld2Report, 0, 0, 0], u16(0), u16(1), [4, 0], u16(0), ipv6ToBytes(group));
}
