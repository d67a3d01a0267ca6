/** One pool, many hosts: whatever they do at once, no address and no MAC has two owners, or another one before it has cooled down. */
import fc from "fast-check";
import { afterEach, expect, test } from "vitest";
import { memoryStore } from "../src/store/memory.ts";
import type { Store } from "../src/store/store.ts";
import { type PoolFleet, startPoolFleet } from "./support/pool-fleet.ts";

const COOL_DOWN = 60;
const SIZE = 6;
const HOSTS = 3;
const YEARS = 315_360_000_000;

let fleets: PoolFleet[] = [];
afterEach(async () => {
  for (const fleet of fleets) await fleet.stop();
  fleets = [];
});

async function createFleet(hosts: number, size: number, scheme = "ip") {
  let passed = 0;
  const now = (): number => 1_700_000_000_000 + passed;
  const store = memoryStore({ now });
  const range = `10.0.1.0-10.0.1.${size - 1}`;
  const fleet = await startPoolFleet(Array<Store>(hosts).fill(store), now, { range, coolDown: COOL_DOWN, scheme });
  fleets.push(fleet);
  return {
    ...fleet,
    store,
    pass: async (seconds: number): Promise<void> => {
      passed += seconds * 1000;
      await fleet.settled();
    },
  };
}
type Fleet = Awaited<ReturnType<typeof createFleet>>;

/** By what the store holds. */
async function countOf({ store }: Fleet): Promise<{ readonly held: number; readonly cooling: number }> {
  const { entries } = await store.read("address/");
  const cooling = [...entries.values()].filter(({ value }) => Object(value).cooling !== undefined).length;
  return { held: entries.size - cooling, cooling };
}

type Step =
  | { readonly op: "add"; readonly host: number; readonly guest: number }
  | { readonly op: "remove"; readonly host: number; readonly guest: number }
  | { readonly op: "cut"; readonly host: number; readonly how: "before" | "after" }
  | { readonly op: "jump"; readonly host: number; readonly by: number };

const host = fc.nat(HOSTS - 1);
const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 6, arbitrary: fc.record({ op: fc.constant("add" as const), host, guest: fc.nat(9) }) },
  { weight: 4, arbitrary: fc.record({ op: fc.constant("remove" as const), host, guest: fc.nat(9) }) },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant("cut" as const), host, how: fc.constantFrom("before", "after") }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ op: fc.constant("jump" as const), host, by: fc.integer({ min: -YEARS, max: YEARS }) }),
  },
);
/** What is asked at once, and how much time goes by then. */
const round = fc.record({ steps: fc.array(step, { minLength: 1, maxLength: 8 }), seconds: fc.nat(COOL_DOWN) });

async function take(fleet: Fleet, one: Step): Promise<string> {
  const at = fleet.hosts[one.host];
  if (at === undefined) throw new TypeError(`host ${one.host}`);
  if (one.op === "add") return at.add(`g${one.guest}`);
  if (one.op === "remove") return at.remove(`g${one.guest}`);
  if (one.op === "cut") at.cut(one.how);
  else at.jump(one.by);
  return "ok";
}

/** What every host says of the pool, against what the store holds; and whatever was cut short or set wrong, what is free can be had. */
async function assertTold(fleet: Fleet, name: string): Promise<void> {
  const { held, cooling } = await countOf(fleet);
  for (const { agent } of fleet.hosts) {
    const { range4 } = Object((await agent.operations.get("network", "lan0")).status);
    expect(range4).toEqual({ size: SIZE, free: SIZE - held - cooling, cooling });
  }
  const code = await fleet.hosts[1]?.add(name);
  const isThere = (await fleet.store.read(`guest/${name}`)).entries.size > 0;
  // A cut that was due came now.
  if (code === "STORE_UNAVAILABLE") return;
  expect([code, isThere]).toEqual(isThere || held + cooling < SIZE ? ["ok", true] : ["POOL_EXHAUSTED", false]);
}

test.each(["ip", "random"])(
  "any history, of MACs of scheme %s",
  async (scheme) => {
    const seen = new Set<string>();
    await fc.assert(
      fc.asyncProperty(fc.array(round, { minLength: 3, maxLength: 8 }), async (rounds) => {
        const fleet = await createFleet(HOSTS, SIZE, scheme);
        for (const { steps, seconds } of rounds) {
          for (const code of await Promise.all(steps.map((one) => take(fleet, one)))) seen.add(code);
          await fleet.pass(seconds);
          await assertTold(fleet, "more");
        }
        expect(fleet.faults()).toEqual([]);
        await fleet.stop();
        fleets = [];
      }),
      { numRuns: 12 },
    );
    expect([...seen].sort()).toEqual(["NOT_FOUND", "POOL_EXHAUSTED", "STORE_UNAVAILABLE", "ok"]);
  },
  60_000,
);

