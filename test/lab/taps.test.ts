/** QEMU's scripts, taps made beforehand, and LXC's scripts, called as those programs call them, with real interfaces and a real agent. */
import { execPath } from "node:process";
import { afterAll, afterEach, beforeAll, describe, expect, test } from "vitest";
import { builtFile } from "../../src/lab/built.ts";
import type { Finished, Running } from "../../src/lab/exec.ts";
import type { Box } from "../../src/lab/topology.ts";
import { eventually } from "../support/guarded-lab.ts";
import { linkNames, type PlatformLab, pings, raisePlatformLab } from "../support/platform-lab.ts";

let platform: PlatformLab;
beforeAll(async () => {
  platform = await raisePlatformLab("tap", 2);
});
afterAll(async () => {
  await platform?.lab.down();
});

const vifguard = (...words: readonly string[]): Promise<Finished> =>
  platform.lab.exec("host", [execPath, builtFile("main.js"), ...words, "--socket", platform.agent.socket]);
const attached = async (): Promise<readonly string[]> =>
  (await platform.client.status()).ports.map(({ port, guest, nic }) => `${port} ${guest}/${nic}`);
const reaches = (box: Box): Promise<boolean> => pings(platform.lab, box, platform.lab.topology.gateway.address);
const isGone = (port: string): Promise<boolean> =>
  eventually(async () => !(await attached()).some((line) => line.startsWith(`${port} `)));

/** The guest with its MAC and address, as its own configuration has them. */
async function dress(box: Box): Promise<void> {
  const guest = platform.lab.topology.guests.find((one) => one.box === box);
  const lines = [`link set eth0 address ${guest?.mac} up`, `address replace ${guest?.address}/24 dev eth0`];
  await platform.lab.must(box, ["ip", "-batch", "-"], { stdin: `${lines.join("\n")}\n` });
}

/** A machine as QEMU makes one: it opens a tap, which comes into being with it, and carries every frame to and from its guest. */
async function startMachine(tap: string, box: Box): Promise<Running[]> {
  const { lab } = platform;
  await lab.exec(box, ["ip", "link", "del", "eth0"]);
  const socket = `${lab.directory}/${tap}.machine`;
  const open = (name: string): string => `TUN,tun-type=tap,tun-name=${name},iff-no-pi`;
  const machine = await lab.start(
    "host",
    ["socat", open(tap), `UNIX-LISTEN:${socket},socktype=5,unlink-early=1`],
    "machine.log",
  );
  const isListening = async (): Promise<boolean> => (await lab.exec("host", ["test", "-S", socket])).status === 0;
  expect(await eventually(isListening)).toBe(true);
  const guest = await lab.start(box, ["socat", `UNIX-CONNECT:${socket},socktype=5`, open("eth0")], "machine.log");
  expect(await eventually(async () => (await linkNames(lab, box)).includes("eth0"))).toBe(true);
  await dress(box);
  return [machine, guest];
}

