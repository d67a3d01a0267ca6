/** What the embedded store promises of the disk: acknowledged is kept through kill -9, damage is named, and one process has it at a time. */
import { type ChildProcess, execFileSync, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import {
  cpSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import Database from "libsql";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { GuardError } from "../src/model/errors.ts";
import { decodeRecord } from "../src/store/collections.ts";
import { type EmbeddedOptions, openEmbeddedStore } from "../src/store/embedded.ts";
import { storeFormat } from "../src/store/migrate.ts";
import type { Json, Store } from "../src/store/store.ts";
import { codeOf, commits, del, put, testClock, write } from "./store.contract.ts";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const scratch = mkdtempSync(join(tmpdir(), "vifguard-durability-"));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

let directories = 0;
function newDirectory(): string {
  directories += 1;
  return join(scratch, `state-${directories}`);
}

const stores: Store[] = [];
async function open(directory: string, more: Partial<EmbeddedOptions> = {}): Promise<Store> {
  const store = await openEmbeddedStore({ directory, clock: testClock(), ...more });
  stores.push(store);
  return store;
}
afterEach(async () => {
  for (const store of stores.splice(0)) await store.close();
});

async function refusalOf(directory: string): Promise<string> {
  try {
    await open(directory);
  } catch (error) {
    if (error instanceof GuardError) return `${error.code} ${error.message}`;
    throw error;
  }
  return "opened";
}

/** A closed store with a few entries in it. */
async function filled(entries = 3): Promise<{ readonly directory: string; readonly file: string }> {
  const directory = newDirectory();
  const store = await open(directory);
  for (let n = 1; n <= entries; n += 1) await commits(store, write(put(`a/${n}`, `value-${n}`), put(`b/${n}`, n)));
  await store.close();
  return { directory, file: join(directory, "store.db") };
}

/** By another process: closing a file here drops every lock this process has on it. */
function copyOpen(directory: string): string {
  const copy = newDirectory();
  execFileSync("cp", ["-a", directory, copy]);
  return copy;
}

/** Commits pairs as fast as it can, 24 outstanding, and says which are acknowledged; node 20 runs no TypeScript. */
const childSource = `
import { writeSync } from "node:fs";
import { openEmbeddedStore } from "./out/store/embedded.js";
const [directory, first, mode] = process.argv.slice(2);
writeSync(1, "opening\\n");
try {
  const store = await openEmbeddedStore({ directory, clock: { now: () => Date.now() } });
  writeSync(1, "open\\n");
  if (mode === "hold") setInterval(() => undefined, 1000);
  else {
    let n = Number(first);
    const one = async () => {
      for (;;) {
        const mine = n++;
        const value = { n: mine, fill: "x".repeat(mine % 700) };
        const commit = await store.commit({ expect: [{ key: "a/" + mine, revision: 0 }], writes: [
          { op: "put", key: "a/" + mine, value }, { op: "put", key: "b/" + mine, value },
        ] });
        writeSync(1, mine + " " + commit.revision + "\\n");
      }
    };
    for (let i = 0; i < 24; i += 1) void one();
  }
} catch (error) {
  writeSync(1, "failed " + error.code + "\\n");
  process.exitCode = 3;
}
`;

interface Child {
  /** Whole lines so far. */
  lines(): readonly string[];
  saysWithin(seconds: number, line: RegExp): Promise<void>;
  kill(): Promise<void>;
}

const children: ChildProcess[] = [];
afterEach(() => {
  for (const child of children.splice(0)) child.kill("SIGKILL");
});

function startChild(directory: string, first: number, mode: "write" | "hold"): Child {
  const child = spawn(process.execPath, [join(scratch, "child.mjs"), directory, String(first), mode], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.setEncoding("utf8").on("data", (more: string) => {
    output += more;
  });
  const gone = once(child, "close");
  children.push(child);
  return {
    lines: () => output.split("\n").slice(0, -1),
    saysWithin: async (seconds, line) => {
      for (let i = 0; i < seconds * 200 && !line.test(output); i += 1) await sleep(5);
      expect(output).toMatch(line);
    },
    kill: async () => {
      child.kill("SIGKILL");
      await gone;
    },
  };
}

beforeAll(() => {
  const out = join(scratch, "out");
  // Others may be in the middle of their files: what compiles is written all the same.
  spawnSync(process.execPath, [
    join(root, "node_modules/typescript/bin/tsc"),
    ...["-p", join(root, "tsconfig.build.json"), "--outDir", out, "--noEmitOnError", "false"],
  ]);
  expect(existsSync(join(out, "store/embedded.js"))).toBe(true);
  writeFileSync(join(scratch, "package.json"), '{ "type": "module" }');
  writeFileSync(join(scratch, "child.mjs"), childSource);
  symlinkSync(join(root, "node_modules"), join(scratch, "node_modules"));
}, 60_000);

/** Nothing half, nothing out of order, nothing acknowledged is missing. */
function assertWhole(snapshot: Awaited<ReturnType<Store["read"]>>, acknowledged: ReadonlyMap<number, number>): void {
  const { entries, revision: newest } = snapshot;
  const revisions = new Set<number>();
  for (const { key, value, revision } of entries.values()) {
    const twin = entries.get(key.startsWith("a/") ? `b/${key.slice(2)}` : `a/${key.slice(2)}`);
    if (twin?.revision !== revision || JSON.stringify(twin.value) !== JSON.stringify(value))
      throw new Error(`${key} is there by half`);
    revisions.add(revision);
  }
  // Every pair is written once, so the revisions are 1 to the newest without a gap.
  expect(revisions.size).toBe(newest);
  expect(Math.max(0, ...revisions)).toBe(newest);
  for (const [n, revision] of acknowledged) {
    if (entries.get(`a/${n}`)?.revision !== revision) throw new Error(`acknowledged ${n} at ${revision} is lost`);
  }
}

describe("kill -9", () => {
  test("loses nothing that was acknowledged and leaves nothing half, round after round", async () => {
    const directory = newDirectory();
    const acknowledged = new Map<number, number>();
    let next = 0;
    for (let round = 0; round < 15; round += 1) {
      const child = startChild(directory, next, "write");
      await child.saysWithin(10, /^\d+ \d+$/m);
      await sleep(Math.random() * 150);
      await child.kill();
      for (const line of child.lines().filter((one) => /^\d/.test(one))) {
        const [n, revision] = line.split(" ").map(Number);
        if (n !== undefined && revision !== undefined) acknowledged.set(n, revision);
      }
      const store = await open(directory);
      const snapshot = await store.read("");
      assertWhole(snapshot, acknowledged);
      next = snapshot.entries.size;
      await store.close();
    }
    expect(acknowledged.size).toBeGreaterThan(500);
  }, 60_000);

  test("while a store is being made or opened leaves one that opens", async () => {
    let directory = newDirectory();
    for (let round = 0; round < 15; round += 1) {
      if (round % 3 === 0) directory = newDirectory();
      const child = startChild(directory, round * 100_000, "write");
      await child.saysWithin(10, /^opening$/m);
      await sleep(Math.random() * 12);
      await child.kill();
      const store = await open(directory);
      assertWhole(await store.read(""), new Map());
      await store.close();
    }
  }, 60_000);
});

describe("one process", () => {
  test("has the directory, in this process and in another; a killed one does not block", async () => {
    const directory = newDirectory();
    const holder = startChild(directory, 0, "hold");
    await holder.saysWithin(10, /^open$/m);
    expect(await refusalOf(directory)).toBe(
      `AGENT_RUNNING '${join(directory, "store.db")}' is in use by another process`,
    );
    await holder.kill();
    const store = await open(directory);
    expect(await refusalOf(directory)).toContain("AGENT_RUNNING");
    const second = startChild(directory, 0, "hold");
    await second.saysWithin(10, /^failed AGENT_RUNNING$/m);
    await commits(store, write(put("a", 1)));
    await store.close();
    const third = startChild(directory, 0, "hold");
    await third.saysWithin(10, /^open$/m);
    await third.kill();
  }, 30_000);

  test("gives the directory back when it closes, as one file", async () => {
    const { directory } = await filled();
    expect(readdirSync(directory)).toEqual(["store.db"]);
    for (let n = 0; n < 5; n += 1) {
      const store = await open(directory);
      expect((await store.read("")).revision).toBe(3 + n);
      await commits(store, write(put("again", n)));
      await store.close();
    }
  });

  test("and nobody else can read its files", async () => {
    const directory = newDirectory();
    const store = await open(directory);
    await commits(store, write(put("a", 1)));
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    for (const file of readdirSync(directory)) expect(statSync(join(directory, file)).mode & 0o777, file).toBe(0o600);
    expect(readdirSync(directory).length).toBeGreaterThan(1);
  });
});

describe("what was written", () => {
  test("is there again with its revisions, and the next revision is a new one", async () => {
    const directory = newDirectory();
    const first = await open(directory);
    await commits(first, write(put("a", { deep: [1, "\u{1F600}\u0000"] }), put("b", 1)));
    await commits(first, write(del("b"), put("c", 3)));
    const before = await first.read("");
    await first.close();
    const second = await open(directory);
    expect(await second.read("")).toEqual(before);
    expect(await second.commit({ expect: [{ key: "a", revision: 1 }], writes: [put("a", 2)] })).toEqual({
      ok: true,
      revision: 3,
    });
    // What was before this process is not remembered for watchers.
    const watch = second.watch("", 1, new AbortController().signal)[Symbol.asyncIterator]();
    expect(await codeOf(() => watch.next())).toBe("CONFLICT");
  });

  test("under a lease of an earlier process stays as long anew, however long no process ran, and vanishes as a change", async () => {
    const directory = newDirectory();
    let now = 0;
    const clock = { now: () => now };
    const first = await open(directory, { clock });
    const lease = await first.grantLease(1000);
    await commits(first, write(put("host/a", 1, lease), put("stays", 1)));
    await first.close();
    now = 5_000_000;
    const second = await open(directory, { clock });
    expect([...(await second.read("")).entries.keys()]).toEqual(["host/a", "stays"]);
    now += 999_000;
    expect([...(await second.read("")).entries.keys()]).toEqual(["host/a", "stays"]);
    now += 1_000;
    const watch = second.watch("", 1, new AbortController().signal)[Symbol.asyncIterator]();
    expect((await watch.next()).value).toEqual({ revision: 2, changes: [{ key: "host/a", deleted: true }] });
    expect([...(await second.read("")).entries.keys()]).toEqual(["stays"]);
    expect(await second.keepAlive(lease)).toBe(false);
    expect(await second.grantLease(1000)).not.toBe(lease);
  });
});

describe("a full disk", () => {
  test("refuses the commit, keeps memory and disk as they were, and is forgotten when there is room", async () => {
    const directory = newDirectory();
    const store = await open(directory, { maxPages: 24 });
    await commits(store, write(put("kept", 1)));
    const before = await store.read("");
    const seen: number[] = [];
    const stopping = new AbortController();
    const watching = (async () => {
      for await (const { revision } of store.watch("", 1, stopping.signal)) seen.push(revision);
    })();
    const large: Json = "x".repeat(200_000);
    const together = await Promise.all(
      [put("small", 1), put("large", large), put("kept", 2)].map((one) => codeOf(() => store.commit(write(one)))),
    );
    expect(together).toEqual(["STORE_UNAVAILABLE", "STORE_UNAVAILABLE", "STORE_UNAVAILABLE"]);
    expect(await store.read("")).toEqual(before);
    expect(await store.commit({ expect: [{ key: "kept", revision: 9 }], writes: [] })).toMatchObject({ ok: false });
    // Until nothing more fits, one by one.
    let fits = 0;
    while ((await codeOf(() => store.commit(write(put(`fill/${fits}`, "x".repeat(3000)))))) === "no error") fits += 1;
    expect(fits).toBeGreaterThan(3);
    expect(await codeOf(() => store.commit(write(put("more", "x".repeat(3000)))))).toBe("STORE_UNAVAILABLE");
    expect(await commits(store, write(del("fill/0"), del("fill/1")))).toBe(fits + 2);
    expect(await commits(store, write(put("more", "x".repeat(3000))))).toBe(fits + 3);
    const after = await store.read("");
    stopping.abort();
    await watching;
    expect(seen).toEqual(Array.from({ length: fits + 2 }, (_, n) => n + 2));
    await store.close();
    expect(await (await open(directory)).read("")).toEqual(after);
  });

  test("does not lose a revoked lease: it can be revoked when there is room", async () => {
    const directory = newDirectory();
    const store = await open(directory, { maxPages: 24 });
    const lease = await store.grantLease(60);
    await commits(store, write(put("host/a", 1, lease)));
    const [failed, revoked] = await Promise.all([
      codeOf(() => store.commit(write(put("large", "x".repeat(200_000))))),
      codeOf(() => store.revokeLease(lease)),
    ]);
    expect([failed, revoked]).toEqual(["STORE_UNAVAILABLE", "STORE_UNAVAILABLE"]);
    expect(await store.keepAlive(lease)).toBe(true);
    expect((await store.read("")).entries.has("host/a")).toBe(true);
    await store.revokeLease(lease);
    expect((await store.read("")).entries.size).toBe(0);
  });

  test("on which no directory can be made is told as such", async () => {
    const blocked = join(scratch, "a-file");
    writeFileSync(blocked, "");
    expect(await refusalOf(join(blocked, "state"))).toContain("STORE_UNAVAILABLE");
    expect(await refusalOf(newDirectory())).toBe("opened");
  });
});

describe("an older format", () => {
  const before = {
    "network/lan0": {
      prefix4: "203.0.113.0/24",
      gateway4: "203.0.113.1",
      range4: [],
      wiring: { kind: "bridged", bridge: "br0" },
      addressing: { kind: "managed", leaseSeconds: 3600, macScheme: "ip", dns: [], ntp: [], search: [], routes: [] },
    },
    "guest/web1": {
      name: "web1",
      spec: {
        nics: [
          { network: "lan0", groups: ["web"] },
          { network: "lan0", groups: [] },
        ],
      },
      nics: [
        { network: "lan0", mac: "fe:00:cb:00:71:0a", addresses4: ["203.0.113.10"] },
        { network: "lan0", mac: "fe:00:cb:00:71:0b", addresses4: ["203.0.113.11"] },
      ],
    },
    "group/web": {
      ingress: [
        { protocol: "tcp", ports: ["8000-8080", "80"], peer: "any" },
        { protocol: "udp", peer: { group: "web" } },
        { protocol: 47, peer: "network" },
      ],
      egress: [],
    },
    "group/db": { ingress: [], egress: [{ protocol: "icmp", peer: { prefix: "10.0.0.0/8" } }] },
    "attachment/h1/vif1.0": { port: "vif1.0", ifindex: 7, epoch: "boot/1", guest: "web1", nic: 0, since: 10 },
    "attachment/h1/vif1.1": { port: "vif1.1", ifindex: 8, epoch: "boot/1", guest: "web1", nic: 1, since: 10 },
    // Left over of an earlier boot.
    "attachment/h1/vif9.0": { port: "vif9.0", ifindex: 4, epoch: "boot/0", guest: "web1", nic: 0, since: 9 },
  };

  test("is brought up to date, and everything in it is what this version reads", async () => {
    const { directory, file } = await filled();
    const database = new Database(file);
    const put = database.prepare("INSERT INTO entries (key, value, revision) VALUES (?, ?, 1)");
    database.exec("DELETE FROM entries");
    for (const [key, value] of Object.entries(before)) put.run(key, JSON.stringify(value));
    database.exec("PRAGMA user_version = 1");
    database.close();
    const store = await open(directory);
    const { entries } = await store.read("");
    const record = (key: string) => decodeRecord(key, entries.get(key)?.value ?? null).value;
    expect(record("network/lan0")).toEqual({
      ...before["network/lan0"],
      hostServices: [],
      multicast: [],
      suppression: false,
      mode: "enforce",
      rates: {},
      groups: [],
      connections: 8192,
      addressing: { ...before["network/lan0"].addressing, dns6: [] },
    });
    const bare = { addresses: [], allowedPairs: [], roles: [], unchecked: [], rates: {} };
    expect(record("guest/web1")).toEqual({
      ...before["guest/web1"],
      spec: { nics: before["guest/web1"].spec.nics.map((nic) => ({ ...bare, ...nic })) },
    });
    const ports = [
      { first: 80, last: 80 },
      { first: 8000, last: 8080 },
    ];
    expect(record("group/web")).toEqual({
      ingress: [
        { service: { kind: "tcp", ports }, peer: { kind: "any" } },
        { service: { kind: "udp", ports: [] }, peer: { kind: "group", group: "web" } },
        { service: { kind: "protocol", number: 47 }, peer: { kind: "network" } },
      ],
    });
    expect(record("group/db")).toEqual({
      ingress: [],
      egress: [{ service: { kind: "icmp" }, peer: { kind: "prefix4", prefix: "10.0.0.0/8" } }],
    });
    for (const [nic, port] of ["vif1.0", "vif1.1"].entries())
      expect(record(`claim/web1/${nic}`)).toEqual({ fence: 1, holder: { host: "h1", port } });
    for (const port of ["vif1.0", "vif1.1", "vif9.0"] as const)
      expect(record(`attachment/h1/${port}`)).toEqual({ ...before[`attachment/h1/${port}`], fence: 1 });
    for (const nic of [0, 1])
      expect(record(`member/lan0/web1/${nic}`)).toMatchObject(before["guest/web1"].nics[nic] ?? {});
    expect(record("carrier/web/web1/0")).toEqual(record("member/lan0/web1/0"));
    expect(entries.size, "and nothing else came into being").toBe(Object.keys(before).length + 2 + 3);
    await store.close();
  });
});

describe("damage", () => {
  const change = (file: string, sql: string): void => {
    const database = new Database(file);
    database.exec(sql);
    database.close();
  };
  const cases: readonly (readonly [string, RegExp, (file: string) => void])[] = [
    ["a file that is no database", /not a database/, (file) => writeFileSync(file, "{}".repeat(5000))],
    ["an empty file", /the file is empty/, (file) => truncateSync(file, 0)],
    ["a file cut in the middle", /malformed|damaged|page/i, (file) => truncateSync(file, statSync(file).size - 4096)],
    [
      "a value that is no JSON",
      /entry 'a\/2' is damaged/,
      (file) => change(file, "UPDATE entries SET value = '{' WHERE key = 'a/2'"),
    ],
    [
      "an entry from the future",
      /entry 'b\/1' is damaged/,
      (file) => change(file, "UPDATE entries SET revision = 99 WHERE key = 'b/1'"),
    ],
    ["no revision", /lost count/, (file) => change(file, "DELETE FROM head")],
    ["a missing table", /no such table/, (file) => change(file, "DROP TABLE entries")],
    [
      "a newer format",
      new RegExp(
        `newer version of vifguard \\(format ${storeFormat + 1}; this one knows formats up to ${storeFormat}\\)`,
      ),
      (file) => change(file, `PRAGMA user_version = ${storeFormat + 1}`),
    ],
    [
      "another program's database",
      /database of another program/,
      (file) => {
        rmSync(file);
        change(file, "CREATE TABLE songs (title TEXT)");
      },
    ],
    [
      "a missing file beside its log",
      /missing, though its write-ahead log/,
      (file) => {
        rmSync(file);
        writeFileSync(`${file}-wal`, "x");
      },
    ],
  ];
  test.each(cases)("%s is refused with words", async (_, words, damage) => {
    const { directory, file } = await filled();
    // Its twin without the damage opens.
    const twin = newDirectory();
    cpSync(directory, twin, { recursive: true });
    expect(await refusalOf(twin)).toBe("opened");
    damage(file);
    const refusal = await refusalOf(directory);
    expect(refusal).toMatch(words);
    expect(refusal).toContain(`STORE_CORRUPT '${file}'`);
  });

  /** Opens a copy with this log, and says up to which revision it came back. */
  async function reopenWith(whole: string, log: Uint8Array): Promise<number> {
    const copy = newDirectory();
    cpSync(whole, copy, { recursive: true });
    writeFileSync(join(copy, "store.db-wal"), log);
    const damaged = await open(copy);
    const snapshot = await damaged.read("");
    assertWhole(snapshot, new Map());
    await commits(damaged, write(put("a/next", 1), put("b/next", 1)));
    await damaged.close();
    return snapshot.revision;
  }
  const garbled = (log: Uint8Array, from: number): Uint8Array =>
    log.map((byte, at) => (at >= from && (at - from) % 4001 === 0 ? byte ^ 0x5a : byte));

  test("a log that is torn or garbled at its end gives the transactions before it, whole", async () => {
    const directory = newDirectory();
    const store = await open(directory);
    for (let n = 1; n <= 60; n += 1) await commits(store, write(put(`a/${n}`, n), put(`b/${n}`, n)));
    const whole = copyOpen(directory);
    await store.close();
    const log = new Uint8Array(readFileSync(join(whole, "store.db-wal")));
    expect(await reopenWith(whole, log)).toBe(60);
    const survivors: number[] = [];
    for (const part of [0.999, 0.9, 0.7321, 0.5, 0.2113, 0.01, 0]) {
      const at = Math.floor(log.length * part);
      survivors.push(await reopenWith(whole, log.slice(0, at)));
      expect(await reopenWith(whole, garbled(log, at))).toBe(survivors.at(-1));
    }
    expect(survivors).toEqual(survivors.toSorted((a, b) => b - a));
    expect([survivors[0], survivors.at(-1)]).toEqual([59, 0]);
  });
});
