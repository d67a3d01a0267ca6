/** What it takes to find an address in a /16 that is nearly full: for one host, and for eight that write to one store at once. */
import { randomFillSync } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { planned } from "../../src/agent/carry-out.ts";
import { type Mirror, startMirror } from "../../src/agent/mirror.ts";
import { loadSite } from "../../src/config/load.ts";
import { GuardError } from "../../src/model/errors.ts";
import { parseObjectName } from "../../src/model/names.ts";
import type { Resource } from "../../src/model/resources.ts";
import { type HeldSite, planRemove, planSite } from "../../src/plan/site.ts";
import { openEtcdStore } from "../../src/store/etcd.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { startEtcd } from "../support/etcd.ts";
import { hostIdOf } from "../support/names.ts";
import { poolGuest, poolSite } from "../support/pool-fleet.ts";
import type { BenchRow } from "./row.ts";

/** Of 65 533: 99 %. */
const HELD = 64_900;
const WRITERS = 8;
const EACH = 10;
/** Of the 4 094 of a range where eight hosts write: what is left is just enough. */
const HELD_BY_MANY = 4_094 - WRITERS * EACH;
const SAMPLES = 20;
const COOL_DOWN = 600;
const clock = { now: () => Date.now() };
const random = (count: number): Uint8Array => randomFillSync(new Uint8Array(count));

const network = (last: string): readonly Resource[] =>
  loadSite(poolSite(`10.0.0.2-${last}`, COOL_DOWN, "random"), "bench");
const [pattern] = loadSite(poolGuest("x"), "bench");

function guests(prefix: string, count: number): readonly Resource[] {
  return Array.from({ length: count }, (_, n): Resource => {
    const name = parseObjectName(`${prefix}${n}`);
    if (name === undefined || pattern?.kind !== "guest") throw new TypeError(prefix);
    return { ...pattern, name };
  });
}

const nothing: HeldSite = {
  networks: new Map(),
  groups: new Map(),
  guests: new Map(),
  addresses: new Map(),
  macs: new Map(),
  revisions: new Map(),
  attached: new Set(),
};

/** A site with so many guests, in transactions that etcd takes. */
async function fill(store: Store, last: string, held: number): Promise<void> {
  const { writes } = planSite(nothing, [...network(last), ...guests("h", held)], random).transaction;
  for (let n = 0; n < writes.length; n += 10_000)
    await store.commit({ expect: [], writes: writes.slice(n, n + 10_000) });
}

const sorted = (times: readonly number[]): readonly number[] => [...times].sort((a, b) => a - b);
const at = (times: readonly number[], share: number): number =>
  sorted(times)[Math.min(times.length - 1, Math.floor(times.length * share))] ?? 0;

function row(name: string, times: readonly number[], note = ""): BenchRow {
  const spread = `p99 ${at(times, 0.99).toFixed(1)} ms, ${times.length} of them`;
  return {
    suite: "pool",
    name: `${name}, p50`,
    value: Number(at(times, 0.5).toFixed(2)),
    unit: "ms",
    note: note === "" ? spread : `${spread}; ${note}`,
  };
}

async function timed(act: () => unknown): Promise<number> {
  const begun = performance.now();
  await act();
  return performance.now() - begun;
}

/** Of this process, so that others on the machine do not count. */
function cpu(count: number, act: () => unknown): readonly number[] {
  return Array.from({ length: count }, () => {
    const before = process.cpuUsage();
    act();
    const { user, system } = process.cpuUsage(before);
    return (user + system) / 1000;
  });
}

async function each(count: number, act: (n: number) => unknown): Promise<readonly number[]> {
  const times: number[] = [];
  for (let n = 0; n < count; n += 1) times.push(await timed(() => act(n)));
  return times;
}

