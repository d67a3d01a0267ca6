/**
 * Hosts on memory kernels over one store, whose agents can be cut short at any touch of kernel or store, and whose line to the store can be cut. A kernel outlives
 * its agents, as real ones do. After every touch it is looked who answers for the NIC.
 */
import { setImmediate as turn } from "node:timers/promises";
import type { Agent } from "../../src/agent/agent.ts";
import type { AgentParts } from "../../src/agent/core.ts";
import type { Client } from "../../src/api/client.ts";
import { loadSite } from "../../src/config/load.ts";
import { memoryFrames } from "../../src/kernel/frames-memory.ts";
import { memoryLinks } from "../../src/kernel/links-memory.ts";
import { memoryNft } from "../../src/kernel/nft-memory.ts";
import type { RouteItem } from "../../src/kernel/routes.ts";
import { memoryRoutes } from "../../src/kernel/routes-memory.ts";
import { memorySysctls } from "../../src/kernel/sysctls.ts";
import type { Clock } from "../../src/model/clock.ts";
import { GuardError } from "../../src/model/errors.ts";
import type { MoveKind, PortView } from "../../src/model/operations.ts";
import { settingNames, settingTable } from "../../src/model/settings.ts";
import { hostU32 } from "../../src/ruleset/element-bytes.ts";
import { createStoreHealth } from "../../src/store/health.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Change, Store, Place as StorePlace } from "../../src/store/store.ts";
import { clock, startMemoryAgent } from "./memory-agent.ts";
import { hostIdOf, interfaceOf } from "./names.ts";

export const fleetWired = ["bridged", "routed", "brouted", "transport", "nat"] as const;
export type Wired = (typeof fleetWired)[number];

/** One life of one agent: how many touches it has left, and whether the one that is one too many ends it or is only refused. */
interface Life {
  touches: number;
  left: number;
  kind: "crash" | "refuse";
  over: boolean;
  /** What a process takes along when it ends: its timers. */
  ended: () => void;
}

class Gone extends GuardError {
  constructor() {
    super("INTERNAL", "this agent is no more");
  }
}

function touch(life: Life): void {
  if (life.over) throw new Gone();
  life.touches += 1;
  life.left -= 1;
  if (life.left !== 0) return;
  if (life.kind === "refuse") throw new GuardError("KERNEL_REFUSED", "refused for the test");
  end(life);
  throw new Gone();
}

function end(life: Life): void {
  life.over = true;
  life.ended();
}

type Call = (...args: readonly unknown[]) => unknown;

const isCall = (value: unknown): value is Call => typeof value === "function";

/** Looking changes nothing: an agent that ends there might as well have ended at its next touch. */
const LOOKS =
  /^(?:list|byName|byIndex|fdb|isOwnAddress|elements|lookup|portChain|portChains|tables|listTable|held|watch|close)$/;

/** The same seam, each of whose calls that changes something is a touch; what it tells a dead agent is not heard. */
function touched<T extends object>(seam: T, life: Life, after: () => void): T {
  const hearing = (arg: unknown): unknown =>
    isCall(arg) ? (...heard: readonly unknown[]) => (life.over ? undefined : arg(...heard)) : arg;
  return new Proxy(seam, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name);
      if (!isCall(value)) return value;
      return (...args: readonly unknown[]) => {
        if (life.over) throw new Gone();
        if (!LOOKS.test(String(name))) touch(life);
        const result = value(...args.map(hearing));
        after();
        return result;
      };
    },
  });
}

interface Line {
  cut: boolean;
  /** Only what others write is not heard. */
  deaf: boolean;
  readonly waiting: (() => void)[];
}

const cutOff = (): GuardError => new GuardError("STORE_UNAVAILABLE", "cut off for the test");

