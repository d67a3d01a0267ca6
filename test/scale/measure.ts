/** What a simulated fleet costs: at rest, for every agent that starts, and for every kind of change until the last agent concerned has it in force. */
import { setTimeout as sleep } from "node:timers/promises";
import { parseIpv4 } from "../../src/model/ipv4.ts";
import { parseMac } from "../../src/model/mac.ts";
import { parseObjectName } from "../../src/model/names.ts";
import { encodeRecord } from "../../src/store/collections.ts";
import type { Write } from "../../src/store/store.ts";
import { type EtcdFigures, etcdFigures } from "./etcd-figures.ts";
import { ROOT, type SimFleet } from "./fleet.ts";
import type { Hosts } from "./hosts.ts";
import { addressOf, baseText, guestName, guestText, networkOf } from "./site.ts";

/** One figure of a run, by its name. */
export type Figures = Readonly<Record<string, number>>;

/** How long is looked, in milliseconds. */
export interface Patience {
  /** What comes later than that after the last change is not awaited. */
  readonly quiet: number;
  readonly rest: number;
}

const LOOK_EVERY = 20;
const GIVE_UP = 300_000;
const LEASES = 100;
/** For every host. */
const KEEP_ALIVES = 100;
const AT_ONCE = 32;

const round = (value: number): number => (Math.abs(value) >= 100 ? Math.round(value) : Number(value.toPrecision(3)));
const sumOf = (all: readonly number[]): number => all.reduce((sum, one) => sum + one, 0);

async function ofAll<T>({ parts }: SimFleet, ask: (part: Hosts) => Promise<T>): Promise<readonly T[]> {
  return Promise.all(parts.map(ask));
}

interface Counts {
  readonly etcd: EtcdFigures;
  readonly cpu: number;
}

async function countsOf(fleet: SimFleet): Promise<Counts> {
  const [etcd, cpu] = await Promise.all([etcdFigures(fleet.etcd.endpoints), ofAll(fleet, (part) => part.cpu())]);
  return { etcd, cpu: sumOf(cpu) };
}

/** What hosts and etcd spend in a second in which nothing happens. */
interface Rest {
  readonly agents: number;
  readonly etcd: number;
}

async function atRest(fleet: SimFleet, milliseconds: number): Promise<Rest> {
  const before = await countsOf(fleet);
  await sleep(milliseconds);
  const seconds = milliseconds / 1_000;
  const after = await countsOf(fleet);
  return { agents: (after.cpu - before.cpu) / seconds, etcd: (after.etcd.cpu - before.etcd.cpu) / seconds };
}

interface Happening {
  readonly name: string;
  /** How often it is done, one after the other. */
  readonly times: number;
  /** Changes in one time; etcd's clock is too coarse for few. */
  readonly many?: number;
  /** How many hosts' rules must change by it. */
  readonly must: number;
  /** @param time counts from 0 */
  act(time: number): Promise<unknown>;
}

/** Until enough hosts changed and nobody did for a while. @returns when the last one did; 0: none */
async function inForce(
  fleet: SimFleet,
  since: number,
  must: number,
  quiet: number,
): Promise<{ count: number; last: number }> {
  for (const until = Date.now() + GIVE_UP; Date.now() < until; await sleep(LOOK_EVERY)) {
    await ofAll(fleet, (part) => part.settled());
    const all = await ofAll(fleet, (part) => part.changedSince(since));
    const [count, last] = [sumOf(all.map((one) => one.count)), Math.max(...all.map((one) => one.last))];
    if (count >= must && Date.now() - Math.max(last, since) > quiet) return { count, last };
  }
  throw new Error(`not in force within ${GIVE_UP / 1000} s`);
}

async function once(fleet: SimFleet, happening: Happening, time: number, quiet: number) {
  const begun = Date.now();
  await happening.act(time);
  const answered = Date.now();
  const { count, last } = await inForce(fleet, begun, happening.must, quiet);
  return { answered: answered - begun, last: Math.max(last, answered) - begun, count };
}

