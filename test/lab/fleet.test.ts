/** Two hosts with one store: what is decided at one holds at the other, addresses are given once, and hosts go on alone while the store is away and come back to it. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execPath } from "node:process";
import { afterAll, beforeAll, expect, test } from "vitest";
import { builtFile } from "../../src/lab/built.ts";
import { getLease } from "../../src/lab/dhcp-client.ts";
import { patience } from "../../src/lab/patience.ts";
import { GuardError } from "../../src/model/errors.ts";
import { makePki } from "../support/etcd.ts";
import { type EtcdHost, type EtcdLab, raiseEtcdLab } from "../support/etcd-lab.ts";
import { addressByHand, applyText, eventually, guestAt, pings, siteText } from "../support/guarded-lab.ts";

const network = { network: ["range4: [203.0.113.100-203.0.113.220]"] };
let fleet: EtcdLab;
let here: EtcdHost;
let there: EtcdHost;
beforeAll(async () => {
  fleet = await raiseEtcdLab(`flt${process.pid.toString(36)}`, 3, {
    network: ["range4: [203.0.113.100-203.0.113.220]"],
  });
  [here, there] = [hostAt(0), hostAt(1)];
});
afterAll(() => fleet?.lab.down());

function hostAt(n: number): EtcdHost {
  const host = fleet.hosts[n];
  if (host === undefined) throw new TypeError(`no host ${n}`);
  return host;
}

async function codeOf(act: () => Promise<unknown>): Promise<string> {
  try {
    await act();
  } catch (error) {
    if (error instanceof GuardError) return error.code;
    throw error;
  }
  return "no error";
}

/** The host's address on the LAN. */
function addressOf({ box }: EtcdHost): string {
  return fleet.lab.topology.hosts.find((host) => host.box === box)?.address ?? "";
}

const conditions = async ({ client }: EtcdHost): Promise<readonly string[]> =>
  (await client.status()).conditions.map(({ code }) => code);
const isAway = async (host: EtcdHost): Promise<boolean> => (await conditions(host)).includes("STORE_AWAY");
const modeOf = async ({ client }: EtcdHost, port: string): Promise<string | undefined> =>
  (await client.status()).ports.find((one) => one.port === port)?.mode;

const more = (names: readonly string[]): string =>
  names.map((name) => `kind: guest\nname: ${name}\nspec: { nics: [{ network: lan0 }] }`).join("\n---\n");

test("a guest of each host has its address from the one pool, and they reach each other", async () => {
  const [mine, other] = [guestAt(fleet.guests, 0), fleet.guests.find(({ on }) => on === there.box)];
  expect(other, "the lab has a guest there").toBeDefined();
  expect(await pings(fleet.lab, mine.box, other?.address ?? "")).toBe(true);
  expect((await there.client.status()).store.kind).toContain("etcd");
});

test("what is applied at one host is enforced by the other within a second", async () => {
  const mine = guestAt(fleet.guests, 0);
  expect(await modeOf(here, mine.port)).toBe("enforce");
  for (const mode of ["observe", "enforce"]) {
    await applyText(there, siteText(fleet.lab.topology, { ...network, nics: { [mine.box]: `mode: ${mode}` } }));
    expect(await eventually(async () => (await modeOf(here, mine.port)) === mode, 1_000), mode).toBe(true);
  }
});

test("two hosts that give addresses at once never give one twice, and neither has to ask again", async () => {
  const names = (host: string): string[] => Array.from({ length: 30 }, (_, n) => `${host}-${n}`);
  // In parts, so that there is something to collide with again and again.
  const parts = (host: string): string[][] => [0, 10, 20].map((from) => names(host).slice(from, from + 10));
  await Promise.all(
    [here, there].map(async (host, n) => {
      for (const part of parts(`h${n}`)) await applyText(host, more(part));
    }),
  );
  for (const host of [here, there]) {
    const addresses = async (): Promise<readonly (string | undefined)[]> => {
      const guests = (await host.client.list("guest")).filter(({ name }) => /^h[01]-/.test(name));
      return guests.map(({ status }) => JSON.stringify(status).match(/"addresses4":\["([^"]+)/)?.[1]);
    };
    await expect.poll(async () => (await addresses()).length).toBe(60);
    const all = await addresses();
    expect(all).not.toContain(undefined);
    expect(new Set(all).size).toBe(60);
  }
  for (const name of [...names("h0"), ...names("h1")]) await here.client.remove("guest", name);
});

