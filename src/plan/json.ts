/** Values as the store keeps them, and what is different between two of them in an operator's words. */
import type { Json } from "../store/store.ts";

type JsonObject = { readonly [key: string]: Json };

const isList = (value: Json | undefined): value is readonly Json[] => Array.isArray(value);
const isObject = (value: Json | undefined): value is JsonObject =>
  typeof value === "object" && value !== null && !isList(value);
const isWord = (value: Json): boolean => !isList(value) && !isObject(value);

/** Plain data as JSON; fields that are undefined are left out, as JSON text would. */
export function toJson(value: unknown): Json {
  if (value === null || typeof value === "boolean" || typeof value === "number" || typeof value === "string")
    return value;
  if (Array.isArray(value)) return value.map(toJson);
  if (typeof value !== "object") throw new TypeError(`no JSON: ${typeof value}`);
  const object: Record<string, Json> = {};
  for (const [key, field] of Object.entries(value)) if (field !== undefined) object[key] = toJson(field);
  return object;
}

/** Equal but for the order of fields. */
export function sameJson(a: Json | undefined, b: Json | undefined): boolean {
  if (isList(a)) return isList(b) && a.length === b.length && a.every((item, n) => sameJson(item, b[n]));
  if (!isObject(a)) return a === b;
  if (!isObject(b)) return false;
  const keys = Object.keys(a);
  return (
    keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && sameJson(a[key], b[key]))
  );
}

export interface Difference {
  /** Such as `addressing.leaseSeconds`. */
  readonly path: string;
  /** Such as "change addressing.leaseSeconds from 3600 to 600". */
  readonly text: string;
}

const textOf = (value: Json): string => (typeof value === "string" ? value : JSON.stringify(value));

function wordListDifferences(before: readonly Json[], after: readonly Json[], path: string): readonly Difference[] {
  const gone = before.filter((item) => !after.includes(item));
  const added = after.filter((item) => !before.includes(item));
  if (gone.length + added.length === 0)
    return sameJson(before, after) ? [] : [{ path, text: `reorder ${path} to ${after.map(textOf).join(", ")}` }];
  return [
    ...gone.map((item) => ({ path, text: `remove ${path} ${textOf(item)}` })),
    ...added.map((item) => ({ path, text: `add ${path} ${textOf(item)}` })),
  ];
}

function wordDifferences(before: Json | undefined, after: Json | undefined, path: string): readonly Difference[] {
  if (sameJson(before, after)) return [];
  if (before === undefined) return [{ path, text: `set ${path} to ${textOf(after ?? null)}` }];
  if (after === undefined) return [{ path, text: `remove ${path} (${textOf(before)})` }];
  return [{ path, text: `change ${path} from ${textOf(before)} to ${textOf(after)}` }];
}

export function differences(before: Json | undefined, after: Json | undefined, path = ""): readonly Difference[] {
  if (isObject(before) && isObject(after)) {
    const keys = new Set([...Object.keys(before), ...Object.keys(after)]);
    return [...keys].flatMap((key) => differences(before[key], after[key], path === "" ? key : `${path}.${key}`));
  }
  if (!isList(before) || !isList(after)) return wordDifferences(before, after, path);
  if (before.every(isWord) && after.every(isWord)) return wordListDifferences(before, after, path);
  const longer = before.length > after.length ? before : after;
  return longer.flatMap((_, n) => differences(before[n], after[n], `${path}[${n}]`));
}
