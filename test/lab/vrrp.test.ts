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
const VIRTUAL6 = "2001:db8:66::100";
/** VRRP for IPv6 moves a link-local address first (RFC 5798 section 5.2.9). */
const LOCAL6 = "fe80::100";
const families = [VIRTUAL, VIRTUAL6] as const;

/** One protocol for each family, as RFC 5798 has it. */
function configOf(priority: number): string {
  const instance = (name: string, id: number, addresses: readonly string[]): readonly string[] => [
    `vrrp_instance ${name} {`,
    "  state BACKUP",
    "  interface eth0",
    `  virtual_router_id ${id}`,
    `  priority ${priority}`,
    "  advert_int 1",
    "  virtual_ipaddress {",
    ...addresses.map((address) => `    ${address}`),
    "  }",
    "}",
    "",
  ];
  return [
    ...instance("shared4", 51, [`${VIRTUAL}/24`]),
    ...instance("shared6", 52, [`${LOCAL6}/64`, `${VIRTUAL6}/64`]),
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

/** The guest believes that the shared addresses are its own now: of both families, or of none. */
async function holds(lab: Lab, { box }: GuestBox): Promise<"both" | "none" | "one"> {
  const text = await lab.must(box, ["ip", "-o", "address", "show", "dev", "eth0"]);
  const held = families.filter((address) => text.includes(` ${address}/`)).length;
  return held === 2 ? "both" : held === 0 ? "none" : "one";
}

/** Whose MAC an outsider knows for the shared address, asked anew; undefined when nobody answers. */
async function whoAnswers(lab: Lab, guests: readonly GuestBox[], address: string): Promise<Box | undefined> {
  await lab.must("neighbour", ["ip", "neighbour", "flush", "to", address]);
  if (!(await pings(lab, "neighbour", address))) return undefined;
  const line = await lab.must("neighbour", ["ip", "neighbour", "show", address]);
  return guests.find(({ mac }) => line.includes(mac))?.box;
}

/** Both addresses of the outsider's answers name the same guest, soon. */
async function answers(lab: Lab, guests: readonly GuestBox[], box: Box): Promise<boolean> {
  for (const address of families)
    if (!(await eventually(async () => (await whoAnswers(lab, guests, address)) === box, 15_000))) return false;
  return true;
}

describe("a shared address", () => {
  let guarded: GuardedLab;
  let master: Running;
  beforeAll(async () => {
    const pair = `allowedPairs: [${[...families, LOCAL6].map((address) => `{ address: "${address}" }`).join(", ")}]`;
    guarded = await raiseGuardedLab(`vrg${own}`, 3, {
      network: ["multicast: [224.0.0.18, 'ff02::12']"],
      nics: { guest1: pair, guest2: pair },
    });
    await keepalived(guarded.lab, "guest2", 100);
    master = await keepalived(guarded.lab, "guest1", 150);
  });
  afterAll(async () => {
    await guarded?.lab.down();
  });

  const isAnsweredBy = (box: Box): Promise<boolean> => answers(guarded.lab, guarded.guests, box);

  test("is answered for by the master, and the backup hears it and keeps still", async () => {
    expect(await isAnsweredBy("guest1")).toBe(true);
    expect(await holds(guarded.lab, guestAt(guarded.guests, 0))).toBe("both");
    expect(await holds(guarded.lab, guestAt(guarded.guests, 1)), "the backup hears the master").toBe("none");
    for (const address of families)
      expect(await pings(guarded.lab, "guest3", address), `other guests reach ${address} too`).toBe(true);
  });

  test("is not got by a third guest without the pair, whatever its priority", async () => {
    const { lab, guests } = guarded;
    const greedy = guestAt(guests, 2);
    const third = await keepalived(lab, greedy.box, 250);
    const believes = async (): Promise<boolean> => (await holds(lab, greedy)) === "both";
    expect(await eventually(believes, 15_000), "control: it believes that it is the master").toBe(true);
    for (const reason of ["arp-sender", "ip6-source", "multicast"] as const) {
      const counted = async (): Promise<number> => (await dropsOf(guarded, greedy.port)).get(reason) ?? 0;
      expect(await eventually(async () => (await counted()) > 0, 15_000), `its claims are counted: ${reason}`).toBe(
        true,
      );
    }
    for (const address of families) expect(await whoAnswers(lab, guests, address)).toBe("guest1");
    expect(await holds(lab, guestAt(guests, 0)), "the master has not given way").toBe("both");
    await third.stop("SIGTERM");
    for (const address of [...families, LOCAL6]) await lab.must(greedy.box, ["ip", "address", "flush", "to", address]);
    expect(await isAnsweredBy("guest1")).toBe(true);
  });

  test("moves to the backup when the master dies, and the outsider's stale entries move with it", async () => {
    const { lab, guests } = guarded;
    expect(await isAnsweredBy("guest1"), "control: the master had it").toBe(true);
    await lab.must("guest1", ["ip", "link", "set", "eth0", "down"]);
    await master.stop("SIGKILL");
    // Its entries for the addresses still name the dead master: only the backup's announcements change that at once.
    for (const address of families) {
      expect(await eventually(() => pings(lab, "neighbour", address), 15_000), address).toBe(true);
      expect(await whoAnswers(lab, guests, address)).toBe("guest2");
    }
    expect(await holds(lab, guestAt(guests, 1))).toBe("both");
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
      expect(await answers(lab, guests, "guest1")).toBe(true);
      await keepalived(lab, "guest3", 250);
      expect(await answers(lab, guests, "guest3")).toBe(true);
    },
    patience(90_000),
  );
});
