/** Seam to nf_tables: a skeleton loaded as text, elements and port chains as one atomic batch, everything read back. */
import type { InterfaceName } from "../model/names.ts";

export type Family = "inet" | "ip" | "arp" | "netdev" | "bridge";

/** Which set or map, in which table. */
export interface SetRef {
  readonly family: Family;
  readonly table: string;
  readonly set: string;
}

/** One element: key bytes as the kernel holds them (each field padded to 4 bytes), data for maps. */
export interface Element {
  readonly key: Uint8Array;
  /** End of the range (NFTA_SET_ELEM_KEY_END), on concatenated sets with `flags interval` only. */
  readonly keyEnd?: Uint8Array;
  readonly data?: Uint8Array;
  /**
   * Forgotten after so many milliseconds, on sets declared with `flags timeout`. Not read back. Whether one that is there takes another time depends on the
   * kernel (6.13 and newer do): it is deleted first.
   */
  readonly lapsesAfter?: number;
  /** The element's own token bucket, on sets declared with `limit`. */
  readonly limit?: ElementLimit;
  /**
   * How many tracked connections may stand before the element matches (`ct count over`), on sets declared with it; never together with `limit`.
   * An element that is deleted and added anew begins to count at 0.
   */
  readonly connections?: number;
}

/** Tokens (frames or octets) that come in a second, and how many can be saved up. */
export interface ElementLimit {
  readonly unit: "packets" | "bytes";
  readonly perSecond: number;
  readonly burst: number;
}

/** An element read back, with the packet and byte counts of its counter if it has one. */
export interface HeldElement extends Element {
  readonly packets: bigint;
  readonly bytes: bigint;
}

/** A netdev base chain bound to one device, policy drop, whose only rule jumps to `target`. */
export interface PortChain {
  readonly family: "netdev";
  readonly table: string;
  readonly chain: string;
  readonly hook: "ingress" | "egress";
  readonly device: InterfaceName;
  readonly priority: number;
  readonly target: string;
}

export type NftChange =
  | { readonly op: "add-elements"; readonly set: SetRef; readonly elements: readonly Element[] }
  | { readonly op: "delete-elements"; readonly set: SetRef; readonly elements: readonly Element[] }
  | { readonly op: "add-port-chain"; readonly chain: PortChain }
  | { readonly op: "delete-port-chain"; readonly chain: Pick<PortChain, "family" | "table" | "chain"> };

/** A base chain as held: which device it hooks and where it jumps (undefined when its rules are not exactly one jump). */
export interface HeldPortChain {
  readonly chain: string;
  readonly hook: "ingress" | "egress";
  readonly devices: readonly string[];
  readonly policy: "accept" | "drop";
  readonly target: string | undefined;
}

export interface Nft {
  /** Loads ruleset text with `nft -f`, atomically. Throws NFT_REFUSED with nft's own words. Only constant text of ours comes here. */
  load(text: string): Promise<void>;
  /** `nft -s -t list table` of ours (no elements, no counters); undefined when the table does not exist. */
  listTable(family: Family, table: string): Promise<string | undefined>;
  /** One transaction. Throws NFT_REFUSED with the kernel's errno and words; then nothing of it has happened. */
  commit(changes: readonly NftChange[]): void;
  /** All elements of a set; undefined when the set (or its table) does not exist. */
  elements(set: SetRef): readonly HeldElement[] | undefined;
  /** Which of these keys the set holds now, with their data. */
  lookup(set: SetRef, keys: readonly Uint8Array[]): readonly HeldElement[];
  /** Base chains of a netdev table whose name starts with `prefix`; undefined when the table does not exist. */
  portChains(table: string, prefix: string): readonly HeldPortChain[] | undefined;
  /** One base chain, without reading the others; undefined when it does not exist. */
  portChain(table: string, chain: string): HeldPortChain | undefined;
  /** Names of the tables of a family. */
  tables(family: Family): readonly string[];
  /** Calls back (coalesced) after another program changed nf_tables, or when events were lost. Own commits do not call. */
  watch(changed: () => void): { close(): void };
  close(): void;
}
