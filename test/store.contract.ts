/** What every store must do, whatever stands behind it. Run on the memory store and the embedded one (`store.test.ts`) and on etcd (`lab/store-etcd.test.ts`). */
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import type { Clock } from "../src/model/clock.ts";
import { GuardError } from "../src/model/errors.ts";
import type {
  Change,
  Commit,
  Json,
  Key,
  LeaseId,
  Place,
  Revision,
  Store,
  Transaction,
  Write,
} from "../src/store/store.ts";

export interface Subject {
  readonly store: Store;
  /** After closing: what has to be removed. */
  readonly clean: () => void;
  /** Lets time go by, where it is not the test's own clock. */
  readonly wait?: (seconds: number) => Promise<void>;
  /** Forgets what is more than `history` transactions old, where the store does not do so by itself. */
  readonly forget?: (store: Store) => Promise<void>;
}
/** @param options.history how many transactions late watchers can catch up with */
export type OpenSubject = (clock: Clock, options: { readonly history?: number }) => Promise<Subject>;

export function testClock(): Clock & { advance(seconds: number): void } {
  let time = 1_700_000_000_000;
  return {
    now: () => time,
    advance: (seconds) => {
      time += seconds * 1000;
    },
  };
}

export const put = (key: Key, value: Json, lease?: LeaseId): Write =>
  lease === undefined ? { op: "put", key, value } : { op: "put", key, value, lease };
export const del = (key: Key): Write => ({ op: "delete", key });
export const write = (...writes: readonly Write[]): Transaction => ({ expect: [], writes });
const when = (key: Key, revision: Revision, ...writes: readonly Write[]): Transaction => ({
  expect: [{ key, revision }],
  writes,
});

/** The revision of a commit that must be good. */
export async function commits(store: Store, transaction: Transaction): Promise<Revision> {
  const commit = await store.commit(transaction);
  if (!commit.ok) throw new Error(`conflict on ${commit.conflict}`);
  return commit.revision;
}

async function values(store: Store, prefix = ""): Promise<Record<Key, Json>> {
  const { entries } = await store.read(prefix);
  return Object.fromEntries([...entries].map(([key, { value }]) => [key, value]));
}

export async function codeOf(action: () => unknown): Promise<string> {
  try {
    await action();
  } catch (error) {
    if (error instanceof GuardError) return error.code;
    throw error;
  }
  return "no error";
}

/** Reads a watch until `count` changes came. */
async function take(store: Store, prefix: Key, after: Revision, count: number): Promise<readonly Change[]> {
  const seen: Change[] = [];
  for await (const change of store.watch(prefix, after, new AbortController().signal)) {
    seen.push(change);
    if (seen.length === count) break;
  }
  return seen;
}

/** Collects a watch in the background until it is stopped or ends. */
function collect(store: Store, place: Place, after: Revision) {
  const seen: Change[] = [];
  const stopping = new AbortController();
  const done = (async () => {
    for await (const change of store.watch(place, after, stopping.signal)) seen.push(change);
  })();
  return {
    seen,
    done,
    stop: async (): Promise<void> => {
      stopping.abort();
      await done;
    },
  };
}

async function eventually(isSo: () => boolean): Promise<void> {
  for (let i = 0; i < 300 && !isSo(); i += 1) await sleep(10);
  expect(isSo()).toBe(true);
}

/** What a reader who only saw the changes would hold. */
function replay(changes: readonly Change[]): Record<Key, Json> {
  const held = new Map<Key, Json>();
  for (const change of changes.flatMap(({ changes: one }) => one)) {
    if ("deleted" in change) held.delete(change.key);
    else held.set(change.key, change.value);
  }
  return Object.fromEntries(held);
}

export function storeContract(name: string, open: OpenSubject): void {
  describe(name, () => {
    const opened: Subject[] = [];
    async function subject(options: Options = {}): Promise<Required<Subject>> {
      const clock = testClock();
      const made = await open(clock, options);
      opened.push(made);
      return { wait: async (seconds) => clock.advance(seconds), forget: async () => undefined, ...made };
    }
    const fresh: Fresh = async () => (await subject()).store;
    afterEach(async () => {
      for (const { store, clean } of opened.splice(0)) {
        await store.close();
        clean();
      }
    });
    transactions(fresh);
    watches(fresh);
    forgetting(subject);
    watchLife(fresh);
    expiry(subject);
    leases(fresh);
    oddValues(fresh);
    anyHistory(fresh);
  });
}

