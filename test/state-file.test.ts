/** The state of a site out of one store and into another: whole or not at all, and never with a number of a claim that is lower than one that was about. */
import { describe, expect, test } from "vitest";
import { RESTORE } from "../src/model/keys.ts";
import type { StateHead } from "../src/model/state.ts";
import { type ImportOptions, importState } from "../src/store/import-state.ts";
import { memoryStore } from "../src/store/memory.ts";
import { storeFormat } from "../src/store/migrate.ts";
import { readState, type StateFile, stateLines } from "../src/store/state-file.ts";
import type { Json, Store } from "../src/store/store.ts";
import { codeOf, put, testClock } from "./store.contract.ts";
import { filledStore } from "./support/filled-store.ts";

const site = `kind: network
name: lan0
spec:
  prefix4: 10.0.0.0/24
  gateway4: 10.0.0.1
  range4: [10.0.0.10-10.0.0.99]
  prefix6: 2001:db8::/64
  wiring: { kind: bridged, bridge: br0 }
---
kind: group
name: web
spec: { ingress: [ { protocol: tcp, ports: [443], from: any } ] }
---
kind: guest
name: web1
spec: { nics: [ { network: lan0, groups: [web] } ] }
---
kind: guest
name: db1
spec: { nics: [ { network: lan0 }, { network: lan0, address4: 10.0.0.50 } ] }
`;

const head: StateHead = {
  vifguard: "state",
  format: storeFormat,
  version: "0.0.0",
  host: "h1",
  revision: 7,
  at: "2030-01-01T00:00:00Z",
};
const NOW = 1_700_000_000_000;
const how: ImportOptions = { replace: false, dryRun: false, now: NOW, settleMs: 0 };
const attachment = (guest: string, port: string, fence: number): Json => ({
  port,
  ifindex: 4,
  epoch: "boot/1",
  guest,
  nic: 0,
  fence,
  since: NOW,
});
const claim = (fence: number, host?: string, port = "vif1.0"): Json => ({
  fence,
  ...(host === undefined ? {} : { holder: { host, port } }),
});

const filled = (text = site): Promise<Store> =>
  filledStore(text, [
    put("claim/web1/0", claim(3, "h1")),
    put("attachment/h1/vif1.0", attachment("web1", "vif1.0", 3)),
  ]);

const linesOf = async (store: Store): Promise<string[]> =>
  [...stateLines(head, (await store.read("")).entries.values())].map((line) => JSON.stringify(line));
const fileOf = async (store: Store) => readState(await linesOf(store));
const held = async (store: Store): Promise<Record<string, Json>> =>
  Object.fromEntries([...(await store.read("")).entries].map(([key, { value }]) => [key, value]));
const site_ = ({ [RESTORE]: _, ...rest }: Record<string, Json>): Record<string, Json> => rest;

/** Ends after so many transactions, as a process that is killed. */
function cutAfter(store: Store, commits: number): Store {
  let left = commits;
  return {
    ...store,
    commit: async (transaction) => {
      if (left === 0) throw new TypeError("killed");
      left -= 1;
      return store.commit(transaction);
    },
  };
}

const isDerived = (key: string): boolean => key.startsWith("member/") || key.startsWith("carrier/");

/** As somebody else wrote it. */
function rewritten(file: StateFile, change: (entries: Map<string, Json>) => void): StateFile {
  const entries = new Map(file.entries);
  change(entries);
  return { ...file, entries };
}

test("what is derived from guests is made anew by an import, whatever the file says of it", async () => {
  const source = await filled();
  const right = site_(await held(source));
  expect(Object.keys(right).filter(isDerived).length, "there is something to be made").toBeGreaterThan(2);
  const file = rewritten(await fileOf(source), (entries) => {
    const [first = "", second = ""] = [...entries.keys()].filter(isDerived);
    entries.set(first, { ...Object(entries.get(first)), addresses4: ["10.9.9.9"] });
    entries.delete(second);
    entries.set("member/lan0/nobody/0", entries.get(second) ?? { ...Object(entries.get(first)) });
  });
  const target = memoryStore(testClock());
  await importState(target, file, how);
  expect(site_(await held(target))).toEqual(right);
});

