/** IPv4 addresses, prefixes and ranges; text is canonical dotted decimal, numbers are unsigned 32-bit. */
import type { Brand } from "./brand.ts";

export type Ipv4Address = Brand<string, "Ipv4Address">;
/** `address/length` with the host bits zero. */
export type Ipv4Prefix = Brand<string, "Ipv4Prefix">;
/** First and last address, both included. */
export interface Ipv4Range {
  readonly first: Ipv4Address;
  readonly last: Ipv4Address;
}

const OCTET = /^(?:0|[1-9]\d{0,2})$/;

export function parseIpv4(text: string): Ipv4Address | undefined {
  const parts = text.split(".");
  if (parts.length !== 4 || !parts.every((part) => OCTET.test(part) && Number(part) <= 255)) return undefined;
  return text as Ipv4Address;
}

export function ipv4ToNumber(address: Ipv4Address): number {
  return address.split(".").reduce((sum, octet) => sum * 256 + Number(octet), 0);
}

/** @param value unsigned; taken modulo 2^32 */
export function ipv4FromNumber(value: number): Ipv4Address {
  return `${(value >>> 24) & 255}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}` as Ipv4Address;
}

export function ipv4FromBytes(bytes: Uint8Array, offset = 0): Ipv4Address {
  return `${bytes[offset] ?? 0}.${bytes[offset + 1] ?? 0}.${bytes[offset + 2] ?? 0}.${bytes[offset + 3] ?? 0}` as Ipv4Address;
}

export function ipv4ToBytes(address: Ipv4Address): Uint8Array {
  return Uint8Array.from(address.split("."), Number);
}

function maskOf(length: number): number {
  return length === 0 ? 0 : (0xffffffff << (32 - length)) >>> 0;
}

/** Refuses a prefix with host bits set: `10.0.0.1/24` is more often a slip than a wish. */
export function parsePrefix4(text: string): Ipv4Prefix | undefined {
  const [head, tail, more] = text.split("/");
  const address = parseIpv4(head ?? "");
  if (address === undefined || more !== undefined || !/^\d{1,2}$/.test(tail ?? "") || Number(tail) > 32)
    return undefined;
  const length = Number(tail);
  if ((ipv4ToNumber(address) & ~maskOf(length)) !== 0) return undefined;
  return `${address}/${length}` as Ipv4Prefix;
}

/** The parts of a prefix as numbers; `last` is the broadcast address of the prefix. */
export function prefix4Bounds(prefix: Ipv4Prefix): { first: number; last: number; length: number } {
  const slash = prefix.indexOf("/");
  const length = Number(prefix.slice(slash + 1));
  const first = ipv4ToNumber(prefix.slice(0, slash) as Ipv4Address);
  return { first, last: (first | ~maskOf(length)) >>> 0, length };
}

/** First and last address as octets. */
export function prefix4Octets(prefix: Ipv4Prefix): { first: Uint8Array; last: Uint8Array } {
  const { first, last } = prefix4Bounds(prefix);
  return { first: ipv4ToBytes(ipv4FromNumber(first)), last: ipv4ToBytes(ipv4FromNumber(last)) };
}

/** Whether they have an address in common. */
export function prefix4Meets(a: Ipv4Prefix, b: Ipv4Prefix): boolean {
  const [x, y] = [prefix4Bounds(a), prefix4Bounds(b)];
  return x.first <= y.last && y.first <= x.last;
}

export function netmask4(prefix: Ipv4Prefix): Ipv4Address {
  return ipv4FromNumber(maskOf(prefix4Bounds(prefix).length));
}

export function prefix4Contains(prefix: Ipv4Prefix, address: Ipv4Address): boolean {
  const { first, last } = prefix4Bounds(prefix);
  const value = ipv4ToNumber(address);
  return value >= first && value <= last;
}

/** `a-b` with a <= b, or one address alone. */
export function parseRange4(text: string): Ipv4Range | undefined {
  const [a, b, more] = text.split("-").map((part) => part.trim());
  const first = parseIpv4(a ?? "");
  const last = b === undefined ? first : parseIpv4(b);
  if (first === undefined || last === undefined || more !== undefined) return undefined;
  return ipv4ToNumber(first) <= ipv4ToNumber(last) ? { first, last } : undefined;
}

/** First and last address a machine may have: not network and broadcast address up to /30, both of a /31 (RFC 3021), the one of a /32. */
export function hosts4Bounds(prefix: Ipv4Prefix): { first: number; last: number } {
  const { first, last, length } = prefix4Bounds(prefix);
  return length <= 30 ? { first: first + 1, last: last - 1 } : { first, last };
}
