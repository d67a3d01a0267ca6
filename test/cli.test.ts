/** The command line as a user meets it: words in, text and exit status out, over a real socket. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { parse } from "yaml";
import { commands } from "../src/cli/commands.ts";
import { completion, shells } from "../src/cli/completion.ts";
import { run } from "../src/cli/run.ts";
import { phraseClauses, phraseForms } from "../src/packet/phrase.ts";
import { type RunningServer, startServer } from "../src/server/http.ts";
import { memoryOperations } from "./support/memory-operations.ts";

const directory = mkdtempSync(join(tmpdir(), "vifguard-cli-"));
const socket = join(directory, "agent.sock");
let server: RunningServer;
beforeAll(async () => {
  server = await startServer({
    operations: memoryOperations(),
    listen: { kind: "unix", path: socket },
    version: "0",
    log: { error: () => undefined },
  });
  writeFileSync(join(directory, "site.yaml"), "kind: group\nname: web\nspec: {}\n");
});
afterAll(async () => {
  await server.close();
  rmSync(directory, { recursive: true });
});

async function vifguard(
  ...words: readonly string[]
): Promise<{ readonly status: number; readonly out: string; readonly err: string }> {
  let out = "";
  let err = "";
  const interrupt = new AbortController();
  const status = await run(words, {
    out: (text) => {
      out += text;
      if (words.includes("--follow") && out.split("\n").length > 2) interrupt.abort();
    },
    err: (text) => {
      err += text;
    },
    isTerminal: false,
    env: { VIFGUARD_SOCKET: socket },
    readFile: (path) => readFile(path, "utf8"),
    readBytes: async (path) => new Uint8Array(await readFile(path)),
    signal: interrupt.signal,
  });
  return { status, out, err };
}

describe("what is asked of the agent", () => {
  test("a table for people", async () => {
    const { out, status } = await vifguard("get", "guests");
    expect(status).toBe(0);
    expect(out).toBe(
      "NAME  NIC  NETWORK  MAC                ADDRESS       PORT    STATE\nweb1  0    lan0     fe:00:cb:00:71:0a  203.0.113.10  vif1.0  applied\n",
    );
  });
  test("JSON and YAML for programs, the same value", async () => {
    const json: unknown = JSON.parse((await vifguard("describe", "guest", "web1", "-o", "json")).out);
    const yaml: unknown = parse((await vifguard("describe", "guest", "web1", "-o", "yaml")).out);
    expect(yaml).toEqual(json);
    expect(json).toMatchObject({ kind: "guest", name: "web1" });
  });
  test("a guest's policy, a sentence a line", async () => {
    const { out } = await vifguard("describe", "guest", "web1");
    expect(out).toContain(
      "  policy:\n    -\n      nic: 0\n      groups: web\n      rules:\n        in: tcp 80 from anyone (group web)\n        out: everything\n",
    );
  });
  test("a plan in sentences", async () => {
    const { out } = await vifguard("plan", "-f", join(directory, "site.yaml"));
    expect(out).toBe("+ group web: create\n1 create, 0 update, 0 delete, 0 unchanged\n");
  });
  test("hosts of the fleet, and the ports that are left of one that drains", async () => {
    const { out } = await vifguard("host", "list");
    expect(out).toMatch(
      /^HOST {2}STATE +SINCE +VERSION {2}PORTS {2}ADDRESS\nh1 +up +\d+d +0\.0\.0 +1 {2}192\.0\.2\.1\nh2 +silent, draining {2}before this agent {2}0\.0\.0 +1 {2}-\n$/,
    );
    expect((await vifguard("host", "drain", "h1")).out).toMatch(
      /\nh1 +draining .*\n\nHOST {2}PORT .*\nh1 +vif1\.0 {2}web1 +0\n$/s,
    );
    expect((await vifguard("host", "drain", "h1", "--undo")).out).toMatch(/\nh1 +up /);
    expect(await vifguard("host", "forget", "h2")).toMatchObject({
      status: 0,
      out: "h2: forgotten\nno ports were released\n",
    });
    expect((await vifguard("host", "forget", "h2", "--force")).out).toMatch(
      /^h2: forgotten\nHOST .*\nh2 +vif3\.0 {2}db1 +0\n$/s,
    );
    const refused = await vifguard("host", "forget", "h1");
    expect([refused.status, refused.err]).toEqual([5, expect.stringMatching(/HOST_UP|host drain/)]);
  });
  test("status tells conditions first, and ends with 1 when one is an error", async () => {
    const { out, status } = await vifguard("status");
    expect(out.startsWith("ERROR PORT_FAILED: ports that stay shut")).toBe(true);
    expect(out).toContain("unbound: vif9.0");
    expect(out).toContain("hosts: 2 up, 1 silent\n");
    expect(out).toContain("\nkernel has: netdev-egress\nkernel has not: prefix-devices (not used), bridge-conntrack\n");
    expect(out).toMatch(/^shape: port-chains\npolicy: bridge-netfilter: bridges hand .*\n/m);
    expect(out).toContain("read back at attach: port-lock\n");
    expect(status).toBe(1);
  });
  test("followed drops end with 130 when interrupted, and cannot colour the terminal", async () => {
    const { out, status } = await vifguard("drops", "--follow");
    expect(status).toBe(130);
    expect(out).toContain("\\u{1b}[31m");
    expect(out).not.toContain("\u001b");
  });
  test.each([
    [
      ["attach", "vif1.0", "--guest", "web1"],
      "vif1.0: web1 NIC 0, fe:00:cb:00:71:0a, 203.0.113.10, 2001:db8::10 on lan0\n",
    ],
    [["detach", "vif1.0"], "vif1.0: detached\n"],
    [["detach", "vif2.0"], "vif2.0: was not attached\n"],
    [["lease", "release", "lan0", "203.0.113.10"], "203.0.113.10 of web1: released\n"],
    [
      ["cooling", "list"],
      "WHAT               GUEST  NIC  UNTIL\nlan0/203.0.113.11  old1   0    2026-01-01T00:10:00.000Z\n",
    ],
    [["cooling", "end", "lan0/203.0.113.11"], "lan0/203.0.113.11, last of old1: free\n"],
    [["get", "networks"], "no networks\n"],
    [["delete", "guest", "web1"], "- guest web1: delete\n0 create, 0 update, 1 delete, 0 unchanged\n"],
  ])("%j", async (words, expected) => {
    expect(await vifguard(...words)).toEqual({ status: 0, out: expected, err: "" });
  });
});

describe("explain", () => {
  const site = join(directory, "offline.yaml");
  const capture = join(directory, "frames.pcap");
  beforeAll(() => {
    writeFileSync(
      site,
      "kind: network\nname: lan0\nspec: { prefix4: 10.0.0.0/24, gateway4: 10.0.0.1, gatewayMac: 02:00:00:00:00:01, range4: [10.0.0.5-10.0.0.9], wiring: { kind: bridged, bridge: br0 }, addressing: { kind: managed, macScheme: ip } }\n---\nkind: guest\nname: web\nspec: { nics: [{ network: lan0, address4: 10.0.0.5 }] }\n",
    );
    const u32 = (value: number): string => Buffer.from(Uint32Array.of(value).buffer).toString("hex");
    const records = ["020000000001fe000a0000058100000708004500", "020000000001fe000a00000588cc0000"].map(
      (hex) => u32(0).repeat(2) + u32(hex.length / 2).repeat(2) + hex,
    );
    writeFileSync(capture, u32(0xa1b2c3d4) + u32(0).repeat(4) + u32(1) + records.join(""), "hex");
  });

  test("a site file alone, with the line, the object and the chains; status 1 when it is dropped", async () => {
    const { out, status, err } = await vifguard(
      "explain",
      "web",
      "-f",
      site,
      "arp",
      "reply",
      "10.0.0.1",
      "is-at",
      "own",
    );
    expect(err).toBe("");
    expect(out).toBe(
      [
        "dropped: arp-sender – 10.0.0.1 is not an address of web/0 (10.0.0.5)",
        "  frame   fe:00:0a:00:00:05 > ff:ff:ff:ff:ff:ff ARP reply 10.0.0.1 is-at fe:00:0a:00:00:05 (gratuitous)",
        "  line    arp-sender (contract section 2): ARP sender is not the port's MAC with one of its addresses",
        "  object  IPv4 addresses of NIC web/0: has no fe:00:0a:00:00:05 10.0.0.1 (set bind4)",
        "  chains  from_guest > from_arp > from_arp_cast > from_arp_sender > drop_from",
        "",
      ].join("\n"),
    );
    expect(status).toBe(1);
  });
  test("what passes ends with 0, and in the other direction too", async () => {
    const { out, status } = await vifguard("explain", "web/0", "--to", "-f", site, "ping own");
    expect(out).toMatch(/^passes: 10\.0\.0\.5 is an address of web\/0\n/);
    expect(status).toBe(0);
  });
  test("a capture is a table with one row a frame", async () => {
    const { out, status } = await vifguard("explain", "web", "-f", site, "--pcap", capture);
    expect(out.split("\n").map((line) => line.trim().split(/ {2,}/).slice(1, 3))).toEqual([
      ["VERDICT", "LINE"],
      ["drop", "vlan"],
      ["drop", "ethertype"],
      [],
      [],
    ]);
    expect(out).toContain("0 pass, 0 answered, 2 drop\n");
    expect(status).toBe(1);
  });
  test("bytes, and JSON for programs", async () => {
    const { out } = await vifguard(
      "explain",
      "web",
      "-f",
      site,
      "--hex",
      "020000000001 fe000a000005 88cc 0000",
      "--json",
    );
    expect(JSON.parse(out)).toMatchObject({
      nic: "web/0",
      frames: [{ verdict: "drop", line: { reason: "ethertype" } }],
    });
  });
  test("the agent is asked without -f", async () => {
    const { out, status } = await vifguard("explain", "vif1.0", "ping", "gateway");
    expect(out).toMatch(/^passes: 203\.0\.113\.10 is an address of web1\/0\n/);
    expect(status).toBe(0);
    expect((await vifguard("explain", "vif1.0", "--pcap", capture)).out).toContain("2 drop");
  });
  test.each([
    [["web", "-f", site, "arp", "replay"], 2, "did you mean 'reply'?"],
    [["web", "-f", site], 2, "what frame?"],
    [["web", "-f", site, "stp", "--hex", "00"], 2, "take one of them"],
    [["web", "-f", site, "--pcap", site], 2, "cannot be read: not a pcap stream"],
    [["web", "-f", site, "--hex", "0102"], 2, "expected 14 to 9018 octets"],
    [["wob", "-f", site, "stp"], 3, "there is no guest 'wob' in the file"],
    [["nobody", "stp"], 3, "does not exist"],
  ])("%j", async (words, status, text) => {
    const done = await vifguard("explain", ...words);
    expect(done.err).toContain(text);
    expect(done.status).toBe(status);
    expect(done.out).toBe("");
  });
  test("its help has the whole grammar", async () => {
    const { out } = await vifguard("explain", "--help");
    for (const { form, examples } of [...phraseForms, ...phraseClauses])
      for (const words of [form, ...examples]) expect(out).toContain(words);
  });
});

describe("security groups", () => {
  const site = join(directory, "groups.yaml");
  beforeAll(() => {
    writeFileSync(
      site,
      `kind: network
name: lan0
spec: { prefix4: 10.0.0.0/24, gateway4: 10.0.0.1, range4: [10.0.0.5-10.0.0.99], wiring: { kind: bridged, bridge: br0 }, addressing: { kind: managed, macScheme: ip } }
---
{ kind: group, name: web, spec: { ingress: [{ protocol: tcp, ports: [80, 443], from: any }] } }
---
{ kind: group, name: db, spec: { ingress: [{ protocol: tcp, ports: [5432], from: { group: web } }], egress: [] } }
---
{ kind: guest, name: web1, spec: { nics: [{ network: lan0, groups: [web], address4: 10.0.0.5 }] } }
---
{ kind: guest, name: db1, spec: { nics: [{ network: lan0, groups: [db] }] } }
`,
    );
  });

  test("a flow that both ends allow, of a site file alone", async () => {
    expect(await vifguard("explain", "--from", "web1", "--to", "db1:5432/tcp", "-f", site)).toEqual({
      status: 0,
      err: "",
      out: [
        "passes: web1/0 may open tcp 5432 to db1/0",
        "  from  web1/0 (10.0.0.5): allowed – everything goes out: group web names no egress",
        "  to    db1/0 (10.0.0.6): allowed – group db lets in tcp 5432 from group web",
        "  note  address of db1/0: as a host that holds nothing else would assign",
        "",
      ].join("\n"),
    });
  });
  test("a flow that is dropped names what is missing, and ends with 1", async () => {
    const { out, status } = await vifguard("explain", "-f", site, "--from", "db1", "--to", "web1/0:80/tcp");
    expect(out).toBe(
      [
        "dropped: policy-egress – db1/0: group db lets nothing out",
        "  from  db1/0 (10.0.0.6): dropped – group db lets nothing out",
        "  to    web1/0 (10.0.0.5): allowed – group web lets in tcp 80, 443 from any",
        "  note  address of db1/0: as a host that holds nothing else would assign",
        "",
      ].join("\n"),
    );
    expect(status).toBe(1);
  });
  test("the agent is asked without -f, and answers programs too", async () => {
    const { out, status } = await vifguard("explain", "--from", "198.51.100.7", "--to", "db1:5432/tcp", "-o", "json");
    expect(JSON.parse(out)).toMatchObject({
      flows: [{ verdict: "drop", ends: [{ verdict: "not-judged" }, { verdict: "dropped", reason: "policy-ingress" }] }],
    });
    expect(status).toBe(1);
    expect((await vifguard("explain", "--from", "web1", "--to", "db1:5432/tcp")).status).toBe(0);
  });
  test.each([
    [["--from", "web1"], 2, "TARGET is missing"],
    [["--from", "web1", "db1:5432/tcp"], 2, "say what it is opened to"],
    [["--from", "web1", "--to", "db1:5432/tcp", "ping", "own"], 2, "leave 'ping' out"],
    [["--from", "web1", "--to", "db1:5432/tcp", "--hex", "00"], 2, "leave '00' out"],
    [["--from", "web1", "--to", "db1:5432/tpc"], 2, "did you mean 'tcp'?"],
    [["--from", "wob1", "--to", "db1:5432/tcp"], 3, "'wob1' is neither a guest nor an address"],
  ])("%j", async (words, status, text) => {
    const done = await vifguard("explain", "-f", site, ...words);
    expect(done.err).toContain(text);
    expect(done.status).toBe(status);
    expect(done.out).toBe("");
  });
  test("the matrix is a table, and JSON for programs", async () => {
    const { out, status } = await vifguard("policy", "matrix", "-f", site, "--network", "lan0");
    expect(out).toBe(
      [
        "FROM \\ TO  web1/0       db1/0     others",
        "web1/0     -            tcp 5432  everything",
        "db1/0      -            -         -",
        "others     tcp 80, 443  -         -",
        "",
      ].join("\n"),
    );
    expect(status).toBe(0);
    const json = JSON.parse((await vifguard("policy", "matrix", "-o", "json")).out);
    expect(json).toMatchObject({ classes: [{ name: "web1/0" }, { name: "db1/0" }, { name: "others" }] });
    expect(json.cells).toContainEqual({ from: "web1/0", to: "db1/0", services: ["tcp 5432"] });
    expect((await vifguard("policy", "matrix", "--network", "lan9")).status).toBe(3);
  });
  test("a matrix that would be wide is a list, and says who stands together", async () => {
    const guests = Array.from(
      { length: 14 },
      (_, n) =>
        `---\n{ kind: guest, name: g${n}, spec: { nics: [{ network: lan0, groups: [${n < 8 ? `s${n}` : "web"}] }] } }\n`,
    );
    const groups = Array.from({ length: 8 }, (_, n) => `---\n{ kind: group, name: s${n}, spec: {} }\n`);
    const many = join(directory, "many.yaml");
    writeFileSync(many, (await readFile(site, "utf8")) + [...groups, ...guests].join(""));
    const { out } = await vifguard("policy", "matrix", "-f", many);
    expect(out).toMatch(/^FROM {7}TO {9}SERVICES\nweb1\/0 \+6 {2}web1\/0 \+6 {2}tcp 80, 443\n/);
    expect(out).toMatch(/\n\nweb1\/0 \+6 \(groups web\): web1\/0, g8\/0, .*g13\/0\n$/);
  });
});

describe("what is wrong is said, with the next thing to do", () => {
  test.each([
    [["atach", "vif1.0"], 2, "did you mean 'attach'?"],
    [["get", "guets"], 2, "did you mean 'guests'?"],
    [["attach", "vif1.0", "--gest", "web1"], 2, "did you mean '--guest'?"],
    [["attach", "vif1.0"], 2, "--guest is missing"],
    [["attach", "vif1.0", "--guest", "web1", "--force"], 2, "--force goes with --move"],
    [["attach", "--guest", "web1"], 2, "PORT is missing"],
    [["detach", "vif1.0", "vif2.0"], 2, "one word too many"],
    [["lease"], 2, "needs one more word: list, release"],
    [["get", "guests", "-o", "xml"], 2, "'xml' is not an output format"],
    [["attach", "vif7.0", "--guest", "web1"], 3, "interface 'vif7.0' does not exist"],
    [["describe", "guest", "nobody"], 3, "guest 'nobody' does not exist"],
    [["apply", "-f", "/nonexistent/site.yaml"], 2, "/nonexistent/site.yaml"],
    [["status", "--socket", "/nonexistent/agent.sock"], 7, "no agent at '/nonexistent/agent.sock'"],
  ])("%j", async (words, status, text) => {
    const done = await vifguard(...words);
    expect(done.err).toContain(text);
    expect(done.err).toMatch(/^error: .*\n {2}hint: .{10,}\n {2}code: [A-Z_]+\n$/s);
    expect(done.status).toBe(status);
    expect(done.out).toBe("");
  });
  test("as JSON for programs", async () => {
    const { err } = await vifguard("describe", "guest", "nobody", "-o", "json");
    expect(JSON.parse(err)).toMatchObject({ code: "NOT_FOUND", fields: { name: "nobody" } });
  });
});

describe("help", () => {
  test("names every command", async () => {
    const { out, status } = await vifguard("--help");
    expect(status).toBe(0);
    for (const { name } of commands) expect(out).toContain(`  ${name}`);
  });
  test.each(commands.map(({ name }) => name))("%s --help", async (name) => {
    const { out, status } = await vifguard(...name.split(" "), "--help");
    expect(status).toBe(0);
    expect(out).toMatch(new RegExp(`^usage: vifguard ${name}`));
    expect(out).toContain("examples:");
  });
});

test("the completion for bash is a program that bash takes and that completes", () => {
  for (const shell of shells) expect(completion(shell, commands)).toContain("vifguard");
  const script = `${completion("bash", commands)}\nCOMP_WORDS=(vifguard att); COMP_CWORD=1; _vifguard; echo "\${COMPREPLY[@]}"\nCOMP_WORDS=(vifguard get gu); COMP_CWORD=2; _vifguard; echo "\${COMPREPLY[@]}"\nCOMP_WORDS=(vifguard drops --fo); COMP_CWORD=2; _vifguard; echo "\${COMPREPLY[@]}"`;
  const { stdout, stderr, status } = spawnSync("bash", ["-c", script], { encoding: "utf8" });
  expect(stderr).toBe("");
  expect(stdout).toBe("attach\nguests guest\n--follow\n");
  expect(status).toBe(0);
});
