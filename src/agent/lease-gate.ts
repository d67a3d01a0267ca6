/**
 * Which ports have a lease, told to the kernel with its end: there it lapses by itself, so that a port whose lease is over is shut whether or not an agent is there
 * to see it.
 */
import type { Element, Nft, NftChange } from "../kernel/nft.ts";
import type { Clock } from "../model/clock.ts";
import { hostU32, hostU32At } from "../ruleset/element-bytes.ts";

const leaseSets = { ip4: "leased4", ip6: "leased6" } as const;

/** By interface index: when the lease is over, in milliseconds since the Unix epoch. */
export type LeaseEnds = Readonly<Record<keyof typeof leaseSets, ReadonlyMap<number, number>>>;

interface LeaseGate {
  /** From what the kernel holds to these. @throws NFT_REFUSED */
  sync(ends: LeaseEnds): void;
}

/** Ten years: beyond it a lease is as good as for ever. */
const LONGEST = 10 * 365 * 86_400_000;

export function createLeaseGate(nft: Nft, table: string, clock: Clock): LeaseGate {
  /** What was last written: the kernel is not asked when an element lapses. */
  const written = { ip4: new Map<number, number>(), ip6: new Map<number, number>() };

  function changes(family: keyof typeof leaseSets, ends: ReadonlyMap<number, number>): readonly NftChange[] {
    const set = { family: "netdev", table, set: leaseSets[family] } as const;
    const held = new Set((nft.elements(set) ?? []).map(({ key }) => hostU32At(key, 0)));
    const known = written[family];
    const now = clock.now();
    const fresh = [...ends].filter(([ifindex, end]) => end > now && !(held.has(ifindex) && known.get(ifindex) === end));
    const gone = [...held].filter((ifindex) => (ends.get(ifindex) ?? 0) <= now);
    const add = fresh.map(
      ([ifindex, end]): Element => ({ key: hostU32(ifindex), lapsesAfter: Math.min(end - now, LONGEST) }),
    );
    const remove = [...gone, ...fresh.map(([ifindex]) => ifindex)].map(
      (ifindex): Element => ({ key: hostU32(ifindex) }),
    );
    if (remove.length === 0) return [];
    // What is there may keep its time, so it must go first; and what may lapse in this moment is first put there, so that its deletion cannot fail.
    return [
      { op: "add-elements", set, elements: remove.map((element) => ({ ...element, lapsesAfter: 1000 })) },
      { op: "delete-elements", set, elements: remove },
      ...(add.length === 0 ? [] : [{ op: "add-elements", set, elements: add } as const]),
    ];
  }

  return {
    sync: (ends) => {
      if (ends.ip4.size + ends.ip6.size + written.ip4.size + written.ip6.size === 0) return;
      const all = [...changes("ip4", ends.ip4), ...changes("ip6", ends.ip6)];
      if (all.length > 0) nft.commit(all);
      for (const family of ["ip4", "ip6"] as const) {
        written[family].clear();
        for (const [ifindex, end] of ends[family]) written[family].set(ifindex, end);
      }
    },
  };
}
