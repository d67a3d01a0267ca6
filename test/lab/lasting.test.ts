/**
 * What must not depend on the agent's life (contract section 5, invariants I7, I12): what a port has learned, and what an operator has switched off, while the agent
 * is killed, started again and replaced, and another program flushes the rules or writes in them.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type AttackContext, udpTo } from "../../src/lab/attack.ts";
import { udp6To } from "../../src/lab/attack6.ts";
import { ip4Of } from "../../src/lab/forge.ts";
import { ip6Of } from "../../src/lab/forge6.ts";
import { startAgent } from "../../src/lab/guarded.ts";
import { patience } from "../../src/lab/patience.ts";
import { sniff } from "../../src/lab/sniff.ts";
import { globalOf } from "../../src/lab/topology.ts";
import { sendFrames } from "../../src/lab/trial.ts";
import {
  dropsOf,
  eventually,
  type GuardedLab,
  guardTables,
  guestAt,
  killAgent,
  listSet,
  moreThan,
  pings,
  raiseGuardedLab,
  startOtherAgent,
} from "../support/guarded-lab.ts";

let guarded: GuardedLab;
beforeAll(async () => {
  guarded = await raiseGuardedLab(`las${process.pid.toString(36)}`, 3, {
    nics: { guest1: "mode: observe", guest2: "unchecked: [ip4-source]" },
  });
});
afterAll(() => guarded?.lab.down());

const [OBSERVED, UNCHECKED, STRICT] = [0, 1, 2] as const;
let serial = 1;
function contextOf(number: number): AttackContext {
  serial += 1;
  const [self, victim] = [guestAt(guarded.guests, number), guestAt(guarded.guests, number === 2 ? 0 : 2)];
  return { ...guarded.lab.topology, self, victim, serial };
}

/** Which of the frames arrive at the neighbour: those that should are waited for, and behind them a frame of the gateway. */
async function arrivals(
  number: number,
  frames: readonly Uint8Array[],
  should: readonly boolean[],
): Promise<readonly boolean[]> {
  const at = await sniff(guarded.lab, "neighbour");
  try {
    await sendFrames(guarded.lab, guestAt(guarded.guests, number).box, frames);
    await eventually(async () => frames.every((frame, i) => should[i] !== true || at.has(frame)), 3_000);
    const marker = udpTo({ ...contextOf(number), self: guarded.lab.topology.gateway });
    await sendFrames(guarded.lab, "gw", [marker]);
    expect(await eventually(async () => at.has(marker)), "control: the LAN carries frames").toBe(true);
    return frames.map((frame) => at.has(frame));
  } finally {
    await at.stop();
  }
}

async function expectArrivals(
  number: number,
  frames: readonly Uint8Array[],
  should: readonly boolean[],
  says: string,
): Promise<void> {
  expect(await arrivals(number, frames, should), says).toEqual(should);
}

/** To the neighbour, that an answer has named; to an address that none has, by the same MAC. */
const speech = (): readonly Uint8Array[] => [udpTo(contextOf(STRICT)), udp6To(contextOf(STRICT))];
const nobody4 = ip4Of("203.0.113.222");
const nobody6 = ip6Of("2001:db8:66::222");
const toNobody = (): readonly Uint8Array[] => [
  udpTo(contextOf(STRICT), { to: nobody4 }),
  udp6To(contextOf(STRICT), { to: nobody6 }),
];
const foreignIp = (number: number): Uint8Array =>
  udpTo(contextOf(number), { address: contextOf(number).victim.address });
const foreignMac = (number: number): Uint8Array => udpTo(contextOf(number), { mac: contextOf(number).victim.mac });

/** The exceptions stand as the operator made them, and for nobody else. */
async function expectExceptions(when: string): Promise<void> {
  await expectArrivals(OBSERVED, [foreignIp(OBSERVED), foreignMac(OBSERVED)], [true, true], `observed, ${when}`);
  await expectArrivals(UNCHECKED, [foreignIp(UNCHECKED), foreignMac(UNCHECKED)], [true, false], `unchecked, ${when}`);
  await expectArrivals(STRICT, [foreignIp(STRICT), foreignMac(STRICT)], [false, false], `strict, ${when}`);
}

async function expectLearned(when: string): Promise<void> {
  await expectArrivals(STRICT, speech(), [true, true], `to whom it has asked for, ${when}`);
  await expectArrivals(STRICT, toNobody(), [false, false], `to whom nobody has named, ${when}`);
}

const conditions = async (): Promise<readonly string[]> =>
  (await guarded.client.status()).conditions.map(({ code }) => code).filter((code) => code !== "RULES_REPAIRED");

