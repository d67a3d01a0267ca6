/**
 * A NIC moves from one port to another, of this host or of two (invariant I18). The port that has it lets go when the claim asks it to: shut, read back, and only
 * then said in the store; the port that waits opens when the claim names it. Both follow the claim as it changes, and again in every pass.
 */
import { GuardError } from "../model/errors.ts";
import { type InterfaceName, parseInterfaceName } from "../model/names.ts";
import type { Attachment, PortPlace } from "../model/resources.ts";
import { portWish } from "../plan/desired.ts";
import { type PortWish, portChainPrefix } from "../plan/host.ts";
import { type Hold, holdOf, samePlace, settled } from "../plan/nic-claims.ts";
import { tablePrefix } from "../ruleset/skeleton.ts";
import type { Transaction } from "../store/store.ts";
import { NOTHING } from "../store/transactions.ts";
import { type Core, claimChange, claimOf, close, hostView, releaseOf, setPort } from "./core.ts";
import { isLive, type PortState } from "./ports.ts";

/** What could not be let go, or could not be said, is tried again after so long, in milliseconds. */
const RETRY_MS = 1_000;
/** A move that takes longer is told in `status`, in milliseconds: what goes well takes some ten. */
const TOLD_AFTER = 2_000;

export const holdIn = (core: Core, attachment: Attachment): Hold =>
  holdOf(claimOf(core, attachment), core.parts.host, attachment);

/** Whether the kernel may hold anything for it. */
export function mayStand(core: Core, attachment: Attachment): boolean {
  const hold = holdIn(core, attachment);
  return hold === "ours" || isHeldBack(hold);
}

/** Its rules are in, and another port answers for the NIC. */
export const isHeldBack = (hold: Hold): boolean => hold === "waiting" || hold === "prepared";

/**
 * While the store is away its copy may not know that this host let go of the NIC. What is open stays; what an agent before this one left shut opens when the store
 * has been heard.
 */
export function isInDoubt({ parts, ports }: Core, { port, ifindex }: Attachment): boolean {
  if (parts.storeHealth?.now() === undefined || ports.get(port)?.state === "applied") return false;
  return parts.links.byIndex(ifindex)?.up !== true;
}

export const placeText = ({ host, port }: PortPlace): string => `port '${port}' of host '${host}'`;

/** What to say behind the name of a port whose host is not heard, and what can be done. */
export function silenceOf({ hosts }: Core, { host }: PortPlace): string {
  const silence = hosts.silence(host);
  if (silence === undefined) return "";
  return `; that host is ${silence}: start its agent, or, if it is off for certain, 'vifguard host forget ${host} --force' frees all its NICs and 'attach --move --force' takes this one`;
}

function silenceIn({ hosts }: Core, { host }: PortPlace): string {
  const silence = hosts.silence(host);
  return silence === undefined ? "" : ` (${silence})`;
}

/** Where the NIC of a port that does not have it is. */
export function whereaboutsOf(core: Core, { attachment, state, wish }: PortState): string | undefined {
  const { holder, next } = claimOf(core, attachment) ?? {};
  if (state === "moved")
    return holder === undefined ? "moved, and attached nowhere now" : `moved to ${placeText(holder)}`;
  if (attachment.prepared === true)
    return `takes its NIC when it is activated; ${holder === undefined ? "nobody" : placeText(holder)} has it now`;
  if (wish?.waits === true && holder !== undefined)
    return samePlace(holder, { host: core.parts.host, port: attachment.port })
      ? "waits for the store, which may have given its NIC to another"
      : `waits for ${placeText(holder)} to let go${silenceIn(core, holder)}`;
  return next === undefined || state === "failed" ? undefined : `asked to let go for ${placeText(next)}`;
}

/** Ports of this host whose claims changed. */
export async function followClaims(core: Core, ports: readonly InterfaceName[]): Promise<void> {
  for (const port of ports) {
    const attachment = core.mirror.attachments.get(port);
    if (attachment === undefined) {
      // Its record went with its host's.
      if (core.ports.get(port) !== undefined) core.loop.wake();
      continue;
    }
    // Never seen by this agent, or asked for with an answer that was lost: the pass knows what to do with it.
    if (core.ports.get(port) === undefined) core.loop.wake();
    else await follow(core, attachment);
  }
}

async function follow(core: Core, attachment: Attachment): Promise<void> {
  const known = core.ports.get(attachment.port);
  switch (holdIn(core, attachment)) {
    case "asked":
    case "lost":
      if (known?.state === "moved" || leave(core, attachment)) await confirm(core, attachment);
      return;
    case "ours":
      if (known?.state === "moved" || known?.wish?.waits === true) open(core, attachment);
      await settle(core, attachment);
      return;
    default:
      // Waits on.
      return;
  }
}

/** Before the port opens: whom the guest goes on to speak to. */
export function teach(core: Core, attachment: Attachment, wish: PortWish): void {
  const { knows = [] } = claimOf(core, attachment) ?? {};
  if (knows.length > 0) core.enforcer.learned.teach(wish.binding, knows);
}

/** What was carried over is learned, and must not be learned again when it is no longer true. */
async function settle(core: Core, attachment: Attachment): Promise<void> {
  if (core.ports.get(attachment.port)?.state !== "applied") return;
  await say(core, attachment, () => {
    const claim = claimOf(core, attachment);
    if (claim?.knows === undefined || holdIn(core, attachment) !== "ours") return NOTHING;
    return claimChange(core, attachment, settled(claim));
  });
}

