/** The requests and answers of etcd's API v3 that the store uses (api/etcdserverpb/rpc.proto, api/mvccpb/kv.proto). */
import { decode, encode, type Fields, type Message } from "./protobuf.ts";
import type { Place } from "./store.ts";

export interface KeyValue {
  readonly key: string;
  readonly value: Uint8Array;
  readonly modRevision: number;
  /** 0: under none. */
  readonly lease: number;
}

/** The first key that no longer begins with the prefix; etcd's own way to say "all that begin so". */
function afterPrefix(prefix: string): Uint8Array {
  const bytes = new TextEncoder().encode(prefix);
  // No UTF-8 text has 0xff, so the last byte can always grow.
  const last = bytes.length - 1;
  bytes[last] = (bytes[last] ?? 0) + 1;
  return bytes;
}

/** @param data what every key begins with */
export function rangeOf(data: string, place: Place): { readonly key: string; readonly end: Uint8Array | undefined } {
  if (typeof place !== "string") return { key: data + place.key, end: undefined };
  return { key: data + place, end: afterPrefix(data + place) };
}

function keyValueOf(fields: Fields): KeyValue {
  return { key: fields.string(1), value: fields.bytes(5), modRevision: fields.number(3), lease: fields.number(6) };
}

const MOD = 2;

export const compareRevision = (key: string, modRevision: number): Message => [
  [2, MOD],
  [3, key],
  [6, modRevision],
];

export interface RangeWish {
  readonly key: string;
  /** Without it the key alone. */
  readonly end?: Uint8Array | undefined;
  /** 0: as it is now. */
  readonly revision?: number;
  readonly limit?: number;
  readonly keysOnly?: boolean;
}

export const range = ({ key, end, revision, limit, keysOnly }: RangeWish): Message => [
  [1, key],
  [2, end],
  [3, limit],
  [4, revision],
  [8, keysOnly === true ? 1 : undefined],
];

export interface RangeAnswer {
  readonly revision: number;
  readonly entries: readonly KeyValue[];
  readonly more: boolean;
}

export function rangeAnswer(fields: Fields): RangeAnswer {
  return {
    revision: fields.message(1).number(3),
    entries: fields.all(2).map((part) => keyValueOf(decode(part))),
    more: fields.number(3) === 1,
  };
}

export const putOp = (key: string, value: string, lease: number | undefined): Message => [
  [
    2,
    encode([
      [1, key],
      [2, value],
      [3, lease],
    ]),
  ],
];
export const deleteOp = (key: string): Message => [[3, encode([[1, key]])]];
export const rangeOp = (wish: RangeWish): Message => [[1, encode(range(wish))]];

export interface TxnWish {
  readonly compare: readonly Message[];
  readonly success: readonly Message[];
  readonly failure: readonly Message[];
}

export const txn = ({ compare, success, failure }: TxnWish): Message => [
  ...compare.map((one) => [1, encode(one)] as const),
  ...success.map((one) => [2, encode(one)] as const),
  ...failure.map((one) => [3, encode(one)] as const),
];

export interface TxnAnswer {
  readonly revision: number;
  readonly succeeded: boolean;
  /** Whether anything was put or deleted. */
  readonly hasEffect: boolean;
  /** What the ranges of the branch taken found, in their order. */
  readonly found: readonly RangeAnswer[];
}

export function txnAnswer(fields: Fields): TxnAnswer {
  const ops = fields.all(3).map(decode);
  const isPut = (op: Fields): boolean => op.all(2).length > 0;
  return {
    revision: fields.message(1).number(3),
    succeeded: fields.number(2) === 1,
    hasEffect: ops.some((op) => isPut(op) || op.message(3).number(2) > 0),
    found: ops.flatMap((op) => (op.all(1).length > 0 ? [rangeAnswer(op.message(1))] : [])),
  };
}

/** @param id of our own choice, which etcd takes from version 3.4 on */
export const watchFrom = (id: number, { key, end }: ReturnType<typeof rangeOf>, startRevision: number): Message => [
  [
    1,
    encode([
      [1, key],
      [2, end],
      [3, startRevision],
      [7, id],
    ]),
  ],
];
export const cancelWatch = (id: number): Message => [[2, encode([[1, id]])]];

export interface WatchAnswer {
  readonly id: number;
  readonly created: boolean;
  readonly canceled: boolean;
  /** Not 0: what was asked for is forgotten, and this is the oldest that is not. */
  readonly compactRevision: number;
  readonly why: string;
  readonly events: readonly { readonly entry: KeyValue; readonly deleted: boolean }[];
}

export function watchAnswer(fields: Fields): WatchAnswer {
  return {
    id: fields.number(2),
    created: fields.number(3) === 1,
    canceled: fields.number(4) === 1,
    compactRevision: fields.number(5),
    why: fields.string(6),
    events: fields.all(11).map((part) => {
      const event = decode(part);
      return { entry: keyValueOf(event.message(2)), deleted: event.number(1) === 1 };
    }),
  };
}

export const leaseGrant = (id: number, ttlSeconds: number): Message => [
  [1, ttlSeconds],
  [2, id],
];
export const leaseOf = (id: number): Message => [[1, id]];
/** Of an answer to keep-alive; 0 when the lease is gone. */
export const ttlOf = (fields: Fields): number => fields.number(3);

export const authenticate = (name: string, password: string): Message => [
  [1, name],
  [2, password],
];
export const tokenOf = (fields: Fields): string => fields.string(2);
