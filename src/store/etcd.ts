/**
 * The store of a fleet: etcd, version 3.4 or newer. Reading is linearizable, transactions are etcd's own, and who watches from what etcd has forgotten is told
 * to read again. Keys: `ROOT/data/KEY` holds the value as JSON, `ROOT/slot/CLIENT` the mark of a client's last transaction.
 */
import { randomBytes } from "node:crypto";
import { GuardError } from "../model/errors.ts";
import { admit, defect } from "./admit.ts";
import { type Asker, createAsker, layoutOf, refused } from "./etcd-asker.ts";
import { CallFailed, createEtcdClient, type EtcdAccess } from "./etcd-client.ts";
import { createCommitter, NOT_FOUND } from "./etcd-commit.ts";
import { leaseGrant, leaseOf, rangeOf, ttlOf } from "./etcd-messages.ts";
import { createReader } from "./etcd-read.ts";
import { createWatches } from "./etcd-watch.ts";
import type { LeaseId, Revision, Store } from "./store.ts";

export interface EtcdOptions extends EtcdAccess {
  /** Beginning of every key, without a slash at its end. */
  readonly root: string;
  /** Of one process at a time: the host's name. */
  readonly client: string;
  /** Of the values. A store that was written in another one is not read. */
  readonly format: number;
  /** How long a call is tried at one member after the other, in milliseconds. */
  readonly patience?: number;
  /** Told what is wrong with etcd, and `undefined` when it answers again. */
  readonly health?: (fault: string | undefined) => void;
  /** Told when etcd holds another past than was watched: it was restored. */
  readonly wentBack?: () => void;
}

const PATIENCE = 10_000;

/** One after the other, in the order asked: a transaction sees what was asked for before it. */
function createQueue(): { run<T>(act: () => Promise<T>): Promise<T>; done(): Promise<unknown> } {
  let tail: Promise<unknown> = Promise.resolve();
  return {
    run: (act) => {
      const result = tail.then(act);
      tail = result.catch(() => undefined);
      return result;
    },
    done: () => tail,
  };
}

function createNewest(): { seen(revision: Revision): void; now(): Revision } {
  let newest: Revision = 0;
  return {
    seen: (revision) => {
      newest = Math.max(newest, revision);
    },
    now: () => newest,
  };
}

async function grant({ ask }: Asker, ttlSeconds: number): Promise<LeaseId> {
  if (!(ttlSeconds > 0)) throw defect(`a store lease of ${ttlSeconds} seconds`);
  // 48 bits are exact as a number.
  const lease = randomBytes(6).readUIntBE(0, 6) + 1;
  try {
    await ask("Lease/LeaseGrant", leaseGrant(lease, Math.ceil(ttlSeconds)), () => undefined);
  } catch (cause) {
    // Asked again after an answer that was lost.
    if (!(cause instanceof CallFailed) || !cause.message.includes("lease already exists")) throw cause;
  }
  return lease;
}

async function revoke({ ask }: Asker, lease: LeaseId): Promise<void> {
  try {
    await ask("Lease/LeaseRevoke", leaseOf(lease), () => undefined);
  } catch (cause) {
    if (!(cause instanceof CallFailed) || cause.status !== NOT_FOUND) throw cause;
  }
}

async function orRefused<T>(act: Promise<T>): Promise<T> {
  try {
    return await act;
  } catch (cause) {
    throw refused(cause);
  }
}

/** Nothing is asked of etcd yet: a member that is away is tried again with each call. */
export function openEtcdStore(options: EtcdOptions): Store {
  const layout = layoutOf(options.root, options.client);
  const client = createEtcdClient(options);
  const asker = createAsker(client, options.patience ?? PATIENCE, options.health ?? (() => undefined));
  const newest = createNewest();
  const committer = createCommitter(asker, layout, newest);
  const watches = createWatches(client, asker, layout, newest.seen, options.wentBack ?? (() => undefined), newest.now);
  const read = createReader(asker, layout, options.format);
  const queue = createQueue();
  let isClosed = false;
  function assertOpen(): void {
    if (isClosed) throw new GuardError("STORE_UNAVAILABLE", "the store is closed");
  }

  return {
    read: async (place) => {
      assertOpen();
      return orRefused(read(rangeOf(layout.data, place)));
    },
    watch: (place, after, signal) => {
      assertOpen();
      return watches.follow(place, after, signal);
    },
    commit: async (transaction) => {
      assertOpen();
      const wish = admit(transaction);
      return queue.run(() => committer.commit(wish));
    },
    grantLease: async (ttlSeconds) => {
      assertOpen();
      return orRefused(grant(asker, ttlSeconds));
    },
    keepAlive: async (lease) => {
      assertOpen();
      return (await orRefused(asker.ask("Lease/LeaseKeepAlive", leaseOf(lease), ttlOf))) > 0;
    },
    revokeLease: async (lease) => {
      assertOpen();
      await queue.run(() => orRefused(revoke(asker, lease)));
    },
    close: async () => {
      if (isClosed) return;
      isClosed = true;
      await queue.done();
      await watches.close(newest.now());
      client.close();
    },
  };
}
