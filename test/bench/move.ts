/** How long nobody answers for a guest that moves from one host to another: a ping from the LAN every millisecond, there and back again. */
import { setTimeout as sleep } from "node:timers/promises";
import { type LabWiring, labWirings } from "../../src/lab/topology.ts";
import { outside, raiseFleetLab } from "../support/fleet-lab.ts";
import { longestGap, startPing } from "../support/ping.ts";
import type { BenchRow } from "./row.ts";

const MOVES = 20;
const SETTLE_MS = 250;

interface Moved {
  readonly gap: number;
  readonly call: number;
}

const sorted = (values: readonly number[]): readonly number[] => [...values].sort((a, b) => a - b);
const at = (values: readonly number[], share: number): string =>
  (sorted(values)[Math.min(values.length - 1, Math.floor(values.length * share))] ?? 0).toFixed(1);

async function moves(wiring: LabWiring, name: string): Promise<readonly Moved[]> {
  const fleet = await raiseFleetLab(name, wiring);
  try {
    const ping = await startPing(fleet.lab, "neighbour", outside(fleet.mover));
    const marks: { readonly from: number; readonly to: number; readonly call: number }[] = [];
    for (let i = 0; i < MOVES; i += 1) {
      await sleep(SETTLE_MS);
      const from = Date.now();
      const begun = performance.now();
      await fleet.move(i % 2 === 0 ? "host2" : "host");
      const call = performance.now() - begun;
      await sleep(SETTLE_MS);
      marks.push({ from, to: Date.now(), call });
    }
    const times = await ping.stop();
    return marks.map(({ from, to, call }) => ({
      gap: longestGap(times.filter((time) => time >= from - SETTLE_MS && time <= to)),
      call,
    }));
  } finally {
    await fleet.down();
  }
}

function rowOf(wiring: LabWiring, what: string, values: readonly number[]): BenchRow {
  return {
    suite: "move",
    name: `${wiring}: ${what}`,
    value: Number(at(values, 0.5)),
    unit: "ms",
    note: `median of ${values.length} moves; ${at(values, 0)} to ${at(values, 1)}`,
  };
}

export async function benchMove(): Promise<BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const [i, wiring] of labWirings.entries()) {
    const moved = await moves(wiring, `mg${i}${process.pid.toString(36)}`);
    rows.push(
      rowOf(
        wiring,
        "longest silence of a ping",
        moved.map(({ gap }) => gap),
      ),
    );
    rows.push(
      rowOf(
        wiring,
        "attach --move, asked to answered",
        moved.map(({ call }) => call),
      ),
    );
  }
  return rows;
}