/** Costs of one time: of every agent where all are concerned, else of all together. What passes at rest is taken off. */
async function costOf(fleet: SimFleet, rest: Rest, happening: Happening, quiet: number): Promise<Figures> {
  const { name, times, many = 1 } = happening;
  const { hosts } = fleet.run.size;
  const before = await countsOf(fleet);
  const begun = Date.now();
  const seen = [];
  for (let time = 0; time < times; time += 1) seen.push(await once(fleet, happening, time, quiet));
  const seconds = (Date.now() - begun) / 1_000;
  const after = await countsOf(fleet);
  const worst = (of: readonly number[]): number => Math.max(...of);
  const changes = times * many;
  const agents = after.cpu - before.cpu - rest.agents * seconds;
  const sent = after.etcd.sent - before.etcd.sent;
  const etcd = after.etcd.cpu - before.etcd.cpu - rest.etcd * seconds;
  return {
    [`${name}: answered, ms`]: round(worst(seen.map(({ answered }) => answered)) / many),
    [`${name}: hosts whose rules changed`]: worst(seen.map(({ count }) => count)),
    ...(happening.must > 0
      ? {
          [`${name}: in force on the last host, ms`]: worst(seen.map(({ last }) => last)),
          [`${name}: CPU of an agent, ms`]: round(agents / changes / hosts),
          [`${name}: sent to an agent, bytes`]: round(sent / changes / hosts),
        }
      : {
          [`${name}: CPU of all agents, ms`]: round(agents / changes),
          [`${name}: sent to all agents, bytes`]: round(sent / changes),
        }),
    ...(many === 1 ? {} : { [`${name}: CPU of etcd, ms`]: round(etcd / changes) }),
  };
}

/** A lease as the responder renews it. */
function leaseOf(fleet: SimFleet, guest: number, round: number): Write {
  const { size } = fleet.run;
  const [name, network] = [parseObjectName(guestName(guest)), parseObjectName(`n${networkOf(size, guest)}`)];
  const [address, mac] = [parseIpv4(addressOf(size, guest)), parseMac("fe:00:0a:00:00:0a")];
  if (name === undefined || network === undefined || address === undefined || mac === undefined)
    throw new TypeError(`guest ${guest}`);
  const value = { network, address, guest: name, nic: 0, mac, state: "bound" as const, expiresAt: 3_600_000 + round };
  const what = `${network}/${address}`;
  return { op: "put", ...encodeRecord({ kind: "lease", what, network, address, value }) };
}

const happenings = (fleet: SimFleet): readonly Happening[] => {
  const { size } = fleet.run;
  const { hosts, guests } = size;
  const last = hosts - 1;
  return [
    {
      name: "guest attached",
      times: 5,
      must: 0,
      act: (time) => fleet.partOf(last).attach(last, guests + time, false),
    },
    {
      name: "guest moved",
      times: 3,
      must: 0,
      act: (time) => fleet.partOf(last).attach(last, time, true),
    },
    {
      name: "guest joins a group that all name",
      times: 2,
      must: hosts,
      act: (time) => fleet.writer.apply(guestText(size, [hosts * size.perHost - 1 - time], ["monitor"])),
    },
    {
      name: "rule of the group of 10 000 edited",
      times: 2,
      must: hosts,
      act: (time) => fleet.writer.apply(baseText(9_101 + time)),
    },
    {
      name: "lease renewed",
      times: 1,
      many: LEASES,
      must: 0,
      act: async () => {
        for (let n = 0; n < LEASES; n += 1)
          await fleet.store.commit({ expect: [], writes: [leaseOf(fleet, n % guests, n)] });
      },
    },
  ];
};

/** @param idle of etcd, in milliseconds a second */
async function startAll(fleet: SimFleet, name: string, idle: number): Promise<Figures> {
  const { hosts, perHost } = fleet.run.size;
  const begun = Date.now();
  const before = await countsOf(fleet);
  const took = await ofAll(fleet, (part) => part.start());
  const after = await countsOf(fleet);
  const applied = sumOf(await ofAll(fleet, (part) => part.applied()));
  if (applied < hosts * perHost) throw new Error(`${applied} of ${hosts * perHost} ports are applied`);
  const etcd = after.etcd.cpu - before.etcd.cpu - (idle * (Date.now() - begun)) / 1_000;
  return {
    [`${name}: all done, ms`]: Math.max(...took.map(({ milliseconds }) => milliseconds)),
    [`${name}: CPU of an agent, ms`]: round(sumOf(took.map(({ cpu }) => cpu)) / hosts),
    [`${name}: CPU of etcd for an agent, ms`]: round(etcd / hosts),
    [`${name}: sent to an agent, bytes`]: round((after.etcd.sent - before.etcd.sent) / hosts),
  };
}