type Options = { readonly history?: number };
type Fresh = () => Promise<Store>;
type FreshSubject = (options?: Options) => Promise<Required<Subject>>;

function transactions(fresh: Fresh): void {
  test("a new store is empty at revision 0", async () => {
    const store = await fresh();
    expect(await store.read("")).toEqual({ revision: 0, entries: new Map() });
  });

  test("a transaction is all or nothing, and its entries carry its revision", async () => {
    const store = await fresh();
    const first = await commits(store, write(put("guest/a", 1), put("guest/b", 2)));
    const snapshot = await store.read("");
    expect(snapshot.revision).toBe(first);
    expect([...snapshot.entries.values()]).toEqual([
      { key: "guest/a", value: 1, revision: first },
      { key: "guest/b", value: 2, revision: first },
    ]);
    const refused = { expect: [{ key: "guest/b", revision: first + 7 }], writes: [put("guest/a", 9), del("guest/b")] };
    expect(await store.commit(refused)).toEqual({ ok: false, conflict: "guest/b" });
    expect(await store.read("")).toEqual(snapshot);
    const second = await commits(store, { ...refused, expect: [{ key: "guest/b", revision: first }] });
    expect(second).toBeGreaterThan(first);
    expect(await values(store)).toEqual({ "guest/a": 9 });
  });

  test("expect 0 means: must not exist; of two who claim, one gets it and the other is told the key", async () => {
    const store = await fresh();
    const both = await Promise.all([
      store.commit(when("address/lan0/10.0.0.5", 0, put("address/lan0/10.0.0.5", "a"))),
      store.commit(when("address/lan0/10.0.0.5", 0, put("address/lan0/10.0.0.5", "b"))),
    ]);
    expect(both.filter(({ ok }) => ok)).toHaveLength(1);
    expect(both.find(({ ok }) => !ok)).toEqual({ ok: false, conflict: "address/lan0/10.0.0.5" });
    await commits(store, write(del("address/lan0/10.0.0.5")));
    await commits(store, when("address/lan0/10.0.0.5", 0, put("address/lan0/10.0.0.5", "c")));
    expect(await values(store)).toEqual({ "address/lan0/10.0.0.5": "c" });
  });

  test("the first key whose revision is another is named", async () => {
    const store = await fresh();
    const at = await commits(store, write(put("a", 1), put("b", 1)));
    const expected = [
      { key: "a", revision: at },
      { key: "b", revision: at + 1 },
      { key: "c", revision: 3 },
    ];
    expect(await store.commit({ expect: expected, writes: [] })).toEqual({ ok: false, conflict: "b" });
    expect(await store.commit({ expect: expected.slice(0, 1), writes: [] })).toEqual({ ok: true, revision: at });
  });

  test("many at once: each has its own verdict and revision, and a bad one does not hurt the others", async () => {
    const store = await fresh();
    const commitsAtOnce = Array.from({ length: 90 }, (_, n) => {
      if (n % 3 === 1) return store.commit(when("k/0", 4711, put(`k/${n}`, n)));
      return store.commit(write(put(`k/${n}`, n, n % 3 === 2 ? 999 : undefined)));
    });
    const results = await Promise.allSettled(commitsAtOnce);
    const good = results.filter((_, n) => n % 3 === 0).map((one) => (one.status === "fulfilled" ? one.value : one));
    expect(good).toEqual(good.map((_, n) => ({ ok: true, revision: n + 1 })));
    for (const [n, one] of results.entries()) {
      if (n % 3 === 1) expect(one).toEqual({ status: "fulfilled", value: { ok: false, conflict: "k/0" } });
      if (n % 3 === 2) expect(one).toMatchObject({ status: "rejected", reason: { code: "CONFLICT" } });
    }
    expect(Object.keys(await values(store))).toHaveLength(30);
  });

  test("a transaction sees what one asked for before it will leave", async () => {
    const store = await fresh();
    const [first, second] = await Promise.all([
      store.commit(write(put("a", 1))),
      store.commit(when("a", 1, put("a", 2))),
    ]);
    expect([first, second]).toEqual([
      { ok: true, revision: 1 },
      { ok: true, revision: 2 },
    ]);
    expect(await values(store)).toEqual({ a: 2 });
  });

  test("deleting what is not there is no change, and of two writes to one key the last one holds", async () => {
    const store = await fresh();
    const at = await commits(store, write(put("a", 1), put("a", 2), put("b", 1), del("b")));
    expect(await values(store)).toEqual({ a: 2 });
    expect(await commits(store, write(del("gone")))).toBe(at);
    expect(await commits(store, write())).toBe(at);
  });

  test("prefixes choose by the letters of the key", async () => {
    const store = await fresh();
    await commits(store, write(put("guest/a", 1), put("guest/ab", 2), put("guests/a", 3), put("a/guest/", 4)));
    expect(Object.keys(await values(store, "guest/"))).toEqual(["guest/a", "guest/ab"]);
    expect(Object.keys(await values(store, "guest/a"))).toEqual(["guest/a", "guest/ab"]);
    expect(Object.keys(await values(store, "lease/"))).toEqual([]);
  });
}

