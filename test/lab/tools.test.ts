/**
 * Attack tools that nobody here wrote, against a live victim (contract section 2). Every tool first works against a lab without a guard, which proves that
 * it is used right; behind the guard the victim's neighbours, routes, addresses and traffic are what they were, and the liar's port says why.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { patience } from "../../src/lab/patience.ts";
import type { Lab } from "../../src/lab/raise.ts";
import { type GuestBox, llOf } from "../../src/lab/topology.ts";
import type { Reason } from "../../src/model/reasons.ts";
import {
  type DropCounts,
  dropsOf,
  eventually,
  type GuardedLab,
  guestAt,
  moreThan,
  pings,
  raiseGuardedLab,
  raisePlainLab,
} from "../support/guarded-lab.ts";

const own = process.pid.toString(36);

/** Where a tool is used: the same boxes, guarded or not. */
interface Scene {
  readonly lab: Lab;
  readonly liar: GuestBox;
  readonly victim: GuestBox;
}

/** Something that a tool can do, as a yes or no that can be asked at any time. */
type Harm = (scene: Scene, before: State) => Promise<boolean>;

interface Tool {
  readonly name: string;
  readonly does: string;
  readonly argv: (scene: Scene) => readonly string[];
  /** Seconds it runs for at a time: floods get little, because an unguarded bridge takes minutes to recover. It is run again until it has done its work. */
  readonly seconds: number;
  /** What the scene needs before. */
  readonly prepare?: (scene: Scene) => Promise<void>;
  readonly harm: Harm;
  /** The lines of the contract its frames are counted under, any of them, and how often at least. */
  readonly reasons: readonly Reason[];
  readonly atLeast: number;
}

interface State {
  readonly neighbours: string;
  readonly routes: string;
  readonly addresses: string;
  readonly received: number;
  readonly segments: number;
}

const text = async ({ lab, victim }: Scene, ...argv: readonly string[]): Promise<string> =>
  (await lab.must(victim.box, argv)).trimEnd();

/** Without what changes by itself: reachability states and the seconds a lifetime has left. */
const settled = (lines: string): string =>
  lines
    .split("\n")
    .map((line) => line.replace(/ (REACHABLE|STALE|DELAY|PROBE|INCOMPLETE|FAILED)\s*$/, "").trim())
    .sort()
    .join("\n");

async function segmentsAt(scene: Scene): Promise<number> {
  const snmp = await text(scene, "cat", "/proc/net/snmp");
  return Number(/^Tcp: \d.*$/m.exec(snmp)?.[0].split(" ")[10]);
}

async function stateOf(scene: Scene): Promise<State> {
  const [neighbours, routes4, routes6, addresses, received, segments] = await Promise.all([
    text(scene, "ip", "neighbour", "show"),
    text(scene, "ip", "-4", "route"),
    text(scene, "ip", "-6", "route"),
    text(scene, "ip", "-o", "address"),
    text(scene, "cat", "/sys/class/net/eth0/statistics/rx_packets"),
    segmentsAt(scene),
  ]);
  return {
    neighbours: settled(neighbours),
    // The host's own router advertisements count down.
    routes: `${routes4}\n${routes6}`.replaceAll(/ expires \d+sec/g, ""),
    addresses,
    received: Number(received),
    segments,
  };
}

/** The victim believes that somebody else's address is at the liar's MAC. */
const poisoned =
  (address: (scene: Scene) => string): Harm =>
  async (scene) => {
    const line = await text(scene, "ip", "neighbour", "show", address(scene), "dev", "eth0");
    return line.includes(`lladdr ${scene.liar.mac}`);
  };

/** The bridge has learned other MACs than the liar's at the liar's port. */
const switchMoved: Harm = async ({ lab, liar }) => {
  const lines = (await lab.must("host", ["bridge", "fdb", "show", "br", "br0"])).split("\n");
  return lines.some(
    (line) => line.includes(`dev ${liar.port} `) && !line.includes("permanent") && !line.startsWith(liar.mac),
  );
};

