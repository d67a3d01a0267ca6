/** The state of a host's own store by the command line: in and out, with the agent stopped, and what an agent then makes of the ports that are there. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { settleOwn } from "../src/agent/restores.ts";
import type { Io } from "../src/cli/command.ts";
import { run } from "../src/cli/run.ts";
import { RESTORE } from "../src/model/keys.ts";
import type { Attachment } from "../src/model/resources.ts";
import { openEmbeddedStore } from "../src/store/embedded.ts";
import { storeFormat } from "../src/store/migrate.ts";
import { stateLines } from "../src/store/state-file.ts";
import type { Json, Store } from "../src/store/store.ts";
import { codeOf, put } from "./store.contract.ts";
import { filledStore } from "./support/filled-store.ts";
import { clock, hostId } from "./support/memory-agent.ts";

let directory: string;
let stateDirectory: string;
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "vifguard-state-"));
  stateDirectory = join(directory, "state");
});
afterEach(() => rmSync(directory, { recursive: true }));

const attachment = (port: string, guest: string): Json => ({
  port,
  ifindex: 4,
  epoch: "boot/1",
  guest,
  nic: 0,
  fence: 2,
  since: 0,
});
const site = (names: readonly string[]): string => `kind: network
name: lan0
spec:
  prefix4: 10.0.0.0/24
  gateway4: 10.0.0.1
  range4: [10.0.0.10-10.0.0.99]
  wiring: { kind: bridged, bridge: br0 }
${names.map((name) => `---\nkind: guest\nname: ${name}\nspec: { nics: [{ network: lan0 }] }\n`).join("")}`;

/** Each guest attached to a port of this host. */
async function stateFile(names: readonly string[]): Promise<string> {
  const places = names.flatMap((name, n) => [
    put(`claim/${name}/0`, { fence: 2, holder: { host: hostId, port: `vif${n + 1}.0` } }),
    put(`attachment/${hostId}/vif${n + 1}.0`, attachment(`vif${n + 1}.0`, name)),
  ]);
  const { entries } = await (await filledStore(site(names), places)).read("");
  const at = "2030-01-01T00:00:00Z";
  const head = { vifguard: "state", format: storeFormat, version: "0", host: hostId, revision: 1, at } as const;
  const path = join(directory, `${names.join("-")}.state`);
  const lines = [...stateLines(head, entries.values())];
  writeFileSync(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));
  return path;
}

async function cli(...words: readonly string[]) {
  const texts = { out: "", err: "" };
  const io: Io = {
    out: (text) => {
      texts.out += text;
    },
    err: (text) => {
      texts.err += text;
    },
    isTerminal: false,
    env: {},
    readFile: async () => "",
    readBytes: async () => new Uint8Array(),
    signal: new AbortController().signal,
  };
  const status = await run([...words, "--state-dir", stateDirectory], io);
  return { status, ...texts };
}

const opened = (): Promise<Store> => openEmbeddedStore({ directory: stateDirectory, clock });
async function held(): Promise<Record<string, Json>> {
  const store = await opened();
  const found = Object.fromEntries([...(await store.read("")).entries].map(([key, { value }]) => [key, value]));
  await store.close();
  return found;
}

/** As an agent does when it starts, on a host where these ports are open. */
async function startOn(open: readonly string[]): Promise<readonly string[]> {
  const store = await opened();
  const told: string[] = [];
  const log = { info: () => undefined, warn: () => undefined, error: () => undefined };
  const isOpen = ({ port }: Attachment): boolean => open.includes(port);
  const lost = (text: string | undefined): void => void told.push(text ?? "nothing");
  try {
    await settleOwn({ host: hostId, isOwn: () => true, isOpen, shut: () => undefined, lost, log }, store);
  } finally {
    await store.close();
  }
  return told;
}

describe("import state", () => {
  test("into a store that was not there, and then no more than it is told", async () => {
    const file = await stateFile(["web1", "db1"]);
    const shown = await cli("import", "state", file, "--dry-run");
    expect([shown.status, shown.out]).toEqual([0, expect.stringContaining("would hold 13 entries")]);
    expect(Object.keys(await held())).toEqual([]);
    const made = await cli("import", "state", file);
    expect([made.status, made.out]).toEqual([0, expect.stringContaining("+ guest web1\n")]);
    expect((await held())["guest/web1"]).toMatchObject({ name: "web1", nics: [{ network: "lan0" }] });
    const again = await cli("import", "state", file);
    expect([again.status, again.err]).toEqual([5, expect.stringContaining("STORE_NOT_EMPTY")]);
    const other = await cli("import", "state", await stateFile(["web1"]), "--replace", "--dry-run");
    expect(other.out).toContain("- guest db1\n");
    expect(other.out).toContain(`! port vif2.0 of host ${hostId} is shut`);
    expect((await held())["guest/db1"]).toBeDefined();
  });

  test("of a file that is not whole, or not there, is refused with its place", async () => {
    const file = await stateFile(["web1"]);
    writeFileSync(join(directory, "short"), '{"vifguard":"state"');
    const short = await cli("import", "state", join(directory, "short"));
    expect([short.status, short.err]).toEqual([2, expect.stringContaining("STATE_INVALID")]);
    const missing = await cli("import", "state", join(directory, "missing"));
    expect([missing.status, missing.err]).toEqual([2, expect.stringContaining("ENOENT")]);
    expect((await cli("import", "state", file)).status).toBe(0);
  });

  test("is refused while an agent has the store", async () => {
    const store = await opened();
    const refused = await cli("import", "state", await stateFile(["web1"]));
    expect([refused.status, refused.err]).toEqual([5, expect.stringContaining("AGENT_RUNNING")]);
    await store.close();
    expect((await cli("import", "state", await stateFile(["web1"]))).status).toBe(0);
  });
});

describe("a host's own store after a restore", () => {
  test("has the ports that are open, under a new number, and no other", async () => {
    await cli("import", "state", await stateFile(["web1", "db1"]));
    expect(await startOn(["vif1.0"])).toEqual(["nothing"]);
    const now = await held();
    expect(now[`attachment/${hostId}/vif1.0`]).toEqual({ ...Object(attachment("vif1.0", "web1")), fence: 3 });
    expect(now["claim/web1/0"]).toEqual({ fence: 3, holder: { host: hostId, port: "vif1.0" } });
    expect([now[`attachment/${hostId}/vif2.0`], now["claim/db1/0"]]).toEqual([undefined, { fence: 2 }]);
    await startOn([]);
    expect(await held()).toEqual(now);
  });

  test("by a copy of its file is the same, once it was said", async () => {
    await cli("import", "state", await stateFile(["web1"]));
    await startOn(["vif1.0"]);
    await startOn([]);
    expect((await held())[`attachment/${hostId}/vif1.0`]).toBeDefined();
    expect((await cli("restored")).status).toBe(0);
    await startOn([]);
    expect((await held())[`attachment/${hostId}/vif1.0`]).toBeUndefined();
  });

  test("is not started on while an import is not done", async () => {
    const store = await opened();
    const value = { phase: "under-way", id: "x", keepsPlaces: false, of: "a test", at: 0 };
    await store.commit({ expect: [], writes: [put(RESTORE, value)] });
    await store.close();
    expect(await codeOf(() => startOn([]))).toBe("STORE_CORRUPT");
    const refused = await cli("restored");
    expect([refused.status, refused.err]).toEqual([5, expect.stringContaining("not done")]);
    expect((await cli("import", "state", await stateFile(["web1"]))).status).toBe(5);
    expect((await cli("import", "state", await stateFile(["web1"]), "--replace")).status).toBe(0);
    await startOn([]);
  });
});
