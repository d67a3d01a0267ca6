/** A fleet whose etcd is put back to a snapshot, and one whose state moves to another store by a file: no connection is cut, and every host knows what is there then. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { execPath } from "node:process";
import { afterAll, beforeAll, expect, test } from "vitest";
import { builtFile } from "../../src/lab/built.ts";
import type { GuestBox } from "../../src/lab/topology.ts";
import { type EtcdHost, type EtcdLab, raiseEtcdLab } from "../support/etcd-lab.ts";
import { applyText, eventually, guestAt } from "../support/guarded-lab.ts";

let fleet: EtcdLab;
let here: EtcdHost;
let there: EtcdHost;
let mine: GuestBox;
let other: GuestBox;
beforeAll(async () => {
  fleet = await raiseEtcdLab(`rst${process.pid.toString(36)}`, 2, {
    network: ["range4: [203.0.113.100-203.0.113.220]"],
  });
  mine = guestAt(fleet.guests, 0);
  other = guestAt(fleet.guests, 1);
  [here, there] = [fleet.hostOf(mine), fleet.hosts.find(({ box }) => box !== mine.on) ?? fleet.hostOf(mine)];
});
afterAll(() => fleet?.lab.down());

const more = (name: string): string => `kind: guest\nname: ${name}\nspec: { nics: [{ network: lan0 }] }\n`;
const names = async ({ client }: EtcdHost): Promise<readonly string[]> =>
  (await client.list("guest")).map(({ name }) => name);
/** While an agent begins anew it cannot say. */
const isWithout = async (host: EtcdHost, guest: string): Promise<boolean> =>
  !(await names(host).catch(() => [guest])).includes(guest);
const isWell = async ({ client }: EtcdHost): Promise<boolean> => {
  const { healthy, ports } = await client.status();
  return healthy && ports.length > 0 && ports.every(({ state }) => state === "applied");
};
const fence = async (guest: GuestBox): Promise<number> =>
  Number(/"fence":(\d+)/.exec(await fleet.ctl("get", `vifguard/1/data/claim/${guest.box}/0`))?.[1] ?? 0);
const cli = (...words: string[]) => fleet.lab.exec("gw", [execPath, builtFile("main.js"), ...words]);
const etcd = (): string[] => ["--etcd", `http://${fleet.lab.topology.gateway.address}:2379`];

/** How many of its packets were answered all along. */
async function pinging(seconds: number, act: () => Promise<void>): Promise<string> {
  const [count, within] = [String(10 * seconds), String(2 * seconds)];
  const ping = fleet.lab.exec(mine.box, ["ping", "-n", "-i", "0.1", "-c", count, "-w", within, other.address]);
  await act();
  return /(\d+)% packet loss/.exec((await ping).stdout)?.[1] ?? "no answer";
}

async function restore(file: string): Promise<void> {
  await fleet.killEtcd();
  await fleet.restoreEtcd(file);
  await fleet.startEtcd();
}

test("agents notice that etcd went back, cut nothing, and go on with it", async () => {
  const file = join(fleet.lab.directory, "snapshot.db");
  await fleet.ctl("snapshot", "save", file);
  await applyText(here, more("late"));
  await here.client.detach(mine.port);
  await here.client.attach({ port: mine.port, guest: mine.box, nic: 0 });
  expect(await eventually(async () => (await names(there)).includes("late"))).toBe(true);
  const latest = await fence(mine);
  const lost = await pinging(3, async () => {
    await restore(file);
    for (const host of [here, there])
      expect(await eventually(() => isWithout(host, "late"), 15_000), host.box).toBe(true);
  });
  expect(lost).toBe("0");
  for (const host of [here, there]) expect(await eventually(() => isWell(host), 10_000), host.box).toBe(true);
  expect(await fence(mine)).toBeGreaterThan(latest);
  await applyText(here, more("next"));
  expect(await eventually(async () => (await names(there)).includes("next"), 2_000), "news arrive").toBe(true);
});

test("agents that could not see it are told by a word", async () => {
  const before = await fence(mine);
  const file = join(fleet.lab.directory, "later.db");
  await fleet.ctl("snapshot", "save", file);
  await restore(file);
  await cli("restored", ...etcd());
  expect(await eventually(async () => (await fence(mine)) > before, 15_000)).toBe(true);
  for (const host of [here, there]) expect(await eventually(() => isWell(host), 10_000), host.box).toBe(true);
});

test("a state moves to another store by a file, and ports stay open", async () => {
  const file = join(fleet.lab.directory, "site.state");
  const exported = await fleet.lab.must(here.box, [
    execPath,
    builtFile("main.js"),
    "export",
    "state",
    "--socket",
    here.agent.socket,
  ]);
  await writeFile(file, exported);
  const moved = [...etcd(), "--etcd-root", "moved"];
  await writeFile(join(fleet.lab.directory, "short.state"), exported.split("\n").slice(0, -2).join("\n"));
  const short = await cli("import", "state", join(fleet.lab.directory, "short.state"), ...moved);
  expect([short.status, short.stderr]).toEqual([2, expect.stringContaining("STATE_INVALID")]);
  const lost = await pinging(6, async () => {
    for (const { box } of [here, there]) await fleet.killAgent(box);
    expect((await cli("import", "state", file, ...moved)).stdout).toContain("+ guest");
    for (const { box } of [here, there]) await fleet.startAgent(box, ["--etcd-root", "moved"]);
  });
  expect(lost).toBe("0");
  for (const host of [here, there]) expect(await eventually(() => isWell(host), 10_000), host.box).toBe(true);
  expect((await here.client.status()).store.kind).toContain("moved");
  const again = await cli("import", "state", file, ...moved);
  expect([again.status, again.stderr]).toEqual([5, expect.stringContaining("STORE_NOT_EMPTY")]);
});
