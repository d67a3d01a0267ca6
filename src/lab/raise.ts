/** Raises the lab of `topology.ts`: every box a network namespace, nothing outside them is touched, and on any failure nothing is left. */
import { existsSync } from "node:fs";
import { open } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { GuardError } from "../model/errors.ts";
import { prefix6Bounds } from "../model/ipv6.ts";
import { type ExecOptions, exec, type Finished, must, type Piped, type Running, start, startPiped } from "./exec.ts";
import { patience } from "./patience.ts";
import { claim, directoryOf, type LabState, requireLab } from "./state.ts";
import { tearDown } from "./teardown.ts";
import {
  boxOf,
  GATEWAY6,
  type GuestBox,
  globalOf,
  HOST_BRIDGE,
  hostDevice,
  type LabOptions,
  linkRoutes,
  llOf,
  namespaceOf,
  planLab,
  type Topology,
  wiringOf,
} from "./topology.ts";

export interface Lab {
  readonly topology: Topology;
  /** Where the lab keeps its own files; goes with the lab. */
  readonly directory: string;
  netns(box: string): string;
  /** Runs a program inside a box; answers whatever its status is. */
  exec(box: string, argv: readonly string[], options?: Omit<ExecOptions, "netns">): Promise<Finished>;
  /** The same, for what has to work. @throws COMMAND_FAILED */
  must(box: string, argv: readonly string[], options?: Omit<ExecOptions, "netns">): Promise<string>;
  /** Something that goes on; ended by `stop` or by `down`. Its outputs go to `<directory>/<log>`. */
  start(box: string, argv: readonly string[], log: string): Promise<Running>;
  /** The same, with its outputs to read. */
  startPiped(box: string, argv: readonly string[]): Promise<Piped>;
  /** Takes everything away; may be called again. */
  down(): Promise<void>;
}

const READY_MS = patience(5_000);
const POLL_MS = 20;

function labOn(topology: Topology): Lab {
  const netns = (box: string): string => namespaceOf(topology.name, boxOf(topology, box));
  const directory = directoryOf(topology.name);
  return {
    topology,
    directory,
    netns,
    exec: (box, argv, options = {}) => exec(argv, { ...options, netns: netns(box) }),
    must: (box, argv, options = {}) => must(argv, { ...options, netns: netns(box) }),
    async start(box, argv, log) {
      const file = await open(`${directory}/${log}`, "a", 0o600);
      try {
        return await start(argv, { netns: netns(box) }, file.fd);
      } finally {
        await file.close();
      }
    },
    startPiped: (box, argv) => startPiped(argv, { netns: netns(box) }),
    async down() {
      await tearDown(topology.name);
    },
  };
}

function topologyOf(state: LabState): Topology {
  return planLab(state);
}

/** A lab that is up already, from its state file alone. @throws LAB_DOWN */
export async function openLab(name: string): Promise<Lab> {
  return labOn(topologyOf(await requireLab(name)));
}

async function writeSettings(lab: Lab, box: string, value: string, paths: readonly string[]): Promise<void> {
  const present = paths.map((path) => `/proc/sys/net/${path}`).filter((path) => existsSync(path));
  if (present.length > 0) await lab.must(box, ["tee", ...present], { stdin: value });
}

/** Every device that the box will get starts with this. */
const forAll = (setting: string): readonly string[] => [`ipv6/conf/all/${setting}`, `ipv6/conf/default/${setting}`];

