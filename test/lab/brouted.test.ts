/** Brouted ports on the real kernel (contract sections 2, 3, 5): what guests send is routed, what is sent to them is bridged, on one host and on two. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { udpTo } from "../../src/lab/attack.ts";
import { type DhcpClient, getLease } from "../../src/lab/dhcp-client.ts";
import { ask, attachGuest, startAgent } from "../../src/lab/guarded.ts";
import { isRoutedCopy } from "../../src/lab/routed-copy.ts";
import { sniff } from "../../src/lab/sniff.ts";
import { type GuestBox, globalOf, HOST_BRIDGE, llOf } from "../../src/lab/topology.ts";
import { sendFrames } from "../../src/lab/trial.ts";
import { parseIpv4 } from "../../src/model/ipv4.ts";
import { macToBytes } from "../../src/model/mac.ts";
import { BROUTED_GATEWAY6, HOST_PORT_MAC } from "../../src/model/wiring.ts";
import { addressBrouted, raiseBroutedLab } from "../support/brouted-lab.ts";
import {
  agentPid,
  applyText,
  eventually,
  guestAt,
  isSilent,
  killAgent,
  pings,
  siteText,
} from "../support/guarded-lab.ts";
import { addForeignNetwork, type RoutedLab, settingsOf } from "../support/routed-lab.ts";

const own = process.pid.toString(36);

type Frames = readonly Uint8Array[];
const typeOf = (frame: Uint8Array): number => ((frame[12] ?? 0) << 8) | (frame[13] ?? 0);
const isFrom = (frame: Uint8Array, mac: string): boolean => frame.subarray(6, 12).join() === macBytes(mac);
const macBytes = (mac: string): string =>
  mac
    .split(":")
    .map((octet) => Number.parseInt(octet, 16))
    .join();
const ARP = 0x0806;
const IP4 = 0x0800;
const IP6 = 0x86dd;
/** Of the sender's own address. */
const isAnnouncement = (frame: Uint8Array): boolean =>
  typeOf(frame) === ARP && frame.subarray(28, 32).join() === frame.subarray(38, 42).join();
const isIcmp = (frame: Uint8Array, four: number, six: number): boolean =>
  (typeOf(frame) === IP4 && frame[23] === 1 && frame[34] === four) ||
  (typeOf(frame) === IP6 && frame[20] === 58 && frame[54] === six);

