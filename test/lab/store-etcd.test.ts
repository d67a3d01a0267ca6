/** The store contract on a real etcd, and what only a store behind a network meets: members that go, answers that are lost, what etcd has forgotten. */

import { readFileSync } from "node:fs";
import { connect, createServer, type Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { patience } from "../../src/lab/patience.ts";
import { type EtcdOptions, openEtcdStore } from "../../src/store/etcd.ts";
import type { Commit, Revision, Snapshot, Store, Write } from "../../src/store/store.ts";
import { codeOf, commits, storeContract } from "../store.contract.ts";
import { type EtcdCluster, makePki, type Pki, startEtcd } from "../support/etcd.ts";

let etcd: EtcdCluster;
beforeAll(async () => {
  etcd = await startEtcd({ members: 1 });
  await etcd.ready();
});
afterAll(() => etcd?.down());

/** Counts revisions from where etcd stood when the store was opened, as the contract does. */
function fromZero(store: Store, base: Revision): Store {
  const up = (revision: Revision): Revision => (revision === 0 ? 0 : revision + base);
  const down = (revision: Revision): Revision => Math.max(0, revision - base);
  const lowered = ({ revision, entries }: Snapshot): Snapshot => ({
    revision: down(revision),
    entries: new Map([...entries].map(([key, entry]) => [key, { ...entry, revision: down(entry.revision) }])),
  });
  const verdict = (commit: Commit): Commit => (commit.ok ? { ok: true, revision: down(commit.revision) } : commit);
  return {
    ...store,
    read: async (prefix) => lowered(await store.read(prefix)),
    watch: async function* (prefix, after, signal) {
      for await (const { revision, changes } of store.watch(prefix, after + base, signal))
        yield { revision: down(revision), changes };
    },
    commit: async ({ expect, writes }) =>
      verdict(
        await store.commit({ expect: expect.map(({ key, revision }) => ({ key, revision: up(revision) })), writes }),
      ),
  };
}

let opened = 0;
storeContract("etcd", async (_clock, { history }) => {
  opened += 1;
  const store = openEtcdStore({ endpoints: etcd.endpoints, root: `test/${opened}`, client: "host-1", format: 1 });
  const { revision } = await store.read("");
  return {
    store: fromZero(store, revision),
    clean: () => undefined,
    wait: (seconds) => sleep(1000 * seconds),
    forget: async () => {
      if (history !== undefined) etcd.ctl("compaction", String((await store.read("")).revision - history + 1));
    },
  };
});

const put = (key: string, value: number): Write => ({ op: "put", key, value });
const text = (store: Store, key: string): Promise<unknown> =>
  store.read(key).then(({ entries }) => entries.get(key)?.value);

/** Between a client and a member: hands over what is asked, and can keep the answer back and hang up. */
async function startCutter(to: string) {
  const target = new URL(to);
  let isCutting = false;
  let cuts = 0;
  let connections = 0;
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    connections += 1;
    const upstream = connect(Number(target.port), target.hostname);
    for (const one of [socket, upstream]) {
      open.add(one);
      one.on("error", () => undefined);
      one.on("close", () => {
        open.delete(one);
        socket.destroy();
        upstream.destroy();
      });
    }
    socket.on("data", (chunk: Uint8Array) => upstream.write(chunk));
    upstream.on("data", (chunk: Uint8Array) => {
      if (!isCutting) socket.write(chunk);
      else if (isAnswer(chunk)) {
        // What was asked is done by now.
        cuts += 1;
        isCutting = false;
        socket.destroy();
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  const port = typeof address === "object" && address !== null ? address.port : 0;
  return {
    url: `http://127.0.0.1:${port}`,
    cut: () => {
      isCutting = true;
    },
    cuts: () => cuts,
    connections: () => connections,
    close: () => {
      for (const socket of open) socket.destroy();
      server.close();
    },
  };
}

/** A frame of HTTP/2 that carries data (RFC 9113 section 6.1): not an acknowledgement, which comes before the work is done. */
const isAnswer = (chunk: Uint8Array): boolean => {
  for (
    let at = 0;
    at + 9 <= chunk.length;
    at += 9 + ((chunk[at] ?? 0) << 16) + ((chunk[at + 1] ?? 0) << 8) + (chunk[at + 2] ?? 0)
  )
    if (chunk[at + 3] === 0) return true;
  return false;
};

describe("an answer that is lost", () => {
  test("does not make a transaction twice, nor call it a conflict", async () => {
    const cutter = await startCutter(etcd.members[0]?.url ?? "");
    const store = openEtcdStore({ endpoints: [cutter.url], root: "lost", client: "host-1", format: 1 });
    const other = openEtcdStore({ endpoints: etcd.endpoints, root: "lost", client: "host-2", format: 1 });
    await store.read("");
    await commits(store, { expect: [], writes: [put("a", 0)] });
    let revision = (await store.read("a")).entries.get("a")?.revision ?? 0;
    const first = revision;
    for (let n = 1; n <= 10; n += 1) {
      cutter.cut();
      const commit = await store.commit({ expect: [{ key: "a", revision }], writes: [put("a", n)] });
      expect(commit, `transaction ${n}`).toEqual({ ok: true, revision: revision + 1 });
      revision += 1;
    }
    expect(cutter.cuts(), "control: answers were lost").toBe(10);
    expect(await text(other, "a")).toBe(10);
    expect(revision).toBe(first + 10);
    // Another process under the same name is no reason to give up, nor to take its mark for one's own.
    const twin = openEtcdStore({ endpoints: etcd.endpoints, root: "lost", client: "host-1", format: 1 });
    for (let n = 11; n <= 16; n += 1) {
      const writer = n % 2 === 0 ? store : twin;
      const at = (await other.read("a")).entries.get("a")?.revision ?? 0;
      expect(await writer.commit({ expect: [{ key: "a", revision: at }], writes: [put("a", n)] })).toMatchObject({
        ok: true,
      });
    }
    expect(await other.commit({ expect: [{ key: "a", revision }], writes: [put("a", 99)] }), "control").toEqual({
      ok: false,
      conflict: "a",
    });
    for (const one of [store, other, twin]) await one.close();
    cutter.close();
  });

  test("of a lease that was granted is made up for by asking again", async () => {
    const cutter = await startCutter(etcd.members[0]?.url ?? "");
    const store = openEtcdStore({ endpoints: [cutter.url], root: "granted", client: "host-1", format: 1 });
    await store.read("");
    cutter.cut();
    const lease = await store.grantLease(60);
    expect(cutter.cuts(), "control: the answer was lost").toBe(1);
    await commits(store, { expect: [], writes: [{ op: "put", key: "a", value: 1, lease }] });
    expect(await store.keepAlive(lease)).toBe(true);
    await store.revokeLease(lease);
    expect(await text(store, "a")).toBe(undefined);
    await store.close();
    cutter.close();
  });

  test("etcd away: said once, tried until it is back, refused after a while", async () => {
    const told: (string | undefined)[] = [];
    const health = (fault: string | undefined): void => void told.push(fault);
    const options = { endpoints: ["http://127.0.0.1:1"], root: "away", client: "host-1", format: 1, health };
    const store = openEtcdStore({ ...options, patience: 400 });
    expect(await codeOf(() => store.read(""))).toBe("STORE_UNAVAILABLE");
    expect(await codeOf(() => store.commit({ expect: [], writes: [put("a", 1)] }))).toBe("STORE_UNAVAILABLE");
    expect(told).toEqual([expect.stringContaining("ECONNREFUSED")]);
    await store.close();
    // The second endpoint is there.
    const both = openEtcdStore({ ...options, endpoints: ["http://127.0.0.1:1", ...etcd.endpoints] });
    await commits(both, { expect: [], writes: [put("a", 1)] });
    expect(told.at(-1)).toBe(undefined);
    await both.close();
  });

  test("a watch that is not wanted any more ends alone: the others go on at their member, and nobody is told that it is away", async () => {
    const told: (string | undefined)[] = [];
    const health = (fault: string | undefined): void => void told.push(fault);
    const cutter = await startCutter(etcd.endpoints[0] ?? "");
    const store = openEtcdStore({ endpoints: [cutter.url], root: "ends", client: "host-1", format: 1, health });
    const after = await commits(store, { expect: [], writes: [put("a", 1)] });
    const [going, ending] = [new AbortController(), new AbortController()];
    const heard: Revision[] = [];
    const follow = async (key: string, { signal }: AbortController): Promise<void> => {
      for await (const { revision } of store.watch({ key }, after, signal)) heard.push(revision);
    };
    const followed = [follow("a", going), follow("b", ending)];
    const before = await commits(store, { expect: [], writes: [put("a", 2), put("b", 2)] });
    await expect.poll(() => heard).toEqual([before, before]);
    ending.abort();
    await followed[1];
    const last = await commits(store, { expect: [], writes: [put("a", 3), put("b", 3)] });
    await expect.poll(() => heard).toEqual([before, before, last]);
    await sleep(100);
    expect([told, cutter.connections()]).toEqual([[], 1]);
    going.abort();
    await followed[0];
    await store.close();
    cutter.close();
  });

  test("an agent that was busy for longer than an answer may take is not told that etcd is away", async () => {
    const told: (string | undefined)[] = [];
    const health = (fault: string | undefined): void => void told.push(fault);
    const store = openEtcdStore({ endpoints: etcd.endpoints, root: "busy", client: "host-1", format: 1, health });
    await commits(store, { expect: [], writes: [put("a", 1)] });
    const reading = text(store, "a");
    // Until the question has left; and as in a pass the timers of the loop come next, before the socket is read.
    for (let turn = 0; turn < 3; turn += 1) await new Promise<void>((resolve) => setImmediate(resolve));
    const begun = Date.now();
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 3_000);
    expect(Date.now() - begun, "control: longer than a call").toBeGreaterThan(2_900);
    expect(await reading).toBe(1);
    expect(told).toEqual([]);
    await store.close();
  });

  test("what is larger than etcd takes is refused with the way out, and leaves nothing", async () => {
    const store = openEtcdStore({ endpoints: etcd.endpoints, root: "large", client: "host-1", format: 1 });
    const writes = Array.from({ length: 100_001 }, (_, n) => put(`k/${n}`, n));
    await expect(store.commit({ expect: [], writes })).rejects.toThrow(/limits that docs\/fleet.md names/);
    expect((await store.read("")).entries.size).toBe(0);
    await commits(store, { expect: [], writes: writes.slice(0, 20_000) });
    expect((await store.read("")).entries.size, "control, in pages").toBe(20_000);
    await store.close();
  });
});

test("readings that are asked for at once are whole, of one moment, and few questions to etcd", async () => {
  const store = openEtcdStore({ endpoints: etcd.endpoints, root: "together", client: "host-1", format: 1 });
  await store.read("");
  const many = Array.from({ length: 6_000 }, (_, n) => put(`many/${n}`, n));
  await commits(store, { expect: [], writes: many });
  const few = Array.from({ length: 150 }, (_, n) => put(`few/${n}/x`, n));
  const revision = await commits(store, { expect: [], writes: few });
  expect((await store.read("few/")).revision).toBe(revision);
  const asked = async (): Promise<number> => {
    const text = await (await fetch(`${etcd.endpoints[0]}/metrics`)).text();
    const lines = text.matchAll(/^grpc_server_started_total\{grpc_method="(?:Range|Txn)".* (\d+)$/gm);
    return [...lines].reduce((sum, [, count]) => sum + Number(count), 0);
  };
  const before = await asked();
  const [all, none, ...each] = await Promise.all(
    ["many/", "nothing/", ...few.map(({ key }) => key)].map((place) => store.read(place)),
  );
  expect(all?.entries.size).toBe(6_000);
  expect(all?.entries.get("many/5999")?.value).toBe(5_999);
  expect(none).toEqual({ revision, entries: new Map() });
  expect(each.map(({ entries }) => [...entries.values()].map(({ value }) => value))).toEqual(few.map((_, n) => [n]));
  expect(new Set(each.map((one) => one.revision))).toEqual(new Set([revision]));
  // 152 in two transactions, and two pages more of the long one.
  expect((await asked()) - before).toBe(4);
  await store.close();
});

test("a store of another format is not read, and not written", async () => {
  const open = (format: number): Store =>
    openEtcdStore({ endpoints: etcd.endpoints, root: "format", client: "host-1", format });
  const [now, later] = [open(7), open(8)];
  await now.read("");
  await commits(now, { expect: [], writes: [put("a", 1)] });
  await expect(later.read("")).rejects.toThrow(/has format 7, this version of vifguard reads 8/);
  expect(await text(now, "a"), "control").toBe(1);
  for (const store of [now, later]) await store.close();
});

describe("three members with certificates", () => {
  let three: EtcdCluster;
  let pki: Pki;
  const options = (client: string): EtcdOptions => ({
    endpoints: three.endpoints,
    root: "fleet",
    client,
    format: 1,
    tls: { ca: readFileSync(pki.client.ca), cert: readFileSync(pki.client.cert), key: readFileSync(pki.client.key) },
  });
  beforeAll(async () => {
    pki = makePki();
    three = await startEtcd({ members: 3, tls: pki.server, clientTls: pki.client });
    await three.ready();
  });
  afterAll(() => {
    three?.down();
    pki?.remove();
  });

  test("a client without one, or with one of another authority, is turned away", async () => {
    const stranger = makePki();
    const { tls, ...without } = { ...options("host-1"), patience: 500 };
    const ca = readFileSync(pki.client.ca);
    const foreign = { ca, cert: readFileSync(stranger.client.cert), key: readFileSync(stranger.client.key) };
    for (const wrong of [{ ca }, foreign, { ...tls, ca: readFileSync(stranger.client.ca) }]) {
      const store = openEtcdStore({ ...without, tls: wrong });
      expect(await codeOf(() => store.read(""))).toBe("STORE_UNAVAILABLE");
      await store.close();
    }
    const store = openEtcdStore(options("host-1"));
    await commits(store, { expect: [], writes: [put("control", 1)] });
    await store.close();
    stranger.remove();
  });

  test("members die one after the other under writers: nothing acknowledged is lost, nothing is there twice, watches miss nothing", async () => {
    const stores = Array.from({ length: 4 }, (_, n) => openEtcdStore(options(`writer-${n}`)));
    const reader = openEtcdStore(options("reader"));
    const { revision } = await reader.read("count/");
    const seen: string[] = [];
    const stopping = new AbortController();
    const watching = (async () => {
      for await (const { changes } of reader.watch("count/", revision, stopping.signal))
        for (const change of changes) seen.push(`${change.key}=${"value" in change ? change.value : "deleted"}`);
    })();
    let isOver = false;
    const acknowledged = stores.map(async (store, n) => {
      const done: string[] = [];
      for (let i = 1; !isOver; i += 1) {
        const key = `count/${n}`;
        const at = (await store.read(key)).entries.get(key)?.revision ?? 0;
        const commit = await store.commit({ expect: [{ key, revision: at }], writes: [put(key, i)] });
        // Only this writer writes its key: a conflict would be its own transaction, made behind its back.
        expect(commit.ok).toBe(true);
        done.push(`${key}=${i}`);
      }
      return done;
    });
    for (const member of three.members) {
      await sleep(500);
      member.kill("SIGKILL");
      await sleep(1_500);
      member.start();
      await sleep(1_500);
    }
    isOver = true;
    const all = (await Promise.all(acknowledged)).flat();
    await expect.poll(() => seen.length, { timeout: patience(5_000) }).toBe(all.length);
    expect(seen.toSorted()).toEqual(all.toSorted());
    expect(all.length, "control: they wrote").toBeGreaterThan(100);
    stopping.abort();
    await watching;
    for (const store of [...stores, reader]) await store.close();
  });

  test("a member that stands still is left for another one", async () => {
    const store = openEtcdStore({ ...options("still"), patience: 20_000 });
    await commits(store, { expect: [], writes: [put("still", 1)] });
    const [first] = three.members;
    first?.kill("SIGSTOP");
    try {
      await commits(store, { expect: [], writes: [put("still", 2)] });
      expect(await text(store, "still")).toBe(2);
    } finally {
      first?.kill("SIGCONT");
    }
    await store.close();
  });
});

test("user and password: the right ones get in, also when the token is too old", async () => {
  const guarded = await startEtcd({ members: 1 });
  try {
    await guarded.ready();
    for (const argv of [
      ["user", "add", "root:secret"],
      ["user", "grant-role", "root", "root"],
      ["auth", "enable"],
    ])
      guarded.ctl(...argv);
    const open = (password: string): Store =>
      openEtcdStore({
        endpoints: guarded.endpoints,
        root: "r",
        client: "c",
        format: 1,
        patience: 500,
        user: { name: "root", password },
      });
    const [right, wrong] = [open("secret"), open("guess")];
    await commits(right, { expect: [], writes: [put("a", 1)] });
    expect(await codeOf(() => wrong.read(""))).toBe("STORE_UNAVAILABLE");
    // Tokens live in the member's memory: the next one knows none of them.
    guarded.members[0]?.kill("SIGKILL");
    await sleep(200);
    guarded.members[0]?.start();
    await expect.poll(() => text(right, "a").catch(() => undefined), { timeout: patience(10_000) }).toBe(1);
    for (const store of [right, wrong]) await store.close();
  } finally {
    guarded.down();
  }
});
