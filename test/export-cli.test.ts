/** `vifguard export` as a user meets it: from an agent or from a file, to a file that is replaced as a whole, and kept as the site changes. */
import {
  chmodSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, test, vi } from "vitest";
import { run } from "../src/cli/run.ts";
import { toDocument } from "../src/config/document.ts";
import type { ExportedSite } from "../src/export/site.ts";
import { patience } from "../src/lab/patience.ts";
import type { ObjectView, Operations } from "../src/model/operations.ts";
import type { Kind } from "../src/model/resources.ts";
import { type RunningServer, startServer } from "../src/server/http.ts";
import { siteOf, smallSite } from "./support/export-site.ts";
import { memoryOperations } from "./support/memory-operations.ts";

const directory = mkdtempSync(join(tmpdir(), "vifguard-export-cli-"));
// Each agent its own: a connection to the one before may still be kept open.
let agents = 0;
let socket = "";
const siteFile = join(directory, "site.yaml");
writeFileSync(siteFile, smallSite);
let server: RunningServer | undefined;
afterEach(async () => {
  await server?.close();
  server = undefined;
});
afterAll(() => rmSync(directory, { recursive: true }));

function viewsOf({ networks, guests }: ExportedSite, kind: Kind): readonly ObjectView[] {
  if (kind === "network")
    return [...networks].map(([name, spec]) => ({ ...toDocument({ kind, name, spec }), status: {} }));
  if (kind !== "guest") return [];
  return [...guests.values()].map(({ name, spec, nics }) => ({
    ...toDocument({ kind, name, spec }),
    status: { nics },
  }));
}

/** An agent that holds a site that can be exchanged. */
async function startAgent(
  text: string,
  path = join(directory, `agent-${agents}.sock`),
): Promise<{ change(text: string): void }> {
  agents += 1;
  socket = path;
  let [site, revision] = [siteOf(text), 1];
  const base = memoryOperations();
  const operations: Operations = {
    ...base,
    list: async (kind) => viewsOf(site, kind),
    status: async () => ({ ...(await base.status()), store: { kind: "memory", revision } }),
  };
  const log = { error: () => undefined };
  server = await startServer({ operations, listen: { kind: "unix", path }, version: "0", log });
  return {
    change: (next) => {
      site = siteOf(next);
      revision += 1;
    },
  };
}

interface Ended {
  readonly status: number;
  readonly out: string;
  readonly err: string;
}

function vifguard(words: readonly string[], signal = new AbortController().signal) {
  let [out, err] = ["", ""];
  const ended = run(words, {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    isTerminal: false,
    env: { VIFGUARD_SOCKET: socket },
    readFile: (path) => readFile(path, "utf8"),
    readBytes: async (path) => new Uint8Array(await readFile(path)),
    signal,
  }).then((status): Ended => ({ status, out, err }));
  return { ended, err: () => err };
}

const text = async (...words: readonly string[]): Promise<string> => {
  const { status, out, err } = await vifguard(words).ended;
  expect(err).toBe("");
  expect(status).toBe(0);
  return out;
};

describe("where the site comes from", () => {
  test.each([["dhcpd"], ["dhcpd", "--family", "6"], ["kea"], ["kea", "--family", "6"], ["dnsmasq"]])(
    "export %s %s %s: the agent's site and the file's are the same text",
    async (...words) => {
      await startAgent(smallSite);
      expect(await text("export", ...words)).toBe(await text("export", ...words, "-f", siteFile));
    },
  );

  test("a MAC that only the agent knows is not made up from a file", async () => {
    const drawn = smallSite.replaceAll("macScheme: ip", "macScheme: random");
    const file = join(directory, "drawn.yaml");
    writeFileSync(file, drawn);
    const { status, err } = await vifguard(["export", "kea", "-f", file]).ended;
    expect(status).toBe(2);
    expect(err).toContain("the MAC of NIC 0 of guest 'web1' (and of 3 more) is drawn when the site is applied");
    expect(await text("export", "kea", "-f", file, "--network", "pair")).toContain("02:00:00:00:00:07");
    await startAgent(drawn);
    expect(await text("export", "kea")).toContain("203.0.113.10");
  });

  test.each([
    [["--family", "5"], "--family: '5' is neither 4 nor 6"],
    [["--interface", "a/b"], "--interface: 'a/b' names no interface"],
    [["--watch"], "--watch needs a file to write: -o FILE"],
    [["--watch", "-o", "/dev/null", "-f", "-"], "--watch cannot read standard input again"],
    [["--watch", "-o", "/dev/null", "--interval", "0"], "--interval: '0' is not a number of seconds"],
    [["--reload", "true"], "--reload goes with --watch"],
  ])("export kea %j is refused in words", async (words, says) => {
    const { status, err } = await vifguard(["export", "kea", ...words]).ended;
    expect(status).toBe(2);
    expect(err).toContain(says);
  });
});

describe("to a file", () => {
  const file = join(directory, "kea.conf");

  test("it is written whole, keeps its mode and its links, and is left alone when nothing changed", async () => {
    const link = join(directory, "link.conf");
    writeFileSync(file, "old");
    chmodSync(file, 0o640);
    symlinkSync(file, link);
    const words = ["export", "kea", "-f", siteFile, "-o", link];
    expect((await vifguard(words).ended).err).toBe(`${link}: written\n`);
    expect(readFileSync(file, "utf8")).toBe(await text("export", "kea", "-f", siteFile));
    expect(statSync(file).mode & 0o777).toBe(0o640);
    const { ino } = statSync(file);
    expect((await vifguard(words).ended).err).toBe(`${link}: unchanged\n`);
    expect(statSync(file).ino).toBe(ino);
    expect(readdirSync(directory).filter((name) => name.endsWith(".vifguard"))).toEqual([]);
  });

  test("what cannot be exported leaves the file as it was", async () => {
    const before = readFileSync(file, "utf8");
    const { status } = await vifguard(["export", "kea", "-f", siteFile, "--network", "lan9", "-o", file]).ended;
    expect(status).toBe(3);
    expect(readFileSync(file, "utf8")).toBe(before);
  });
});

