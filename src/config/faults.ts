/** What is wrong with operator input, told in one form: where, in which object, which field, in plain words. */
import { GuardError } from "../model/errors.ts";
import type { Kind } from "../model/resources.ts";

export interface Position {
  /** The file as the operator named it. */
  readonly path: string;
  readonly line: number;
  readonly column: number;
}

export type FieldPath = readonly (string | number)[];

export interface Fault {
  readonly at?: Position | undefined;
  /** Such as "network lan0", or "document 3" while it has no name. */
  readonly object?: string;
  /** Empty for the object as a whole. */
  readonly field: FieldPath;
  readonly says: string;
}

/** Where a field of an object stands; undefined when nobody read it from a file. */
export type Locate = (object: { readonly kind: Kind; readonly name: string }, field: FieldPath) => Position | undefined;

/** More lines than anybody reads; the rest is counted. */
const SHOWN_FAULTS = 200;
const SHOWN_CHARACTERS = 60;
const PLAIN_FIELD = /^[A-Za-z0-9_-]{1,40}$/;

/** Everything that is not printable ASCII is escaped, so that foreign text can change neither terminal nor log. */
export function printable(text: string): string {
  return text.replace(/[^\x20-\x7e]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Foreign text, quoted. */
export function show(text: string): string {
  const quoted = printable(JSON.stringify(text.slice(0, SHOWN_CHARACTERS)));
  return text.length > SHOWN_CHARACTERS ? `${quoted}… (${text.length} characters)` : quoted;
}

/** Such as `spec.nics[0].network`. */
export function fieldText(field: FieldPath): string {
  let text = "";
  for (const step of field) {
    if (typeof step === "number") text += `[${step}]`;
    else text += (text === "" ? "" : ".") + (PLAIN_FIELD.test(step) ? step : show(step));
  }
  return text;
}

export function placeText({ path, line, column }: Position): string {
  return `${printable(path)}:${line}:${column}`;
}

function faultText({ at, object, field, says }: Fault): string {
  const where = at === undefined ? "" : `${placeText(at)}: `;
  const what = object === undefined ? "" : `${object}: `;
  return where + what + (field.length === 0 ? says : `${fieldText(field)}: ${says}`);
}

function inFileOrder(a: Fault, b: Fault): number {
  if (a.at === undefined || b.at === undefined) return 0;
  return a.at.line - b.at.line || a.at.column - b.at.column;
}

/** One error for all faults; its fields name the place of the first. `faults` must not be empty. */
export function siteInvalid(faults: readonly Fault[]): GuardError {
  const sorted = [...faults].sort(inFileOrder);
  const at = sorted[0]?.at;
  const fields = { faults: sorted.length, ...(at === undefined ? {} : { ...at }) };
  const lines = sorted.slice(0, SHOWN_FAULTS).map(faultText);
  if (sorted.length === 1) return new GuardError("SITE_INVALID", lines.join(""), { fields });
  const file = at === undefined ? "the site" : printable(at.path);
  const rest = sorted.length > SHOWN_FAULTS ? [`and ${sorted.length - SHOWN_FAULTS} more`] : [];
  const text = [`${file} has ${sorted.length} faults:`, ...lines, ...rest].join("\n  ");
  return new GuardError("SITE_INVALID", text, { fields });
}
