/** Keeps the NIC of a pair of ports with the one that is due: the port while somebody is connected there, else its stand-in. */
import { GuardError } from "../model/errors.ts";
import { keys } from "../model/keys.ts";
import { type InterfaceName, parseInterfaceName } from "../model/names.ts";
import type { AttachRequest, PortView } from "../model/operations.ts";
import type { Attachment } from "../model/resources.ts";
import { begin, guardedName, outcome, portTaken } from "./attach.ts";
import { type Core, claimOf, forget } from "./core.ts";
import { leave } from "./moves.ts";
import { dueOf, holderOf, type Pair, pairOf } from "./pairs.ts";
import { isLive } from "./ports.ts";

/**
 * In milliseconds. The kernel tells no carrier of an interface that is down, so it must be looked for; a look is one question to the kernel (10 µs). It also bounds
 * what a guest that connects and disconnects as fast as it can costs the host and the store.
 */
const LOOK_EVERY = 1_000;

/** Answers when the port that is due is open. @throws what keeps it shut */
export async function attachStandIn(core: Core, request: AttachRequest, text: string): Promise<PortView> {
  const name = guardedName(core, request.port);
  await core.hosts.ready();
  const begun = await core.serial(async () => {
    const pair = await register(core, name, { ...request, standsInFor: text });
    const { guest, nic } = pair.port;
    if (holderOf(core, pair) !== undefined && dueOf(core, pair).port === name)
      return begin(core, name, { port: name, guest, nic, move: "ask" });
    return core.ports.get(name);
  });
  if (begun?.error !== undefined) throw begun.error;
  if (begun !== undefined) return outcome(core, begun, "ask");
  throw new GuardError("CONFLICT", `port '${name}' was detached meanwhile`, { fields: { port: name } });
}

/** It is known from now on, and shut. */
async function register(
  core: Core,
  name: InterfaceName,
  request: Required<Pick<AttachRequest, "standsInFor">> & AttachRequest,
): Promise<Pair> {
  const { mirror, parts, hosts } = core;
  const port = portOf(core, request);
  const link = parts.links.byName(name);
  if (link === undefined)
    throw new GuardError("PORT_MISSING", `interface '${name}' does not exist`, { fields: { port: name } });
  const present = mirror.attachments.get(name);
  if (present !== undefined && isLive(parts, present)) {
    if (pairOf(core, present)?.port.port !== port.port) throw portTaken(present);
    return { port, standIn: present };
  }
  if (present !== undefined) await forget(core, present);
  const other = core.ports.standInOf(port.port)?.attachment;
  if (other !== undefined && isLive(parts, other)) throw portTaken(other);
  if (other !== undefined) await forget(core, other);
  const { guest, nic } = port;
  // The number of another's claim: it opens nothing.
  const fence = claimOf(core, port)?.fence ?? 1;
  const standIn: Attachment = {
    port: name,
    ifindex: link.ifindex,
    epoch: parts.epoch,
    ...(hosts.instance === undefined ? {} : { instance: hosts.instance }),
    guest,
    nic,
    fence,
    standsInFor: port.port,
    since: parts.clock.now(),
  };
  await core.write({
    expect: hosts.expectation(),
    writes: [{ op: "put", key: keys.attachment(parts.host, name), value: { ...standIn } }],
  });
  leave(core, standIn);
  return { port, standIn };
}

/** The port that is stood in for. @throws NOT_FOUND, PORT_TAKEN */
function portOf({ mirror, parts }: Core, { standsInFor, guest, nic }: AttachRequest): Attachment {
  const name = standsInFor === undefined ? undefined : parseInterfaceName(standsInFor);
  const port = name === undefined ? undefined : mirror.attachments.get(name);
  if (port === undefined || !isLive(parts, port) || port.standsInFor !== undefined)
    throw new GuardError("NOT_FOUND", `port '${standsInFor}' is not attached: nothing can stand in for it`, {
      fields: { port: standsInFor ?? "" },
    });
  if (port.guest !== guest || (nic !== undefined && port.nic !== nic)) throw portTaken(port);
  return port;
}

/** In a pass, and whenever a look finds the wrong one open. What fails is tried again at the next look. */
export async function balance(core: Core): Promise<void> {
  for (const { attachment } of core.ports.standIns()) {
    const pair = pairOf(core, attachment);
    if (pair === undefined) await forget(core, attachment);
    else if (isOff(core, pair)) await turn(core, pair);
  }
}

function isOff(core: Core, pair: Pair): boolean {
  // Nobody can be asked to let go while the store is away: what is open stays.
  if (core.parts.storeHealth?.now() !== undefined) return false;
  if (!(isLive(core.parts, pair.port) && isLive(core.parts, pair.standIn))) return false;
  const holder = holderOf(core, pair);
  return holder !== undefined && holder.port !== dueOf(core, pair).port;
}

async function turn(core: Core, pair: Pair): Promise<void> {
  const { port, guest, nic } = dueOf(core, pair);
  try {
    await begin(core, port, { port, guest, nic, move: "ask" });
    core.parts.log.info({ port, guest, nic }, port === pair.port.port ? "the guest is connected" : "stands in");
  } catch (error) {
    core.parts.log.warn({ port, guest, nic, error: String(error) }, "a NIC could not go to the other of its ports");
  }
}

export function watchCarriers(core: Core): { stop(): void } {
  let isLooking = false;
  async function look(): Promise<void> {
    if (isLooking) return;
    isLooking = true;
    try {
      await core.serial(() => balance(core));
    } finally {
      isLooking = false;
    }
  }
  const timer = setInterval(() => {
    if (core.ports.standIns().some(({ attachment }) => isDue(core, attachment))) look().catch(core.loop.wake);
  }, core.parts.carrierEvery ?? LOOK_EVERY);
  timer.unref();
  return { stop: () => clearInterval(timer) };
}

function isDue(core: Core, attachment: Attachment): boolean {
  const pair = pairOf(core, attachment);
  return pair === undefined || isOff(core, pair);
}
