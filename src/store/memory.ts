/**
 * What a store holds in memory: the rules of transactions, watches and leases, without any durability.
 * `memoryStore` is that alone, for tests of what stands on a store; the embedded store writes to disk what these rules found good.
 */
import type { Clock } from "../model/clock.ts";
import { GuardError } from "../model/errors.ts";
import { type Admitted, admit, type Draft, defect } from "./admit.ts";
import { holds } from "./place.ts";
import type { Change, Commit, Entry, Key, LeaseId, Place, Revision, Snapshot, Store } from "./store.ts";

export interface MemoryOptions {
  /** How many transactions a late watcher can catch up with. */
  readonly history?: number;
  /** What it holds at first: that of another one, as after a restore. */
  readonly from?: Snapshot;
}

const HISTORY = 10_000;
/** Of all remembered values together: a change of a whole site is as large as the site. */
const HISTORY_CHARACTERS = 32 * 1024 * 1024;
/** How late an expired lease may be noticed when nobody reads or writes, in milliseconds. */
const EXPIRY_EVERY = 250;

/** What is to become of the contents; `end` takes away a lease and what stands under it. */
export type Wish =
  | { readonly kind: "transaction"; readonly transaction: Admitted }
  | { readonly kind: "end"; readonly lease: LeaseId };

export interface StagedWrite {
  readonly key: Key;
  /** undefined: deleted. */
  readonly entry: Entry | undefined;
  /** The value as JSON text. */
  readonly text: string;
}
/** What a good wish will make of the contents. Without writes it takes no revision of its own. */
export interface Staged {
  readonly revision: Revision;
  readonly writes: readonly StagedWrite[];
  readonly ends?: LeaseId;
}
export type Verdict =
  | { readonly kind: "good"; readonly staged: Staged }
  | { readonly kind: "conflict"; readonly key: Key }
  | { readonly kind: "refused"; readonly error: GuardError };

/** Judges wishes one after the other, each against what the ones before it would leave. Changes nothing. */
export type Stage = (wish: Wish) => Verdict;

/** One change or none. */
function within(change: Change, place: Place): readonly Change[] {
  if (place === "") return [change];
  const changes = change.changes.filter(({ key }) => holds(place, key));
  return changes.length === 0 ? [] : [{ revision: change.revision, changes }];
}

/** Changes have consecutive revisions, so a watcher is a revision and nothing else: a slow one costs nothing. */
function createHistory(start: Revision, most: number) {
  const remembered: { readonly change: Change; readonly characters: number }[] = [];
  const waiting = new Set<() => void>();
  let forgotten = start;
  let characters = 0;
  let isTrimming = false;
  let closed = false;

  function tooOld(after: Revision): GuardError {
    const message = `the store remembers changes from revision ${forgotten + 1} on, not from ${after + 1}: read again`;
    return new GuardError("CONFLICT", message, { fields: { after, forgotten } });
  }
  function news(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        waiting.delete(wake);
        signal.removeEventListener("abort", wake);
        resolve();
      };
      waiting.add(wake);
      signal.addEventListener("abort", wake);
    });
  }
  function wakeAll(): void {
    for (const wake of [...waiting]) wake();
  }
  async function* follow(place: Place, after: Revision, signal: AbortSignal): AsyncGenerator<Change> {
    let seen = after;
    while (!signal.aborted) {
      if (seen < forgotten) throw tooOld(seen);
      const next = remembered[seen - forgotten]?.change;
      if (next !== undefined) {
        seen = next.revision;
        yield* within(next, place);
      } else if (closed) return;
      else await news(signal);
    }
  }
  /** Forgets the oldest, when a quarter too many are there, so that they share the cost of moving the rest. */
  function trim(): void {
    isTrimming = false;
    let gone = Math.max(0, remembered.length - most);
    let left = characters - remembered.slice(0, gone).reduce((sum, one) => sum + one.characters, 0);
    for (; left > HISTORY_CHARACTERS; gone += 1) left -= remembered[gone]?.characters ?? left;
    remembered.splice(0, gone);
    characters = left;
    forgotten += gone;
  }
  return {
    add: (change: Change, size: number) => {
      remembered.push({ change, characters: size });
      characters += size;
      wakeAll();
      if (isTrimming || (remembered.length <= most * 1.25 && characters <= HISTORY_CHARACTERS)) return;
      isTrimming = true;
      // Not before those who were waiting had their turn.
      setImmediate(trim);
    },
    follow,
    close: () => {
      closed = true;
      wakeAll();
    },
  };
}

interface Lease {
  readonly ttlSeconds: number;
  readonly keys: Set<Key>;
  endsAt: number;
}

