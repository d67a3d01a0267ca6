/** One store transaction as a plan writes it, and what more than one kind of object writes into it. */
import type { Json, Key, Revision, Transaction, Write } from "../store/store.ts";
import { addressOn, siteKeys } from "./claims.ts";
import { toJson } from "./json.ts";
import type { WantedSite } from "./wanted.ts";

/** A transaction being written: what is read or written must still have the revision the plan was made against. */
export interface Draft {
  read(key: Key): void;
  put(key: Key, value: Json): void;
  delete(key: Key): void;
  transaction(): Transaction;
}

export function createDraft(revisions: ReadonlyMap<Key, Revision>): Draft {
  const expect = new Map<Key, Revision>();
  const writes = new Map<Key, Write>();
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
