/** The hook of systemd-nspawn against a real agent, with a process in a network of its own for a container: found by that network, not by names. */
import { readFile } from "node:fs/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Running } from "../../src/lab/exec.ts";
import type { GuestBox } from "../../src/lab/topology.ts";
import { eventually, guestAt } from "../support/guarded-lab.ts";
import { type PlatformLab, raisePlatformLab } from "../support/platform-lab.ts";

let platform: PlatformLab;
let one: GuestBox;
/** systemd-nspawn, as the hook sees it: a process with a child elsewhere. */
let supervisor: Running;
let child: string;
beforeAll(async () => {
  platform = await raisePlatformLab("nspawn", 1, ["vif", "ve-"]);
  one = guestAt(platform.lab.topology.guests, 0);
  supervisor = await platform.lab.start("host", ["unshare", "--fork", "--net", "sleep", "120"], "container.log");
  const children = `/proc/${supervisor.pid}/task/${supervisor.pid}/children`;
  expect(await eventually(async () => (await readFile(children, "utf8")) !== "")).toBe(true);
  child = (await readFile(children, "utf8")).trim();
  await link("ve-guest1", "host0");
});
afterAll(async () => {
  await platform?.lab.down();
});

const hook = (...words: readonly string[]) => platform.hook("nspawn-net", words);
const inside = (...argv: readonly string[]): Promise<string> =>
  platform.lab.must("host", ["nsenter", `--net=/proc/${child}/ns/net`, "--", ...argv]);
async function link(port: string, end: string): Promise<void> {
  await platform.lab.must("host", ["ip", "link", "add", port, "type", "veth", "peer", "name", end, "netns", child]);
  await inside("ip", "link", "set", end, "up");
}
const ports = async () => (await platform.client.status()).ports;

test("the container's end has the guest's MAC when the port comes up, and a second call changes nothing", async () => {
  const pid = String(supervisor.pid);
  for (const time of ["first", "second"]) {
    expect(await hook("guest1", pid), time).toMatchObject({ status: 0, stdout: "", stderr: "" });
    expect(await ports(), time).toMatchObject([{ port: "ve-guest1", guest: "guest1", nic: 0, state: "applied" }]);
  }
  expect(await inside("ip", "link", "show", "dev", "host0")).toMatch(
    new RegExp(`<[A-Z,_]*LOWER_UP>[\\s\\S]*link/ether ${one.mac}`),
  );
  await inside("ip", "address", "add", `${one.address}/24`, "dev", "host0");
  const ping = [
    "nsenter",
    `--net=/proc/${child}/ns/net`,
    "--",
    "ping",
    "-c",
    "1",
    "-W",
    "2",
    platform.lab.topology.gateway.address,
  ];
  expect((await platform.lab.exec("host", ping)).status).toBe(0);
  await link("ve-guest1b", "host1");
  expect((await hook("guest1", pid)).stderr).toContain("guest 'guest1' has no NIC left for port 've-guest1b'");
  await inside("ip", "link", "delete", "dev", "host1");
});

test("what cannot be guarded, or is another container's, fails and says why; a container that ends is forgotten", async () => {
  const pid = String(supervisor.pid);
  const sharing = await platform.lab.start("host", ["sh", "-c", "sleep 60 & wait"], "container.log");
  const cases: readonly (readonly [readonly string[], string])[] = [
    [["guest1", String(sharing.pid)], "has no network of its own"],
    [["guest1"], "this is not how systemd-nspawn's unit calls its hook"],
    [["guest1", "$MAINPID"], "this is not how systemd-nspawn's unit calls its hook"],
  ];
  for (const [words, why] of cases) {
    const done = await hook(...words);
    expect(done.status, why).toBeGreaterThan(0);
    expect(done.stderr).toContain(why);
  }
  const foreign = await platform.hook("nspawn-net", ["guest1", pid], { env: { VIFGUARD_GUEST: "nobody" } });
  expect(foreign.stderr).toContain("guest 'nobody' does not exist");
  await inside("ip", "link", "delete", "dev", "host0");
  expect(await eventually(async () => (await ports()).length === 0)).toBe(true);
  await link("vb-guest1", "host0");
  expect((await hook("guest1", pid)).stderr).toContain("ports of container 'guest1': 'vb-guest1'; guarded is vif, ve-");
  await inside("ip", "link", "delete", "dev", "host0");
  await link("ve-guest2", "host0");
  expect((await hook("guest1", pid)).stderr).toContain("ports of container 'guest1': none; guarded is vif, ve-");
  expect(await ports()).toEqual([]);
});
