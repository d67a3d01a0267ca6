/**
 * A store that is put back to what it was: a restored snapshot, an imported state. No port opens by what such a store says, none that its host had open is shut
 * without need, no number of a claim goes back (invariant I18), and what was lost is told.
 */
import { afterEach, describe, expect, test } from "vitest";
import { RESTORE } from "../src/model/keys.ts";
import type { Json } from "../src/store/store.ts";
import { put } from "./store.contract.ts";
import { raiseRestored } from "./support/restored-fleet.ts";

let fleet: Awaited<ReturnType<typeof raiseRestored>> | undefined;
afterEach(async () => {
  await fleet?.stop();
  fleet = undefined;
});
async function raise() {
  fleet = await raiseRestored();
  await fleet.a.apply("web1", "db1");
  return fleet;
}

const mark = (phase: string, id = "r1"): Json => ({ phase, id, keepsPlaces: true, of: "a test", at: 0 });
const codes = (status: { readonly conditions: readonly { readonly code: string }[] }): readonly string[] =>
  status.conditions.map(({ code }) => code);

describe.each([
  ["without a mark", false, 0],
  ["with a mark", true, 0],
  ["and was written to more often since", false, 1000],
])("a store that went back, %s", (_, isMarked, later) => {
  async function restored(change: (of: NonNullable<typeof fleet>) => Promise<void>) {
    const one = await raise();
    await one.a.attach("vif1.0", "web1");
    const before = await one.snapshot();
    await change(one);
    await one.settle();
    one.count();
    const entries = new Map(before.entries);
    const revision = before.revision + (isMarked ? 1 : later);
    if (isMarked) entries.set(RESTORE, { key: RESTORE, value: mark("done"), revision });
    one.restore({ revision, entries });
    await one.settle();
    return one;
  }

  test("a port that is open stays open, under a number that nobody had", async () => {
    const { a, b, seen, claim } = await restored(async (one) => {
      await one.a.apply("web1", "db1", "new1");
    });
    expect(a.isOpen("vif1.0")).toBe(true);
    expect(seen()).toEqual({ most: 1, least: 1 });
    // Of what this host wrote nothing is missing in the last of them.
    expect(await claim("web1")).toEqual({ fence: later === 0 ? 2 : 1, holder: { host: "a", port: "vif1.0" } });
    expect((await a.status()).ports).toMatchObject([{ port: "vif1.0", state: "applied" }]);
    await expect(b.attach("vif1.0", "web1")).rejects.toMatchObject({ code: "NIC_TAKEN" });
    await b.attach("vif1.0", "web1", "ask");
    expect([a.isOpen("vif1.0"), b.isOpen("vif1.0")]).toEqual([false, true]);
  });

  test("a NIC that moved since stays where it is, and its old port does not open", async () => {
    const { a, b, seen, claim } = await restored(async (one) => {
      await one.b.attach("vif1.0", "web1", "ask");
    });
    expect([a.isOpen("vif1.0"), b.isOpen("vif1.0")]).toEqual([false, true]);
    expect(seen()).toEqual({ most: 1, least: 1 });
    const now = Object(await claim("web1"));
    expect(now.holder).toEqual({ host: "b", port: "vif1.0" });
    expect(now.fence).toBeGreaterThan(2);
    expect((await b.status()).ports).toMatchObject([{ port: "vif1.0", state: "applied" }]);
  });

  test("a NIC that moved there and back is where it was, under a higher number", async () => {
    const { a, seen, claim } = await restored(async (one) => {
      await one.b.attach("vif1.0", "web1", "ask");
      await one.a.detach("vif1.0");
      await one.a.attach("vif1.0", "web1", "ask");
    });
    expect(a.isOpen("vif1.0")).toBe(true);
    expect(seen()).toEqual({ most: 1, least: 1 });
    expect(Object(await claim("web1")).fence).toBeGreaterThan(3);
  });

  test("a port that was detached since does not open again, and its NIC is free", async () => {
    const { a, b, claim } = await restored(async (one) => {
      await one.a.detach("vif1.0");
    });
    expect(a.isOpen("vif1.0")).toBe(false);
    expect((await a.status()).ports).toEqual([]);
    expect(Object(await claim("web1")).holder).toBeUndefined();
    await b.attach("vif1.0", "web1");
    expect(b.isOpen("vif1.0")).toBe(true);
  });

  test("the port of a guest that the store does not know is shut, and named", async () => {
    const { a, b } = await restored(async (one) => {
      await one.b.apply("web1", "db1", "new1");
      await one.b.attach("vif2.0", "new1");
      expect(one.b.isOpen("vif2.0")).toBe(true);
    });
    expect([a.isOpen("vif1.0"), b.isOpen("vif2.0")]).toEqual([true, false]);
    const status = await b.status();
    expect(status.conditions.find(({ code }) => code === "RESTORE_LOST")?.text).toContain("vif2.0 (new1/0)");
    expect(codes(await a.status())).not.toContain("RESTORE_LOST");
    await b.apply("web1", "db1", "new1");
    await b.attach("vif2.0", "new1");
    expect(b.isOpen("vif2.0")).toBe(true);
  });

  test("a host whose agent was down meanwhile makes sure when it starts", async () => {
    const { a, b, seen, settle } = await restored(async (one) => {
      await one.b.attach("vif1.0", "web1", "ask");
      await one.settle();
      await one.a.stop();
      await one.b.stop();
    });
    await a.start();
    await settle();
    expect([a.isOpen("vif1.0"), b.isOpen("vif1.0")]).toEqual([false, true]);
    await b.start();
    await settle();
    expect([a.isOpen("vif1.0"), b.isOpen("vif1.0")]).toEqual([false, true]);
    expect(seen()).toEqual({ most: 1, least: 1 });
  });
});

