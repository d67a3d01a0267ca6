/** A port is given to a NIC, and taken back. */

import { isLearned } from "../model/addressing.ts";
import { GuardError, isConflict } from "../model/errors.ts";
import { type InterfaceName, isGuarded, parseHostId, parseInterfaceName, parseObjectName } from "../model/names.ts";
import type { AttachRequest, MoveKind, PortView } from "../model/operations.ts";
import type { Attachment } from "../model/resources.ts";
import { portWish } from "../plan/desired.ts";
import { waitingWish } from "../plan/host.ts";
import { sharedAddresses, sharedWith } from "../plan/nat.ts";
import { holdOf, nextFence, taken } from "../plan/nic-claims.ts";
import { address6Of } from "../plan/sources.ts";
import type { Translation } from "../ruleset/nat-elements.ts";
import { NOTHING } from "../store/transactions.ts";
import { type Core, claimChange, claimOf, close, forget, hostView, setPort } from "./core.ts";
import type { Mirror } from "./mirror.ts";
import { holdIn, open, placeText, silenceOf, teach, whereaboutsOf } from "./moves.ts";
import { isStandby, pairedView } from "./pairs.ts";
import { type Placing, placing, staleHolders } from "./placing.ts";
import { isLive, type PortState, portView, shutState } from "./ports.ts";

/** Another port is given so long to let go, in milliseconds; what goes well takes some ten. */
const PATIENCE = 5_000;
const ATTEMPTS = 5;

/** Waiting for another host happens outside the queue, where it holds nobody up. */
export async function attach(core: Core, request: AttachRequest): Promise<PortView> {
  const port = guardedName(core, request.port);
  await core.hosts.ready();
  return outcome(core, await begunWith(core, port, request), request.move);
}

/** Of a port that waits: once it is open. @throws MOVE_WAITING, and what became of it instead */
export async function outcome(core: Core, begun: PortState, move: MoveKind | undefined): Promise<PortView> {
  if (begun.state !== "pending" || move === undefined || move === "prepare") return viewOf(core, begun);
  const { port } = begun.attachment;
  const moved = await arrival(core, port);
  if (moved !== undefined) return viewOf(core, moved);
  if (move === "force") return core.serial(() => takeOver(core, port));
  const { holder } = claimOf(core, begun.attachment) ?? {};
  const whose = holder === undefined ? "the port that has its NIC" : placeText(holder);
  const why = holder === undefined ? "" : silenceOf(core, holder);
  throw new GuardError("MOVE_WAITING", `port '${port}' is prepared, but ${whose} has not let go${why}`, {
    fields: { port, ...holder },
  });
}

/** What the port needs of the store is there before it is its turn. */
async function begunWith(core: Core, port: InterfaceName, request: AttachRequest): Promise<PortState> {
  const guest = parseObjectName(request.guest);
  const letGo = guest === undefined ? () => undefined : await core.mirror.ask(guest);
  try {
    return await core.serial(() => begin(core, port, request));
  } finally {
    // By now its attachment says so.
    letGo();
  }
}

/** To the open port, or to the prepared one where another has the NIC. */
export async function begin(core: Core, port: InterfaceName, request: AttachRequest): Promise<PortState> {
  const link = core.parts.links.byName(port);
  if (link === undefined)
    throw new GuardError("PORT_MISSING", `interface '${port}' does not exist`, { fields: { port } });
  const present = core.mirror.attachments.get(port);
  if (present !== undefined && isLive(core.parts, present)) {
    if (!sameNic(present, request)) throw portTaken(present);
    const state = core.ports.get(port);
    // A second call for what already holds cuts nothing.
    if (
      state !== undefined &&
      (isBegun(core, state, request) || (request.move === undefined && isStandby(core, state)))
    )
      return state;
  } else if (present !== undefined) await forget(core, present);
  for (const stale of staleHolders(core, request)) await forget(core, stale);
  for (let attempt = 1; ; attempt += 1) {
    const { revision } = core.mirror;
    const plan = placing(core, port, link.ifindex, request);
    const state = await place(core, plan).catch((error: unknown) => {
      if (!isConflict(error) || attempt === ATTEMPTS) throw error;
      return undefined;
    });
    if (state !== undefined) return state;
    // Somebody was faster: what they did decides.
    await core.news(revision);
    await core.hosts.refresh();
  }
}

function isBegun(core: Core, { attachment, state }: PortState, { move }: AttachRequest): boolean {
  const hold = holdIn(core, attachment);
  if (hold === "prepared") return move === "prepare" && state === "prepared";
  return hold === "ours" ? state === "applied" : hold === "waiting" && state === "pending";
}

async function place(core: Core, { attachment, waits, transaction }: Placing): Promise<PortState> {
  const wish = portWish(core.mirror, core.facts(), attachment, hostView(core));
  await assertSharedHere(core, attachment, wish.binding.nat);
  const isPrepared = core.ports.get(attachment.port)?.state === "prepared";
  if (!waits) {
    await core.write(transaction);
    if (isPrepared) return opened(core, attachment);
    setPort(core, { attachment, state: "pending", wish });
    teach(core, attachment, wish);
    try {
      core.enforcer.attach(wish);
    } catch (error) {
      await forget(core, attachment);
      throw error;
    }
    return known(core, { attachment, state: "applied", wish });
  }
  const prepared = waitingWish(wish);
  // First what may fail here, while the other port still serves the guest.
  if (!isPrepared) core.enforcer.prepare(prepared);
  try {
    await core.write(transaction);
  } catch (error) {
    if (!isPrepared) close(core, attachment, prepared, () => core.ports.delete(attachment.port));
    throw error;
  }
  return known(core, { attachment, state: shutState(attachment), wish: prepared });
}

