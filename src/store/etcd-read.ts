/**
 * Readings of etcd. Those that are asked for in one turn go together, in one transaction that only reads: an agent asks for some for each of its ports, and no
 * member has to write anything or agree to it, however many agents start at once. What is more than a page follows in pages, all as of the first.
 */
import { GuardError } from "../model/errors.ts";
import { type Asker, type EtcdLayout, jsonOf } from "./etcd-asker.ts";
import {
  compareRevision,
  type KeyValue,
  putOp,
  type RangeAnswer,
  type RangeWish,
  range,
  rangeAnswer,
  rangeOp,
  txn,
  txnAnswer,
} from "./etcd-messages.ts";
import type { Entry, Key, Snapshot } from "./store.ts";

/** All keys of a range, or one. */
export type Keys = Pick<RangeWish, "key" | "end">;

/** Keys of one answer: etcd makes it whole in its memory. */
const PAGE = 5_000;
/** With the format, well below etcd's own limit of 128 operations. */
const TOGETHER = 100;

interface Asked {
  readonly keys: Keys;
  readonly resolve: (snapshot: Snapshot) => void;
  readonly reject: (cause: unknown) => void;
}

/** The beginning of each of some readings. */
interface Beginning {
  readonly revision: number;
  readonly pages: readonly RangeAnswer[];
}

function entryOf(held: KeyValue, key: Key): Entry {
  const entry = { key, value: jsonOf(key, held.value), revision: held.modRevision };
  return held.lease === 0 ? entry : { ...entry, lease: held.lease };
}

/** @param format how values are to be read @throws STORE_CORRUPT when it is another */
export function createReader({ ask }: Asker, { data, format: formatKey }: EtcdLayout, format: number) {
  let waiting: Asked[] = [];

  /** Undefined when nobody has written the format yet. */
  async function begin(all: readonly Keys[]): Promise<Beginning | undefined> {
    const limit = Math.ceil(PAGE / all.length);
    const success = [rangeOp({ key: formatKey }), ...all.map((keys) => rangeOp({ ...keys, limit }))];
    const { revision, found } = await ask("KV/Txn", txn({ compare: [], success, failure: [] }), txnAnswer);
    const [held, ...pages] = found;
    const entry = held?.entries[0];
    if (entry === undefined) return undefined;
    const says = jsonOf(formatKey, entry.value);
    if (says === format) return { revision, pages };
    throw new GuardError(
      "STORE_CORRUPT",
      `the fleet's store has format ${says}, this version of vifguard reads ${format}: run the version that the other hosts run`,
      { fields: { key: formatKey } },
    );
  }

  /** By whoever comes first. */
  async function writeFormat(): Promise<void> {
    const compare = [compareRevision(formatKey, 0)];
    const success = [putOp(formatKey, String(format), undefined)];
    await ask("KV/Txn", txn({ compare, success, failure: [] }), txnAnswer);
  }

  async function finish({ end }: Keys, first: RangeAnswer, revision: number): Promise<Snapshot> {
    const entries = new Map<Key, Entry>();
    for (let page = first; ; ) {
      for (const held of page.entries) {
        const key = held.key.slice(data.length);
        entries.set(key, entryOf(held, key));
      }
      if (!page.more) return { revision, entries };
      const key = `${page.entries.at(-1)?.key ?? ""}\0`;
      page = await ask("KV/Range", range({ key, end, revision, limit: PAGE }), rangeAnswer);
    }
  }

  async function answer(asked: readonly Asked[]): Promise<void> {
    const all = asked.map(({ keys }) => keys);
    let begun = await begin(all);
    if (begun === undefined) {
      await writeFormat();
      begun = await begin(all);
    }
    for (const [n, { keys, resolve, reject }] of asked.entries()) {
      const page = begun?.pages[n];
      if (begun === undefined || page === undefined) throw new TypeError("an answer without its ranges");
      finish(keys, page, begun.revision).then(resolve, reject);
    }
  }

  function askAll(): void {
    const asked = waiting;
    waiting = [];
    for (let at = 0; at < asked.length; at += TOGETHER) {
      const some = asked.slice(at, at + TOGETHER);
      answer(some).catch((cause: unknown) => {
        for (const { reject } of some) reject(cause);
      });
    }
  }

  return (keys: Keys): Promise<Snapshot> =>
    new Promise((resolve, reject) => {
      if (waiting.length === 0) setImmediate(askAll);
      waiting.push({ keys, resolve, reject });
    });
}
