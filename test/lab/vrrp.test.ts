/**
 * An address that two guests share by VRRP (contract: allowed pairs, multicast groups): the operator gave it to both, keepalived moves it between them,
 * and a third guest that wants it as well, with a higher priority, gets nothing. Without the guard it would.
 */
import { writeFile } from "node:fs/promises";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Running } from "../../src/lab/exec.ts";
import { patience } from "../../src/lab/patience.ts";
import type { Lab } from "../../src/lab/raise.ts";
import type { Box, GuestBox } from "../../src/lab/topology.ts";
import {
  dropsOf,
  eventually,
  type GuardedLab,
  guestAt,
  pings,
  raiseGuardedLab,
  raisePlainLab,
} from "../support/guarded-lab.ts";

const own = process.pid.toString(36);
const VIRTUAL = "203.0.113.100";

function configOf(priority: number): string {
  return [
    "vrrp_instance shared {",
    "  state BACKUP",
    "  interface eth0",
    "  virtual_router_id 51",
    `  priority ${priority}`,
    "  advert_int 0.3",
    `  virtual_ipaddress { ${VIRTUAL}/24 }`,
    "}",
    "",
  ].join("\n");
}

async function keepalived(lab: Lab, box: Box, priority: number): Promise<Running> {
  const file = `${lab.directory}/${box}.keepalived`;
  await writeFile(file, configOf(priority), { mode: 0o600 });
  const pids = ["-p", `${file}.pid`, "-r", `${file}.vrrp.pid`];
  return lab.start(
    box,
    ["keepalived", "--dont-fork", "--log-console", "--vrrp", "-f", file, ...pids],
    `${box}.keepalived.log`,
  );
}

/** The guest believes that the shared address is its own now. */
const holds = async (lab: Lab, { box }: GuestBox): Promise<boolean> =>
  (await lab.must(box, ["ip", "-4", "-o", "address", "show", "dev", "eth0"])).includes(` ${VIRTUAL}/`);

/** Whose MAC an outsider knows for the shared address, asked anew; undefined when nobody answers. */
async function whoAnswers(lab: Lab, guests: readonly GuestBox[]): Promise<Box | undefined> {
  await lab.must("neighbour", ["ip", "neighbour", "flush", "to", VIRTUAL]);
  if (!(await pings(lab, "neighbour", VIRTUAL))) return undefined;
  const line = await lab.must("neighbour", ["ip", "neighbour", "show", VIRTUAL]);
  return guests.find(({ mac }) => line.includes(mac))?.box;
}

describe("a shared address", () => {
  let guarded: GuardedLab;
  let master: Running;
  beforeAll(async () => {
    const pair = `allowedPairs: [{ address: ${VIRTUAL} }]`;
    guarded = await raiseGuardedLab(`vrg${own}`, 3, {
      network: ["multicast: [224.0.0.18]"],
      nics: { guest1: pair, guest2: pair },
    });
    await keepalived(guarded.lab, "guest2", 100);
    master = await keepalived(guarded.lab, "guest1", 150);
  });
  afterAll(async () => {
    await guarded?.lab.down();
  });

  const answers = (box: Box): Promise<boolean> =>
    eventually(async () => (await whoAnswers(guarded.lab, guarded.guests)) === box, 15_000);

  test("is answered for by the master, and the backup hears it and keeps still", async () => {
    expect(await answers("guest1")).toBe(true);
    expect(await holds(guarded.lab, guestAt(guarded.guests, 0))).toBe(true);
    expect(await holds(guarded.lab, guestAt(guarded.guests, 1)), "the backup hears the master").toBe(false);
    expect(await pings(guarded.lab, "guest3", VIRTUAL), "other guests reach it too").toBe(true);
  });

  test("is not got by a third guest without the pair, whatever its priority", async () => {
    const { lab, guests } = guarded;
    const greedy = guestAt(guests, 2);
    const third = await keepalived(lab, greedy.box, 250);
    expect(await eventually(() => holds(lab, greedy)), "control: it believes that it is the master").toBe(true);
    const counted = async (): Promise<number> => (await dropsOf(guarded, greedy.port)).get("arp-sender") ?? 0;
    expect(await eventually(async () => (await counted()) > 0, 15_000), "its claims are counted as lies").toBe(true);
    expect(await whoAnswers(lab, guests)).toBe("guest1");
    expect(await holds(lab, guestAt(guests, 0)), "the master has not given way").toBe(true);
    await third.stop("SIGTERM");
    await lab.must(greedy.box, ["ip", "address", "flush", "to", VIRTUAL]);
    expect(await answers("guest1")).toBe(true);
  });

  test("moves to the backup when the master dies, and the outsider's stale entry moves with it", async () => {
    const { lab, guests } = guarded;
    expect(await answers("guest1"), "control: the master had it").toBe(true);
    await lab.must("guest1", ["ip", "link", "set", "eth0", "down"]);
    await master.stop("SIGKILL");
    // Its entry for the address still names the dead master: only the backup's announcement changes that at once.
    expect(await eventually(() => pings(lab, "neighbour", VIRTUAL), 15_000)).toBe(true);
    expect(await whoAnswers(lab, guests)).toBe("guest2");
    expect(await holds(lab, guestAt(guests, 1))).toBe(true);
  });
});

describe("the same without a guard", () => {
  let lab: Lab;
  beforeAll(async () => {
    lab = await raisePlainLab(`vrp${own}`, 3);
  });
  afterAll(async () => {
    await lab?.down();
  });

  test(
    "the third guest takes the address away",
    async () => {
      const { guests } = lab.topology;
      await keepalived(lab, "guest2", 100);
      await keepalived(lab, "guest1", 150);
      expect(await eventually(async () => (await whoAnswers(lab, guests)) === "guest1", 15_000)).toBe(true);
      await keepalived(lab, "guest3", 250);
      expect(await eventually(async () => (await whoAnswers(lab, guests)) === "guest3", 15_000)).toBe(true);
    },
    patience(60_000),
  );
});
