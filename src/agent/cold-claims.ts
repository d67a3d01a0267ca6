/** Claims that were given up, as the mirror keeps them beside those that are held: each key is among the ones or the others. */
import type { MacAddress } from "../model/mac.ts";
import type { CoolingClaim } from "../plan/claims.ts";
import type { Cold } from "../plan/wanted.ts";
import type { ClaimRecord, StoreRecord } from "../store/collections.ts";

export interface ColdClaims extends Cold {
  /** Grows whenever one joins or leaves. */
  readonly version: number;
  /** @returns the record, unless it is one that was given up */
  take(record: Extract<StoreRecord, { readonly kind: "address" | "mac" }>): ClaimRecord | undefined;
  /** By its key. */
  drop(kind: string, what: string): void;
}

export function createColdClaims(): ColdClaims {
  const addresses = new Map<string, CoolingClaim>();
  const macs = new Map<MacAddress, CoolingClaim>();
  const byKind: Readonly<Record<string, ReadonlyMap<string, unknown> & { delete(what: string): boolean }>> = {
    address: addresses,
    mac: macs,
  };
  let version = 0;

  function drop(kind: string, what: string): void {
    if (byKind[kind]?.delete(what) === true) version += 1;
  }
  return {
    addresses,
    macs,
    get version() {
      return version;
    },
    take: (record) => {
      drop(record.kind, record.what);
      const { cooling, ...claim } = record.value;
      if (cooling === undefined) return claim;
      version += 1;
      if (record.kind === "mac") macs.set(record.what, { ...claim, cooling });
      else addresses.set(record.what, { ...claim, cooling });
      return undefined;
    },
    drop,
  };
}
