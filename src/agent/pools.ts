/** Says which networks have no address left, or few, for as long as it is so. */
import { isFull, isNearlyFull, type PoolUse } from "../plan/pools.ts";
import type { Conditions } from "./conditions.ts";

const coldText = (cooling: number): string => (cooling === 0 ? "" : `, ${cooling} only cooling down`);

export function tellPools(uses: readonly PoolUse[], conditions: Conditions): void {
  const [full, low] = [uses.filter(isFull), uses.filter(isNearlyFull)];
  if (full.length === 0) conditions.clear("POOL_FULL");
  else
    conditions.raise(
      "POOL_FULL",
      full.map(({ network, size, cooling }) => `${network} (all ${size} are held${coldText(cooling)})`).join(", "),
    );
  if (low.length === 0) conditions.clear("POOL_LOW");
  else
    conditions.raise(
      "POOL_LOW",
      low.map(({ network, size, free, cooling }) => `${network} (${free} of ${size}${coldText(cooling)})`).join(", "),
    );
}
