/**
 * Watches of etcd that go on at another member when theirs is lost, and say when what they ask for is forgotten. All of a process share one stream: an agent has
 * some for each of its ports, and a stream costs etcd more than a hundred watches.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { GuardError } from "../model/errors.ts";
import { type Asker, type EtcdLayout, jsonOf, RETRY_EVERY, refused } from "./etcd-asker.ts";
import { CallFailed, type EtcdClient, type EtcdStream, mayPass } from "./etcd-client.ts";
import {
  cancelWatch,
  type RangeAnswer,
  range,
  rangeAnswer,
  rangeOf,
  type WatchAnswer,
  watchAnswer,
  watchFrom,
} from "./etcd-messages.ts";
import { createFeed, type Feed } from "./feed.ts";
import type { Change, Place, Revision } from "./store.ts";

export interface Watches {
  follow(place: Place, after: Revision, signal: AbortSignal): AsyncGenerator<Change>;
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

/** What watches share, as long as there is one. */
interface Line {
  readonly feeds: Map<number, Feed<WatchAnswer>>;
  readonly isOver: () => boolean;
  send(message: ReturnType<typeof cancelWatch>): void;
  close(): void;
}

function createLines(client: EtcdClient, heard: () => void): () => Promise<Line> {
  let current: Promise<Line> | undefined;

  async function open(): Promise<Line> {
    const stream = await client.stream("Watch/Watch");
    const feeds: Line["feeds"] = new Map();
    let over = false;
    const end = (): void => {
      if (!over) current = undefined;
      over = true;
    };
    void pump(stream.messages, feeds, end);
    const close = (): void => {
      end();
      stream.close();
    };
    return { feeds, isOver: () => over, send: stream.send, close };
  }

  async function pump(messages: EtcdStream["messages"], feeds: Line["feeds"], end: () => void): Promise<void> {
    let failure: unknown = new CallFailed("unreachable", "the watch was ended");
    try {
      for await (const fields of messages) {
        heard();
        const answer = watchAnswer(fields);
        const feed = feeds.get(answer.id);
        // One that was refused may come back under no number.
        if (feed === undefined && answer.created && answer.canceled) throw new CallFailed("unreachable", answer.why);
        feed?.push(answer);
      }
    } catch (cause) {
      failure = cause;
    }
    end();
    for (const feed of feeds.values()) feed.end(failure);
  }

  return async () => {
    for (;;) {
      current ??= open().catch((cause: unknown) => {
        current = undefined;
        throw cause;
      });
      const line = await current;
      if (!line.isOver()) return line;
    }
  };
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
  written: () => Revision,
): Watches {
  const open = new Set<{ readonly at: () => Revision; readonly stop: () => void }>();

  const lineOf = createLines(client, () => tell(undefined));
  let numbers = 0;

  /** Events of one revision are one transaction, and etcd never parts them ("atomic" of its watch guarantees). */
  function* changesOf(answer: WatchAnswer, after: Revision): Generator<Change> {
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
  async function* atOne(place: Place, after: Revision, signal: AbortSignal): AsyncGenerator<Change> {
    const line = await lineOf();
    if (signal.aborted) return;
    numbers += 1;
    const id = numbers;
    const feed = createFeed<WatchAnswer>(signal);
    line.feeds.set(id, feed);
    line.send(watchFrom(id, rangeOf(data, place), after + 1));
    try {
      for await (const answer of feed.drain()) yield* changesOf(answer, after);
    } finally {
      line.feeds.delete(id);
      if (line.feeds.size === 0) line.close();
      else line.send(cancelWatch(id));
    }
  }

  let told: Revision = 0;
  let looking: Promise<{ readonly answer: RangeAnswer; readonly isBehind: boolean }> | undefined;
  /** Once for all watches that go on in one turn; asked after each of them knows where it stands. */
  function lookAtMark(): NonNullable<typeof looking> {
    looking ??= new Promise((resolve) => setImmediate(resolve)).then(async () => {
      looking = undefined;
      // Of all that was told and written here: a watch alone may stand far behind.
      const least = Math.max(told, written());
      const answer = await ask("KV/Range", range({ key: mark, keysOnly: true }), rangeAnswer);
      return { answer, isBehind: answer.revision < least };
    });
    return looking;
  }

  /**
   * A watch from a revision that etcd has not reached waits for it and says nothing: after a restore (etcd 3.4) all that is written until then would be missed.
   * @returns the revision of the mark, to be the same when the watch goes on. @throws STORE_UNAVAILABLE
   */
  async function assertSamePast(at: Revision, known: Revision | undefined): Promise<Revision> {
    const { answer, isBehind } = await lookAtMark();
    const found = answer.entries[0]?.modRevision ?? 0;
    if (known === undefined || (!isBehind && answer.revision >= at && found === known)) return found;
    wentBack();
    throw restored(at);
  }

  /** @throws what no other member would mend */
  function lost(cause: unknown, signal: AbortSignal): void {
    if (signal.aborted) return;
    if (!(cause instanceof CallFailed) || !mayPass(cause)) throw refused(cause);
    tell(cause.message);
  }

  async function* atAny(place: Place, after: Revision, signal: AbortSignal): AsyncGenerator<Change> {
    let at = after;
    let pause = RETRY_EVERY;
    let known: Revision | undefined;
    while (!signal.aborted) {
      const turns = client.turns;
      try {
        known = await assertSamePast(at, known);
        for await (const change of atOne(place, at, signal)) {
          at = change.revision;
          pause = RETRY_EVERY;
          yield change;
          if (signal.aborted) return;
        }
      } catch (cause) {
        lost(cause, signal);
      }
      // One that is not wanted any more says nothing against the member: the others go on there.
      if (signal.aborted) return;
      client.turn(turns);
      await sleep(pause * (0.5 + Math.random() / 2), undefined, { signal }).catch(() => undefined);
      pause = Math.min(RETRY_MOST, 2 * pause);
    }
  }

  async function* follow(place: Place, after: Revision, signal: AbortSignal): AsyncGenerator<Change> {
    const stopping = new AbortController();
    let at = after;
    const own = { at: () => at, stop: () => stopping.abort() };
    open.add(own);
    try {
      for await (const change of atAny(place, after, AbortSignal.any([signal, stopping.signal]))) {
        at = change.revision;
        told = Math.max(told, at);
        if (place === "") seen(at);
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
