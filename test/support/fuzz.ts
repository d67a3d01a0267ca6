/**
 * A coverage-guided fuzzer: inputs that make the code do something new are kept and changed further. What is new is asked of V8 itself (precise block
 * coverage, by node:inspector), in batches: one look costs a millisecond, and most batches bring nothing.
 */
import { Session } from "node:inspector";

function sure<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError("not there");
  return value;
}

/** Numbers from a seed, the same on every machine (xorshift, Marsaglia 2003). */
function createRandom(seed: number): (below: number) => number {
  let state = seed >>> 0 || 1;
  return (below) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    state >>>= 0;
    return state % below;
  };
}

type Random = (below: number) => number;

interface Coverage {
  /** Octets of source that ran since the last look and never before; they are known from now on, unless only asked about. */
  news(how: "learn" | "ask"): number;
  close(): void;
}

interface TakenCoverage {
  readonly result: readonly {
    readonly url: string;
    readonly functions: readonly { readonly ranges: readonly Range[] }[];
  }[];
}

interface Range {
  readonly startOffset: number;
  readonly endOffset: number;
  readonly count: number;
}

const isCoverage = (value: unknown): value is TakenCoverage =>
  typeof value === "object" && value !== null && "result" in value;

/** Which octets of a file ran: ranges are nested, the inner one being right. */
function paint(ranges: readonly Range[], size: number): Uint8Array {
  const ran = new Uint8Array(size);
  for (const { startOffset, endOffset, count } of ranges) ran.fill(count > 0 ? 1 : 0, startOffset, endOffset);
  return ran;
}

function watchCoverage(sources: RegExp): Coverage {
  const session = new Session();
  session.connect();
  const known = new Map<string, Uint8Array>();
  function take(): TakenCoverage {
    let taken: unknown;
    session.post("Profiler.takePreciseCoverage", (error, result) => {
      if (error !== null) throw error;
      taken = result;
    });
    if (!isCoverage(taken)) throw new TypeError("V8 answered something else");
    return taken;
  }
  session.post("Profiler.enable");
  session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  return {
    news: (how) => {
      let found = 0;
      for (const { url, functions } of take().result) {
        if (!sources.test(url)) continue;
        const ranges = functions.flatMap((one) => one.ranges);
        const size = Math.max(...ranges.map(({ endOffset }) => endOffset));
        const before = known.get(url) ?? new Uint8Array(0);
        const after = new Uint8Array(Math.max(size, before.length));
        after.set(before);
        paint(ranges, size).forEach((ran, at) => {
          if (ran === 0 || after[at] === 1) return;
          after[at] = 1;
          found += 1;
        });
        if (how === "learn") known.set(url, after);
      }
      return found;
    },
    close: () => {
      session.post("Profiler.stopPreciseCoverage");
      session.disconnect();
    },
  };
}

const TELLING = [0, 1, 2, 3, 6, 53, 55, 61, 63, 64, 0x7f, 0x80, 0xc0, 0xff];
const LONGEST = 1500;

function spliced(bytes: Uint8Array, at: number, removed: number, added: Uint8Array): Uint8Array {
  const whole = new Uint8Array(Math.max(0, bytes.length - removed) + added.length);
  whole.set(bytes.subarray(0, at));
  whole.set(added, at);
  whole.set(bytes.subarray(at + removed), at + added.length);
  return whole.subarray(0, LONGEST);
}

type Change = (bytes: Uint8Array, random: Random, other: Uint8Array) => Uint8Array;

const somewhere = (bytes: Uint8Array, random: Random): number => random(Math.max(1, bytes.length));

function withByte(bytes: Uint8Array, at: number, value: number): Uint8Array {
  const changed = bytes.slice();
  if (at < changed.length) changed[at] = value;
  return changed;
}

