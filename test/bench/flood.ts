/**
 * What one guest's flood costs another guest of the same host: TCP throughput and the latency of ARP, ping and DHCP, without a flood and with each of five,
 * behind the guard and, in a second lab, on a plain bridge. The flood has one core for itself, everybody else the other: what is left is not the CPU they would share.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join as joinPath } from "node:path";
import { fileURLToPath } from "node:url";
import { type AttackContext, arpRequest, discover, ETHER, PROTOCOL, udpTo } from "../../src/lab/attack.ts";
import { checksum, ethernet, ip4, ip4Of, join, patched, u16 } from "../../src/lab/forge.ts";
import type { Lab } from "../../src/lab/raise.ts";
import type { GuestBox } from "../../src/lab/topology.ts";
import { toHex } from "../../src/packet/hex.ts";
import { agentPid, eventually, guestAt, pings, raiseGuardedLab, raisePlainLab } from "../support/guarded-lab.ts";
import type { BenchRow } from "./row.ts";

const SUITE = "flood";
/** The quietest of so many counts: other work on the machine comes and goes, a flood's harm would be in all of them. */
const ROUNDS = 5;
const SECONDS = "1";
const QUESTIONS = "200";
/** Every two milliseconds. */
const PAUSE_US = "2000";
/** More than any flood sends in one measurement; it is stopped. */
const ENDLESS = "1000000000";
const on = (core: 0 | 1, ...argv: readonly string[]): readonly string[] => ["taskset", "-c", String(core), ...argv];

interface Flood {
  readonly name: string;
  /** Without one the core is only kept busy: what a neighbour costs that says nothing. */
  readonly frame?: (context: AttackContext) => Uint8Array;
  /** Octets that differ from frame to frame: where, and how many. */
  readonly varied?: readonly [number, number];
}

const floods: readonly Flood[] = [
  { name: "a busy core, no frame" },
  { name: "lies with random source MACs", frame: (c) => udpTo(c), varied: [7, 5] },
  {
    name: "lies with a foreign source address (sampled for the log)",
    frame: (c) => udpTo(c, { address: c.victim.address }),
  },
  // For an address beyond the gateway: received, looked up and dropped there, answered by nobody.
  { name: "true UDP to the LAN", frame: (c) => udpTo(c, { to: ip4Of("198.51.100.1"), toMac: c.gateway.mac }) },
  { name: "ARP requests", frame: (c) => arpRequest(c, c.self, c.neighbour.address) },
  // Transaction numbers: Ethernet 14, IPv4 20, UDP 8, behind four octets.
  { name: "DHCP discovers", frame: (c) => discover(c), varied: [46, 4] },
];

interface Probe {
  readonly name: string;
  readonly frame: (context: AttackContext) => Uint8Array;
  /** What an answer has, and where. */
  readonly answer: (context: AttackContext) => readonly [number, Uint8Array];
}

function echoRequest(c: AttackContext): Uint8Array {
  const message = join([8, 0, 0, 0, 0x77, 0x77, 0, 1], new Uint8Array(32));
  const summed = patched(message, 2, u16(checksum(message)));
  const packet = ip4({ from: c.self.address, to: c.neighbour.address, protocol: PROTOCOL.icmp, id: 1 }, summed);
  return ethernet(c.neighbour.mac, c.self.mac, ETHER.ip, packet);
}

const octets = (address: string): Uint8Array => Uint8Array.from(address.split("."), Number);
const probes: readonly Probe[] = [
  {
    name: "ARP",
    frame: (c) => arpRequest(c, c.self, c.neighbour.address),
    answer: (c) => [
      20,
      join(
        [0, 2],
        octets(
          c.neighbour.mac
            .split(":")
            .map((part) => Number.parseInt(part, 16))
            .join("."),
        ),
      ),
    ],
  },
  { name: "ping", frame: echoRequest, answer: () => [34, Uint8Array.of(0, 0)] },
  {
    name: "DHCP",
    frame: (c) => discover({ ...c, serial: 0x0bad_cafe }),
    answer: () => [46, Uint8Array.of(0x0b, 0xad, 0xca, 0xfe)],
  },
];

interface Stage {
  readonly lab: Lab;
  readonly flooder: AttackContext;
  readonly innocent: AttackContext;
  readonly isGuarded: boolean;
}

function contextOf(lab: Lab, self: GuestBox, victim: GuestBox): AttackContext {
  return { ...lab.topology, self, victim, serial: 1 };
}

async function prepare(lab: Lab, guests: readonly GuestBox[], isGuarded: boolean): Promise<Stage> {
  const [flooder, innocent] = [guestAt(guests, 0), guestAt(guests, 1)];
  for (const { box } of [flooder, innocent])
    for (const { address } of [lab.topology.neighbour, lab.topology.gateway])
      if (!(await eventually(() => pings(lab, box, address)))) throw new Error(`${box} does not reach ${address}`);
  await lab.start("neighbour", on(0, "iperf3", "--server"), "iperf3.log");
  if (isGuarded) execFileSync("taskset", ["--all-tasks", "--pid", "--cpu-list", "0", String(await agentPid(lab))]);
  return { lab, flooder: contextOf(lab, flooder, innocent), innocent: contextOf(lab, innocent, flooder), isGuarded };
}

const INNOCENT = "guest2";

async function throughput({ lab }: Stage): Promise<number> {
  const argv = on(0, "iperf3", "--client", lab.topology.neighbour.address, "--time", SECONDS, "--json");
  const report: unknown = JSON.parse(await lab.must(INNOCENT, argv, { timeoutMs: 30_000 }));
  const received = /"sum_received":\{[^}]*"bits_per_second":([\d.e+]+)/.exec(JSON.stringify(report))?.[1];
  return Number(received) / 1e9;
}

