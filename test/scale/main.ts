/**
 * `npm run scale -- --runs 20x1000,20x5000,40x5000`: fleets of so many hosts and guests one after the other, each with an etcd of its own on loopback, as a table and as JSON.
 * No number here is asserted: machines differ.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { cpus, release, tmpdir } from "node:os";
import { dirname } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { at, lineOf } from "./fit.ts";
import { type FleetRun, raiseSimFleet } from "./fleet.ts";
import { type Figures, measure } from "./measure.ts";
import { type FleetSize, NETWORK_MOST } from "./site.ts";

const TARGET = { hosts: 10_000, guests: 500_000 };

const { values: options } = parseArgs({
  options: {
    runs: { type: "string", default: "20x1000" },
    "per-host": { type: "string", default: "50" },
    "per-network": { type: "string", default: String(NETWORK_MOST) },
    "per-tenant": { type: "string", default: "100" },
    members: { type: "string", default: "10000" },
    etcd: { type: "string", default: "1" },
    processes: { type: "string", default: "4" },
    state: { type: "string", default: "/dev/shm" },
  },
});

function sizeOf(text: string): FleetSize {
  const [hosts = 0, guests = 0] = text.split("x").map(Number);
  const perHost = Number(options["per-host"]);
  if (!(hosts > 1) || !(guests >= hosts * perHost))
    throw new TypeError(`'${text}' is not HOSTSxGUESTS with at least two hosts of ${perHost} guests each`);
  return {
    hosts,
    guests,
    perHost,
    perNetwork: Math.min(NETWORK_MOST, Number(options["per-network"])),
    perTenant: Number(options["per-tenant"]),
    members: Number(options.members),
  };
}

interface Done {
  readonly size: FleetSize;
  readonly figures: Figures;
}

async function runOf(size: FleetSize): Promise<Done> {
  const built = dirname(fileURLToPath(import.meta.url));
  const [processes, etcdMembers] = [Math.min(size.hosts, Number(options.processes)), Number(options.etcd)];
  const run: FleetRun = { size, etcdMembers, processes, built, state: options.state ?? tmpdir() };
  const begun = Date.now();
  const fleet = await raiseSimFleet(run);
  try {
    const figures = await measure(fleet, { quiet: 700, rest: 5_000 });
    process.stderr.write(`${size.hosts} hosts, ${size.guests} guests: ${Math.round((Date.now() - begun) / 1000)} s\n`);
    return { size, figures };
  } finally {
    await fleet.down();
  }
}

/** What a figure grows with. Times of all hosts together say how fast this machine is, which runs them all, and are no line. */
function growsWith(name: string): "guests" | "hosts" | undefined {
  if (/, ms$/.test(name) && !/CPU/.test(name)) return undefined;
  if (/of all agents|to all agents|CPU of etcd, ms$|watchers|with all agents/.test(name)) return "hosts";
  return /an agent|^agent|keys$|values, bytes|database/.test(name) ? "guests" : undefined;
}

function extrapolated(done: readonly Done[], name: string): string {
  const by = growsWith(name);
  const line = by && lineOf(done.map(({ size, figures }) => ({ x: size[by], value: figures[name] ?? 0 })));
  if (by === undefined || line === undefined) return "| | |";
  const show = (value: number): string => String(Number(value.toPrecision(3)));
  return `| ${show(line.slope)} a ${by.slice(0, -1)} | ${show(at(line, TARGET[by]))} |`;
}

function table(done: readonly Done[]): string {
  const names = Object.keys(done[0]?.figures ?? {});
  const heads = done.map(({ size }) => `${size.hosts} hosts, ${size.guests} guests`);
  const head = `| | ${heads.join(" | ")} | slope | ${TARGET.hosts} hosts, ${TARGET.guests} guests |`;
  const lines = names.map(
    (name) => `| ${name} | ${done.map(({ figures }) => figures[name]).join(" | ")} ${extrapolated(done, name)}`,
  );
  return [head, `|${" --- |".repeat(done.length + 3)}`, ...lines].join("\n");
}

const done: Done[] = [];
mkdirSync("bench-results", { recursive: true });
const file = `bench-results/scale-${new Date().toISOString().replaceAll(":", "")}.json`;
for (const text of (options.runs ?? "").split(",")) {
  done.push(await runOf(sizeOf(text)));
  const where = { node: process.version, kernel: release(), cores: cpus().length, options };
  writeFileSync(file, `${JSON.stringify({ ...where, runs: done }, undefined, 2)}\n`);
}
process.stdout.write(`${table(done)}\n\n${file}\n`);
process.exit(0);