function watches(fresh: Fresh): void {
  test("a watch sees every change in order, none twice, while many commit at once", async () => {
    const store = await fresh();
    const early = collect(store, "", 0);
    const writers = Array.from({ length: 8 }, async (_, n) => {
      for (let i = 0; i < 25; i += 1) await commits(store, write(put(`w/${n}`, i), put(`w/${n}/${i}`, i)));
    });
    await sleep(1);
    const late = collect(store, "", 3);
    await Promise.all(writers);
    await eventually(() => early.seen.length >= 200 && late.seen.length >= 197);
    expect(early.seen.map(({ revision }) => revision)).toEqual(Array.from({ length: 200 }, (_, n) => n + 1));
    expect(late.seen).toEqual(early.seen.slice(3));
    expect(replay(early.seen)).toEqual(await values(store));
    await Promise.all([early.stop(), late.stop()]);
  });

  test("a watch shows a transaction whole, deletions without a value, and only its prefix", async () => {
    const store = await fresh();
    await commits(store, write(put("guest/a", { n: 1 }), put("mac/x", 1)));
    await commits(store, write(put("mac/y", 1)));
    await commits(store, write(del("guest/a"), put("guest/b", 2)));
    expect(await take(store, "guest/", 0, 2)).toEqual([
      { revision: 1, changes: [{ key: "guest/a", value: { n: 1 } }] },
      {
        revision: 3,
        changes: [
          { key: "guest/a", deleted: true },
          { key: "guest/b", value: 2 },
        ],
      },
    ]);
    expect((await take(store, "", 1, 2)).map(({ revision }) => revision)).toEqual([2, 3]);
  });

  test("a single key is read and watched alone, and watches side by side end each by itself", async () => {
    const store = await fresh();
    await commits(store, write(put("guest/a", 1), put("guest/ab", 1), put("guest/a/b", 1)));
    const one = { key: "guest/a" } as const;
    expect([...(await store.read(one)).entries.keys()]).toEqual(["guest/a"]);
    expect((await store.read({ key: "guest/none" })).entries.size).toBe(0);
    const watches = [collect(store, one, 1), collect(store, "guest/", 1), collect(store, { key: "guest/none" }, 1)];
    const [alone, all, none] = watches;
    await commits(store, write(put("guest/ab", 2), put("guest/a/b", 2)));
    await commits(store, write(put("guest/a", 3), put("guest/ab", 3)));
    await eventually(() => all?.seen.length === 2 && alone?.seen.length === 1);
    expect(alone?.seen).toEqual([{ revision: 3, changes: [{ key: "guest/a", value: 3 }] }]);
    await alone?.stop();
    await commits(store, write(del("guest/a"), put("guest/none", 1)));
    await eventually(() => all?.seen.length === 3 && none?.seen.length === 1);
    expect(alone?.seen).toHaveLength(1);
    expect(none?.seen).toEqual([{ revision: 4, changes: [{ key: "guest/none", value: 1 }] }]);
    await Promise.all(watches.map((watch) => watch.stop()));
  });

  test("read, then watch from there: nothing is missed in between", async () => {
    const store = await fresh();
    await commits(store, write(put("a", 1)));
    const { revision } = await store.read("");
    const missed = store.commit(write(put("b", 2)));
    expect(await take(store, "", revision, 1)).toEqual([{ revision: 2, changes: [{ key: "b", value: 2 }] }]);
    await missed;
  });
}

