/**
 * The hosts of the fleet as the store shows them, followed by watches: nothing is asked while nothing changes. A host that goes silent has no last words, so when it
 * did is what this agent's own clock said when it heard of it; for being read, never for deciding.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { AliveRecord, HostRecord } from "../model/hosts.ts";
import type { HostId } from "../model/names.ts";
import { decodeRecord } from "../store/collections.ts";
import type { Json, Key, Revision } from "../store/store.ts";
import type { AgentParts } from "./core.ts";

interface Held<T> {
  readonly value: T;
  readonly revision: Revision;
}

export interface HostBook {
  readonly hosts: ReadonlyMap<HostId, Held<HostRecord>>;
  readonly alive: ReadonlyMap<HostId, Held<AliveRecord>>;
  /** When this agent heard that it went silent; undefined when it was so before. */
  silentSince(host: HostId): number | undefined;
  /** What was written by this agent is known to it at once. */
  note(key: Key, value: Json | undefined, revision: Revision): void;
  /** Resolves when what the store has was seen once, or could not be. */
  readonly looked: Promise<unknown>;
  stop(): Promise<void>;
}

type Seams = Pick<AgentParts, "store" | "clock" | "log">;

const KINDS = ["host/", "alive/"] as const;
/** After a store that cannot be read, in milliseconds. */
const AGAIN_AFTER = 1_000;

export function openHostBook({ store, clock, log }: Seams, changed: () => void): HostBook {
  const hosts = new Map<HostId, Held<HostRecord>>();
  const alive = new Map<HostId, Held<AliveRecord>>();
  const silent = new Map<HostId, number>();
  /** Of the last that was told of a key: a watch may show what was noted already. */
  const revisions = new Map<Key, Revision>();
  const stopping = new AbortController();

  function drop(key: Key): void {
    const name = key.slice(key.indexOf("/") + 1);
    for (const map of key.startsWith("alive/") ? [alive] : [hosts, silent])
      for (const host of [...map.keys()]) if (host === name) map.delete(host);
  }

  function put(key: Key, json: Json, revision: Revision): void {
    const record = decodeRecord(key, json);
    if (record.kind === "host") hosts.set(record.host, { value: record.value, revision });
    if (record.kind !== "alive") return;
    alive.set(record.host, { value: record.value, revision });
    silent.delete(record.host);
  }

  function take(key: Key, value: Json | undefined, revision: Revision): void {
    if (revision < (revisions.get(key) ?? 0)) return;
    revisions.set(key, revision);
    if (value === undefined) {
      const [went] = [...alive.keys()].filter((host) => key === `alive/${host}`);
      drop(key);
      if (went !== undefined) silent.set(went, clock.now());
    } else put(key, value, revision);
  }

  async function lookAt(prefix: Key): Promise<Revision> {
    const { revision, entries } = await store.read(prefix);
    const known = prefix === "alive/" ? alive : hosts;
    for (const host of [...known.keys()]) if (!entries.has(prefix + host)) take(prefix + host, undefined, revision);
    for (const entry of entries.values()) take(entry.key, entry.value, entry.revision);
    changed();
    return revision;
  }

  async function watchFrom(prefix: Key, after: Revision): Promise<void> {
    for await (const change of store.watch(prefix, after, stopping.signal)) {
      for (const one of change.changes) take(one.key, "deleted" in one ? undefined : one.value, change.revision);
      changed();
    }
  }

  async function follow(prefix: Key, looked: () => void): Promise<void> {
    const { signal } = stopping;
    while (!signal.aborted) {
      try {
        return await watchFrom(prefix, await lookAt(prefix).finally(looked));
      } catch (error) {
        if (signal.aborted) return;
        log.warn({ error: String(error), prefix }, "hosts of the fleet are not followed until the next try");
        await sleep(AGAIN_AFTER, undefined, { signal, ref: false }).catch(() => undefined);
      }
    }
  }

  const followings: Promise<void>[] = [];
  const looks = KINDS.map((prefix) => new Promise<void>((resolve) => followings.push(follow(prefix, resolve))));
  return {
    hosts,
    alive,
    silentSince: (host) => silent.get(host),
    note: (key, value, revision) => {
      take(key, value, revision);
      changed();
    },
    looked: Promise.all(looks),
    stop: async () => {
      stopping.abort();
      await Promise.all(followings);
    },
  };
}
