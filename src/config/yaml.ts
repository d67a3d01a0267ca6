/** YAML or JSON text to values that remember where they stood. Text that would cost more than its length is refused before it is composed. */
import {
  Composer,
  type CST,
  type Document,
  isAlias,
  isMap,
  isScalar,
  isSeq,
  LineCounter,
  type Node,
  Parser,
} from "yaml";
import { type Fault, type FieldPath, type Position, printable } from "./faults.ts";
import { limits } from "./schema.ts";

/** No object of ours has so many fields; the search for duplicate keys is quadratic in them. */
const MAP_FIELDS = 1024;

/** One object of a file as it was written. */
export interface Written {
  readonly value: unknown;
  /** Where a field stands; of a missing field, what it is missing from. */
  position(field: FieldPath): Position;
  /** Where the key of a field stands. */
  keyPosition(field: FieldPath): Position;
}

export interface ReadText {
  readonly objects: readonly Written[];
  readonly faults: readonly Fault[];
}

type ParsedDocument = Document.Parsed;
type At = (offset: number) => Position;

function children(token: CST.Token): readonly (CST.Token | null | undefined)[] {
  if (token.type === "document") return [token.value];
  if (token.type === "block-map" || token.type === "block-seq" || token.type === "flow-collection")
    return token.items.flatMap((item) => [item.key, item.value]);
  return [];
}

const isLargeMap = (token: CST.Token): boolean =>
  (token.type === "block-map" || (token.type === "flow-collection" && token.start.type === "flow-map-start")) &&
  token.items.length > MAP_FIELDS;

/**
 * Composing recurses: nesting of some ten thousand levels ends the whole process inside V8 (measured on Node 20.20: "RegExpCompiler
 * Allocation failed"), which no catch sees. The parser before it does not recurse, so its tokens are measured first.
 */
function tooMuch(document: CST.Token): { readonly offset: number; readonly says: string } | undefined {
  const pending: { readonly token: CST.Token; readonly depth: number }[] = [{ token: document, depth: 0 }];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    const { token, depth } = next;
    if (depth > limits.nesting) return { offset: token.offset, says: `more than ${limits.nesting} levels of nesting` };
    if (isLargeMap(token)) return { offset: token.offset, says: `more than ${MAP_FIELDS} fields in one place` };
    for (const child of children(token)) {
      if (child !== null && child !== undefined) pending.push({ token: child, depth: depth + 1 });
    }
  }
  return undefined;
}

interface Step {
  readonly key: unknown;
  readonly value: unknown;
}

function stepInto(node: unknown, document: ParsedDocument, step: string | number): Step | undefined {
  const here = isAlias(node) ? node.resolve(document) : node;
  if (isSeq(here) && typeof step === "number") return { key: here.items[step], value: here.items[step] };
  if (!isMap(here)) return undefined;
  const pair = here.items.find(({ key }) => isScalar(key) && String(key.value) === String(step));
  return pair === undefined ? undefined : { key: pair.key, value: pair.value };
}

const offsetOf = (node: unknown): number | undefined =>
  isScalar(node) || isMap(node) || isSeq(node) || isAlias(node) ? node.range?.[0] : undefined;

/** Offsets of the key and of the value of the deepest step of the path that exists. */
function offsets(document: ParsedDocument, root: Node | null, field: FieldPath): { key: number; value: number } {
  const start = offsetOf(root) ?? document.range[0];
  let found = { key: start, value: start };
  let node: unknown = root;
  for (const step of field) {
    const next = stepInto(node, document, step);
    if (next === undefined) break;
    const key = offsetOf(next.key) ?? found.value;
    found = { key, value: offsetOf(next.value) ?? key };
    node = next.value;
  }
  return found;
}

function written(document: ParsedDocument, node: Node | null, value: unknown, at: At): Written {
  return {
    value,
    position: (field) => at(offsets(document, node, field).value),
    keyPosition: (field) => at(offsets(document, node, field).key),
  };
}

/** A document is one object, or a list of them as JSON has it. */
function objectsOf(document: ParsedDocument, at: At): readonly Written[] {
  const root = document.contents;
  const value: unknown = document.toJS({ maxAliasCount: limits.aliases });
  if (!isSeq(root) || !Array.isArray(value)) return value === null ? [] : [written(document, root, value, at)];
  return value.map((item: unknown, n) => written(document, itemAt(root.items, n), item, at));
}

function itemAt(items: readonly unknown[], n: number): Node | null {
  const item = items[n];
  return isMap(item) || isSeq(item) || isScalar(item) || isAlias(item) ? item : null;
}

function composeFaults(document: ParsedDocument, at: At): readonly Fault[] {
  return [...document.errors, ...document.warnings].map(({ code, message, pos }) => ({
    at: at(pos[0]),
    field: [],
    says: code === "DUPLICATE_KEY" ? "the field is written twice" : `cannot be read: ${printable(message)}`,
  }));
}

function readDocument(document: ParsedDocument, at: At): ReadText {
  const faults = composeFaults(document, at);
  if (faults.length > 0) return { objects: [], faults };
  try {
    return { objects: objectsOf(document, at), faults };
  } catch (error) {
    // Aliases are resolved only now: unbounded ones throw here.
    const says = `cannot be read: ${printable(error instanceof Error ? error.message : String(error))}`;
    return { objects: [], faults: [{ at: at(document.range[0]), field: [], says }] };
  }
}

export function readYaml(text: string, path: string): ReadText {
  if (text.length > limits.fileCharacters) {
    const says = `the file has ${text.length} characters; at most ${limits.fileCharacters} are read`;
    return { objects: [], faults: [{ at: { path, line: 1, column: 1 }, field: [], says }] };
  }
  const lines = new LineCounter();
  const at: At = (offset) => {
    const { line, col } = lines.linePos(offset);
    return { path, line: Math.max(line, 1), column: Math.max(col, 1) };
  };
  const tokens = [...new Parser(lines.addNewLine).parse(text)];
  const [excess] = tokens.flatMap((token) => tooMuch(token) ?? []);
  if (excess !== undefined) return { objects: [], faults: [{ at: at(excess.offset), field: [], says: excess.says }] };
  const composer = new Composer({ uniqueKeys: true, strict: true, version: "1.2" });
  const read = [...composer.compose(tokens)].map((document) => readDocument(document, at));
  return { objects: read.flatMap(({ objects }) => objects), faults: read.flatMap(({ faults }) => faults) };
}
