/** What a person reads and what a program reads, from the same values. */
import { GuardError } from "../model/errors.ts";
import type { Input, Io } from "./command.ts";

export type Format = "table" | "json" | "yaml";

/** @throws USAGE */
export function formatOf(input: Input): Format {
  const text = input.option("output") ?? "table";
  if (text === "table" || text === "json" || text === "yaml") return text;
  throw new GuardError("USAGE", `'${text}' is not an output format: table, json or yaml`);
}

/** Names and frames can hold what a guest wrote: nothing in it may move the cursor or change colours. */
export function clean(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, (char) => `\\u{${(char.codePointAt(0) ?? 0).toString(16)}}`);
}

export interface Column<T> {
  readonly title: string;
  readonly right?: true;
  text(row: T): string;
}

/** Aligned columns, never wrapped; `nothing` when there is no row. */
export function table<T>(rows: readonly T[], columns: readonly Column<T>[], nothing: string): string {
  if (rows.length === 0) return `${nothing}\n`;
  const cells = rows.map((row) => columns.map((column) => clean(column.text(row))));
  const widths = columns.map(({ title }, i) => Math.max(title.length, ...cells.map((line) => line[i]?.length ?? 0)));
  const line = (texts: readonly string[]): string =>
    texts
      .map((text, i) => (columns[i]?.right === true ? text.padStart(widths[i] ?? 0) : text.padEnd(widths[i] ?? 0)))
      .join("  ")
      .trimEnd();
  return `${[columns.map(({ title }) => title), ...cells].map(line).join("\n")}\n`;
}

/** Values as JSON or YAML, or as `people` would like them. */
export async function show(io: Io, format: Format, value: unknown, people: () => string): Promise<void> {
  if (format === "json") io.out(`${JSON.stringify(value, undefined, 2)}\n`);
  else if (format === "yaml") io.out((await import("yaml")).stringify(value));
  else io.out(people());
}

const UNITS = [
  [86_400, "d"],
  [3600, "h"],
  [60, "m"],
  [1, "s"],
] as const;

/** `3h`, `12s`: how long, in its largest unit. @param milliseconds negative is taken as its size */
export function span(milliseconds: number): string {
  const seconds = Math.abs(milliseconds) / 1000;
  for (const [size, unit] of UNITS) if (seconds >= size) return `${Math.floor(seconds / size)}${unit}`;
  return "0s";
}

/** YAML-like lines of a value, for `describe`. */
export function sections(value: unknown, indent = ""): string {
  if (typeof value !== "object" || value === null) return `${indent}${clean(String(value))}\n`;
  return Object.entries(value)
    .filter(([, inner]) => inner !== undefined)
    .map(([key, inner]) => section(key, inner, indent))
    .join("");
}

/** Words stand in one line; sentences, which have commas of their own, each in theirs. */
function isSentences(value: unknown): value is readonly unknown[] {
  return Array.isArray(value) && value.some((item) => typeof item === "string" && /[,:] /.test(item));
}

function section(key: string, value: unknown, indent: string): string {
  if (isSentences(value) && value.every((item) => typeof item === "string"))
    return `${indent}${key}:\n${value.map((item) => `${indent}  ${clean(String(item))}\n`).join("")}`;
  if (Array.isArray(value) && value.every((item) => typeof item !== "object" || item === null))
    return `${indent}${key}: ${clean(value.join(", ")) || "none"}\n`;
  if (Array.isArray(value))
    return `${indent}${key}:\n${value.map((item) => `${indent}  -\n${sections(item, `${indent}    `)}`).join("")}`;
  if (typeof value === "object" && value !== null) return `${indent}${key}:\n${sections(value, `${indent}  `)}`;
  return `${indent}${key}: ${value === null ? "none" : clean(String(value))}\n`;
}