/** From whatever the port is to what its NIC needs. What fails is tried again by the next pass. */
export function open(core: Core, attachment: Attachment): void {
  let wish: PortWish | undefined;
  try {
    wish = portWish(core.mirror, core.facts(), attachment, hostView(core));
    teach(core, attachment, wish);
    core.enforcer.attach(wish);
    setPort(core, { attachment, state: "applied", wish });
    if (wish.binding.learns === true) core.learning.sync();
  } catch (error) {
    setPort(core, { attachment, state: "failed", wish, error: asGuardError(error) });
    retry(core);
  }
}

/** Shuts the port and reads back that it is; false when it cannot be said that it is shut, and then nobody is told so. */
export function leave(core: Core, attachment: Attachment): boolean {
  const { port, ifindex } = attachment;
  // Where this host serves the NIC by another port, what is keyed by its addresses is that one's; the rest goes with the pass that comes.
  const isBeside = holdIn(core, attachment) === "lost" && claimOf(core, attachment)?.holder?.host === core.parts.host;
  const wish = core.ports.get(port)?.wish ?? (isBeside ? undefined : wishOf(core, attachment));
  try {
    const knows = wish === undefined ? [] : core.enforcer.learned.of(wish.binding);
    close(core, attachment, wish, () => undefined);
    if (!core.enforcer.isShut(ifindex, wish))
      throw new GuardError("VERIFY_FAILED", `port '${port}' does not shut`, { fields: { port } });
    core.ports.set({ attachment, state: "moved", wish: undefined, knows });
    core.parts.log.info({ port, guest: attachment.guest, nic: attachment.nic }, "let go of the NIC");
    return true;
  } catch (error) {
    core.ports.set({ attachment, state: "failed", wish, error: asGuardError(error) });
    retry(core);
    return false;
  }
}

/** For an agent that has not seen the port applied, but whose kernel may hold all of it. */
function wishOf(core: Core, attachment: Attachment): PortWish | undefined {
  try {
    return portWish(core.mirror, core.facts(), attachment, hostView(core));
  } catch (error) {
    asGuardError(error);
    return undefined;
  }
}

/** The claim is given on; the port keeps its record, and stays shut. */
function confirm(core: Core, attachment: Attachment): Promise<void> {
  // Whoever asked may have given up meanwhile.
  return say(core, attachment, () => (holdIn(core, attachment) === "asked" ? releaseOf(core, attachment) : NOTHING));
}

async function say(core: Core, { port }: Attachment, make: () => Transaction): Promise<void> {
  try {
    if (make().writes.length > 0) await core.writeAnew(make);
  } catch (error) {
    core.parts.log.warn({ error: String(error), port }, "what became of a port could not be said in the store");
    retry(core);
  }
}

/** Before anything else in a pass: what this host has lost is shut. @returns those whose interface is gone: to be forgotten behind the rules of the pass */
export function leaveLost(core: Core): readonly Attachment[] {
  const lost = [...core.mirror.attachments.values()].filter((attachment) => !mayStand(core, attachment));
  const gone = lost.filter((attachment) => !isLive(core.parts, attachment));
  for (const attachment of lost)
    if (!gone.includes(attachment) && core.ports.get(attachment.port)?.state !== "moved") leave(core, attachment);
  leaveForgotten(core);
  return gone;
}

/** Ports whose records are gone: an operator took this host for one that does not come back. */
function leaveForgotten(core: Core): void {
  for (const { attachment, state } of core.ports.list()) {
    const { port, ifindex } = attachment;
    if (core.mirror.attachments.get(port)?.ifindex === ifindex) continue;
    if (state === "moved" || leave(core, attachment)) core.ports.delete(port);
  }
}

/** The same of an agent that was started since: what its kernel still has chains for, and nobody attached. */
export function shutForgotten({ parts, mirror }: Core): void {
  const tables = parts.nft.tables("netdev").filter((name) => name.startsWith(tablePrefix));
  const chains = tables.flatMap((table) => parts.nft.portChains(table, portChainPrefix.ingress) ?? []);
  for (const device of chains.flatMap(({ devices }) => devices)) {
    const port = parseInterfaceName(device);
    const link = port === undefined ? undefined : parts.links.byName(port);
    if (port === undefined || link === undefined || mirror.attachments.get(port)?.ifindex === link.ifindex) continue;
    parts.links.setUp(link.ifindex, false);
    if (link.master !== 0) parts.links.setMaster(link.ifindex, 0);
    parts.log.warn({ port }, "a port that is attached to nobody was shut");
  }
}

/** After the rules of a pass, which removed what was left of ports that this agent never saw applied. */
export async function sayWhatBecame(core: Core): Promise<void> {
  for (const attachment of [...core.mirror.attachments.values()]) {
    if (core.ports.get(attachment.port)?.state === "moved") await confirm(core, attachment);
    else if (claimOf(core, attachment)?.knows !== undefined) await settle(core, attachment);
  }
}

function retry({ loop }: Core): void {
  setTimeout(loop.wake, RETRY_MS).unref();
}

export function tellWaiting(core: Core): void {
  const late = core.ports.list().filter(({ attachment, wish }) => {
    const isLate = core.parts.clock.now() - attachment.since >= TOLD_AFTER;
    return isLate && wish?.waits === true && holdIn(core, attachment) === "waiting";
  });
  const text = late.map((state) => `${state.attachment.port} (${whereaboutsOf(core, state) ?? "nobody asked"})`);
  if (late.length === 0) core.conditions.clear("MOVE_WAITING");
  else core.conditions.raise("MOVE_WAITING", text.join(", "));
}

function asGuardError(error: unknown): GuardError {
  if (error instanceof GuardError) return error;
  throw error;
}
