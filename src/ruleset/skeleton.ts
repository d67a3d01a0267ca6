/** The whole constant ruleset of a host, and the name its tables carry. */
import type { PortPrefix } from "../model/names.ts";
import type { Table } from "./ast.ts";
import { birthTables } from "./birth.ts";
import { guardTable } from "./guard.ts";
import { renderTables } from "./render.ts";

export interface Skeleton {
  /** Same in every family. Ends in a digest of the rules, so that another version of them is another table. */
  readonly table: string;
  readonly tables: readonly Table[];
  /** Sets and chains; hooks nothing. */
  readonly body: string;
  /** Base chains that close unarmed ports. */
  readonly hooks: string;
}

/** Every table of ours, of any version, begins so; nothing else on a host may. */
export const tablePrefix = "vifguard_";

/** 32-bit FNV-1a; names a version of the rules, guards nothing. */
function digest(text: string): string {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193) >>> 0;
  return hash.toString(16).padStart(8, "0");
}

export function buildSkeleton(prefixes: readonly PortPrefix[]): Skeleton {
  const tables = [guardTable, ...birthTables([...prefixes].sort())];
  const draft = renderTables(tables, "draft");
  const table = tablePrefix + digest(draft.body + draft.hooks);
  return { table, tables, ...renderTables(tables, table) };
}
