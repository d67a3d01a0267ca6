/**
 * What a store may hold that this version does not know: while agents are upgraded one by one, a newer one writes beside an older one. A kind of record that is unknown is left alone.
 * A record of a known kind that cannot be read counts as absent, which shuts and never opens, where the store says that a newer version may write (`level/store`); else it is damaged.
 */
import { GuardError } from "../model/errors.ts";
import { kindOf } from "../model/keys.ts";
import { decodeRecord, isRecordKind, type StoreRecord } from "./collections.ts";
import { isFields } from "./shape.ts";
import type { Json, Key } from "./store.ts";

/** What this version may write that agents of format 4 with a lower level cannot read. Raised by whoever adds such a thing; written to the store only when every agent knows it. */
const storeLevel = 1;

export const LEVEL = "level/store";

export interface Unread {
  readonly kind: "unread";
  readonly why: string;
  /** Of a kind that this version knows: what is planned without it may be wrong. */
  readonly isMissed: boolean;
}
/** Not of the site: how the store itself stands. */
export interface Aside {
  readonly kind: "aside";
}

const ASIDE: Aside = { kind: "aside" };

/** @throws STORE_CORRUPT */
export function levelOf(value: Json | undefined): number {
  if (value === undefined) return storeLevel;
  const level = isFields(value) ? value["level"] : undefined;
  if (typeof level === "number" && Number.isSafeInteger(level) && level > 0) return level;
  throw new GuardError("STORE_CORRUPT", `store entry '${LEVEL}': .level is not a number it can be`, {
    fields: { key: LEVEL },
  });
}

export const isNewer = (level: number): boolean => level > storeLevel;

/** @throws STORE_CORRUPT naming the key and the field */
export function readRecord(key: Key, value: Json, level: number): StoreRecord | Unread | Aside {
  const kind = kindOf(key);
  if (kind === "restore" || kind === "level") return ASIDE;
  if (!isRecordKind(kind)) return { kind: "unread", why: "of no kind this version knows", isMissed: false };
  try {
    return decodeRecord(key, value);
  } catch (cause) {
    if (!isNewer(level) || !(cause instanceof GuardError)) throw cause;
    return { kind: "unread", why: cause.message, isMissed: true };
  }
}
