/** What a store holds in memory: the rules of transactions, watches and leases, without any durability. */
import type { Clock } from "../model/clock.ts";
import { GuardError } from "../model/errors.ts";
import type { Change, Commit, Entry, Key, LeaseId, Revision, Snapshot, Transaction } from "./store.ts";

/** A transaction that was found good: what it will make of the entries. */
export interface Staged {
  readonly change: Change;
  /** undefined: deleted. */
  readonly entries: readonly (readonly [Key, Entry | undefined])[];
}

export type Verdict = { readonly ok: true; readonly staged: Staged } | { readonly ok: false; readonly conflict: Key };

/** Judges transactions one after the other, each against what the ones before it would leave. */
export interface Stage {
  judge(transaction: Transaction): Verdict;
}

export interface State {
  readonly revision: Revision;
  stage(): Stage;
  /** Makes it so and tells the watchers. In the order of their revisions. */
  settle(staged: Staged): void;
  read(prefix: Key): Snapshot;
  watch(prefix: Key, after: Revision, signal: AbortSignal): AsyncIterable<Change>;
  grant(ttlSeconds: number): LeaseId;
  keepAlive(lease: LeaseId): boolean;
  /** The transaction that takes away what stands under a lease; the lease is gone. */
  end(lease: LeaseId): Transaction;
  /** Leases whose time is up. */
  overdue(): readonly LeaseId[];
  endWatches(): void;
}

/** How many transactions a late watcher can catch up with. */
const HISTORY = 10_000;

interface Watcher {
  readonly prefix: Key;
  readonly queue: Change[];
  wake: () => void;
  ended: boolean;
}

const empty: Transaction = { expect: [], writes: [] };

function within(change: Change, prefix: Key): Change | undefined {
  if (prefix === "") return change;
  const changes = change.changes.filter(({ key }) => key.startsWith(prefix));
  return changes.length === 0 ? undefined : { revision: change.revision, changes };
}

async function* drain(watcher: Watcher): AsyncGenerator<Change> {
  while (!watcher.ended || watcher.queue.length > 0) {
    const change = watcher.queue.shift();
    if (change !== undefined) yield change;
    else {
      await new Promise<void>((resolve) => {
        watcher.wake = resolve;
      });
    }
  }
}

/** @param entries what was there before, @param revision at which revision */
export function createState(clock: Clock, entries: Map<Key, Entry>, start: Revision): State {
  let revision = start;
  const history: Change[] = [];
  const watchers = new Set<Watcher>();
  const leases = new Map<LeaseId, { readonly ttlSeconds: number; endsAt: number; readonly keys: Set<Key> }>();
  let nextLease = 1;
  for (const entry of entries.values()) if (entry.lease !== undefined) nextLease = Math.max(nextLease, entry.lease + 1);

  function stage(): Stage {
    const laid = new Map<Key, Entry | undefined>();
    const now = (key: Key): Entry | undefined => (laid.has(key) ? laid.get(key) : entries.get(key));
    let next = revision;
    return {
      judge(transaction) {
        const conflict = transaction.expect.find(
          (expected) => (now(expected.key)?.revision ?? 0) !== expected.revision,
        );
        if (conflict !== undefined) return { ok: false, conflict: conflict.key };
        next += 1;
        const staged = stageWrites(transaction, next);
        for (const [key, entry] of staged.entries) laid.set(key, entry);
        return { ok: true, staged };
      },
    };
  }

  function stageWrites(transaction: Transaction, at: Revision): Staged {
    const made = new Map<Key, Entry | undefined>();
    for (const write of transaction.writes) {
      if (write.op === "delete") made.set(write.key, undefined);
      else {
        if (write.lease !== undefined && !leases.has(write.lease)) throw leaseGone(write.lease);
        const { key, value, lease } = write;
        made.set(key, { key, value, revision: at, ...(lease === undefined ? {} : { lease }) });
      }
    }
    const changes = [...made].map(([key, entry]) =>
      entry === undefined ? ({ key, deleted: true } as const) : { key, value: entry.value },
    );
    return { change: { revision: at, changes }, entries: [...made] };
  }

  function settle({ change, entries: made }: Staged): void {
    for (const [key, entry] of made) {
      const before = entries.get(key);
      if (before?.lease !== undefined) leases.get(before.lease)?.keys.delete(key);
      if (entry === undefined) entries.delete(key);
      else entries.set(key, entry);
      if (entry?.lease !== undefined) leases.get(entry.lease)?.keys.add(key);
    }
    revision = change.revision;
    history.push(change);
    if (history.length > 2 * HISTORY) history.splice(0, HISTORY);
    for (const watcher of watchers) {
      const seen = within(change, watcher.prefix);
      if (seen === undefined) continue;
      watcher.queue.push(seen);
      watcher.wake();
    }
  }

  function watch(prefix: Key, after: Revision, signal: AbortSignal): AsyncIterable<Change> {
    const oldest = history[0]?.revision ?? revision + 1;
    if (after < oldest - 1) {
      throw new GuardError(
        "CONFLICT",
        `revision ${after} is older than what the store remembers (${oldest}): read again`,
        { fields: { after, oldest } },
      );
    }
    const missed = history
      .filter((change) => change.revision > after)
      .flatMap((change) => within(change, prefix) ?? []);
    const watcher: Watcher = { prefix, queue: missed, wake: () => undefined, ended: signal.aborted };
    watchers.add(watcher);
    signal.addEventListener("abort", () => {
      watcher.queue.length = 0;
      end(watcher);
    });
    return drain(watcher);
  }

  function end(watcher: Watcher): void {
    watchers.delete(watcher);
    watcher.ended = true;
    watcher.wake();
  }

  return {
    get revision() {
      return revision;
    },
    stage,
    settle,
    read: (prefix) => ({ revision, entries: new Map([...entries].filter(([key]) => key.startsWith(prefix))) }),
    watch,
    grant: (ttlSeconds) => {
      const id = nextLease;
      nextLease += 1;
      leases.set(id, { ttlSeconds, endsAt: clock.now() + ttlSeconds * 1000, keys: new Set() });
      return id;
    },
    keepAlive: (id) => {
      const lease = leases.get(id);
      if (lease === undefined || lease.endsAt <= clock.now()) return false;
      lease.endsAt = clock.now() + lease.ttlSeconds * 1000;
      return true;
    },
    end: (id) => {
      const lease = leases.get(id);
      leases.delete(id);
      return lease === undefined
        ? empty
        : { expect: [], writes: [...lease.keys].map((key) => ({ op: "delete", key })) };
    },
    overdue: () => [...leases].filter(([, lease]) => lease.endsAt <= clock.now()).map(([id]) => id),
    endWatches: () => {
      for (const watcher of watchers) end(watcher);
    },
  };
}

export function leaseGone(lease: LeaseId): GuardError {
  return new GuardError("CONFLICT", `store lease ${lease} is gone`, { fields: { lease } });
}

export const committed = (staged: Staged): Commit => ({ ok: true, revision: staged.change.revision });