describe("a file of a state", () => {
  test("is read back as it was written, whatever kinds of records there are", async () => {
    const store = await filled();
    await store.commit({ expect: [], writes: [put("future/thing", { of: ["another", "version"] })] });
    const file = await fileOf(store);
    expect(Object.fromEntries(file.entries)).toEqual(await held(store));
  });

  test("has neither signs of life nor the mark of the store it is from", async () => {
    const store = await filled();
    const lease = await store.grantLease(10);
    await store.commit({
      expect: [],
      writes: [{ op: "put", key: "alive/h1", value: {}, lease }, put(RESTORE, { phase: "done" })],
    });
    const { entries } = await fileOf(store);
    expect(entries.has("guest/web1")).toBe(true);
    expect([...entries.keys()].filter((key) => key === RESTORE || key.startsWith("alive/"))).toEqual([]);
  });

  test.each([
    ["cut short", (lines: string[]) => lines.slice(0, -1), "cut short"],
    ["cut within a line", (lines: string[]) => [...lines.slice(0, 3), (lines[3] ?? "").slice(0, 9)], "no object"],
    ["without a line", (lines: string[]) => lines.toSpliced(2, 1), "entries"],
    ["with another value", (lines: string[]) => lines.map((line) => line.replace("10.0.0.50", "10.0.0.51")), "sha256"],
    ["with a line behind its end", (lines: string[]) => [...lines, '{"key":"a/b","value":1}'], "behind the end"],
    ["with a key twice", (lines: string[]) => lines.toSpliced(2, 0, lines[2] ?? ""), "twice"],
    ["that is another", () => ["{}"], "not the head"],
    ["that is empty", () => [], "empty"],
  ])("%s is refused", async (_, change, says) => {
    const lines = await linesOf(await filled());
    await expect(readState(lines)).resolves.toMatchObject({ head });
    await expect(readState(change(lines))).rejects.toThrow(says);
    expect(await codeOf(() => readState(change(lines)))).toBe("STATE_INVALID");
  });
});

describe("an import into an empty store", () => {
  test("makes it hold what the other one held, and says that it is done", async () => {
    const [from, to] = [await filled(), memoryStore(testClock())];
    const view = await importState(to, await fileOf(from), how);
    expect(site_(await held(to))).toEqual(await held(from));
    expect((await held(to))[RESTORE]).toMatchObject({ phase: "done" });
    expect(view.counts["guest"]).toEqual({ put: 2, deleted: 0 });
    expect(view.sentences).toContain("+ guest web1");
  });

  test("is refused where a site is, and then changes nothing", async () => {
    const [from, to] = [await filled(), await filled()];
    const before = await held(to);
    expect(await codeOf(async () => importState(to, await fileOf(from), how))).toBe("STORE_NOT_EMPTY");
    expect(await held(to)).toEqual(before);
    await expect(importState(to, await fileOf(from), { ...how, replace: true })).resolves.toBeDefined();
  });

  test("changes nothing when it is only to be shown", async () => {
    const to = memoryStore(testClock());
    const view = await importState(to, await fileOf(await filled()), { ...how, dryRun: true });
    expect(view.counts["network"]).toEqual({ put: 1, deleted: 0 });
    expect(await held(to)).toEqual({});
  });

  test.each([
    ["an address that is another's", "address/lan0/10.0.0.50", { guest: "web1", nic: 0 }, "10.0.0.50"],
    ["an address that nobody has", "address/lan0/10.0.0.50", null, "nobody's"],
    ["a network that is not there", "network/lan0", null, "not there"],
  ])("with %s is refused whole", async (_, key, value, says) => {
    const from = await filled();
    const file = await fileOf(from);
    const to = memoryStore(testClock());
    const entries = new Map(file.entries);
    if (value === null) entries.delete(key);
    else entries.set(key, value);
    await expect(importState(to, { ...file, entries }, how)).rejects.toThrow(says);
    expect(await held(to)).toEqual({});
    await importState(to, file, how);
    expect(site_(await held(to))).toEqual(await held(from));
  });

  test("of a record that no version here can read is refused", async () => {
    const file = await fileOf(await filled());
    const to = memoryStore(testClock());
    const strange = { ...file, entries: new Map([...file.entries, ["future/x", 1] as const]) };
    expect(await codeOf(() => importState(to, strange, how))).toBe("STATE_INVALID");
    expect(await held(to)).toEqual({});
  });

  test("of an older format brings it up to this one", async () => {
    const file = await fileOf(await filled());
    const entries = new Map(
      [...file.entries]
        .filter(([key]) => !key.startsWith("claim/") && !isDerived(key))
        .map(([key, value]) => [key, { ...Object(value) }]),
    );
    delete entries.get("attachment/h1/vif1.0").fence;
    const to = memoryStore(testClock());
    await importState(to, { ...file, head: { ...head, format: 3 }, entries }, how);
    expect((await held(to))["claim/web1/0"]).toEqual(claim(1, "h1"));
    expect(
      Object.keys(await held(to))
        .filter(isDerived)
        .sort(),
    ).toEqual([...file.entries.keys()].filter(isDerived).sort());
    expect((await held(to))["attachment/h1/vif1.0"]).toMatchObject({ fence: 1 });
    expect(await codeOf(() => importState(to, { ...file, head: { ...head, format: storeFormat + 1 } }, how))).toBe(
      "STATE_INVALID",
    );
  });

  test("that is cut short leaves its mark, keeps others out, and is taken up again", async () => {
    const many = Array.from(
      { length: 90 },
      (_, n) => `kind: guest\nname: g${n}\nspec: { nics: [{ network: lan0 }] }\n`,
    );
    const wide = site.replace("10.0.0.0/24", "10.0.0.0/16").replace("10.0.0.99", "10.0.9.99");
    const [from, to] = [await filled(`${wide}---\n${many.join("---\n")}`), memoryStore(testClock())];
    const file = await fileOf(from);
    await expect(importState(cutAfter(to, 2), file, how)).rejects.toThrow("killed");
    const torn = await held(to);
    expect(torn[RESTORE]).toMatchObject({ phase: "under-way" });
    expect(Object.keys(torn).length).toBe(101);
    expect(await codeOf(async () => importState(to, await fileOf(await filled()), how))).toBe("STORE_NOT_EMPTY");
    await importState(to, file, how);
    expect(site_(await held(to))).toEqual(await held(from));
    expect((await held(to))[RESTORE]).toMatchObject({ phase: "done" });
  });
});

