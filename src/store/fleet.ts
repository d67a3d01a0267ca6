/**
 * A store behind a network, with a durable copy of it on this host. While the network's one is away the copy is what is read, so that an agent that starts then
 * enforces what was decided last; nothing can be changed, but what the caller says may be kept here (a lease that is renewed) is kept, durably, and handed over
 * when the other one answers again.
 */
import { GuardError } from "../model/errors.ts";
import type { StoreHealth } from "./health.ts";
import type { Change, Commit, Entry, Json, Key, Revision, Snapshot, Store, Transaction, Write } from "./store.ts";

export interface FleetParts {
  readonly remote: Store;
  readonly copy: Store;
  readonly health: StoreHealth;
  /** Whether a value may be kept here, given what stood under its key. */
  readonly mayKeep: (before: Json | undefined, value: Json) => boolean;
  /** Told when the copy cannot be written, and when it can again: it may be old then, and guests are kept by it only while the other store is away. */
  /** Of the values: a copy in another one is none. */
  readonly format: number;
  readonly copyFault?: (fault: string | undefined) => void;
}

/** What is kept here is tried again so often while the other store answers and refuses it (full, or unsaid by a process before this one), in milliseconds. */
const HAND_OVER_EVERY = 2_000;
const COPIED = "copied/";
const PENDING = "pending/";
const REVISION = "revision";
const FORMAT = "format";

interface Copied {
  readonly value: Json;
  readonly revision: Revision;
}

const isAway = (cause: unknown): boolean => cause instanceof GuardError && cause.code === "STORE_UNAVAILABLE";

const copiedPut = (key: Key, { value, revision }: Copied): Write => ({
  op: "put",
  key: COPIED + key,
  value: { value, revision },
});

function isCopied(value: Json | undefined): value is { readonly value: Json; readonly revision: Revision } {
  return typeof value === "object" && value !== null && "value" in value && "revision" in value;
}

/** Changes from more than one source, in the order they came. */
function createFeed(signal: AbortSignal) {
  const waiting: Change[] = [];
  let failure: { readonly cause: unknown } | undefined;
  let ended = false;
  let wake = (): void => undefined;
  const news = (): Promise<void> =>
    new Promise((resolve) => {
      wake = resolve;
    });
  signal.addEventListener("abort", () => wake());
  return {
    push: (change: Change) => {
      waiting.push(change);
      wake();
    },
    end: (cause?: unknown) => {
      ended = true;
      if (cause !== undefined) failure = { cause };
      wake();
    },
    drain: async function* (): AsyncGenerator<Change> {
      while (!signal.aborted) {
        const next = waiting.shift();
        if (next !== undefined) yield next;
        else if (failure !== undefined) throw failure.cause;
        else if (ended) return;
        else await news();
      }
    },
  };
}

/** The copy as the other store would show it. */
export function createCopy(copy: Store, format: number) {
  async function load(prefix: Key): Promise<Snapshot | undefined> {
    const { entries } = await copy.read("");
    const revision = entries.get(REVISION)?.value;
    if (typeof revision !== "number" || entries.get(FORMAT)?.value !== format) return undefined;
    const held = new Map<Key, Entry>();
    for (const [key, { value }] of entries) {
      const own = key.slice(COPIED.length);
      if (key.startsWith(COPIED + prefix) && isCopied(value)) held.set(own, { key: own, ...value });
    }
    return { revision, entries: held };
  }
  async function commit(writes: readonly Write[], revision: Revision): Promise<void> {
    const head: Write[] = [
      { op: "put", key: REVISION, value: revision },
      { op: "put", key: FORMAT, value: format },
    ];
    await copy.commit({ expect: [], writes: [...writes, ...head] });
  }
  return {
    load,
    /** Only what differs is written. */
    replace: async ({ revision, entries }: Snapshot): Promise<void> => {
      const before = (await load(""))?.entries ?? new Map<Key, Entry>();
      const gone = [...(await copy.read(COPIED)).entries.keys()]
        .map((key) => key.slice(COPIED.length))
        .filter((key) => !entries.has(key));
      const changed = [...entries.values()].filter(({ key, revision: at }) => before.get(key)?.revision !== at);
      await commit(
        [
          ...gone.map((key): Write => ({ op: "delete", key: COPIED + key })),
          ...changed.map((one) => copiedPut(one.key, one)),
        ],
        revision,
      );
    },
    take: ({ revision, changes }: Change): Promise<void> =>
      commit(
        changes.map((change) =>
          "deleted" in change
            ? { op: "delete", key: COPIED + change.key }
            : copiedPut(change.key, { value: change.value, revision }),
        ),
        revision,
      ),
    /** Known here and not yet there. */
    keep: async (puts: readonly { readonly key: Key; readonly value: Json }[], held: Snapshot): Promise<void> => {
      const writes = puts.flatMap(({ key, value }): Write[] => {
        const revision = held.entries.get(key)?.revision ?? 0;
        return [copiedPut(key, { value, revision }), { op: "put", key: PENDING + key, value: { value, revision } }];
      });
      await commit(writes, held.revision);
    },
    pending: async (): Promise<readonly (Copied & { readonly key: Key })[]> =>
      [...(await copy.read(PENDING)).entries].flatMap(([key, { value }]) =>
        isCopied(value) ? [{ key: key.slice(PENDING.length), ...value }] : [],
      ),
    handedOver: async (key: Key): Promise<void> => {
      await copy.commit({ expect: [], writes: [{ op: "delete", key: PENDING + key }] });
    },
  };
}