const flooded =
  (frames: number): Harm =>
  async (scene, before) =>
    (await stateOf(scene)).received > before.received + frames;

const newRoutes: Harm = async (scene, before) => {
  const now = await stateOf(scene);
  return now.routes !== before.routes && now.addresses !== before.addresses;
};

const switchLine = ({ lab }: Scene): Promise<string> => lab.must("lan", ["ip", "-d", "link", "show", "sw0"]);

/** Another switch is the root of the LAN's tree now. */
const notRoot: Harm = async (scene) => /root_port [1-9]/.test(await switchLine(scene));

/** The lab's switches have no spanning tree of their own; one that has is the victim here. */
async function treeOn(scene: Scene): Promise<void> {
  await scene.lab.must("lan", ["ip", "link", "set", "sw0", "type", "bridge", "stp_state", "1"]);
  const ports = async (): Promise<string> => scene.lab.must("lan", ["bridge", "link", "show"]);
  const forwards = await eventually(async () => !/state (listening|learning|blocking)/.test(await ports()), 20_000);
  expect(forwards, "the LAN forwards again").toBe(true);
}

const gatewayOf = ({ lab }: Scene): string => lab.topology.gateway.address;
const neighbourOf = ({ lab }: Scene): string => lab.topology.neighbour.address;
const gateway6 = "fe80::1";

/** It ends at the first key press or at the end of its input, so it gets neither; its log stays with the lab. */
const yersinia = ({ lab }: Scene, ...argv: readonly string[]): readonly string[] => {
  const script = 'cd "$1" && shift && sleep 60 | yersinia "$@"';
  return ["sh", "-c", script, "sh", lab.directory, ...argv, "-interface", "eth0"];
};

