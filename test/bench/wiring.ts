/**
 * What a wiring costs: a frame from guest to gateway, and TCP between guest and neighbour, for every wiring that the lab can raise, behind the guard and beside a plain
 * bridge and plain routing with no rules at all. All labs in turn, the median of their ratios: the machine's speed drifts, the ratio does not.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { ethernet, ip4, ip4Of, udp } from "../../src/lab/forge.ts";
import { type Lab, raiseLab } from "../../src/lab/raise.ts";
import { type GuestBox, hostDevice, type LabWiring } from "../../src/lab/topology.ts";
import { HOST_PORT_MAC, PORT_GATEWAY4 } from "../../src/model/wiring.ts";
import { toHex } from "../../src/packet/hex.ts";
import { raiseBroutedLab } from "../support/brouted-lab.ts";
import { eventually, guestAt, pings, raiseGuardedLab, raisePlainLab } from "../support/guarded-lab.ts";
import { raiseNatLab } from "../support/nat-lab.ts";
import { addressRouted, raiseRoutedLab } from "../support/routed-lab.ts";
import type { BenchRow } from "./row.ts";

const SUITE = "wiring";
const FRAMES = 200_000;
const ROUNDS = 7;
const SECONDS = "1";

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

interface Raised {
  readonly lab: Lab;
  readonly guests: readonly GuestBox[];
}

/** What the lab can raise; a new wiring is one line more, beside the control that it is built on. */
const guarded: readonly {
  readonly name: LabWiring;
  readonly plain: PlainKind;
  readonly raise: (name: string) => Promise<Raised>;
}[] = [
  { name: "bridged", plain: "plain bridge", raise: (name) => raiseGuardedLab(name, 1) },
  { name: "brouted", plain: "plain routing", raise: (name) => raiseBroutedLab({ name, guests: 1 }) },
  { name: "routed", plain: "plain routing", raise: (name) => raiseRoutedLab({ name, guests: 1 }) },
  {
    name: "transport",
    plain: "plain routing",
    raise: (name) => raiseRoutedLab({ name, guests: 1, wiring: "transport" }),
  },
  { name: "nat", plain: "plain routing", raise: (name) => raiseNatLab({ name, guests: 1 }) },
];

type PlainKind = "plain bridge" | "plain routing";

const plains: { readonly [K in PlainKind]: (name: string) => Promise<Raised> } = {
  "plain bridge": async (name) => {
    const lab = await raisePlainLab(name, 1);
    return { lab, guests: lab.topology.guests };
  },
  "plain routing": async (name) => {
    const lab = await raiseLab({ name, guests: 1, nic: "veth", wiring: "routed" });
    const guest = guestAt(lab.topology.guests, 0);
    await routeByHand(lab, guest);
    await addressRouted(lab, guest, "address");
    return { lab, guests: [guest] };
  },
};

/** What vifguard does for a routed port, without its rules. */
async function routeByHand(lab: Lab, { port, address, mac }: GuestBox): Promise<void> {
  const uplink = hostDevice(lab.topology);
  const lines = [
    `link set ${port} address ${HOST_PORT_MAC} up`,
    `address add ${PORT_GATEWAY4}/32 dev ${port}`,
    `neighbour replace ${address} lladdr ${mac} dev ${port}`,
    `route replace ${address}/32 dev ${port}`,
    `neighbour add proxy ${address} dev ${uplink}`,
  ];
  await lab.must("host", ["ip", "-batch", "-"], { stdin: `${lines.join("\n")}\n` });
  await lab.must("host", ["tee", "/proc/sys/net/ipv4/ip_forward"], { stdin: "1\n" });
  await lab.must("host", ["tee", `/proc/sys/net/ipv4/neigh/${uplink}/proxy_delay`], { stdin: "0\n" });
}

interface Subject extends Raised {
  readonly name: string;
  readonly plain: PlainKind | undefined;
  readonly frames: number[];
  readonly tcp: number[];
}

async function raiseAll(): Promise<readonly Subject[]> {
  const own = process.pid.toString(36);
  const subjects: Subject[] = [];
  const add = async (name: string, plain: PlainKind | undefined, raised: Promise<Raised>): Promise<void> => {
    subjects.push({ ...(await raised), name, plain, frames: [], tcp: [] });
  };
  try {
    await add("plain bridge", undefined, plains["plain bridge"](`wpb${own}`));
    await add("plain routing", undefined, plains["plain routing"](`wpr${own}`));
    for (const [i, { name, plain, raise }] of guarded.entries())
      await add(`${name}, guarded`, plain, raise(`wg${i}${own}`));
    return subjects;
  } catch (cause) {
    for (const { lab } of subjects) await lab.down();
    throw cause;
  }
}

