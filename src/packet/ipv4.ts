/** IPv4 headers with options and fragment fields (RFC 791 section 3.1); the header checksum is verified and written. */
import type { Ipv4Address } from "../model/ipv4.ts";
import { checksum } from "./checksum.ts";
import type { Codec, Rejection } from "./codec.ts";
import { createReader, type Reading, strict, unreadable } from "./reader.ts";
import { createWriter } from "./writer.ts";

export interface Ipv4Packet {
  /** Differentiated services and congestion notification, one octet (RFC 2474, RFC 3168). */
  readonly tos: number;
  readonly id: number;
  /** Three bits, see `ipv4Flags`. */
  readonly flags: number;
  /** Place of the fragment in octets: a multiple of 8. */
  readonly offset: number;
  readonly ttl: number;
  readonly protocol: number;
  readonly source: Ipv4Address;
  readonly destination: Ipv4Address;
  /** Whole words, padding included; 40 octets at most. */
  readonly options: Uint8Array;
  readonly payload: Uint8Array;
}

export const ipv4Flags = { reserved: 4, dontFragment: 2, moreFragments: 1 } as const;

export const ipProtocols = { icmp: 1, igmp: 2, tcp: 6, udp: 17, icmp6: 58 } as const;

const HEADER = 20;

export function isFragment({ flags, offset }: Ipv4Packet): boolean {
  return offset > 0 || (flags & ipv4Flags.moreFragments) !== 0;
}

/** Has a value as soon as the header is whole; then the payload is what there is of it. */
export function readIpv4(bytes: Uint8Array): Reading<Ipv4Packet> {
  const reader = createReader(bytes);
  const versionAndLength = reader.u8();
  const headerLength = (versionAndLength & 15) * 4;
  const tos = reader.u8();
  const totalLength = reader.u16();
  const id = reader.u16();
  const fragment = reader.u16();
  const [ttl, protocol] = [reader.u8(), reader.u8()];
  reader.u16();
  const [source, destination] = [reader.ipv4(), reader.ipv4()];
  if (bytes.length > 0 && versionAndLength >> 4 !== 4) return unreadable("unsupported");
  if (reader.truncated) return unreadable("truncated");
  if (headerLength < HEADER) return unreadable("bad-length");
  const options = reader.bytes(headerLength - HEADER);
  if (reader.truncated) return unreadable("truncated");
  const payload = bytes.subarray(headerLength, Math.max(headerLength, totalLength));
  const flags = fragment >> 13;
  const offset = (fragment & 0x1fff) * 8;
  return {
    value: { tos, id, flags, offset, ttl, protocol, source, destination, options, payload },
    fault: faultOf(bytes, headerLength, totalLength),
  };
}

function faultOf(bytes: Uint8Array, headerLength: number, totalLength: number): Rejection | undefined {
  if (checksum(bytes.subarray(0, headerLength)) !== 0) return "bad-checksum";
  if (totalLength < headerLength) return "bad-length";
  if (totalLength > bytes.length) return "truncated";
  return totalLength < bytes.length ? "trailing-bytes" : undefined;
}

/** A packet that was padded by its link is not whole: "trailing-bytes". */
export const ipv4Codec: Codec<Ipv4Packet> = {
  name: "ipv4",
  decode: (bytes) => strict(readIpv4(bytes)),
  encode: (packet) => {
    const headerLength = HEADER + packet.options.length;
    const header = createWriter()
      .u8(0x40 | (headerLength / 4))
      .u8(packet.tos)
      .u16(headerLength + packet.payload.length)
      .u16(packet.id)
      .u16((packet.flags << 13) | (packet.offset / 8))
      .u8(packet.ttl)
      .u8(packet.protocol)
      .u16(0)
      .ipv4(packet.source)
      .ipv4(packet.destination)
      .bytes(packet.options);
    return header.patch16(10, checksum(header.done())).bytes(packet.payload).done();
  },
};
