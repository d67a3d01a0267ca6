/** What must become of every lie: it arrives nowhere, is counted under its line of the contract, and its honest twin passes. */
import { expect } from "vitest";
import type { Attack } from "../../src/lab/attack.ts";
import type { Bench } from "../../src/lab/trial.ts";

export async function expectStopped(bench: Bench, attack: Attack): Promise<void> {
  const trial = await bench.try(attack);
  expect(trial.sent).toBeGreaterThan(0);
  expect(trial.arrivedAt, "boxes that saw the lie").toEqual([]);
  if (attack.reason !== undefined)
    expect([...trial.counted.keys()], "counted under its line of the contract").toContain(attack.reason);
  expect(trial.controlPassed, `control: ${attack.control.says}`).toBe(true);
}