/** For an address beyond the gateway: received, looked up and dropped there, answered by nobody. */
function frameOf({ lab, guests }: Raised): string {
  const guest = guestAt(guests, 0);
  const packet = ip4(
    { from: guest.address, to: ip4Of("198.51.100.1"), protocol: 17, id: 1 },
    udp(1000, 9, new Uint8Array(18)),
  );
  const to = lab.topology.wiring === "bridged" ? lab.topology.gateway.mac : HOST_PORT_MAC;
  return toHex(ethernet(to, guest.mac, 0x0800, packet));
}

async function arrived({ lab }: Raised): Promise<number> {
  return Number(await lab.must("gw", ["cat", "/sys/class/net/eth0/statistics/rx_packets"]));
}

/** Microseconds a frame. @throws Error when not all of them got there */
async function frameCost(subject: Subject, program: string): Promise<number> {
  const before = await arrived(subject);
  const argv = [program, "eth0", frameOf(subject), String(FRAMES)];
  const text = await subject.lab.must("guest1", argv, { timeoutMs: 60_000 });
  if (!(await eventually(async () => (await arrived(subject)) - before >= FRAMES, 2_000)))
    throw new Error(
      `${subject.name}: only ${(await arrived(subject)) - before} of ${FRAMES} frames reached the gateway`,
    );
  return Number(text.trim().split(" ")[1]) / 1000;
}

/** Gbit/s from guest to neighbour. */
async function throughput({ lab }: Raised): Promise<number> {
  const argv = ["iperf3", "--client", lab.topology.neighbour.address, "--time", SECONDS, "--json"];
  const report: unknown = JSON.parse(await lab.must("guest1", argv, { timeoutMs: 30_000 }));
  const received = /"sum_received":\{[^}]*"bits_per_second":([\d.e+]+)/.exec(JSON.stringify(report))?.[1];
  return Number(received) / 1e9;
}

async function measure(subjects: readonly Subject[], program: string): Promise<void> {
  for (const { lab } of subjects) {
    for (const { address } of [lab.topology.neighbour, lab.topology.gateway])
      if (!(await eventually(() => pings(lab, "guest1", address)))) throw new Error(`guest1 does not reach ${address}`);
    await lab.start("neighbour", ["iperf3", "--server"], "iperf3.log");
  }
  for (let round = 0; round < ROUNDS; round += 1) {
    for (const subject of subjects) subject.frames.push(await frameCost(subject, program));
    for (const subject of subjects) subject.tcp.push(await throughput(subject));
  }
}

/** Of each round, because the machine is another one in the next. */
const ratio = (own: readonly number[], other: readonly number[]): string =>
  median(own.map((value, round) => value / (other[round] ?? value))).toFixed(2);

function rowsOf(subjects: readonly Subject[], subject: Subject): readonly BenchRow[] {
  const plain = subjects.find(({ name }) => name === subject.plain);
  const beside = (own: readonly number[], other: readonly number[] | undefined): string =>
    other === undefined ? `median of ${ROUNDS} rounds` : `${ratio(own, other)} of ${subject.plain}`;
  const best = Math.min(...subject.frames);
  return [
    {
      suite: SUITE,
      name: `${subject.name}: a frame of 60 octets`,
      value: Number(best.toFixed(2)),
      unit: "us",
      note: `best of ${ROUNDS}, ${Math.round(1_000_000 / best)} a second; ${beside(subject.frames, plain?.frames)}`,
    },
    {
      suite: SUITE,
      name: `${subject.name}: TCP`,
      value: Number(median(subject.tcp).toFixed(2)),
      unit: "Gbit/s",
      note: beside(subject.tcp, plain?.tcp),
    },
  ];
}

export async function benchWiring(): Promise<BenchRow[]> {
  const scratch = mkdtempSync(join(tmpdir(), "vifguard-bench-"));
  const program = join(scratch, "flood");
  execFileSync("cc", ["-O2", "-o", program, fileURLToPath(new URL("flood.c", import.meta.url))]);
  const subjects = await raiseAll();
  try {
    await measure(subjects, program);
    return subjects.flatMap((subject) => rowsOf(subjects, subject));
  } finally {
    for (const { lab } of subjects) await lab.down();
    rmSync(scratch, { recursive: true });
  }
}