const changes: readonly Change[] = [
  (bytes, random) => {
    const at = somewhere(bytes, random);
    return withByte(bytes, at, (bytes[at] ?? 0) ^ (1 << random(8)));
  },
  (bytes, random) => withByte(bytes, somewhere(bytes, random), TELLING[random(TELLING.length)] ?? 0),
  (bytes, random) => withByte(bytes, somewhere(bytes, random), random(256)),
  (bytes, random) => bytes.slice(0, random(bytes.length + 1)),
  (bytes, random) => {
    const at = somewhere(bytes, random);
    return spliced(bytes, at, Math.min(random(16), bytes.length - at), new Uint8Array(0));
  },
  (bytes, random) => {
    const added = Uint8Array.from({ length: 1 + random(16) }, () => random(256));
    return spliced(bytes, somewhere(bytes, random), 0, added);
  },
  (bytes, random) => {
    const from = somewhere(bytes, random);
    const piece = bytes.slice(from, from + 1 + random(128));
    return spliced(bytes, somewhere(bytes, random), 0, piece);
  },
  (bytes, random, other) => {
    const from = somewhere(other, random);
    const at = somewhere(bytes, random);
    return spliced(bytes, at, bytes.length - at, other.slice(from));
  },
];

export interface FuzzTarget {
  readonly name: string;
  readonly seeds: readonly Uint8Array[];
  /** Throws when something is wrong. */
  run(bytes: Uint8Array): void;
}

export interface FuzzOptions {
  readonly seconds: number;
  readonly seed: number;
  /** Files whose coverage counts. */
  readonly sources: RegExp;
}

export interface FuzzResult {
  readonly inputs: number;
  /** Inputs that were news, the seeds among them. */
  readonly corpus: readonly Uint8Array[];
  /** Of the slowest inputs, each in the best of five runs. */
  readonly worstMicroseconds: number;
}

const BATCH = 256;
const SLOWEST = 16;
/** However slow the machine is. */
const LEAST = 1024;

interface Timed {
  readonly bytes: Uint8Array;
  readonly took: number;
}

function timed(target: FuzzTarget, bytes: Uint8Array): number {
  const start = performance.now();
  try {
    target.run(bytes);
  } catch (cause) {
    const hex = Buffer.from(bytes).toString("hex");
    throw new Error(`${target.name} fails on ${bytes.length} octets: ${hex}`, { cause });
  }
  return performance.now() - start;
}

const bestOf = (target: FuzzTarget, bytes: Uint8Array): number =>
  Math.min(...Array.from({ length: 5 }, () => timed(target, bytes)));

/** @throws Error with the input, when the target does */
export function fuzz(target: FuzzTarget, { seconds, seed, sources }: FuzzOptions): FuzzResult {
  const random = createRandom(seed);
  const coverage = watchCoverage(sources);
  const corpus: Uint8Array[] = [];
  let slowest: readonly Timed[] = [];
  let inputs = 0;

  function tryAll(batch: readonly Uint8Array[]): void {
    const times = batch.map((bytes): Timed => ({ bytes, took: timed(target, bytes) }));
    inputs += batch.length;
    slowest = [...slowest, ...times].sort((a, b) => b.took - a.took).slice(0, SLOWEST);
  }

  /** Halved until it is known whose news it is. */
  function keepNews(batch: readonly Uint8Array[]): void {
    for (const bytes of batch) timed(target, bytes);
    const [only] = batch;
    if (coverage.news(batch.length === 1 ? "learn" : "ask") === 0 || only === undefined) return;
    if (batch.length === 1) {
      corpus.push(only);
      return;
    }
    const half = batch.length >> 1;
    keepNews(batch.slice(0, half));
    keepNews(batch.slice(half));
  }

  function mutant(): Uint8Array {
    const pick = (): Uint8Array => sure(corpus[random(corpus.length)]);
    let bytes = pick();
    for (let n = 1 + random(4); n > 0; n -= 1) bytes = sure(changes[random(changes.length)])(bytes, random, pick());
    return bytes;
  }

  try {
    coverage.news("ask");
    keepNews(target.seeds);
    if (corpus.length === 0) throw new Error(`${target.name}: the seeds run nothing of ${String(sources)}`);
    const end = performance.now() + seconds * 1000;
    while (performance.now() < end || inputs < LEAST) {
      const batch = Array.from({ length: BATCH }, mutant);
      tryAll(batch);
      if (coverage.news("ask") > 0) keepNews(batch);
    }
  } finally {
    coverage.close();
  }
  const worst = Math.max(...slowest.map(({ bytes }) => bestOf(target, bytes)));
  return { inputs, corpus, worstMicroseconds: Math.round(worst * 1000) };
}
