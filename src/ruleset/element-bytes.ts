/** Set elements as the kernel holds them: how numbers and keys of several fields are laid out. */
import { be16 } from "../model/bytes.ts";
import type { Share } from "../model/rates.ts";
import type { Family } from "./ast.ts";
import { ETHER_TYPE } from "./parts.ts";

/** An element and the set it belongs to, in the tables of the skeleton. */
export interface PlacedElement {
  readonly family: Family;
  readonly set: string;
  readonly key: Uint8Array;
  /** End of the range, on sets of prefixes. */
  readonly keyEnd?: Uint8Array;
  readonly data?: Uint8Array;
  /** The element's own token bucket, on sets that have them. */
  readonly limit?: ElementLimit;
  /** How many tracked connections the element allows (`ct count over`), on sets that count them. */
  readonly connections?: number;
}

/** Milliseconds and nanoseconds are the kernel's business: a share is tokens a second and how many may be saved up. */
export interface ElementLimit extends Share {
  readonly unit: "packets" | "bytes";
}

const little = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

/** Interface indexes and marks are numbers of the host: its own byte order. */
export function hostU32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, little);
  return bytes;
}

/** In sets of ranges nft compares everything in network order, marks too. */
export function networkU32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, false);
  return bytes;
}

/** Fields of a concatenation each start on a 4-byte register (NFT_REG32). */
export function concatKey(...parts: readonly Uint8Array[]): Uint8Array {
  const key = new Uint8Array(parts.reduce((sum, part) => sum + ((part.length + 3) & ~3), 0));
  let at = 0;
  for (const part of parts) {
    key.set(part, at);
    at += (part.length + 3) & ~3;
  }
  return key;
}

/** A range of addresses in a set of prefixes, whose keys begin with the family as the packet says it (ETH_P_IP, ETH_P_IPV6). */
export function familyRange(family: 4 | 6, first: Uint8Array, last: Uint8Array): Pick<PlacedElement, "key" | "keyEnd"> {
  const type = be16(family === 4 ? ETHER_TYPE.ip4 : ETHER_TYPE.ip6);
  return { key: concatKey(type, first), keyEnd: concatKey(type, last) };
}

/** The number at `offset` of a key, as the host writes it. */
export function hostU32At(key: Uint8Array, offset: number): number {
  return new DataView(key.buffer, key.byteOffset, key.byteLength).getUint32(offset, little);
}

/**
 * A number for every name, the same on every start: a digest of the name, moved on by one where two meet.
 * Never 0 (no mark) and never as small as a drop reason.
 */
export function stableNumbers(names: readonly string[]): ReadonlyMap<string, number> {
  const taken = new Set<number>();
  const numbers = new Map<string, number>();
  for (const name of [...names].sort()) {
    let number = digest31(name);
    while (taken.has(number)) number = ((number + 1) & 0x7fffffff) | 0x10000;
    taken.add(number);
    numbers.set(name, number);
  }
  return numbers;
}

function digest31(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash & 0x7fffffff) | 0x10000;
}
