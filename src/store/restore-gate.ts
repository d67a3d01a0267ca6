/**
 * Between a host and a store that may be restored under it. While a state comes in nothing is believed: it is as if the store were away and still. When the store shows another past than
 * this host remembers (a mark that it has not seen, a lower revision, other records of its own) whatever was read before is worth nothing: the agent starts anew, and before anything is read the host makes sure of its ports.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { GuardError } from "../model/errors.ts";
import { RESTORE } from "../model/keys.ts";
import { isDiverged, type Memory, type Remembered } from "./diverged.ts";
import { markOf, type RestoreMark } from "./restore-mark.ts";
import type { Change, Commit, Place, Revision, Snapshot, Store, Transaction } from "./store.ts";

export interface GateParts {
  readonly remote: Store;
  readonly host: string;
  /** Whether the kernel holds the port open. */
  readonly isOpen: Memory["isOpen"];
  /** What this host knew last. */
  readonly before: {
    /** Undefined when it knows nothing. */
    all(): Promise<Remembered | undefined>;
  };
  /** Where the mark that was seen last is kept. */
  readonly memory: Store;
  /** Makes sure of the ports of this host. What was written after `marked` was written after the restore. */
  readonly settle: (store: Store, before: Snapshot | undefined, marked: Revision) => Promise<void>;
  /** Told why nothing is believed, and `undefined` when it is again. */
  readonly health: (fault: string | undefined) => void;
}

export interface RestoreGate {
  readonly store: Store;
  /** Resolves when what was read before is worth nothing any more. */
  readonly restored: Promise<void>;
  /** Said by whoever has seen that the store went back. */
  end(): void;
  /** Said by whoever has had an answer of a store that was away: it is asked again. */
  answered(): void;
}

const SEEN = "restore-seen";
/** Where the mark cannot be read, in milliseconds. */
const RETRY = 1_000;

const saysUnderWay = ({ of }: RestoreMark): string =>
  `a restore is under way (${of}); until it is done every host keeps what it has`;
const wasRestored = (): GuardError =>
  new GuardError("STORE_UNAVAILABLE", "the store was restored; this host reads it anew");

interface Look {
  readonly mark: RestoreMark | undefined;
  /** Of the mark; 0 when there is none. */
  readonly at: Revision;
  readonly revision: Revision;
}

