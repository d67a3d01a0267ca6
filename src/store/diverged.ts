/**
 * Whether a store can be the one that a host remembers, by what only that host writes: its attachments, and the claims of their NICs. A revision says so only until a store that
 * was restored has been written to as often as the one before.
 */
import type { Attachment } from "../model/resources.ts";
import { readRecord } from "./read-record.ts";
import type { Entry, Key, Revision, Snapshot, Store } from "./store.ts";

/** At once, of a host with a thousand ports. */
const AT_ONCE = 64;

const claimKey = (attachment: unknown): Key => `claim/${Object(attachment).guest}/${Object(attachment).nic}`;

/** What is there was written later than is remembered, or is what is remembered. */
const fits = (now: Revision, before: Revision | undefined, upTo: Revision): boolean => now > upTo || now === before;

async function revisionsOf(store: Store, keys: readonly Key[]): Promise<ReadonlyMap<Key, Revision>> {
  const found = new Map<Key, Revision>();
  for (let at = 0; at < keys.length; at += AT_ONCE) {
    const part = keys.slice(at, at + AT_ONCE);
    const read = await Promise.all(part.map((key) => store.read({ key })));
    for (const [n, key] of part.entries()) found.set(key, read[n]?.entries.get(key)?.revision ?? 0);
  }
  return found;
}

/** An agent shuts a port before it takes its record away; a host that was forgotten has no record of its own either. */
async function isMissed(
  store: Store,
  host: string,
  gone: readonly Entry[],
  { isOpen, before: { snapshot: before } }: Memory,
): Promise<boolean> {
  const isAnyOpen = gone.some(({ key, value }) => {
    const record = readRecord(key, value, Number.MAX_SAFE_INTEGER);
    return record.kind === "attachment" && isOpen(record.value);
  });
  const key = `host/${host}`;
  return isAnyOpen && (!before.entries.has(key) || (await store.read({ key })).entries.has(key));
}

/** What a host knew last. */
export interface Remembered {
  /** Its revision is the newest that the host has seen of anything. */
  readonly snapshot: Snapshot;
  /** Up to where the host was told of a key: one part of the store may be told ahead of another. */
  upTo(key: Key): Revision;
}

export interface Memory {
  readonly before: Remembered;
  /** Whether the kernel holds the port open. */
  isOpen(attachment: Attachment): boolean;
}

export async function isDiverged(store: Store, host: string, memory: Memory): Promise<boolean> {
  const { snapshot: before, upTo } = memory.before;
  const isKnown = (key: Key, now: Revision): boolean => fits(now, before.entries.get(key)?.revision, upTo(key));
  const own = `attachment/${host}/`;
  const remembered = [...before.entries.values()].filter(({ key }) => key.startsWith(own));
  const now = (await store.read(own)).entries;
  for (const { key, revision } of now.values()) if (!isKnown(key, revision)) return true;
  const gone = remembered.filter(({ key }) => !now.has(key));
  if (await isMissed(store, host, gone, memory)) return true;
  const claims = await revisionsOf(
    store,
    remembered.map(({ value }) => claimKey(value)),
  );
  return [...claims].some(([key, revision]) => !isKnown(key, revision));
}