describe("an import in the place of another state", () => {
  test("takes the site from the file, and where guests are from the store", async () => {
    const [from, to] = [await filled(), await filled(site.replace("name: db1", "name: db2"))];
    await to.commit({
      expect: [],
      writes: [
        put("claim/web1/0", claim(6, "h2", "vif9.0")),
        { op: "delete", key: "attachment/h1/vif1.0" },
        put("attachment/h2/vif9.0", attachment("web1", "vif9.0", 6)),
      ],
    });
    const view = await importState(to, await fileOf(from), { ...how, replace: true });
    const now = await held(to);
    expect([now["guest/db1"] === undefined, now["guest/db2"] === undefined]).toEqual([false, true]);
    expect(view.sentences).toContain("- guest db2");
    expect(now["claim/web1/0"]).toEqual(claim(6, "h2", "vif9.0"));
    expect(now["attachment/h2/vif9.0"]).toMatchObject({ fence: 6 });
    expect(now["attachment/h1/vif1.0"]).toBeUndefined();
  });

  test("never takes a number of a claim back, of a NIC that is attached or of one that is not", async () => {
    const [from, to] = [await filled(), await filled()];
    await from.commit({
      expect: [],
      writes: [put("claim/web1/0", claim(9, "h1")), put("claim/db1/0", claim(4, "h7"))],
    });
    await importState(to, await fileOf(from), { ...how, replace: true });
    const now = await held(to);
    expect(now["claim/web1/0"]).toEqual(claim(9, "h1"));
    expect(now["attachment/h1/vif1.0"]).toMatchObject({ guest: "web1", fence: 9 });
    expect(now["claim/db1/0"]).toEqual(claim(4));
  });

  test("names the ports whose guests are not in the file", async () => {
    const [from, to] = [await filled(), await filled()];
    const gone = { expect: [], writes: [put("attachment/h1/vif2.0", attachment("new1", "vif2.0", 1))] };
    await to.commit(gone);
    const { sentences } = await importState(to, await fileOf(from), { ...how, replace: true, dryRun: true });
    expect(sentences).toContain("! port vif2.0 of host h1 is shut: its guest new1 is not in the file");
    expect(sentences.filter((one) => one.startsWith("!")).length).toBe(1);
  });
});
