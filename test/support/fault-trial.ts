/** One fault after the other in one world: what is asked meanwhile and told, how long until all is as it should be, and what must hold after each. */
import { appendFileSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { env } from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { expect } from "vitest";
import { getLease } from "../../src/lab/dhcp-client.ts";
import { patience } from "../../src/lab/patience.ts";
import type { GuestBox, HostBox } from "../../src/lab/topology.ts";
import { GuardError } from "../../src/model/errors.ts";
import { createLedger, holderOf, type Ledger, type StoredSite, storedSite, storeFaults } from "./fault-ledger.ts";
import { type PingReport, startWatch, type Watch } from "./fault-watch.ts";
import {
  type FaultHost,
  type FaultWorld,
  guestText,
  isRoutedGuest,
  type Mover,
  ROOMY_NETWORK,
  raiseFaultWorld,
} from "./fault-world.ts";
import { eventually } from "./guarded-lab.ts";

export interface Trial {
  readonly world: FaultWorld;
  readonly watch: Watch;
  readonly ledger: Ledger;
  /** What became of it: `done`, or the code of the refusal. Nothing else is thrown. */
  apply(host: FaultHost, names: readonly string[]): Promise<string>;
  remove(host: FaultHost, name: string): Promise<string>;
  move(mover: Mover, to: HostBox): Promise<string>;
  attach(guest: GuestBox): Promise<string>;
  detach(guest: GuestBox): Promise<string>;
  /** What the store holds, as a majority of its members says. */
  site(): Promise<StoredSite>;
  /** A DHCP client in the guest asks for its address. */
  lease(guest: GuestBox): Promise<void>;
  /** The fault, begun and mended; then everything that must hold. It says when it is mended, at its end by default. */
  suffer(name: string, fault: (mended: () => void) => Promise<void>): Promise<void>;
  /** What never happened is seen when it is made to happen: what was silent is heard, two who answer are counted, a lost change is missed. */
  control(): Promise<void>;
  end(): Promise<void>;
}

const DATA = "vifguard/1/data/";
/** In milliseconds. */
const CONVERGES_WITHIN = 20_000;
/** Of a log, in characters. */
const LAST_WORDS = 3_000;
/** What the site says, without what rounding takes. */
const LEASE_MS = 3_600_000 - 2_000;
/** A steady guest must not be without an answer for longer; pings are a tenth of a second apart. */
const LONGEST_GAP = 1_000;

/** Several at once show whether a change is made whole. */
const guestsText = (names: readonly string[]): string =>
  names.map((name) => guestText(name, `network: ${ROOMY_NETWORK}`)).join("\n---\n");

async function outcome(act: () => Promise<void>): Promise<string> {
  try {
    await act();
    return "done";
  } catch (cause) {
    if (cause instanceof GuardError) return cause.code;
    throw cause;
  }
}

function asking(world: FaultWorld, ledger: Ledger) {
  /** Until an answer comes nobody knows: so from the moment it is asked. */
  async function ask(guests: readonly string[], act: () => Promise<void>): Promise<string> {
    for (const guest of guests) ledger.unsure(guest);
    return outcome(act);
  }
  return {
    apply: (host: FaultHost, names: readonly string[]) =>
      ask(names, async () => {
        const changes = await host.client.apply([{ path: "a", text: guestsText(names) }], { dryRun: false });
        for (const { name, sentences } of changes) {
          const [, address] = /assign ([\d.]+)/.exec(sentences.join(" ")) ?? [];
          if (address !== undefined) ledger.guest(name, address);
        }
      }),
    remove: (host: FaultHost, name: string) =>
      ask([name], async () => {
        await host.client.remove("guest", name);
        ledger.gone(name);
      }),
    move: async ({ guest, portAt }: Mover, to: HostBox) => {
      const port = portAt[to] ?? "";
      return ask([], async () => {
        ledger.unsure(guest.box);
        await world.at(to).client.attach({ port, guest: guest.box, move: "ask" });
        ledger.attached(guest.box, to, port);
      });
    },
    attach: (guest: GuestBox) =>
      ask([guest.box], async () => {
        await world.hostOf(guest).client.attach({ port: guest.port, guest: guest.box });
        ledger.attached(guest.box, guest.on, guest.port);
      }),
    detach: (guest: GuestBox) =>
      ask([guest.box], async () => {
        await world.hostOf(guest).client.detach(guest.port);
        ledger.detached(guest.box, guest.on, guest.port);
      }),
  };
}

/** Until a change can be made again, and until every host has it and the store has all that was told; milliseconds. */
function convergence(
  { hosts, steady }: FaultWorld,
  ask: ReturnType<typeof asking>,
  untold: () => Promise<string | undefined>,
) {
  let round = 0;
  async function until(what: () => Promise<string | undefined>, began: number): Promise<number> {
    for (;;) {
      const missing = await what();
      if (missing === undefined) return Math.round(performance.now() - began);
      if (performance.now() - began > patience(CONVERGES_WITHIN)) throw new Error(`not after so long: ${missing}`);
      await sleep(20);
    }
  }
  async function lacking({ box, client }: FaultHost, probe: string): Promise<string | undefined> {
    const status = await client.status().catch(() => undefined);
    if (status === undefined) return `${box} has no agent`;
    const [fault] = status.conditions.filter(({ code }) => code !== "MOVE_WAITING");
    if (fault !== undefined) return `${box}: ${fault.code} ${fault.text}`;
    const shut = steady.find(
      (guest) =>
        guest.on === box && !status.ports.some(({ port, state }) => port === guest.port && state === "applied"),
    );
    if (shut !== undefined) return `${box} ${shut.port} is shut`;
    const guests = await client.list("guest");
    return guests.some(({ name }) => name === probe) ? undefined : `${box} has not heard of ${probe}`;
  }
  return async (began: number): Promise<{ readonly writable: number; readonly whole: number }> => {
    round += 1;
    const probe = `probe${round}`;
    const host = hosts[round % hosts.length];
    if (host === undefined) throw new TypeError("no hosts");
    const writable = await until(async () => {
      const code = await ask.apply(host, [probe]);
      return code === "done" ? undefined : `${host.box} cannot change anything: ${code}`;
    }, began);
    for (const one of hosts) await until(() => lacking(one, probe), began);
    const heard = Math.round(performance.now() - began);
    // What a host kept while the store was away is handed over in its own time.
    const whole = (await untold()) === undefined ? heard : await until(untold, began);
    await ask.remove(host, probe);
    return { writable, whole };
  };
}

function record(row: Readonly<Record<string, string | number>>): void {
  const file = env["VIFGUARD_FAULTS_TABLE"];
  if (file !== undefined) appendFileSync(file, `${JSON.stringify(row)}\n`);
}

type Looked = Pick<Trial, "world" | "watch" | "ledger" | "site">;

/** What must hold of the store, of what was told and of what hosts say of themselves. */
async function checkStore({ world, ledger, site }: Looked, fault: string): Promise<StoredSite> {
  const now = await site();
  expect(storeFaults(now), `${fault}: the store contradicts itself`).toEqual([]);
  expect(ledger.broken(now), `${fault}: what was told is not so`).toEqual([]);
  for (const { box, client } of world.hosts)
    for (const { port, guest, state } of (await client.status()).ports)
      if (state === "applied") expect(holderOf(now, guest), `${fault}: ${box} has ${port} open`).toBe(`${box}/${port}`);
  return now;
}

/** @param settledAt when all was whole again */
function checker(looked: Looked) {
  const { world, watch } = looked;
  const { steady, strangers, tenant } = world;
  async function checkTenant(fault: string, now: StoredSite, settledAt: number): Promise<void> {
    const isHeard = async (): Promise<boolean> => watch.heard(tenant, settledAt) > 0;
    const isAttached = now.has(`attachment/${tenant.on}/${tenant.port}`);
    expect(isAttached ? await eventually(isHeard, 5_000) : await isHeard(), `${fault}: the port of ${tenant.box}`).toBe(
      isAttached,
    );
  }
  return async (fault: string, since: number, settledAt: number): Promise<void> => {
    const now = await checkStore(looked, fault);
    expect(watch.doubled(since), `${fault}: two answer for one address`).toEqual([]);
    for (const guest of strangers)
      expect(watch.heard(guest, since), `${fault}: the shut port of ${guest.box} lets through`).toBe(0);
    await checkTenant(fault, now, settledAt);
    const pings = watch.pings(since);
    expect(
      pings.filter(({ twice }) => twice > 0),
      `${fault}: two ports let one guest through`,
    ).toEqual([]);
    const isCut = ({ box, lost, gap }: PingReport): boolean =>
      steady.some((guest) => guest.box === box) && (lost > 0 || gap > patience(LONGEST_GAP));
    expect(pings.filter(isCut), `${fault}: a guest was cut off`).toEqual([]);
    for (const { address } of watchedIn(world)) {
      const isAnswered = async (): Promise<boolean> => watch.answered(address, settledAt) > 0;
      expect(await eventually(isAnswered, 5_000), `${fault}: control, ${address} is answered for`).toBe(true);
    }
  };
}

async function control({ world, watch, ledger, site }: Looked): Promise<void> {
  const { lab, steady, strangers } = world;
  for (const guest of strangers) {
    const from = Date.now();
    const { client } = world.hostOf(guest);
    await client.attach({ port: guest.port, guest: guest.box });
    expect(await eventually(async () => watch.heard(guest, from) > 0, 5_000), guest.box).toBe(true);
    await client.detach(guest.port);
  }
  const since = Date.now();
  for (const { address } of steady) await lab.must("gw", ["ip", "address", "add", `${address}/32`, "dev", "eth0"]);
  const doubled = (): ReadonlySet<string> => new Set(watch.doubled(since).map(({ address }) => address));
  expect(await eventually(async () => doubled().size === steady.length, 5_000), "two who answer").toBe(true);
  const now = await site();
  const torn = new Map([...now].filter(([key]) => !/^(?:address|attachment)\//.test(key)));
  expect(storeFaults(torn).length, "a store that contradicts itself").toBeGreaterThan(0);
  for (const { box } of steady) ledger.gone(box);
  expect(ledger.broken(now).length, "what was told and is not so").toBe(steady.length);
}

/** What agents said last, and what they say of their ports, beside whatever failed: the lab is gone afterwards. */
function orTell({ lab, hosts }: FaultWorld, suffer: Trial["suffer"]): Trial["suffer"] {
  return async (fault, act) => {
    try {
      await suffer(fault, act);
    } catch (cause) {
      for (const { box, client } of hosts) {
        const log = await readFile(`${lab.directory}/${box}-agent.log`, "utf8").catch(() => "");
        const ports = await client
          .status()
          .then(
            (status) => status.ports.map(({ port, guest, state, why }) => [port, guest, state, why ?? ""].join(" ")),
            String,
          );
        console.error(`${fault}, ${box}:`, ports, log.slice(-LAST_WORDS));
      }
      throw cause;
    }
  };
}

/** Whom the LAN asks for all the time. */
const watchedIn = ({ steady, movers }: FaultWorld): readonly GuestBox[] => [
  ...steady,
  ...movers.map(({ guest }) => guest),
];

/** Nothing is left when it fails. */
export async function startTrial(name: string): Promise<Trial> {
  const world = await raiseFaultWorld(name);
  try {
    const { steady, movers, strangers, tenant, members, lab } = world;
    const ledger = createLedger();
    for (const guest of watchedIn(world)) ledger.attached(guest.box, guest.on, guest.port);
    const watch = await startWatch(lab, watchedIn(world), [...strangers, tenant], (guest) => !isRoutedGuest(guest));
    const ask = asking(world, ledger);
    const site = async (): Promise<StoredSite> =>
      storedSite(await members.ctl("get", DATA, "--prefix", "-w", "json"), DATA);
    const converge = convergence(world, ask, async () => ledger.broken(await site())[0]);

    const check = checker({ world, watch, ledger, site });

    return {
      world,
      watch,
      ledger,
      ...ask,
      site,
      lease: async (guest) => {
        const asked = Date.now();
        const address = await getLease(lab, guest.box, "udhcpc");
        expect(address).toBe(guest.address);
        ledger.leased("lan0", address, asked + LEASE_MS);
      },
      suffer: orTell(world, async (fault, act) => {
        const since = Date.now();
        let began: number | undefined;
        await act(() => {
          began = performance.now();
        });
        const { writable, whole } = await converge(began ?? performance.now());
        const settledAt = Date.now();
        // Long enough for two questions to each guest.
        await sleep(patience(600));
        const pings = watch.pings(since);
        const gapOf = (guests: readonly GuestBox[]): number =>
          Math.max(...pings.filter(({ box }) => guests.some((guest) => guest.box === box)).map(({ gap }) => gap));
        record({
          fault,
          writable,
          whole,
          gap: gapOf(steady),
          moverGap: gapOf(movers.map(({ guest }) => guest)),
          told: ledger.size(),
        });
        await check(fault, since, settledAt);
      }),
      control: () => control({ world, watch, ledger, site }),
      end: async () => {
        await watch.stop();
        await world.down();
      },
    };
  } catch (cause) {
    await world.down();
    throw cause;
  }
}
