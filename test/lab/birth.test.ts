/**
 * Closed from birth and without a gap (contract section 5, invariants I6, I7): a guest lies thousands of times a second while its port comes, is attached,
 * detached and comes again, and while the agent is killed, restarted and replaced. Not one frame gets anywhere.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { arpRequest, udpTo } from "../../src/lab/attack.ts";
import { startAgent } from "../../src/lab/guarded.ts";
import type { GuestBox } from "../../src/lab/topology.ts";
import { sendFrames } from "../../src/lab/trial.ts";
import { watchBoxes } from "../support/barrage.ts";
import {
  addressByHand,
  eventually,
  type GuardedLab,
  guardTables,
  guestAt,
  killAgent,
  pings,
  raiseGuardedLab,
  startOtherAgent,
} from "../support/guarded-lab.ts";
import { contextOf, expectNoLeak, laySiege, PER_SECOND, type Siege, truthOf } from "../support/siege.ts";

let guarded: GuardedLab;
let liar: GuestBox;
beforeAll(async () => {
  guarded = await raiseGuardedLab(`bth${process.pid.toString(36)}`, 2);
  liar = guestAt(guarded.guests, 0);
});
afterAll(async () => {
  await guarded?.lab.down();
});

/** A new interface with the old name, in the bridge and up before anybody can have looked at it. */
async function rebirth(): Promise<void> {
  const { lab } = guarded;
  const lines = [
    `link del ${liar.port}`,
    `link add ${liar.port} type veth peer name eth0 address ${liar.mac} netns ${lab.netns(liar.box)}`,
    `link set ${liar.port} master br0 up`,
  ];
  await lab.must("host", ["ip", "-batch", "-"], { stdin: `${lines.join("\n")}\n` });
  await lab.must(liar.box, ["ip", "link", "set", "eth0", "up"]);
}

async function attach(): Promise<void> {
  await guarded.client.attach({ port: liar.port, guest: liar.box });
  await guarded.lab.must(liar.box, ["ip", "link", "set", "eth0", "up"]);
}

const received = async (): Promise<number> =>
  Number(await guarded.lab.must(liar.box, ["cat", "/sys/class/net/eth0/statistics/rx_packets"]));

describe("under a barrage of lies", () => {
  let siege: Siege;
  beforeEach(async () => {
    siege = await laySiege(guarded);
  });
  afterEach(async () => {
    await siege?.stop();
  });

  test("a port comes, is attached, detached and comes again", async () => {
    for (let life = 0; life < 12; life += 1) {
      await rebirth();
      await siege.barrage.more(100);
      expect(await received(), "frames that reached the port before it was attached").toBe(0);
      await attach();
      await siege.barrage.more(100);
      if (life % 3 > 0) continue;
      await guarded.client.detach(liar.port);
      await siege.barrage.more(50);
      await attach();
      await siege.barrage.more(50);
    }
    await addressByHand(guarded.lab, liar);
    expect(siege.barrage.sent()).toBeGreaterThan(3_000);
    await expectNoLeak(guarded, siege);
    const hears = async (): Promise<boolean> => pings(guarded.lab, "neighbour", liar.address);
    expect(await eventually(hears), "control: an attached port hears").toBe(true);
    expect(await received(), "and it is counted").toBeGreaterThan(0);
  });

  test("a port that nobody attached takes the truth no more than lies", async () => {
    await guarded.client.detach(liar.port);
    await rebirth();
    const early = [truthOf(guarded), udpTo(contextOf(guarded))];
    await sendFrames(guarded.lab, liar.box, early);
    await siege.barrage.more(PER_SECOND);
    expect(siege.watch.leaks(early)).toEqual([]);
    expect(await received()).toBe(0);
    await attach();
    await addressByHand(guarded.lab, liar);
    await expectNoLeak(guarded, siege);
  });

  test("the agent is killed and started again, in the middle of an attach too", async () => {
    for (const wait of ["no attach", 0, 2, 5] as const) {
      if (wait === "no attach") await killAgent(guarded.lab);
      else {
        await rebirth();
        const attaching = guarded.client.attach({ port: liar.port, guest: liar.box }).catch(() => undefined);
        await sleep(wait);
        await killAgent(guarded.lab);
        await attaching;
      }
      await siege.barrage.more(PER_SECOND / 4);
      await startAgent(guarded.lab);
      await siege.barrage.more(PER_SECOND / 4);
      await attach();
      await siege.barrage.more(100);
    }
    await addressByHand(guarded.lab, liar);
    expect(siege.barrage.sent()).toBeGreaterThan(2 * PER_SECOND);
    await expectNoLeak(guarded, siege);
  });

  test("an agent with other rules takes over, and the first comes back", async () => {
    const { lab, agent } = guarded;
    const before = await guardTables(lab);
    const heard = await watchBoxes(lab, [liar.box]);
    for (const end of ["SIGKILL", "SIGTERM"] as const) {
      await killAgent(guarded.lab);
      const newer = await startOtherAgent(lab, agent);
      await siege.barrage.more(PER_SECOND / 2);
      await newer.stop(end);
      await startAgent(lab);
      expect(await guardTables(lab), "and back again").toEqual(before);
      await siege.barrage.more(PER_SECOND / 2);
    }
    expect(heard.leaks(siege.strange), "what is not for the guest").toEqual([]);
    const { neighbour } = lab.topology;
    const question = arpRequest({ ...contextOf(guarded), self: neighbour }, neighbour, liar.address);
    await sendFrames(lab, "neighbour", [question]);
    expect(await eventually(async () => heard.arrivedAt(question).length === 1), "control: what is for it").toBe(true);
    await heard.stop();
    await expectNoLeak(guarded, siege);
  });
});