describe("QEMU by hand", () => {
  let machine: Running[] = [];
  afterEach(async () => {
    for (const process of machine) await process.stop();
  });

  test("script= attaches, downscript= shuts", async () => {
    machine = await startMachine("tap-guest1", "guest1");
    expect(await reaches("guest1"), "closed from birth").toBe(false);
    expect(await platform.hook("qemu-ifup", ["tap-guest1"])).toMatchObject({ status: 0, stderr: "" });
    expect(await attached()).toEqual(["tap-guest1 guest1/0"]);
    expect(await reaches("guest1")).toBe(true);
    expect((await platform.hook("qemu-ifup", ["tap-guest1"])).status, "again").toBe(0);
    expect(await platform.hook("qemu-ifdown", ["tap-guest1"])).toMatchObject({ status: 0, stderr: "" });
    expect(await reaches("guest1")).toBe(false);
  });

  test("a machine that dies is forgotten, and its downscript may come late", async () => {
    machine = await startMachine("tap0", "guest1");
    const env = { VIFGUARD_GUEST: "guest1", VIFGUARD_NIC: "0" };
    expect((await platform.hook("qemu-ifup", ["tap0"], { env })).status).toBe(0);
    expect(await attached()).toEqual(["tap0 guest1/0"]);
    for (const process of machine) await process.stop("SIGKILL");
    expect(await isGone("tap0")).toBe(true);
    expect((await platform.hook("qemu-ifdown", ["tap0"])).status).toBe(0);
  });

  test("what fails keeps the machine from starting, and the port shut", async () => {
    machine = await startMachine("tap7", "guest1");
    const refusals = [
      [{}, 2, "VIFGUARD_GUEST=NAME"],
      [{ VIFGUARD_GUEST: "nobody" }, 3, "'nobody' does not exist"],
      [{ VIFGUARD_GUEST: "guest1", VIFGUARD_NIC: "x" }, 2, "VIFGUARD_NIC"],
      [{ VIFGUARD_GUEST: "guest1", VIFGUARD_SOCKET: "/nonexistent/agent.sock" }, 7, "no agent at"],
    ] as const;
    for (const [env, status, text] of refusals) {
      const done = await platform.hook("qemu-ifup", ["tap7"], { env });
      expect(done.stderr).toContain(text);
      expect(done.status).toBe(status);
    }
    expect(await reaches("guest1")).toBe(false);
    expect((await platform.hook("qemu-ifup", ["tap7"], { env: { VIFGUARD_GUEST: "guest1" } })).status).toBe(0);
    expect(await reaches("guest1"), "control").toBe(true);
    const down = await platform.hook("qemu-ifdown", ["tap7"], { env: { VIFGUARD_SOCKET: "/nonexistent/agent.sock" } });
    expect(down, "a machine can end without an agent").toMatchObject({ status: 0 });
    expect(down.stderr).toContain("is forgotten when an agent runs again");
  });
});

describe("taps made beforehand", () => {
  afterEach(async () => {
    for (const tap of ["tap-vmm", "tap-own"]) await platform.lab.exec("host", ["ip", "link", "del", tap]);
  });

  test("made, guarded and up; whoever opens it speaks through it; deleted with every trace", async () => {
    const made = await vifguard("tap", "create", "tap-vmm", "--guest", "guest1", "--vnet-hdr");
    expect(made.stderr).toBe("");
    expect(made.stdout).toBe("tap-vmm: guest1 NIC 0, mac=fe:00:cb:00:71:0a\n");
    const machine = await startMachine("tap-vmm", "guest1");
    expect(await eventually(() => reaches("guest1"))).toBe(true);
    for (const process of machine) await process.stop();
    expect(await attached(), "it stays for the next one").toEqual(["tap-vmm guest1/0"]);
    expect((await vifguard("tap", "create", "tap-vmm", "--guest", "guest1", "--vnet-hdr")).status, "again").toBe(0);
    const other = await vifguard("tap", "create", "tap-vmm", "--guest", "guest1", "--multi-queue");
    expect(other.stderr).toContain("tap 'tap-vmm' exists with one queue");
    expect((await vifguard("tap", "delete", "tap-vmm")).stdout).toBe("tap-vmm: deleted\n");
    expect((await vifguard("tap", "delete", "tap-vmm")).stdout).toBe("tap-vmm: was not there\n");
    expect(await attached()).toEqual([]);
  });

  test("owner and queues are what was asked for", async () => {
    const { lab } = platform;
    await vifguard("tap", "create", "tap-own", "--guest", "guest1", "--owner", "nobody");
    // The device itself may be root's alone on this machine: here it is everybody's, in a mount namespace of its own.
    const device = "mount -t tmpfs none /dev/net && mknod -m 666 /dev/net/tun c 10 200";
    const program = "socat -u OPEN:/dev/null,rdonly TUN,tun-type=tap,tun-name=tap-own,iff-no-pi";
    const open = (user: string): Promise<Finished> =>
      lab.exec("host", [
        ...["unshare", "--mount", "sh", "-c"],
        `${device} && exec setpriv --reuid=${user} --regid=65534 --clear-groups ${program}`,
      ]);
    const stranger = await open("12345");
    expect(stranger.stderr).toMatch(/TUNSETIFF.*not permitted/);
    // socat goes on to set the interface up, which is not the owner's to do.
    expect((await open("65534")).stderr, "control: its owner").toMatch(/SIOCSIFFLAGS/);
    expect(await vifguard("tap", "delete", "tap-own")).toMatchObject({ status: 0 });
    await vifguard("tap", "create", "tap-own", "--guest", "guest1", "--multi-queue");
    expect((await open("0")).stderr, "one queue of a tap of many").toMatch(/Invalid argument/);
    expect(await vifguard("tap", "delete", "tap-own")).toMatchObject({ status: 0 });
  });

  test("nothing is left of a tap that cannot be attached; other interfaces are not touched", async () => {
    const before = await linkNames(platform.lab, "host");
    const refusals = [
      [["tap", "create", "tap-x", "--guest", "nobody"], 3, "'nobody' does not exist"],
      [["tap", "create", "open0", "--guest", "guest1"], 2, '"open0" does not begin with vif, vnet, tap'],
      [["tap", "create", "vif2.0", "--guest", "guest1"], 5, "'vif2.0' exists and is not a tap"],
      [["tap", "delete", "vif2.0"], 5, "'vif2.0' is not a tap: it stays"],
    ] as const;
    for (const [words, status, text] of refusals) {
      const done = await vifguard(...words);
      expect(done.stderr).toContain(text);
      expect(done.status).toBe(status);
    }
    expect(await linkNames(platform.lab, "host")).toEqual(before);
  });
});

