/**
 * Two hosts of a lab whose agents run in this process over one store: each has its connections to the kernel opened in its own namespace. Its first guest has a NIC
 * on either host, behind a bridge of its own that goes by whichever of them is up, as a machine that is moved from one hypervisor to the other.
 */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Agent, startAgent } from "../../src/agent/agent.ts";
import type { AgentParts } from "../../src/agent/core.ts";
import { loadSite } from "../../src/config/load.ts";
import { openConntrack } from "../../src/kernel/conntrack-netlink.ts";
import { openDatagrams } from "../../src/kernel/datagrams-socket.ts";
import { openFrames } from "../../src/kernel/frames-netlink.ts";
import { openLinks } from "../../src/kernel/links-netlink.ts";
import { inNamespace } from "../../src/kernel/netns.ts";
import type { Nft } from "../../src/kernel/nft.ts";
import { openNft } from "../../src/kernel/nft-netlink.ts";
import { openRoutes } from "../../src/kernel/routes-netlink.ts";
import { openSysctls } from "../../src/kernel/sysctls.ts";
import { must } from "../../src/lab/exec.ts";
import { type Lab, raiseLab } from "../../src/lab/raise.ts";
import {
  type Box,
  type GuestBox,
  globalOf,
  type HostBox,
  type LabWiring,
  PLAIN_BRIDGE,
} from "../../src/lab/topology.ts";
import type { CapabilityView } from "../../src/model/capabilities.ts";
import type { Ipv4Address } from "../../src/model/ipv4.ts";
import { parseHostId } from "../../src/model/names.ts";
import { link4At, link6At } from "../../src/model/transport.ts";
import { RESPONDER_MARK } from "../../src/ruleset/parts.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store } from "../../src/store/store.ts";
import { addressBrouted } from "./brouted-lab.ts";
import { addressByHand, guestAt, type SiteExtras, siteText } from "./guarded-lab.ts";
import { portPrefixes } from "./memory-agent.ts";
import { addressGuest } from "./routed-lab.ts";

const addressOf: Readonly<Record<LabWiring, (lab: Lab, guest: GuestBox) => Promise<void>>> = {
  bridged: addressByHand,
  routed: addressGuest,
  brouted: addressBrouted,
  transport: addressGuest,
  nat: addressGuest,
};

/** By which the LAN knows the guest. */
export const outside = ({ public4, address }: GuestBox): Ipv4Address => public4 ?? address;

type Kernel = Pick<AgentParts, "nft" | "links" | "frames" | "routing" | "conntrack"> & { close(): void };

/** The nft program is run where the rules are to be. */
function nftIn(namespace: string): Nft {
  const nft = inNamespace(namespace, openNft);
  const run = (...words: readonly string[]): Promise<string> => must(["nft", ...words], { netns: namespace });
  return {
    ...nft,
    watch: (changed) => inNamespace(namespace, () => nft.watch(changed)),
    load: async (text) => {
      const directory = await mkdtemp(join(tmpdir(), "vifguard-fleet-"));
      try {
        await writeFile(join(directory, "ruleset.nft"), text);
        await run("-f", join(directory, "ruleset.nft"));
      } finally {
        await rm(directory, { recursive: true });
      }
    },
    listTable: async (family, table) => {
      const tables = await run("list", "tables");
      return tables.includes(`${family} ${table}\n`) ? run("-s", "-t", "list", "table", family, table) : undefined;
    },
  };
}

/** Whatever opens a socket, or a file under /proc, does it there; what is open belongs there for good. */
function kernelIn(namespace: string): Kernel {
  const there = <T>(action: () => T): T => inNamespace(namespace, action);
  const [nft, links, routes, conntrack, frames] = [
    nftIn(namespace),
    there(openLinks),
    there(openRoutes),
    there(openConntrack),
    there(() => openFrames(RESPONDER_MARK)),
  ];
  const sysctls = openSysctls();
  return {
    nft,
    conntrack: { ...conntrack, flows: (zone) => there(() => [...conntrack.flows(zone)]) },
    links: { ...links, watch: (event) => there(() => links.watch(event)) },
    frames: { ...frames, subscribe: (group, heard, lost) => there(() => frames.subscribe(group, heard, lost)) },
    routing: {
      routes: { ...routes, watch: (event) => there(() => routes.watch(event)) },
      sysctls: {
        read: (path) => there(() => sysctls.read(path)),
        write: (path, value) => there(() => sysctls.write(path, value)),
      },
    },
    close: () => {
      for (const seam of [frames, conntrack, routes, links, nft]) seam.close();
    },
  };
}

const clock = { now: () => Date.now() };
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** The lab's own kernel does; what it can is told by no probe here. */
const TRANSLATES: CapabilityView = { name: "inet-nat", has: "yes", needed: false, policy: false, says: "" };

export interface FleetAgent {
  readonly box: HostBox;
  readonly operations: Agent["operations"];
  settled(): Promise<void>;
  /** As if it had been killed: the kernel keeps all it has. Not to be asked for anything after. */
  stop(): Promise<void>;
}

async function startOn(lab: Lab, box: HostBox, store: Store): Promise<FleetAgent> {
  const namespace = lab.netns(box);
  const host = parseHostId(box);
  if (host === undefined) throw new TypeError(box);
  const { close, ...kernel } = kernelIn(namespace);
  const agent = await startAgent({
    ...kernel,
    // Nothing is relayed here, so none is ever opened.
    datagrams: openDatagrams(),
    store,
    clock,
    log: silent,
    host,
    epoch: `lab/${namespace}`,
    portPrefixes,
    version: "test",
    kernel: {
      release: "test",
      nft: "test",
      shape: "port-chains",
      policy: "bridge-netfilter",
      capabilities: [TRANSLATES],
    },
    storeKind: "memory",
    auditEvery: 60_000,
    movePatience: 500,
  });
  return {
    box,
    operations: agent.operations,
    settled: agent.settled,
    stop: async () => {
      await agent.stop();
      close();
    },
  };
}

