/** One pool on a real etcd: hosts that allocate at once, and what they gave up comes back when etcd says so, not when their clocks do. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { patience } from "../../src/lab/patience.ts";
import { openEtcdStore } from "../../src/store/etcd.ts";
import { type EtcdCluster, startEtcd } from "../support/etcd.ts";
import { startPoolFleet } from "../support/pool-fleet.ts";

const [HOSTS, SIZE, COOL_DOWN] = [8, 24, 4];

let etcd: EtcdCluster;
beforeAll(async () => {
  etcd = await startEtcd({ members: 1 });
  await etcd.ready();
});
afterAll(() => etcd?.down());

test("eight hosts at once take every address of a pool, none twice, and none again before it has cooled down", async () => {
  const stores = Array.from({ length: HOSTS }, (_, n) =>
    openEtcdStore({ endpoints: etcd.endpoints, root: "pool", client: `h${n}`, format: 1 }),
  );
  const fleet = await startPoolFleet(stores, () => performance.now(), {
    range: `10.0.1.0-10.0.1.${SIZE - 1}`,
    coolDown: COOL_DOWN,
  });
  const at = (n: number) => fleet.hosts[n % HOSTS];
  const all = (name: string): Promise<readonly (string | undefined)[]> =>
    Promise.all(Array.from({ length: SIZE }, (_, n) => at(n)?.add(`${name}${n}`)));
  try {
    expect(new Set(await all("a"))).toEqual(new Set(["ok"]));
    await fleet.settled();
    // Ten years ahead, and ten behind.
    for (const [n, host] of fleet.hosts.entries()) host.jump((n % 2 === 0 ? 1 : -1) * 315_360_000_000);
    at(2)?.cut("after");
    const removed = await Promise.all(Array.from({ length: SIZE / 2 }, (_, n) => at(n + 1)?.remove(`a${n}`)));
    expect(removed.filter((code) => code !== "ok")).toEqual(["STORE_UNAVAILABLE"]);
    await fleet.settled();
    expect(new Set(await all("b")), "nothing is free yet").toEqual(new Set(["POOL_EXHAUSTED"]));
    expect(await at(0)?.add("a3"), "its own").toBe("ok");
    await sleep(1000 * COOL_DOWN);
    await expect
      .poll(async () => (await at(5)?.agent.operations.cooling())?.length, { timeout: patience(6_000) })
      .toBe(0);
    await fleet.settled();
    const taken = await all("b");
    expect([
      taken.filter((code) => code === "ok").length,
      taken.filter((code) => code === "POOL_EXHAUSTED").length,
    ]).toEqual([SIZE / 2 - 1, SIZE / 2 + 1]);
    expect(fleet.faults()).toEqual([]);
    const { entries } = (await stores[0]?.read("address/")) ?? { entries: new Map() };
    expect(entries.size, "nothing is left to sweep").toBe(SIZE);
  } finally {
    await fleet.stop();
    for (const store of stores) await store.close();
  }
});
