/** The simulated hosts of one process, behind calls that another process can make. */
import { setTimeout as sleep } from "node:timers/promises";
import { createSimHost, type SimHost } from "./host.ts";
import { type FleetSize, guestName, hostName, portName } from "./site.ts";

export interface Part {
  readonly size: FleetSize;
  /** Numbers of its hosts; none: one host without ports, through which the site is changed. */
  readonly hosts: readonly number[];
  readonly endpoints: readonly string[];
  readonly root: string;
  readonly directory: string;
}

export interface Took {
  readonly milliseconds: number;
  /** Of the process's cores. */
  readonly cpu: number;
}

export interface Usage {
  /** Since the process began, in milliseconds of CPU. */
  readonly cpu: number;
  /** In bytes, after a collection. */
  readonly rss: number;
  readonly heap: number;
}

/** What can be asked of a process of hosts. */
export interface Hosts {
  start(): Promise<Took>;
  stop(): Promise<void>;
  apply(text: string): Promise<void>;
  /** To the port of that name, which is plugged if it is not there; to its answer. */
  attach(host: number, guest: number, isMove: boolean): Promise<void>;
  /** How many hosts' rules changed since that moment, and when the last did; 0: none. */
  changedSince(time: number): Promise<{ readonly count: number; readonly last: number }>;
  /** Resolves when no agent has anything to do. */
  settled(): Promise<void>;
  cpu(): Promise<number>;
  usage(): Promise<Usage>;
  /** Ports that are as they should be, of all hosts. */
  applied(): Promise<number>;
  /** In the sets of their rules, of all hosts. */
  elements(): Promise<number>;
}

const cpuNow = (): number => {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
};

function portsOf(size: FleetSize, host: number): readonly string[] {
  return Array.from({ length: size.perHost }, (_, n) => portName(host * size.perHost + n));
}

function hostsOf({ size, hosts, ...where }: Part): ReadonlyMap<number, SimHost> {
  if (hosts.length === 0) return new Map([[-1, createSimHost({ ...where, name: "writer", ports: [] })]]);
  return new Map(
    hosts.map((host) => [host, createSimHost({ ...where, name: hostName(host), ports: portsOf(size, host) })]),
  );
}

function sumOf(all: readonly number[]): number {
  return all.reduce((sum, one) => sum + one, 0);
}

/** The memory that is left when nobody needs the rest: what was freed may take a turn to be given back. */
async function usage(): Promise<Usage> {
  for (let turn = 0; turn < 3; turn += 1) {
    globalThis.gc?.();
    await sleep(50);
  }
  const { rss, heapUsed, external } = process.memoryUsage();
  return { cpu: cpuNow(), rss, heap: heapUsed + external };
}

export function createHosts(part: Part): Hosts {
  const hosts = hostsOf(part);
  const all = [...hosts.values()];

  function host(number: number): SimHost {
    const found = hosts.get(number);
    if (found === undefined) throw new TypeError(`host ${number} is not of this process`);
    return found;
  }
  async function timed(act: () => Promise<unknown>): Promise<Took> {
    const [begun, cpu] = [Date.now(), cpuNow()];
    await act();
    return { milliseconds: Date.now() - begun, cpu: cpuNow() - cpu };
  }
  return {
    // One after the other: real hosts have processors of their own, and none waits for the others' reading.
    start: () =>
      timed(async () => {
        for (const one of all) await one.start();
      }),
    stop: async () => void (await Promise.all(all.map((one) => one.stop()))),
    apply: async (text) => void (await all[0]?.apply(text)),
    attach: async (number, guest, isMove) => {
      const port = portName(guest);
      host(number).plug(port);
      await host(number).attach(port, guestName(guest), isMove);
    },
    changedSince: async (time) => {
      const times = all.map((one) => one.changedAt()).filter((at) => at >= time);
      return { count: times.length, last: Math.max(0, ...times) };
    },
    settled: async () => void (await Promise.all(all.map((one) => one.settled()))),
    cpu: async () => cpuNow(),
    usage,
    applied: async () => sumOf(await Promise.all(all.map((one) => one.applied()))),
    elements: async () => sumOf(all.map((one) => one.elements())),
  };
}
