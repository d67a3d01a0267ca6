/** What can go wrong, to be drawn by chance: each begins, and says how it is mended. */
import type { FaultWorld } from "./fault-world.ts";

export interface Mishap {
  readonly name: string;
  begin(): Promise<() => Promise<void>>;
}

export interface Draw {
  /** From 0 to one less. */
  below(count: number): number;
  one<T>(of: readonly T[]): T;
  /** Different ones, in any order. */
  some<T>(of: readonly T[], count: number): readonly T[];
}

/** Mulberry32 (Tommy Ettinger, public domain): the same draws for the same seed. */
export function drawer(seed: number): Draw {
  let state = seed >>> 0;
  function next(): number {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }
  const below = (count: number): number => Math.floor(next() * count);
  function one<T>(of: readonly T[]): T {
    const drawn = of[below(of.length)];
    if (drawn === undefined) throw new TypeError("drawn from nothing");
    return drawn;
  }
  return {
    below,
    one,
    some: (of, count) => {
      const left = [...of];
      return Array.from({ length: Math.min(count, of.length) }, () => left.splice(below(left.length), 1)).flat();
    },
  };
}

const nothing = async (): Promise<void> => undefined;

function agentMishaps({ hosts, cuts, members }: FaultWorld, draw: Draw): readonly Mishap[] {
  const store = members.all.map(({ box }) => box);
  return [
    {
      name: "agent killed",
      begin: async () => {
        const host = draw.one(hosts);
        await host.kill();
        return () => host.start();
      },
    },
    {
      name: "agent suspended",
      begin: async () => {
        const host = draw.one(hosts);
        host.signal("SIGSTOP");
        return async () => host.signal("SIGCONT");
      },
    },
    {
      name: "host cut off",
      begin: async () => {
        await cuts.between([draw.one(hosts).box], store);
        return cuts.heal;
      },
    },
    {
      name: "host hears nothing",
      begin: async () => {
        await cuts.oneWay(store, [draw.one(hosts).box]);
        return cuts.heal;
      },
    },
  ];
}

function memberMishaps({ cuts, members }: FaultWorld, draw: Draw): readonly Mishap[] {
  return [
    {
      name: "member killed",
      begin: async () => {
        const member = draw.one(members.all);
        await member.kill();
        return member.start;
      },
    },
    {
      name: "member suspended",
      begin: async () => {
        const member = draw.one(members.all);
        member.signal("SIGSTOP");
        return async () => member.signal("SIGCONT");
      },
    },
    {
      name: "member cut off",
      begin: async () => {
        const member = draw.one(members.all);
        await cuts.between(
          [member.box],
          members.others(member).map(({ box }) => box),
        );
        return cuts.heal;
      },
    },
    { name: "slow disk", begin: () => draw.one(members.all).slowDisk(100 + draw.below(300)) },
    {
      name: "compaction",
      begin: async () => {
        const [, revision = ""] = /"revision":(\d+)/.exec(await members.ctl("get", "none", "-w", "json")) ?? [];
        await members.ctl("compaction", revision);
        return nothing;
      },
    },
  ];
}

export const mishaps = (world: FaultWorld, draw: Draw): readonly Mishap[] => [
  ...agentMishaps(world, draw),
  ...memberMishaps(world, draw),
];
