/** The copy of a fleet's store: what it shows while the other one is away, what it keeps, and what it hands over. The store contract holds for the pair. */
import { describe, expect, test } from "vitest";
import { isRenewal } from "../src/agent/open-store.ts";
import { GuardError } from "../src/model/errors.ts";
import { openFleetStore } from "../src/store/fleet.ts";
import { createStoreHealth } from "../src/store/health.ts";
import { memoryStore } from "../src/store/memory.ts";
import type { Change, Json, Place, Store } from "../src/store/store.ts";
import { codeOf, commits, put, storeContract, testClock, write } from "./store.contract.ts";

storeContract("fleet store", async (clock, options) => ({
  store: openFleetStore({
    remote: memoryStore(clock, options),
    copy: memoryStore(clock),
    health: createStoreHealth(),
    mayKeep: () => false,
    format: 1,
  }),
  clean: () => undefined,
}));

const bound = (expiresAt: number, more: Readonly<Record<string, Json>> = {}): Json => ({
  network: "lan0",
  address: "10.0.0.5",
  guest: "web1",
  nic: 0,
  mac: "fe:00:0a:00:00:05",
  state: "bound",
  expiresAt,
  ...more,
});

/** One remote store that can be switched away, and a copy that outlives the process in front of them. */
function pair() {
  const clock = testClock();
  const [remote, copy] = [memoryStore(clock), memoryStore(clock)];
  const health = createStoreHealth();
  let [isAway, isFull] = [false, false];
  const gate = <T>(act: () => Promise<T>, isRefused = isAway): Promise<T> =>
    isRefused ? Promise.reject(new GuardError("STORE_UNAVAILABLE", "away")) : act();
  const gated: Store = {
    ...remote,
    read: (prefix) => gate(() => remote.read(prefix)),
    commit: (transaction) => gate(() => remote.commit(transaction), isAway || isFull),
    close: async () => undefined,
  };
  return {
    remote,
    copied: async () => [...(await copy.read("copied/")).entries.keys()].map((key) => key.slice("copied/".length)),
    /** Answers, and takes nothing. */
    refuse: (now: boolean) => {
      isFull = now;
    },
    away: (now: boolean) => {
      isAway = now;
      health.tell(now ? "away" : undefined);
    },
    start: (format = 1): Store =>
      openFleetStore({
        remote: gated,
        copy: { ...copy, close: async () => undefined },
        health,
        mayKeep: isRenewal,
        format,
      }),
  };
}

const held = async (store: Store, place: Place = ""): Promise<Record<string, Json>> =>
  Object.fromEntries([...(await store.read(place)).entries].map(([key, { value }]) => [key, value]));

/** Reads and follows, as an agent does. */
async function follow(store: Store, place: Place = "") {
  const { revision } = await store.read(place);
  const stopping = new AbortController();
  const seen: Change[] = [];
  const done = (async () => {
    for await (const change of store.watch(place, revision, stopping.signal)) seen.push(change);
  })();
  return {
    seen,
    stop: async () => {
      stopping.abort();
      await done;
    },
  };
}