test("eight hosts at once fill a pool to the last address, and get what was given up when it has cooled down, not before", async () => {
  const [hosts, size] = [8, 64];
  const fleet = await createFleet(hosts, size);
  const all = (name: string): Promise<readonly string[]> =>
    Promise.all(
      Array.from({ length: size }, (_, n) => fleet.hosts[n % hosts]?.add(`${name}${n}`) ?? Promise.resolve("none")),
    );
  expect(new Set(await all("a"))).toEqual(new Set(["ok"]));
  expect(await fleet.hosts[3]?.add("more"), "and no more").toBe("POOL_EXHAUSTED");
  const removed = await Promise.all(
    Array.from({ length: size }, (_, n) => fleet.hosts[(n + 1) % hosts]?.remove(`a${n}`)),
  );
  expect(new Set(removed)).toEqual(new Set(["ok"]));
  await fleet.pass(COOL_DOWN - 1);
  expect(new Set(await all("b"))).toEqual(new Set(["POOL_EXHAUSTED"]));
  expect(await fleet.hosts[5]?.add("a7"), "its own").toBe("ok");
  await fleet.pass(1);
  expect((await all("b")).filter((code) => code === "ok")).toHaveLength(size - 1);
  expect(await countOf(fleet)).toEqual({ held: size, cooling: 0 });
  expect(fleet.faults()).toEqual([]);
});

test("the ledger would tell: an address that is freed by hand meets its new owner early", async () => {
  const fleet = await createFleet(2, 2);
  for (const name of ["a", "b"]) expect(await fleet.hosts[0]?.add(name)).toBe("ok");
  await fleet.hosts[1]?.remove("a");
  await fleet.settled();
  const operations = fleet.hosts[0]?.agent.operations;
  expect((await operations?.cooling())?.map(({ what, guest }) => `${what} ${guest}`)).toEqual([
    "fe:00:0a:00:01:00 a",
    "lan0/10.0.1.0 a",
  ]);
  expect(
    (await operations?.endCooling("lan0/10.0.1.0"))?.map(({ what }) => what),
    "and the MAC that spells it",
  ).toHaveLength(2);
  expect(await operations?.cooling()).toEqual([]);
  expect(await fleet.hosts[1]?.add("c")).toBe("ok");
  expect(fleet.faults()).toEqual([
    "fe:00:0a:00:01:00 is given to guest/c 0 ms after guest/a gave it up",
    "lan0/10.0.1.0 is given to guest/c 0 ms after guest/a gave it up",
  ]);
});

test.each([
  [COOL_DOWN - 1, "sleeps between the grant and the transaction shortens nothing"],
  [COOL_DOWN + 1, "sleeps until the lease is gone is given another"],
])("an agent that after %i seconds %s", async (seconds, _says) => {
  let passed = 0;
  let sleeps = 0;
  const now = (): number => 1_700_000_000_000 + passed;
  const store = memoryStore({ now });
  const sleepy: Store = {
    ...store,
    commit: async (transaction) => {
      passed += sleeps * 1000;
      sleeps = 0;
      return store.commit(transaction);
    },
  };
  const fleet = await startPoolFleet([sleepy], now, { range: "10.0.1.0", coolDown: COOL_DOWN });
  fleets.push(fleet);
  const [only] = fleet.hosts;
  expect(await only?.add("a")).toBe("ok");
  sleeps = seconds;
  expect(await only?.remove("a")).toBe("ok");
  const given = passed;
  passed = given + (COOL_DOWN - 1) * 1000;
  await fleet.settled();
  expect(await only?.add("b"), "a second too early").toBe("POOL_EXHAUSTED");
  passed = given + COOL_DOWN * 1000;
  await fleet.settled();
  expect(await only?.add("b")).toBe("ok");
  expect(fleet.faults()).toEqual([]);
});

test("a deletion that another host was faster than is planned again, and its lease given back", async () => {
  let passed = 0;
  const store = memoryStore({ now: () => passed });
  const granted: number[] = [];
  let meddles = true;
  const meddled: Store = {
    ...store,
    grantLease: async (seconds) => {
      const lease = await store.grantLease(seconds);
      granted.push(lease);
      return lease;
    },
    commit: async (transaction) => {
      const value = (await store.read("address/lan0/10.0.1.0")).entries.get("address/lan0/10.0.1.0")?.value;
      const isDeletion = transaction.writes.some(({ op, key }) => op === "delete" && key === "guest/a");
      if (isDeletion && meddles && value !== undefined) {
        meddles = false;
        await store.commit({ expect: [], writes: [{ op: "put", key: "address/lan0/10.0.1.0", value }] });
      }
      return store.commit(transaction);
    },
  };
  const fleet = await startPoolFleet([meddled], () => passed, { range: "10.0.1.0", coolDown: COOL_DOWN });
  fleets.push(fleet);
  expect(await fleet.hosts[0]?.add("a")).toBe("ok");
  expect([await fleet.hosts[0]?.remove("a"), fleet.conflicts]).toEqual(["ok", 1]);
  expect(await Promise.all(granted.map(store.keepAlive))).toEqual([false, true]);
  passed += COOL_DOWN * 1000;
  expect((await store.read("address/")).entries.size).toBe(0);
});