function forgetting(subject: FreshSubject): void {
  test("what is older than the store remembers is refused, what it remembers is told", async () => {
    const { store, forget } = await subject({ history: 10 });
    for (let n = 1; n <= 40; n += 1) await commits(store, write(put("a", n)));
    await sleep(1);
    await forget(store);
    expect(await codeOf(() => take(store, "", 0, 1))).toBe("CONFLICT");
    expect((await take(store, "", 30, 10)).map(({ revision }) => revision)).toEqual(
      Array.from({ length: 10 }, (_, n) => n + 31),
    );
  });

  test("a slow watcher loses nothing within the history, and is told when it fell behind it", async () => {
    const { store, forget } = await subject({ history: 50 });
    const patient = store.watch("", 0, new AbortController().signal)[Symbol.asyncIterator]();
    const asleep = store.watch("", 0, new AbortController().signal)[Symbol.asyncIterator]();
    for (let n = 1; n <= 200; n += 1) {
      await commits(store, write(put("a", n)));
      if (n % 20 !== 0) continue;
      for (let i = 1; i <= 20; i += 1) {
        const next = await patient.next();
        expect(next.value).toEqual({ revision: n - 20 + i, changes: [{ key: "a", value: n - 20 + i }] });
      }
      await sleep(1);
    }
    await forget(store);
    expect(await codeOf(() => asleep.next())).toBe("CONFLICT");
  });

  test("a change larger than everything remembered still reaches who waits for it", async () => {
    const { store } = await subject({ history: 1 });
    const waiting = collect(store, "", 0);
    await sleep(1);
    await Promise.all(Array.from({ length: 20 }, (_, n) => store.commit(write(put(`k/${n}`, n)))));
    await eventually(() => waiting.seen.length === 20);
    await waiting.stop();
  });
}

function watchLife(fresh: Fresh): void {
  test("aborting ends a watch, waiting or not, and disturbs no other", async () => {
    const store = await fresh();
    const stopped = collect(store, "", 0);
    const other = collect(store, "", 0);
    await sleep(1);
    await stopped.stop();
    await commits(store, write(put("a", 1)));
    await eventually(() => other.seen.length === 1);
    expect(stopped.seen).toEqual([]);
    await other.stop();
    const aborted = AbortSignal.abort();
    for await (const change of store.watch("", 0, aborted)) expect(change).toBeUndefined();
  });

  test("aborting inside the loop stops it there, though more is waiting", async () => {
    const store = await fresh();
    for (let n = 0; n < 5; n += 1) await commits(store, write(put("a", n)));
    const stopping = new AbortController();
    const seen: Change[] = [];
    for await (const change of store.watch("", 0, stopping.signal)) {
      seen.push(change);
      stopping.abort();
    }
    expect(seen).toHaveLength(1);
  });

  test("closing tells what was committed, ends every watch, and refuses what comes later", async () => {
    const store = await fresh();
    const watch = collect(store, "", 0);
    await sleep(1);
    const last = store.commit(write(put("a", 1)));
    await store.close();
    expect(await last).toEqual({ ok: true, revision: 1 });
    await watch.done;
    expect(watch.seen).toHaveLength(1);
    await store.close();
    const refused = [
      () => store.commit(write(put("a", 2))),
      () => store.read(""),
      () => store.grantLease(1),
      () => take(store, "", 0, 1),
    ];
    for (const one of refused) expect(await codeOf(one)).toBe("STORE_UNAVAILABLE");
  });
}

