/** Says which networks have no address left, or few, for as long as it is so. */
import { isFull, isNearlyFull, type PoolUse } from "../plan/pools.ts";
import type { Conditions } from "./conditions.ts";

export function tellPools(uses: readonly PoolUse[], conditions: Conditions): void {
  const [full, low] = [uses.filter(isFull), uses.filter(isNearlyFull)];
  if (full.length === 0) conditions.clear("POOL_FULL");
  else conditions.raise("POOL_FULL", full.map(({ network, size }) => `${network} (all ${size} are held)`).join(", "));
  if (low.length === 0) conditions.clear("POOL_LOW");
  else conditions.raise("POOL_LOW", low.map(({ network, size, free }) => `${network} (${free} of ${size})`).join(", "));
}
