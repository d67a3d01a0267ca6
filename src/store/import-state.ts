/**
 * A state comes into a store: checked whole, then written in many small transactions behind a mark that keeps every agent from believing what is there, read back, and
 * only then said to be so. What was cut short is taken up again by importing the same file; until then agents keep what they have.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { GuardError } from "../model/errors.ts";
import { kindOf, RESTORE } from "../model/keys.ts";
import type { ImportView } from "../model/state.ts";
import { checkState } from "./check-state.ts";
import { mergedState } from "./merge-state.ts";
import { upgraded, withMembers } from "./migrate.ts";
import { markOf, type RestoreMark } from "./restore-mark.ts";
import type { StateFile } from "./state-file.ts";
import type { Entry, Json, Key, Revision, Snapshot, Store, Write } from "./store.ts";

export interface ImportOptions {
  /** In the place of what is there. */
  readonly replace: boolean;
  readonly dryRun: boolean;
  /** Milliseconds since 1970. */
  readonly now: number;
  /** How long agents have to hear that an import begins, in milliseconds: of a store that they watch. */
  readonly settleMs: number;
}

/** With the slot and the mark below the 128 operations that etcd takes in one transaction unless told otherwise. */
const CHUNK = 100;

const textOf = (value: Json): string => JSON.stringify(value);

/** Signs of life are not of the state. */
function difference(wanted: ReadonlyMap<Key, Json>, held: Snapshot): readonly Write[] {
  const puts = [...wanted].flatMap(([key, value]): Write[] => {
    const before = held.entries.get(key);
    return before !== undefined && textOf(before.value) === textOf(value) ? [] : [{ op: "put", key, value }];
  });
  const gone = [...held.entries.values()].filter(
    ({ key, lease }) => lease === undefined && key !== RESTORE && !wanted.has(key),
  );
  return [...gone.map(({ key }): Write => ({ op: "delete", key })), ...puts];
}

const WORDS = { put: "+", change: "~", delete: "-" } as const;

function sentencesOf(writes: readonly Write[], held: Snapshot): readonly string[] {
  return writes.flatMap((write) => {
    const kind = kindOf(write.key);
    if (kind !== "network" && kind !== "group" && kind !== "guest") return [];
    const what = write.op === "delete" ? "delete" : held.entries.has(write.key) ? "change" : "put";
    return [`${WORDS[what]} ${kind} ${write.key.slice(kind.length + 1)}`];
  });
}

/** Ports that shut: their guests are not in the file. */
function orphans(wanted: ReadonlyMap<Key, Json>): readonly string[] {
  return [...wanted].flatMap(([key, value]) => {
    const guest = kindOf(key) === "attachment" ? String(Object(value).guest) : undefined;
    if (guest === undefined || wanted.has(`guest/${guest}`)) return [];
    const [, host, port] = key.split("/");
    return [`! port ${port} of host ${host} is shut: its guest ${guest} is not in the file`];
  });
}

function viewOf(writes: readonly Write[], wanted: ReadonlyMap<Key, Json>, held: Snapshot, dryRun: boolean): ImportView {
  const counts: Record<string, { put: number; deleted: number }> = {};
  for (const { op, key } of writes) {
    const count = counts[kindOf(key)] ?? { put: 0, deleted: 0 };
    counts[kindOf(key)] = count;
    count[op === "put" ? "put" : "deleted"] += 1;
  }
  const sentences = [...orphans(wanted), ...sentencesOf(writes, held)];
  return { counts, sentences, entries: wanted.size, dryRun };
}

/** Of an empty store that agents were started on. */
const isNoState = ({ key, lease }: Entry): boolean =>
  key === RESTORE || lease !== undefined || kindOf(key) === "host" || kindOf(key) === "level";

/** What is under way decides how it goes on. @throws STORE_NOT_EMPTY */
function keepsPlaces(held: Snapshot, id: string, replace: boolean): boolean {
  const mark = markOf(held.entries.get(RESTORE)?.value);
  if (mark?.phase === "under-way" && mark.id === id) return mark.keepsPlaces;
  const isEmpty = [...held.entries.values()].every(isNoState);
  const isOpen = mark?.phase === "under-way";
  if ((isEmpty && !isOpen) || replace) return !isEmpty;
  const what = isOpen ? `holds the import of ${mark.of}, which is not done` : "is not empty";
  throw new GuardError("STORE_NOT_EMPTY", `the store ${what}`);
}

async function setMark(store: Store, mark: RestoreMark, before: Revision): Promise<Revision> {
  const commit = await store.commit({
    expect: [{ key: RESTORE, revision: before }],
    writes: [{ op: "put", key: RESTORE, value: { ...mark } }],
  });
  if (!commit.ok) throw new GuardError("CONFLICT", "another import began meanwhile");
  return commit.revision;
}

async function writeAll(store: Store, writes: readonly Write[], mark: Revision): Promise<void> {
  for (let at = 0; at < writes.length; at += CHUNK) {
    const commit = await store.commit({
      expect: [{ key: RESTORE, revision: mark }],
      writes: writes.slice(at, at + CHUNK),
    });
    if (!commit.ok) throw new GuardError("CONFLICT", "another import began meanwhile");
  }
}

/** @throws STATE_INVALID, STORE_NOT_EMPTY, CONFLICT, STORE_UNAVAILABLE, VERIFY_FAILED */
export async function importState(store: Store, file: StateFile, options: ImportOptions): Promise<ImportView> {
  const given = upgraded(file.entries, file.head.format);
  checkState(given);
  const entries = withMembers(given);
  const before = await store.read("");
  const isKeeping = keepsPlaces(before, file.sha256, options.replace);
  const wanted = mergedState(entries, before, isKeeping);
  const view = viewOf(difference(wanted, before), wanted, before, options.dryRun);
  if (options.dryRun) return view;
  const of = `the state of host '${file.head.host}' of ${file.head.at}`;
  const mark = { id: file.sha256, keepsPlaces: isKeeping, of, at: options.now };
  const begun = await setMark(store, { ...mark, phase: "under-way" }, before.entries.get(RESTORE)?.revision ?? 0);
  await sleep(options.settleMs);
  // What agents wrote until they heard of it.
  const held = await store.read("");
  const now = mergedState(entries, held, isKeeping);
  await writeAll(store, difference(now, held), begun);
  const left = difference(now, await store.read(""));
  const [first] = left;
  if (first !== undefined)
    throw new GuardError("VERIFY_FAILED", `after the import ${left.length} entries differ, such as '${first.key}'`);
  await setMark(store, { ...mark, phase: "done", id: `${file.sha256}/${options.now}` }, begun);
  return view;
}