/** All members at once; over when a change that comes behind it is in force everywhere. */
async function restartEtcd(fleet: SimFleet, quiet: number): Promise<Figures> {
  const { etcd, run, writer } = fleet;
  const begun = Date.now();
  for (const member of etcd.members) member.kill("SIGKILL");
  await sleep(100);
  for (const member of etcd.members) member.start();
  await etcd.ready();
  const ready = Date.now();
  await writer.apply(baseText(9_200));
  const { last } = await inForce(fleet, ready, run.size.hosts, quiet);
  return { "etcd killed: answers again, ms": ready - begun, "etcd killed: next change in force, ms": last - begun };
}

async function keepAlives(fleet: SimFleet): Promise<Figures> {
  const { store, run } = fleet;
  const leases = await Promise.all(Array.from({ length: run.size.hosts }, () => store.grantLease(60)));
  const before = await countsOf(fleet);
  const begun = Date.now();
  const most = KEEP_ALIVES * leases.length;
  let done = 0;
  async function keep(): Promise<void> {
    while (done < most) {
      const lease = leases[done % leases.length] ?? 0;
      done += 1;
      if (!(await store.keepAlive(lease))) throw new Error("a lease that was kept alive is gone");
    }
  }
  await Promise.all(Array.from({ length: AT_ONCE }, keep));
  const seconds = (Date.now() - begun) / 1_000;
  const after = await countsOf(fleet);
  for (const lease of leases) await store.revokeLease(lease);
  return {
    "keep-alive of a host: a second": round(most / seconds),
    "keep-alive of a host: CPU of etcd, ms": round((after.etcd.cpu - before.etcd.cpu) / most),
  };
}

async function storeFigures(fleet: SimFleet): Promise<Figures> {
  const { size } = fleet.run;
  const { entries } = await fleet.store.read("");
  const bytes = sumOf(
    [...entries].map(([key, { value }]) => `${ROOT}/data/${key}`.length + JSON.stringify(value).length),
  );
  fleet.etcd.ctl("compaction", String((await fleet.store.read("slot")).revision));
  fleet.etcd.ctl("defrag", "--command-timeout=60s");
  const figures = await etcdFigures(fleet.etcd.endpoints);
  return {
    "etcd: keys": entries.size,
    "etcd: keys and values, bytes": bytes,
    "etcd: keys and values of a guest, bytes": round(bytes / size.guests),
    "etcd: database, bytes": figures.database,
    "etcd: resident memory without agents, bytes": figures.rss,
    "site: 1 000 guests applied, ms": fleet.batch,
  };
}

async function memoryFigures(fleet: SimFleet, empty: { readonly rss: number }): Promise<Figures> {
  const { hosts } = fleet.run.size;
  const full = await ofAll(fleet, (part) => part.usage());
  const elements = sumOf(await ofAll(fleet, (part) => part.elements()));
  await ofAll(fleet, (part) => part.stop());
  const kernels = await ofAll(fleet, (part) => part.usage());
  const heap = sumOf(full.map((one) => one.heap)) - sumOf(kernels.map((one) => one.heap));
  return {
    "agent: heap, bytes": round(heap / hosts),
    "agent: resident with its kernel in memory, bytes": round((sumOf(full.map(({ rss }) => rss)) - empty.rss) / hosts),
    "agent: elements in its rules": round(elements / hosts),
  };
}

/** Everything, once. */
export async function measure(fleet: SimFleet, { quiet, rest: long }: Patience): Promise<Figures> {
  const store = await storeFigures(fleet);
  const empty = sumOf((await ofAll(fleet, (part) => part.usage())).map(({ rss }) => rss));
  const idle = await atRest(fleet, long);
  const first = await startAll(fleet, "first start", idle.etcd);
  const rest = await atRest(fleet, long);
  const { watchers, rss } = await etcdFigures(fleet.etcd.endpoints);
  const costs: Figures[] = [];
  for (const happening of happenings(fleet)) costs.push(await costOf(fleet, rest, happening, quiet));
  const broken = await restartEtcd(fleet, quiet);
  const alive = await keepAlives(fleet);
  const memory = await memoryFigures(fleet, { rss: empty });
  const again = await startAll(fleet, "restart of all agents", idle.etcd);
  await ofAll(fleet, (part) => part.stop());
  const atRestFigures = {
    "etcd: watchers": watchers,
    "etcd: resident memory with all agents, bytes": rss,
    "at rest: CPU of an agent, ms a second": round(rest.agents / fleet.run.size.hosts),
    "at rest: CPU of etcd, ms a second": round(rest.etcd),
  };
  return Object.assign({}, store, memory, first, again, ...costs, broken, alive, atRestFigures);
}
