/** Observed ports and lines that are switched off (contract section 5): judged, counted and told, let by as far as the operator said, and shown for as long as they stand. */
import { afterAll, beforeAll, expect, test } from "vitest";
import { attackNamed } from "../../src/lab/attacks.ts";
import { ask } from "../../src/lab/guarded.ts";
import { type Bench, openBench, type Trial } from "../../src/lab/trial.ts";
import {
  applyExtras,
  dropsOf,
  eventually,
  type GuardedLab,
  guestAt,
  moreThan,
  raiseGuardedLab,
  type SiteExtras,
} from "../support/guarded-lab.ts";

const own = process.pid.toString(36);
const exceptions: SiteExtras = { nics: { guest1: "mode: observe", guest2: "unchecked: [ip4-source, rate-arp]" } };
let guarded: GuardedLab;
const benches: Bench[] = [];

beforeAll(async () => {
  guarded = await raiseGuardedLab(`obs${own}`, 3, exceptions);
  const victim = guestAt(guarded.guests, 2);
  for (const n of [0, 1]) {
    const self = guestAt(guarded.guests, n);
    benches.push(
      await openBench(guarded.lab, {
        from: self.box,
        parties: { self, victim },
        counts: () => dropsOf(guarded, self.port),
      }),
    );
  }
});
afterAll(async () => {
  for (const bench of benches) await bench.close();
  await guarded?.lab.down();
});

async function tell(guest: number, lie: string): Promise<Trial> {
  const bench = benches[guest];
  if (bench === undefined) throw new TypeError(`no guest ${guest}`);
  return bench.try(attackNamed(lie));
}

const conditions = async (): Promise<readonly string[]> =>
  (await guarded.client.status()).conditions.map(({ code, text }) => `${code}: ${text}`);

test("an observed port lets every lie by, counts it under its line and shows it as observed", async () => {
  for (const lie of ["foreign-mac", "foreign-ip", "foreign-arp-sender", "bpdu"]) {
    const { arrivedAt, counted, attack, controlPassed } = await tell(0, lie);
    expect(arrivedAt, lie).not.toEqual([]);
    expect([...counted.keys()], lie).toContain(attack.reason);
    expect(controlPassed, lie).toBe(true);
  }
  const port = guestAt(guarded.guests, 0).port;
  expect((await guarded.client.drops({ port })).filter(({ direction }) => direction === "from-guest")).toSatisfy(
    (rows: readonly { observed: boolean }[]) => rows.length > 0 && rows.every(({ observed }) => observed),
  );
  expect(await ask(guarded.agent, ["drops", "--port", port])).toContain("OBSERVED");
});

test("a line that is switched off is not judged, and all others are", async () => {
  expect((await tell(1, "foreign-ip")).arrivedAt, "switched off").not.toEqual([]);
  for (const lie of ["foreign-mac", "foreign-arp-sender", "bpdu"]) {
    const { arrivedAt, counted, attack } = await tell(1, lie);
    expect(arrivedAt, lie).toEqual([]);
    expect([...counted.keys()], lie).toContain(attack.reason);
  }
});

test("both are loud in status, and end at once when the operator takes them back", async () => {
  const text = await ask(guarded.agent, ["status"]);
  expect(text).toMatch(/WARNING PORTS_OBSERVED: .*vif1\.0 \(guest1\)/);
  expect(text).toMatch(/WARNING LINES_UNCHECKED: .*vif2\.0 \(guest2\): ip4-source rate-arp/);
  expect(text).toMatch(/vif1\.0 .*OBSERVED/);
  expect(text).toMatch(/vif2\.0 .*WITHOUT ip4-source rate-arp/);
  await applyExtras(guarded);
  expect(await eventually(async () => (await conditions()).length === 0), `${await conditions()}`).toBe(true);
  for (const guest of [0, 1]) {
    const { arrivedAt, counted, controlPassed } = await tell(guest, "foreign-ip");
    expect([arrivedAt, controlPassed]).toEqual([[], true]);
    expect([...counted.keys()]).toContain("ip4-source");
  }
  await applyExtras(guarded, exceptions);
  expect(await eventually(async () => (await conditions()).length === 2)).toBe(true);
  const before = await dropsOf(guarded, guestAt(guarded.guests, 0).port);
  expect((await tell(0, "foreign-ip")).arrivedAt, "control: and open again when told so").not.toEqual([]);
  expect(moreThan(before, await dropsOf(guarded, guestAt(guarded.guests, 0).port)).size).toBeGreaterThan(0);
});