const tools: readonly Tool[] = [
  {
    name: "arpspoof",
    does: "tells the victim that the gateway is at the liar",
    argv: (s) => ["arpspoof", "-i", "eth0", "-t", s.victim.address, gatewayOf(s)],
    seconds: 6,
    harm: poisoned(gatewayOf),
    reasons: ["arp-sender"],
    atLeast: 2,
  },
  {
    name: "nping --arp",
    does: "tells the victim that its neighbour is at the liar",
    argv: (s) => [
      ...[
        "nping",
        "--arp",
        "--arp-type",
        "arp-reply",
        "--arp-sender-mac",
        s.liar.mac,
        "--arp-sender-ip",
        neighbourOf(s),
      ],
      ...["--arp-target-mac", s.victim.mac, "--arp-target-ip", s.victim.address, "--dest-mac", s.victim.mac],
      ...["-e", "eth0", "-c", "40", "--rate", "10", s.victim.address],
    ],
    seconds: 6,
    harm: poisoned(neighbourOf),
    reasons: ["arp-sender"],
    atLeast: 5,
  },
  {
    name: "macof",
    does: "fills the switch's table with made-up MACs",
    argv: () => ["macof", "-i", "eth0", "-n", "300"],
    seconds: 6,
    harm: switchMoved,
    reasons: ["mac-source"],
    atLeast: 300,
  },
  {
    name: "hping3 --icmp -a",
    does: "pings the victim in its neighbour's name",
    argv: (s) => ["hping3", "--icmp", "-a", neighbourOf(s), "-c", "300", "-i", "u5000", s.victim.address],
    seconds: 3,
    harm: flooded(100),
    reasons: ["ip4-source"],
    atLeast: 100,
  },
  {
    name: "hping3 -S --rand-source --flood",
    does: "floods the victim with connection attempts from everywhere",
    argv: (s) => ["hping3", "-S", "--rand-source", "--flood", "-p", "80", s.victim.address],
    seconds: 0.4,
    harm: async (scene, before) => (await segmentsAt(scene)) > before.segments + 200,
    reasons: ["ip4-source"],
    atLeast: 200,
  },
  {
    name: "atk6-fake_advertise6",
    does: "advertises the IPv6 gateway at the liar's MAC",
    argv: (s) => ["atk6-fake_advertise6", "-n", "5", "-w", "1", "eth0", gateway6, llOf(s.victim), s.liar.mac],
    seconds: 5,
    harm: poisoned(() => gateway6),
    reasons: ["ip6-source", "nd"],
    atLeast: 1,
  },
  {
    name: "atk6-fake_router26",
    does: "advertises itself as router, and a prefix of its own",
    argv: () => ["atk6-fake_router26", "-A", "2001:db8:bad::/64", "eth0"],
    seconds: 3,
    harm: newRoutes,
    reasons: ["ra"],
    atLeast: 1,
  },
  {
    name: "atk6-flood_router26",
    does: "fills the victim's routes and addresses",
    argv: () => ["atk6-flood_router26", "eth0"],
    seconds: 0.2,
    harm: newRoutes,
    reasons: ["mac-source"],
    atLeast: 50,
  },
  {
    name: "atk6-flood_advertise6",
    does: "advertises neighbours without end",
    argv: () => ["atk6-flood_advertise6", "eth0"],
    seconds: 0.2,
    harm: flooded(200),
    reasons: ["mac-source"],
    atLeast: 200,
  },
  {
    name: "atk6-flood_solicitate6",
    does: "solicits neighbours without end",
    argv: () => ["atk6-flood_solicitate6", "eth0"],
    seconds: 0.2,
    harm: flooded(200),
    reasons: ["mac-source"],
    atLeast: 200,
  },
  {
    name: "atk6-flood_dhcpc6",
    does: "asks for DHCPv6 leases in everybody's name",
    argv: () => ["atk6-flood_dhcpc6", "eth0"],
    seconds: 0.4,
    harm: flooded(100),
    reasons: ["mac-source"],
    atLeast: 100,
  },
  {
    name: "atk6-flood_mld26",
    does: "joins multicast groups without end",
    argv: () => ["atk6-flood_mld26", "eth0"],
    seconds: 0.1,
    harm: flooded(100),
    reasons: ["mac-source"],
    atLeast: 100,
  },
  {
    name: "atk6-flood_rs6",
    does: "asks for routers without end",
    argv: () => ["atk6-flood_rs6", "eth0"],
    seconds: 0.2,
    harm: flooded(200),
    reasons: ["nd"],
    atLeast: 200,
  },
  {
    name: "yersinia dhcp -attack 1",
    does: "takes the DHCP server's addresses away with made-up clients",
    argv: (s) => yersinia(s, "dhcp", "-attack", "1"),
    seconds: 1,
    harm: flooded(100),
    reasons: ["mac-source"],
    atLeast: 100,
  },
  {
    name: "yersinia stp -attack 2",
    does: "speaks spanning tree until it is the LAN's root",
    argv: (s) => yersinia(s, "stp", "-attack", "2"),
    seconds: 2,
    prepare: treeOn,
    harm: notRoot,
    reasons: ["mac-source", "ethertype"],
    atLeast: 100,
  },
];

const LONGEST_MS = 20_000;

/** Run again and again until its work is done, however slow the machine is. @returns whether it was, and after how many milliseconds */
async function runUntil(
  { lab, liar }: Scene,
  tool: Tool,
  argv: readonly string[],
  isDone: (milliseconds: number) => Promise<boolean>,
): Promise<{ readonly done: boolean; readonly took: number }> {
  const start = performance.now();
  const took = (): number => performance.now() - start;
  const limit = patience(tool.seconds * 1000);
  let done = false;
  while (!done && took() < patience(LONGEST_MS)) {
    // Ended by `timeout` when we no longer can.
    const running = await lab.start(liar.box, ["timeout", "-s", "KILL", String(limit / 1000), ...argv], "tools.log");
    const until = took() + limit;
    while (!done && took() < until) {
      done = await isDone(took());
      await sleep(20);
    }
    await running.stop("SIGKILL");
    done ||= await isDone(took());
  }
  return { done, took: took() };
}

