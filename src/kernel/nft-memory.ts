/** nf_tables in memory, as the real one behaves where the agent can tell: atomic, exact about what is missing, deaf to text. */
import { GuardError } from "../model/errors.ts";
import { unreachable } from "../model/never.ts";
import type { Element, Family, HeldElement, HeldPortChain, Nft, NftChange, SetRef } from "./nft.ts";

interface MemoryTable {
  readonly family: Family;
  readonly name: string;
  readonly sets: Map<string, Map<string, HeldElement>>;
  readonly chains: Map<string, HeldPortChain>;
  /** Plain chains made by text, for listings. */
  readonly plain: Set<string>;
}

export interface MemoryNft extends Nft {
  /** What another program would do; watchers are told. */
  meddle(
    action:
      | "flush"
      | { readonly dropElements: SetRef }
      | { readonly dropChain: { readonly table: string; readonly chain: string } },
  ): void;
  /** Chains of ports, and elements that do not lapse by themselves: a line each, in order. */
  dump(): readonly string[];
  /** Refuse the n-th commit from now on, once. */
  failNext(): void;
}

const keyText = (element: Element): string =>
  `${String.fromCharCode(...element.key)}|${String.fromCharCode(...(element.keyEnd ?? []))}`;
const refused = (text: string): GuardError => new GuardError("NFT_REFUSED", text);

