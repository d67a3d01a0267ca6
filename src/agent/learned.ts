/** What the rules had learned when they were last read: whose MAC a guest still speaks to, though nobody asks any more. */
import type { Element, Nft } from "../kernel/nft.ts";
import { sameBytes } from "../model/bytes.ts";
import { parseHex, toHex } from "../packet/hex.ts";
import { bareElement } from "../plan/host.ts";
import { hostU32 } from "../ruleset/element-bytes.ts";
import type { PortBinding } from "../ruleset/elements.ts";
import type { Skeleton } from "../ruleset/skeleton.ts";
import { quietly } from "./quietly.ts";

export interface Learned {
  /** Remembers what our own tables know. */
  keep(): void;
  /** Into fresh tables, so that neither another program's flush nor, with the name of an older version's table, an upgrade cuts a guest off from its gateway. */
  teachAgain(from?: string): void;
  /** Of one port, in words that mean the same on another host: `set/hex`. */
  of(port: LearnedPort): readonly string[];
  /** Takes up what another host's rules had learned of the same guest. */
  teach(port: LearnedPort, known: readonly string[]): void;
}

/** Keys begin with the port's index, or with the number of its network where it is learned for all. */
type LearnedPort = Pick<PortBinding, "ifindex" | "network">;

/** Whom a guest may speak to because they answered it; a guest that moves does not ask them again. */
const CARRIED: readonly string[] = ["gateway_macs", "resolved4", "resolved6"];
const HEAD = 4;

function joinBytes(head: Uint8Array, tail: Uint8Array): Uint8Array {
  const joined = new Uint8Array(head.length + tail.length);
  joined.set(head);
  joined.set(tail, head.length);
  return joined;
}

export function createLearned(nft: Nft, { table, tables }: Skeleton): Learned {
  const sets = tables.flatMap(({ family, sets: own }) =>
    own.filter(({ use }) => use === "learned" || use === "notes").map(({ name }) => ({ family, set: name })),
  );
  let kept: ReadonlyMap<string, readonly Element[]> = new Map();

  const read = (from: string): ReadonlyMap<string, readonly Element[]> =>
    new Map(sets.map((ref) => [ref.set, (nft.elements({ ...ref, table: from }) ?? []).map(bareElement)]));

  const headOf = (set: string, { ifindex, network }: LearnedPort): Uint8Array =>
    hostU32(
      tables.flatMap((table) => table.sets).find(({ name }) => name === set)?.key[0] === "iif" ? ifindex : network,
    );
  const carried = sets.filter(({ family, set }) => family === "netdev" && CARRIED.includes(set));

  return {
    of: (port) =>
      carried.flatMap((ref) => {
        const head = headOf(ref.set, port);
        const own = (nft.elements({ ...ref, table }) ?? []).filter(({ key }) => sameBytes(key.subarray(0, HEAD), head));
        return own.map(({ key }) => `${ref.set}/${toHex(key.subarray(HEAD))}`);
      }),
    teach: (port, known) => {
      for (const ref of carried) {
        const tails = known.flatMap((text) =>
          text.startsWith(`${ref.set}/`) ? [parseHex(text.slice(ref.set.length + 1))] : [],
        );
        const elements = tails.flatMap((tail) =>
          tail === undefined ? [] : [{ key: joinBytes(headOf(ref.set, port), tail) }],
        );
        if (elements.length > 0) quietly(() => nft.commit([{ op: "add-elements", set: { ...ref, table }, elements }]));
      }
    },
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