describe("brouted guests on two hosts", () => {
  let brouted: RoutedLab;
  beforeAll(async () => {
    brouted = await raiseBroutedLab({ name: `br${own}`, guests: 3, hosts: 2 });
  });
  afterAll(async () => {
    await brouted?.lab.down();
  });

  async function reach(pairs: readonly (readonly [string, string])[]): Promise<void> {
    const failed: string[] = [];
    for (const [box, address] of pairs)
      if (!(await pings(brouted.lab, box, address))) failed.push(`${box} to ${address}`);
    expect(failed).toEqual([]);
  }

  test("reach each other, the gateway and the neighbour, and are reached, in both families", async () => {
    const { lab, guests } = brouted;
    const { gateway, neighbour } = lab.topology;
    const [one, two, three] = [guestAt(guests, 0), guestAt(guests, 1), guestAt(guests, 2)];
    expect([one.on, two.on, three.on]).toEqual(["host", "host2", "host"]);
    await reach([
      [one.box, three.address],
      [one.box, two.address],
      [two.box, three.address],
      [one.box, gateway.address],
      [one.box, neighbour.address],
      ["neighbour", one.address],
      ["gw", two.address],
      [one.box, globalOf(three)],
      [one.box, globalOf(two)],
      [two.box, globalOf(three)],
      [one.box, globalOf(neighbour)],
      ["neighbour", globalOf(one)],
      ["gw", globalOf(two)],
    ]);
  });

  test("no question of a guest leaves its port; the LAN sees its host's MAC and a hop limit one less, and the guest no MAC but one", async () => {
    const { lab, guests } = brouted;
    const { neighbour, gateway, host } = lab.topology;
    const [one, two, three] = [guestAt(guests, 0), guestAt(guests, 1), guestAt(guests, 2)];
    for (const box of [one.box, "neighbour", "gw"]) await lab.must(box, ["ip", "neigh", "flush", "all"]);
    const [lan, other, self] = [await sniff(lab, "neighbour"), await sniff(lab, three.box), await sniff(lab, one.box)];
    await reach([
      ...[neighbour, gateway, two, three].flatMap((party) =>
        [party.address, globalOf(party)].map((address) => [one.box, address] as const),
      ),
      ["neighbour", one.address],
      ["gw", one.address],
    ]);
    for (const listener of [lan, other, self]) await listener.stop();
    const [seen, told]: readonly Frames[] = [[...lan.frames(), ...other.frames()], self.frames()];
    const ofGuest = seen?.filter((frame) => isFrom(frame, one.mac)) ?? [];
    expect(
      ofGuest.some((frame) => typeOf(frame) === ARP && frame[21] === 2),
      "control: it answers the LAN",
    ).toBe(true);
    expect(ofGuest.filter((frame) => typeOf(frame) === ARP && frame[21] !== 2 && !isAnnouncement(frame))).toEqual([]);
    expect(ofGuest.filter((frame) => typeOf(frame) === IP4)).toEqual([]);
    expect(ofGuest.filter((frame) => typeOf(frame) === IP6 && frame[54] !== 136)).toEqual([]);
    const echoes = lan.frames().filter((frame) => isIcmp(frame, 8, 128) && isFrom(frame, host.mac));
    expect(new Set(echoes.map((frame) => `${typeOf(frame)} ${frame[typeOf(frame) === IP4 ? 22 : 21]}`))).toEqual(
      new Set([`${IP4} 63`, `${IP6} 63`]),
    );
    const arp = told?.filter((frame) => typeOf(frame) === ARP && !isFrom(frame, one.mac)) ?? [];
    expect(arp.length, "questions of the LAN and answers").toBeGreaterThan(4);
    for (const frame of arp) expect(frame.subarray(22, 28).join()).toBe(macToBytes(HOST_PORT_MAC).join());
    const table = await lab.must(one.box, ["ip", "-4", "neigh", "show"]);
    for (const line of table.trim().split("\n")) expect(line).toContain(HOST_PORT_MAC);
  });

  test("no host tells a guest of a shorter way", async () => {
    const { lab, guests } = brouted;
    const one = guestAt(guests, 0);
    expect(
      (await lab.must("host", ["sysctl", "-n", "net.ipv4.conf.all.send_redirects"])).trim(),
      "as kernels are",
    ).toBe("1");
    const redirects = async (): Promise<number> => {
      const listener = await sniff(lab, one.box);
      for (const address of [lab.topology.neighbour.address, globalOf(lab.topology.neighbour)])
        await lab.must(one.box, ["ping", "-n", "-c", "3", "-i", "0.2", "-w", "3", address]);
      await listener.stop();
      return listener.frames().filter((frame) => isIcmp(frame, 5, 137)).length;
    };
    expect(await redirects()).toBe(0);
    const before = await brouted.client.drops({ port: one.port });
    expect(
      before.filter(({ reason }) => reason === "ra"),
      "nothing to stop",
    ).toEqual([]);
    const pid = await agentPid(lab);
    process.kill(pid, "SIGSTOP");
    try {
      const open = `nft list tables | sed -n 's/table inet //p' | while read t; do nft flush chain inet $t brouted_redirects; done`;
      await lab.must("host", ["sh", "-c", open]);
      expect(await redirects(), "control: it is that chain").toBeGreaterThan(0);
    } finally {
      process.kill(pid, "SIGCONT");
    }
    expect(await eventually(async () => (await redirects()) === 0), "it is put back").toBe(true);
  });

  test.each(["udhcpc", "dhclient"] as const satisfies readonly DhcpClient[])(
    "%s gets the address and a way out",
    async (client) => {
      const { lab, guests } = brouted;
      const guest = guestAt(guests, 0);
      await lab.must(guest.box, ["ip", "-4", "address", "flush", "dev", "eth0"]);
      expect(await getLease(lab, guest.box, client)).toBe(guest.address);
      expect(await pings(lab, guest.box, lab.topology.neighbour.address)).toBe(true);
      await lab.must(guest.box, ["ip", "-4", "address", "flush", "dev", "eth0"]);
      await addressBrouted(lab, guest);
    },
  );

  test("a guest that moves to the other host finds its gateway as it was, and is found", async () => {
    const { lab, guests, agentAt } = brouted;
    const guest = guestAt(guests, 2);
    const peer = ["vif9.0", "type", "veth", "peer", "name", "eth0", "netns", lab.netns(guest.box)];
    const router = (): Promise<string> => lab.must(guest.box, ["ip", "neigh", "show", BROUTED_GATEWAY6]);
    expect(await pings(lab, guest.box, globalOf(lab.topology.neighbour))).toBe(true);
    expect(await router()).toContain(HOST_PORT_MAC);
    await ask(agentAt("host"), ["detach", guest.port]);
    await lab.must(guest.box, ["ip", "link", "set", "eth0", "name", "old0"]);
    await lab.must(guest.box, ["ip", "address", "flush", "dev", "old0"]);
    await lab.must("host2", ["ip", "link", "add", ...peer]);
    const moved: GuestBox = { ...guest, port: "vif9.0", on: "host2" };
    await attachGuest(lab, agentAt("host2"), moved);
    await addressBrouted(lab, moved);
    await reach([
      [guest.box, lab.topology.neighbour.address],
      ["neighbour", guest.address],
      [guestAt(guests, 0).box, guest.address],
      [guest.box, globalOf(guestAt(guests, 0))],
      ["neighbour", globalOf(guest)],
    ]);
    expect(await router()).toContain(HOST_PORT_MAC);
  });
});

