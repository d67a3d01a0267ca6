/**
 * Which address a NIC gets: the lowest free one of the network's ranges, in the order they are written.
 * Lowest first, because people find their guests again and a plan made twice names the same addresses; what was just given back is kept from being the next
 * one given out by its cool-down, which the caller counts as taken.
 */
import { GuardError } from "../model/errors.ts";
import {
  hosts4Bounds,
  type Ipv4Address,
  type Ipv4Prefix,
  type Ipv4Range,
  ipv4FromNumber,
  ipv4ToNumber,
  prefix4Bounds,
} from "../model/ipv4.ts";
import type { Link4Length, Wiring } from "../model/resources.ts";
import { linkLength, notRightHand4, rightHands } from "../model/transport.ts";

/** The part of a network that decides over its addresses; a `NetworkSpec` with its name fits. */
export interface Pool {
  readonly name: string;
  readonly prefix4: Ipv4Prefix;
  readonly gateway4: Ipv4Address;
  readonly range4: readonly Ipv4Range[];
  /** Of transport networks guests have the right-hand addresses of the links that the prefix is cut into. */
  readonly wiring?: Wiring;
}

export interface Allocation {
  readonly address: Ipv4Address;
  /** Start hint of the next allocation in the same pool. */
  readonly next: number;
}

/** Addresses that a guest may have, so far apart. */
interface Span {
  readonly first: number;
  readonly count: number;
  readonly step: number;
}

const lengthOf = ({ wiring }: Pick<Pool, "wiring">): Link4Length | undefined =>
  wiring === undefined ? undefined : linkLength(wiring);

/** The ranges as numbers, without what no machine may have. */
function spans(pool: Pool): readonly Span[] {
  const { prefix4, range4 } = pool;
  const length = lengthOf(pool);
  const bounds = length === undefined ? hosts4Bounds(prefix4) : prefix4Bounds(prefix4);
  return range4
    .map((range): Span => {
      const first = Math.max(ipv4ToNumber(range.first), bounds.first);
      const last = Math.min(ipv4ToNumber(range.last), bounds.last);
      return length === undefined ? { first, count: last - first + 1, step: 1 } : rightHands(length, first, last);
    })
    .filter(({ count }) => count > 0);
}

const sizeOf = (list: readonly Span[]): number => list.reduce((sum, { count }) => sum + count, 0);

/** The addresses of the ranges, the gateway among them where it lies there. */
export function assignable(pool: Pool): { readonly size: number; has(address: Ipv4Address): boolean } {
  const list = spans(pool);
  return {
    size: sizeOf(list),
    has: (address) => {
      const value = ipv4ToNumber(address);
      return list.some(
        ({ first, count, step }) => value >= first && value < first + count * step && (value - first) % step === 0,
      );
    },
  };
}

/** True when a guest may have the address at all: of the prefix, not its network or broadcast address, not the gateway; of a link the right-hand one. */
export function isAssignable(pool: Omit<Pool, "name" | "range4">, address: Ipv4Address): boolean {
  const { prefix4, gateway4 } = pool;
  const length = lengthOf(pool);
  if (length !== undefined) return notRightHand4(prefix4, length, address) === undefined;
  const { first, last } = hosts4Bounds(prefix4);
  const value = ipv4ToNumber(address);
  return value >= first && value <= last && address !== gateway4;
}

/** First free position in [from, to) of the spans laid end to end. */
function search(
  list: readonly Span[],
  from: number,
  to: number,
  free: (address: Ipv4Address) => boolean,
): { readonly address: Ipv4Address; readonly position: number } | undefined {
  let base = 0;
  for (const { first, count, step } of list) {
    for (let n = Math.max(from - base, 0); n < Math.min(to - base, count); n += 1) {
      const address = ipv4FromNumber(first + n * step);
      if (free(address)) return { address, position: base + n };
    }
    base += count;
  }
  return undefined;
}

/**
 * Start hint for one of several writers who would all take the lowest free address: the place of any free one. Looks at every address of the pool once; places
 * in the range alone would not do, because what is held lies together, and all who begin in it end at the same address behind it.
 * @param pick a number below the one it is given
 */
export function anyFree(
  pool: Pool,
  taken: (address: Ipv4Address) => boolean,
  pick: (count: number) => number,
): number | undefined {
  const free: number[] = [];
  let base = 0;
  for (const { first, count, step } of spans(pool)) {
    for (let n = 0; n < count; n += 1) {
      const address = ipv4FromNumber(first + n * step);
      if (address !== pool.gateway4 && !taken(address)) free.push(base + n);
    }
    base += count;
  }
  return free.length === 0 ? undefined : free[pick(free.length)];
}

const rangeText = (range4: readonly Ipv4Range[]): string =>
  range4.map(({ first, last }) => (first === last ? first : `${first}-${last}`)).join(", ");

function exhausted(pool: Pool, size: number, cooling: number): GuardError {
  const { name, range4 } = pool;
  if (size === 0)
    return new GuardError("POOL_EXHAUSTED", `network '${name}' has no range4 to take addresses from`, {
      fields: { network: name, size },
    });
  const cold = cooling === 0 ? "" : ` (${cooling} of them cool down: 'vifguard cooling list')`;
  const says = `network '${name}' has no free address: all ${size} of ${rangeText(range4)} are held or the gateway's${cold}`;
  return new GuardError("POOL_EXHAUSTED", says, { fields: { network: name, size, cooling } });
}

/**
 * The caller keeps `next` as the hint of its next call, so that a row of allocations walks the pool once; an address freed below
 * the hint is found after the rest. Without a hint one call costs at most one look at every address of the pool.
 * @param cooling how many of those that are taken have no owner; asked when there is nothing left
 * @throws POOL_EXHAUSTED
 */
export function allocate(
  pool: Pool,
  taken: (address: Ipv4Address) => boolean,
  hint = 0,
  cooling: () => number = () => 0,
): Allocation {
  const list = spans(pool);
  const size = sizeOf(list);
  const free = (address: Ipv4Address): boolean => address !== pool.gateway4 && !taken(address);
  const found = search(list, hint, size, free) ?? search(list, 0, Math.min(hint, size), free);
  if (found === undefined) throw exhausted(pool, size, cooling());
  return { address: found.address, next: found.position + 1 };
}