describe("while the remote store is away", () => {
  test("the copy shows what was known last, to a process that starts then, too; without a copy there is nothing to show", async () => {
    const { away, start, remote } = pair();
    away(true);
    expect(await codeOf(() => start().read(""))).toBe("STORE_UNAVAILABLE");
    away(false);
    const first = start();
    await commits(first, write(put("guest/a", 1), put("guest/b", 2)));
    const agent = await follow(first);
    await commits(remote, write(put("guest/c", 3), { op: "delete", key: "guest/a" }));
    await expect.poll(() => agent.seen.length).toBe(1);
    away(true);
    expect(await held(first)).toEqual({ "guest/b": 2, "guest/c": 3 });
    expect(await held(start())).toEqual({ "guest/b": 2, "guest/c": 3 });
    expect((await start().read("")).entries.get("guest/c")?.revision).toBe((await remote.read("")).revision);
    expect(await codeOf(() => start(2).read("")), "by a version that reads another format").toBe("STORE_UNAVAILABLE");
    await agent.stop();
  });

  test("a bound lease is renewed and handed over; a new one, another's and anything else is refused", async () => {
    const { away, start, remote } = pair();
    const store = start();
    await commits(store, write(put("lease/x", bound(100)), put("lease/gone", bound(100, { state: "released" }))));
    const agent = await follow(store);
    away(true);
    const before = (await store.read("")).revision;
    expect(await store.commit(write(put("lease/x", bound(200))))).toEqual({ ok: true, revision: before });
    const refused: readonly (readonly [string, Json])[] = [
      ["lease/new", bound(200)],
      ["lease/x", bound(300, { mac: "fe:00:0a:00:00:06" })],
      ["lease/gone", bound(200)],
      ["guest/a", 1],
    ];
    for (const [key, value] of refused)
      expect(await codeOf(() => store.commit(write(put(key, value)))), key).toBe("STORE_UNAVAILABLE");
    await expect
      .poll(() => agent.seen)
      .toEqual([{ revision: before, changes: [{ key: "lease/x", value: bound(200) }] }]);
    expect((await held(start()))["lease/x"], "durable").toEqual(bound(200));
    expect((await held(remote))["lease/x"], "control").toEqual(bound(100));
    away(false);
    await expect.poll(async () => (await held(remote))["lease/x"]).toEqual(bound(200));
    await agent.stop();
  });

  test("each part is shown as new as it was read and followed, and what is not needed any more is not kept", async () => {
    const { away, start, remote, copied } = pair();
    await commits(
      remote,
      write(put("guest/a", 1), put("guest/ab", 1), put("member/lan0/a/0", 1), put("member/lan1/b/0", 1)),
    );
    const store = start();
    const [guest, near, far] = [{ key: "guest/a" }, "member/lan0/", "member/lan1/"] as const;
    const { revision } = await store.read(guest);
    await store.read(near);
    await store.read(far);
    const agent = await follow(store, near);
    await commits(remote, write(put("member/lan0/c/0", 2), put("member/lan1/c/0", 2), put("guest/a", 2)));
    await expect.poll(() => agent.seen.length).toBe(1);
    away(true);
    expect([...(await store.read(near)).entries.keys()]).toEqual(["member/lan0/a/0", "member/lan0/c/0"]);
    expect((await store.read(near)).revision).toBe(revision + 1);
    expect([...(await store.read(far)).entries.keys()], "not followed").toEqual(["member/lan1/b/0"]);
    expect((await store.read(far)).revision).toBe(revision);
    expect((await store.read(guest)).entries.get("guest/a")).toEqual({ key: "guest/a", value: 1, revision });
    expect(await codeOf(() => store.read("member/")), "no more than its parts").toBe("STORE_UNAVAILABLE");
    await store.keepOnly?.([guest, near]);
    expect(await codeOf(() => store.read(far))).toBe("STORE_UNAVAILABLE");
    expect((await store.read(near)).entries.size, "control").toBe(2);
    expect(await copied()).toEqual(["guest/a", "member/lan0/a/0", "member/lan0/c/0"]);
    await agent.stop();
  });

  test("a copy of another format gives way to the first part that is read", async () => {
    const { away, start, remote, copied } = pair();
    await commits(remote, write(put("guest/a", 1), put("guest/b", 1)));
    await start().read("");
    await start(2).read({ key: "guest/b" });
    expect(await copied()).toEqual(["guest/b"]);
    away(true);
    expect(await held(start(2), { key: "guest/b" })).toEqual({ "guest/b": 1 });
    expect(await codeOf(() => start().read(""))).toBe("STORE_UNAVAILABLE");
  });

  test("what somebody else wrote meanwhile stands", async () => {
    const { away, start, remote } = pair();
    const store = start();
    await commits(store, write(put("lease/x", bound(100)), put("lease/y", bound(100))));
    const agent = await follow(store);
    away(true);
    await commits(store, write(put("lease/x", bound(200))));
    await commits(store, write(put("lease/y", bound(200))));
    await commits(remote, write(put("lease/x", bound(500, { state: "released" }))));
    away(false);
    // The control, and it comes after the other.
    await expect.poll(async () => (await held(remote))["lease/y"]).toEqual(bound(200));
    expect((await held(remote))["lease/x"]).toEqual(bound(500, { state: "released" }));
    await agent.stop();
  });

  test("what was kept is handed over by a process that starts when all is well again, and by one whose store refused it for a while", async () => {
    const { away, refuse, start, remote } = pair();
    const first = start();
    await commits(first, write(put("lease/x", bound(100))));
    await first.read("");
    away(true);
    await commits(first, write(put("lease/x", bound(200))));
    await first.close();
    away(false);
    const second = start();
    await expect.poll(async () => (await held(remote))["lease/x"]).toEqual(bound(200));
    const agent = await follow(second);
    refuse(true);
    expect(await second.commit(write(put("lease/x", bound(300))))).toMatchObject({ ok: true });
    expect((await held(remote))["lease/x"], "control").toEqual(bound(200));
    refuse(false);
    await expect.poll(async () => (await held(remote))["lease/x"], { timeout: 5_000 }).toEqual(bound(300));
    await agent.stop();
    await second.close();
  });

  test("a copy that cannot be written stops nobody, is told, and is made anew when it can", async () => {
    const clock = testClock();
    const [remote, copy] = [memoryStore(clock), memoryStore(clock)];
    const faults: (string | undefined)[] = [];
    let isFull = false;
    const full: Store = {
      ...copy,
      commit: (one) => (isFull ? Promise.reject(new GuardError("STORE_UNAVAILABLE", "full")) : copy.commit(one)),
    };
    const store = openFleetStore({
      remote,
      copy: full,
      health: createStoreHealth(),
      mayKeep: () => false,
      format: 1,
      copyFault: (fault) => faults.push(fault),
    });
    const agent = await follow(store);
    isFull = true;
    await commits(remote, write(put("guest/a", 1)));
    await expect.poll(() => agent.seen.length).toBe(1);
    isFull = false;
    await commits(remote, write(put("guest/b", 2)));
    await expect.poll(() => agent.seen.length).toBe(2);
    expect(faults).toEqual(["full", undefined]);
    const copied = (await copy.read("copied/")).entries;
    expect([...copied.keys()].sort()).toEqual(["copied/guest/a", "copied/guest/b"]);
    await agent.stop();
    await store.close();
  });
});
