/**
 * What security groups cost: a packet of an established flow and the first of a new one, with 1, 100 and 1 000 guests in ten groups of twenty rules, beside the plain
 * bridge, the guard with open groups, and the same policy as chains of rules for each guest; then the time from `apply` to enforced for one member more.
 * All labs in turn, medians of the ratios of each round.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { type Client, connect } from "../../src/api/client.ts";
import { ethernet, ip4, ip4Of, udp } from "../../src/lab/forge.ts";
import { startAgent } from "../../src/lab/guarded.ts";
import { bridgeUnguarded, type Lab, raiseLab } from "../../src/lab/raise.ts";
import { toHex } from "../../src/packet/hex.ts";
import { bridgesFor, siteOf } from "./frame-cost.ts";
import { BEYOND, chainsText, groupOf, groupsText } from "./policy-site.ts";
import type { BenchRow } from "./row.ts";

const SUITE = "policy";
const COUNTS = [1, 100, 1000] as const;
const MEMBERS = [10, 1000] as const;
const ROUNDS = 7;
const PACKETS = "100000";
/** As many as a NIC may have by default, and as many as a busy server has: the kernel's count of connections goes through all of them now and then. */
const FLOWS = [1000, 8000] as const;
const CHANGES = 60;
const [CLIENT_PORT, SERVER_PORT] = [40_000, 5000];
const kinds = ["plain", "open", "chains", "judged"] as const;
type Kind = (typeof kinds)[number];
/** Microseconds a packet. */
type Cost = (lab: Lab, program: string) => Promise<number>;
type Labs = Readonly<Record<Kind, Lab>>;

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;
const percentile = (values: readonly number[], share: number): number =>
  [...values].sort((a, b) => a - b)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? 0;

interface Frames {
  readonly there: string;
  readonly back: string;
}

function framesOf({ topology }: Lab): Frames {
  const [guest] = topology.guests;
  if (guest === undefined) throw new TypeError("one guest was asked for");
  const beyond = ip4Of(BEYOND);
  const payload = new Uint8Array(18);
  const there = ip4({ from: guest.address, to: beyond, protocol: 17, id: 1 }, udp(CLIENT_PORT, SERVER_PORT, payload));
  const back = ip4({ from: beyond, to: guest.address, protocol: 17, id: 1 }, udp(SERVER_PORT, CLIENT_PORT, payload));
  const { mac } = topology.gateway;
  return {
    there: toHex(ethernet(mac, guest.mac, 0x0800, there)),
    back: toHex(ethernet(guest.mac, mac, 0x0800, back)),
  };
}

/** Microseconds a frame. */
async function flood(lab: Lab, box: "guest1" | "gw", program: string, ...words: readonly string[]): Promise<number> {
  const text = await lab.must(box, [program, "eth0", ...words], { timeoutMs: 60_000 });
  return Number(text.trim().split(" ")[1]) / 1000;
}

const arrived = async (lab: Lab): Promise<number> =>
  Number(await lab.must("gw", ["cat", "/sys/class/net/eth0/statistics/rx_packets"]));

/** The same from the guest; nine of ten must arrive, or something else was measured. @throws Error */
async function delivered(lab: Lab, program: string, count: string, ...words: readonly string[]): Promise<number> {
  const before = await arrived(lab);
  const cost = await flood(lab, "guest1", program, framesOf(lab).there, count, ...words);
  const more = (await arrived(lab)) - before;
  if (more < 0.9 * Number(count)) throw new Error(`${more} of ${count} frames of ${lab.topology.name} arrived`);
  return cost;
}

/** Microseconds a packet of a flow that was answered. */
async function established(lab: Lab, program: string): Promise<number> {
  const { there, back } = framesOf(lab);
  for (let n = 0; n < 2; n += 1) {
    await flood(lab, "guest1", program, there, "1");
    await flood(lab, "gw", program, back, "1");
  }
  return delivered(lab, program, PACKETS);
}

