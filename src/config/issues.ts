/** What zod found, in the operator's words: the value that was written, what the field takes, the nearest known word. */
import type { z } from "zod";
import { nearest, suggestion } from "../model/nearest.ts";
import type { Kind } from "../model/resources.ts";
import { fieldAt, fieldNames, templateOf } from "./describe.ts";
import { type FieldPath, fieldText, show } from "./faults.ts";
import { laterFields, laterValues, misplacedFields } from "./schema.ts";

export interface FieldFault {
  readonly field: FieldPath;
  readonly says: string;
  /** The whole object around the field is of a later version: its other faults mean nothing. */
  readonly later?: true;
  /** The field's name is at fault, not its value. */
  readonly onKey?: true;
  /** The known field that was probably meant. */
  readonly meant?: string;
  readonly missing?: true;
}

type Issue = z.core.$ZodIssue;

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value);

function valueAt(value: unknown, field: FieldPath): unknown {
  let here = value;
  for (const step of field) {
    if (Array.isArray(here) && typeof step === "number") here = here[step];
    else if (isRecord(here) && Object.hasOwn(here, step)) here = here[step];
    else return undefined;
  }
  return here;
}

const plain = (path: readonly PropertyKey[]): FieldPath =>
  path.map((step) => (typeof step === "symbol" ? String(step) : step));

function writtenText(value: unknown): string {
  if (Array.isArray(value)) return "a list";
  if (typeof value === "string") return show(value);
  return isRecord(value) ? "a group of fields" : String(value);
}

const TYPE_WORDS: Readonly<Record<string, string>> = {
  string: "text",
  number: "a number",
  int: "a whole number",
  array: "a list",
  object: "a group of fields",
};

function wrongType(template: string, expected: string, value: unknown): string {
  const type = fieldAt(template)?.type;
  const takes = type === undefined || type === "fields" ? "" : ` (${type})`;
  if (value === undefined) return `is missing${takes}`;
  if (value === null) return `is empty: give it a value${takes} or leave the field out`;
  if (expected === "string" && (typeof value === "number" || typeof value === "boolean"))
    return `must be text: write "${value}" in quotes`;
  return `must be ${TYPE_WORDS[expected] ?? expected}${takes}, not ${writtenText(value)}`;
}

function typeFault(template: string, field: FieldPath, expected: string, value: unknown): FieldFault {
  const fault = { field, says: wrongType(template, expected, value) };
  return value === undefined ? { ...fault, missing: true } : fault;
}

function unknownField(template: string, field: FieldPath, name: string): FieldFault {
  const fault = { field: [...field, name], onKey: true } as const;
  const later = laterFields[`${template}.${name}`];
  if (later !== undefined) return { ...fault, says: `${later} is not in this version; leave the field out` };
  if (name === "status") return { ...fault, says: "is what vifguard tells, not what is declared; leave it out" };
  const known = fieldNames(template);
  const meant = misplacedFields[`${template}.${name}`] ?? nearest(name, known);
  if (meant === undefined) return { ...fault, says: `there is no such field (there are: ${known.join(", ")})` };
  return { ...fault, says: `there is no such field; did you mean '${meant}'?`, meant };
}

function wrongValue(values: readonly unknown[], value: unknown): FieldFault["says"] {
  const known = values.map(String);
  const near = typeof value === "string" ? suggestion(value, known) : "";
  return `${writtenText(value)} is not ${known.join(" or ")}${near}`;
}

function invalidValue(template: string, field: FieldPath, values: readonly unknown[], value: unknown): FieldFault {
  if (value === undefined || value === null) return typeFault(template, field, "text", value);
  const later = laterValues[template]?.find((word) => word === value);
  if (later === undefined) return { field, says: wrongValue(values, value) };
  return { field, says: `'${later}' is not in this version; there is: ${values.map(String).join(", ")}`, later: true };
}

function sizeText(issue: Issue & { code: "too_big" | "too_small" }, value: unknown): string {
  const [word, bound] =
    issue.code === "too_big" ? (["most", issue.maximum] as const) : (["least", issue.minimum] as const);
  if (issue.origin === "array") {
    const length = Array.isArray(value) ? value.length : 0;
    return `must have at ${word} ${bound} ${bound === 1 ? "entry" : "entries"}, not ${length}`;
  }
  return `must be at ${word} ${bound}, not ${writtenText(value)}`;
}

/** Of a union, the branch that the value was meant for: the one that did not fail at its very beginning. */
function unionFaults(kind: Kind, issue: Issue & { code: "invalid_union" }, document: unknown): readonly FieldFault[] {
  const field = plain(issue.path);
  const template = templateOf(kind, field);
  const meant = issue.errors.find((errors) =>
    errors.every(({ code, path }) => path.length > 0 || code === "unrecognized_keys"),
  );
  if (meant !== undefined)
    return meant.flatMap((inner) => issueFaults(kind, { ...inner, path: [...issue.path, ...inner.path] }, document));
  const value = valueAt(document, field);
  if (value === undefined || value === null) return [typeFault(template, field, "text", value)];
  const words = issue.errors
    .flat()
    .flatMap((inner) => (inner.code === "invalid_value" ? inner.values.map(String) : []));
  const near = typeof value === "string" ? suggestion(value, words) : "";
  return [{ field, says: `${writtenText(value)} is not ${fieldAt(template)?.type ?? "known here"}${near}` }];
}

/** @param document what was written, for telling missing from wrong */
export function issueFaults(kind: Kind, issue: Issue, document: unknown): readonly FieldFault[] {
  const field = plain(issue.path);
  const template = templateOf(kind, field);
  const value = valueAt(document, field);
  switch (issue.code) {
    case "unrecognized_keys":
      return issue.keys.map((key) => unknownField(template, field, key));
    case "invalid_type":
      return [typeFault(template, field, issue.expected, value)];
    case "invalid_value":
      return [invalidValue(template, field, issue.values, value)];
    case "too_big":
    case "too_small":
      return [{ field, says: sizeText(issue, value) }];
    case "invalid_union":
      return unionFaults(kind, issue, document);
    case "custom":
      return [{ field, says: issue.message, ...(issue.params?.["missing"] === true ? { missing: true } : {}) }];
    default:
      return [{ field, says: issue.message }];
  }
}

const startsWith = (field: FieldPath, head: FieldPath): boolean => head.every((step, n) => field[n] === step);

/**
 * One slip, one fault. Left out are the faults beside a `kind` of a later version, whose fields are not known here; the field that is
 * missing because it was mistyped; and what is said of the whole because one of its fields is unknown.
 */
export function tidy(faults: readonly FieldFault[]): readonly FieldFault[] {
  const later = faults.filter((fault) => fault.later).map(({ field }) => field.slice(0, -1));
  const meant = new Set(
    faults.flatMap(({ field, meant }) => (meant === undefined ? [] : fieldText([...field.slice(0, -1), meant]))),
  );
  const parents = new Set(faults.filter((fault) => fault.onKey).map(({ field }) => fieldText(field.slice(0, -1))));
  return faults.filter((fault) => {
    if (fault.later) return true;
    const text = fieldText(fault.field);
    if (fault.missing && meant.has(text)) return false;
    if (!fault.onKey && parents.has(text)) return false;
    return !later.some((parent) => startsWith(fault.field, parent));
  });
}
