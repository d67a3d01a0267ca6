/** What the rules had learned when they were last read: whose MAC a guest still speaks to, though nobody asks any more. */
import type { Element, Nft } from "../kernel/nft.ts";
import { bareElement } from "../plan/host.ts";
import type { Skeleton } from "../ruleset/skeleton.ts";
import { quietly } from "./quietly.ts";

export interface Learned {
  /** Remembers what our own tables know. */
  keep(): void;
  /** Into fresh tables, so that neither another program's flush nor, with the name of an older version's table, an upgrade cuts a guest off from its gateway. */
  teachAgain(from?: string): void;
}

export function createLearned(nft: Nft, { table, tables }: Skeleton): Learned {
  const sets = tables.flatMap(({ family, sets: own }) =>
    own.filter(({ use }) => use === "learned" || use === "notes").map(({ name }) => ({ family, set: name })),
  );
  let kept: ReadonlyMap<string, readonly Element[]> = new Map();

  const read = (from: string): ReadonlyMap<string, readonly Element[]> =>
    new Map(sets.map((ref) => [ref.set, (nft.elements({ ...ref, table: from }) ?? []).map(bareElement)]));

  return {
    keep: () => {
      kept = read(table);
    },
    teachAgain: (from) => {
      const known = from === undefined ? kept : read(from);
      for (const ref of sets) {
        const elements = known.get(ref.set) ?? [];
        // An older version may have kept other keys under the name: then it is learned anew.
        if (elements.length > 0) quietly(() => nft.commit([{ op: "add-elements", set: { ...ref, table }, elements }]));
      }
    },
  };
}