/** Understands of nft text what our own skeleton needs: tables with their sets and chains, their removal, and the seal. */
function loadInto(tables: Map<string, MemoryTable>, text: string): void {
  for (const [, family, name] of text.matchAll(/^delete table (\S+) (\S+)$/gm)) {
    if (!tables.delete(`${family} ${name}`)) throw refused(`no table ${family} ${name}`);
  }
  for (const [, family = "", name = "", body = ""] of text.matchAll(/^table (\S+) (\S+) \{\n([\s\S]*?)^\}/gm)) {
    const known = tables.get(`${family} ${name}`) ?? newTable(familyOf(family), name);
    tables.set(`${family} ${name}`, known);
    for (const [, set = ""] of body.matchAll(/^\t(?:set|map) (\S+) \{/gm))
      known.sets.set(set, known.sets.get(set) ?? new Map());
    for (const [, chain = ""] of body.matchAll(/^\tchain (\S+) \{/gm)) known.plain.add(chain);
  }
  for (const [, family, name, chain = ""] of text.matchAll(/^add chain (\S+) (\S+) (\S+)$/gm))
    tables.get(`${family} ${name}`)?.plain.add(chain);
}

const octets = (bytes: Uint8Array = new Uint8Array()): string => bytes.join(".");

function dumpOf({ family, name, sets, chains }: MemoryTable): readonly string[] {
  const elements = [...sets].flatMap(([set, held]) =>
    [...held.values()]
      .filter((element) => !ends.has(element))
      .map(({ key, keyEnd, data }) => `${family} ${name} ${set} ${octets(key)} ${octets(keyEnd)} ${octets(data)}`),
  );
  return [...elements, ...[...chains.keys()].map((chain) => `${family} ${name} ${chain}`)];
}

const families = ["inet", "ip", "arp", "netdev", "bridge"] as const satisfies readonly Family[];

function familyOf(text: string): Family {
  const family = families.find((known) => known === text);
  if (family === undefined) throw refused(`no family ${text}`);
  return family;
}

function newTable(family: Family, name: string): MemoryTable {
  return { family, name, sets: new Map(), chains: new Map(), plain: new Set() };
}

/** Elements are shared until somebody writes there (`ownSet`): a site has a hundred thousand of them, and a transaction touches few sets. */
function copyOf(tables: ReadonlyMap<string, MemoryTable>): Map<string, MemoryTable> {
  const copy = new Map<string, MemoryTable>();
  for (const [key, table] of tables)
    copy.set(key, { ...table, sets: new Map(table.sets), chains: new Map(table.chains), plain: new Set(table.plain) });
  return copy;
}

function setIn(tables: ReadonlyMap<string, MemoryTable>, set: SetRef): Map<string, HeldElement> | undefined {
  const held = tables.get(`${set.family} ${set.table}`)?.sets.get(set.set);
  if (held !== undefined && timed.has(held)) for (const [key, element] of held) if (isOver(element)) held.delete(key);
  return held;
}

/** The set as this transaction may write it: copied when it is touched first. */
function ownSet({ tables, own }: Draft, set: SetRef): Map<string, HeldElement> | undefined {
  const held = setIn(tables, set);
  if (held === undefined || own.has(held)) return held;
  const copy = new Map(held);
  if (timed.has(held)) timed.add(copy);
  own.add(copy);
  tables.get(`${set.family} ${set.table}`)?.sets.set(set.set, copy);
  return copy;
}

/** What a transaction would leave. */
interface Draft {
  readonly tables: ReadonlyMap<string, MemoryTable>;
  /** Sets that nobody else sees yet. */
  readonly own: Set<ReadonlyMap<string, HeldElement>>;
}

/** When elements with a time of their own are forgotten. */
const ends = new WeakMap<HeldElement, number>();
/** Sets with such elements. */
const timed = new WeakSet<ReadonlyMap<string, HeldElement>>();

function heldFrom({ lapsesAfter, ...element }: Element): HeldElement {
  const held = { ...element, packets: 0n, bytes: 0n };
  if (lapsesAfter !== undefined) ends.set(held, performance.now() + lapsesAfter);
  return held;
}

const isOver = (held: HeldElement): boolean => (ends.get(held) ?? Number.POSITIVE_INFINITY) <= performance.now();

function addElements(draft: Draft, set: SetRef, elements: readonly Element[]): void {
  const held = ownSet(draft, set);
  if (held === undefined) throw refused(`ENOENT: no set ${set.set}`);
  if (elements.some(({ lapsesAfter }) => lapsesAfter !== undefined)) timed.add(held);
  for (const element of elements) {
    const before = held.get(keyText(element));
    if (before !== undefined && String(before.data) !== String(element.data)) throw refused(`EEXIST: ${set.set}`);
    // The kernel leaves what is there as it is, its limits too.
    if (before === undefined) held.set(keyText(element), heldFrom(element));
  }
}

function deleteElements(draft: Draft, set: SetRef, elements: readonly Element[]): void {
  const held = ownSet(draft, set);
  for (const element of elements)
    if (held?.delete(keyText(element)) !== true) throw refused(`ENOENT: element of ${set.set}`);
}

function apply(draft: Draft, change: NftChange): void {
  const { tables } = draft;
  switch (change.op) {
    case "add-elements":
      addElements(draft, change.set, change.elements);
      break;
    case "delete-elements":
      deleteElements(draft, change.set, change.elements);
      break;
    case "add-port-chain": {
      const { chain, hook, device, target, table } = change.chain;
      const home = tables.get(`netdev ${table}`);
      if (home === undefined || !home.plain.has(target)) throw refused(`ENOENT: ${target} in ${table}`);
      if (home.chains.has(chain)) throw refused(`EEXIST: ${chain}`);
      home.chains.set(chain, { chain, hook, devices: [device], policy: "drop", target });
      break;
    }
    case "delete-port-chain":
      if (tables.get(`netdev ${change.chain.table}`)?.chains.delete(change.chain.chain) !== true)
        throw refused(`ENOENT: ${change.chain.chain}`);
      break;
    default:
      unreachable(change);
  }
}

function listing(table: MemoryTable): string {
  const blocks = [...table.sets.keys()].map((name) => `\tset ${name} {\n\t}\n`);
  const chains = [...table.plain, ...table.chains.keys()].map((name) => `\tchain ${name} {\n\t}\n`);
  return `table ${table.family} ${table.name} {\n${[...blocks, ...chains].join("")}}\n`;
}

export function memoryNft(): MemoryNft {
  let tables = new Map<string, MemoryTable>();
  const watchers = new Set<() => void>();
  let failing = false;
  const own = (name: string): MemoryTable | undefined => tables.get(`netdev ${name}`);

  return {
    load: async (text) => {
      const copy = copyOf(tables);
      loadInto(copy, text);
      tables = copy;
    },
    listTable: async (family, name) => {
      const table = tables.get(`${family} ${name}`);
      return table === undefined ? undefined : listing(table);
    },
    commit: (changes) => {
      if (failing) {
        failing = false;
        throw refused("ENOMEM: asked for by the test");
      }
      const copy = copyOf(tables);
      const draft: Draft = { tables: copy, own: new Set() };
      for (const change of changes) apply(draft, change);
      tables = copy;
    },
    elements: (set) => {
      const held = setIn(tables, set);
      return held === undefined ? undefined : [...held.values()];
    },
    lookup: (set, keys) => keys.flatMap((key) => setIn(tables, set)?.get(keyText({ key })) ?? []),
    portChains: (table, prefix) => {
      const home = own(table);
      return home === undefined ? undefined : [...home.chains.values()].filter(({ chain }) => chain.startsWith(prefix));
    },
    portChain: (table, chain) => own(table)?.chains.get(chain),
    tables: (family) => [...tables.values()].filter((table) => table.family === family).map(({ name }) => name),
    watch: (changed) => {
      watchers.add(changed);
      return {
        close: () => {
          watchers.delete(changed);
        },
      };
    },
    meddle: (action) => {
      if (action === "flush") tables = new Map();
      else if ("dropElements" in action) setIn(tables, action.dropElements)?.clear();
      else own(action.dropChain.table)?.chains.delete(action.dropChain.chain);
      for (const changed of watchers) changed();
    },
    dump: () => [...tables.values()].flatMap(dumpOf).sort(),
    failNext: () => {
      failing = true;
    },
    close: () => watchers.clear(),
  };
}