test("any host's command line asks an agent over TLS with a token, and acts on the whole fleet", async () => {
  const { lab } = fleet;
  const pki = makePki([addressOf(there)]);
  const [tokens, token] = [join(lab.directory, "tokens"), join(lab.directory, "alice.token")];
  const cli = (box: string, ...words: string[]) => lab.exec(box, [execPath, builtFile("main.js"), ...words]);
  try {
    const made = await cli(there.box, "token", "create", "alice", "--role", "operator", "--tokens", tokens);
    await writeFile(token, made.stdout, { mode: 0o600 });
    await fleet.killAgent(there.box);
    const tls = ["--tls-cert", pki.server.cert, "--tls-key", pki.server.key, "--tokens", tokens];
    await fleet.startAgent(there.box, ["--listen", `${addressOf(there)}:7443`, ...tls]);
    const far = ["--server", `https://${addressOf(there)}:7443`, "--ca", pki.client.ca, "--token-file", token];
    expect((await cli("gw", "status", "-o", "json", ...far)).stdout).toContain(`"host": "${there.box}"`);
    const site = join(lab.directory, "far.yaml");
    await writeFile(site, more(["far"]));
    expect((await cli("gw", "apply", "-f", site, ...far)).status).toBe(0);
    await expect.poll(async () => (await here.client.list("guest")).map(({ name }) => name)).toContain("far");
    expect(await readFile(join(there.agent.stateDirectory, "audit.jsonl"), "utf8")).toMatch(
      /"who":"alice","from":"203\.0\.113\.1","what":"apply".*guest far: /,
    );
    expect((await cli(there.box, "token", "revoke", "alice", "--tokens", tokens)).status).toBe(0);
    const refused = await cli("gw", "delete", "guest", "far", ...far);
    expect([refused.status, refused.stderr]).toEqual([4, expect.stringContaining("UNAUTHENTICATED")]);
    await here.client.remove("guest", "far");
  } finally {
    pki.remove();
  }
});

test("a host's name is its own: a second machine with it touches nothing, a lease that ends is taken again, and a host that drains takes nothing", async () => {
  const { lab } = fleet;
  const stateOf = async (): Promise<string> => (await there.client.hosts({ name: here.box }))[0]?.state ?? "";
  const start = (name: string) => {
    const own = [
      "--host",
      name,
      "--state-dir",
      join(lab.directory, "twin"),
      "--socket",
      join(lab.directory, "twin.sock"),
    ];
    const etcd = ["--etcd", `http://${lab.topology.gateway.address}:2379`];
    return lab.exec("gw", ["timeout", "20", execPath, builtFile("main.js"), "agent", ...own, ...etcd]);
  };
  const twin = await start(here.box);
  expect([twin.status, twin.stderr]).toEqual([5, expect.stringContaining("HOST_TWIN")]);
  expect((await lab.must("gw", ["nft", "list", "tables"])).trim(), "nothing was touched").toBe("");
  const lease = async (): Promise<string> =>
    (await fleet.ctl("get", `vifguard/1/data/alive/${here.box}`, "-w", "json")).match(/"lease":(\d+)/)?.[1] ?? "";
  const revoke = async (which: string) => fleet.ctl("lease", "revoke", Number(which).toString(16));
  const first = await lease();
  await revoke(first);
  const isHeardAgain = async (): Promise<boolean> => !["", first].includes(await lease());
  expect(await eventually(isHeardAgain, 2_000), "it does not wait for its next sign").toBe(true);
  await fleet.killAgent(here.box);
  await revoke(await lease());
  expect(await eventually(async () => (await stateOf()) === "silent", 1_000)).toBe(true);
  await fleet.startAgent(here.box);
  expect(await eventually(async () => (await stateOf()) === "up", 1_000)).toBe(true);
  await there.client.drainHost(here.box, { undo: false });
  const mover = fleet.guests.find(({ on }) => on === there.box) ?? guestAt(fleet.guests, 1);
  const port = "vif9.0";
  await lab.must(here.box, ["ip", "link", "add", port, "type", "veth", "peer", "name", "peer9"]);
  const attach = () => here.client.attach({ port, guest: mover.box, move: "ask" });
  expect(await codeOf(attach)).toBe("HOST_DRAINING");
  await there.client.drainHost(here.box, { undo: true });
  expect(await eventually(async () => (await codeOf(attach)) === "no error", 1_000), "control").toBe(true);
  await there.client.attach({ port: mover.port, guest: mover.box, move: "ask" });
  await here.client.detach(port);
  await lab.must(here.box, ["ip", "link", "delete", port]);
  expect(await pings(lab, mover.box, lab.topology.neighbour.address)).toBe(true);
});

