/** Watches of etcd that go on at another member when theirs is lost, and say when what they ask for is forgotten. */
import { setTimeout as sleep } from "node:timers/promises";
import { GuardError } from "../model/errors.ts";
import { type Asker, type EtcdLayout, jsonOf, RETRY_EVERY, refused } from "./etcd-asker.ts";
import { CallFailed, type EtcdClient, mayPass } from "./etcd-client.ts";
import { afterPrefix, range, rangeAnswer, watchAnswer, watchFrom } from "./etcd-messages.ts";
import type { Fields } from "./protobuf.ts";
import type { Change, Key, Revision } from "./store.ts";

export interface Watches {
  follow(prefix: Key, after: Revision, signal: AbortSignal): AsyncGenerator<Change>;
  /** Ends them all, when each has shown the revision or after a moment. */
  close(newest: Revision): Promise<void>;
}

/** In milliseconds. */
const CLOSE_WITHIN = 300;
/** All agents of a fleet look for etcd at once when it is back. */
const RETRY_MOST = 2_000;

function tooOld(after: Revision, oldest: Revision): GuardError {
  const message = `etcd remembers changes from revision ${oldest} on, not from ${after + 1}: read again`;
  return new GuardError("CONFLICT", message, { fields: { after, oldest } });
}

const restored = (at: Revision): GuardError =>
  new GuardError("STORE_UNAVAILABLE", `etcd was restored: what it held at revision ${at} is not what it holds now`);

/**
 * @param seen told every revision that a watch of everything shows
 * @param wentBack told when etcd holds another past than these watches have seen
 */
export function createWatches(
  client: EtcdClient,
  { ask, tell }: Asker,
  { data, restored: mark }: EtcdLayout,
  seen: (revision: Revision) => void,
  wentBack: () => void,
): Watches {
  const open = new Set<{ readonly at: () => Revision; readonly stop: () => void }>();

  /** Events of one revision are one transaction, and etcd never parts them ("atomic" of its watch guarantees). */
  function* changesOf(fields: Fields, after: Revision): Generator<Change> {
    const answer = watchAnswer(fields);
    if (answer.compactRevision > 0) throw tooOld(after, answer.compactRevision);
    if (answer.canceled) throw new CallFailed("unreachable", answer.why === "" ? "the watch was ended" : answer.why);
    const changes = new Map<Revision, Change["changes"][number][]>();
    for (const { entry, deleted } of answer.events) {
      const key = entry.key.slice(data.length);
      const list = changes.get(entry.modRevision) ?? [];
      list.push(deleted ? { key, deleted } : { key, value: jsonOf(key, entry.value) });
      changes.set(entry.modRevision, list);
    }
    for (const [revision, list] of changes) yield { revision, changes: list };
  }

  /** At one member, until it ends or the signal does. */
  async function* atOne(prefix: Key, after: Revision, signal: AbortSignal): AsyncGenerator<Change> {
    const message = watchFrom(data + prefix, afterPrefix(data + prefix), after + 1);
    const stream = await client.stream("Watch/Watch", message);
    signal.addEventListener("abort", stream.close);
    try {
      if (signal.aborted) return;
      for await (const fields of stream.messages) {
        tell(undefined);
        yield* changesOf(fields, after);
      }
    } finally {
      signal.removeEventListener("abort", stream.close);
      stream.close();
    }
  }

  /**
   * A watch from a revision that etcd has not reached waits for it and says nothing: after a restore (etcd 3.4) all that is written until then would be missed.
   * @returns the revision of the mark, to be the same when the watch goes on. @throws STORE_UNAVAILABLE
   */
  async function assertSamePast(at: Revision, known: Revision | undefined): Promise<Revision> {
    const { revision, entries } = await ask("KV/Range", range({ key: mark, keysOnly: true }), rangeAnswer);
    const found = entries[0]?.modRevision ?? 0;
    if (known === undefined || (revision >= at && found === known)) return found;
    wentBack();
    throw restored(at);
  }

  /** @throws what no other member would mend */
  function lost(cause: unknown, signal: AbortSignal): void {
    if (signal.aborted) return;
    if (!(cause instanceof CallFailed) || !mayPass(cause)) throw refused(cause);
    tell(cause.message);
  }

  async function* atAny(prefix: Key, after: Revision, signal: AbortSignal): AsyncGenerator<Change> {
    let at = after;
    let pause = RETRY_EVERY;
    let known: Revision | undefined;
    while (!signal.aborted) {
      const turns = client.turns;
      try {
        known = await assertSamePast(at, known);
        for await (const change of atOne(prefix, at, signal)) {
          at = change.revision;
          pause = RETRY_EVERY;
          yield change;
          if (signal.aborted) return;
        }
      } catch (cause) {
        lost(cause, signal);
      }
      client.turn(turns);
      await sleep(pause * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => undefined);
      pause = Math.min(RETRY_MOST, 2 * pause);
    }
  }

  async function* follow(prefix: Key, after: Revision, signal: AbortSignal): AsyncGenerator<Change> {
    const stopping = new AbortController();
    let at = after;
    const own = { at: () => at, stop: () => stopping.abort() };
    open.add(own);
    try {
      for await (const change of atAny(prefix, after, AbortSignal.any([signal, stopping.signal]))) {
        at = change.revision;
        if (prefix === "") seen(at);
        yield change;
      }
    } finally {
      open.delete(own);
    }
  }

  return {
    follow,
    close: async (newest) => {
      const until = performance.now() + CLOSE_WITHIN;
      while (performance.now() < until && [...open].some(({ at }) => at() < newest)) await sleep(5);
      for (const { stop } of open) stop();
    },
  };
}