export function openFleetStore(parts: FleetParts): Store {
  const { remote, copy: copyStore, health, mayKeep, copyFault = () => undefined } = parts;
  const copy = createCopy(copyStore, parts.format);
  let isTorn = false;
  let isClosed = false;
  const feeds = new Set<(change: Change) => void>();
  const followings = new Set<Promise<void>>();
  let handing: Promise<void> = Promise.resolve();

  async function keepable({ expect, writes }: Transaction): Promise<Snapshot | undefined> {
    const held = expect.length === 0 ? await copy.load("") : undefined;
    const isFine = writes.every(
      (write) => write.op === "put" && mayKeep(held?.entries.get(write.key)?.value, write.value),
    );
    return isFine ? held : undefined;
  }

  async function keep(transaction: Transaction): Promise<Commit | undefined> {
    const held = await keepable(transaction);
    if (held === undefined) return undefined;
    const puts = transaction.writes.flatMap((write) => (write.op === "put" ? [write] : []));
    await copy.keep(puts, held);
    const change = { revision: held.revision, changes: puts.map(({ key, value }) => ({ key, value })) };
    for (const feed of feeds) feed(change);
    handOverLater();
    return { ok: true, revision: held.revision };
  }

  /** What somebody else wrote meanwhile is newer than what was kept here. */
  async function handOver(): Promise<void> {
    for (const { key, value, revision } of await copy.pending()) {
      await remote.commit({ expect: [{ key, revision }], writes: [{ op: "put", key, value }] });
      await copy.handedOver(key);
    }
  }
  function tryToHandOver(): void {
    handing = handing.then(handOver).catch(handOverLater);
  }
  let later: NodeJS.Timeout | undefined;
  /** While the other store is away its health tells when to. */
  function handOverLater(): void {
    if (isClosed) return;
    later ??= setTimeout(() => {
      later = undefined;
      if (health.now() === undefined) tryToHandOver();
    }, HAND_OVER_EVERY).unref();
  }
  // A process before this one may have ended before it could.
  tryToHandOver();
  const unsubscribe = health.watch((fault) => {
    if (fault === undefined) tryToHandOver();
  });

  /** A copy that missed something is made anew with the next change. */
  async function copied(write: () => Promise<void>): Promise<void> {
    try {
      await (isTorn ? copy.replace(await remote.read("")) : write());
      if (isTorn) copyFault(undefined);
      isTorn = false;
    } catch (cause) {
      isTorn = true;
      copyFault(cause instanceof Error ? cause.message : String(cause));
    }
  }

  async function follow(after: Revision, signal: AbortSignal, feed: ReturnType<typeof createFeed>): Promise<void> {
    try {
      for await (const change of remote.watch("", after, signal)) {
        await copied(() => copy.take(change));
        feed.push(change);
      }
      feed.end();
    } catch (cause) {
      feed.end(cause);
    }
  }

  async function* watchAll(after: Revision, signal: AbortSignal): AsyncGenerator<Change> {
    const leaving = new AbortController();
    const feed = createFeed(signal);
    const following = follow(after, AbortSignal.any([signal, leaving.signal]), feed);
    feeds.add(feed.push);
    followings.add(following);
    try {
      yield* feed.drain();
    } finally {
      leaving.abort();
      feeds.delete(feed.push);
      await following;
      followings.delete(following);
    }
  }

  return {
    read: async (prefix) => {
      try {
        const snapshot = await remote.read(prefix);
        if (prefix === "") await copied(() => copy.replace(snapshot));
        return snapshot;
      } catch (cause) {
        const held = isAway(cause) ? await copy.load(prefix) : undefined;
        if (held === undefined) throw cause;
        return held;
      }
    },
    watch: (prefix, after, signal) => (prefix === "" ? watchAll(after, signal) : remote.watch(prefix, after, signal)),
    commit: async (transaction) => {
      // Not after the patience of every call: the guest that asks would not wait so long.
      const kept = health.now() === undefined ? undefined : await keep(transaction);
      if (kept !== undefined) return kept;
      try {
        return await remote.commit(transaction);
      } catch (cause) {
        const late = isAway(cause) ? await keep(transaction) : undefined;
        if (late === undefined) throw cause;
        return late;
      }
    },
    grantLease: remote.grantLease,
    keepAlive: remote.keepAlive,
    revokeLease: remote.revokeLease,
    close: async () => {
      unsubscribe();
      isClosed = true;
      clearTimeout(later);
      // What the other one tells at its end belongs into the copy.
      await remote.close();
      await Promise.all([...followings, handing]);
      await copyStore.close();
    },
  };
}