export function restoreGate({ remote, host, isOpen, before, memory, settle, health }: GateParts): RestoreGate {
  /** Of the mark as whoever reads here knows it. */
  let known: Revision | undefined;
  /** Of all that was read, written and told here. */
  let newest: Revision = 0;
  let asking: Promise<void> | undefined;
  let missed: { readonly at: number; readonly cause: unknown } | undefined;
  let isHolding = false;
  /** Whoever reads here has had to do without, and goes by what this host knew last. */
  let hasMissed = false;
  let following: Promise<void> | undefined;
  const [closing, ending] = [new AbortController(), new AbortController()];
  const restored = new Promise<void>((resolve) => ending.signal.addEventListener("abort", () => resolve()));

  /** Whatever is asked for later is as new at least: a host's copy must not take up what a restored store says before the host has made sure of its ports. */
  async function readOn(place: Place): Promise<Snapshot> {
    const least = newest;
    const snapshot = await remote.read(place);
    if (snapshot.revision < least) ending.abort();
    if (ending.signal.aborted) throw wasRestored();
    newest = Math.max(newest, snapshot.revision);
    return snapshot;
  }

  async function look(): Promise<Look> {
    const { revision, entries } = await readOn({ key: RESTORE });
    const entry = entries.get(RESTORE);
    return { mark: markOf(entry?.value), at: entry?.revision ?? 0, revision };
  }

  /** @returns whether the store holds another past than this host remembers */
  async function meet({ mark, at, revision }: Look): Promise<boolean> {
    const seen = (await memory.read({ key: SEEN })).entries.get(SEEN)?.value;
    const remembered = await before.all();
    if (mark !== undefined && mark.id !== seen) {
      await settle(remote, remembered?.snapshot, at);
      await memory.commit({ expect: [], writes: [{ op: "put", key: SEEN, value: mark.id }] });
      return true;
    }
    // Without a mark nothing says what was written after the restore.
    if (remembered === undefined) return false;
    const isOther =
      revision < remembered.snapshot.revision || (await isDiverged(remote, host, { before: remembered, isOpen }));
    if (isOther) await settle(remote, remembered.snapshot, revision);
    return isOther;
  }

  /** @throws STORE_UNAVAILABLE while a restore is under way */
  async function makeSure(): Promise<void> {
    const now = await look();
    if (now.mark?.phase === "under-way") {
      health(saysUnderWay(now.mark));
      throw new GuardError("STORE_UNAVAILABLE", saysUnderWay(now.mark));
    }
    if (known === now.at) return;
    if (known !== undefined) throw wasRestored();
    const isRestored = await meet(now);
    health(undefined);
    if (isRestored && hasMissed) ending.abort();
    if (ending.signal.aborted) throw wasRestored();
    known = now.at;
  }

  /** Once for all that are asked for meanwhile: an agent asks for many things at once, and looks again after each reading. */
  function sure(): Promise<void> {
    asking ??= makeSure().finally(() => {
      asking = undefined;
    });
    return asking;
  }

  /** An agent that starts reads part after part: it does not wait for each of them as long as for the first. */
  async function sureOrAway(): Promise<void> {
    if (missed !== undefined && performance.now() - missed.at < RETRY) throw missed.cause;
    missed = undefined;
    try {
      await sure();
    } catch (cause) {
      missed = { at: performance.now(), cause };
      throw cause;
    }
  }

  /** What was read is of one past: no restore began or ended meanwhile. */
  async function read(place: Place): Promise<Snapshot> {
    try {
      return await readSure(place);
    } catch (cause) {
      hasMissed = true;
      throw cause;
    }
  }

  async function readSure(place: Place): Promise<Snapshot> {
    await sureOrAway();
    const snapshot = await readOn(place);
    const at = place === "" ? (snapshot.entries.get(RESTORE)?.revision ?? 0) : (await look()).at;
    if (at !== known) throw wasRestored();
    return snapshot;
  }

  async function commit({ expect, writes }: Transaction): Promise<Commit> {
    if (known === undefined) await sure();
    const own = { key: RESTORE, revision: known ?? 0 };
    const result = await remote.commit({ expect: [own, ...expect], writes });
    if (!result.ok && result.conflict === RESTORE) throw wasRestored();
    if (result.ok) newest = Math.max(newest, result.revision);
    return result;
  }

  /** @returns whether whatever was read is of another past by now */
  async function judge(): Promise<boolean> {
    const { mark, at } = await look();
    const isOther = known !== undefined && at !== known;
    const isUnderWay = mark?.phase === "under-way";
    isHolding = isUnderWay || isOther;
    if (isUnderWay) health(saysUnderWay(mark));
    return isOther && !isUnderWay;
  }

  async function nextMark(): Promise<void> {
    const { revision } = await remote.read({ key: RESTORE });
    if (await judge()) ending.abort();
    else
      for await (const _ of remote.watch(
        { key: RESTORE },
        revision,
        AbortSignal.any([closing.signal, ending.signal]),
      )) {
        // Before it is looked at: what other watches tell from now on may be half of a site.
        isHolding = true;
        return;
      }
  }

  async function followMark(): Promise<void> {
    while (!closing.signal.aborted && !ending.signal.aborted)
      await nextMark().catch(() => sleep(RETRY, undefined, { signal: closing.signal }).catch(() => undefined));
  }

  async function sureAtLast(until: AbortSignal): Promise<void> {
    while (known === undefined && !until.aborted)
      await sure().catch(() => sleep(RETRY, undefined, { signal: until }).catch(() => undefined));
  }

  /** Nothing more is told: what comes in is not to be believed before all of it is there. */
  const stillness = (signal: AbortSignal): Promise<void> =>
    new Promise((resolve) => {
      if (signal.aborted) resolve();
      else signal.addEventListener("abort", () => resolve(), { once: true });
    });

  async function* watch(place: Place, after: Revision, signal: AbortSignal): AsyncGenerator<Change> {
    const until = AbortSignal.any([signal, ending.signal]);
    await sureAtLast(until);
    following ??= followMark();
    for await (const change of remote.watch(place, after, until)) {
      const isMark = change.changes.some(({ key }) => key === RESTORE);
      if (isHolding || isMark) await stillness(until);
      if (until.aborted) break;
      newest = Math.max(newest, change.revision);
      yield change;
    }
    if (ending.signal.aborted && !signal.aborted) throw wasRestored();
  }

  return {
    restored,
    end: () => ending.abort(),
    answered: () => {
      missed = undefined;
    },
    store: {
      ...remote,
      read,
      commit,
      watch,
      close: async () => {
        closing.abort();
        await remote.close();
        await following;
      },
    },
  };
}