/** A host of which only that is there which writes the site: no kernel, no ports. */
async function startWriter(store: Store, n: number) {
  const mirror: Mirror = await startMirror(store, hostIdOf(`w${n}`));
  let conflicts = 0;
  const planner = {
    parts: { store, clock },
    mirror,
    news: (revision: number) => Promise.race([mirror.caughtUp(revision + 1), sleep(1_000, undefined, { ref: false })]),
    write: async (transaction: Parameters<Store["commit"]>[0]) => {
      const commit = await store.commit(transaction);
      if (commit.ok) return mirror.caughtUp(commit.revision);
      conflicts += 1;
      throw new GuardError("CONFLICT", commit.conflict, { fields: { key: commit.conflict } });
    },
  };
  return {
    mirror,
    add: (resources: readonly Resource[]) =>
      planned(planner, (isLate) => planSite(mirror.held(), resources, random, isLate)),
    remove: (name: string) => planned(planner, () => planRemove(mirror.held(), "guest", name)),
    conflicts: () => conflicts,
  };
}

/** One after the other at each host, and the hosts at once, until the pool is full. */
async function storm(stores: readonly Store[], where: string): Promise<BenchRow[]> {
  const writers = await Promise.all(stores.map(startWriter));
  try {
    const of = (n: number): readonly Resource[] => guests(`w${n}x`, EACH);
    const begun = performance.now();
    const adding = await Promise.all(writers.map((writer, n) => each(EACH, (i) => writer.add(of(n).slice(i, i + 1)))));
    const seconds = (performance.now() - begun) / 1000;
    const conflicts = writers.reduce((sum, writer) => sum + writer.conflicts(), 0);
    const note = `${Math.round((WRITERS * EACH) / seconds)} guests a second together, ${conflicts} of ${WRITERS * EACH + conflicts} transactions too late`;
    const removing = await Promise.all(writers.map((writer, n) => each(EACH, (i) => writer.remove(`w${n}x${i}`))));
    return [
      row(`eight hosts at once, ${where}: one guest more`, adding.flat(), note),
      row(`eight hosts at once, ${where}: one guest less, its address cooling down`, removing.flat()),
    ];
  } finally {
    for (const { mirror } of writers) await mirror.stop();
  }
}

async function planning(store: Store): Promise<BenchRow[]> {
  const writer = await startWriter(store, 0);
  try {
    const held = writer.mirror.held();
    const more = guests("more", 1);
    const lowest = cpu(SAMPLES, () => planSite(held, more, random));
    const scattered = cpu(SAMPLES, () => planSite(held, more, random, true));
    const written = await each(SAMPLES, (n) => writer.add(guests(`one${n}x`, 1)));
    const full = network("10.0.250.0");
    const refused = cpu(SAMPLES, () => {
      try {
        planSite(held, [...full, ...more], random);
      } catch (error) {
        if (error instanceof GuardError && error.code === "POOL_EXHAUSTED") return;
        throw error;
      }
      throw new TypeError("the pool was not full");
    });
    return [
      row(
        `plan of one guest more, ${HELD} of a /16 held, CPU`,
        lowest,
        "the lowest free address is the last 1 % of the range",
      ),
      row("the same after a conflict, any free address, CPU", scattered),
      row("the same in a range without a free address, until it is refused, CPU", refused),
      row("one guest more, planned and written", written),
    ];
  } finally {
    await writer.mirror.stop();
  }
}

/** On a store of its own that is 98 % full. */
async function crowded(stores: readonly Store[], where: string): Promise<BenchRow[]> {
  const [first] = stores;
  if (first !== undefined) await fill(first, "10.0.15.255", HELD_BY_MANY);
  return storm(stores, where);
}

async function onEtcd(): Promise<BenchRow[]> {
  const etcd = await startEtcd({ members: 1 });
  const stores = Array.from({ length: WRITERS }, (_, n) =>
    openEtcdStore({ endpoints: etcd.endpoints, root: "pool", client: `w${n}`, format: 1 }),
  );
  try {
    await etcd.ready();
    return await crowded(stores, "etcd, one member");
  } finally {
    for (const store of stores) await store.close();
    etcd.down();
  }
}

export async function benchPool(): Promise<BenchRow[]> {
  const [large, small] = [memoryStore(clock), memoryStore(clock)];
  await fill(large, "10.0.255.254", HELD);
  return [
    ...(await planning(large)),
    ...(await crowded(Array<Store>(WRITERS).fill(small), "store in memory")),
    ...(await onEtcd()),
  ];
}
