/** How full the ranges are that addresses are taken from. */
import { assignable, type Pool } from "../addressing/pool.ts";
import { isLearned } from "../model/addressing.ts";
import { coolDownOf } from "../model/cool-down.ts";
import { type Ipv4Address, ipv4ToNumber, parseIpv4, prefix4Meets } from "../model/ipv4.ts";
import type { ObjectName } from "../model/names.ts";
import type { NetworkSpec } from "../model/resources.ts";
import { wireOf } from "../model/wiring.ts";
import type { Claim } from "./claims.ts";
import type { Cold } from "./wanted.ts";

export interface PoolUse {
  readonly network: string;
  /** Addresses of its range4 that a guest can have. */
  readonly size: number;
  /** Neither held nor cooling down. */
  readonly free: number;
  /** Nobody holds them, and they cannot be given yet. */
  readonly cooling: number;
}

export interface PoolSite {
  readonly networks: ReadonlyMap<ObjectName, NetworkSpec>;
  /** By `network/address`. */
  readonly addresses: ReadonlyMap<string, Claim>;
  readonly cooling?: Pick<Cold, "addresses">;
}

/** A pool with more room than this needs no count. */
const FEW = 0.1;

function byNetwork(addresses: ReadonlyMap<string, Claim> = new Map()): ReadonlyMap<string, readonly string[]> {
  const found = new Map<string, string[]>();
  for (const what of addresses.keys()) {
    const network = what.slice(0, what.indexOf("/"));
    const list = found.get(network);
    if (list === undefined) found.set(network, [what]);
    else list.push(what);
  }
  return found;
}

/** Networks on whose wire an address of this one is the same machine's, itself among them. */
const onWire = ({ networks }: PoolSite, own: NetworkSpec): readonly (readonly [ObjectName, NetworkSpec])[] =>
  [...networks].filter(
    ([, spec]) => wireOf(spec.wiring) === wireOf(own.wiring) && prefix4Meets(spec.prefix4, own.prefix4),
  );

/** @param numbers takes up what is of the pool */
function count(
  pool: Pool,
  gateways: readonly Ipv4Address[],
  claimed: readonly string[],
  numbers = new Set<number>(),
): ReadonlySet<number> {
  const { has } = assignable(pool);
  for (const what of claimed) {
    const address = parseIpv4(what.slice(what.indexOf("/") + 1));
    if (address !== undefined && has(address)) numbers.add(ipv4ToNumber(address));
  }
  for (const gateway of gateways) if (has(gateway)) numbers.add(ipv4ToNumber(gateway));
  return numbers;
}

function useOf(
  pool: Pool,
  gateways: readonly Ipv4Address[],
  held: readonly string[],
  cold: readonly string[],
): PoolUse {
  const { size } = assignable(pool);
  const numbers = new Set(count(pool, gateways, held));
  const taken = numbers.size;
  const cooling = count(pool, [], cold, numbers).size - taken;
  return { network: pool.name, size, free: size - taken - cooling, cooling };
}

/** Of the networks that are nearly full, or of all with a range when `every` is set; counting is what costs. */
export function poolUses(site: PoolSite, every = false): readonly PoolUse[] {
  const [claimed, cooling] = [byNetwork(site.addresses), byNetwork(site.cooling?.addresses)];
  return [...site.networks].flatMap(([network, spec]): PoolUse[] => {
    const pool = { name: network, ...spec };
    const { size } = assignable(pool);
    // Where another server decides, the range only bounds what it may give.
    if (size === 0 || isLearned(spec.addressing)) return [];
    const wire = onWire(site, spec);
    const held = wire.flatMap(([name]) => claimed.get(name) ?? []);
    const cold = wire.flatMap(([name, other]) => (coolDownOf(other) === 0 ? [] : (cooling.get(name) ?? [])));
    if (!every && held.length + cold.length + wire.length < size * (1 - FEW)) return [];
    const gateways = wire.map(([, other]) => other.gateway4);
    return [useOf(pool, gateways, held, cold)];
  });
}

export const isFull = ({ free }: PoolUse): boolean => free === 0;
export const isNearlyFull = ({ size, free }: PoolUse): boolean => free > 0 && free <= size * FEW;
