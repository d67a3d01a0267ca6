/**
 * What the guard costs a frame: guest -> port -> bridge -> uplink on one core, beside the same path in a second lab without vifguard.
 * Pairs of runs in turn, the median of their ratios: the machine's speed drifts, the ratio does not.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { connect } from "../../src/api/client.ts";
import { ethernet, ip4, udp } from "../../src/lab/forge.ts";
import { startAgent } from "../../src/lab/guarded.ts";
import { bridgeUnguarded, type Lab, raiseLab } from "../../src/lab/raise.ts";
import { parseIpv4 } from "../../src/model/ipv4.ts";
import { toHex } from "../../src/packet/hex.ts";
import type { BenchRow } from "./row.ts";

const PORTS = [1, 100, 1000, 4000] as const;
const FRAMES = "200000";
const ROUNDS = 7;

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

function compile(directory: string): string {
  const program = join(directory, "flood");
  execFileSync("cc", ["-O2", "-o", program, fileURLToPath(new URL("flood.c", import.meta.url))]);
  return program;
}

/** To the gateway's MAC, for an address beyond it: received, looked up and dropped there, answered by nobody. */
function frameOf(lab: Lab): string {
  const [guest] = lab.topology.guests;
  const beyond = parseIpv4("198.51.100.1");
  if (guest === undefined || beyond === undefined) throw new TypeError("one guest was asked for");
  const packet = ip4({ from: guest.address, to: beyond, protocol: 17, id: 1 }, udp(1000, 9, new Uint8Array(18)));
  return toHex(ethernet(lab.topology.gateway.mac, guest.mac, 0x0800, packet));
}

async function nanoseconds(lab: Lab, program: string): Promise<number> {
  const text = await lab.must("guest1", [program, "eth0", frameOf(lab), FRAMES], { timeoutMs: 60_000 });
  return Number(text.trim().split(" ")[1]);
}

/** Real ports, each with a guest, besides the one that is measured. */
async function morePorts(lab: Lab, from: number, to: number): Promise<void> {
  const lines = Array.from(
    { length: to - from },
    (_, i) => `link add vif${from + i}.9 type veth peer name p${from + i}\n`,
  );
  await lab.must("host", ["ip", "-batch", "-"], { stdin: lines.join(""), timeoutMs: 120_000 });
}

/** A Linux bridge takes at most 1 023 ports (BR_MAX_PORTS): many guests are on several. */
const PER_BRIDGE = 1000;
export const bridgesFor = (count: number): readonly string[] =>
  Array.from({ length: Math.ceil(count / PER_BRIDGE) }, (_, i) => `bx${i}`);

/** Lets everything in and out, so that nothing is tracked. */
const OPEN = "---\nkind: group\nname: open\nspec: { ingress: [ { protocol: any, from: any } ] }\n";

/** Guests b0, b1, ..., a thousand to a network with a bridge of its own. Without groups of their own they are open. */
export function siteOf(count: number, groupOf?: (guest: number) => string): string {
  const networks = bridgesFor(count).map(
    (bridge, i) =>
      `---\nkind: network\nname: wide${i}\nspec:\n  prefix4: 10.${i}.0.0/16\n${groupOf === undefined ? "  groups: [open]\n" : ""}  gateway4: 10.${i}.0.1\n  range4: [10.${i}.1.0-10.${i}.250.0]\n  wiring: { kind: bridged, bridge: ${bridge} }\n  addressing: { kind: managed, macScheme: ip }\n`,
  );
  const guests = Array.from(
    { length: count },
    (_, i) =>
      `---\nkind: guest\nname: b${i}\nspec: { nics: [ { network: wide${Math.floor(i / PER_BRIDGE)}${groupOf === undefined ? "" : `, groups: [${groupOf(i)}]`} } ] }\n`,
  );
  return (groupOf === undefined ? OPEN : "") + networks.join("") + guests.join("");
}

const labSite = (lab: Lab): string =>
  `kind: network\nname: lan0\nspec:\n  prefix4: ${lab.topology.prefix4}\n  gateway4: ${lab.topology.gateway.address}\n  gatewayMac: ${lab.topology.gateway.mac}\n  range4: []\n  wiring: { kind: bridged, bridge: br0 }\n  addressing: { kind: managed, macScheme: ip }\n  groups: [open]\n---\nkind: guest\nname: guest1\nspec: { nics: [ { network: lan0, address4: ${lab.topology.guests[0]?.address} } ] }\n`;

export async function benchFrameCost(): Promise<BenchRow[]> {
  const own = process.pid.toString(36);
  const scratch = mkdtempSync(join(tmpdir(), "vifguard-bench-"));
  const plain = await raiseLab({ name: `bp${own}`, guests: 1, nic: "veth" });
  const guarded = await raiseLab({ name: `bg${own}`, guests: 1, nic: "veth" });
  try {
    const program = compile(scratch);
    await bridgeUnguarded(plain);
    const agent = await startAgent(guarded);
    const client = connect(agent.socket);
    await guarded.must("host", ["ip", "-batch", "-"], {
      stdin: bridgesFor(4000)
        .map((name) => `link add ${name} type bridge\n`)
        .join(""),
    });
    await client.apply(
      [
        { path: "bench", text: labSite(guarded) },
        { path: "bench", text: siteOf(4000) },
      ],
      { dryRun: false },
    );
    await client.attach({ port: "vif1.0", guest: "guest1" });
    for (const lab of [plain, guarded]) await lab.must("guest1", ["ip", "link", "set", "eth0", "up"]);
    const rows: BenchRow[] = [];
    let present = 1;
    for (const ports of PORTS) {
      await morePorts(guarded, present, ports);
      for (; present < ports; present += 1) await client.attach({ port: `vif${present}.9`, guest: `b${present}` });
      rows.push(await measure(plain, guarded, program, ports));
    }
    return rows;
  } finally {
    await guarded.down();
    await plain.down();
    rmSync(scratch, { recursive: true });
  }
}

async function measure(plain: Lab, guarded: Lab, program: string, ports: number): Promise<BenchRow> {
  const pairs: { readonly without: number; readonly with: number }[] = [];
  for (let i = 0; i < ROUNDS; i += 1)
    pairs.push({ without: await nanoseconds(plain, program), with: await nanoseconds(guarded, program) });
  const ratio = median(pairs.map((pair) => pair.with / pair.without));
  const best = (which: "with" | "without"): string => (Math.min(...pairs.map((pair) => pair[which])) / 1000).toFixed(2);
  return {
    suite: "frame cost",
    name: `guarded bridge, ${ports} ports, relative to the plain bridge`,
    value: Number(ratio.toFixed(3)),
    unit: "x",
    peer: "plain bridge",
    note: `median of ${ROUNDS} pairs; best ${best("with")} us beside ${best("without")} us a frame`,
  };
}
