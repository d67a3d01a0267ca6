/** The whole constant ruleset of a host, and the name its tables carry. */
import type { PortPrefix } from "../model/names.ts";
import type { Table } from "./ast.ts";
import { birthTables } from "./birth.ts";
import { unroutedChains, unroutedSets } from "./brouted-ways.ts";
import { guardTable } from "./guard.ts";
import { natChains, natSets } from "./nat.ts";
import { gateChains, policyChains } from "./policy.ts";
import { gateSets, type PolicyFamily, policySets } from "./policy-sets.ts";
import { renderTables } from "./render.ts";
import { wayChains, waySets } from "./ways.ts";

export interface Skeleton {
  /** Same in every family. Ends in a digest of the rules, so that another version of them is another table. */
  readonly table: string;
  readonly tables: readonly Table[];
  /** Where the service policy is judged. */
  readonly families: readonly PolicyFamily[];
  /** Whether addresses are translated. */
  readonly nat: boolean;
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

/** Chains that others lead to stand first. */
function withPolicy(table: Table, families: readonly PolicyFamily[], nat: boolean): Table {
  const { family, sets, chains } = table;
  const gate = family === "bridge" && families.length > 0;
  const ways = family === "inet";
  const translates = ways && nat;
  const judges = families.find((one) => one === family);
  return {
    family,
    sets: [
      ...sets,
      ...(judges === undefined ? [] : policySets(judges)),
      ...(gate ? gateSets : []),
      ...(family === "bridge" ? unroutedSets : []),
      ...(ways ? waySets : []),
      ...(translates ? natSets : []),
    ],
    chains: [
      ...(judges === undefined ? [] : policyChains(judges)),
      ...(gate ? gateChains : []),
      ...(family === "bridge" ? unroutedChains : []),
      ...(translates ? natChains : []),
      ...(ways ? wayChains(nat) : []),
      ...chains,
    ],
  };
}

/**
 * @param families where the service policy is judged; without any a NIC that needs it is refused
 * @param nat whether addresses can be translated; without it ports of such networks are refused
 */
export function buildSkeleton(
  prefixes: readonly PortPrefix[],
  families: readonly PolicyFamily[],
  nat: boolean = families.includes("inet"),
): Skeleton {
  const tables = [guardTable, ...birthTables([...prefixes].sort()).map((table) => withPolicy(table, families, nat))];
  const draft = renderTables(tables, "draft");
  const table = tablePrefix + digest(draft.body + draft.hooks);
  return { table, tables, families, nat, ...renderTables(tables, table) };
}
