/**
 * The mark of a restore: a store that holds another past than its readers remember says so under one key. While it says `under-way` nobody believes what is there;
 * `done` has everybody read again and make sure of the ports that they have.
 */
import { createHash } from "node:crypto";
import { fields, oneOf, type Shape, shape, whole } from "./shape.ts";
import type { Json } from "./store.ts";

export interface RestoreMark {
  readonly phase: "under-way" | "done";
  /** Another one for each restore; the same for one that is taken up again. */
  readonly id: string;
  /** Where guests are attached stays as it was in the store. */
  readonly keepsPlaces: boolean;
  /** In words: the file, or the snapshot. */
  readonly of: string;
  /** Milliseconds since 1970. */
  readonly at: number;
}

const anyText: Shape<string> = shape("text", (value) => typeof value === "string");
const yesOrNo: Shape<boolean> = shape("true or false", (value) => typeof value === "boolean");
const markShape = fields<RestoreMark>({
  phase: oneOf("under-way", "done"),
  id: anyText,
  keepsPlaces: yesOrNo,
  of: anyText,
  at: whole(0),
});

const isMark = (value: unknown): value is RestoreMark => markShape.fault(value) === undefined;

/** What cannot be read is a restore of a newer version, and one that is not over. */
export function markOf(value: Json | undefined): RestoreMark | undefined {
  if (value === undefined || isMark(value)) return value;
  const id = createHash("sha256").update(JSON.stringify(value)).digest("hex");
  return { phase: "under-way", id, keepsPlaces: true, of: "something of a newer version", at: 0 };
}
