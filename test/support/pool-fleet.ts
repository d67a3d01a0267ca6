/**
 * Agents on memory kernels over one store, whose clocks jump and whose transactions can be cut short, and a ledger of who had which address and MAC when, kept
 * from what was committed.
 */
import { setImmediate as turn } from "node:timers/promises";
import type { Agent } from "../../src/agent/agent.ts";
import { loadSite } from "../../src/config/load.ts";
import { memoryLinks } from "../../src/kernel/links-memory.ts";
import { memoryNft } from "../../src/kernel/nft-memory.ts";
import { GuardError } from "../../src/model/errors.ts";
import { decodeRecord } from "../../src/store/collections.ts";
import type { Store, Transaction } from "../../src/store/store.ts";
import { startMemoryAgent } from "./memory-agent.ts";
import { hostIdOf } from "./names.ts";

export const poolSite = (range: string, coolDown: number, scheme = "ip"): string =>
  `{ kind: network, name: lan0, spec: { prefix4: 10.0.0.0/16, gateway4: 10.0.0.1, range4: [${range}], coolDown: ${coolDown},
    wiring: { kind: bridged, bridge: br0 }, addressing: { kind: managed, macScheme: ${scheme} } } }`;
export const poolGuest = (name: string): string =>
  `{ kind: guest, name: ${name}, spec: { nics: [{ network: lan0 }] } }`;

/** How a transaction of a host ends that is cut short. */
export type Cut = "before" | "after";

interface Made {
  readonly revision: number;
  readonly transaction: Transaction;
  /** By the store's time, when it was asked for and when it was answered. */
  readonly from: number;
  readonly to: number;
}

/** What a guest holds, as it is written: `lan0/10.0.0.5`, a MAC. */
function holdingsOf(key: string, value: unknown): readonly string[] {
  const record = decodeRecord(key, JSON.parse(JSON.stringify(value)));
  if (record.kind !== "guest") return [];
  return record.value.nics.flatMap(({ network, mac, addresses4 }) => [
    mac,
    ...addresses4.map((address) => `${network}/${address}`),
  ]);
}

/** Two owners of one thing, or another one before it had cooled down; in the order of the store. */
function faultsIn(made: readonly Made[], coolDown: number): readonly string[] {
  const faults: string[] = [];
  const holders = new Map<string, string>();
  const left = new Map<string, { readonly guest: string; readonly at: number }>();

  function leave(guest: string, at: number): void {
    const own = [...holders].filter(([, holder]) => holder === guest);
    for (const [what] of own) {
      holders.delete(what);
      left.set(what, { guest, at });
    }
  }
  function take(what: string, guest: string, at: number): void {
    const [other, before] = [holders.get(what), left.get(what)];
    if (other !== undefined) faults.push(`${what} is given to ${guest} while ${other} has it`);
    const since = before === undefined || before.guest === guest ? Number.POSITIVE_INFINITY : at - before.at;
    if (since < coolDown * 1000)
      faults.push(`${what} is given to ${guest} ${since} ms after ${before?.guest} gave it up`);
    holders.set(what, guest);
  }
  for (const { transaction, from, to } of [...made].sort((a, b) => a.revision - b.revision)) {
    const guests = transaction.writes.filter(({ key }) => key.startsWith("guest/"));
    for (const { key } of guests) leave(key, from);
    for (const write of guests)
      if (write.op === "put") for (const what of holdingsOf(write.key, write.value)) take(what, write.key, to);
  }
  return faults;
}

export interface PoolFleet {
  readonly hosts: readonly PoolHost[];
  /** What must never be. */
  faults(): readonly string[];
  /** How often a transaction came too late. */
  readonly conflicts: number;
  /** Until every agent has seen what the store holds now. */
  settled(): Promise<void>;
  stop(): Promise<void>;
}

export interface PoolHost {
  readonly agent: Agent;
  /** @returns what became of it: `ok`, or the code of the error */
  add(...guests: readonly string[]): Promise<string>;
  remove(guest: string): Promise<string>;
  /** Its next transaction ends so. */
  cut(how: Cut): void;
  /** Sets its clock. */
  jump(milliseconds: number): void;
}

export async function codeOf(work: Promise<unknown>): Promise<string> {
  try {
    await work;
    return "ok";
  } catch (error) {
    if (error instanceof GuardError) return error.code;
    throw error;
  }
}

/**
 * @param stores one for each host, or the same for all
 * @param now the store's time, in milliseconds
 */
export async function startPoolFleet(
  stores: readonly Store[],
  now: () => number,
  { range, coolDown, scheme }: { readonly range: string; readonly coolDown: number; readonly scheme?: string },
): Promise<PoolFleet> {
  const made: Made[] = [];
  let conflicts = 0;

  async function startHost(store: Store, n: number): Promise<PoolHost> {
    let cut: Cut | undefined;
    let offset = 0;
    const lost = (): GuardError => new GuardError("STORE_UNAVAILABLE", "cut short for the test");
    const witnessed: Store = {
      ...store,
      commit: async (transaction) => {
        const how = cut;
        cut = undefined;
        if (how === "before") throw lost();
        const from = now();
        const commit = await store.commit(transaction);
        if (commit.ok) made.push({ revision: commit.revision, transaction, from, to: now() });
        else conflicts += 1;
        if (how === "after") throw lost();
        return commit;
      },
    };
    const host = hostIdOf(`h${n}`);
    const clock = { now: () => now() + offset };
    const links = memoryLinks();
    links.add("br0", "bridge");
    const agent = await startMemoryAgent({ nft: memoryNft(), links, store: witnessed, host, clock });
    const apply = (text: string): Promise<unknown> => agent.operations.apply(loadSite(text, "pool"), { dryRun: false });
    if (n === 0) await apply(poolSite(range, coolDown, scheme));
    return {
      agent,
      add: (...guests) => codeOf(apply(guests.map(poolGuest).join("\n---\n"))),
      remove: (guest) => codeOf(agent.operations.remove("guest", guest)),
      cut: (how) => {
        cut = how;
      },
      jump: (milliseconds) => {
        offset = milliseconds;
      },
    };
  }

  const hosts: PoolHost[] = [];
  for (const [n, store] of stores.entries()) hosts.push(await startHost(store, n));

  async function settled(): Promise<void> {
    const [first] = stores;
    const revision = (await first?.read(""))?.revision ?? 0;
    for (const { agent } of hosts) while ((await agent.operations.status()).store.revision < revision) await turn();
  }
  await settled();
  return {
    hosts,
    faults: () => faultsIn(made, coolDown),
    get conflicts() {
      return conflicts;
    },
    settled,
    stop: async () => {
      for (const { agent } of hosts) await agent.stop();
    },
  };
}
