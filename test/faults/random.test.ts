/** Faults by chance, one upon the other, for as long as it is given; a seed makes the same draws again. */
import { env } from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, test } from "vitest";
import { patience } from "../../src/lab/patience.ts";
import { type Draw, drawer, mishaps } from "../support/fault-mishaps.ts";
import { startTrial, type Trial } from "../support/fault-trial.ts";
import { SEED } from "../support/seed.ts";

/** At most so many things are wrong at once. */
const AT_ONCE = 3;
const SECONDS = Number(env["VIFGUARD_FAULT_SECONDS"] ?? 40);

let trial: Trial;
beforeAll(async () => {
  trial = await startTrial(`fr${process.pid.toString(36)}`);
});
afterAll(() => trial?.end());

/** One change, asked of any host, whatever is wrong with it. */
function ask({ world, apply, remove, move, attach, detach }: Trial, draw: Draw, name: string): () => Promise<string> {
  const host = draw.one(world.hosts);
  const mover = draw.one(world.movers);
  const ends = world.hosts.filter(({ box }) => mover.portAt[box] !== undefined);
  const to = draw.one(ends).box;
  return draw.one([
    () => apply(host, [`${name}-a`, `${name}-b`]),
    async () => {
      const made = await apply(host, [name]);
      return made === "done" ? remove(host, name) : made;
    },
    () => move(mover, to),
    () => attach(world.tenant),
    () => detach(world.tenant),
  ]);
}

test(
  `faults by chance, VIFGUARD_SEED=${SEED}`,
  async () => {
    const draw = drawer(SEED);
    const told: string[] = [];
    const until = Date.now() + patience(SECONDS * 1_000);
    for (let round = 0; Date.now() < until; round += 1) {
      const drawn = draw.some(mishaps(trial.world, draw), 1 + draw.below(AT_ONCE));
      await trial.suffer(`by chance: ${drawn.map(({ name }) => name).join(", ")}`, async (mended) => {
        // One after the other, so that it is known which came last; nobody waits for them, as a suspended agent answers nobody.
        let asking: Promise<unknown> = Promise.resolve();
        const askNext = (n: number): void => {
          const next = ask(trial, draw, `random-${round}-${n}`);
          asking = asking.then(next).then((outcome) => told.push(outcome));
        };
        const mend: (() => Promise<void>)[] = [];
        for (const [n, { begin }] of drawn.entries()) {
          askNext(n);
          await sleep(draw.below(400));
          mend.push(await begin());
        }
        for (let n = drawn.length; n < 6; n += 1) askNext(n);
        await sleep(500 + draw.below(3_000));
        mended();
        for (const end of mend.reverse()) await end();
        await asking;
      });
    }
    expect(told, "control: changes were made on the way").toContain("done");
  },
  patience(SECONDS * 1_000 + 120_000),
);

test("control: what must never happen is seen when it is made to happen", () => trial.control());