describe("LXC", () => {
  const words = ["veth", "br0", "vif2.0"];
  const call = (type: string): { env: Record<string, string> } => ({
    env: {
      LXC_HOOK_VERSION: "1",
      LXC_HOOK_SECTION: "net",
      LXC_HOOK_TYPE: type,
      LXC_NAME: "guest2",
      LXC_NET_TYPE: "veth",
      LXC_NET_PARENT: "br0",
      LXC_NET_PEER: "vif2.0",
    },
  });

  test.each([
    [
      "hook.version 1",
      "up",
      () => platform.hook("lxc-net", words, call("up")),
      () => platform.hook("lxc-net", words, call("down")),
    ],
    [
      "hook.version 0",
      "up",
      () => platform.hook("lxc-net", ["guest2", "net", "up", ...words]),
      () => platform.hook("lxc-net", ["guest2", "net", "down", ...words]),
    ],
  ])("%s: up attaches, down detaches", async (_, __, up, down) => {
    await dress("guest2");
    expect(await up()).toMatchObject({ status: 0, stderr: "" });
    expect(await attached()).toEqual(["vif2.0 guest2/0"]);
    expect(await eventually(() => reaches("guest2"))).toBe(true);
    expect(await down()).toMatchObject({ status: 0, stderr: "" });
    expect(await attached()).toEqual([]);
    expect(await reaches("guest2")).toBe(false);
  });

  test("what fails keeps the container from starting", async () => {
    const refusals = [
      [["nobody", "net", "up", ...words], 3, "'nobody' does not exist"],
      [["guest2", "net", "up", "veth", "br0", "vethX1"], 2, "does not begin with vif, vnet, tap"],
      [["guest2", "net", "up", "phys", "eth0"], 2, "not how LXC calls"],
    ] as const;
    for (const [call, status, text] of refusals) {
      const done = await platform.hook("lxc-net", call);
      expect(done.stdout).toContain(text);
      expect(done.status).toBe(status);
    }
    expect(await attached()).toEqual([]);
  });
});
