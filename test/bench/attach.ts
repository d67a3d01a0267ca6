/** From the API call to the link up, with few and many ports there; then the agent's memory and its start with 4 000 ports. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connect } from "../../src/api/client.ts";
import { must } from "../../src/lab/exec.ts";
import { bridgesFor, siteOf } from "./frame-cost.ts";
import type { BenchRow } from "./row.ts";

const MANY = 4000;

function at(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
}

interface Started {
  readonly process: ChildProcess;
  /** Until its log said "ready". */
  readonly milliseconds: number;
}

function startAgent(netns: string, directory: string): Promise<Started> {
  const begun = performance.now();
  const argv = [
    "netns",
    "exec",
    netns,
    process.execPath,
    "dist/main.js",
    "agent",
    "--state-dir",
    join(directory, "state"),
    "--socket",
    join(directory, "sock"),
  ];
  const child = spawn("ip", argv, { stdio: ["ignore", "pipe", "inherit"] });
  return new Promise((resolve, reject) => {
    let text = "";
    child.once("exit", (code) => reject(new Error(`the agent ended with status ${code}: ${text.slice(-500)}`)));
    child.stdout.setEncoding("utf8").on("data", (part: string) => {
      text = (text + part).slice(-4000);
      if (text.includes('"ready"')) resolve({ process: child, milliseconds: performance.now() - begun });
    });
  });
}

const memoryOf = (pid: number | undefined): number =>
  Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0) / 1024;

async function kill(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await ended;
}

export async function benchAttach(): Promise<BenchRow[]> {
  const netns = `vgb-${process.pid.toString(36)}`;
  const directory = mkdtempSync(join(tmpdir(), "vifguard-bench-"));
  const row = (name: string, value: number, unit: string, note?: string): BenchRow => ({
    suite: "attach",
    name,
    value: Number(value.toFixed(2)),
    unit,
    ...(note === undefined ? {} : { note }),
  });
  await must(["ip", "netns", "add", netns]);
  let agent: Started | undefined;
  try {
    const links = Array.from({ length: MANY }, (_, i) => `link add vif${i}.0 type veth peer name p${i}\n`);
    await must(["ip", "-n", netns, "-batch", "-"], {
      stdin: `${bridgesFor(MANY)
        .map((name) => `link add ${name} type bridge\n`)
        .join("")}${links.join("")}`,
      timeoutMs: 180_000,
    });
    agent = await startAgent(netns, directory);
    const client = connect(join(directory, "sock"));
    await client.apply([{ path: "bench", text: siteOf(MANY) }], { dryRun: false });
    const times: number[] = [];
    for (let i = 0; i < MANY; i += 1) {
      const begun = performance.now();
      await client.attach({ port: `vif${i}.0`, guest: `b${i}` });
      times.push(performance.now() - begun);
    }
    const rows: BenchRow[] = [];
    for (const from of [0, 1000, MANY - 200]) {
      const sorted = times.slice(from, from + 200).sort((a, b) => a - b);
      rows.push(
        row(
          `API call to link up, p50, ${from} ports present`,
          at(sorted, 0.5),
          "ms",
          `p99 ${at(sorted, 0.99).toFixed(2)} ms`,
        ),
      );
    }
    rows.push(row(`memory of the agent, ${MANY} ports`, memoryOf(agent.process.pid), "MB"));
    await kill(agent.process);
    agent = await startAgent(netns, directory);
    rows.push(row(`start with ${MANY} ports held by the kernel, until ready`, agent.milliseconds, "ms"));
    rows.push(row(`memory of the agent after that start`, memoryOf(agent.process.pid), "MB"));
    await kill(agent.process);
    await must(["ip", "netns", "exec", netns, "nft", "flush", "ruleset"], { timeoutMs: 60_000 });
    agent = await startAgent(netns, directory);
    rows.push(row(`start with ${MANY} ports and an empty ruleset, until ready`, agent.milliseconds, "ms"));
    return rows;
  } finally {
    if (agent !== undefined) await kill(agent.process);
    await must(["ip", "netns", "del", netns]);
    rmSync(directory, { recursive: true });
  }
}
