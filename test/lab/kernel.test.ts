/**
 * What must hold on every kernel vifguard runs on, whatever it can do: the shape is told, ports are shut from birth (I6), a lie of each family is stopped
 * and its truth passes, and a kernel that lacks something gets no guard and no open port (I7). Here, and on stock kernels by ./selftest-kernels.
 */
import { release } from "node:os";
import { execPath } from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AttackContext, arpRequest } from "../../src/lab/attack.ts";
import { attacks } from "../../src/lab/attacks.ts";
import { builtFile } from "../../src/lab/built.ts";
import type { Finished, Piped } from "../../src/lab/exec.ts";
import { applySite, ask, attachGuest, countsOf, startAgent } from "../../src/lab/guarded.ts";
import { patience } from "../../src/lab/patience.ts";
import { addressGuest6, bridgeUnguarded, type Lab, raiseLab } from "../../src/lab/raise.ts";
import { type Sniffer, sniff } from "../../src/lab/sniff.ts";
import type { LabAgent } from "../../src/lab/state.ts";
import { type Box, type GuestBox, HOST_BRIDGE } from "../../src/lab/topology.ts";
import { openBench, sendFrames } from "../../src/lab/trial.ts";
import { type PolicyShape, policyShapeCatalogue } from "../../src/model/capabilities.ts";
import { toHex } from "../../src/packet/hex.ts";

const own = process.pid.toString(36);

async function eventually(what: () => Promise<boolean>): Promise<boolean> {
  const deadline = performance.now() + patience(5_000);
  while (performance.now() < deadline) {
    if (await what()) return true;
    await sleep(20);
  }
  return what();
}

function guestOf(lab: Lab, number: number): GuestBox {
  const guest = lab.topology.guests[number - 1];
  if (guest === undefined) throw new TypeError(`no guest ${number}`);
  return guest;
}

let serial = Date.now() & 0xffffff;
/** Every frame that is built of it is told apart from all others. */
function contextOf(lab: Lab, self: GuestBox, victim: GuestBox): AttackContext {
  serial += 1;
  return { ...lab.topology, self, victim, serial };
}

/** From now on: a frame of a machine of the LAN has arrived, so has whatever was sent before it. */
async function settle(lab: Lab, at: Sniffer): Promise<void> {
  serial += 1;
  const { neighbour, gateway } = lab.topology;
  const marker = arpRequest(
    { ...lab.topology, self: neighbour, victim: neighbour, serial },
    neighbour,
    gateway.address,
  );
  marker.set([serial >> 16, serial >> 8, serial], marker.length - 3);
  await sendFrames(lab, "neighbour", [marker]);
  expect(await eventually(async () => at.has(marker, 0)), "control: the LAN itself carries frames").toBe(true);
}

const pings = async (lab: Lab, box: string, address: string): Promise<boolean> =>
  (await lab.exec(box, ["ping", "-n", "-c", "1", "-W", "1", address])).status === 0;