// Chatter of the LAN's own boxes (duplicate address detection, router solicitations) would make tests wait for silence
// that never comes, and one lie could take an address or a route from them. Guests keep the kernel's defaults: they are
// hostile anyway. A kernel with br_netfilter starts every namespace with iptables on bridges switched on; vifguard does
// not want it: it costs every frame and changes what is judged; a LAN switch has none.
async function quieten(lab: Lab): Promise<void> {
  const netfilter = ["iptables", "ip6tables", "arptables"].map((table) => `bridge/bridge-nf-call-${table}`);
  const silent = ["accept_dad", "dad_transmits", "accept_ra", "router_solicitations"].flatMap(forAll);
  const hosts = lab.topology.hosts.map(({ box }) => box);
  for (const box of ["gw", "neighbour", ...hosts]) await writeSettings(lab, box, "0\n", silent);
  for (const box of ["lan", ...hosts]) {
    await writeSettings(lab, box, "1\n", forAll("disable_ipv6"));
    await writeSettings(lab, box, "0\n", netfilter);
  }
  // 0 is EUI-64: link-local addresses are made of the MAC, as `llOf` has them.
  for (const box of lab.topology.boxes) await writeSettings(lab, box, "0\n", ["ipv6/conf/default/addr_gen_mode"]);
  await writeSettings(lab, "gw", "1\n", ["ipv4/ip_forward", "ipv6/conf/all/forwarding"]);
}

/** Ports of the host stay without IPv6; the bridge alone gets it, or the uplink where there is no bridge. */
async function giveHostIp6(lab: Lab): Promise<void> {
  const { hosts, prefix6, wiring } = lab.topology;
  const { length } = prefix6Bounds(prefix6);
  const device = hostDevice(lab.topology);
  for (const { box, address6 } of hosts) {
    await lab.must(box, ["tee", `/proc/sys/net/ipv6/conf/${device}/disable_ipv6`], { stdin: "0\n" });
    await lab.must(box, ["ip", "address", "add", `${address6}/${length}`, "dev", device, "nodad"]);
    if (wiring !== "bridged")
      await lab.must(box, ["ip", "-6", "route", "add", "default", "via", GATEWAY6, "dev", device]);
    await lab.must(box, ["ip", "-batch", "-"], { stdin: `${linkRoutes(lab.topology, box).join("\n")}\n` });
  }
}

/**
 * Link-local and global address of the guest's MAC, there at once. A guest's MAC changes when it is attached, and the
 * kernel keeps the link-local address of the old one until the link goes down.
 */
export async function addressGuest6(lab: Lab, guest: GuestBox): Promise<void> {
  const { length } = prefix6Bounds(lab.topology.prefix6);
  const lines = [
    "link set eth0 up",
    "address flush dev eth0 scope link",
    "address flush dev eth0 scope global",
    ...[llOf(guest), globalOf(guest)].map((address) => `address add ${address}/${length} dev eth0 nodad`),
  ];
  await lab.must(guest.box, ["ip", "-6", "-batch", "-"], { stdin: `${lines.join("\n")}\n` });
}

// With offloads a guest's frames carry half-made checksums and are longer than any wire takes: not what a guest of a
// real hypervisor backend looks like, and not what the sniffers should see.
async function switchOffloadsOff(lab: Lab): Promise<void> {
  const off = ["tx", "rx", "tso", "gso", "gro"].flatMap((feature) => [feature, "off"]);
  const set = (box: string, device: string): Promise<string> => lab.must(box, ["ethtool", "-K", device, ...off]);
  for (const box of ["gw", "neighbour", ...lab.topology.hosts.map((host) => host.box)]) await set(box, "eth0");
  if (lab.topology.nic !== "veth") return;
  for (const guest of lab.topology.guests) {
    await set(guest.box, "eth0");
    await set(guest.on, guest.port);
  }
}

async function until(what: string, ready: () => Promise<boolean>): Promise<void> {
  const deadline = performance.now() + READY_MS;
  while (!(await ready())) {
    if (performance.now() > deadline)
      throw new GuardError("COMMAND_FAILED", `${what}: not ready after ${READY_MS} ms`, { fields: { what } });
    await sleep(POLL_MS);
  }
}

