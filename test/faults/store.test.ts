/** Members of etcd that die, lose each other, fill up and slow down. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { QUOTA } from "../support/fault-etcd.ts";
import { startTrial, type Trial } from "../support/fault-trial.ts";
import type { FaultHost } from "../support/fault-world.ts";
import { eventually } from "../support/guarded-lab.ts";

let trial: Trial;
beforeAll(async () => {
  trial = await startTrial(`fs${process.pid.toString(36)}`);
  expect(await trial.attach(trial.world.tenant)).toBe("done");
});
afterAll(() => trial?.end());

const conditions = async ({ client }: FaultHost): Promise<readonly string[]> =>
  (await client.status()).conditions.map(({ code }) => code);
const isAway = async (host: FaultHost): Promise<boolean> => (await conditions(host)).includes("STORE_AWAY");

/** Changes asked of every host, one after the other, until it is ended. */
function startLoad(name: string) {
  const { world, apply } = trial;
  const outcomes: string[] = [];
  let isOver = false;
  const ask = async (host: FaultHost, n: number): Promise<void> => {
    for (let i = 0; !isOver; i += 1) outcomes.push(await apply(host, [`${name}-${n}-${i}`]));
  };
  const asking = Promise.all(world.hosts.map(ask));
  return async (): Promise<readonly string[]> => {
    isOver = true;
    await asking;
    return outcomes;
  };
}

test("each member dies in turn, the leader first: changes go on", async () => {
  const { world, suffer } = trial;
  const leader = await world.members.leader();
  for (const member of [leader, ...world.members.others(leader)])
    await suffer(member === leader ? "etcd leader killed" : `etcd follower ${member.box} killed`, async (mended) => {
      const end = startLoad(member.box);
      await sleep(200);
      await member.kill();
      const began = performance.now();
      await sleep(2_500);
      mended();
      await member.start();
      const outcomes = await end();
      expect(performance.now() - began).toBeGreaterThan(2_000);
      expect(new Set(outcomes), "nobody was refused").toEqual(new Set(["done"]));
    });
});

test("all members die at once while hosts change things: nothing that was told is lost", async () => {
  const { world, ledger, suffer } = trial;
  await suffer("all of etcd killed", async (mended) => {
    const before = ledger.size();
    const end = startLoad("crash");
    await sleep(500);
    await Promise.all(world.members.all.map((member) => member.kill()));
    await sleep(500);
    mended();
    for (const member of world.members.all) await member.start();
    await world.members.ready();
    const outcomes = await end();
    expect(outcomes, "something was told").toContain("done");
    expect(ledger.size()).toBeGreaterThan(before);
  });
});

test("a leader that lost the other members, and is still heard by the hosts, misleads nobody", async () => {
  const { world, suffer, apply } = trial;
  const { members, cuts } = world;
  for (const way of ["both ways", "what it says"] as const)
    await suffer(`etcd leader cut off, ${way}`, async (mended) => {
      const leader = await members.leader();
      const others = members.others(leader).map(({ box }) => box);
      await (way === "both ways" ? cuts.between([leader.box], others) : cuts.oneWay([leader.box], others));
      await sleep(500);
      for (const host of world.hosts)
        expect(await apply(host, [`minority-${host.box}-${way.slice(0, 4)}`])).toBe("done");
      mended();
      await cuts.heal();
    });
});

test("the majority is lost: nothing can be changed, guests go on, and what was renewed meanwhile is handed over, by an agent that started then too", async () => {
  const { world, suffer, apply, lease } = trial;
  const { members, cuts, tenant } = world;
  const [one, two, three] = members.all.map(({ box }) => box);
  if (one === undefined || two === undefined || three === undefined) throw new TypeError("three members");
  const cutAll = async (): Promise<void> => {
    await cuts.between([one], [two, three]);
    await cuts.between([two], [three]);
    for (const host of world.hosts) expect(await eventually(() => isAway(host), 15_000), host.box).toBe(true);
  };
  await lease(tenant);
  await suffer("etcd without a majority", async (mended) => {
    await cutAll();
    const refused = await Promise.all(world.hosts.map((host) => apply(host, [`never-${host.box}`])));
    expect(new Set(refused)).toEqual(new Set(["STORE_UNAVAILABLE"]));
    await sleep(1_000);
    await lease(tenant);
    mended();
    await cuts.heal();
  });
  await suffer("etcd without a majority, and the agent dies with a renewed lease", async (mended) => {
    await cutAll();
    await sleep(1_000);
    await lease(tenant);
    await world.hostOf(tenant).kill();
    mended();
    await cuts.heal();
    await members.ready();
    await world.hostOf(tenant).start();
  });
});

test("a leader is suspended: it wakes up and believes nothing of before", async () => {
  const { world, suffer, apply } = trial;
  await suffer("etcd leader suspended for 4 s", async (mended) => {
    const leader = await world.members.leader();
    leader.signal("SIGSTOP");
    const outcomes = await Promise.all(world.hosts.map((host) => apply(host, [`suspended-${host.box}`])));
    expect(new Set(outcomes)).toEqual(new Set(["done"]));
    await sleep(1_000);
    mended();
    leader.signal("SIGCONT");
  });
});

test("disks take 300 ms for each write: of one member nobody notices, of all changes take longer", async () => {
  const { world, suffer, apply } = trial;
  const { members } = world;
  await suffer("slow disk of the leader", async (mended) => {
    const mend = await (await members.leader()).slowDisk(300);
    for (const host of world.hosts) expect(await apply(host, [`slow-${host.box}`])).toBe("done");
    mended();
    await mend();
  });
  await suffer("slow disks of all members", async (mended) => {
    const mend = await Promise.all(members.all.map((member) => member.slowDisk(300)));
    const began = performance.now();
    expect(await apply(world.at("host"), ["slowest"])).toBe("done");
    expect(performance.now() - began, "control: they are slow").toBeGreaterThan(250);
    mended();
    await Promise.all(mend.map((end) => end()));
  });
});

test("the database is full: changes are refused and say why, guests go on, and it is mended as the documentation says", async () => {
  const { world, suffer, apply, lease } = trial;
  const { members, tenant } = world;
  await lease(tenant);
  await suffer("etcd full (NOSPACE)", async (mended) => {
    const megabyte = "x".repeat(1024 * 1024);
    const fill = async (): Promise<boolean> => {
      const put = ["sh", "-c", 'ETCDCTL_API=3 etcdctl --endpoints "$0" put filling', members.endpoints.join(",")];
      const { stderr } = await world.lab.exec("gw", put, { stdin: megabyte });
      return stderr.includes("database space exceeded");
    };
    let parts = 0;
    for (; !(await fill()); parts += 1) expect(parts * megabyte.length).toBeLessThan(2 * QUOTA);
    const [host] = world.hosts;
    if (host === undefined) throw new TypeError("no hosts");
    const refusal = host.client.apply(
      [{ path: "a", text: "kind: guest\nname: full\nspec: { nics: [{ network: lan2 }] }" }],
      { dryRun: false },
    );
    await expect(refusal).rejects.toThrow(/space exceeded.*docs\/fleet\.md/);
    expect(await apply(host, ["full"])).toBe("STORE_UNAVAILABLE");
    await lease(tenant);
    mended();
    const [, revision = ""] = /"revision":(\d+)/.exec(await members.ctl("get", "none", "-w", "json")) ?? [];
    await members.ctl("compaction", revision);
    for (const member of members.all) await members.ctlAt(member, "defrag");
    await members.ctl("alarm", "disarm");
  });
});

test("control: what must never happen is seen when it is made to happen", () => trial.control());