describe("--watch", () => {
  /** Counts its calls in a file; fails as long as there is a file that says so. */
  const reloader = join(directory, "reload");
  const calls = join(directory, "calls");
  const broken = join(directory, "broken");
  writeFileSync(
    reloader,
    `#!/bin/sh\necho "$*" >>"${calls}"\n[ ! -e "${broken}" ] || { echo "no such server" >&2; exit 3; }\n`,
  );
  chmodSync(reloader, 0o700);
  const reloads = (): readonly string[] => readFileSync(calls, "utf8").split("\n").slice(0, -1);
  const wait = { timeout: patience(8000), interval: 20 };

  function watch(file: string) {
    writeFileSync(calls, "");
    const stop = new AbortController();
    const command = `${reloader} $HOME  'two words'`;
    const words = ["export", "dnsmasq", "-o", file, "--watch", "--interval", "0.1", "--reload", command];
    return { stop, ...vifguard(words, stop.signal) };
  }

  test("writes and reloads when the site's text changes, and only then, without a shell", async () => {
    const file = join(directory, "watched.conf");
    const agent = await startAgent(smallSite);
    const watching = watch(file);
    await vi.waitFor(() => expect(reloads()).toEqual(["$HOME 'two words'"]), wait);
    const first = readFileSync(file, "utf8");
    agent.change(smallSite.replace("203.0.113.100", "203.0.113.102"));
    await vi.waitFor(() => expect(reloads()).toHaveLength(2), wait);
    const second = readFileSync(file, "utf8");
    expect(second).not.toBe(first);
    expect(second).toContain("203.0.113.102");
    agent.change(smallSite.replace("203.0.113.100", "203.0.113.102"));
    await new Promise((wake) => setTimeout(wake, patience(500)));
    expect(reloads()).toHaveLength(2);
    watching.stop.abort();
    expect((await watching.ended).status).toBe(130);
  });

  test("tells a reload that failed, and tries it again without writing", async () => {
    const file = join(directory, "failing.conf");
    await startAgent(smallSite);
    writeFileSync(broken, "");
    const watching = watch(file);
    await vi.waitFor(() => expect(reloads().length).toBeGreaterThan(1), wait);
    expect(watching.err()).toContain("failed (3): no such server");
    rmSync(broken);
    await vi.waitFor(() => expect(watching.err()).toContain(`${file}: reloaded`), wait);
    expect(watching.err().split(": written").length - 1).toBe(1);
    watching.stop.abort();
    await watching.ended;
  });

  test("leaves the file when the agent is gone, says so once, and goes on when it is back", async () => {
    const file = join(directory, "kept.conf");
    await startAgent(smallSite);
    const watching = watch(file);
    await vi.waitFor(() => expect(reloads()).toHaveLength(1), wait);
    const before = readFileSync(file, "utf8");
    await server?.close();
    await vi.waitFor(() => expect(watching.err()).toContain("left as it is: no agent at"), wait);
    expect(readFileSync(file, "utf8")).toBe(before);
    const agent = await startAgent(smallSite, socket);
    agent.change(smallSite.replace("203.0.113.100", "203.0.113.103"));
    await vi.waitFor(() => expect(reloads()).toHaveLength(2), wait);
    expect(watching.err().split("left as it is").length - 1).toBe(1);
    watching.stop.abort();
    await watching.ended;
  });

  test("without an agent at the start it ends with an error", async () => {
    socket = join(directory, "nobody.sock");
    const { status } = await vifguard(["export", "kea", "-o", join(directory, "none.conf"), "--watch"]).ended;
    expect(status).toBe(7);
  });
});

describe("export cmdline", () => {
  test("is a line for people and a list for programs, from the agent as from a file", async () => {
    await startAgent(smallSite);
    const line = await text("export", "cmdline", "--guest", "db");
    expect(line).toBe(await text("export", "cmdline", "--guest", "db", "-f", siteFile));
    expect(await text("export", "cmdline", "--guest", "db", "--for", "xen")).toBe(`extra = "${line.trim()}"\n`);
    const json: unknown = JSON.parse(await text("export", "cmdline", "--guest", "db", "-o", "json"));
    expect(json).toEqual({ guest: "db", words: line.trim().split(" ") });
  });

  test("needs no MAC that is drawn, unless an address is made of it", async () => {
    const file = join(directory, "drawn-cmdline.yaml");
    writeFileSync(file, smallSite.replaceAll("macScheme: ip", "macScheme: random"));
    expect(await text("export", "cmdline", "--guest", "db", "-f", file)).toContain("vifguard.eth0=2001:db8:66::d/64");
    const { status, err } = await vifguard(["export", "cmdline", "--guest", "cache", "-f", file]).ended;
    expect(status).toBe(2);
    expect(err).toContain("the MAC of NIC 0 of guest 'cache' is drawn");
  });

  test.each([
    [[], "--guest is missing"],
    [["--guest", "web1", "--for", "lilo"], "--for: 'lilo' is not one of kernel, xen, qemu"],
    [["--guest", "web1", "--nic", "x"], "--nic: 'x' is not a number counted from 0"],
    [["--guest", "web1", "--interface", "a/b"], "--interface: 'a/b' is no interface name"],
  ])("%j is refused in words", async (words, says) => {
    const { status, err } = await vifguard(["export", "cmdline", ...words, "-f", siteFile]).ended;
    expect(status).toBe(2);
    expect(err).toContain(says);
  });
});
