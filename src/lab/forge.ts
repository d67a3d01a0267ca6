/**
 * Frames byte by byte, false ones included. The codecs of `packet` only write what is well formed;
 * a lie needs a header length, a tag or a sender that no honest builder would put there.
 */
import { type Ipv4Address, ipv4ToBytes, parseIpv4 } from "../model/ipv4.ts";
import { type MacAddress, macToBytes, parseMac } from "../model/mac.ts";

export function macOf(text: string): MacAddress {
  const mac = parseMac(text);
  if (mac === undefined) throw new TypeError(`not a MAC address: ${text}`);
  return mac;
}

export function ip4Of(text: string): Ipv4Address {
  const address = parseIpv4(text);
  if (address === undefined) throw new TypeError(`not an IPv4 address: ${text}`);
  return address;
}

export const ANY = ip4Of("0.0.0.0");
export const ALL = ip4Of("255.255.255.255");
export const NO_MAC = macOf("00:00:00:00:00:00");

export function join(...parts: readonly (Uint8Array | readonly number[])[]): Uint8Array {
  return Uint8Array.from(parts.flatMap((part) => [...part]));
}

export function u16(value: number): readonly number[] {
  return [(value >>> 8) & 255, value & 255];
}

export function u32(value: number): readonly number[] {
  return [...u16(value >>> 16), ...u16(value & 0xffff)];
}

export function text(value: string): Uint8Array {
  return new TextEncoder().encode(value);
}

/** One's complement sum (RFC 1071). */
export function checksum(bytes: Uint8Array): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i] ?? 0) * 256 + (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >>> 16);
  return ~sum & 0xffff;
}

/** @param type the type field, or the length field of an 802.3 frame */
export function ethernet(to: MacAddress, from: MacAddress, type: number, payload: Uint8Array): Uint8Array {
  return join(macToBytes(to), macToBytes(from), u16(type), payload);
}

/** The same frame with a tag (802.1Q: tag protocol and VLAN id) put between addresses and type. */
export function tagged(frame: Uint8Array, protocol: number, vlan: number): Uint8Array {
  return join(frame.subarray(0, 12), u16(protocol), u16(vlan), frame.subarray(12));
}

/** The same frame with some bytes written over: for the one field that lies. */
export function patched(frame: Uint8Array, offset: number, bytes: readonly number[] | Uint8Array): Uint8Array {
  return join(frame.subarray(0, offset), bytes, frame.subarray(offset + bytes.length));
}

export interface ArpFields {
  readonly operation: number;
  readonly senderMac: MacAddress;
  readonly senderIp: Ipv4Address;
  readonly targetMac: MacAddress;
  readonly targetIp: Ipv4Address;
}

/** RFC 826, for IPv4 over Ethernet. */
export function arp(fields: ArpFields): Uint8Array {
  return join(
    [0, 1, 8, 0, 6, 4],
    u16(fields.operation),
    macToBytes(fields.senderMac),
    ipv4ToBytes(fields.senderIp),
    macToBytes(fields.targetMac),
    ipv4ToBytes(fields.targetIp),
  );
}

export interface Ip4Fields {
  readonly from: Ipv4Address;
  readonly to: Ipv4Address;
  readonly protocol: number;
  readonly id: number;
  /** Flags and offset as they stand in the header (RFC 791): 0x2000 is more-fragments. */
  readonly fragment?: number;
  /** Padded to whole words here. */
  readonly options?: readonly number[];
  readonly ttl?: number;
}

export function ip4(fields: Ip4Fields, payload: Uint8Array): Uint8Array {
  const options = [...(fields.options ?? [])];
  while (options.length % 4 !== 0) options.push(0);
  const words = 5 + options.length / 4;
  const header = join(
    [0x40 | words, 0],
    u16(words * 4 + payload.length),
    u16(fields.id),
    u16(fields.fragment ?? 0),
    [fields.ttl ?? 64, fields.protocol, 0, 0],
    ipv4ToBytes(fields.from),
    ipv4ToBytes(fields.to),
    options,
  );
  return join(patched(header, 10, u16(checksum(header))), payload);
}

/** Checksum 0, which is "none" in IPv4 (RFC 768): a fragment or a lie needs no true one. */
export function udp(from: number, to: number, payload: Uint8Array): Uint8Array {
  return join(u16(from), u16(to), u16(8 + payload.length), [0, 0], payload);
}

export interface Bootp {
  /** 1 request, 2 reply. */
  readonly op: number;
  readonly xid: number;
  readonly chaddr: MacAddress;
  readonly ciaddr?: Ipv4Address;
  readonly yiaddr?: Ipv4Address;
  readonly giaddr?: Ipv4Address;
  /** Options behind the cookie, without the closing 255. */
  readonly options: readonly number[];
}

/** RFC 2131 section 2, padded to the 300 octets that BOOTP relays insist on. */
export function dhcp(fields: Bootp): Uint8Array {
  const addresses = [fields.ciaddr ?? ANY, fields.yiaddr ?? ANY, ANY, fields.giaddr ?? ANY];
  const message = join(
    [fields.op, 1, 6, 0],
    u32(fields.xid),
    u16(0),
    u16(0),
    ...addresses.map(ipv4ToBytes),
    macToBytes(fields.chaddr),
    new Uint8Array(10 + 64 + 128),
    [0x63, 0x82, 0x53, 0x63],
    fields.options,
    [255],
  );
  return join(message, new Uint8Array(Math.max(0, 300 - message.length)));
}
