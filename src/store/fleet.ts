/**
 * A store behind a network, with a durable copy on this host of what of it is read and watched. While the network's one is away the copy is what is read, so that an agent that starts then
 * enforces what was decided last; nothing can be changed, but what the caller says may be kept here (a lease that is renewed) is kept, durably, and handed over
 * when the other one answers again.
 */
import { isStoreAway } from "../model/errors.ts";
import type { Remembered } from "./diverged.ts";
import { createFeed, type Feed } from "./feed.ts";
import type { StoreHealth } from "./health.ts";
import { holds, parsePlace, placeText } from "./place.ts";
import type {
  Change,
  Commit,
  Entry,
  Json,
  Key,
  Place,
  Revision,
  Snapshot,
  Store,
  Transaction,
  Write,
} from "./store.ts";

export interface FleetParts {
  readonly remote: Store;
  readonly copy: Store;
  readonly health: StoreHealth;
  /** Whether a value may be kept here, given what stood under its key. */
  readonly mayKeep: (before: Json | undefined, value: Json) => boolean;
  /** Of the values: a copy in another one is none. */
  readonly format: number;
  /** Told when the copy cannot be written, and when it can again: it may be old then, and guests are kept by it only while the other store is away. */
  readonly copyFault?: (fault: string | undefined) => void;
}

/** What is kept here is tried again so often while the other store answers and refuses it (full, or unsaid by a process before this one), in milliseconds. */
const HAND_OVER_EVERY = 2_000;
const COPIED = "copied/";
const PENDING = "pending/";
/** Of a part that is copied: the revision up to which it is. */
const PLACE = "place/";
const FORMAT = "format";

interface Copied {
  readonly value: Json;
  readonly revision: Revision;
}

const copiedPut = (key: Key, { value, revision }: Copied): Write => ({
  op: "put",
  key: COPIED + key,
  value: { value, revision },
});

function isCopied(value: Json | undefined): value is { readonly value: Json; readonly revision: Revision } {
  return typeof value === "object" && value !== null && "value" in value && "revision" in value;
}

const copiedPlace = (place: Place): Place => (typeof place === "string" ? COPIED + place : { key: COPIED + place.key });

/** Whether all of the one is in the other. */
const covers = (wide: Place, place: Place): boolean =>
  typeof place === "string" ? typeof wide === "string" && place.startsWith(wide) : holds(wide, place.key);