interface Latency {
  readonly answered: number;
  readonly median: number;
  readonly p99: number;
}

async function latency(stage: Stage, programs: Programs, probe: Probe): Promise<Latency> {
  const [offset, bytes] = probe.answer(stage.innocent);
  const question = [toHex(probe.frame(stage.innocent)), String(offset), toHex(bytes), QUESTIONS, PAUSE_US];
  const said = await stage.lab.must(INNOCENT, on(0, programs.probe, "eth0", ...question), { timeoutMs: 400_000 });
  const [answered = 0, median = 0, p99 = 0] = said.trim().split(" ").map(Number);
  return { answered, median: median / 1000, p99: p99 / 1000 };
}

interface Programs {
  readonly flood: string;
  readonly probe: string;
}

function compile(directory: string): Programs {
  const build = (name: string): string => {
    const program = joinPath(directory, name);
    execFileSync("cc", ["-O2", "-o", program, fileURLToPath(new URL(`${name}.c`, import.meta.url))]);
    return program;
  };
  return { flood: build("flood"), probe: build("probe") };
}

/** The innocent guest's figures in one lab while one thing happens: Gbit/s, and microseconds. */
interface Figures {
  readonly gigabits: number;
  readonly latencies: readonly Latency[];
  readonly floodPerSecond: number;
}

async function sentBy({ lab, flooder }: Stage): Promise<number> {
  const guest = lab.topology.guests.find(({ address }) => address === flooder.self.address);
  return Number(await lab.must(guest?.box ?? "", ["cat", "/sys/class/net/eth0/statistics/tx_packets"]));
}

function busyWords({ flooder }: Stage, programs: Programs, { frame, varied }: Flood): readonly string[] {
  if (frame === undefined) return ["sh", "-c", "while :; do :; done"];
  return [programs.flood, "eth0", toHex(frame(flooder)), ENDLESS, ...(varied ?? []).map(String)];
}

async function measure(stage: Stage, programs: Programs, flood: Flood | undefined): Promise<Figures> {
  const flooding =
    flood === undefined
      ? undefined
      : await stage.lab.start("guest1", on(1, ...busyWords(stage, programs, flood)), "flood.log");
  try {
    const [before, begun] = [await sentBy(stage), performance.now()];
    const gigabits = await throughput(stage);
    const floodPerSecond = ((await sentBy(stage)) - before) / ((performance.now() - begun) / 1000);
    const latencies: Latency[] = [];
    // Nobody answers DHCP in the plain lab.
    for (const probe of probes)
      if (stage.isGuarded || probe.name !== "DHCP") latencies.push(await latency(stage, programs, probe));
    return { gigabits, latencies, floodPerSecond };
  } finally {
    await flooding?.stop("SIGKILL");
  }
}

const rounded = (value: number): number => Number(value.toPrecision(3));

function rowsOf(where: string, doing: string, rounds: readonly Figures[]): BenchRow[] {
  const name = `${where}, ${doing}`;
  const perSecond = Math.max(...rounds.map((round) => round.floodPerSecond));
  const note =
    perSecond < 1000 ? {} : { note: `beside up to ${Math.round(perSecond / 1000)} 000 frames of it a second` };
  const gigabits = rounded(Math.max(...rounds.map((round) => round.gigabits)));
  const rows: BenchRow[] = [{ suite: SUITE, name: `${name}: TCP`, value: gigabits, unit: "Gbit/s", ...note }];
  for (const [n, probe] of probes.entries()) {
    const all = rounds.flatMap((round) => round.latencies[n] ?? []);
    if (all.length === 0) continue;
    const asked = Number(QUESTIONS) * all.length;
    const answered = all.reduce((sum, one) => sum + one.answered, 0);
    rows.push({
      suite: SUITE,
      name: `${name}: ${probe.name}, p50`,
      value: rounded(Math.min(...all.map((one) => one.median))),
      unit: "us",
      note: `p99 ${rounded(Math.min(...all.map((one) => one.p99)))} us; ${asked - answered} of ${asked} unanswered`,
    });
  }
  return rows;
}

export async function benchFlood(): Promise<BenchRow[]> {
  const own = process.pid.toString(36);
  const scratch = mkdtempSync(joinPath(tmpdir(), "vifguard-bench-"));
  // The innocent guest asks oftener than a real one would.
  const share = "{ perSecond: 1000, burst: 1000 }";
  const guarded = await raiseGuardedLab(`fg${own}`, 2, {
    nics: { [INNOCENT]: `rates: { arp: ${share}, dhcp: ${share} }` },
  });
  const plain = await raisePlainLab(`fp${own}`, 2);
  try {
    const programs = compile(scratch);
    const stages = [
      await prepare(guarded.lab, guarded.guests, true),
      await prepare(plain, plain.topology.guests, false),
    ];
    const figures = new Map<string, Figures[]>();
    for (let round = 0; round < ROUNDS; round += 1)
      for (const flood of [undefined, ...floods])
        for (const stage of stages) {
          const key = `${stage.isGuarded ? "guarded" : "plain bridge"}\n${flood?.name ?? "no flood"}`;
          figures.set(key, [...(figures.get(key) ?? []), await measure(stage, programs, flood)]);
        }
    return [...figures].flatMap(([key, rounds]) => {
      const [where = "", doing = ""] = key.split("\n");
      return rowsOf(where, doing, rounds);
    });
  } finally {
    await guarded.lab.down();
    await plain.down();
    rmSync(scratch, { recursive: true });
  }
}
