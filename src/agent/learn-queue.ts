/** What servers give and take, one batch after the other: into the store, then into the kernel, then to the guest. */
import { type IpAddress, isIpv6 } from "../model/ip-block.ts";
import { bind, end, type Gift, type Learner, leasesOf, sweep } from "./bindings.ts";
import type { Core } from "./core.ts";
import type { LearnTally } from "./learn-tally.ts";
import { createLeaseGate, type LeaseEnds } from "./lease-gate.ts";

export type Family = "ip4" | "ip6";

interface LearnJob {
  readonly learner: Learner;
  readonly family: Family;
  /** undefined: the address is given back, or taken. */
  readonly gift: Gift | undefined;
  /** For the port, when it is done. */
  readonly frame?: Uint8Array;
}

interface LearnQueueParts {
  readonly core: Core;
  readonly tally: LearnTally;
  readonly learnerAt: (ifindex: number) => Learner | undefined;
  /** The guest has an address of the family. */
  readonly settled: (learner: Learner, family: Family) => void;
}

export interface LearnQueue {
  add(job: LearnJob): void;
  deliver(learner: Learner, frame: Uint8Array): void;
  sweep(): Promise<void>;
  sync(): void;
  stop(): Promise<void>;
}

/** Answers of one port that wait for the store. */
const PORT_SHARE = 8;
const RETRY_MS = 5_000;
/** The longest a timer of Node may be, less a little. */
const LONGEST_WAIT = 2_000_000_000;

/** Interface indexes are used again, and an operator may give the port to another guest while its answer waits. */
const isSame = (now: Learner | undefined, then: Learner): now is Learner =>
  now?.attachment.guest === then.attachment.guest &&
  now.attachment.nic === then.attachment.nic &&
  now.identity.mac === then.identity.mac &&
  now.identity.network === then.identity.network;

/** What one port is given and takes back keeps its order; ports do not wait for each other. */
function byPort(jobs: readonly LearnJob[]): readonly (readonly LearnJob[])[] {
  const ports = new Map<number, LearnJob[]>();
  for (const job of jobs) {
    const { ifindex } = job.learner.attachment;
    ports.set(ifindex, [...(ports.get(ifindex) ?? []), job]);
  }
  return [...ports.values()];
}

export function createLearnQueue({ core, tally, learnerAt, settled }: LearnQueueParts): LearnQueue {
  const { frames, clock, nft, log } = core.parts;
  const gate = createLeaseGate(nft, core.enforcer.table, clock);
  let jobs: LearnJob[] = [];
  let draining: Promise<void> | undefined;
  let alarm: NodeJS.Timeout | undefined;

  function add(job: LearnJob): void {
    const { ifindex } = job.learner.attachment;
    const waiting = jobs.filter(({ learner }) => learner.attachment.ifindex === ifindex);
    if (waiting.length >= PORT_SHARE) tally.refused("full");
    else {
      jobs.push(job);
      draining ??= drain();
    }
  }

  async function drain(): Promise<void> {
    while (jobs.length > 0) {
      // What came in the same moment goes into the same pass.
      await new Promise((resolve) => setImmediate(resolve));
      const batch = jobs;
      jobs = [];
      const done: LearnJob[] = [];
      await core.serial(async () => {
        await Promise.all(
          byPort(batch).map(async (own) => {
            for (const job of own) if (await perform(job)) done.push(job);
          }),
        );
      });
      // A new address is another site: a pass is under way.
      await core.loop.settled();
      syncOrRetry();
      for (const job of done) release(job);
    }
    draining = undefined;
  }

  /** @returns whether the guest may hear of it */
  async function perform({ learner, family, gift }: LearnJob): Promise<boolean> {
    const { attachment } = learner;
    const now = learnerAt(attachment.ifindex);
    if (!isSame(now, learner)) return false;
    try {
      if (gift === undefined) {
        await takeBack(learner, family);
        return true;
      }
      const why = await bind(core, now, gift);
      if (why !== undefined) tally.refusedAddress(attachment, gift.address, why);
      return why === undefined;
    } catch (error) {
      log.warn({ error: String(error), port: attachment.port }, "a learned address could not be written down");
      tally.refused("journal");
      return false;
    }
  }

  async function takeBack({ attachment }: Learner, family: Family): Promise<void> {
    const leases = leasesOf(core, attachment, family);
    await end(core, leases);
    if (leases.length > 0) tally.add("ended");
  }

  function release({ learner, family, gift, frame }: LearnJob): void {
    const { ifindex, port } = learner.attachment;
    if (gift !== undefined && !isEnforced(ifindex, gift.address)) {
      tally.refused("journal");
      return;
    }
    if (gift !== undefined) {
      tally.add("bound");
      tally.settled(port);
      settled(learner, family);
    }
    if (frame !== undefined) deliver(learner, frame);
  }

  function deliver({ attachment }: Learner, bytes: Uint8Array): void {
    frames.send([{ ifindex: attachment.ifindex, bytes }]);
  }

  function isEnforced(ifindex: number, address: IpAddress): boolean {
    const state = core.ports.byIndex(ifindex);
    const sources = state?.state === "applied" ? state.wish?.binding.sources : undefined;
    return sources?.some(({ what }) => "address" in what && what.address === address) === true;
  }

  function leaseEnds(): LeaseEnds {
    const ends = { ip4: new Map<number, number>(), ip6: new Map<number, number>() };
    const learners = core.ports.list().filter(({ wish }) => wish?.binding.learns === true);
    for (const { attachment } of learners) {
      const enforced = leasesOf(core, attachment).filter(({ address }) => isEnforced(attachment.ifindex, address));
      for (const { address, expiresAt } of enforced)
        ends[isIpv6(address) ? "ip6" : "ip4"].set(attachment.ifindex, expiresAt);
    }
    return ends;
  }

  function sync(): void {
    const ends = leaseEnds();
    gate.sync(ends);
    clearTimeout(alarm);
    const next = Math.min(...ends.ip4.values(), ...ends.ip6.values());
    if (next === Number.POSITIVE_INFINITY) return;
    const wait = next - clock.now();
    // What is over and still there could not be written down: the kernel has shut it, and there is time.
    alarm = setTimeout(core.loop.wake, wait > 0 ? Math.min(wait, LONGEST_WAIT) : RETRY_MS);
    alarm.unref();
  }

  function syncOrRetry(): void {
    try {
      sync();
    } catch (error) {
      log.warn({ error: String(error) }, "the kernel was not told how long leases last");
      core.loop.wake();
    }
  }

  /** A store that cannot write must not keep a pass from repairing rules; what is over is shut by the kernel meanwhile. */
  async function sweepAll(): Promise<void> {
    try {
      await sweep(core);
    } catch (error) {
      log.warn({ error: String(error) }, "learned addresses that are over still stand in the store");
    }
  }

  return {
    add,
    deliver,
    sweep: sweepAll,
    sync,
    stop: async () => {
      clearTimeout(alarm);
      while (draining !== undefined) await draining;
    },
  };
}