function expiry(subject: FreshSubject): void {
  test("entries of a lease that is not kept alive vanish, as a change, though nobody reads", async () => {
    const { store, wait } = await subject();
    const [short, long] = [await store.grantLease(2), await store.grantLease(60)];
    await commits(store, write(put("host/a", 1, short), put("host/b", 1, short), put("host/c", 1, long), put("x", 1)));
    expect((await store.read("host/a")).entries.get("host/a")).toMatchObject({ lease: short });
    expect((await store.read("x")).entries.get("x")).toEqual({ key: "x", value: 1, revision: 1 });
    const watch = collect(store, "", 1);
    await wait(1);
    await sleep(300);
    expect(watch.seen).toEqual([]);
    await wait(1.1);
    await eventually(() => watch.seen.length > 0);
    expect(replay(watch.seen)).toEqual({});
    expect(watch.seen[0]?.changes.map(({ key }) => key).sort()).toEqual(["host/a", "host/b"]);
    expect(Object.keys(await values(store))).toEqual(["host/c", "x"]);
    await watch.stop();
  });

  test("a lease that is kept alive lives, one that ended cannot be woken or written under", async () => {
    const { store, wait } = await subject();
    const lease = await store.grantLease(2);
    await commits(store, write(put("host/a", 1, lease)));
    for (let n = 0; n < 3; n += 1) {
      await wait(1.2);
      expect(await store.keepAlive(lease)).toBe(true);
    }
    expect(await values(store)).toEqual({ "host/a": 1 });
    await wait(3);
    expect(await store.keepAlive(lease)).toBe(false);
    expect(await values(store)).toEqual({});
    expect(await codeOf(() => store.commit(write(put("host/a", 2, lease))))).toBe("CONFLICT");
    expect(await store.keepAlive(4711)).toBe(false);
  });

  test("an expired entry is gone for the transaction that comes next", async () => {
    const { store, wait } = await subject();
    const lease = await store.grantLease(1);
    await commits(store, write(put("lock", "a", lease)));
    expect(await store.commit(when("lock", 0, put("lock", "b")))).toEqual({ ok: false, conflict: "lock" });
    await wait(2.5);
    await commits(store, when("lock", 0, put("lock", "b")));
    expect(await values(store)).toEqual({ lock: "b" });
  });
}

function leases(fresh: Fresh): void {
  test("revoking takes away what stands under the lease now, not what once did", async () => {
    const store = await fresh();
    const [lease, other] = [await store.grantLease(60), await store.grantLease(60)];
    await commits(store, write(put("a", 1, lease), put("b", 1, lease), put("c", 1, lease), put("d", 1)));
    await commits(store, write(put("b", 2), put("c", 2, other), put("d", 2, lease)));
    await store.revokeLease(lease);
    expect(await values(store)).toEqual({ b: 2, c: 2 });
    expect(await store.keepAlive(lease)).toBe(false);
    await store.revokeLease(lease);
    await store.revokeLease(other);
    expect(await values(store)).toEqual({ b: 2 });
  });

  test("a key that is written while its lease is being revoked stays", async () => {
    const store = await fresh();
    const lease = await store.grantLease(60);
    await commits(store, write(put("a", 1, lease), put("b", 1, lease)));
    const [moved, , late] = await Promise.allSettled([
      store.commit(write(put("a", 2))),
      store.revokeLease(lease),
      store.commit(write(put("c", 3, lease))),
    ]);
    expect(moved.status).toBe("fulfilled");
    expect(late).toMatchObject({ status: "rejected", reason: { code: "CONFLICT" } });
    expect(await values(store)).toEqual({ a: 2 });
  });

  test("no two leases are the same, and none lasts no time", async () => {
    const store = await fresh();
    const granted = await Promise.all(Array.from({ length: 50 }, () => store.grantLease(1)));
    expect(new Set(granted).size).toBe(50);
    for (const bad of [0, -1, Number.NaN]) expect(await codeOf(() => store.grantLease(bad))).toBe("INTERNAL");
  });
}

