/** A port is given to a NIC, and taken back. */

import { GuardError } from "../model/errors.ts";
import { keys } from "../model/keys.ts";
import { type InterfaceName, isGuarded, parseInterfaceName, parseObjectName } from "../model/names.ts";
import type { Operations, PortView } from "../model/operations.ts";
import type { Attachment } from "../model/resources.ts";
import { portWish } from "../plan/desired.ts";
import { address6Of } from "../plan/sources.ts";
import { type Core, forget, hostView, setPort } from "./core.ts";
import { type PortState, portView } from "./ports.ts";

type AttachRequest = Parameters<Operations["attach"]>[0];

export async function attach(core: Core, request: AttachRequest): Promise<PortView> {
  const port = guardedName(core, request.port);
  const link = core.parts.links.byName(port);
  if (link === undefined)
    throw new GuardError("PORT_MISSING", `interface '${port}' does not exist`, { fields: { port } });
  const present = core.mirror.attachments.get(port);
  if (present !== undefined && isLive(core, present)) {
    const state = sameNic(present, request) ? core.ports.get(port) : undefined;
    if (!sameNic(present, request)) throw portTaken(present);
    // A second call for what already holds cuts nothing.
    if (state?.state === "applied") return viewOf(core, state);
  } else if (present !== undefined) await forget(core, present);
  const attachment = newAttachment(core, port, link.ifindex, request);
  const wish = portWish(core.mirror, core.facts(), attachment, hostView(core));
  await core.write({
    expect: [],
    writes: [{ op: "put", key: keys.attachment(core.parts.host, port), value: { ...attachment } }],
  });
  setPort(core, { attachment, state: "pending", wish });
  try {
    core.enforcer.attach(wish);
  } catch (error) {
    await forget(core, attachment);
    throw error;
  }
  const state: PortState = { attachment, state: "applied", wish };
  setPort(core, state);
  return viewOf(core, state);
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
  return portView(state, { identity, addresses6: address6 === undefined ? [] : [address6] });
}

function guardedName(core: Core, text: string): InterfaceName {
  const port = parseInterfaceName(text);
  if (port !== undefined && isGuarded(port, core.parts.portPrefixes)) return port;
  const rule =
    port === undefined ? "is not an interface name" : `does not begin with ${core.parts.portPrefixes.join(", ")}`;
  throw new GuardError("PORT_NAME", `${JSON.stringify(text)} ${rule}`, { fields: { port: text } });
}

const isLive = (core: Core, attachment: Attachment): boolean =>
  attachment.epoch === core.parts.epoch && core.parts.links.byIndex(attachment.ifindex)?.name === attachment.port;

const sameNic = (attachment: Attachment, request: Pick<AttachRequest, "guest" | "nic">): boolean =>
  attachment.guest === request.guest && (request.nic === undefined || request.nic === attachment.nic);

const portTaken = ({ port, guest, nic }: Attachment): GuardError =>
  new GuardError("PORT_TAKEN", `port '${port}' is attached to guest '${guest}' NIC ${nic}`, {
    fields: { port, guest, nic },
  });

/** The record of a port that is to be attached. @throws NOT_FOUND, NIC_TAKEN */
function newAttachment(
  core: Core,
  port: InterfaceName,
  ifindex: number,
  request: Pick<AttachRequest, "guest" | "nic">,
): Attachment {
  const name = parseObjectName(request.guest);
  const guest = name === undefined ? undefined : core.mirror.guests.get(name);
  if (guest === undefined)
    throw new GuardError("NOT_FOUND", `guest '${request.guest}' does not exist`, { fields: { guest: request.guest } });
  const taken = new Map<number, Attachment>();
  for (const other of core.mirror.attachments.values()) {
    if (other.guest === guest.name && other.port !== port && isLive(core, other)) taken.set(other.nic, other);
  }
  const nic = request.nic ?? guest.nics.findIndex((_, index) => !taken.has(index));
  const holder = taken.get(nic) ?? (nic === -1 ? taken.get(0) : undefined);
  if (holder !== undefined) {
    throw new GuardError(
      "NIC_TAKEN",
      `NIC ${holder.nic} of guest '${guest.name}' is attached to port '${holder.port}'`,
      { fields: { guest: guest.name, nic: holder.nic, port: holder.port } },
    );
  }
  if (guest.nics[nic] === undefined) {
    throw new GuardError("NOT_FOUND", `guest '${guest.name}' has no NIC ${nic}: it has ${guest.nics.length}`, {
      fields: { guest: guest.name, nic },
    });
  }
  return { port, ifindex, epoch: core.parts.epoch, guest: guest.name, nic, since: core.parts.clock.now() };
}

export async function detach(core: Core, text: string): Promise<{ readonly detached: boolean }> {
  const port = guardedName(core, text);
  const attachment = core.mirror.attachments.get(port);
  if (attachment === undefined) return { detached: false };
  await forget(core, attachment);
  return { detached: true };
}
