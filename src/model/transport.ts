/**
 * Links of transport networks: every guest's port is a subnet of its own, cut out of the pools of the network. The left-hand address is the host's end,
 * the right-hand one the guest's. Pure arithmetic: the link follows from the right-hand address, so a link moves with its guest.
 */
import {
  type Ipv4Address,
  type Ipv4Prefix,
  ipv4FromNumber,
  ipv4ToNumber,
  parsePrefix4,
  prefix4Bounds,
  prefix4Contains,
} from "./ipv4.ts";
import {
  type Ipv6Address,
  type Ipv6Prefix,
  ipv6FromBytes,
  ipv6ToBytes,
  parsePrefix6,
  prefix6Bounds,
  prefix6Contains,
} from "./ipv6.ts";
import type { Link4Length, NetworkSpec, Wiring } from "./resources.ts";

/** RFC 6164. */
export const LINK6_LENGTH = 127;

/** The two ends of one link, and the subnet they make. */
export interface Link4 {
  readonly prefix: Ipv4Prefix;
  readonly left: Ipv4Address;
  readonly right: Ipv4Address;
}

export interface Link6 {
  readonly prefix: Ipv6Prefix;
  readonly left: Ipv6Address;
  readonly right: Ipv6Address;
}

/** Of networks whose ports are links; undefined for all others. */
export function linkLength(wiring: Wiring): Link4Length | undefined {
  return wiring.kind === "transport" ? wiring.link4 : undefined;
}

/** How far the right-hand address is from the first of its link: a /30 begins with its network address (RFC 3021 section 2.1). */
const rightOffset = (length: Link4Length): number => (length === 31 ? 1 : 2);

/** Addresses of one link. */
const sizeOf = (length: Link4Length): number => 2 ** (32 - length);

function known<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError("no prefix");
  return value;
}

/** The link that the address lies in, whichever of its addresses it is. */
export function link4At(address: Ipv4Address, length: Link4Length): Link4 {
  const value = ipv4ToNumber(address);
  const first = value - (value % sizeOf(length));
  const right = first + rightOffset(length);
  const prefix = known(parsePrefix4(`${ipv4FromNumber(first)}/${length}`));
  return { prefix, left: ipv4FromNumber(right - 1), right: ipv4FromNumber(right) };
}

export function link6At(address: Ipv6Address): Link6 {
  const [left, right] = [ipv6ToBytes(address), ipv6ToBytes(address)];
  left[15] = (left[15] ?? 0) & 0xfe;
  right[15] = (right[15] ?? 0) | 1;
  const first = ipv6FromBytes(left);
  const prefix = known(parsePrefix6(`${first}/${LINK6_LENGTH}`));
  return { prefix, left: first, right: ipv6FromBytes(right) };
}

/** The right-hand addresses among these, as numbers: the first of them, how many there are, and how far apart. */
export function rightHands(
  length: Link4Length,
  first: number,
  last: number,
): { readonly first: number; readonly count: number; readonly step: number } {
  const step = sizeOf(length);
  const offset = rightOffset(length);
  const right = Math.ceil((first - offset) / step) * step + offset;
  return { first: right, count: Math.max(0, Math.floor((last - right) / step) + 1), step };
}

/** Why the guest of a link cannot have the address, naming the one it can; undefined when it is the right-hand one. */
export function notRightHand4(prefix4: Ipv4Prefix, length: Link4Length, address: Ipv4Address): string | undefined {
  if (!prefix4Contains(prefix4, address)) return `${address} is outside prefix4 ${prefix4}`;
  const { prefix, left, right } = link4At(address, length);
  if (address === right) return undefined;
  const { first } = prefix4Bounds(prefix);
  const whole = ipv4ToNumber(address) === first ? "network" : "broadcast";
  const what = address === left ? "the left-hand address, which is the host's," : `the ${whole} address`;
  return `${address} is ${what} of the link ${prefix}: its guest has ${right}`;
}

export function notRightHand6(prefix6: Ipv6Prefix, address: Ipv6Address): string | undefined {
  if (!prefix6Contains(prefix6, address)) return `${address} is outside prefix6 ${prefix6}`;
  const { prefix, right } = link6At(address);
  if (address === right) return undefined;
  return `${address} is the left-hand address, which is the host's, of the link ${prefix}: its guest has ${right}`;
}

/** How many links the pool has. */
export function linkCount4(prefix4: Ipv4Prefix, length: Link4Length): number {
  return 2 ** (length - prefix4Bounds(prefix4).length);
}

/** Those that IPv4 links have their twins in: the first is left alone, because its left-hand address is every router's (RFC 4291 section 2.6.1, RFC 6164 section 6). */
export function linkCount6(prefix6: Ipv6Prefix): number {
  return 2 ** (LINK6_LENGTH - prefix6Bounds(prefix6).length) - 1;
}

function plus(first: Uint8Array, count: number): Uint8Array {
  const bytes = first.slice();
  let carry = count;
  for (let i = 15; i >= 0 && carry > 0; i -= 1) {
    const sum = (bytes[i] ?? 0) + (carry % 256);
    bytes[i] = sum & 0xff;
    carry = Math.floor(carry / 256) + (sum >> 8);
  }
  return bytes;
}

/** The right-hand IPv6 address that goes with a right-hand IPv4 address: link n of the one pool has link n + 1 of the other. */
export function twinOf(
  { prefix4, prefix6 }: { readonly prefix4: Ipv4Prefix; readonly prefix6: Ipv6Prefix },
  length: Link4Length,
  address: Ipv4Address,
): Ipv6Address {
  const number = Math.floor((ipv4ToNumber(address) - prefix4Bounds(prefix4).first) / sizeOf(length));
  return link6At(ipv6FromBytes(plus(prefix6Bounds(prefix6).first, 2 * (number + 1)))).right;
}

/** What a guest with this address takes for its subnet and its gateway: of a link its own, else the network's. */
export function subnetOf(
  { prefix4, gateway4, wiring }: Pick<NetworkSpec, "prefix4" | "gateway4" | "wiring">,
  address: Ipv4Address,
): { readonly prefix: Ipv4Prefix; readonly gateway: Ipv4Address } {
  const length = linkLength(wiring);
  if (length === undefined) return { prefix: prefix4, gateway: gateway4 };
  const { prefix, left } = link4At(address, length);
  return { prefix, gateway: left };
}

/** Stands for the gateway of a network in which every link has its own: the left-hand address of the first link, which no guest gets either. */
export function firstLeftHand(prefix4: Ipv4Prefix, length: Link4Length): Ipv4Address {
  return link4At(ipv4FromNumber(prefix4Bounds(prefix4).first), length).left;
}
