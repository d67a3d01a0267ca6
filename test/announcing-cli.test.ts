/** `vifguard export bird`, `frr` and `routes` as a user meets them: complete or refused in words, from a file without an agent, secrets in files that few can read. */
import { chownSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { run } from "../src/cli/run.ts";
import type { RouteView } from "../src/model/operations.ts";
import { type RunningServer, startServer } from "../src/server/http.ts";
import { memoryOperations } from "./support/memory-operations.ts";

const directory = mkdtempSync(join(tmpdir(), "vifguard-announcing-"));
const at = (name: string): string => join(directory, name);
const site = at("site.yaml");
const SITE = `kind: network
name: lan0
spec:
  prefix4: 203.0.113.0/24
  gateway4: 203.0.113.1
  range4: [203.0.113.10-203.0.113.250]
  prefix6: 2001:db8:66::/64
  wiring: { kind: routed, uplink: eth0 }
  addressing: { kind: managed }
---
kind: guest
name: web1
spec: { nics: [{ network: lan0 }] }
`;
writeFileSync(site, SITE);
let server: RunningServer | undefined;
afterAll(async () => {
  await server?.close();
  rmSync(directory, { recursive: true });
});

async function vifguard(...words: readonly string[]) {
  let [out, err] = ["", ""];
  const status = await run(words, {
    out: (text) => {
      out += text;
    },
    err: (text) => {
      err += text;
    },
    isTerminal: false,
    env: { VIFGUARD_SOCKET: at("agent.sock") },
    readFile: (path) => readFile(path, "utf8"),
    readBytes: async (path) => new Uint8Array(await readFile(path)),
    signal: new AbortController().signal,
  });
  return { status, out, err };
}

const text = async (...words: readonly string[]): Promise<string> => {
  const { status, out, err } = await vifguard(...words);
  expect(err).toBe("");
  expect(status).toBe(0);
  return out;
};

const bgp = ["--protocol", "bgp", "--as", "65001", "--peer-as", "65000", "--peer", "203.0.113.1"];

describe("export bird and frr", () => {
  test("the host's side is whole with what the site says; FRR wants to know its own address", async () => {
    const bird = await text("export", "bird", "-f", site, ...bgp);
    expect(bird).toContain('router id from "eth0";');
    expect(bird).toContain("neighbor 203.0.113.1 as 65000;");
    expect(await text("export", "frr", "-f", site, "--protocol", "ospf", "--id", "203.0.113.3")).toContain(
      "ip ospf hello-interval 10",
    );
    expect(await text("export", "bird", "-f", site, "--protocol", "rip", "--hello", "7")).toContain("timeout time 42;");
  });

  test("the router's side takes no more than it is told to", async () => {
    const words = ["--side", "router", ...bgp, "--id", "203.0.113.1", "--limit", "50", "--ttl-security"];
    const router = await text("export", "bird", "-f", site, ...words);
    expect(router).toContain("import limit 50 action block;");
    expect(router).toContain("ttl security on;");
    expect(router).not.toContain("krt_source");
    expect(await text("export", "frr", "-f", site, ...words)).toContain("neighbor 203.0.113.1 maximum-prefix 50");
  });

  test("an address that is made of a MAC is not made up from a file", async () => {
    const { status, err } = await vifguard("export", "bird", "-f", site, ...bgp, "--exact");
    expect(status).toBe(2);
    expect(err).toContain("the MAC of NIC 0 of guest 'web1' is drawn when the site is applied");
    const four = at("four.yaml");
    writeFileSync(four, SITE.replace(/ {2}prefix6.*\n/, ""));
    expect(await text("export", "bird", "-f", four, ...bgp, "--exact")).toContain("203.0.113.10/32");
  });

  test("a secret is written where few can read it, and a file that is there keeps its owner and mode", async () => {
    const [secret, fresh, held] = [at("secret"), at("fresh.conf"), at("held.conf")];
    writeFileSync(secret, "s3cret\n");
    writeFileSync(held, "old", { mode: 0o604 });
    chownSync(held, 0, process.getuid?.() === 0 ? 12_345 : (process.getgid?.() ?? 0));
    const { gid } = statSync(held);
    for (const file of [fresh, held])
      expect((await vifguard("export", "bird", "-f", site, ...bgp, "--secret-file", secret, "-o", file)).status).toBe(
        0,
      );
    expect(readFileSync(fresh, "utf8")).toContain('password "s3cret";');
    expect(statSync(fresh).mode & 0o777).toBe(0o640);
    expect(statSync(held)).toMatchObject({ gid, mode: 0o100604 });
    expect(readFileSync(held, "utf8")).toContain("s3cret");
  });

  test.each<readonly [readonly string[], string]>([
    [["bird"], "--protocol is missing: bgp, ospf, rip"],
    [["bird", "--protocol", "isis"], "--protocol: 'isis' is not one of bgp, ospf, rip"],
    [["bird", "--protocol", "ospf", "--side", "guest"], "--side: 'guest' is not one of host, router"],
    [["bird", "--protocol", "bgp"], "--as is missing"],
    [["bird", "--protocol", "bgp", "--as", "65001", "--peer-as", "0"], "--peer-as: '0' is not a number from 1"],
    [["bird", "--protocol", "bgp", "--as", "1", "--peer-as", "2"], "--peer is missing"],
    [["bird", ...bgp, "--peer", "fe80::1"], "--peer: fe80::1 is of one link"],
    [["bird", ...bgp, "--peer", "router"], "--peer: 'router' is no address"],
    [["bird", "--protocol", "ospf", "--peer", "203.0.113.1"], "--peer goes with --protocol bgp"],
    [["bird", "--protocol", "rip", "--ttl-security"], "--ttl-security goes with --protocol bgp"],
    [["bird", "--protocol", "rip", "--hello", "4"], "--hello: RIP speaks every 5 seconds at most"],
    [["bird", "--protocol", "ospf", "--side", "router"], "--interface is missing"],
    [["bird", ...bgp, "--side", "router"], "--id is missing"],
    [["bird", ...bgp, "--interface", 'eth0"'], "is no interface name"],
    [["frr", "--protocol", "ospf"], "--id is missing"],
    [["frr", "--protocol", "ospf", "--id", "here"], "--id: 'here' is no IPv4 address"],
    [["frr", ...bgp, "--id", "203.0.113.3", "--network", "lan9"], "network 'lan9' does not exist"],
    [["bird", ...bgp, "--secret-file", site], "the word"],
  ])("%j is refused in words", async ([daemon = "", ...words], says) => {
    const { status, out, err } = await vifguard("export", daemon, "-f", site, ...words);
    expect(status).not.toBe(0);
    expect(out).toBe("");
    expect(err).toContain(says);
  });
});

describe("export routes", () => {
  const views: readonly RouteView[] = [
    {
      prefix: "203.0.113.10/32",
      network: "lan0",
      guest: "web1",
      nic: 0,
      host: "h1",
      port: "vif1.0",
      via: "203.0.113.3",
    },
    { prefix: "203.0.113.11/32", network: "lan0", guest: "db", nic: 0 },
  ];

  test("are those of the agent, in the words of the router, to a file when that is wanted", async () => {
    const operations = { ...memoryOperations(), routes: async () => views };
    const listen = { kind: "unix", path: at("agent.sock") } as const;
    server = await startServer({ operations, listen, version: "0", log: { error: () => undefined } });
    expect(await text("export", "routes")).toContain("ip route replace 203.0.113.10/32 via 203.0.113.3 # web1 NIC 0\n");
    expect(await text("export", "routes", "--for", "cisco", "--via", "203.0.113.4", "--blackhole")).toContain(
      "ip route 203.0.113.11 255.255.255.255 Null0\n",
    );
    const json: unknown = JSON.parse(await text("export", "routes", "--for", "json"));
    expect(json).toEqual([{ family: 4, prefix: "203.0.113.10/32", via: "203.0.113.3", guest: "web1", nic: 0 }]);
    const file = at("guests.conf");
    expect((await vifguard("export", "routes", "--for", "bird", "-o", file)).err).toBe(`${file}: written\n`);
    expect(readFileSync(file, "utf8")).toBe(await text("export", "routes", "--for", "bird"));
  });

  test.each<readonly [readonly string[], string]>([
    [["--for", "junos"], "--for: 'junos' is not one of ip, frr, bird, cisco, json"],
    [["-o", "frr"], "-o names a file: say --for frr (a file of that name is ./frr)"],
    [["--via", "router"], "--via: 'router' is no address"],
    [["--via", "192.0.2.1", "--via", "192.0.2.2"], "--via: one address of each family"],
    [["--network", "lan9"], "network 'lan9' has no guest, is not routed, or does not exist"],
  ])("%j is refused in words", async (words, says) => {
    const { status, err } = await vifguard("export", "routes", ...words);
    expect(status).not.toBe(0);
    expect(err).toContain(says);
  });
});
