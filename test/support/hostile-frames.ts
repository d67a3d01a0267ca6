/** Frames that nobody thought of: lies and truths of the lab, cut, crossed and written over with what a guest would like to be. */

import type { AttackContext } from "../../src/lab/attack.ts";
import { attacks } from "../../src/lab/attacks.ts";

export type Random = (below: number) => number;

/** mulberry32: the same seed gives the same frames. */
export function seededFrom(seed: number): Random {
  let state = seed >>> 0;
  return (below) => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) % below;
  };
}

/** Every lie and every control, from the point of view of each context. */
export function seedFrames(contexts: readonly AttackContext[]): readonly Uint8Array[] {
  const controls = [...new Set(attacks.map(({ control }) => control))];
  return contexts.flatMap((context) => [...attacks, ...controls].flatMap(({ build }) => build(context)));
}

const MOST = 600;
const MAC = 6;
/** Where headers and their fields begin: behind Ethernet, IPv4, IPv6, and the fields that the guard looks at. */
const PLACES = [
  0, 6, 12, 14, 16, 20, 21, 22, 23, 26, 28, 30, 32, 34, 36, 38, 40, 41, 42, 44, 47, 54, 55, 56, 58, 60, 62, 70, 78, 80,
  82,
];
const SMALL = [
  0, 1, 2, 3, 4, 5, 6, 8, 16, 17, 24, 41, 43, 44, 47, 50, 51, 58, 59, 60, 64, 67, 68, 112, 128, 133, 134, 135, 136, 137,
  143, 254, 255,
];
const WORDS = [
  0x0800, 0x0806, 0x86dd, 0x8100, 0x88a8, 0x0001, 0x0604, 0x4500, 0x4600, 0x6000, 0x3a00, 0x0101, 0x0201, 0x0e01, 67,
  68, 546, 547, 53, 4789, 0x2000, 0x4000, 0x0008, 0x0010,
];

export function mutator(seeds: readonly Uint8Array[], words: readonly Uint8Array[], random: Random): () => Uint8Array {
  const pick = <T>(list: readonly [T, ...T[]] | readonly T[]): T => {
    const chosen = list[random(list.length)];
    if (chosen === undefined) throw new TypeError("nothing to pick from");
    return chosen;
  };
  const write = (frame: Uint8Array, at: number, part: Uint8Array): void => {
    if (at < frame.length) frame.set(part.subarray(0, frame.length - at), at);
  };
  const steps: readonly ((frame: Uint8Array) => Uint8Array)[] = [
    (frame) => {
      write(frame, random(Math.min(frame.length, 100)), Uint8Array.of(random(256)));
      return frame;
    },
    (frame) => {
      write(frame, pick(PLACES), Uint8Array.of(pick(SMALL)));
      return frame;
    },
    (frame) => {
      const word = pick(WORDS);
      write(frame, pick(PLACES), Uint8Array.of(word >> 8, word & 255));
      return frame;
    },
    (frame) => {
      write(frame, pick(PLACES), pick(words));
      return frame;
    },
    (frame) => frame.slice(0, Math.max(2 * MAC + 2, frame.length - random(60))),
    (frame) => Uint8Array.of(...frame, ...Array.from({ length: random(40) }, () => random(256))),
    (frame) => {
      const other = pick(seeds);
      const at = pick([14, 34, 54, 62]);
      return Uint8Array.of(...frame.subarray(0, at), ...other.subarray(at));
    },
    // An extension header or an option put in: everything behind moves.
    (frame) => {
      const at = pick([34, 54, 62, 78]);
      const header = pick([
        Uint8Array.of(58, 0, 1, 4, 0, 0, 0, 0),
        Uint8Array.of(60, 0, 1, 4, 0, 0, 0, 0),
        Uint8Array.of(44, 0, 5, 2, 0, 0, 1, 0),
        Uint8Array.of(pick(SMALL), pick([0, 0, 0, 1, 9]), 0, pick([0, 1, 8, 24, 25]), 0, 0, 0, 1),
      ]);
      return Uint8Array.of(...frame.subarray(0, at), ...header, ...frame.subarray(at));
    },
    // Lengths that are true again, so that what is behind them is judged.
    (frame) => {
      const length = frame.length;
      write(frame, 16, Uint8Array.of((length - 14) >> 8, (length - 14) & 255));
      return frame;
    },
    (frame) => {
      const length = Math.max(0, frame.length - 54);
      write(frame, 18, Uint8Array.of(length >> 8, length & 255));
      return frame;
    },
  ];
  return () => {
    let frame: Uint8Array = pick(seeds).slice();
    for (let n = random(5); n > 0; n -= 1) frame = pick(steps)(frame);
    return frame.slice(0, MOST);
  };
}

/** A tag that is cut off never reaches a hook: the kernel drops it before (skb_vlan_untag). */
export function isHearable(frame: Uint8Array): boolean {
  const type = (frame[12] ?? 0) * 256 + (frame[13] ?? 0);
  return frame.length >= 14 && ((type !== 0x8100 && type !== 0x88a8) || frame.length >= 20);
}

/** The shortest way back to the seed that still shows the difference: octets are put back and the end is cut as long as it does. */
export async function shrink(frame: Uint8Array, differs: (frame: Uint8Array) => Promise<boolean>): Promise<Uint8Array> {
  let best = frame;
  const tryOut = async (candidate: Uint8Array): Promise<void> => {
    if (isHearable(candidate) && (await differs(candidate))) best = candidate;
  };
  for (let cut = best.length >> 1; cut >= 1; cut >>= 1) {
    for (let before = 0; before !== best.length; ) {
      before = best.length;
      await tryOut(best.slice(0, -cut));
    }
  }
  for (let at = best.length - 1; at >= 0; at -= 1) {
    if (best[at] === 0) continue;
    const candidate = best.slice();
    candidate[at] = 0;
    await tryOut(candidate);
  }
  return best;
}