test("a host that was cut off until the store forgot what it missed reads everything again", async () => {
  const { lab } = fleet;
  const guest = fleet.guests.find(({ on }) => on === there.box) ?? guestAt(fleet.guests, 1);
  await lab.must(there.box, ["ip", "link", "set", "eth0", "down"]);
  try {
    await applyText(here, more(["late"]));
    await here.client.remove("guest", "late");
    await applyText(here, siteText(lab.topology, { ...network, nics: { [guest.box]: "mode: observe" } }));
    const revision = (await fleet.ctl("get", "none", "-w", "json")).match(/"revision":(\d+)/)?.[1] ?? "";
    await fleet.ctl("compaction", revision);
    expect(await eventually(() => isAway(there), 15_000), "it knows").toBe(true);
    expect(await modeOf(there, guest.port), "control: it missed it").toBe("enforce");
  } finally {
    await lab.must(there.box, ["ip", "link", "set", "eth0", "up"]);
  }
  expect(await eventually(async () => (await modeOf(there, guest.port)) === "observe", 15_000)).toBe(true);
  expect(await isAway(there)).toBe(false);
  await applyText(there, siteText(lab.topology, network));
  expect(await modeOf(there, guest.port)).toBe("enforce");
});

test(
  "with the store away: guards stand, leases are renewed, also by an agent that starts then; nothing can be changed, and all is well when it is back",
  async () => {
    const { lab } = fleet;
    const mine = guestAt(fleet.guests, 0);
    const lease = async (): Promise<number> =>
      (await here.client.leases({})).find(({ address }) => address === mine.address)?.expiresAt ?? 0;
    await lab.must(mine.box, ["ip", "-4", "address", "flush", "dev", "eth0"]);
    expect(await getLease(lab, mine.box, "udhcpc")).toBe(mine.address);
    const first = await lease();
    await fleet.killEtcd();
    expect(await eventually(() => isAway(here))).toBe(true);
    expect(await pings(lab, mine.box, lab.topology.neighbour.address)).toBe(true);
    expect(await codeOf(() => applyText(here, more(["never"])))).toBe("STORE_UNAVAILABLE");
    await fleet.killAgent(here.box);
    await fleet.startAgent(here.box);
    expect(await isAway(here), "it says so").toBe(true);
    expect((await here.client.status()).ports.filter(({ state }) => state === "applied")).toHaveLength(
      fleet.guests.filter(({ on }) => on === here.box).length,
    );
    await lab.must(mine.box, ["ip", "-4", "address", "flush", "dev", "eth0"]);
    expect(await getLease(lab, mine.box, "udhcpc"), "renewed by the copy").toBe(mine.address);
    const second = await lease();
    expect(second).toBeGreaterThan(first);
    expect(await codeOf(() => here.client.detach(mine.port))).toBe("STORE_UNAVAILABLE");
    await fleet.startEtcd();
    for (const host of [here, there]) expect(await eventually(async () => !(await isAway(host)), 15_000)).toBe(true);
    const held = async (): Promise<boolean> =>
      (await there.client.leases({})).some(
        ({ address, expiresAt }) => address === mine.address && expiresAt === second,
      );
    expect(await eventually(held), "handed over").toBe(true);
    await applyText(here, more(["control"]));
    await here.client.remove("guest", "control");
    await addressByHand(lab, mine);
    expect(await pings(lab, mine.box, lab.topology.neighbour.address)).toBe(true);
  },
  patience(90_000),
);