/** The guest runs here already: what fails is tried again. */
function opened(core: Core, attachment: Attachment): PortState {
  open(core, attachment);
  const state = core.ports.get(attachment.port);
  if (state?.state === "applied") return state;
  throw state?.error ?? new GuardError("INTERNAL", `port '${attachment.port}' did not open`);
}

function known(core: Core, state: PortState): PortState {
  setPort(core, state);
  if (state.state === "applied" && state.wish?.binding.learns === true) core.learning.sync();
  return state;
}

/** The port once it is open; undefined when it still waits after some time. @throws what became of it instead */
async function arrival(core: Core, port: InterfaceName): Promise<PortState | undefined> {
  const deadline = performance.now() + (core.parts.movePatience ?? PATIENCE);
  for (;;) {
    const state = core.ports.get(port);
    if (state === undefined || state.state === "moved")
      throw new GuardError("CONFLICT", `the move to port '${port}' was given up meanwhile`, { fields: { port } });
    if (state.error !== undefined) throw state.error;
    if (state.state === "applied") return state;
    const left = deadline - performance.now();
    if (left <= 0) return undefined;
    await core.ports.next(port, left);
  }
}

/** The operator has said that whoever has the NIC is off. */
async function takeOver(core: Core, port: InterfaceName): Promise<PortView> {
  const attachment = core.mirror.attachments.get(port);
  if (attachment === undefined)
    throw new GuardError("CONFLICT", `port '${port}' was detached meanwhile`, { fields: { port } });
  await core.writeAnew(() => {
    const claim = claimOf(core, attachment);
    if (holdIn(core, attachment) !== "waiting") return NOTHING;
    const { guest, nic } = attachment;
    core.parts.log.warn({ guest, nic, from: claim?.holder, fence: nextFence(claim) }, "NIC taken by force");
    return claimChange(core, attachment, taken(claim, { host: core.parts.host, port }));
  });
  if (holdIn(core, attachment) !== "ours")
    throw new GuardError("CONFLICT", "another port took the NIC meanwhile", { fields: { port } });
  if (core.ports.get(port)?.state !== "applied") open(core, attachment);
  const state = core.ports.get(port);
  if (state?.state === "applied") return viewOf(core, state);
  throw state?.error ?? new GuardError("INTERNAL", `port '${port}' did not open`, { fields: { port } });
}

export function viewOf(core: Core, state: PortState): PortView {
  const { guest, nic } = state.attachment;
  const found = core.mirror.guests.get(guest);
  const [identity, spec] = [found?.nics[nic], found?.spec.nics[nic]];
  const network = identity === undefined ? undefined : core.mirror.networks.get(identity.network);
  const address6 =
    identity === undefined || spec === undefined || network === undefined
      ? undefined
      : address6Of({ spec, identity }, network);
  const paired = pairedView(core, state);
  const whereabouts = paired.why ?? whereaboutsOf(core, state);
  return portView(paired.state, {
    identity,
    addresses6: address6 === undefined ? [] : [address6],
    ...(network !== undefined && isLearned(network.addressing) ? { learns: network.addressing.kind } : {}),
    ...(whereabouts === undefined ? {} : { whereabouts }),
  });
}

export function guardedName(core: Core, text: string): InterfaceName {
  const port = parseInterfaceName(text);
  if (port !== undefined && isGuarded(port, core.parts.portPrefixes)) return port;
  const rule =
    port === undefined ? "is not an interface name" : `does not begin with ${core.parts.portPrefixes.join(", ")}`;
  throw new GuardError("PORT_NAME", `${JSON.stringify(text)} ${rule}`, { fields: { port: text } });
}

/** Two hosts that answer for one address take each other's packets. @throws ADDRESS_TAKEN */
async function assertSharedHere(core: Core, { guest, nic }: Attachment, nat: Translation | undefined): Promise<void> {
  if (nat === undefined || sharedAddresses(nat).length === 0) return;
  const mirror = await core.whole();
  for (const [key, other] of mirror.elsewhere) {
    const [, host = ""] = key.split("/");
    const isOwn = other.guest === guest && other.nic === nic;
    const address = isOwn || !mayAnswer(mirror, host, other) ? undefined : sharedWith(mirror, nat, other);
    if (address === undefined) continue;
    throw new GuardError(
      "ADDRESS_TAKEN",
      `public address ${address} is answered for by host '${host}', where guest '${other.guest}' shares it: attach both on one host`,
      { fields: { address, host, guest: other.guest } },
    );
  }
}

/** A port that let go of its NIC, or has not asked for it, has a record all the same. */
function mayAnswer({ claims }: Mirror, text: string, other: Attachment): boolean {
  const host = parseHostId(text);
  const claim = claims.get(`${other.guest}/${other.nic}`);
  return (
    other.prepared !== true && (host === undefined || claim === undefined || holdOf(claim, host, other) !== "lost")
  );
}

const sameNic = (attachment: Attachment, request: Pick<AttachRequest, "guest" | "nic">): boolean =>
  attachment.guest === request.guest && (request.nic === undefined || request.nic === attachment.nic);

export const portTaken = ({ port, guest, nic }: Attachment): GuardError =>
  new GuardError("PORT_TAKEN", `port '${port}' is attached to guest '${guest}' NIC ${nic}`, {
    fields: { port, guest, nic },
  });

export async function detach(core: Core, text: string): Promise<{ readonly detached: boolean }> {
  const port = guardedName(core, text);
  const attachment = core.mirror.attachments.get(port);
  if (attachment === undefined) return { detached: false };
  await forget(core, attachment);
  return { detached: true };
}