function storeSeenBy(store: Store, life: Life, line: Line): Store {
  const restored = async (): Promise<void> => {
    while (line.cut || line.deaf) await new Promise<void>((resolve) => line.waiting.push(resolve));
  };
  async function reached<T>(act: () => Promise<T>): Promise<T> {
    if (life.over) throw new Gone();
    if (line.cut) throw cutOff();
    return act();
  }
  async function* watch(place: StorePlace, after: number, signal: AbortSignal): AsyncGenerator<Change> {
    for await (const change of store.watch(place, after, signal)) {
      await restored();
      if (life.over) return;
      yield change;
    }
  }
  return {
    ...store,
    watch,
    read: async (prefix) => {
      touch(life);
      if (line.cut) throw cutOff();
      return store.read(prefix);
    },
    grantLease: (seconds) => reached(() => store.grantLease(seconds)),
    keepAlive: (lease) => reached(() => store.keepAlive(lease)),
    commit: async (transaction) => {
      touch(life);
      if (line.cut) throw cutOff();
      const commit = await store.commit(transaction);
      // Durable, but the agent may not live to know it.
      if (life.left === 1 && life.kind === "crash") end(life);
      if (life.over) throw new Gone();
      return commit;
    },
  };
}

interface Place {
  readonly wiring: string;
  readonly network: string;
  readonly nic: string;
  /** What the LAN finds the guest by. */
  readonly address: Uint8Array;
}

const own = "gateway4: 10.0.0.1\n  range4: [10.0.0.10-10.0.0.99]\n  addressing: { kind: managed, macScheme: ip }";
const places: Readonly<Record<Wired, Place>> = {
  bridged: {
    wiring: "{ kind: bridged, bridge: br0, uplink: eth0 }",
    network: own,
    nic: "address4: 10.0.0.10",
    address: Uint8Array.of(10, 0, 0, 10),
  },
  routed: {
    wiring: "{ kind: routed, uplink: eth0 }",
    network: own,
    nic: "address4: 10.0.0.10",
    address: Uint8Array.of(10, 0, 0, 10),
  },
  brouted: {
    wiring: "{ kind: brouted, bridge: br0 }",
    network: own,
    nic: "address4: 10.0.0.10",
    address: Uint8Array.of(10, 0, 0, 10),
  },
  transport: {
    wiring: "{ kind: transport, uplink: eth0, link4: 31 }",
    network: "range4: [10.0.0.0-10.0.0.255]",
    nic: "address4: 10.0.0.11, addresses: [198.51.100.64/28]",
    address: Uint8Array.of(10, 0, 0, 11),
  },
  nat: {
    wiring: "{ kind: nat, uplink: eth0 }",
    network: own,
    nic: "address4: 10.0.0.10, public4: 203.0.113.5",
    address: Uint8Array.of(203, 0, 113, 5),
  },
};

export const addressOf = (wired: Wired): Uint8Array => places[wired].address;

function site(wired: Wired): string {
  const { wiring, network, nic } = places[wired];
  return `kind: network
name: lan0
spec:
  prefix4: 10.0.0.0/24
  ${network}
  wiring: ${wiring}
---
kind: guest
name: web1
spec: { nics: [ { network: lan0, ${nic} } ] }
`;
}

const ADDRESS = Uint8Array.of(10, 0, 0, 10);
/** Keyed by addresses alone. */
const addressSets = ["answers4"] as const;

/** Address and MAC of one. */
const NEIGHBOUR = [10, 0, 0, 2, 2, 0, 0, 0, 0, 2, 0, 0];

/** By what of the host's routing the LAN finds the guest, besides its port. */
const finds: Readonly<Record<Wired, RouteItem["kind"]>> = {
  bridged: "proxy",
  brouted: "proxy",
  routed: "proxy",
  transport: "route",
  nat: "proxy",
};

/** What a host is started with besides, asked at every start. */
export type OwnParts = (
  label: string,
) => Partial<Pick<AgentParts, "host" | "epoch" | "clock" | "presence" | "movePatience">>;

