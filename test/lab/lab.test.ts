/** The lab itself, on the real kernel: it comes up whole, honest traffic flows, every lie is real, and nothing stays. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { attacks } from "../../src/lab/attacks.ts";
import { exec } from "../../src/lab/exec.ts";
import { addressGuest6, bridgeUnguarded, type Lab, openLab, raiseLab, withLab } from "../../src/lab/raise.ts";
import { sniff } from "../../src/lab/sniff.ts";
import { claim, find, labs, namespaces } from "../../src/lab/state.ts";
import { tearDown } from "../../src/lab/teardown.ts";
import { GATEWAY6, globalOf, labName, llOf, nicKinds } from "../../src/lab/topology.ts";
import { type Bench, openBench } from "../../src/lab/trial.ts";

const own = process.pid.toString(36);

async function giveAddresses(lab: Lab): Promise<void> {
  for (const guest of lab.topology.guests) {
    await lab.must(guest.box, ["ip", "address", "add", `${guest.address}/24`, "dev", "eth0"]);
    await addressGuest6(lab, guest);
  }
  await bridgeUnguarded(lab);
}

function ping(lab: Lab, box: string, address: string, count = 1): Promise<{ readonly status: number }> {
  return lab.exec(box, ["ping", "-n", "-c", String(count), "-i", "0.2", "-W", "2", address]);
}

// By the names the lab uses: other tests may make links of their own meanwhile.
async function linksOutside(): Promise<string> {
  const { stdout } = await exec(["ip", "-o", "link", "show"]);
  return stdout
    .split("\n")
    .filter((line) => /: (?:vif|br0|sw0|gw|neighbour|host)/.test(line))
    .join("\n");
}

describe.each(nicKinds)("a lab with %s NICs", (nic) => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await raiseLab({ name: `t${nic}${own}`, guests: 2, nic });
  });
  afterAll(() => lab.down());

  test("has every box, and its state file says so", async () => {
    expect(await namespaces(lab.topology.name)).toEqual([...lab.topology.boxes].map((box) => lab.netns(box)).sort());
    expect(await find(lab.topology.name)).toMatchObject({ guests: 2, nic });
    expect(await labs()).toContain(lab.topology.name);
    expect((await openLab(lab.topology.name)).topology).toEqual(lab.topology);
  });

  test("leaves the guests' ports outside the bridge and down", async () => {
    const links = JSON.parse(await lab.must("host", ["ip", "-j", "link", "show"])) as {
      ifname: string;
      master?: string;
      flags: string[];
    }[];
    const ports = links.filter(({ ifname }) => ifname.startsWith("vif"));
    expect(ports.map(({ ifname }) => ifname).sort()).toEqual(["vif1.0", "vif2.0"]);
    for (const port of ports) {
      expect(port.master).toBeUndefined();
      expect(port.flags).not.toContain("UP");
    }
    expect(links.find(({ ifname }) => ifname === "eth0")).toMatchObject({ master: "br0" });
  });

  test("does not let the same name be raised again", async () => {
    await expect(raiseLab({ name: lab.topology.name, guests: 1, nic })).rejects.toMatchObject({ code: "LAB_UP" });
    expect((await ping(lab, "neighbour", lab.topology.gateway.address)).status).toBe(0);
  });

  test("carries honest traffic between plain boxes once the ports are bridged", async () => {
    const { gateway, guests } = lab.topology;
    const [first, second] = guests;
    if (first === undefined || second === undefined) throw new TypeError("two guests");
    expect((await ping(lab, "neighbour", first.address)).status).not.toBe(0);
    await giveAddresses(lab);
    const peers = [gateway, second].flatMap((party) => [party.address, globalOf(party), `${llOf(party)}%eth0`]);
    for (const address of [...peers, `${GATEWAY6}%eth0`])
      expect((await ping(lab, first.box, address, 3)).status).toBe(0);
    const full = ["ping", "-n", "-c", "1", "-W", "2", "-M", "do", "-s", "1472", gateway.address];
    expect((await lab.exec(first.box, full)).status).toBe(0);
  });
});

describe("without a guard", () => {
  let lab: Lab;
  let bench: Bench;
  beforeAll(async () => {
    lab = await raiseLab({ name: `tlie${own}`, guests: 2, nic: "veth" });
    await giveAddresses(lab);
    bench = await openBench(lab, { from: "guest1", waitMs: 2_000 });
  });
  afterAll(async () => {
    await bench?.close();
    await lab?.down();
  });

  // The positive control of every "must not pass": behind nothing but a plain bridge each lie gets through, except what no bridge forwards.
  test.each(attacks.map((attack) => [attack.name, attack] as const))("%s arrives", async (_, attack) => {
    const trial = await bench.try(attack);
    if (attack.arrivesAt === "nowhere") expect(trial.arrivedAt, attack.says).toEqual([]);
    else if (attack.arrivesAt === "host") expect(trial.arrivedAt, attack.says).toContain("host");
    else
      expect(
        trial.arrivedAt.filter((box) => box !== "host"),
        attack.says,
      ).not.toEqual([]);
    expect(trial.controlPassed, attack.control.says).toBe(true);
  });
});

describe("down", () => {
  test("takes two labs down one after the other, each leaving the other alone", async () => {
    const outside = await linksOutside();
    const [one, two] = await Promise.all([
      raiseLab({ name: `tone${own}`, guests: 1, nic: "veth" }),
      raiseLab({ name: `ttwo${own}`, guests: 1, nic: "veth" }),
    ]);
    await one.down();
    expect(await namespaces(one.topology.name)).toEqual([]);
    expect(await find(one.topology.name)).toBeUndefined();
    expect((await ping(two, "neighbour", two.topology.gateway.address)).status).toBe(0);
    await two.down();
    expect(await labs()).not.toContain(two.topology.name);
    expect(await linksOutside()).toBe(outside);
  });

  test("works from what is found: half a lab, living processes, twice, by name alone", async () => {
    const lab = await raiseLab({ name: `thalf${own}`, guests: 2, nic: "tap" });
    const sniffer = await sniff(lab, "gw");
    await exec(["ip", "netns", "delete", lab.netns("lan")]);
    await exec(["ip", "netns", "delete", lab.netns("guest2")]);
    expect(await tearDown(lab.topology.name)).toContain(lab.netns("host"));
    expect(await namespaces(lab.topology.name)).toEqual([]);
    expect(await tearDown(lab.topology.name)).toEqual([]);
    await sniffer.stop();
    await lab.down();
    await expect(openLab(lab.topology.name)).rejects.toMatchObject({ code: "LAB_DOWN" });
  });

  test("follows a raise that fails half way", async () => {
    const name = labName(`tfail${own}`);
    await exec(["ip", "netns", "add", `vg-${name}-guest1`]);
    await expect(raiseLab({ name, guests: 1, nic: "veth" })).rejects.toMatchObject({ code: "COMMAND_FAILED" });
    expect(await namespaces(name)).toEqual([]);
    expect(await labs()).not.toContain(name);
  });

  test("follows a signal", async () => {
    const name = labName(`tsig${own}`);
    const work = withLab({ name, guests: 1, nic: "veth" }, async (lab) => {
      expect((await namespaces(lab.topology.name)).length).toBe(5);
      process.emit("SIGINT", "SIGINT");
      await lab.exec("gw", ["sleep", "10"]);
    });
    await expect(work).rejects.toThrow("SIGINT");
    expect(await namespaces(name)).toEqual([]);
  });

  test("frees a name that was claimed by a process that died", async () => {
    const name = labName(`tdead${own}`);
    await claim({ format: 1, name, guests: 1, nic: "veth", createdAt: 0 });
    await tearDown(name);
    const lab = await raiseLab({ name, guests: 1, nic: "veth" });
    await lab.down();
  });
});
