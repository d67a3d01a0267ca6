/** The state of a store written as lines and read back, whole or not at all. */
import { createHash } from "node:crypto";
import { GuardError } from "../model/errors.ts";
import { RESTORE } from "../model/keys.ts";
import type { StateEnd, StateHead, StateLine } from "../model/state.ts";
import { isFields } from "./shape.ts";
import type { Entry, Json, Key } from "./store.ts";

export interface StateFile {
  readonly head: StateHead;
  readonly entries: ReadonlyMap<Key, Json>;
  readonly sha256: string;
}

/** What stands under a store lease is a sign of life, and the mark belongs to the store it is in. */
const isState = ({ key, lease }: Entry): boolean => lease === undefined && key !== RESTORE;

export function* stateLines(head: StateHead, entries: Iterable<Entry>): Generator<StateLine> {
  const digest = createHash("sha256");
  const seen = <T extends StateLine>(line: T): T => {
    digest.update(`${JSON.stringify(line)}\n`);
    return line;
  };
  let count = 0;
  yield seen(head);
  for (const entry of entries) {
    if (!isState(entry)) continue;
    count += 1;
    yield seen({ key: entry.key, value: entry.value });
  }
  yield { entries: count, sha256: digest.digest("hex") };
}

const invalid = (line: number, why: string): GuardError =>
  new GuardError("STATE_INVALID", `line ${line}: ${why}`, { fields: { line } });

function parsed(text: string, line: number): Readonly<Record<string, Json>> {
  try {
    const value: Json = JSON.parse(text);
    if (isFields(value)) return value;
  } catch {
    // Told below, with its line.
  }
  throw invalid(line, "is no object of JSON");
}

function headOf(value: Readonly<Record<string, Json>>): StateHead {
  const { format, version, host, revision, at } = value;
  const isHead =
    value["vifguard"] === "state" &&
    typeof format === "number" &&
    typeof revision === "number" &&
    typeof at === "string";
  if (!isHead || typeof version !== "string" || typeof host !== "string")
    throw invalid(1, "is not the head of a state that 'vifguard export state' wrote");
  return { vifguard: "state", format, version, host, revision, at };
}

function assertEnd(end: Readonly<Record<string, Json>>, wanted: StateEnd, line: number): void {
  if (end["entries"] !== wanted.entries)
    throw invalid(line, `says ${String(end["entries"])} entries, and there are ${wanted.entries}`);
  if (end["sha256"] !== wanted.sha256) throw invalid(line, "the file is not as it was written (its sha256 differs)");
}

/** @throws STATE_INVALID naming the line */
export async function readState(lines: AsyncIterable<string> | Iterable<string>): Promise<StateFile> {
  const digest = createHash("sha256");
  const entries = new Map<Key, Json>();
  let head: StateHead | undefined;
  let end: StateEnd | undefined;
  let line = 0;
  for await (const text of lines) {
    line += 1;
    if (end !== undefined) throw invalid(line, "stands behind the end");
    const value = parsed(text, line);
    if (head === undefined) head = headOf(value);
    else if ("sha256" in value) {
      end = { entries: entries.size, sha256: digest.digest("hex") };
      assertEnd(value, end, line);
      continue;
    } else take(value);
    digest.update(`${text}\n`);
  }
  function take({ key, value }: Readonly<Record<string, Json>>): void {
    if (typeof key !== "string" || value === undefined) throw invalid(line, "is no entry");
    if (entries.has(key)) throw invalid(line, `'${key}' stands there twice`);
    entries.set(key, value);
  }
  if (head === undefined) throw invalid(1, "the file is empty");
  if (end === undefined) throw invalid(line, "the file ends before its end: it was cut short");
  return { head, entries, sha256: end.sha256 };
}
