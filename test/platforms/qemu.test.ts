/** A real QEMU with a real guest: through script= and downscript=, and on a tap made beforehand, as Firecracker and cloud-hypervisor want one. */
import { execPath } from "node:process";
import { afterAll, beforeAll, expect, test } from "vitest";
import { builtFile } from "../../src/lab/built.ts";
import type { Finished } from "../../src/lab/exec.ts";
import { patience } from "../../src/lab/patience.ts";
import type { GuestBox } from "../../src/lab/topology.ts";
import { eventually, guestAt } from "../support/guarded-lab.ts";
import { hookFile, linkNames, type PlatformLab, raisePlatformLab } from "../support/platform-lab.ts";
import { guestFiles, guestLines } from "./inside.ts";

let platform: PlatformLab;
let one: GuestBox;
beforeAll(async () => {
  platform = await raisePlatformLab("qem", 2);
  one = guestAt(platform.lab.topology.guests, 0);
});
afterAll(async () => {
  await platform?.lab.down();
});

/** Boots the guest and waits until it has powered itself off. */
function boot(netdev: string, device: string, env: Record<string, string> = {}): Promise<Finished> {
  const { kernel, initrd } = guestFiles();
  const argv = [
    ...[
      "qemu-system-x86_64",
      "-accel",
      "tcg",
      "-cpu",
      "max",
      "-machine",
      "q35",
      "-m",
      "256",
      "-nodefaults",
      "-no-user-config",
    ],
    ...["-display", "none", "-no-reboot", "-serial", "stdio", "-kernel", kernel, "-initrd", initrd],
    ...["-append", "console=ttyS0 quiet panic=-1", "-netdev", `tap,id=n0,${netdev}`],
    ...["-device", `virtio-net-pci,netdev=n0,mac=${one.mac}${device}`],
  ];
  return platform.lab.exec("host", argv, { env: { ...platform.hookEnvironment, ...env }, timeoutMs: patience(90_000) });
}

const scripts = `ifname=tap-guest1,script=${hookFile("qemu-ifup")},downscript=${hookFile("qemu-ifdown")}`;
const honest = ["address 203.0.113.10/24", "ping passed", "lie failed", "done"];
const isQuiet = async (): Promise<boolean> => (await platform.client.status()).ports.length === 0;

test("script= and downscript=: the guest gets its address, speaks, cannot lie, and leaves nothing", async () => {
  const done = await boot(scripts, "");
  expect(guestLines(done.stdout)).toEqual(honest);
  expect(done).toMatchObject({ status: 0, stderr: "" });
  expect(await eventually(isQuiet)).toBe(true);
  expect(await linkNames(platform.lab, "host")).not.toContain("tap-guest1");
});

test("script= cannot attach: the guest does not start", async () => {
  const done = await boot(scripts, "", { VIFGUARD_SOCKET: "/nonexistent/agent.sock" });
  expect(done.stderr).toContain("no agent at");
  expect(done.stderr).toContain("network script");
  expect(done.stdout).toBe("");
  expect(done.status).toBe(1);
});

test("a tap made beforehand, with two queues and virtio headers", async () => {
  const vifguard = (...words: readonly string[]): Promise<Finished> =>
    platform.lab.exec("host", [execPath, builtFile("main.js"), ...words, "--socket", platform.agent.socket]);
  const made = await vifguard("tap", "create", "tap-many", "--guest", "guest1", "--vnet-hdr", "--multi-queue");
  expect(made.status).toBe(0);
  const done = await boot("ifname=tap-many,script=no,downscript=no,queues=2", ",mq=on,vectors=6");
  expect(guestLines(done.stdout)).toEqual(honest);
  expect(done).toMatchObject({ status: 0, stderr: "" });
  expect((await vifguard("tap", "delete", "tap-many")).status).toBe(0);
  expect(await isQuiet()).toBe(true);
});