describe("a guarded host", () => {
  let lab: Lab;
  let agent: LabAgent;
  beforeAll(async () => {
    lab = await raiseLab({ name: `krn${own}`, guests: 3, nic: "veth" });
    agent = await startAgent(lab);
    await applySite(lab, agent);
    for (const guest of [guestOf(lab, 1), guestOf(lab, 2)]) {
      await attachGuest(lab, agent, guest);
      await lab.must(guest.box, ["ip", "address", "replace", `${guest.address}/24`, "dev", "eth0"]);
      await lab.must(guest.box, ["ip", "link", "set", "eth0", "up"]);
      await addressGuest6(lab, guest);
    }
  });
  afterAll(async () => {
    await lab?.down();
  });

  test("status tells the kernel, the shape and what was found", async () => {
    const { kernel } = JSON.parse(await ask(agent, ["status", "-o", "json"])) as {
      kernel: {
        release: string;
        shape: string;
        policy: PolicyShape;
        capabilities: readonly { name: string; has: string; needed: boolean }[];
      };
    };
    expect(kernel.release).toBe(release());
    expect(kernel.shape).toBe("port-chains");
    expect(kernel.capabilities.filter(({ needed, has }) => needed && has !== "yes")).toEqual([]);
    const text = await ask(agent, ["status"]);
    expect(text).toContain(`kernel: Linux ${release()}`);
    expect(text).toMatch(/^shape: port-chains\npolicy: .*\nkernel has: netdev-ingress, netdev-egress, /m);
    const has = (name: string): boolean => kernel.capabilities.some((one) => one.name === name && one.has === "yes");
    expect(kernel.policy).toBe(has("bridge-conntrack") ? "bridge" : "bridge-netfilter");
    expect(text).toContain(`\npolicy: ${kernel.policy}: ${policyShapeCatalogue[kernel.policy]}\n`);
  });

  // One of every layer and drop reason: that each variant is stopped is for the whole table, on the kernel of ./selftest.
  const families = new Map([...attacks].reverse().map((attack) => [`${attack.layer}/${attack.reason}`, attack]));
  test("a lie of each family is stopped and counted, its truth passes", { timeout: patience(120_000) }, async () => {
    const [self, victim] = [guestOf(lab, 1), guestOf(lab, 2)];
    const counts = (): ReturnType<typeof countsOf> => countsOf(agent, self.port);
    const bench = await openBench(lab, { from: self.box, parties: { self, victim }, counts });
    expect(families.size).toBeGreaterThan(20);
    const faults: unknown[] = [];
    for (const attack of [...families.values()].reverse()) {
      const { arrivedAt, counted, controlPassed } = await bench.try(attack);
      const isCounted = attack.reason === undefined || counted.has(attack.reason);
      if (arrivedAt.length > 0 || !isCounted || !controlPassed)
        faults.push({ lie: attack.name, arrivedAt, counted: [...counted.keys()], controlPassed });
    }
    await bench.close();
    expect(faults).toEqual([]);
  });

  /** Puts the same frames on an interface again and again, also before it is there. */
  function pour(box: Box, ifindex: number, frames: readonly Uint8Array[], everyMs: number): Promise<Piped> {
    const program = [
      `import { openFrames } from ${JSON.stringify(builtFile("kernel/frames-netlink.js"))};`,
      `const bytes = ${JSON.stringify(frames.map(toHex))}.map((hex) => new Uint8Array(Buffer.from(hex, "hex")));`,
      `const batch = bytes.map((bytes) => ({ ifindex: ${ifindex}, bytes }));`,
      `const frames = openFrames();`,
      `setInterval(() => frames.send(batch), ${everyMs});`,
      `console.log("pouring");`,
    ].join("\n");
    return lab.startPiped(box, [execPath, "--input-type=module", "-e", program]).then(async (piped) => {
      await new Promise((resolve) => piped.stdout.once("data", resolve));
      return piped;
    });
  }

  const liesAtBirth = [
    "foreign-mac",
    "foreign-arp-sender",
    "foreign-ip",
    "vlan0-tag",
    "bpdu",
    "llc-snap",
    "foreign-ll6",
  ];

  test("a port is shut from its birth, under fire from both sides, each time its name is used (I6)", {
    timeout: patience(120_000),
  }, async () => {
    const [guest, victim] = [guestOf(lab, 3), guestOf(lab, 1)];
    const { gateway, neighbour } = lab.topology;
    const context = contextOf(lab, guest, victim);
    const truth = arpRequest(context, guest, gateway.address);
    const question = arpRequest({ ...context, self: neighbour }, neighbour, guest.address);
    const lies = attacks.filter(({ name }) => liesAtBirth.includes(name)).flatMap(({ build }) => build(context));
    expect(lies.length).toBeGreaterThanOrEqual(liesAtBirth.length - 1);
    const lieTexts = new Set(lies.map(toHex));
    const watched = await Promise.all(
      (["gw", "neighbour", "guest1", "host"] as const).map((box) =>
        sniff(lab, box, box === "host" ? HOST_BRIDGE : "eth0"),
      ),
    );
    const [gw] = watched;
    if (gw === undefined) throw new TypeError("no sniffer");
    const leaked = (): readonly string[] =>
      watched.flatMap(({ box, frames }) =>
        frames()
          .map(toHex)
          .filter((hex) => lieTexts.has(hex))
          .map((hex) => `${box} ${hex}`),
      );
    const received = async (): Promise<number> =>
      Number(await lab.must(guest.box, ["cat", "/sys/class/net/eth0/statistics/rx_packets"]));
    const lan = await lab.must("neighbour", ["cat", "/sys/class/net/eth0/ifindex"]);
    const guestIndex = 901;
    await lab.must("host", ["ip", "link", "del", guest.port]);
    const guns = [
      await pour(guest.box, guestIndex, [...lies, truth], patience(2)),
      await pour("neighbour", Number(lan), [question], patience(20)),
    ];
    for (const round of [1, 2, 3]) {
      const before = gw.frames().length;
      // Made from inside the guest: only the near end of a veth can be given its index.
      const peer = ["peer", "name", guest.port, "netns", lab.netns("host")];
      const eth0 = ["ip", "link", "add", "name", "eth0", "index", String(guestIndex), "address", guest.mac];
      await lab.must(guest.box, [...eth0, "type", "veth", ...peer]);
      await lab.must("host", ["ip", "link", "set", guest.port, "master", HOST_BRIDGE]);
      await lab.must(guest.box, ["ip", "link", "set", "eth0", "up"]);
      // As a careless hypervisor does it: up before anybody asked the agent.
      await lab.must("host", ["ip", "link", "set", guest.port, "up"]);
      await sleep(patience(100));
      await settle(lab, gw);
      const texts = gw.frames().slice(before).map(toHex);
      expect(texts.includes(toHex(truth)), `round ${round}: a true frame before attach`).toBe(false);
      expect(await received(), `round ${round}: frames to the port before attach`).toBe(0);
      expect(await lab.must("host", ["bridge", "fdb", "show", "dev", guest.port])).not.toContain(guest.mac);
      const mark = gw.frames().length;
      await attachGuest(lab, agent, guest);
      expect(await eventually(async () => gw.has(truth, mark)), `round ${round}, control: the truth passes`).toBe(true);
      expect(await eventually(async () => (await received()) > 0), `round ${round}, control: to the guest`).toBe(true);
      await settle(lab, gw);
      expect(leaked(), `round ${round}`).toEqual([]);
      await lab.must("host", ["ip", "link", "del", guest.port]);
    }
    for (const gun of guns) await gun.stop();
    for (const sniffer of watched) await sniffer.stop();
  });

  test("a kernel that has lost something changes nothing for ports that are guarded already (I7)", async () => {
    const guest = guestOf(lab, 1);
    const rules = (): Promise<string> => lab.must("host", ["nft", "-a", "-s", "-t", "list", "ruleset"]);
    const before = await rules();
    const { status, stderr } = await agentWithout(lab, "netdev-ingress");
    expect([status, stderr.includes("netdev-ingress")], stderr).toEqual([4, true]);
    expect(await rules()).toBe(before);
    expect(await pings(lab, guest.box, lab.topology.gateway.address)).toBe(true);
  });
});

