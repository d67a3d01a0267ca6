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