/** The copy as the other store would show it. */
export function createCopy(copy: Store, format: number) {
  async function places(): Promise<readonly { readonly place: Place; readonly revision: Revision }[]> {
    const { entries } = await copy.read({ key: FORMAT });
    if (entries.get(FORMAT)?.value !== format) return [];
    return [...(await copy.read(PLACE)).entries].flatMap(([key, { value }]) =>
      typeof value === "number" ? [{ place: parsePlace(key.slice(PLACE.length)), revision: value }] : [],
    );
  }
  async function held(place: Place): Promise<Map<Key, Entry>> {
    const found = new Map<Key, Entry>();
    for (const [key, { value }] of (await copy.read(copiedPlace(place))).entries) {
      const own = key.slice(COPIED.length);
      if (isCopied(value)) found.set(own, { key: own, ...value });
    }
    return found;
  }
  /** What is copied by itself, or as a part of more. */
  async function load(place: Place): Promise<Snapshot | undefined> {
    const wide = (await places()).filter((one) => covers(one.place, place));
    const revision = Math.max(-1, ...wide.map((one) => one.revision));
    return revision < 0 ? undefined : { revision, entries: await held(place) };
  }
  async function all(): Promise<Remembered | undefined> {
    const parts = new Map((await places()).map(({ place, revision }) => [placeText(place), revision]));
    if (parts.size === 0) return undefined;
    const upTo = (key: Key): Revision => {
      const beginnings = Array.from({ length: key.length + 1 }, (_, n) => placeText(key.slice(0, n)));
      return Math.max(0, ...[key, ...beginnings].map((text) => parts.get(text) ?? 0));
    };
    return { snapshot: { revision: Math.max(...parts.values()), entries: await held("") }, upTo };
  }
  async function commit(writes: readonly Write[], place: Place, revision: Revision): Promise<void> {
    const head: Write[] = [
      { op: "put", key: PLACE + placeText(place), value: revision },
      { op: "put", key: FORMAT, value: format },
    ];
    await copy.commit({ expect: [], writes: [...writes, ...head] });
  }
  return {
    load,
    all,
    /** Only what differs is written. */
    replace: async (place: Place, { revision, entries }: Snapshot): Promise<void> => {
      // What another version left goes.
      const isOthers = (await places()).length === 0;
      const old = isOthers ? [...(await copy.read(COPIED)).entries.keys()].map((key) => key.slice(COPIED.length)) : [];
      const before = await held(place);
      const gone = [...new Set([...old, ...before.keys()])].filter((key) => !entries.has(key));
      const changed = [...entries.values()].filter(
        ({ key, revision: at }) => isOthers || before.get(key)?.revision !== at,
      );
      await commit(
        [
          ...gone.map((key): Write => ({ op: "delete", key: COPIED + key })),
          ...changed.map((one) => copiedPut(one.key, one)),
        ],
        place,
        revision,
      );
    },
    take: (place: Place, { revision, changes }: Change): Promise<void> =>
      commit(
        changes.map((change) =>
          "deleted" in change
            ? { op: "delete", key: COPIED + change.key }
            : copiedPut(change.key, { value: change.value, revision }),
        ),
        place,
        revision,
      ),
    keepOnly: async (wanted: readonly Place[]): Promise<void> => {
      const gone = (await places()).filter(({ place }) => !wanted.some((one) => covers(one, place)));
      if (gone.length === 0) return;
      const keys = new Set<Key>();
      for (const { place } of gone) for (const key of (await held(place)).keys()) keys.add(key);
      const dropped = [...keys].filter((key) => !wanted.some((one) => holds(one, key)));
      const writes = [...gone.map(({ place }) => PLACE + placeText(place)), ...dropped.map((key) => COPIED + key)].map(
        (key): Write => ({ op: "delete", key }),
      );
      await copy.commit({ expect: [], writes });
    },
    /** Known here and not yet there. */
    keep: async (puts: readonly (Copied & { readonly key: Key })[]): Promise<void> => {
      const writes = puts.flatMap(({ key, ...own }): Write[] => [
        copiedPut(key, own),
        { op: "put", key: PENDING + key, value: { ...own } },
      ]);
      await copy.commit({ expect: [], writes });
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

/** A change that could be kept here, and how new the copy is that says so. */
interface Keepable {
  readonly revision: Revision;
  readonly puts: readonly (Copied & { readonly key: Key })[];
}

export function openFleetStore(parts: FleetParts): Store {
  const { remote, copy: copyStore, health, mayKeep, copyFault = () => undefined } = parts;
  const copy = createCopy(copyStore, parts.format);
  /** Missed something: read anew with the next change. */
  const torn = new Map<string, Place>();
  const feeds = new Set<{
    readonly place: Place;
    readonly signal: AbortSignal;
    readonly push: (change: Change) => void;
  }>();
  let isClosed = false;
  const followings = new Set<Promise<void>>();
  let handing: Promise<void> = Promise.resolve();
  let copying: Promise<void> = Promise.resolve();

  async function keepable({ expect, writes }: Transaction): Promise<Keepable | undefined> {
    if (expect.length > 0) return undefined;
    let revision: Revision = 0;
    const puts: (Copied & { readonly key: Key })[] = [];
    for (const write of writes) {
      const held = await copy.load({ key: write.key });
      const before = held?.entries.get(write.key);
      if (write.op !== "put" || held === undefined || !mayKeep(before?.value, write.value)) return undefined;
      revision = Math.max(revision, held.revision);
      puts.push({ key: write.key, value: write.value, revision: before?.revision ?? 0 });
    }
    return { revision, puts };
  }

  async function keep(transaction: Transaction): Promise<Commit | undefined> {
    const kept = await keepable(transaction);
    if (kept === undefined) return undefined;
    const { revision, puts } = kept;
    await copy.keep(puts);
    for (const { place, push } of feeds) {
      const changes = puts.filter(({ key }) => holds(place, key)).map(({ key, value }) => ({ key, value }));
      if (changes.length > 0) push({ revision, changes });
    }
    handOverLater();
    return { ok: true, revision };
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

  async function mendTorn(): Promise<void> {
    for (const [text, place] of torn) {
      await copy.replace(place, await remote.read(place));
      torn.delete(text);
    }
    copyFault(undefined);
  }

  async function writeCopy(place: Place, write: () => Promise<void>): Promise<void> {
    const text = placeText(place);
    try {
      if (!torn.has(text)) await write();
      if (torn.size > 0) await mendTorn();
    } catch (cause) {
      torn.set(text, place);
      copyFault(cause instanceof Error ? cause.message : String(cause));
    }
  }

  /** One after the other. A copy that missed something is made anew with the next change. */
  function copied(place: Place, write: () => Promise<void>): Promise<void> {
    copying = copying.then(() => writeCopy(place, write));
    return copying;
  }

  async function follow(place: Place, after: Revision, signal: AbortSignal, feed: Feed<Change>): Promise<void> {
    try {
      for await (const change of remote.watch(place, after, signal)) {
        await copied(place, () => copy.take(place, change));
        feed.push(change);
      }
      feed.end();
    } catch (cause) {
      feed.end(cause);
    }
  }

  async function* watch(place: Place, after: Revision, signal: AbortSignal): AsyncGenerator<Change> {
    const leaving = new AbortController();
    const feed = createFeed<Change>(signal);
    const own = { place, signal, push: feed.push };
    const following = follow(place, after, AbortSignal.any([signal, leaving.signal]), feed);
    feeds.add(own);
    followings.add(following);
    try {
      yield* feed.drain();
    } finally {
      leaving.abort();
      feeds.delete(own);
      await following;
      followings.delete(following);
    }
  }

  return {
    read: async (place) => {
      try {
        const snapshot = await remote.read(place);
        await copied(place, () => copy.replace(place, snapshot));
        return snapshot;
      } catch (cause) {
        const held = isStoreAway(cause) ? await copy.load(place) : undefined;
        if (held === undefined) throw cause;
        return held;
      }
    },
    watch,
    commit: async (transaction) => {
      // Not after the patience of every call: the guest that asks would not wait so long.
      const kept = health.now() === undefined ? undefined : await keep(transaction);
      if (kept !== undefined) return kept;
      try {
        return await remote.commit(transaction);
      } catch (cause) {
        const late = isStoreAway(cause) ? await keep(transaction) : undefined;
        if (late === undefined) throw cause;
        return late;
      }
    },
    grantLease: remote.grantLease,
    keepAlive: remote.keepAlive,
    revokeLease: remote.revokeLease,
    keepOnly: (places) => {
      // A part that is followed must stay whole.
      const followed = [...feeds].filter(({ signal }) => !signal.aborted).map(({ place }) => place);
      copying = copying.then(() => copy.keepOnly([...places, ...followed])).catch(() => undefined);
      return copying;
    },
    close: async () => {
      unsubscribe();
      isClosed = true;
      clearTimeout(later);
      // What the other one tells at its end belongs into the copy.
      await remote.close();
      await Promise.all([...followings, handing, copying]);
      await copyStore.close();
    },
  };
}