/** Microseconds a packet when every one opens a flow; both ports, which follow the headers of 34 octets, are other ones each time. */
const opening =
  (flows: number): Cost =>
  async (lab, program) => {
    await lab.exec("host", ["conntrack", "-F"]);
    const cost = await delivered(lab, program, String(flows), "34", "4");
    await lab.exec("host", ["conntrack", "-F"]);
    return cost;
  };

const NO_LIMIT =
  "rates: { syn: { perSecond: 1000000, burst: 1000000 }, packets: { perSecond: 2000000, burst: 2000000 } }";

function labSite({ topology }: Lab, group: string, groups: string): string {
  const { prefix4, gateway, guests } = topology;
  const network = `kind: network\nname: lan0\nspec:\n  prefix4: ${prefix4}\n  gateway4: ${gateway.address}\n  gatewayMac: ${gateway.mac}\n  range4: []\n  wiring: { kind: bridged, bridge: br0 }\n  addressing: { kind: managed, macScheme: ip }\n`;
  const guest = `---\nkind: guest\nname: guest1\nspec: { nics: [ { network: lan0, address4: ${guests[0]?.address}, groups: [${group}], ${NO_LIMIT} } ] }\n`;
  return `${network}${groups}${guest}`;
}

const OPEN = "---\nkind: group\nname: open\nspec: { ingress: [ { protocol: any, from: any } ] }\n";

async function guard(lab: Lab, ...texts: readonly string[]): Promise<Client> {
  const client = connect((await startAgent(lab)).socket);
  await client.apply(
    texts.map((text) => ({ path: "bench", text })),
    { dryRun: false },
  );
  await client.attach({ port: "vif1.0", guest: "guest1" });
  return client;
}

const most = COUNTS[COUNTS.length - 1] ?? 1;

/** Ports of other guests, up to so many in all. */
async function fill(lab: Lab, client: Client, from: number, to: number): Promise<void> {
  const ports = Array.from({ length: to - from }, (_, i) => from + i);
  const lines = ports.map((n) => `link add vif${n}.9 type veth peer name p${n}\n`);
  await lab.must("host", ["ip", "-batch", "-"], { stdin: lines.join(""), timeoutMs: 120_000 });
  for (const n of ports) await client.attach({ port: `vif${n}.9`, guest: `b${n}` });
}

/** The measured guest stands in the middle of the list. */
async function loadChains(lab: Lab, count: number): Promise<void> {
  const own = lab.topology.guests[0]?.address ?? "";
  const addresses = Array.from({ length: count }, (_, n) =>
    n === count >> 1 ? own : `10.0.${1 + (n >> 8)}.${n & 255}`,
  );
  const text = `table inet peer\ndelete table inet peer\n${chainsText(addresses)}`;
  await lab.must("host", ["tee", join(lab.directory, "peer.nft")], { stdin: text });
  await lab.must("host", ["nft", "-f", join(lab.directory, "peer.nft")], { timeoutMs: 120_000 });
}

async function compare(labs: Labs, program: string, count: number, what: string, cost: Cost): Promise<BenchRow[]> {
  const rounds: Record<Kind, number>[] = [];
  for (let n = 0; n < ROUNDS; n += 1) {
    const round = { plain: 0, open: 0, chains: 0, judged: 0 };
    for (const kind of kinds) round[kind] = await cost(labs[kind], program);
    rounds.push(round);
  }
  const best = (kind: Kind): string => `${Math.min(...rounds.map((round) => round[kind])).toFixed(2)} us`;
  const row = (kind: Kind, peer: Kind): BenchRow => ({
    suite: SUITE,
    name: `${what}, ${count} guests: ${kind}, relative to ${peer}`,
    value: Number(median(rounds.map((round) => round[kind] / round[peer])).toFixed(3)),
    unit: "x",
    peer,
    note: `median of ${ROUNDS} rounds; best ${best(kind)} beside ${best(peer)}`,
  });
  return [
    row("open", "plain"),
    row("judged", "plain"),
    row("judged", "open"),
    row("chains", "plain"),
    row("judged", "chains"),
  ];
}