/** The number of a lease ends in how long it lasts, so that the process after this one knows; two years at most. */
const LENGTHS = 2 ** 26;

function createLeases(clock: Clock, entries: Iterable<Entry>) {
  const leases = new Map<LeaseId, Lease>();
  /** No lease ends before this. */
  let soonest = Number.POSITIVE_INFINITY;
  let granted = 0;
  // How long nobody ran is not known: what the process before this one was granted lasts anew, as it does in etcd after an election.
  for (const { key, lease: id } of entries) {
    if (id === undefined) continue;
    const ttlSeconds = id % LENGTHS;
    const lease = leases.get(id) ?? { ttlSeconds, keys: new Set(), endsAt: clock.now() + ttlSeconds * 1000 };
    leases.set(id, lease);
    lease.keys.add(key);
    soonest = Math.min(soonest, lease.endsAt);
    granted = Math.max(granted, Math.floor(id / LENGTHS));
  }
  const alive = (id: LeaseId): Lease | undefined => {
    const lease = leases.get(id);
    return lease !== undefined && lease.endsAt > clock.now() ? lease : undefined;
  };
  return {
    get size() {
      return leases.size;
    },
    grant: (ttlSeconds: number): LeaseId => {
      if (!(ttlSeconds > 0)) throw defect(`a store lease of ${ttlSeconds} seconds`);
      granted += 1;
      const id = granted * LENGTHS + Math.min(Math.ceil(ttlSeconds), LENGTHS - 1);
      const endsAt = clock.now() + ttlSeconds * 1000;
      leases.set(id, { ttlSeconds, keys: new Set(), endsAt });
      soonest = Math.min(soonest, endsAt);
      return id;
    },
    keepAlive: (id: LeaseId): boolean => {
      const lease = alive(id);
      if (lease !== undefined) lease.endsAt = clock.now() + lease.ttlSeconds * 1000;
      return lease !== undefined;
    },
    isAlive: (id: LeaseId) => alive(id) !== undefined,
    keysOf: (id: LeaseId): Iterable<Key> => leases.get(id)?.keys ?? [],
    moved: (key: Key, from: LeaseId | undefined, to: LeaseId | undefined) => {
      if (from !== undefined) leases.get(from)?.keys.delete(key);
      if (to !== undefined) leases.get(to)?.keys.add(key);
    },
    delete: (id: LeaseId) => {
      leases.delete(id);
    },
    overdue: (): readonly LeaseId[] => {
      const now = clock.now();
      if (now < soonest) return [];
      const over = [...leases].filter(([, { endsAt }]) => endsAt <= now).map(([id]) => id);
      if (over.length === 0) soonest = Math.min(...[...leases.values()].map(({ endsAt }) => endsAt));
      return over;
    },
  };
}

function createStage(
  entries: ReadonlyMap<Key, Entry>,
  leases: ReturnType<typeof createLeases>,
  start: Revision,
): Stage {
  const laid = new Map<Key, Entry | undefined>();
  const ended = new Set<LeaseId>();
  const now = (key: Key): Entry | undefined => (laid.has(key) ? laid.get(key) : entries.get(key));
  let last = start;

  /** Deleting what is not there is no change; of two writes to a key the last one holds. */
  function good(drafts: readonly Draft[], ends?: LeaseId): Verdict {
    const made = [...new Map(drafts.map((draft) => [draft.key, draft])).values()];
    const effective = made.filter(({ key, put }) => put !== undefined || now(key) !== undefined);
    if (effective.length > 0) last += 1;
    const writes = effective.map(({ key, put }): StagedWrite => {
      if (put === undefined) return { key, entry: undefined, text: "" };
      const { text, ...rest } = put;
      return { key, entry: { key, ...rest, revision: last }, text };
    });
    for (const { key, entry } of writes) laid.set(key, entry);
    return { kind: "good", staged: { revision: last, writes, ...(ends === undefined ? {} : { ends }) } };
  }
  function end(lease: LeaseId): Verdict {
    const touched = new Set([...leases.keysOf(lease), ...laid.keys()]);
    const under = [...touched].filter((key) => now(key)?.lease === lease).map((key) => ({ key }));
    ended.add(lease);
    return good(under, lease);
  }
  return (wish) => {
    if (wish.kind === "end") return end(wish.lease);
    const { expect, writes } = wish.transaction;
    const conflict = expect.find(({ key, revision }) => (now(key)?.revision ?? 0) !== revision);
    if (conflict !== undefined) return { kind: "conflict", key: conflict.key };
    const gone = writes
      .map(({ put }) => put?.lease)
      .find((lease) => lease !== undefined && (ended.has(lease) || !leases.isAlive(lease)));
    return gone === undefined ? good(writes) : { kind: "refused", error: leaseGone(gone) };
  };
}

