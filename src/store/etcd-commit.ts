/**
 * Transactions in etcd, each made once at most. A connection that breaks leaves open whether what was asked has been done; so each transaction that puts
 * anything also puts a mark of its own into the client's slot, and demands the slot as the one before left it. Asked again it either finds its own mark there,
 * or is the first to come, and what may still be under way fails.
 */
import { randomUUID } from "node:crypto";
import { GuardError } from "../model/errors.ts";
import type { Admitted, Draft } from "./admit.ts";
import { type Asker, type EtcdLayout, refused } from "./etcd-asker.ts";
import { CallFailed } from "./etcd-client.ts";
import {
  compareRevision,
  deleteOp,
  putOp,
  range,
  rangeAnswer,
  rangeOp,
  type TxnAnswer,
  txn,
  txnAnswer,
} from "./etcd-messages.ts";
import type { Message } from "./protobuf.ts";
import type { Commit, Revision } from "./store.ts";

export interface Committer {
  /** One at a time. @throws STORE_UNAVAILABLE, CONFLICT when a store lease is gone */
  commit(wish: Admitted): Promise<Commit>;
}

/** gRPC status of a lease that is not there. */
export const NOT_FOUND = 5;
const utf8 = new TextDecoder();

/** @param newest the newest revision that a watch of everything has shown or will show: that of a transaction that changes nothing */
export function createCommitter(
  { ask }: Asker,
  { data, slot }: EtcdLayout,
  newest: { seen(revision: Revision): void; now(): Revision },
): Committer {
  let known: Revision | undefined;

  async function slotNow(): Promise<Revision> {
    if (known !== undefined) return known;
    const { entries } = await ask("KV/Range", range({ key: slot, keysOnly: true }), rangeAnswer);
    return entries[0]?.modRevision ?? 0;
  }

  const writeOp = ({ key, put }: Draft): Message =>
    put === undefined ? deleteOp(data + key) : putOp(data + key, put.text, put.lease);

  function message(
    { expect, writes }: Admitted,
    marked: { readonly mark: string; readonly before: Revision } | undefined,
  ) {
    const compare = expect.map(({ key, revision }) => compareRevision(data + key, revision));
    const success = writes.map(writeOp);
    if (marked !== undefined) {
      compare.push(compareRevision(slot, marked.before));
      success.push(putOp(slot, marked.mark, undefined));
    }
    const failure = expect.map(({ key }) => rangeOp({ key: data + key, keysOnly: true }));
    return txn({ compare, success, failure: [rangeOp({ key: slot }), ...failure] });
  }

  function conflictOf({ expect }: Admitted, { found }: TxnAnswer): Commit | undefined {
    const conflict = expect.find(({ revision }, n) => (found[n + 1]?.entries[0]?.modRevision ?? 0) !== revision);
    return conflict === undefined ? undefined : { ok: false, conflict: conflict.key };
  }

  function made(revision: Revision): Commit {
    newest.seen(revision);
    return { ok: true, revision };
  }

  /** Deleting twice is deleting once: what only deletes needs no mark, and is no change where nothing was. */
  async function withoutMark(wish: Admitted): Promise<Commit | undefined> {
    const answer = await ask("KV/Txn", message(wish, undefined), txnAnswer);
    if (answer.succeeded) return made(answer.hasEffect ? answer.revision : newest.now());
    return conflictOf(wish, answer);
  }

  /** @returns undefined when another process used the slot: nothing was made */
  async function withMark(wish: Admitted, mark: string): Promise<Commit | undefined> {
    const before = await slotNow();
    const answer = await ask("KV/Txn", message(wish, { mark, before }), txnAnswer);
    const held = answer.found[0]?.entries[0];
    const at = answer.succeeded ? answer.revision : (held?.modRevision ?? 0);
    known = at;
    const isOwn = answer.succeeded || (held !== undefined && utf8.decode(held.value) === mark);
    if (isOwn) return made(at);
    return at === before ? conflictOf(wish, answer) : undefined;
  }

  async function untilKnown(wish: Admitted): Promise<Commit> {
    const mark = randomUUID();
    const isMarked = wish.writes.some(({ put }) => put !== undefined);
    for (;;) {
      const result = await (isMarked ? withMark(wish, mark) : withoutMark(wish));
      if (result !== undefined) return result;
    }
  }

  return {
    commit: async ({ expect, writes }) => {
      // Of two writes to one key the last one holds; etcd refuses both.
      const last = [...new Map(writes.map((draft) => [draft.key, draft])).values()];
      try {
        return await untilKnown({ expect, writes: last });
      } catch (cause) {
        // What became of it is not known: the next one looks at the slot first.
        known = undefined;
        throw cause instanceof CallFailed && cause.status === NOT_FOUND ? leaseGone(last) : refused(cause);
      }
    },
  };
}

function leaseGone(writes: readonly Draft[]): GuardError {
  const lease = writes.find(({ put }) => put?.lease !== undefined)?.put?.lease ?? 0;
  return new GuardError("CONFLICT", `store lease ${lease} is gone`, { fields: { lease } });
}