export interface FleetLab {
  readonly lab: Lab;
  readonly store: Store;
  readonly guests: readonly GuestBox[];
  /** The guest that moves, and its port on either host. */
  readonly mover: GuestBox;
  readonly portAt: Readonly<Record<HostBox, string>>;
  agentAt(box: HostBox): FleetAgent;
  /** In place of one that was stopped. */
  startAgent(box: HostBox): Promise<void>;
  /** Puts the rules of the mover's port in there, and leaves it shut. */
  prepare(box: HostBox): Promise<void>;
  /** Gives the mover's NIC to its port there. */
  move(box: HostBox): Promise<void>;
  down(): Promise<void>;
}

/** Two NICs behind a bridge that bears the guest's MAC: what comes by the one that is up is the guest's. */
async function giveSecondNic(lab: Lab, guest: GuestBox, port: string): Promise<void> {
  const far: HostBox = guest.on === "host" ? "host2" : "host";
  await lab.must(guest.box, ["ip", "link", "set", "eth0", "down"]);
  await lab.must(guest.box, ["ip", "link", "set", "eth0", "name", "nic1"]);
  await lab.must(far, [
    "ip",
    "link",
    "add",
    port,
    "type",
    "veth",
    "peer",
    "name",
    "nic2",
    "netns",
    lab.netns(guest.box),
  ]);
  const lines = [
    `link add eth0 address ${guest.mac} ${PLAIN_BRIDGE}`,
    ...["nic1", "nic2"].flatMap((nic) => [
      `link set ${nic} address 02:00:00:00:00:${nic === "nic1" ? "e1" : "e2"}`,
      `link set ${nic} master eth0 up`,
    ]),
    "link set eth0 up",
  ];
  await lab.must(guest.box, ["tee", "/proc/sys/net/ipv6/conf/default/disable_ipv6"], { stdin: "1\n" });
  await lab.must(guest.box, ["ip", "-batch", "-"], { stdin: `${lines.join("\n")}\n` });
  await lab.must(guest.box, ["tee", "/proc/sys/net/ipv6/conf/eth0/disable_ipv6"], { stdin: "0\n" });
}

/** Routes to the mover by the host where it is: the LAN's are told of its address, other hosts of its link, so that their own route to a guest of theirs is the better one. */
async function tellOfLink(lab: Lab, mover: GuestBox, on: HostBox): Promise<void> {
  const { hosts, wiring } = lab.topology;
  const to = hosts.find(({ box }) => box === on);
  if (wiring !== "transport" || to === undefined) return;
  const say = (box: Box, first: string, first6: string): Promise<string> =>
    lab.must(box, ["ip", "-batch", "-"], {
      stdin: `route replace ${first} via ${to.address}\nroute replace ${first6} via ${to.address6}\n`,
    });
  const six = globalOf(mover);
  for (const box of ["gw", "neighbour"] as const) await say(box, `${mover.address}/32`, `${six}/128`);
  const link = [`${link4At(mover.address, 31).left}/31`, `${link6At(six).left}/127`] as const;
  for (const { box } of hosts) if (box !== on) await say(box, ...link);
}

/** Nothing is left when it fails. */
export async function raiseFleetLab(name: string, wiring: LabWiring, extras: SiteExtras = {}): Promise<FleetLab> {
  const lab = await raiseLab({ name, guests: 3, hosts: 2, nic: "veth", wiring });
  const store = memoryStore(clock);
  const agents = new Map<HostBox, FleetAgent>();
  const down = async (): Promise<void> => {
    await Promise.allSettled([...agents.values()].map((agent) => agent.stop()));
    await store.close();
    await lab.down();
  };
  const start = async (box: HostBox): Promise<void> => void agents.set(box, await startOn(lab, box, store));
  const agentAt = (box: HostBox): FleetAgent => {
    const agent = agents.get(box);
    if (agent === undefined) throw new TypeError(`no agent on ${box}`);
    return agent;
  };
  try {
    for (const { box } of lab.topology.hosts) await start(box);
    await agentAt("host").operations.apply(loadSite(siteText(lab.topology, extras), "site"), { dryRun: false });
    const mover = guestAt(lab.topology.guests, 0);
    const portAt = { host: mover.port, host2: "vif9.0", host3: "vif10.0" };
    await giveSecondNic(lab, mover, portAt.host2);
    if (wiring === "transport")
      for (const route of [`${mover.address}/32`, `${globalOf(mover)}/128`])
        await lab.must("host2", ["ip", "route", "del", route]);
    await tellOfLink(lab, mover, mover.on);
    for (const guest of lab.topology.guests) {
      await agentAt(guest.on).operations.attach({ port: guest.port, guest: guest.box });
      await addressOf[wiring](lab, guest);
    }
    return {
      lab,
      store,
      guests: lab.topology.guests,
      mover,
      portAt,
      agentAt,
      startAgent: start,
      move: async (box) => {
        await agentAt(box).operations.attach({ port: portAt[box], guest: mover.box, move: "ask" });
        await tellOfLink(lab, mover, box);
      },
      prepare: async (box) => {
        await agentAt(box).operations.attach({ port: portAt[box], guest: mover.box, move: "prepare" });
      },
      down,
    };
  } catch (cause) {
    await down();
    throw cause;
  }
}
