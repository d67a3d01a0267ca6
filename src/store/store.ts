/**
 * The memory of the host and of the fleet: JSON values under path-like keys, changed by transactions.
 * Shaped so that an embedded file and etcd can both stand behind it (revision, compare-and-set, watch, leases).
 */

/** `kind/name/...`: lower-case words and names separated by slashes. */
export type Key = string;
/** Everything whose key begins so ("": everything there is), or one key alone. */
export type Place = Key | { readonly key: Key };
/** Grows with every committed transaction; 0 means "has never existed". */
export type Revision = number;
export type Json = null | boolean | number | string | readonly Json[] | { readonly [key: string]: Json };

export interface Entry {
  readonly key: Key;
  readonly value: Json;
  /** The revision of the transaction that last wrote this key. */
  readonly revision: Revision;
  /** Set when the entry vanishes with a store lease. */
  readonly lease?: LeaseId;
}

export interface Snapshot {
  readonly revision: Revision;
  readonly entries: ReadonlyMap<Key, Entry>;
}

export type Write =
  | { readonly op: "put"; readonly key: Key; readonly value: Json; readonly lease?: LeaseId }
  | { readonly op: "delete"; readonly key: Key };

/** All of it or nothing. `expect` names the revision each key must have now; 0: it must not exist. */
export interface Transaction {
  readonly expect: readonly { readonly key: Key; readonly revision: Revision }[];
  readonly writes: readonly Write[];
}

/** When it says ok, the transaction is durable. A conflict names the first key whose revision was another. */
export type Commit =
  | { readonly ok: true; readonly revision: Revision }
  | { readonly ok: false; readonly conflict: Key };

/** One committed transaction, as watchers see it; deleted keys carry no value. */
export interface Change {
  readonly revision: Revision;
  readonly changes: readonly (
    | { readonly key: Key; readonly value: Json }
    | { readonly key: Key; readonly deleted: true }
  )[];
}

export type LeaseId = number;

export interface Store {
  /** All of a place, at one revision. */
  read(place: Place): Promise<Snapshot>;
  /**
   * Every change of the place after `after`, in order, none missed, none twice; ends when the signal aborts. What one transaction changed in two places is told
   * by the watch of each, and neither waits for the other: compare revisions.
   * Throws GuardError CONFLICT when `after` is older than what the store remembers: read again, then watch.
   */
  watch(place: Place, after: Revision, signal: AbortSignal): AsyncIterable<Change>;
  /** Throws GuardError STORE_UNAVAILABLE when it cannot be made durable; then nothing of it is kept. */
  commit(transaction: Transaction): Promise<Commit>;
  /** A store lease: entries put under it vanish (as a Change) when it is not kept alive for `ttlSeconds`. */
  grantLease(ttlSeconds: number): Promise<LeaseId>;
  /** False when the lease is gone already. */
  keepAlive(lease: LeaseId): Promise<boolean>;
  revokeLease(lease: LeaseId): Promise<void>;
  /** Of a store with a copy on this host: what it still needs to hold. */
  keepOnly?(places: readonly Place[]): Promise<void>;
  close(): Promise<void>;
}