function oddValues(fresh: Fresh): void {
  const deep = (levels: number): Json => (levels === 0 ? "end" : { in: [deep(levels - 1)] });
  const odd: Record<string, Json> = {
    empty: {},
    nothing: null,
    unicode: "\u0000\u001f \u{1F600} \ud800 \u2028 'quoted' \"twice\" \\ %s ?1",
    "keys with ünicode": { "": 1, "a.b": { "\u{1F600}": [] } },
    numbers: [0, -1, 1.5, 1e300, 5e-324, Number.MAX_SAFE_INTEGER],
    deep: deep(200),
    large: "x".repeat(3_000_000),
    many: Array.from({ length: 20_000 }, (_, n) => n),
  };

  test("every value comes back as it was", async () => {
    const store = await fresh();
    for (const [key, value] of Object.entries(odd)) await commits(store, write(put(`odd/${key}`, value)));
    const { entries } = await store.read("odd/");
    for (const [key, value] of Object.entries(odd)) expect(entries.get(`odd/${key}`)?.value, key).toEqual(value);
  });

  test("__proto__ is a field like any other", async () => {
    const store = await fresh();
    await commits(store, write(put("odd", JSON.parse('{"__proto__": {"a": 1}, "constructor": 2}'))));
    expect(JSON.stringify(await values(store))).toBe('{"odd":{"__proto__":{"a":1},"constructor":2}}');
  });

  test("what the caller does with its object afterwards changes nothing", async () => {
    const store = await fresh();
    const value = { list: [1] };
    const commit = store.commit(write(put("a", value)));
    value.list.push(2);
    await commit;
    value.list.push(3);
    expect(await values(store)).toEqual({ a: { list: [1] } });
  });

  test("what is no JSON or no key is refused alone", async () => {
    const store = await fresh();
    const ring: { self?: Json } = {};
    ring.self = ring as Json;
    const results = await Promise.allSettled([
      store.commit(write(put("good", 1))),
      store.commit(write(put("bad", ring as Json))),
      store.commit(write(put("bad", undefined as unknown as Json))),
      store.commit(write(put("", 1))),
      store.commit(write(put("new\nline", 1))),
      store.commit(write(put("fine", 1))),
    ]);
    expect(results.map(({ status }) => status === "fulfilled")).toEqual([true, false, false, false, false, true]);
    expect(await values(store)).toEqual({ good: 1, fine: 1 });
  });
}

/** The store as a Map: one transaction after the other. */
function createModel() {
  const entries = new Map<Key, { readonly value: Json; readonly revision: Revision }>();
  let revision = 0;
  return {
    entries,
    revisionOf: (key: Key): Revision => entries.get(key)?.revision ?? 0,
    commit: ({ expect: expected, writes }: Transaction): Commit => {
      const conflict = expected.find(({ key, revision: at }) => (entries.get(key)?.revision ?? 0) !== at);
      if (conflict !== undefined) return { ok: false, conflict: conflict.key };
      const last = new Map(writes.map((one) => [one.key, one]));
      const effective = [...last.values()].filter((one) => one.op === "put" || entries.has(one.key));
      if (effective.length > 0) revision += 1;
      for (const one of effective) {
        if (one.op === "put") entries.set(one.key, { value: one.value, revision });
        else entries.delete(one.key);
      }
      return { ok: true, revision };
    },
  };
}

function anyHistory(fresh: Fresh): void {
  const key = fc.constantFrom("a", "b", "guest/a", "guest/b");
  const value = fc.jsonValue({ maxDepth: 2 }).map((one): Json => JSON.parse(JSON.stringify(one)));
  const writes = fc.array(fc.oneof(fc.record({ key, value }), fc.record({ key })), { maxLength: 3 });
  /** How far off the expected revision is from the true one; mostly not at all. */
  const expected = fc.array(fc.record({ key, off: fc.constantFrom(0, 0, 0, 0, -1, 1) }), { maxLength: 2 });
  /** Transactions of one inner list are asked for at once. */
  const history = fc.array(fc.array(fc.record({ writes, expected }), { minLength: 1, maxLength: 4 }), {
    maxLength: 12,
  });

  test("any history gives the verdicts, the contents and the changes of a Map", async () => {
    await fc.assert(
      fc.asyncProperty(history, async (batches) => {
        const [store, model] = [await fresh(), createModel()];
        const watch = collect(store, "", 0);
        for (const batch of batches) {
          const told: Commit[] = [];
          const asked = batch.map((one) => {
            const transaction: Transaction = {
              expect: one.expected.map(({ key: of, off }) => ({ key: of, revision: model.revisionOf(of) + off })),
              writes: one.writes.map((w) => ("value" in w ? put(w.key, w.value) : del(w.key))),
            };
            told.push(model.commit(transaction));
            return store.commit(transaction);
          });
          expect(await Promise.all(asked)).toEqual(told);
        }
        const snapshot = await store.read("");
        const held = [...snapshot.entries].map(([of, { value: v, revision }]) => [of, { value: v, revision }] as const);
        expect(new Map(held)).toEqual(model.entries);
        await eventually(() => watch.seen.length === snapshot.revision);
        expect(watch.seen.map(({ revision }) => revision)).toEqual(watch.seen.map((_, n) => n + 1));
        expect(replay(watch.seen)).toEqual(await values(store));
        await watch.stop();
        await store.close();
      }),
      { numRuns: 60 },
    );
  }, 60_000);
}
