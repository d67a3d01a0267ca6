/**
 * The world in which things break: three hosts with real agents, three members of etcd in boxes of their own, and between them a network apart from the guests' LAN, on which
 * single directions can be cut. So a host that loses the store still has its guests on the LAN, which is when two could answer for one address.
 */
import { existsSync, readdirSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { execPath } from "node:process";
import { type Client, connect } from "../../src/api/client.ts";
import { builtFile } from "../../src/lab/built.ts";
import type { Running } from "../../src/lab/exec.ts";
import { ip4Of } from "../../src/lab/forge.ts";
import { type Lab, raiseLab } from "../../src/lab/raise.ts";
import { GATEWAY6, type GuestBox, HOST_BRIDGE, type HostBox, PLAIN_BRIDGE, schemeMac } from "../../src/lab/topology.ts";
import { type Cuts, wireManagement } from "./fault-cuts.ts";
import { type Members, startMembers } from "./fault-etcd.ts";
import { addressByHand, eventually } from "./guarded-lab.ts";
import { addressRouted } from "./routed-lab.ts";

export interface FaultHost {
  readonly box: HostBox;
  readonly client: Client;
  readonly stateDirectory: string;
  /** @param clock file with what its clock is ahead, in seconds: it is read again with every look at the clock */
  start(clock?: string): Promise<void>;
  kill(signal?: NodeJS.Signals): Promise<void>;
  /** Suspends it, and lets it go on. */
  signal(signal: "SIGSTOP" | "SIGCONT"): void;
}

/** A guest with a NIC on two hosts; what it says goes out by both. */
export interface Mover {
  readonly guest: GuestBox;
  readonly portAt: Readonly<Partial<Record<HostBox, string>>>;
}

export interface FaultWorld {
  readonly lab: Lab;
  readonly hosts: readonly FaultHost[];
  readonly members: Members;
  readonly cuts: Cuts;
  /** Attached for good, a bridged and a routed one on each host. */
  readonly steady: readonly GuestBox[];
  /** A bridged one of the first two hosts, a routed one of the last two. */
  readonly movers: readonly Mover[];
  /** One on each host, never attached; each has an address of its own and an honest manner. */
  readonly strangers: readonly GuestBox[];
  /** Of the third host: comes and goes, and has its address by DHCP. */
  readonly tenant: GuestBox;
  at(box: HostBox): FaultHost;
  hostOf(guest: Pick<GuestBox, "on">): FaultHost;
  down(): Promise<void>;
}

const GUESTS = 12;
const ROUTED = [3, 4, 5, 7];
const MOVERS = [6, 7];
const ROUTED_PREFIX = "198.51.100";
const ROUTED_NETWORK = "lan1";
/** Of guests that come and go and are never attached: what they give up is nobody's for a while. */
export const ROOMY_NETWORK = "lan2";

const isRouted = (index: number): boolean => ROUTED.includes(index);

function guestsOf(lab: Lab): readonly GuestBox[] {
  return lab.topology.guests.map((guest, index) => {
    if (!isRouted(index)) return guest;
    const address = ip4Of(`${ROUTED_PREFIX}.${10 + index}`);
    return { ...guest, address, mac: schemeMac(address) };
  });
}

export const isRoutedGuest = ({ address }: Pick<GuestBox, "address">): boolean => address.startsWith(ROUTED_PREFIX);

export const guestText = (name: string, nic: string): string =>
  `kind: guest\nname: ${name}\nspec: { nics: [{ ${nic} }] }`;

function siteOf(lab: Lab, guests: readonly GuestBox[]): string {
  const { prefix4, prefix6, gateway } = lab.topology;
  const managed = "  addressing: { kind: managed, macScheme: ip, leaseSeconds: 3600 }\n  groups: [open]";
  return [
    `kind: network\nname: lan0\nspec:\n  prefix4: ${prefix4}\n  gateway4: ${gateway.address}\n  prefix6: ${prefix6}\n  gateway6: ${GATEWAY6}\n  range4: [203.0.113.100-203.0.113.220]\n  wiring: { kind: bridged, bridge: ${HOST_BRIDGE}, uplink: eth0 }\n${managed}`,
    `kind: network\nname: ${ROOMY_NETWORK}\nspec:\n  prefix4: 10.77.0.0/20\n  gateway4: 10.77.0.1\n  range4: [10.77.0.10-10.77.15.250]\n  wiring: { kind: bridged, bridge: ${HOST_BRIDGE} }\n${managed}`,
    `kind: network\nname: ${ROUTED_NETWORK}\nspec:\n  prefix4: ${ROUTED_PREFIX}.0/24\n  gateway4: ${ROUTED_PREFIX}.1\n  wiring: { kind: routed, uplink: ${HOST_BRIDGE}, gives: address }\n${managed}`,
    "kind: group\nname: open\nspec: { ingress: [{ protocol: any, from: any }] }",
    ...guests.map((guest) =>
      guestText(guest.box, `network: ${isRoutedGuest(guest) ? ROUTED_NETWORK : "lan0"}, address4: ${guest.address}`),
    ),
  ].join("\n---\n");
}

/** Its own clock, and no other's: what waits in the kernel is not changed. */
function clockOptions(file: string | undefined): readonly string[] {
  if (file === undefined) return [];
  const library = readdirSync("/usr/lib")
    .map((folder) => `/usr/lib/${folder}/faketime/libfaketime.so.1`)
    .find((path) => existsSync(path));
  if (library === undefined) throw new Error("libfaketime is not installed");
  const settings = { LD_PRELOAD: library, FAKETIME_TIMESTAMP_FILE: file, FAKETIME_NO_CACHE: "1" };
  return [...Object.entries(settings).map(([name, value]) => `${name}=${value}`), "FAKETIME_DONT_FAKE_MONOTONIC=1"];
}

/** It may have ended by itself. */
function signalGently(pid: number, signal: NodeJS.Signals): void {
  try {
    process.kill(pid, signal);
  } catch {
    // ESRCH.
  }
}

function hostAt(lab: Lab, box: HostBox, endpoints: readonly string[]): FaultHost {
  const own = (name: string): string => `${lab.directory}/${box}-${name}`;
  const [socket, stateDirectory] = [own("agent.sock"), own("state")];
  const client = connect(socket);
  let running: Running | undefined;
  const isUp = (): Promise<boolean> =>
    client.status().then(
      () => true,
      () => false,
    );
  return {
    box,
    client,
    stateDirectory,
    start: async (clock) => {
      const store = endpoints.flatMap((url) => ["--etcd", url]);
      const options = ["--host", box, "--state-dir", stateDirectory, "--socket", socket, ...store];
      const argv = ["env", ...clockOptions(clock), execPath, builtFile("main.js"), "agent", ...options];
      running = await lab.start(box, argv, `${box}-agent.log`);
      const { ended } = running;
      let status: number | undefined;
      void ended.then((code) => {
        status = code;
      });
      if (!(await eventually(async () => status !== undefined || (await isUp()), 20_000)) || status !== undefined)
        throw new Error(`the agent of ${box} does not start (${status})`);
    },
    kill: async (signal = "SIGKILL") => {
      if (running === undefined) return;
      signalGently(running.pid, signal);
      await running.ended;
      running = undefined;
    },
    signal: (signal) => {
      if (running !== undefined) signalGently(running.pid, signal);
    },
  };
}

async function batch(lab: Lab, box: string, lines: readonly string[]): Promise<void> {
  await lab.must(box, ["ip", "-batch", "-"], { stdin: `${lines.join("\n")}\n` });
}

/** Routed guests are beyond no router: the LAN asks for their addresses, and the host that has them answers. */
async function wireRouted(lab: Lab): Promise<void> {
  for (const box of ["gw", "neighbour"]) await batch(lab, box, [`route add ${ROUTED_PREFIX}.0/24 dev eth0`]);
  for (const { box } of lab.topology.hosts)
    await batch(lab, box, [`route add default via ${lab.topology.gateway.address} dev ${HOST_BRIDGE}`]);
}

/** Behind a bridge that learns nothing: what the guest says goes out by both NICs, so the port that must be shut is tried with every frame. */
async function giveSecondNic(lab: Lab, guest: GuestBox, far: HostBox, port: string): Promise<void> {
  await batch(lab, guest.box, ["link set eth0 down", "link set eth0 name nic1"]);
  await batch(lab, far, [`link add ${port} type veth peer name nic2 netns ${lab.netns(guest.box)}`]);
  await lab.must(guest.box, ["tee", "/proc/sys/net/ipv6/conf/default/disable_ipv6"], { stdin: "1\n" });
  await batch(lab, guest.box, [
    `link add eth0 address ${guest.mac} ${PLAIN_BRIDGE} ageing_time 0`,
    ...["nic1", "nic2"].flatMap((nic) => [
      `link set ${nic} address 02:00:00:00:00:${nic === "nic1" ? "e1" : "e2"}`,
      `link set ${nic} master eth0 up`,
    ]),
    "link set eth0 up",
  ]);
  await lab.must(guest.box, ["tee", "/proc/sys/net/ipv6/conf/eth0/disable_ipv6"], { stdin: "0\n" });
}

async function address(lab: Lab, guest: GuestBox): Promise<void> {
  await lab.must(guest.box, ["ip", "link", "set", "eth0", "address", guest.mac]);
  return isRoutedGuest(guest) ? addressRouted(lab, guest, "address") : addressByHand(lab, guest);
}

/** Nothing is left when it fails. */
export async function raiseFaultWorld(name: string): Promise<FaultWorld> {
  const lab = await raiseLab({ name, guests: GUESTS, hosts: 3, members: 3, nic: "veth" });
  try {
    await wireRouted(lab);
    const cuts = await wireManagement(lab);
    const members = await startMembers(lab);
    const hosts = lab.topology.hosts.map(({ box }) => hostAt(lab, box, members.endpoints));
    const at = (box: HostBox): FaultHost => {
      const host = hosts.find((one) => one.box === box);
      if (host === undefined) throw new TypeError(`no host ${box}`);
      return host;
    };
    await Promise.all(hosts.map((host) => host.start()));
    const guests = guestsOf(lab);
    const text = siteOf(lab, guests);
    await writeFile(`${lab.directory}/site.yaml`, text);
    await at("host").client.apply([{ path: "site", text }], { dryRun: false });
    const movers = MOVERS.map((index): Mover => {
      const guest = guests[index] ?? fail(index);
      const far: HostBox = guest.on === "host" ? "host2" : "host3";
      return { guest, portAt: { [guest.on]: guest.port, [far]: `vif2${index + 1}.0` } };
    });
    for (const { guest, portAt } of movers)
      for (const [far, port] of Object.entries(portAt))
        if (far !== guest.on && port !== undefined) await giveSecondNic(lab, guest, boxNamed(hosts, far), port);
    const steady = guests.filter((_, index) => index < 6);
    for (const guest of [...steady, ...movers.map((mover) => mover.guest)]) {
      await at(guest.on).client.attach({ port: guest.port, guest: guest.box });
      await address(lab, guest);
    }
    const strangers = guests.slice(8, 11);
    const tenant = guests[11] ?? fail(11);
    for (const guest of [...strangers, tenant]) await address(lab, guest);
    return {
      lab,
      hosts,
      members,
      cuts,
      steady,
      movers,
      strangers,
      tenant,
      at,
      hostOf: ({ on }) => at(on),
      down: async () => {
        // A stopped one hears no SIGTERM.
        for (const host of hosts) host.signal("SIGCONT");
        members.resume();
        await lab.down();
      },
    };
  } catch (cause) {
    await lab.down();
    throw cause;
  }
}

function fail(index: number): never {
  throw new TypeError(`the lab has no guest ${index}`);
}

function boxNamed(hosts: readonly FaultHost[], box: string): HostBox {
  return hosts.find((host) => host.box === box)?.box ?? fail(0);
}
