/** One store transaction as a plan writes it, and what more than one kind of object writes into it. */
import type { Json, Key, Revision, Transaction, Write } from "../store/store.ts";
import { addressOn, type Claim, siteKeys } from "./claims.ts";
import { toJson } from "./json.ts";
import type { WantedSite } from "./wanted.ts";

/** A transaction being written: what is read or written must still have the revision the plan was made against. */
export interface Draft {
  read(key: Key): void;
  put(key: Key, value: Json): void;
  delete(key: Key): void;
  /** Keeps a claim that was given up, for so long. */
  cool(key: Key, claim: Claim, seconds: number): void;
  transaction(): Transaction;
  cooling(): readonly CoolingWrite[];
}

/** A claim that is to stand for so many seconds more and then vanish, whatever any host's clock says: under a store lease. Its key is expected in the transaction. */
export interface CoolingWrite {
  readonly key: Key;
  readonly claim: Claim;
  readonly seconds: number;
}

export function createDraft(revisions: ReadonlyMap<Key, Revision>): Draft {
  const expect = new Map<Key, Revision>();
  const writes = new Map<Key, Write>();
  const cooling: CoolingWrite[] = [];
  const read = (key: Key): void => {
    expect.set(key, revisions.get(key) ?? 0);
  };
  const write = (change: Write): void => {
    read(change.key);
    writes.set(change.key, change);
  };
  return {
    read,
    put: (key, value) => write({ op: "put", key, value }),
    delete: (key) => write({ op: "delete", key }),
    cool: (key, { guest, nic }, seconds) => {
      read(key);
      cooling.push({ key, claim: { guest, nic }, seconds });
    },
    cooling: () => cooling,
    transaction: () => ({
      expect: [...expect].map(([key, revision]) => ({ key, revision })),
      writes: [...writes.values()],
    }),
  };
}

/** Who has which public address, against what else could have it. */
export function writePublics(draft: Draft, { publics, networks }: Pick<WantedSite, "publics" | "networks">): void {
  for (const [address, holders] of publics.changed()) {
    if (holders.length === 0) draft.delete(siteKeys.public(address));
    else draft.put(siteKeys.public(address), toJson({ holders }));
    for (const name of networks.keys()) {
      draft.read(siteKeys.network(name));
      draft.read(siteKeys.address(addressOn(name, address)));
    }
  }
}
