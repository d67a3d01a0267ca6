/** Whether an address that is about to be given is somebody else's: what counts as an answer, how long is waited, and how much is asked at once. */
import { describe, expect, test } from "vitest";
import { memoryProbes } from "../kernel/probes-memory.ts";
import { ipv4FromNumber, ipv4ToBytes } from "../model/ipv4.ts";
import { macFromBytes } from "../model/mac.ts";
import { createConflicts, type Suspect } from "./conflicts.ts";

const BRIDGE = 3;
const mac = (last: number) => macFromBytes(Uint8Array.of(2, 0, 0, 0, 0, last));
const suspect = (last: number): Suspect => ({
  ifindex: BRIDGE,
  address: ipv4FromNumber(0x0a_00_00_00 + last),
  mac: mac(last),
  guest: `web${last}`,
});

function setUp() {
  const probes = memoryProbes();
  const told: (readonly string[])[] = [];
  const time = { now: 1_000_000 };
  const conflicts = createConflicts({
    probes,
    now: () => time.now,
    tell: (standing) => void told.push(standing),
    patience: 80,
  });
  const place = (last: number, owner: number): void =>
    probes.place(BRIDGE, ipv4ToBytes(suspect(last).address), mac(owner));
  return { probes, told, time, conflicts, place };
}

describe("an address", () => {
  test("that nobody answers for is free, and not asked for again while its exchange goes on", async () => {
    const { probes, told, time, conflicts } = setUp();
    expect(await conflicts.check(suspect(5))).toBe("free");
    expect(conflicts.check(suspect(5))).toBeUndefined();
    time.now += 10_001;
    expect(await conflicts.check(suspect(5))).toBe("free");
    expect([told, probes.open()]).toEqual([[], 0]);
  });

  test("that the guest itself answers for is free", async () => {
    const { conflicts, place, told } = setUp();
    place(5, 5);
    expect(await conflicts.check(suspect(5))).toBe("free");
    expect(told).toEqual([]);
  });

  test("that another machine answers for is taken, said for as long as it is so, and asked for every time", async () => {
    const { conflicts, place, told, probes } = setUp();
    place(5, 9);
    expect(await conflicts.check(suspect(5))).toBe("taken");
    expect(told.at(-1)).toEqual(["10.0.0.5 of web5 is used by 02:00:00:00:00:09"]);
    expect(await conflicts.check(suspect(5))).toBe("taken");
    place(5, 5);
    expect(await conflicts.check(suspect(5))).toBe("free");
    expect(told.at(-1)).toEqual([]);
    expect(probes.open(), "every question was taken back").toBe(0);
  });

  test("is no news any more when its guest is gone", async () => {
    const { conflicts, place, told } = setUp();
    place(5, 9);
    place(6, 9);
    await Promise.all([conflicts.check(suspect(5)), conflicts.check(suspect(6))]);
    conflicts.forget("web7");
    expect(told.at(-1), "control").toHaveLength(2);
    conflicts.forget("web5");
    expect(told.at(-1)).toEqual(["10.0.0.6 of web6 is used by 02:00:00:00:00:09"]);
  });

  test("is asked for once at a time, and only so many are at all", async () => {
    const { conflicts, probes } = setUp();
    const first = conflicts.check(suspect(5));
    expect(await conflicts.check(suspect(5))).toBe("busy");
    const crowd = Array.from({ length: 200 }, (_, n) => conflicts.check(suspect(10 + n)));
    expect(probes.open()).toBe(128);
    const verdicts = await Promise.all([first, ...crowd]);
    expect(verdicts.filter((verdict) => verdict === "free")).toHaveLength(128);
    expect(verdicts.filter((verdict) => verdict === "busy")).toHaveLength(73);
    expect(probes.open()).toBe(0);
  });
});