function entriesOf(entries: ReadonlyMap<Key, Entry>, place: Place): ReadonlyMap<Key, Entry> {
  const found = new Map<Key, Entry>();
  if (typeof place !== "string") {
    const entry = entries.get(place.key);
    return entry === undefined ? found : found.set(place.key, entry);
  }
  for (const [key, entry] of entries) if (key.startsWith(place)) found.set(key, entry);
  return found;
}

export type Contents = ReturnType<typeof createContents>;

/** @param entries what was there before, changed from now on; @param start at which revision */
export function createContents(clock: Clock, entries: Map<Key, Entry>, start: Revision, most = HISTORY) {
  const leases = createLeases(clock, entries.values());
  const history = createHistory(start, most);
  let revision = start;

  function settleOne({ revision: at, writes, ends }: Staged): void {
    for (const { key, entry } of writes) {
      leases.moved(key, entries.get(key)?.lease, entry?.lease);
      if (entry === undefined) entries.delete(key);
      else entries.set(key, entry);
    }
    if (ends !== undefined) leases.delete(ends);
    if (writes.length === 0) return;
    revision = at;
    const changes = writes.map(({ key, entry }) =>
      entry === undefined ? ({ key, deleted: true } as const) : { key, value: entry.value },
    );
    const characters = writes.reduce((sum, { key, text }) => sum + key.length + text.length, 0);
    history.add({ revision: at, changes }, characters);
  }
  return {
    get revision() {
      return revision;
    },
    stage: (): Stage => createStage(entries, leases, revision),
    /** Makes it so and tells the watchers: all that a stage found good, in its order. */
    settle: (staged: readonly Staged[]): void => {
      for (const one of staged) settleOne(one);
    },
    read: (place: Place): Snapshot => ({ revision, entries: entriesOf(entries, place) }),
    history,
    leases,
  };
}

function leaseGone(lease: LeaseId): GuardError {
  return new GuardError("CONFLICT", `store lease ${lease} is gone`, { fields: { lease } });
}

/** What makes wishes true: at once, or when the disk has them. */
export interface Journal {
  /** In the order they are submitted. @throws STORE_UNAVAILABLE; then nothing of it is kept */
  submit(wish: Wish): Promise<Commit>;
  close(): Promise<void>;
}

/** The store's face, the same whatever stands behind it. */
export function storeOf({ leases, history, read }: Contents, journal: Journal): Store {
  let closed = false;
  let timer: NodeJS.Timeout | undefined;

  function assertOpen(): void {
    if (closed) throw new GuardError("STORE_UNAVAILABLE", "the store is closed");
  }
  /** What cannot be removed now, because the disk is full, is tried again at the next look. */
  async function expire(): Promise<void> {
    const ends = leases.overdue().map((lease) => journal.submit({ kind: "end", lease }));
    await Promise.allSettled(ends);
  }
  function watchTheClock(): void {
    timer ??= setInterval(() => {
      if (leases.size > 0) void expire();
      else {
        clearInterval(timer);
        timer = undefined;
      }
    }, EXPIRY_EVERY).unref();
  }
  if (leases.size > 0) watchTheClock();

  return {
    read: async (place) => {
      assertOpen();
      await expire();
      return read(place);
    },
    watch: (place, after, signal) => {
      assertOpen();
      return history.follow(place, after, signal);
    },
    commit: async (transaction) => {
      assertOpen();
      const wish: Wish = { kind: "transaction", transaction: admit(transaction) };
      void expire();
      return journal.submit(wish);
    },
    grantLease: async (ttlSeconds) => {
      assertOpen();
      watchTheClock();
      return leases.grant(ttlSeconds);
    },
    keepAlive: async (lease) => {
      assertOpen();
      void expire();
      return leases.keepAlive(lease);
    },
    revokeLease: async (lease) => {
      assertOpen();
      await journal.submit({ kind: "end", lease });
    },
    close: async () => {
      if (closed) return;
      closed = true;
      clearInterval(timer);
      await journal.close();
      history.close();
    },
  };
}

export function memoryStore(clock: Clock, options: MemoryOptions = {}): Store {
  const { entries = [], revision = 0 } = options.from ?? {};
  const contents = createContents(clock, new Map(entries), revision, options.history);
  return storeOf(contents, {
    submit: async (wish) => {
      const verdict = contents.stage()(wish);
      if (verdict.kind === "refused") throw verdict.error;
      if (verdict.kind === "conflict") return { ok: false, conflict: verdict.key };
      contents.settle([verdict.staged]);
      return { ok: true, revision: verdict.staged.revision };
    },
    close: async () => undefined,
  });
}
