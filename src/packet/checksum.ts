/** The Internet checksum (RFC 1071) over any number of parts, and the pseudo headers that go before a transport's bytes. */
import { type Ipv4Address, ipv4ToBytes } from "../model/ipv4.ts";

/** @returns what goes into the checksum field; 0 when the parts contain a checksum that is true */
export function checksum(...parts: readonly Uint8Array[]): number {
  let sum = 0;
  let high = true;
  for (const part of parts) {
    for (const byte of part) {
      sum += high ? byte * 256 : byte;
      high = !high;
    }
  }
  while (sum > 0xffff) sum = (sum % 0x1_0000) + Math.floor(sum / 0x1_0000);
  return ~sum & 0xffff;
}

/** RFC 768 and RFC 9293 section 3.1. Goes to `checksum` as the first part; IPv6 (RFC 8200 section 8.1) differs in nothing but this part. */
export function pseudoHeader4(
  source: Ipv4Address,
  destination: Ipv4Address,
  protocol: number,
  length: number,
): Uint8Array {
  return Uint8Array.of(
    ...ipv4ToBytes(source),
    ...ipv4ToBytes(destination),
    0,
    protocol,
    (length >>> 8) & 255,
    length & 255,
  );
}

/** RFC 8200 section 8.1; addresses of 16 octets. */
export function pseudoHeader6(
  source: Uint8Array,
  destination: Uint8Array,
  protocol: number,
  length: number,
): Uint8Array {
  const header = new Uint8Array(40);
  header.set(source);
  header.set(destination, 16);
  new DataView(header.buffer).setUint32(32, length);
  header[39] = protocol;
  return header;
}

/** Unfolded one's complement sum (RFC 1071), for code that counts microseconds; a frame is too short to leave the exact range of numbers. */
export function sum(bytes: Uint8Array, from: number, to: number): number {
  let total = 0;
  for (let i = from; i < to; i += 2) total += (bytes[i] ?? 0) * 256 + (i + 1 < to ? (bytes[i + 1] ?? 0) : 0);
  return total;
}

export function fold(total: number): number {
  let folded = total;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x1_00_00);
  return folded;
}

/**
 * Right, or not yet made: a guest on a veth or virtio link leaves it to a card that is not there (CHECKSUM_PARTIAL),
 * and the field then holds the sum of the pseudo header alone.
 */
export function isTransportSum(segment: Uint8Array, field: number, pseudo: number): boolean {
  return field === fold(pseudo) || fold(pseudo + sum(segment, 0, segment.length)) === 0xffff;
}
