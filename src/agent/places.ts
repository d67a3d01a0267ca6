/**
 * The parts of a store that are kept current: read, then watched. A part that is wanted newly is there before one that is not wanted any more goes, so that
 * nothing is missing in between that both have to do with.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { isConflict, isStoreAway } from "../model/errors.ts";
import { holds, placeText } from "../store/place.ts";
import type { Change, Key, Place, Revision, Snapshot, Store } from "../store/store.ts";

export interface Places {
  /** From now on these and no others. */
  want(places: readonly Place[]): void;
  /** Resolves when everything wanted was read, or cannot be for now. */
  settled(): Promise<void>;
  /** Whether something is being read for the first time. */
  readonly isOpening: boolean;
  /** Whether a key is in one of them. */
  holds(key: Key): boolean;
  /** Why a place could not be read; undefined when it was. */
  faultOf(place: Place): unknown;
  stop(): Promise<void>;
}

export interface PlaceEvents {
  readonly store: Store;
  readonly changed: (change: Change) => void;
  /** All of it, as it is at that revision. */
  readonly shown: (place: Place, snapshot: Snapshot, isFirst: boolean) => void;
  readonly gone: (place: Place) => void;
  /** Everything wanted is there. */
  readonly opened: () => void;
  /** Nothing more comes of it. */
  readonly failed: (error: unknown) => void;
}

/** A store that was away is asked again, in milliseconds. */
const RETRY_MS = 1_000;

interface Open {
  readonly place: Place;
  readonly leaving: AbortController;
  isRead: boolean;
  fault: unknown;
  done: Promise<void>;
}

export function createPlaces({ store, changed, shown, gone, opened, failed }: PlaceEvents): Places {
  const open = new Map<string, Open>();
  const opening = new Set<Open>();
  let wanted: ReadonlySet<string> = new Set();
  let waiting: readonly (() => void)[] = [];

  /** Read for the first time, or found not to be there to be read. */
  function settle(one: Open): void {
    opening.delete(one);
    if (opening.size > 0) return;
    closeUnwanted();
    opened();
    // It may have brought new wishes.
    if (opening.size > 0) return;
    const due = waiting;
    waiting = [];
    for (const done of due) done();
  }

  async function read(one: Open): Promise<Revision | undefined> {
    const { signal } = one.leaving;
    while (!signal.aborted) {
      try {
        const snapshot = await store.read(one.place);
        if (signal.aborted) return undefined;
        one.fault = undefined;
        const isFirst = !one.isRead;
        one.isRead = true;
        shown(one.place, snapshot, isFirst);
        return snapshot.revision;
      } catch (cause) {
        one.fault = cause;
        if (!isStoreAway(cause)) throw cause;
        settle(one);
        await sleep(RETRY_MS, undefined, { signal, ref: false }).catch(() => undefined);
      }
    }
    return undefined;
  }

  async function watch({ place, leaving: { signal } }: Open, after: Revision): Promise<void> {
    for await (const change of store.watch(place, after, signal)) {
      // It may have been closed by what another place told.
      if (signal.aborted) return;
      changed(change);
    }
  }

  async function follow(one: Open): Promise<void> {
    for (;;) {
      const at = await read(one);
      settle(one);
      if (at === undefined) return;
      try {
        return await watch(one, at);
      } catch (cause) {
        // Too much was missed to be told one by one.
        if (!isConflict(cause)) throw cause;
      }
    }
  }

  async function keep(one: Open): Promise<void> {
    try {
      await follow(one);
    } catch (cause) {
      one.fault = cause;
      settle(one);
      failed(cause);
    }
  }

  function closeUnwanted(): void {
    const over = [...open].filter(([text]) => !wanted.has(text));
    if (over.length === 0) return;
    for (const [text, { place, leaving }] of over) {
      open.delete(text);
      leaving.abort();
      gone(place);
    }
    void store.keepOnly?.([...open.values()].map(({ place }) => place));
  }

  return {
    want: (places) => {
      const texts = new Map(places.map((place) => [placeText(place), place]));
      wanted = new Set(texts.keys());
      const begun: Open[] = [];
      for (const [text, place] of texts) {
        if (open.has(text)) continue;
        const one: Open = {
          place,
          leaving: new AbortController(),
          isRead: false,
          fault: undefined,
          done: Promise.resolve(),
        };
        open.set(text, one);
        opening.add(one);
        begun.push(one);
      }
      for (const one of begun) one.done = keep(one);
      if (opening.size === 0) closeUnwanted();
    },
    settled: () =>
      opening.size === 0 ? Promise.resolve() : new Promise((resolve) => (waiting = [...waiting, resolve])),
    get isOpening() {
      return opening.size > 0;
    },
    holds: (key) => [...open.values()].some(({ place }) => holds(place, key)),
    faultOf: (place) => {
      const one = open.get(placeText(place));
      return one === undefined || one.isRead ? undefined : one.fault;
    },
    stop: async () => {
      for (const { leaving } of open.values()) leaving.abort();
      await Promise.all([...open.values()].map(({ done }) => done));
    },
  };
}