describe("a host that remembers nothing", () => {
  test("goes on with the ports that are open and opens no other", async () => {
    const one = await raise();
    const { a, b } = one;
    await a.attach("vif1.0", "web1");
    await a.attach("vif2.0", "db1");
    const before = await one.snapshot();
    await b.attach("vif2.0", "db1", "ask");
    await one.settle();
    for (const host of [a, b]) await host.stop();
    a.forget();
    const revision = before.revision + 1;
    const entries = new Map([...before.entries, [RESTORE, { key: RESTORE, value: mark("done"), revision }]]);
    one.count();
    one.restore({ revision, entries });
    await a.start();
    await one.settle();
    expect([a.isOpen("vif1.0"), a.isOpen("vif2.0"), b.isOpen("vif2.0")]).toEqual([true, false, true]);
    await b.start();
    await one.settle();
    expect([a.isOpen("vif1.0"), a.isOpen("vif2.0"), b.isOpen("vif2.0")]).toEqual([true, false, true]);
    expect(one.seen()).toEqual({ most: 2, least: 2 });
  });
});

describe("while a state comes in", () => {
  test("every host keeps what it has, changes nothing, and says so; then it makes sure", async () => {
    const one = await raise();
    const { a, b, store } = one;
    await a.attach("vif1.0", "web1");
    await one.settle();
    one.count();
    await store.commit({ expect: [], writes: [put(RESTORE, mark("under-way"))] });
    await one.settle();
    await store.commit({
      expect: [],
      writes: [
        { op: "delete", key: "guest/web1" },
        { op: "delete", key: "attachment/a/vif1.0" },
      ],
    });
    await one.settle();
    expect(a.isOpen("vif1.0")).toBe(true);
    expect(codes(await a.status())).toContain("STORE_AWAY");
    await expect(b.attach("vif2.0", "db1")).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    await b.stop();
    await b.start();
    expect(codes(await b.status())).toContain("STORE_AWAY");

    const guest = (await one.snapshot()).entries.get("guest/db1")?.value;
    await store.commit({ expect: [], writes: [put("guest/web1", { ...Object(guest), name: "web1" })] });
    await store.commit({ expect: [], writes: [put(RESTORE, mark("done"))] });
    await one.settle();
    await expect.poll(async () => codes(await b.status()), { timeout: 3_000 }).not.toContain("STORE_AWAY");
    expect(codes(await a.status())).not.toContain("STORE_AWAY");
    expect(a.isOpen("vif1.0")).toBe(true);
    expect(one.seen()).toEqual({ most: 1, least: 1 });
    await b.attach("vif2.0", "db1");
    expect(b.isOpen("vif2.0")).toBe(true);
  });
});
