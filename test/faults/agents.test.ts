/** Agents that die at any moment, hosts that lose the store, and clocks that jump. */
import { writeFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { HostBox } from "../../src/lab/topology.ts";
import { startTrial, type Trial } from "../support/fault-trial.ts";
import type { FaultHost, Mover } from "../support/fault-world.ts";
import { eventually } from "../support/guarded-lab.ts";

let trial: Trial;
beforeAll(async () => {
  trial = await startTrial(`fa${process.pid.toString(36)}`);
});
afterAll(() => trial?.end());

const isAway = async ({ client }: FaultHost): Promise<boolean> =>
  (await client.status()).conditions.some(({ code }) => code === "STORE_AWAY");

/** Under way for so long when the host's agent dies. */
async function killedAfter(host: FaultHost, milliseconds: number, act: Promise<string>): Promise<string> {
  await sleep(milliseconds);
  await host.kill();
  const outcome = await act;
  await host.start();
  return outcome;
}

const moverAt = (index: number): Mover => {
  const mover = trial.world.movers[index];
  if (mover === undefined) throw new TypeError(`no mover ${index}`);
  return mover;
};

const memberBoxes = () => trial.world.members.all.map(({ box }) => box);

test("agents are killed while they have nothing to do", async () => {
  const { world, suffer } = trial;
  await suffer("all agents killed, idle", async (mended) => {
    for (const host of world.hosts) await host.kill();
    await sleep(1_500);
    mended();
    await Promise.all(world.hosts.map((host) => host.start()));
  });
});

test("an agent is killed while it applies: all of it is done, or nothing", async () => {
  const { world, suffer, apply, site } = trial;
  const outcomes: string[] = [];
  await suffer("agent killed, during apply", async () => {
    for (const [n, after] of [5, 15, 30, 60].entries()) {
      const names = Array.from({ length: 30 }, (_, i) => `apply${n}-${i}`);
      const host = world.at("host2");
      outcomes.push(await killedAfter(host, after, apply(host, names)));
      const held = await site();
      const there = names.filter((name) => held.has(`guest/${name}`)).length;
      expect([0, names.length], `killed after ${after} ms`).toContain(there);
    }
  });
  expect(outcomes, "it was killed on the way").toContain("AGENT_UNREACHABLE");
});

test("an agent is killed while it attaches and detaches", async () => {
  const { world, watch, suffer, attach, detach } = trial;
  const { tenant } = world;
  const host = world.hostOf(tenant);
  await suffer("agent killed, during attach and detach", async () => {
    for (const after of [2, 10, 30]) {
      await killedAfter(host, after, attach(tenant));
      expect(await attach(tenant), "asked again").toBe("done");
      const opened = Date.now();
      expect(await eventually(async () => watch.heard(tenant, opened) > 0), "control: it is heard").toBe(true);
      await killedAfter(host, after, detach(tenant));
      expect(await detach(tenant), "asked again").toBe("done");
      const shut = Date.now();
      await sleep(500);
      expect(watch.heard(tenant, shut), "nothing comes from the detached port").toBe(0);
    }
  });
});

test("either side of a move is killed on the way: nobody answers twice, and who asks again is served", async () => {
  const { world, suffer, move } = trial;
  const ways: readonly [number, HostBox, HostBox][] = [
    [0, "host2", "host"],
    [1, "host3", "host3"],
    [0, "host", "host"],
    [1, "host2", "host3"],
  ];
  await suffer("agent killed, during a move", async () => {
    for (const [n, [index, to, victim]] of ways.entries()) {
      const mover = moverAt(index);
      await killedAfter(world.at(victim), 3 + 6 * n, move(mover, to));
      expect(await eventually(async () => (await move(mover, to)) === "done", 15_000), `to ${to}`).toBe(true);
    }
  });
});

test("an agent is suspended for as long as nobody waits for it", async () => {
  const { world, suffer } = trial;
  await suffer("agent suspended for 4 s", async (mended) => {
    world.at("host").signal("SIGSTOP");
    await sleep(4_000);
    mended();
    world.at("host").signal("SIGCONT");
  });
});

test("a host loses the store and not its LAN: what it has it keeps, nobody else gets it, and it finds what it missed though the store forgot it", async () => {
  const { world, watch, ledger, suffer, apply, remove, move, attach, site } = trial;
  const { members, cuts } = world;
  const host = world.at("host");
  const mover = moverAt(0);
  expect(await move(mover, "host"), "it begins there").toBe("done");
  await suffer("host cut off, compaction meanwhile", async (mended) => {
    const since = Date.now();
    await cuts.between([host.box], memberBoxes());
    expect(await eventually(() => isAway(host), 15_000), "it knows").toBe(true);
    expect(await move(mover, "host2"), "its guest is not given away").toBe("MOVE_WAITING");
    expect(watch.pings(since).find(({ box }) => box === mover.guest.box)?.lost, "the guest goes on").toBe(0);
    expect(await apply(world.at("host2"), ["missed"])).toBe("done");
    expect(await remove(world.at("host3"), "missed")).toBe("done");
    expect(await apply(host, ["never"]), "it changes nothing").toBe("STORE_UNAVAILABLE");
    await host.kill();
    await host.start();
    const [stranger] = world.strangers.filter(({ on }) => on === host.box);
    expect(stranger === undefined ? "no stranger" : await attach(stranger)).toBe("STORE_UNAVAILABLE");
    const [, revision = ""] = /"revision":(\d+)/.exec(await members.ctl("get", "none", "-w", "json")) ?? [];
    await members.ctl("compaction", revision);
    mended();
    await cuts.heal();
  });
  ledger.attached(mover.guest.box, "host2", mover.portAt.host2 ?? "");
  expect(ledger.broken(await site()), "what was asked meanwhile is done then").toEqual([]);
  const [stranger] = world.strangers.filter(({ on }) => on === host.box);
  await expect
    .poll(async () => (await host.client.status()).ports.some(({ port }) => port === stranger?.port))
    .toBe(false);
});

test("a host hears nothing of the store though it is heard, and the other way round", async () => {
  const { world, suffer, apply } = trial;
  const { cuts } = world;
  const host = world.at("host2");
  await suffer("one way: the store's answers are lost", async (mended) => {
    await cuts.oneWay(memberBoxes(), [host.box]);
    expect(await apply(host, ["unheard1", "unheard2"])).toBe("STORE_UNAVAILABLE");
    mended();
    await cuts.heal();
  });
  await suffer("one way: what the host asks is lost", async (mended) => {
    await cuts.oneWay([host.box], memberBoxes());
    expect(await apply(host, ["unsaid"])).toBe("STORE_UNAVAILABLE");
    mended();
    await cuts.heal();
  });
  expect(await apply(host, ["unheard1", "unheard2", "unsaid"]), "asked again").toBe("done");
});

test("the clock of a host jumps a day ahead and a day back: leases and ports stay, and a store that is away is found out", async () => {
  const { world, suffer, apply, attach, detach, lease } = trial;
  const { tenant, cuts, lab } = world;
  const host = world.hostOf(tenant);
  const clock = `${lab.directory}/clock`;
  expect(await attach(tenant)).toBe("done");
  await lease(tenant);
  await writeFile(clock, "+0\n");
  await host.kill("SIGTERM");
  await host.start(clock);
  const ahead = async (seconds: number): Promise<void> => {
    await writeFile(clock, `${seconds < 0 ? "" : "+"}${seconds}\n`);
    const days = Math.round(((await host.client.leases({}))[0]?.expiresAt ?? 0) / 86_400_000);
    expect(days, "control: there is a lease to be lost").toBeGreaterThan(0);
    await sleep(1_000);
  };
  await suffer("clock of a host a day ahead", async () => {
    await ahead(86_400);
    expect(await apply(host, ["tomorrow"])).toBe("done");
    await lease(tenant);
  });
  await suffer("clock of a host two days back, and the store cut off", async (mended) => {
    await ahead(-86_400);
    expect(await apply(host, ["yesterday"])).toBe("done");
    await cuts.between([host.box], memberBoxes());
    expect(await eventually(() => isAway(host), 15_000), "found out though nothing is asked").toBe(true);
    await cuts.heal();
    expect(await eventually(async () => !(await isAway(host)), 15_000)).toBe(true);
    await writeFile(clock, "+0\n");
    await cuts.between([host.box], memberBoxes());
    const began = performance.now();
    const refused = apply(host, ["never"]);
    await sleep(500);
    await writeFile(clock, "-86400\n");
    expect(await refused).toBe("STORE_UNAVAILABLE");
    expect(performance.now() - began, "refused in time").toBeLessThan(15_000);
    mended();
    await cuts.heal();
  });
  await host.kill("SIGTERM");
  await host.start();
  await lease(tenant);
  expect(await detach(tenant)).toBe("done");
});

test("control: what must never happen is seen when it is made to happen", () => trial.control());