describe("learned neighbours, observed ports and lines that are switched off", () => {
  test("before anything happens", async () => {
    const { neighbour } = guarded.lab.topology;
    const { box, port } = guestAt(guarded.guests, STRICT);
    const before = await dropsOf(guarded, port);
    await expectArrivals(STRICT, speech(), [false, false], "to whom it has not asked for");
    expect(moreThan(before, await dropsOf(guarded, port)).get("dest-mac")).toBe(2);
    for (const guest of guarded.guests)
      for (const address of [neighbour.address, globalOf(neighbour)])
        expect(await eventually(() => pings(guarded.lab, guest.box, address)), `control: ${guest.box}`).toBe(true);
    // What is not asked again is not taught again: from here on the guest itself keeps still.
    for (const address of [neighbour.address, globalOf(neighbour)])
      await guarded.lab.must(box, [
        "ip",
        "neighbour",
        "replace",
        address,
        "lladdr",
        neighbour.mac,
        "nud",
        "permanent",
        "dev",
        "eth0",
      ]);
    await expectLearned("at first");
    await expectExceptions("at first");
  });

  test("the agent is killed, and started again", { timeout: patience(120_000) }, async () => {
    const { lab } = guarded;
    await killAgent(lab);
    await expectLearned("agent dead");
    await expectExceptions("agent dead");
    await startAgent(lab);
    await expectLearned("agent back");
    await expectExceptions("agent back");
    expect(await conditions()).toEqual(["PORTS_OBSERVED", "LINES_UNCHECKED"]);
  });

  test("an agent with other rules takes over, and the first comes back", { timeout: patience(120_000) }, async () => {
    const { lab, agent } = guarded;
    const before = await guardTables(lab);
    await killAgent(lab);
    const other = await startOtherAgent(lab, agent);
    await expectLearned("other rules");
    await expectExceptions("other rules");
    await other.stop("SIGKILL");
    await startAgent(lab);
    expect(await guardTables(lab)).toEqual(before);
    await expectLearned("old rules again");
    await expectExceptions("old rules again");
  });

  test("another program flushes all rules", { timeout: patience(120_000) }, async () => {
    const { lab } = guarded;
    const before = await guardTables(lab);
    await lab.must("host", ["nft", "flush", "ruleset"]);
    expect(await eventually(async () => (await guardTables(lab)).join() === before.join()), "repaired").toBe(true);
    const isStrict = async (): Promise<boolean> => {
      const [truth, lie] = await arrivals(STRICT, [udpTo(contextOf(STRICT)), foreignIp(STRICT)], [true, false]);
      return truth === true && lie === false;
    };
    expect(await eventually(isStrict), "the strict guest's port is filled again").toBe(true);
    await expectLearned("repaired");
    await expectExceptions("repaired");
    expect((await guarded.client.status()).conditions.map(({ code }) => code)).toContain("RULES_REPAIRED");
  });
});

describe("another program writes in the sets", () => {
  const elements = async (set: string): Promise<string> => {
    const [, list = ""] = /elements = \{([^}]*)\}/.exec(await listSet(guarded.lab, set)) ?? [];
    return list
      .split(",")
      .map((one) => one.trim())
      .sort()
      .join();
  };
  const nft = async (...words: readonly string[]): Promise<string> => {
    const [, , table = ""] =
      (await guardTables(guarded.lab)).find((line) => line.includes(" netdev "))?.split(" ") ?? [];
    return guarded.lab.must("host", ["nft", ...words.map((word) => (word === "TABLE" ? table : word))]);
  };

  test.each(["bind4", "addr4", "addr6", "macs"])("%s is emptied: shut meanwhile, and filled again", async (set) => {
    const { lab, guests } = guarded;
    const before = await elements(set);
    expect(before, "control: there was something").not.toBe("");
    await nft("flush", "set", "netdev", "TABLE", set);
    expect(await eventually(async () => (await elements(set)) === before), "as before").toBe(true);
    await expectArrivals(STRICT, [foreignIp(STRICT), foreignMac(STRICT)], [false, false], "lies");
    expect(await eventually(() => pings(lab, guestAt(guests, STRICT).box, lab.topology.neighbour.address))).toBe(true);
  });

  test("a port is put among the observed: it is taken out again", async () => {
    const before = await elements("observed");
    expect(before, "control: the port that is").toContain(guestAt(guarded.guests, OBSERVED).port);
    const { port } = guestAt(guarded.guests, STRICT);
    await nft("add", "element", "netdev", "TABLE", "observed", `{ "${port}" }`);
    expect(await eventually(async () => (await elements("observed")) === before), "as before").toBe(true);
    await expectExceptions("taken out again");
  });
});