/** Before every tool the victim knows everybody it speaks to, the liar too by its true name: whatever is new afterwards is a lie. */
async function greet({ lab, victim, liar }: Scene): Promise<void> {
  const { gateway, neighbour } = lab.topology;
  const known = [gateway.address, neighbour.address, liar.address, `${gateway6}%eth0`, `${llOf(liar)}%eth0`];
  const answers = await Promise.all(known.map((address) => pings(lab, victim.box, address)));
  expect(
    known.filter((_, i) => !answers[i]),
    "control: whom the victim does not reach",
  ).toEqual([]);
}

/** What a tool did to an unguarded lab is undone, so that the next one has to do its own harm. */
async function heal({ lab, victim }: Scene): Promise<void> {
  await lab.must("host", ["ip", "link", "set", "br0", "type", "bridge", "fdb_flush"]);
  await lab.must("lan", ["ip", "link", "set", "sw0", "type", "bridge", "fdb_flush"]);
  await lab.must(victim.box, ["ip", "neighbour", "flush", "dev", "eth0"]);
  await lab.must(victim.box, ["ip", "-6", "route", "flush", "proto", "ra"]);
  await lab.must(victim.box, ["ip", "-6", "address", "flush", "dev", "eth0", "dynamic"]);
}

describe("attack tools", () => {
  let guarded: GuardedLab;
  let plain: Scene;
  let safe: Scene;
  beforeAll(async () => {
    const lab = await raisePlainLab(`tlp${own}`, 2);
    plain = { lab, liar: guestAt(lab.topology.guests, 0), victim: guestAt(lab.topology.guests, 1) };
    guarded = await raiseGuardedLab(`tlg${own}`, 2);
    safe = { lab: guarded.lab, liar: guestAt(guarded.guests, 0), victim: guestAt(guarded.guests, 1) };
  });
  afterAll(async () => {
    await plain?.lab.down();
    await guarded?.lab.down();
  });

  async function untouched(tool: Tool, before: State): Promise<void> {
    const after = await stateOf(safe);
    expect(await tool.harm(safe, before), "behind the guard").toBe(false);
    expect(after.neighbours).toBe(before.neighbours);
    expect(after.routes).toBe(before.routes);
    expect(after.addresses).toBe(before.addresses);
    // An answer or a question of the kernel's own may come in the meantime, and nothing else.
    expect(after.received - before.received, "frames that reached the victim").toBeLessThan(20);
    expect(await switchMoved(safe, before), "the switch's table").toBe(false);
    expect(await pings(safe.lab, safe.liar.box, safe.victim.address), "the liar's own honest ping").toBe(true);
    expect(await pings(safe.lab, safe.victim.box, safe.liar.address), "and the victim's").toBe(true);
  }

  const title = "$name $does: it does without a guard, and behind it nothing happens";
  test.each(tools)(title, { timeout: patience(120_000) }, async (tool) => {
    await heal(plain);
    for (const scene of [plain, safe]) await tool.prepare?.(scene);
    await greet(plain);
    const was = await stateOf(plain);
    expect(await tool.harm(plain, was), "no harm yet").toBe(false);
    const control = await runUntil(plain, tool, tool.argv(plain), () => tool.harm(plain, was));
    expect(control.done, "control: the tool works").toBe(true);

    await greet(safe);
    const before = await stateOf(safe);
    const counts = await dropsOf(guarded, safe.liar.port);
    const counted = async (): Promise<DropCounts> => moreThan(counts, await dropsOf(guarded, safe.liar.port));
    // No shorter than what did harm.
    const isStopped = async (milliseconds: number): Promise<boolean> => {
      const now = await counted();
      const sum = tool.reasons.reduce((total, reason) => total + (now.get(reason) ?? 0), 0);
      return sum >= tool.atLeast && milliseconds >= control.took;
    };
    const { done } = await runUntil(safe, tool, tool.argv(safe), isStopped);
    expect(done, `counted: ${JSON.stringify([...(await counted())])}`).toBe(true);
    await untouched(tool, before);
  });
});