describe("a host of brouted guests", () => {
  let brouted: RoutedLab;
  let before: string;
  let one: GuestBox;
  let two: GuestBox;
  beforeAll(async () => {
    brouted = await raiseBroutedLab({ name: `brh${own}`, guests: 2 });
    [one, two] = [guestAt(brouted.guests, 0), guestAt(brouted.guests, 1)];
    before = await traces();
  });
  afterAll(async () => {
    await brouted?.lab.down();
  });

  const onHost = (...argv: string[]): Promise<string> => brouted.lab.must("host", argv);

  const settings = (device: string): Record<string, number | undefined> => settingsOf(brouted.lab, device);

  /** All that bears our number. */
  async function traces(): Promise<string> {
    const shown = await onHost(
      "sh",
      "-c",
      "ip route show proto 118; ip -6 route show proto 118; ip neigh show; ip -6 neigh show",
    );
    return shown
      .split("\n")
      .filter((line) => /proto 118|dev br0 scope link|metric 1024/.test(line))
      .sort()
      .join("\n");
  }

  test("knows its guests without asking, and routes for its bridge alone", async () => {
    for (const { address, mac } of [one, two]) expect(before).toContain(`${address} dev br0 lladdr ${mac} PERMANENT`);
    for (const guest of [one, two])
      for (const address of [globalOf(guest), llOf(guest)])
        expect(before).toContain(`${address} dev br0 lladdr ${guest.mac}`);
    expect(settings(HOST_BRIDGE)).toMatchObject({
      forwarding4: 1,
      redirectsIn4: 0,
      redirectsOut4: 0,
      forwarding6: 1,
      proxy4: 0,
    });
    expect(settings(HOST_BRIDGE)["router6"], "it goes on learning its own routes").toBe(0);
    expect(settings("eth0")).toMatchObject({ forwarding4: 0, forwarding6: 0 });
  });

  test("is nobody's router: not for a guest to another network, nor for the LAN, nor for who says on the LAN that it is a guest", async () => {
    const { lab, client } = brouted;
    const { neighbour, gateway, host, prefix4 } = lab.topology;
    await addForeignNetwork(lab);
    await lab.must("gw", ["ip", "address", "add", "198.51.100.2/24", "dev", "mgmt1"]);
    await lab.must("gw", ["ip", "link", "set", "mgmt1", "up"]);
    expect(await pings(lab, "host", "198.51.100.2"), "control").toBe(true);
    expect(await isSilent(lab, one.box, "198.51.100.2")).toBe(true);
    const counted = await client.drops({ port: one.port });
    expect(counted.find(({ reason }) => reason === "astray")?.direction).toBe("from-guest");
    await lab.must("neighbour", ["ip", "route", "add", "198.51.100.0/24", "via", host.address]);
    await lab.must("neighbour", ["ip", "route", "add", `${one.address}/32`, "via", host.address]);
    expect(await isSilent(lab, "neighbour", "198.51.100.2"), "the LAN").toBe(true);
    const far = parseIpv4("198.51.100.2");
    if (far === undefined) throw new TypeError("address");
    const context = { self: neighbour, gateway, neighbour: one, victim: two, host, prefix4, via: host.mac };
    const listener = await sniff(lab, "gw", "mgmt1");
    expect(await pings(lab, "neighbour", one.address), "by way of the host to a guest").toBe(true);
    const spoofed = Array.from({ length: 5 }, (_, serial) =>
      udpTo({ ...context, serial }, { address: one.address, to: far }),
    );
    const honest = Array.from({ length: 5 }, (_, n) => udpTo({ ...context, serial: 100 + n }, { to: far }));
    await sendFrames(lab, "neighbour", [...spoofed, ...honest]);
    // Nobody repairs while it stands still.
    const agent = await agentPid(lab);
    process.kill(agent, "SIGSTOP");
    try {
      const flush = `nft list tables | sed -n 's/table inet //p' | while read t; do nft flush set inet $t opened; done`;
      await onHost("sh", "-c", flush);
      expect(await pings(lab, "neighbour", "198.51.100.2"), "control: it is that set which closes it").toBe(true);
      await sendFrames(lab, "neighbour", [...spoofed, ...honest]);
      const arrived = (sent: Frames): boolean =>
        listener.frames().some((frame) => sent.some((lie) => isRoutedCopy(lie, frame)));
      expect(await eventually(async () => arrived(honest)), "control: its own address").toBe(true);
      expect(arrived(spoofed)).toBe(false);
    } finally {
      process.kill(agent, "SIGCONT");
    }
    await listener.stop();
    expect(await eventually(() => isSilent(lab, "neighbour", "198.51.100.2")), "it is put back").toBe(true);
    await lab.must("neighbour", ["ip", "route", "del", `${one.address}/32`]);
    await onHost("ip", "link", "del", "mgmt0");
  });

  test("of the host itself a guest reaches what the network offers, and nothing else", async () => {
    const { lab, client } = brouted;
    const addresses = [lab.topology.host.address, lab.topology.host.address6];
    for (const address of addresses) expect(await isSilent(lab, one.box, address), address).toBe(true);
    await applyText({ client }, siteText(lab.topology, { network: ["hostServices: [{ protocol: icmp }]"] }));
    for (const address of addresses) expect(await pings(lab, one.box, address), `${address} offered`).toBe(true);
    await applyText({ client }, siteText(lab.topology));
  });

  test("explain tells the same story", async () => {
    const told = async (phrase: string): Promise<string> => {
      const { frames } = await brouted.client.explain({ target: one.box, direction: "from-guest", phrase });
      return frames.map(({ sentence }) => sentence).join();
    };
    expect(await told("arp request who-has gateway")).toContain("answered");
    expect(await told("arp announce own")).toContain("passes");
    expect(await told("udp own > 203.0.113.2:53")).toContain("passes");
    expect(await told("arp announce gateway")).toContain("arp-sender");
    expect(await told("udp own > [fe80::99]:7")).toContain("host");
  });

  test("no guest fills the host's table of neighbours by asking for who is not there", async () => {
    const { lab, client } = brouted;
    const { neighbour, gateway, host, prefix4 } = lab.topology;
    const context = { self: one, gateway, neighbour, victim: two, host, prefix4, via: HOST_PORT_MAC };
    const nobody = Array.from({ length: 180 }, (_, n) => {
      const to = parseIpv4(`203.0.113.${60 + n}`);
      if (to === undefined) throw new TypeError("address");
      return udpTo({ ...context, serial: n }, { to });
    });
    expect(await pings(lab, one.box, neighbour.address), "heard before").toBe(true);
    await sendFrames(lab, one.box, nobody);
    const truths = [udpTo({ ...context, serial: 9998 }), udpTo({ ...context, serial: 9999 }, { to: two.address })];
    const listeners = [await sniff(lab, "neighbour"), await sniff(lab, two.box)];
    await sendFrames(lab, one.box, truths);
    const isThere = async (): Promise<boolean> =>
      truths.every((truth, n) => listeners[n]?.frames().some((frame) => isRoutedCopy(truth, frame)) === true);
    expect(await eventually(isThere), "control: who was heard, and guests of the host").toBe(true);
    for (const listener of listeners) await listener.stop();
    const asked = (await onHost("ip", "neigh", "show", "dev", HOST_BRIDGE))
      .split("\n")
      .filter((line) => line !== "" && !line.includes("lladdr"));
    expect(asked.length, "asked for").toBeLessThan(100);
    expect(asked.length, "control: it was asked").toBeGreaterThan(20);
    const drops = await client.drops({ port: one.port });
    expect(drops.find(({ reason }) => reason === "rate-arp")?.packets).toBeGreaterThan(80);
  });

  test("a machine of the LAN that says nothing is spoken to at any rate", async () => {
    const { lab } = brouted;
    const { neighbour, gateway, host, prefix4 } = lab.topology;
    const context = { self: one, gateway, neighbour, victim: two, host, prefix4, via: HOST_PORT_MAC };
    await lab.must("neighbour", ["ip", "address", "add", "203.0.113.51/24", "dev", "eth0"]);
    await lab.must("neighbour", [
      "nft",
      "add table ip mute; add chain ip mute in { type filter hook input priority 0; }; add rule ip mute in udp dport 9 drop",
    ]);
    const to = parseIpv4("203.0.113.51");
    if (to === undefined) throw new TypeError("address");
    const sent = Array.from({ length: 150 }, (_, n) => udpTo({ ...context, serial: 20_000 + n }, { to }));
    const listener = await sniff(lab, "neighbour");
    // One first, as long as the host asks for it.
    await sendFrames(lab, one.box, sent.slice(0, 1));
    const count = (): number =>
      sent.filter((frame) => listener.frames().some((seen) => isRoutedCopy(frame, seen))).length;
    expect(await eventually(async () => count() === 1)).toBe(true);
    await sendFrames(lab, one.box, sent.slice(1));
    expect(await eventually(async () => count() === sent.length), `${count()} of ${sent.length}`).toBe(true);
    await listener.stop();
    await lab.must("neighbour", ["nft", "delete", "table", "ip", "mute"]);
  });

  test("what somebody takes away comes back, and another MAC of the bridge is followed", async () => {
    const { lab } = brouted;
    expect(await traces()).toBe(before);
    const thefts: readonly (readonly string[])[] = [
      ["ip", "-6", "neigh", "del", globalOf(one), "dev", HOST_BRIDGE],
      ["ip", "neigh", "del", one.address, "dev", HOST_BRIDGE],
    ];
    const pid = await agentPid(lab);
    for (const argv of thefts) {
      // Held, or it has put it back before anybody looks.
      process.kill(pid, "SIGSTOP");
      await onHost(...argv);
      expect(await traces(), argv.join(" ")).not.toBe(before);
      process.kill(pid, "SIGCONT");
      expect(await eventually(async () => (await traces()) === before), argv.join(" ")).toBe(true);
    }
    await onHost("sh", "-c", "echo 0 > /proc/sys/net/ipv4/conf/br0/forwarding");
    expect(await eventually(async () => settings(HOST_BRIDGE)["forwarding4"] === 1), "forwarding").toBe(true);
    await onHost("ip", "link", "set", HOST_BRIDGE, "address", "02:76:67:00:00:77");
    expect(await eventually(() => pings(lab, one.box, lab.topology.neighbour.address))).toBe(true);
    await onHost("ip", "link", "set", HOST_BRIDGE, "address", lab.topology.host.mac);
    expect(await eventually(() => pings(lab, one.box, lab.topology.neighbour.address))).toBe(true);
  });

  test("guests go on talking when the agent is killed, to those they never spoke to before, too; the next agent changes nothing", async () => {
    const { lab, agent } = brouted;
    await killAgent(lab);
    const changes = readFileSync(agent.log, "utf8").split("brought the kernel into line").length;
    for (const box of ["neighbour", one.box, two.box]) await lab.must(box, ["ip", "neigh", "flush", "all"]);
    // Without elements: those that rules write come and go by themselves. What is wished for is compared by the agent itself, which had nothing to change.
    const list = (): Promise<string> => onHost("nft", "-s", "-t", "list", "ruleset");
    const [rules, held] = [await list(), await traces()];
    expect(await pings(lab, one.box, lab.topology.neighbour.address)).toBe(true);
    expect(await pings(lab, "neighbour", two.address)).toBe(true);
    expect(await pings(lab, one.box, globalOf(two))).toBe(true);
    expect(await pings(lab, "neighbour", globalOf(one))).toBe(true);
    await startAgent(lab);
    expect(await list()).toBe(rules);
    expect(readFileSync(agent.log, "utf8").split("brought the kernel into line").length, "changes").toBe(changes);
    expect(await traces()).toBe(held);
    expect(await pings(lab, one.box, two.address)).toBe(true);
  });

  test("detached it leaves nothing, and settings are as they were with the last port", async () => {
    const { lab, agent } = brouted;
    await ask(agent, ["detach", two.port]);
    expect(await isSilent(lab, "neighbour", two.address)).toBe(true);
    expect(await pings(lab, "neighbour", one.address), "control").toBe(true);
    expect(await traces()).not.toContain(two.address);
    expect(settings(HOST_BRIDGE)).toMatchObject({ forwarding4: 1 });
    const [lan, guest] = [await sniff(lab, "neighbour"), await sniff(lab, one.box)];
    await attachGuest(lab, agent, two);
    const isTold = (frame: Uint8Array): boolean => isAnnouncement(frame) && isFrom(frame, two.mac);
    expect(await eventually(async () => lan.frames().some(isTold)), "switches learn where it is").toBe(true);
    expect(guest.frames().some(isTold), "which is nothing to other guests").toBe(false);
    for (const listener of [lan, guest]) await listener.stop();
    await ask(agent, ["detach", two.port]);
    await ask(agent, ["detach", one.port]);
    expect(await eventually(async () => settings(HOST_BRIDGE)["forwarding4"] === 0)).toBe(true);
    expect(settings(HOST_BRIDGE)).toMatchObject({
      redirectsIn4: 1,
      redirectsOut4: 1,
      redirectsIn6: 1,
      forwarding6: 0,
      off6: 0,
    });
    expect(await traces()).toBe("");
    const rules = await onHost("nft", "list", "ruleset");
    for (const name of ["brouters", "brouted", "brouted_ways", "brouted4", "brouted6", "router_sums"]) {
      const [, body = ""] = new RegExp(`(?:set|map) ${name} \\{([^}]*)\\}`).exec(rules) ?? [];
      expect(body, name).not.toBe("");
      expect(body, name).not.toContain("elements");
    }
    const status = await ask(agent, ["status", "-o", "json"]);
    expect(JSON.parse(status)).toMatchObject({ settings: [] });
    expect(readFileSync(agent.log, "utf8")).not.toContain('"level":50');
  });
});