function createHost(name: string, wired: Wired, store: Store, looked: () => void, own: OwnParts) {
  const [nft, links, routes, sysctls, frames] = [
    memoryNft(),
    memoryLinks(),
    memoryRoutes(),
    memorySysctls(),
    memoryFrames(),
  ];
  const line: Line = { cut: false, deaf: false, waiting: [] };
  const health = createStoreHealth();
  const noLife: Life = { touches: 0, left: 0, kind: "crash", over: true, ended: () => undefined };
  let life = noLife;
  let agent: Agent | undefined;

  function add(text: string, kind?: string): void {
    for (const setting of settingNames) sysctls.define(settingTable[setting].path(interfaceOf(text)), 0);
    links.add(text, kind);
  }
  add("eth0");
  add("br0", "bridge");

  const linkOf = (port: string) => links.list().find((link) => link.name === port);

  async function start(): Promise<void> {
    if (!life.over) return;
    const born: Life = { ...noLife, over: false };
    life = born;
    const started = await startMemoryAgent({
      nft: touched(nft, born, looked),
      links: touched(links, born, looked),
      routing: { routes: touched(routes, born, looked), sysctls },
      frames,
      store: storeSeenBy(store, born, line),
      host: hostIdOf(name),
      movePatience: 20,
      carrierEvery: 10,
      storeHealth: health,
      scope: "host",
      ...own(name),
    }).catch((error: unknown) => {
      // Without the store it does not start, and is no agent.
      born.over = true;
      throw error;
    });
    born.ended = () => void started.stop().catch(() => undefined);
    if (born.over) born.ended();
    agent = started;
  }

  function running(): Agent {
    if (agent === undefined) throw new TypeError(`nothing was started on ${name}`);
    return agent;
  }

  return {
    name,
    start,
    /** At once: nothing of it touches anything any more. */
    crash: () => {
      if (!life.over) end(life);
    },
    /** Its touch of that number from now on ends it, or is refused. */
    limit: (touches: number, kind: Life["kind"]) => {
      life.left = touches;
      life.kind = kind;
    },
    get touches() {
      return life.touches;
    },
    get isOver() {
      return life.over;
    },
    cut: () => {
      line.cut = true;
    },
    /** It reads and writes, and its watches tell nothing until it is healed. */
    deafen: () => {
      line.cut = false;
      line.deaf = true;
    },
    /** What a store behind a network says of itself; what is read then is this host's copy of it. */
    health,
    heal: () => {
      line.cut = false;
      line.deaf = false;
      for (const wake of line.waiting.splice(0)) wake();
    },
    plug: (port: string) => {
      if (linkOf(port) === undefined) add(port);
    },
    /** As a port is left that let go of its NIC. */
    shut: (port: string) => {
      const ifindex = linkOf(port)?.ifindex ?? 0;
      links.setUp(ifindex, false);
      links.setMaster(ifindex, 0);
      for (const item of routes.held()) routes.remove(item);
    },
    unplug: (port: string) => links.remove(linkOf(port)?.ifindex ?? 0),
    attach: (port: string, move?: MoveKind): Promise<PortView> =>
      running().operations.attach({ port, guest: "web1", nic: 0, ...(move === undefined ? {} : { move }) }),
    /** Beside the port that has the NIC: of the two one is open. */
    standIn: (port: string, standsInFor: string): Promise<PortView> =>
      running().operations.attach({ port, guest: "web1", nic: 0, standsInFor }),
    /** The guest connects its driver there, or does not any more. */
    connect: (port: string, isConnected: boolean) => links.setCarrier(linkOf(port)?.ifindex ?? 0, isConnected),
    detach: (port: string) => running().operations.detach(port),
    apply: () => running().operations.apply(loadSite(site(wired), "site"), { dryRun: false }),
    remove: () => running().operations.remove("guest", "web1"),
    status: () => running().operations.status(),
    /** As callers see it. */
    client: (): Client => ({
      ...running().operations,
      apply: () => Promise.reject(new TypeError("sites are applied otherwise here")),
    }),
    get operations() {
      return running().operations;
    },
    /** Whether its kernel holds anything of vifguard. */
    isTouched: () => nft.tables("netdev").length > 0,
    settled: () => running().settled(),
    /** Has every agent make a pass, as another program's hand at the rules would. */
    disturb: () => nft.meddle("flush"),
    frames,
    linkOf,
    /** What the kernel holds of the guest's address, whichever port it is for: proxy entries, and elements of sets. */
    ofAddress: (): readonly string[] => {
      const isOwn = (octets: Uint8Array): boolean => octets.join().includes(ADDRESS.join());
      const elements = [...nft.tables("netdev")].flatMap((table) =>
        addressSets.flatMap((set) =>
          (nft.elements({ family: "netdev", table, set }) ?? []).flatMap(({ key }) => (isOwn(key) ? set : [])),
        ),
      );
      return [...elements, ...routes.held("proxy").flatMap(({ kind, address }) => (isOwn(address) ? kind : []))];
    },
    /** As the rules do when a neighbour has answered the guest. */
    learn: (port: string): void => {
      const [table = ""] = nft.tables("netdev");
      const key = Uint8Array.of(...hostU32(linkOf(port)?.ifindex ?? 0), ...NEIGHBOUR);
      nft.commit([{ op: "add-elements", set: { family: "netdev", table, set: "resolved4" }, elements: [{ key }] }]);
    },
    /** Whether the rules of the port know that neighbour. */
    knows: (port: string): boolean => {
      const key = [...hostU32(linkOf(port)?.ifindex ?? 0), ...NEIGHBOUR].join(".");
      return nft.dump().some((line) => line.includes(` resolved4 ${key} `));
    },
    /** How much of the kernel's rules is of that port. */
    rulesOf: (port: string): number => nft.dump().filter((line) => line.includes(port)).length,
    /** Everything the agent wrote into them. */
    rules: (): readonly string[] => nft.dump(),
    /** How many of its ports answer for the NIC. */
    answering: (): number => {
      const up = links.list().filter((link) => link.name.startsWith("vif") && link.up);
      const found = routes.held(finds[wired]).filter(({ address }) => address.join() === addressOf(wired).join());
      const joined = up.filter(({ master }) => master !== 0);
      return Math.max(found.length, wired === "bridged" || wired === "brouted" ? joined.length : up.length);
    },
  };
}

