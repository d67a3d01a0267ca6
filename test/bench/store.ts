/** What durability costs: commits one after the other and many at once, beside libsql without our layer on the same disk in the same run. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { fileURLToPath } from "node:url";
import Database from "libsql";
import { openEmbeddedStore } from "../../src/store/embedded.ts";
import type { Json, Store } from "../../src/store/store.ts";
import type { BenchRow } from "./row.ts";

const dist = resolve(dirname(fileURLToPath(import.meta.url)), "../../dist");
const RECORDS = 20_000;
const SEQUENTIAL = 600;
const AT_ONCE = 20_000;

const clock = { now: () => Date.now() };
/** About 300 characters, like a guest. */
const record = (n: number): Json => ({
  name: `guest-${n}`,
  nics: [{ mac: "fe:00:0a:00:00:05" }],
  fill: "x".repeat(230),
});

const round = (value: number, digits = 2): number => Number(value.toFixed(digits));
function at(times: readonly number[], share: number): number {
  return times.toSorted((a, b) => a - b)[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0;
}

async function timed(action: () => Promise<unknown> | unknown): Promise<number> {
  const begun = performance.now();
  await action();
  return performance.now() - begun;
}

interface RawStore {
  /** One transaction of so many records. */
  commit(first: number, count: number): void;
  close(): void;
}

/** The same statements and settings as the embedded store's, and nothing around them. */
function openRaw(directory: string): RawStore {
  const database = new Database(join(directory, "raw.db"));
  for (const setting of ["locking_mode = EXCLUSIVE", "journal_mode = WAL", "synchronous = FULL"])
    database.pragma(setting);
  database.exec(
    `CREATE TABLE entries (key TEXT PRIMARY KEY, value TEXT NOT NULL, revision INTEGER NOT NULL, lease INTEGER) WITHOUT ROWID;
     CREATE TABLE head (revision INTEGER NOT NULL); INSERT INTO head VALUES (0);`,
  );
  const put = database.prepare(
    "INSERT INTO entries VALUES (?, ?, ?, NULL) ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision",
  );
  const head = database.prepare("UPDATE head SET revision = ?");
  return {
    commit: (first, count) => {
      database.exec("BEGIN IMMEDIATE");
      for (let n = first; n < first + count; n += 1) put.run(`guest/${n % RECORDS}`, JSON.stringify(record(n)), n + 1);
      head.run(first + count);
      database.exec("COMMIT");
    },
    close: () => database.close(),
  };
}

const put = (store: Store, n: number): Promise<unknown> =>
  store.commit({ expect: [], writes: [{ op: "put", key: `guest/${n % RECORDS}`, value: record(n) }] });

/** Taken in turns, so that a busy disk is busy for both. */
async function sequential(store: Store, raw: RawStore): Promise<BenchRow[]> {
  const [ours, theirs]: [number[], number[]] = [[], []];
  for (let n = 0; n < SEQUENTIAL; n += 1) {
    ours.push(await timed(() => put(store, n)));
    theirs.push(await timed(() => raw.commit(n, 1)));
  }
  return [0.5, 0.99].map((share) => ({
    suite: "store",
    name: `durable commit, one after the other, p${share * 100}`,
    value: round(at(ours, share), 3),
    unit: "ms",
    peer: `raw libsql ${round(at(theirs, share), 3)} ms`,
  }));
}

async function outstanding(store: Store, raw: RawStore, width: number): Promise<BenchRow[]> {
  let next = 0;
  const latencies: number[] = [];
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  const elapsed = await timed(() =>
    Promise.all(
      Array.from({ length: width }, async () => {
        while (next < AT_ONCE) {
          next += 1;
          latencies.push(await timed(() => put(store, next)));
        }
      }),
    ),
  );
  delay.disable();
  const alone = await timed(() => {
    for (let n = 0; n < AT_ONCE / 20; n += 1) raw.commit(n, 1);
  });
  const grouped = await timed(() => {
    for (let n = 0; n < AT_ONCE; n += width) raw.commit(n, width);
  });
  const perSecond = (milliseconds: number, count: number): number => Math.round((count * 1000) / milliseconds);
  const name = `with ${width} commits outstanding`;
  return [
    {
      suite: "store",
      name: `durable commits ${name}`,
      value: perSecond(elapsed, AT_ONCE),
      unit: "/s",
      peer: `raw libsql ${perSecond(alone, AT_ONCE / 20)}/s one by one, ${perSecond(grouped, AT_ONCE)}/s in transactions of ${width}`,
      note: "each with its own revision and verdict",
    },
    {
      suite: "store",
      name: `time to its acknowledgement ${name}, p99`,
      value: round(at(latencies, 0.99)),
      unit: "ms",
      note: `event loop stood still ${round(delay.percentile(99) / 1e6)} ms (p99), ${round(delay.max / 1e6)} ms at most`,
    },
  ];
}

/** In a process of its own, so that its memory is its own: built code, because Node 20 runs no TypeScript. */
const weighing = `
const [kind, dist, directory] = process.argv.slice(1);
const rss = () => { globalThis.gc(); globalThis.gc(); return process.memoryUsage().rss / 1048576; };
const { openEmbeddedStore } = await import(dist + "/store/embedded.js");
const { default: Database } = await import("libsql");
const before = rss(), begun = performance.now();
let kept;
if (kind === "ours") kept = await openEmbeddedStore({ directory, clock: { now: () => Date.now() } });
else {
  const database = new Database(directory + "/store.db");
  kept = new Map();
  for (const [key, value, revision] of database.prepare("SELECT key, value, revision FROM entries").raw().iterate())
    kept.set(key, { key, value: JSON.parse(value), revision });
}
const opened = performance.now() - begun;
console.log(JSON.stringify({ opened, more: rss() - before, all: rss(), kept: typeof kept }));
process.exit(0);
`;

interface Weight {
  readonly opened: number;
  readonly more: number;
  readonly all: number;
}
function weigh(kind: "ours" | "raw", directory: string): Weight {
  const node = ["--expose-gc", "--input-type=module", "--eval", weighing, kind, dist, directory];
  return JSON.parse(execFileSync(process.execPath, node, { encoding: "utf8" }));
}

async function whole(directory: string): Promise<BenchRow[]> {
  const store = await openEmbeddedStore({ directory, clock });
  const writes = Array.from(
    { length: RECORDS },
    (_, n) => ({ op: "put", key: `guest/${n}`, value: record(n) }) as const,
  );
  const applied = await timed(() => store.commit({ expect: [], writes }));
  const read = await timed(() => store.read(""));
  await store.close();
  const [ours, raw] = [weigh("ours", directory), weigh("raw", directory)];
  const name = `${RECORDS} records`;
  return [
    { suite: "store", name: `${name} in one transaction`, value: round(applied), unit: "ms" },
    { suite: "store", name: `${name} read`, value: round(read), unit: "ms" },
    {
      suite: "store",
      name: `opening with ${name}`,
      value: round(ours.opened),
      unit: "ms",
      peer: `raw libsql into a Map ${round(raw.opened)} ms`,
      note: "lock, integrity check and JSON included",
    },
    {
      suite: "store",
      name: `memory for ${name}`,
      value: round(ours.more, 1),
      unit: "MiB",
      peer: `raw libsql into a Map ${round(raw.more, 1)} MiB`,
      note: `resident, above the empty process; ${round(ours.all, 1)} MiB in all`,
    },
  ];
}

export async function benchStore(): Promise<BenchRow[]> {
  const directory = mkdtempSync(join(tmpdir(), "vifguard-bench-store-"));
  try {
    const raw = openRaw(directory);
    const store = await openEmbeddedStore({ directory: join(directory, "ours"), clock });
    const rows = [
      ...(await sequential(store, raw)),
      ...(await outstanding(store, raw, 64)),
      ...(await outstanding(store, raw, 512)),
    ];
    await store.close();
    raw.close();
    return [...rows, ...(await whole(join(directory, "whole")))];
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
}
