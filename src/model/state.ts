/** The whole state of a site as lines of JSON: a head, one line an entry, and an end by which a file that is cut short is known. */

export interface StateHead {
  readonly vifguard: "state";
  /** Of the values: the store's. */
  readonly format: number;
  /** Of the program that wrote it. */
  readonly version: string;
  readonly host: string;
  /** Of the store, all entries at this one. */
  readonly revision: number;
  /** RFC 3339. */
  readonly at: string;
}

export interface StateEntry {
  readonly key: string;
  readonly value: unknown;
}

export interface StateEnd {
  readonly entries: number;
  /** Of all lines before this one, each with its line feed. */
  readonly sha256: string;
}

export type StateLine = StateHead | StateEntry | StateEnd;

/** What an import did, or would do. */
export interface ImportView {
  /** By kind of record. */
  readonly counts: Readonly<Record<string, { readonly put: number; readonly deleted: number }>>;
  /** Networks, groups and guests that change, in sentences. */
  readonly sentences: readonly string[];
  readonly entries: number;
  readonly dryRun: boolean;
}