// A tap has one end in the kernel and one in a program. Here the program is a pair of socat, one in the host and one in
// the guest, and a SEQPACKET socket between them keeps every frame whole.
async function startPump(lab: Lab, guest: GuestBox): Promise<void> {
  const socket = `${lab.directory}/${guest.box}.pump`;
  const tap = (device: string): string => `TUN,tun-type=tap,tun-name=${device},iff-no-pi`;
  const log = `${guest.box}.pump.log`;
  await lab.start(guest.on, ["socat", tap(guest.port), `UNIX-LISTEN:${socket},socktype=5`], log);
  await until(`pump of ${guest.port}`, async () => existsSync(socket));
  await lab.start(guest.box, ["socat", `UNIX-CONNECT:${socket},socktype=5`, tap("eth0")], log);
  await until(`carrier of ${guest.box}`, async () => {
    const { stdout } = await lab.exec(guest.box, ["cat", "/sys/class/net/eth0/carrier"]);
    return stdout.trim() === "1";
  });
}

async function build(lab: Lab, signal: AbortSignal | undefined): Promise<void> {
  for (const box of lab.topology.boxes) {
    signal?.throwIfAborted();
    await must(["ip", "netns", "add", lab.netns(box)]);
  }
  await quieten(lab);
  for (const { netns, lines } of wiringOf(lab.topology)) {
    signal?.throwIfAborted();
    await must(["ip", "-n", netns, "-batch", "-"], { stdin: `${lines.join("\n")}\n` });
  }
  await giveHostIp6(lab);
  if (lab.topology.nic === "tap") for (const guest of lab.topology.guests) await startPump(lab, guest);
  signal?.throwIfAborted();
  await switchOffloadsOff(lab);
}

/**
 * Guests' NICs are left outside the bridge and down: attaching them is vifguard's work.
 * @param signal when it aborts while the lab is being raised, nothing is left
 * @throws USAGE, NOT_PRIVILEGED, LAB_UP, COMMAND_FAILED
 */
export async function raiseLab(options: LabOptions, signal?: AbortSignal): Promise<Lab> {
  const topology = planLab(options);
  if (process.getuid?.() !== 0) throw new GuardError("NOT_PRIVILEGED", "a lab needs root to make network namespaces");
  const { name, nic, wiring } = topology;
  const more = {
    ...(options.hosts === undefined || options.hosts === 1 ? {} : { hosts: options.hosts }),
    ...(options.members === undefined ? {} : { members: options.members }),
  };
  await claim({ format: 1, name, guests: topology.guests.length, nic, wiring, ...more, createdAt: Date.now() });
  const lab = labOn(topology);
  try {
    await build(lab, signal);
    return lab;
  } catch (cause) {
    await lab.down();
    throw cause;
  }
}

/** Puts the guests' ports straight into the bridge, with no guard at all: what the lies do then is why vifguard exists. */
export async function bridgeUnguarded(lab: Lab): Promise<void> {
  for (const { port, on } of lab.topology.guests)
    await lab.must(on, ["ip", "link", "set", port, "master", HOST_BRIDGE, "up"]);
}

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

/**
 * A lab for as long as `use` lasts: gone afterwards whatever happens, a signal included.
 * @param after `keep` leaves it up when `use` succeeds
 */
export async function withLab<T>(
  options: LabOptions,
  use: (lab: Lab, signal: AbortSignal) => Promise<T>,
  after: "remove" | "keep" = "remove",
): Promise<T> {
  const stop = new AbortController();
  const interrupt = (name: NodeJS.Signals): void =>
    stop.abort(new GuardError("COMMAND_FAILED", `stopped by ${name}; the lab is gone`, { fields: { signal: name } }));
  for (const name of SIGNALS) process.on(name, interrupt);
  try {
    const lab = await raiseLab(options, stop.signal);
    const aborted = new Promise<never>((_, reject) => {
      stop.signal.addEventListener("abort", () => reject(stop.signal.reason), { once: true });
    });
    const work = use(lab, stop.signal);
    // When the signal wins, what `use` still had under way fails as its processes are ended: nobody waits for that.
    for (const unheard of [work, aborted]) unheard.catch(() => undefined);
    let isKept = false;
    try {
      stop.signal.throwIfAborted();
      const result = await Promise.race([work, aborted]);
      isKept = after === "keep";
      return result;
    } finally {
      if (!isKept) await lab.down();
    }
  } finally {
    for (const name of SIGNALS) process.off(name, interrupt);
  }
}