async function benchPackets(program: string): Promise<BenchRow[]> {
  const own = process.pid.toString(36);
  const labs: Partial<Record<Kind, Lab>> = {};
  try {
    const raise = async (kind: Kind): Promise<Lab> => {
      const lab = await raiseLab({ name: `p${kind[0]}${own}`, guests: 1, nic: "veth" });
      labs[kind] = lab;
      return lab;
    };
    const [plain, open, chains, judged] = [
      await raise("plain"),
      await raise("open"),
      await raise("chains"),
      await raise("judged"),
    ];
    await bridgeUnguarded(plain);
    await bridgeUnguarded(chains);
    await chains.must("host", ["ip", "link", "set", "br0", "type", "bridge", "nf_call_iptables", "1"]);
    await guard(open, labSite(open, "open", OPEN));
    for (const bridge of bridgesFor(most)) await judged.must("host", ["ip", "link", "add", bridge, "type", "bridge"]);
    const client = await guard(
      judged,
      labSite(judged, groupOf(0), groupsText),
      siteOf(most, (n) => groupOf(n)),
    );
    const all: Labs = { plain, open, chains, judged };
    for (const kind of kinds) await all[kind].must("guest1", ["ip", "link", "set", "eth0", "up"]);
    const rows: BenchRow[] = [];
    let present = 1;
    for (const count of COUNTS) {
      await fill(judged, client, present, count);
      present = count;
      await loadChains(chains, count);
      rows.push(...(await compare(all, program, count, "a packet of an established flow", established)));
      for (const flows of FLOWS)
        rows.push(
          ...(await compare(all, program, count, `the first packet of each of ${flows} flows`, opening(flows))),
        );
    }
    return rows;
  } finally {
    for (const lab of Object.values(labs)) await lab.down();
  }
}

/** From the call to its answer, which comes when the kernel holds it. */
async function benchMembers(count: number): Promise<BenchRow[]> {
  const lab = await raiseLab({ name: `pm${process.pid.toString(36)}`, guests: 1, nic: "veth" });
  try {
    for (const bridge of bridgesFor(count + CHANGES))
      await lab.must("host", ["ip", "link", "add", bridge, "type", "bridge"]);
    const client = await guard(
      lab,
      labSite(lab, groupOf(0), groupsText),
      siteOf(count, (n) => groupOf(n)),
    );
    await fill(lab, client, 1, count);
    const timed = async (text: (n: number) => string): Promise<number[]> => {
      const times: number[] = [];
      for (let n = 0; n < CHANGES; n += 1) {
        const begun = performance.now();
        await client.apply([{ path: "bench", text: text(n) }], { dryRun: false });
        times.push(performance.now() - begun);
      }
      return times;
    };
    const guest = (name: string, groups: readonly string[]): string =>
      `kind: guest\nname: ${name}\nspec: { nics: [ { network: wide0, groups: [${groups.join(", ")}] } ] }\n`;
    const row = (what: string, times: readonly number[]): BenchRow => ({
      suite: SUITE,
      name: `${what}, ${count} guests, from apply to enforced, p50`,
      value: Number(percentile(times, 0.5).toFixed(1)),
      unit: "ms",
      note: `p99 ${percentile(times, 0.99).toFixed(1)} ms`,
    });
    const last = count - 1;
    return [
      row(
        "a guest that has a port gets another group",
        await timed((n) => guest(`b${last}`, [groupOf(n), groupOf(n + 1)])),
      ),
      row("a new guest with a group", await timed((n) => guest(`new${n}`, [groupOf(n)]))),
    ];
  } finally {
    await lab.down();
  }
}

export async function benchPolicyChange(): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const count of MEMBERS) rows.push(...(await benchMembers(count)));
  return rows;
}

export async function benchPolicy(): Promise<BenchRow[]> {
  const scratch = mkdtempSync(join(tmpdir(), "vifguard-bench-"));
  try {
    const program = join(scratch, "flood");
    execFileSync("cc", ["-O2", "-o", program, fileURLToPath(new URL("flood.c", import.meta.url))]);
    return await benchPackets(program);
  } finally {
    rmSync(scratch, { recursive: true });
  }
}