export type FleetHost = ReturnType<typeof createHost>;

/** So many turns of the loop are more than any move takes on memory kernels. */
const TURNS = 25;

export async function raiseFleet(
  wired: Wired,
  names: readonly string[] = ["a", "b"],
  { time = clock, own = () => ({}) }: { readonly time?: Clock; readonly own?: OwnParts } = {},
) {
  const store = memoryStore(time);
  const hosts: FleetHost[] = [];
  let most = 0;
  const answering = (): number => hosts.reduce((sum, host) => sum + host.answering(), 0);
  function join(name: string): FleetHost {
    const looked = (): void => {
      most = Math.max(most, answering());
    };
    const host = createHost(name, wired, store, looked, own);
    hosts.push(host);
    return host;
  }
  names.forEach(join);
  const [first, second] = hosts;
  if (first === undefined || second === undefined) throw new TypeError("a fleet has two hosts");
  for (const host of hosts) await host.start();
  await first.apply();

  async function settle(turns = TURNS): Promise<void> {
    for (let i = 0; i < turns; i += 1) await turn();
    for (const host of hosts) if (!host.isOver) await host.settled();
  }
  return {
    store,
    hosts,
    /** One more, whose agent was never started. */
    join,
    first,
    second,
    settle,
    answering,
    /** The most that ever answered at once. */
    most: () => most,
    claim: async () => (await store.read("claim/")).entries.get("claim/web1/0")?.value,
    /** Everybody back, and every pass made that a timer would make. */
    recover: async () => {
      for (const host of hosts) {
        host.heal();
        await host.start();
      }
      await settle();
      for (const host of hosts) host.disturb();
      await settle();
    },
    stop: async () => {
      for (const host of hosts) {
        host.heal();
        host.crash();
      }
      await settle(2).catch(() => undefined);
    },
  };
}

export type Fleet = Awaited<ReturnType<typeof raiseFleet>>;
