/** What is asked of a store, checked and copied before anything waits: the same for every store. */
import { GuardError } from "../model/errors.ts";
import type { Json, Key, LeaseId, Transaction } from "./store.ts";

/** A transaction that was checked and copied, so that what the caller does with its objects afterwards changes nothing. */
export interface Admitted {
  readonly expect: Transaction["expect"];
  readonly writes: readonly Draft[];
}
export interface Draft {
  readonly key: Key;
  /** Without it the key is deleted. */
  readonly put?: { readonly value: Json; readonly text: string; readonly lease?: LeaseId };
}

export const defect = (message: string): GuardError => new GuardError("INTERNAL", message);

function copied(key: Key, value: Json): { readonly value: Json; readonly text: string } {
  try {
    const text = JSON.stringify(value);
    const copy: Json = JSON.parse(text);
    return { value: copy, text };
  } catch (cause) {
    throw new GuardError("INTERNAL", `the value for store key '${key}' is not JSON`, { fields: { key }, cause });
  }
}

/** Control characters and halves of surrogate pairs do not survive every store. */
const isKey = (key: Key): boolean => key !== "" && key.length <= 512 && !/[\p{Cc}\p{Cs}]/u.test(key);

/** @throws INTERNAL for what no caller should write */
export function admit({ expect, writes }: Transaction): Admitted {
  const drafts = writes.map((write): Draft => {
    const { key } = write;
    if (!isKey(key)) throw defect(`${JSON.stringify(key)} cannot be a key of the store`);
    if (write.op === "delete") return { key };
    return { key, put: { ...copied(key, write.value), ...(write.lease === undefined ? {} : { lease: write.lease }) } };
  });
  return { expect: expect.map((one) => ({ ...one })), writes: drafts };
}
