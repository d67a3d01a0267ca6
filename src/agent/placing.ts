/** Which NIC a port is given, and what the store must say of it: decided against the claims as they are now. */
import { GuardError } from "../model/errors.ts";
import { keys } from "../model/keys.ts";
import { type InterfaceName, parseObjectName } from "../model/names.ts";
import type { AttachRequest } from "../model/operations.ts";
import type { Attachment, Guest, NicClaim, PortPlace } from "../model/resources.ts";
import { asked, nextFence, samePlace, taken } from "../plan/nic-claims.ts";
import type { Transaction, Write } from "../store/store.ts";
import { type Core, claimChange, claimOf } from "./core.ts";
import { placeText, silenceOf } from "./moves.ts";
import { isLive } from "./ports.ts";

export interface Placing {
  readonly attachment: Attachment;
  /** Another port has the NIC, and is asked to let go, or will be. */
  readonly waits: boolean;
  readonly transaction: Transaction;
}

/** @throws NOT_FOUND */
function guestOf({ mirror }: Core, text: string): Guest {
  const name = parseObjectName(text);
  const guest = name === undefined ? undefined : mirror.guests.get(name);
  if (guest !== undefined) return guest;
  throw new GuardError("NOT_FOUND", `guest '${text}' does not exist`, { fields: { guest: text } });
}

const claimOn = (core: Core, { name }: Guest, nic: number): NicClaim | undefined => claimOf(core, { guest: name, nic });

/** Attachments of this host whose interface is gone, and which still have a NIC of the guest. */
export function staleHolders(core: Core, request: AttachRequest): readonly Attachment[] {
  const guest = guestOf(core, request.guest);
  return guest.nics.flatMap((_, nic) => {
    const holder = claimOn(core, guest, nic)?.holder;
    const own = holder?.host === core.parts.host ? core.mirror.attachments.get(holder.port) : undefined;
    return own === undefined || isLive(core.parts, own) ? [] : [own];
  });
}

/** Who has the NIC and is not this port. A claim of this host without its attachment is nobody's. */
function rivalOf(core: Core, claim: NicClaim | undefined, here: PortPlace): PortPlace | undefined {
  const holder = claim?.holder;
  if (holder === undefined || samePlace(holder, here)) return undefined;
  const isOrphan = holder.host === here.host && core.mirror.attachments.get(holder.port)?.fence !== claim?.fence;
  return isOrphan ? undefined : holder;
}

type Way = "is attached to" | "is on its way to";

function nicTaken(core: Core, guest: Guest, nic: number, at: PortPlace, way: Way): GuardError {
  const text = `NIC ${nic} of guest '${guest.name}' ${way} ${placeText(at)}${silenceOf(core, at)}`;
  return new GuardError("NIC_TAKEN", text, {
    fields: { guest: guest.name, nic, host: at.host, port: at.port },
  });
}

/** Without a number: that of the port, where it has one; else the first that nobody has; of a move the first that another host has and no port here waits for. */
function chosenNic(core: Core, guest: Guest, here: PortPlace, { nic, move }: AttachRequest): number {
  if (nic !== undefined) return nic;
  const own = [...core.mirror.attachments.values()].filter((one) => one.guest === guest.name);
  const present = own.find(({ port }) => port === here.port);
  if (present?.prepared === true) return present.nic;
  const isFar = (rival: PortPlace | undefined, index: number): boolean =>
    rival !== undefined && rival.host !== here.host && !own.some((one) => one.prepared === true && one.nic === index);
  const rivals = guest.nics.map((_, index) => rivalOf(core, claimOn(core, guest, index), here));
  const far = move === undefined ? -1 : rivals.findIndex(isFar);
  const free = rivals.indexOf(undefined);
  return Math.max(0, far === -1 ? free : far);
}

/** Between its own ports a host takes nothing, and may drain. @throws HOST_TWIN, HOST_DRAINING */
function assertTaking({ parts, hosts }: Core, claim: NicClaim | undefined): void {
  try {
    hosts.assertTaking();
  } catch (error) {
    const isOwn = claim?.holder?.host === parts.host;
    if (!(isOwn && error instanceof GuardError && error.code === "HOST_DRAINING")) throw error;
  }
}

const standingIn = (known: Attachment | undefined): Pick<Attachment, "standsInFor"> =>
  known?.standsInFor === undefined ? {} : { standsInFor: known.standsInFor };

/** @throws NOT_FOUND, NIC_TAKEN */
export function placing(core: Core, port: InterfaceName, ifindex: number, request: AttachRequest): Placing {
  const { parts, hosts } = core;
  const here = { host: parts.host, port };
  const guest = guestOf(core, request.guest);
  const nic = chosenNic(core, guest, here, request);
  if (guest.nics[nic] === undefined)
    throw new GuardError("NOT_FOUND", `guest '${guest.name}' has no NIC ${nic}: it has ${guest.nics.length}`, {
      fields: { guest: guest.name, nic },
    });
  const claim = claimOn(core, guest, nic);
  assertTaking(core, claim);
  const rival = rivalOf(core, claim, here);
  const own: Omit<Attachment, "fence"> = {
    port,
    ifindex,
    epoch: parts.epoch,
    ...(hosts.instance === undefined ? {} : { instance: hosts.instance }),
    guest: guest.name,
    nic,
    ...standingIn(core.mirror.attachments.get(port)),
    since: parts.clock.now(),
  };
  if (request.move === "prepare" && isApart(claim, here)) return prepared(core, { ...own, fence: claim?.fence ?? 1 });
  if (rival !== undefined && request.move === undefined) throw nicTaken(core, guest, nic, rival, "is attached to");
  const next = claim?.next;
  if (next !== undefined && !samePlace(next, here) && request.move !== "force")
    throw nicTaken(core, guest, nic, next, "is on its way to");
  const value = claim !== undefined && rival !== undefined ? asked(claim, here) : taken(claim, here);
  const attachment: Attachment = { ...own, fence: nextFence(claim) };
  const { expect, writes } = claimChange(core, attachment, value);
  return {
    attachment,
    waits: rival !== undefined,
    transaction: { expect: [...expect, ...hosts.expectation()], writes: [...writes, recordOf(core, attachment)] },
  };
}

const recordOf = ({ parts }: Core, attachment: Attachment): Write => ({
  op: "put",
  key: keys.attachment(parts.host, attachment.port),
  value: { ...attachment },
});

/** What has the NIC already, or is to have it next, is not to forget that it was given to it. */
const isApart = (claim: NicClaim | undefined, here: PortPlace): boolean =>
  !samePlace(claim?.holder, here) && !samePlace(claim?.next, here);

/** The claim is left as it is, so that any number of ports may be prepared, and none of them is in anybody's way. */
function prepared(core: Core, own: Attachment): Placing {
  const attachment: Attachment = { ...own, prepared: true };
  const key = keys.claim(own.guest, own.nic);
  const claim = claimOf(core, own);
  // Whoever has the NIC does not follow the ports of other hosts, and is told by this that there is something to ask for.
  const again = claim === undefined ? [] : claimChange(core, own, claim).writes;
  const transaction: Transaction = {
    expect: [{ key, revision: core.mirror.revisionOf(key) }, ...core.hosts.expectation()],
    writes: [...again, recordOf(core, attachment)],
  };
  return { attachment, waits: true, transaction };
}
