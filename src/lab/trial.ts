/** Tells a lie and its honest twin in a lab, and sees what came of them. */
import { setTimeout as sleep } from "node:timers/promises";
import { openFrames } from "../kernel/frames-netlink.ts";
import { openLinks } from "../kernel/links-netlink.ts";
import { inNamespace } from "../kernel/netns.ts";
import { GuardError } from "../model/errors.ts";
import { parseInterfaceName } from "../model/names.ts";
import type { Reason } from "../model/reasons.ts";
import { link4At } from "../model/transport.ts";
import { HOST_PORT_MAC } from "../model/wiring.ts";
import { type Attack, type AttackContext, type Control, honestArp } from "./attack.ts";
import { honestQuestions, honestSolicitation, honestSolicitationLocal } from "./attack6.ts";
import { patience } from "./patience.ts";
import type { Lab } from "./raise.ts";
import { isDiscovery, isForLink, isGroup, isRoutedCopy } from "./routed-copy.ts";
import { type Sniffer, sniff } from "./sniff.ts";
import { type Box, HOST_BRIDGE, type Party } from "./topology.ts";

/** Packets dropped so far on the liar's port, by reason. */
export type Counts = ReadonlyMap<Reason, number>;

export interface Trial {
  readonly attack: Attack;
  readonly sent: number;
  /** Boxes that saw one of the frames; must be empty behind the guard. */
  readonly arrivedAt: readonly Box[];
  /** What was counted while the lie was told; empty without an agent to ask. */
  readonly counted: Counts;
  readonly controlPassed: boolean;
}

export interface Bench {
  /** Tells one lie, then the truth. */
  try(attack: Attack): Promise<Trial>;
  /** Whether honest frames get through, on their own. */
  control(control: Control): Promise<boolean>;
  close(): Promise<void>;
}

export interface BenchOptions {
  readonly from: Box;
  /** Who the boxes are; by default what the topology says. */
  readonly parties?: Partial<Pick<AttackContext, "self" | "victim">>;
  readonly counts?: () => Promise<Counts>;
  /** How long a lie is waited for; it ends sooner when it arrives. */
  readonly waitMs?: number;
}

// Not multiplied on slow machines: the truth that is told afterwards shows when every lie before it must have arrived.
const WAIT_MS = 120;
const CONTROL_MS = patience(2_000);

/** Puts frames on the wire from inside a box. @returns how many the kernel took @throws COMMAND_FAILED */
export async function sendFrames(lab: Lab, box: Box, frames: readonly Uint8Array[], device = "eth0"): Promise<number> {
  const sent = inNamespace(lab.netns(box), () => sendFrom(device, frames));
  if (sent !== frames.length)
    throw new GuardError("COMMAND_FAILED", `${box} ${device} took ${sent} of ${frames.length} frames`);
  return sent;
}

function sendFrom(device: string, frames: readonly Uint8Array[]): number {
  const [links, wire] = [openLinks(), openFrames()];
  try {
    const name = parseInterfaceName(device);
    const ifindex = name === undefined ? undefined : links.byName(name)?.ifindex;
    return ifindex === undefined ? 0 : wire.send(frames.map((bytes) => ({ ifindex, bytes })));
  } finally {
    wire.close();
    links.close();
  }
}

/**
 * Another guest if there is one, else the neighbour: whom the liar pretends to be. Guests inside have IPv4 neighbours only among guests, where packets arrive as they
 * are; IPv6 goes to the LAN as ever.
 */
function partiesOf(lab: Lab, from: Box): Pick<AttackContext, "self" | "victim" | "neighbour"> {
  const { guests, neighbour, wiring } = lab.topology;
  const self: Party = guests.find((guest) => guest.box === from) ?? neighbour;
  const [victim = neighbour, other = victim]: readonly Party[] = guests.filter((guest) => guest.box !== from);
  return { self, victim, neighbour: wiring === "nat" ? { ...neighbour, address: other.address } : neighbour };
}

let serial = Date.now() & 0x3fffffff;

function nextContext(lab: Lab, options: BenchOptions): AttackContext {
  const { gateway, host, guests4 } = lab.topology;
  const { prefix4 } = guests4;
  serial = (serial + 1) & 0x3fffffff;
  const parties = { ...partiesOf(lab, options.from), ...options.parties };
  const context = { gateway, host, prefix4, ...parties, serial };
  if (lab.topology.wiring === "bridged") return context;
  // The guest knows nobody but the host.
  const mac = HOST_PORT_MAC;
  const routed = { ...context, via: mac, gateway: { address: guests4.gateway4, mac }, host: { ...host, mac } };
  if (lab.topology.wiring !== "transport") return routed;
  const { left } = link4At(context.self.address, 31);
  return { ...routed, gateway: { address: left, mac }, near: left };
}

function difference(before: Counts, after: Counts): Counts {
  const counts = new Map<Reason, number>();
  for (const [reason, packets] of after) {
    const more = packets - (before.get(reason) ?? 0);
    if (more > 0) counts.set(reason, more);
  }
  return counts;
}

