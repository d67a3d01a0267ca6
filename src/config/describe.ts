/** The schema as a table: for the reference page, and for telling which fields there are where one was mistyped. */
import { z } from "zod";
import { type Kind, kinds } from "../model/resources.ts";
import type { FieldPath } from "./faults.ts";
import { typeNames } from "./fields.ts";
import { documentSchemas } from "./schema.ts";

export interface FieldDescription {
  /** Such as `guest.spec.nics[].network`. */
  readonly path: string;
  readonly type: string;
  /** The value as JSON, "required", or "none". */
  readonly default: string;
  readonly text: string;
}

type Schema = z.core.$ZodType;

/** Layers that say how a value may be absent. */
const wraps = (schema: Schema): schema is z.ZodOptional | z.ZodExactOptional | z.ZodDefault | z.ZodPrefault =>
  schema instanceof z.ZodOptional ||
  schema instanceof z.ZodExactOptional ||
  schema instanceof z.ZodDefault ||
  schema instanceof z.ZodPrefault;

/** The schema of what is written, beneath defaults and what is made of it afterwards. */
function core(schema: Schema): Schema {
  if (wraps(schema)) return core(schema.def.innerType);
  if (schema instanceof z.ZodPipe) return core(schema.def.in);
  return schema;
}

function findIn<T>(schema: Schema, look: (schema: Schema) => T | undefined): T | undefined {
  const found = look(schema);
  if (found !== undefined) return found;
  if (wraps(schema)) return findIn(schema.def.innerType, look);
  return schema instanceof z.ZodPipe ? findIn(schema.def.in, look) : undefined;
}

function defaultText(schema: Schema): string {
  if (schema instanceof z.ZodDefault || schema instanceof z.ZodPrefault) return JSON.stringify(schema.def.defaultValue);
  return wraps(schema) ? "none" : "required";
}

function numberText(schema: z.ZodNumber): string {
  return `number ${schema.minValue ?? ""}-${schema.maxValue ?? ""}`;
}

function typeText(schema: Schema): string {
  const named = findIn(schema, (layer) => typeNames.get(layer)?.type);
  if (named !== undefined) return named;
  const inner = core(schema);
  if (inner instanceof z.ZodArray) return `list of ${typeText(inner.element)}`;
  if (inner instanceof z.ZodEnum) return inner.options.join(" | ");
  if (inner instanceof z.ZodLiteral) return [...inner.values].join(" | ");
  if (inner instanceof z.ZodNumber) return numberText(inner);
  if (inner instanceof z.ZodBoolean) return "true | false";
  return inner instanceof z.ZodObject ? "fields" : "text";
}

function* fieldsOf(schema: Schema, path: string): Iterable<FieldDescription> {
  const inner = core(schema);
  if (inner instanceof z.ZodArray) yield* fieldsOf(inner.element, `${path}[]`);
  if (inner instanceof z.ZodUnion) for (const option of inner.options) yield* fieldsOf(option, path);
  if (!(inner instanceof z.ZodObject)) return;
  const shape: Readonly<Record<string, Schema>> = inner.shape;
  for (const [name, field] of Object.entries(shape)) {
    const here = `${path}.${name}`;
    const text = findIn(field, (layer) => z.globalRegistry.get(layer)?.description) ?? "";
    yield { path: here, type: typeText(field), default: defaultText(field), text };
    yield* fieldsOf(field, here);
  }
}

const table: readonly FieldDescription[] = kinds.flatMap((kind) => [...fieldsOf(documentSchemas[kind], kind)]);
const byPath = new Map(table.map((field) => [field.path, field]));
const names = new Map<string, string[]>();
for (const { path } of table) {
  const dot = path.lastIndexOf(".");
  const siblings = names.get(path.slice(0, dot)) ?? [];
  names.set(path.slice(0, dot), [...siblings, path.slice(dot + 1)]);
}

/** Every field of every kind, in the order of the schema. */
export function describeConfig(): readonly FieldDescription[] {
  return table;
}

/** The path as the table writes it: `guest.spec.nics[].network`. */
export function templateOf(kind: Kind, field: FieldPath): string {
  return field.reduce<string>((text, step) => (typeof step === "number" ? `${text}[]` : `${text}.${step}`), kind);
}

export function fieldAt(template: string): FieldDescription | undefined {
  return byPath.get(template);
}

/** The fields that may stand at a place. */
export function fieldNames(template: string): readonly string[] {
  return names.get(template) ?? [];
}