/** Ends by itself. */
function agentWithout(lab: Lab, capability: string, ...more: readonly string[]): Promise<Finished> {
  const at = `${lab.directory}/without`;
  const options = ["--state-dir", `${at}.state`, "--socket", `${at}.sock`, "--without", capability, ...more];
  return lab.exec("host", [execPath, builtFile("main.js"), "agent", ...options]);
}

describe("a host whose kernel lacks something", () => {
  let lab: Lab;
  let gw: Sniffer;
  beforeAll(async () => {
    lab = await raiseLab({ name: `lck${own}`, guests: 2, nic: "veth" });
    gw = await sniff(lab, "gw");
  });
  afterAll(async () => {
    await gw?.stop();
    await lab?.down();
  });

  /** Whether a lie of the guest gets to the gateway, its port put into the bridge by hand: a question in another guest's name, which every machine hears. */
  async function passes(guest: GuestBox): Promise<boolean> {
    const victim = guestOf(lab, 2);
    const frame = arpRequest(contextOf(lab, guest, victim), victim, lab.topology.gateway.address);
    frame.set([serial >> 16, serial >> 8, serial], 32);
    await lab.must("host", ["ip", "link", "set", guest.port, "master", HOST_BRIDGE, "up"]);
    await sendFrames(lab, guest.box, [frame]);
    await settle(lab, gw);
    return gw.has(frame, 0);
  }

  test.each([
    ["netdev-egress", []],
    ["element-limits", ["--load-only"]],
  ] as const)("no %s: the agent does not start, says why, and the ports are shut", async (capability, more) => {
    const guest = guestOf(lab, 1);
    await lab.must("host", ["nft", "flush", "ruleset"]);
    await bridgeUnguarded(lab);
    expect(await passes(guest), "control: open without any guard").toBe(true);
    const { status, stderr } = await agentWithout(lab, capability, ...more);
    expect(status, stderr).toBe(4);
    expect(stderr).toMatch(new RegExp(`this kernel has no ${capability} .*because .*Linux [\\d.]+`));
    expect(stderr).toContain("code: KERNEL_UNSUPPORTED");
    const link = await lab.must("host", ["ip", "-br", "link", "show", "dev", guest.port]);
    expect(link, "set down").toContain("DOWN");
    expect(await passes(guest), "and shut when somebody sets it up again").toBe(false);
    expect(await pings(lab, guest.box, lab.topology.host.address), "the host is shut too").toBe(false);
  });

  test("the agent of a kernel that has everything takes over from there", async () => {
    const guest = guestOf(lab, 1);
    const agent = await startAgent(lab);
    await applySite(lab, agent);
    await attachGuest(lab, agent, guest);
    await lab.must(guest.box, ["ip", "address", "replace", `${guest.address}/24`, "dev", "eth0"]);
    expect(await eventually(() => pings(lab, guest.box, lab.topology.gateway.address))).toBe(true);
    expect(await passes(guest), "a lie").toBe(false);
  });
});