/** Sniffers at every box but the liar's own, the host's bridge included, and one at the liar for the answers it gets. */
export async function openBench(lab: Lab, options: BenchOptions): Promise<Bench> {
  const { from, waitMs = WAIT_MS, counts = async () => new Map() } = options;
  const isRouted = lab.topology.wiring !== "bridged";
  // Where the host routes a port hands all it gets to its host: what the host makes of it is seen behind it.
  const watched = lab.topology.boxes.filter(
    (box) => box !== "lan" && box !== from && !(isRouted && box.startsWith("host")),
  );
  const device = (box: Box): string => (box === "host" ? HOST_BRIDGE : "eth0");
  // As a client does, the liar listens for answers: otherwise its kernel tells the server that nobody does, and on a routed port that is the host, which is told nothing.
  const client = isRouted
    ? await lab.start(from, ["socat", "-u", "UDP4-RECV:68", "OPEN:/dev/null"], "listener.log")
    : undefined;
  const everyone = await Promise.all([from, ...watched].map((box) => sniff(lab, box, device(box))));
  const listeners = everyone.filter((sniffer) => sniffer.box !== from);
  const own = everyone.filter((sniffer) => sniffer.box === from);

  const marks = (): ReadonlyMap<Sniffer, number> =>
    new Map(everyone.map((sniffer) => [sniffer, sniffer.frames().length]));
  const arrivals = (frames: readonly Uint8Array[], since: ReadonlyMap<Sniffer, number>): readonly Box[] =>
    listeners.filter((at) => frames.some((frame) => isAt(at, frame, since.get(at) ?? 0))).map((at) => at.box);
  const isAt = (at: Sniffer, frame: Uint8Array, since: number): boolean =>
    at.has(frame, since) ||
    (isRouted &&
      at
        .frames()
        .slice(since)
        .some((seen) => isRoutedCopy(frame, seen)));

  async function within(milliseconds: number, done: () => boolean): Promise<boolean> {
    const deadline = performance.now() + milliseconds;
    while (!done() && performance.now() < deadline) await sleep(5);
    return done();
  }

  // What only the host hears has not passed; what is cut in pieces has passed when all of them have.
  const isPassed = (frames: readonly Uint8Array[], since: ReadonlyMap<Sniffer, number>): boolean =>
    frames.every((frame) => staysWithHost(frame) || arrivals([frame], since).some((box) => box !== "host"));
  // ARP, neighbour discovery and what is link-local ends at a host that routes: that the guard counted nothing is then all there is to see.
  const staysWithHost = (frame: Uint8Array): boolean =>
    isRouted && (isForLink(frame) || (lab.topology.wiring === "brouted" && isDiscovery(frame)));

  async function control(honest: Control): Promise<boolean> {
    if (honest.first !== undefined && !(await control(honest.first))) return false;
    const context = nextContext(lab, options);
    const frames = honest.build(context);
    const since = marks();
    const before = isRouted ? await counts() : new Map();
    await sendFrames(lab, from, frames);
    const answered = (at: Sniffer): boolean =>
      at
        .frames()
        .slice(since.get(at))
        .some((frame) => honest.answer?.(context, frame) ?? false);
    const isAnswered = (): boolean => own.some(answered);
    const passed = await within(CONTROL_MS, () => isAnswered() || isPassed(frames, since));
    // The sender's own kernel may object to an answer that it did not ask for; the answer then proves enough.
    return passed && (!isRouted || (await isUncounted(before, frames)) || (await within(CONTROL_MS, isAnswered)));
  }

  /** Kernels report their groups when they like. */
  async function isUncounted(before: Counts, frames: readonly Uint8Array[]): Promise<boolean> {
    const more = [...difference(before, await counts()).keys()];
    return more.every((reason) => reason === "multicast" && !frames.some(isGroup));
  }

  async function tell(
    attack: Attack,
  ): Promise<Omit<Trial, "controlPassed" | "arrivedAt"> & { arrived(): readonly Box[] }> {
    const frames = attack.build(nextContext(lab, options));
    const before = await counts();
    const since = marks();
    const sent = await sendFrames(lab, from, frames);
    const { arrivesAt = "any" } = attack;
    // Many take longer to be judged.
    await within(waitMs + frames.length / 4, () =>
      arrivals(frames, since).some((box) => arrivesAt === "any" || box === arrivesAt),
    );
    return { attack, sent, arrived: () => arrivals(frames, since), counted: difference(before, await counts()) };
  }

  // The guest asks before it speaks, as a real one does: what it may address later can depend on the answer.
  await control(honestArp);
  for (const question of [honestSolicitation, honestSolicitationLocal, honestQuestions]) await control(question);
  return {
    control,
    async try(attack) {
      const { arrived, ...told } = await tell(attack);
      const controlPassed = await control(attack.control);
      return { ...told, controlPassed, arrivedAt: arrived() };
    },
    async close() {
      await Promise.all([...everyone.map((sniffer) => sniffer.stop()), client?.stop()]);
    },
  };
}
