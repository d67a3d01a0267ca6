/** The harness of `npm run scale`, small: that it still measures what it says. */
import { expect, test } from "vitest";
import { lineOf } from "../scale/fit.ts";
import { raiseSimFleet } from "../scale/fleet.ts";
import { measure } from "../scale/measure.ts";

test("a fleet of three hosts in one process: everything is in force everywhere, and every figure is one", async () => {
  const size = { hosts: 3, perHost: 4, guests: 20, perNetwork: 10, perTenant: 5, members: 10 };
  const fleet = await raiseSimFleet({ size, etcdMembers: 1, processes: 1 });
  try {
    const figures = await measure(fleet, { quiet: 60, rest: 200 });
    for (const [name, value] of Object.entries(figures)) expect(Number.isFinite(value), name).toBe(true);
    expect(figures["guest joins a group that all name: hosts whose rules changed"]).toBe(3);
    expect(figures["rule of the group of 10 000 edited: hosts whose rules changed"]).toBe(3);
    expect(figures["lease renewed: hosts whose rules changed"], "control").toBe(0);
    expect(figures["etcd: watchers"]).toBeGreaterThanOrEqual(3);
    expect(figures["first start: sent to an agent, bytes"]).toBeGreaterThan(20 * 500);
  } finally {
    await fleet.down();
  }
});

test("a line through points of a line is that line, and there is none where all are at one place", () => {
  const line = lineOf([1, 2, 5].map((x) => ({ x, value: 7 + 3 * x })));
  expect(line?.base).toBeCloseTo(7, 9);
  expect(line?.slope).toBeCloseTo(3, 9);
  expect(lineOf([1, 2].map((value) => ({ x: 4, value })))).toBe(undefined);
});
