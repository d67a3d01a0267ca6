/** IPv6 addresses and prefixes; text is canonical (RFC 5952), bytes are 16 in network order. */
import type { Brand } from "./brand.ts";
import { parseIpv4 } from "./ipv4.ts";
import { type MacAddress, macToBytes } from "./mac.ts";

export type Ipv6Address = Brand<string, "Ipv6Address">;
/** `address/length` with the host bits zero. */
export type Ipv6Prefix = Brand<string, "Ipv6Prefix">;

const GROUP = /^[0-9a-f]{1,4}$/i;

/** Lower case, no leading zeros, the first longest run of two or more zero groups as "::" (RFC 5952 section 4). */
export function ipv6FromBytes(bytes: Uint8Array, offset = 0): Ipv6Address {
  const groups = Array.from({ length: 8 }, (_, i) =>
    ((bytes[offset + 2 * i] ?? 0) * 256 + (bytes[offset + 2 * i + 1] ?? 0)).toString(16),
  );
  const text = groups.join(":");
  const runs = `:${text}:`.match(/:(?:0:){2,}/g) ?? [];
  const longest = runs.reduce((best, run) => (run.length > best.length ? run : best), "");
  if (longest === "") return text as Ipv6Address;
  const short = `:${text}:`.replace(longest, "::");
  return short.replace(/^:(?!:)/, "").replace(/(?<!:):$/, "") as Ipv6Address;
}

/** The last 32 bits may be written as IPv4 (RFC 4291 section 2.2): they become two groups. */
function withoutIpv4(text: string): string | undefined {
  const at = text.lastIndexOf(":") + 1;
  if (!text.includes(".")) return text;
  const tail = parseIpv4(text.slice(at));
  if (tail === undefined) return undefined;
  const [a = 0, b = 0, c = 0, d = 0] = tail.split(".").map(Number);
  return `${text.slice(0, at)}${(a * 256 + b).toString(16)}:${(c * 256 + d).toString(16)}`;
}

/** Any form of RFC 4291, to the canonical one. No zone, no brackets. */
export function parseIpv6(text: string): Ipv6Address | undefined {
  const plain = withoutIpv4(text);
  const halves = plain?.split("::") ?? [];
  if (halves.length < 1 || halves.length > 2) return undefined;
  const [head = [], tail] = halves.map((half) => (half === "" ? [] : half.split(":")));
  const missing = 8 - head.length - (tail?.length ?? 0);
  if (tail === undefined ? missing !== 0 : missing < 1) return undefined;
  const groups = [...head, ...Array.from({ length: tail === undefined ? 0 : missing }, () => "0"), ...(tail ?? [])];
  if (!groups.every((group) => GROUP.test(group))) return undefined;
  const numbers = groups.map((group) => Number.parseInt(group, 16));
  return ipv6FromBytes(Uint8Array.from(numbers.flatMap((n) => [n >> 8, n & 255])));
}

export function ipv6ToBytes(address: Ipv6Address): Uint8Array {
  const [head = [], tail] = address.split("::").map((half) => (half === "" ? [] : half.split(":")));
  const bytes = new Uint8Array(16);
  const put = (groups: readonly string[], first: number): void => {
    for (const [i, group] of groups.entries()) {
      const value = Number.parseInt(group, 16);
      bytes[2 * (first + i)] = value >> 8;
      bytes[2 * (first + i) + 1] = value & 255;
    }
  };
  put(head, 0);
  if (tail !== undefined) put(tail, 8 - tail.length);
  return bytes;
}

/** Refuses a prefix with host bits set: `2001:db8::1/64` is more often a slip than a wish. */
export function parsePrefix6(text: string): Ipv6Prefix | undefined {
  const [head, tail, more] = text.split("/");
  const address = parseIpv6(head ?? "");
  if (address === undefined || more !== undefined || !/^\d{1,3}$/.test(tail ?? "") || Number(tail) > 128)
    return undefined;
  const prefix = `${address}/${Number(tail)}` as Ipv6Prefix;
  const { first } = prefix6Bounds(prefix);
  return ipv6FromBytes(first) === address ? prefix : undefined;
}

/** First and last address of a prefix. */
export function prefix6Bounds(prefix: Ipv6Prefix): { first: Uint8Array; last: Uint8Array; length: number } {
  const slash = prefix.indexOf("/");
  const length = Number(prefix.slice(slash + 1));
  const first = ipv6ToBytes(prefix.slice(0, slash) as Ipv6Address);
  const last = first.slice();
  for (let i = 0; i < 16; i += 1) {
    const host = 0xff >> Math.min(8, Math.max(0, length - 8 * i));
    first[i] = (first[i] ?? 0) & ~host;
    last[i] = (last[i] ?? 0) | host;
  }
  return { first, last, length };
}

export function prefix6Contains(prefix: Ipv6Prefix, address: Ipv6Address): boolean {
  const { first, last } = prefix6Bounds(prefix);
  return ipv6ToBytes(address).every((byte, i) => byte >= (first[i] ?? 0) && byte <= (last[i] ?? 0));
}

/** Whether they have an address in common: then one holds the other's first. */
export function prefix6Meets(a: Ipv6Prefix, b: Ipv6Prefix): boolean {
  const [x, y] = [prefix6Bounds(a), prefix6Bounds(b)];
  return prefix6Contains(a, ipv6FromBytes(y.first)) || prefix6Contains(b, ipv6FromBytes(x.first));
}

/** Universal bit turned over, ff:fe in the middle (RFC 4291 appendix A); the last 64 bits of the prefix's first address are replaced. */
export function eui64Address(prefix: Ipv6Prefix, mac: MacAddress): Ipv6Address {
  const { first } = prefix6Bounds(prefix);
  const [a = 0, b = 0, c = 0, ...rest] = macToBytes(mac);
  first.set([a ^ 2, b, c, 0xff, 0xfe, ...rest], 8);
  return ipv6FromBytes(first);
}

const LINK_LOCAL = "fe80::/64" as Ipv6Prefix;

export function linkLocalOf(mac: MacAddress): Ipv6Address {
  return eui64Address(LINK_LOCAL, mac);
}

/** fe80::/10 (RFC 4291 section 2.4). */
export function isLinkLocal6(address: Ipv6Address): boolean {
  return /^fe[89ab]/.test(address);
}

/** ff00::/8 */
export function isMulticast6(address: Ipv6Address): boolean {
  return /^ff[0-9a-f]{2}:/.test(address);
}

/** ff02::1:ff00:0/104 with the last three octets of the address (RFC 4291 section 2.7.1). */
export function solicitedNode(address: Ipv6Address): Ipv6Address {
  const bytes = ipv6ToBytes("ff02::1:ff00:0" as Ipv6Address);
  bytes.set(ipv6ToBytes(address).subarray(13), 13);
  return ipv6FromBytes(bytes);
}

/** 33:33 and the last four octets of the group (RFC 2464 section 7). */
export function multicastMac6(group: Ipv6Address): Uint8Array {
  return Uint8Array.of(0x33, 0x33, ...ipv6ToBytes(group).subarray(12));
}

export const ANY6: Ipv6Address = ipv6FromBytes(new Uint8Array(16));
