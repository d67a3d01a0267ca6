/** What rules wrote down about a port: counters, token buckets, neighbours. A port that is gone leaves none of it. */
import type { Nft, SetRef } from "../kernel/nft.ts";
import type { SetSpec } from "../ruleset/ast.ts";
import { hostU32At } from "../ruleset/element-bytes.ts";
import { readTag } from "../ruleset/policy-elements.ts";
import type { Skeleton } from "../ruleset/skeleton.ts";
import { quietly } from "./quietly.ts";

interface Written {
  readonly set: SetRef;
  readonly ifindexOf: (key: Uint8Array) => number;
}

const WRITTEN: readonly SetSpec["use"][] = ["counted", "buckets", "learned", "briefly", "askers", "asked", "lapsing"];

/** Keys begin with the port's index, or with a mark that holds it below a tag. */
function writtenSets({ table, tables }: Skeleton): readonly Written[] {
  return tables.flatMap(({ family, sets }) =>
    sets.flatMap(({ name, key: [first], use }): Written[] => {
      if (!WRITTEN.includes(use)) return [];
      const set = { family, table, set: name };
      if (first === "iif" || first === "oif") return [{ set, ifindexOf: (key) => hostU32At(key, 0) }];
      const isTagged = first === "mark" && family !== "netdev";
      return isTagged ? [{ set, ifindexOf: (key) => readTag(hostU32At(key, 0)).ifindex }] : [];
    }),
  );
}

export function traceSweeper(nft: Nft, skeleton: Skeleton): (ifindex: number) => void {
  const written = writtenSets(skeleton);
  return (ifindex) => {
    for (const { set, ifindexOf } of written) {
      const elements = (nft.elements(set) ?? [])
        .filter(({ key }) => ifindexOf(key) === ifindex)
        .map(({ key }) => ({ key }));
      // A bucket may lapse by itself while it is being removed: each set on its own.
      if (elements.length > 0) quietly(() => nft.commit([{ op: "delete-elements", set, elements }]));
    }
  };
}
