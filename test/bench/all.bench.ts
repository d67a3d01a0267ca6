/** `npm run bench`: every benchmark in one run, as a table and as JSON. No number here is asserted: machines differ. */
import { mkdirSync, writeFileSync } from "node:fs";
import { release } from "node:os";
import { test } from "vitest";
import { benchAttach } from "./attach.ts";
import { benchDhcp } from "./dhcp.ts";
import { benchDhcpLink } from "./dhcp-link.ts";
import { benchFlood } from "./flood.ts";
import { benchFrameCost } from "./frame-cost.ts";
import { benchMove } from "./move.ts";
import { benchPolicy, benchPolicyChange } from "./policy.ts";
import { benchPool } from "./pool.ts";
import type { BenchRow } from "./row.ts";
import { benchScope } from "./scope.ts";
import { benchStore } from "./store.ts";
import { benchWiring } from "./wiring.ts";

const suites = {
  "frame-cost": benchFrameCost,
  attach: benchAttach,
  dhcp: benchDhcp,
  "dhcp-link": benchDhcpLink,
  store: benchStore,
  scope: benchScope,
  policy: benchPolicy,
  "policy-change": benchPolicyChange,
  flood: benchFlood,
  wiring: benchWiring,
  move: benchMove,
  pool: benchPool,
};

test("benchmarks", async () => {
  const only = process.env["BENCH"];
  const rows: BenchRow[] = [];
  for (const [name, run] of Object.entries(suites))
    if (only === undefined || only === name) rows.push(...(await run()));
  mkdirSync("bench-results", { recursive: true });
  const file = `bench-results/${new Date().toISOString().replaceAll(":", "")}.json`;
  writeFileSync(file, `${JSON.stringify({ node: process.version, kernel: release(), rows }, undefined, 2)}\n`);
  const lines = rows.map(
    ({ suite, name, value, unit, note }) => `| ${suite} | ${name} | ${value} ${unit} | ${note ?? ""} |`,
  );
  process.stdout.write(
    `\n| suite | what | value | note |\n| --- | --- | --- | --- |\n${lines.join("\n")}\n\n${file}\n`,
  );
}, 1_800_000);
