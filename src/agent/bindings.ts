/**
 * Addresses that guests learned, in the store: claimed so that no two have one, written before the guest hears of them, and taken away when the lease is over.
 * What is written here is what everybody else sees as the guest's address (`learned-guests.ts`).
 */
import type { Refusal } from "../addressing/learn4.ts";
import { isLearned } from "../model/addressing.ts";
import { GuardError } from "../model/errors.ts";
import { type IpAddress, ipToBytes, isIpv6 } from "../model/ip-block.ts";
import { keys } from "../model/keys.ts";
import type { Attachment, DhcpLease, LearnedFrom, NetworkSpec, NicIdentity } from "../model/resources.ts";
import { wireOf } from "../model/wiring.ts";
import { addressOn, sameClaim } from "../plan/claims.ts";
import { toJson } from "../plan/json.ts";
import { networksSharing, unfit } from "../plan/learned.ts";
import { memberChanges } from "../plan/members.ts";
import type { Transaction, Write } from "../store/store.ts";
import { joined, NOTHING } from "../store/transactions.ts";
import type { Core } from "./core.ts";
import { isAway } from "./whole-site.ts";

/** A NIC that learns, as it stands now. */
export interface Learner {
  readonly attachment: Attachment;
  readonly identity: NicIdentity;
  readonly spec: NetworkSpec;
}

/** What a server gives. */
export interface Gift {
  readonly address: IpAddress;
  readonly expiresAt: number;
  readonly from: LearnedFrom;
  readonly hostname?: string;
}

const isOver = ({ expiresAt }: DhcpLease, now: number): boolean => expiresAt <= now;

/** Of one NIC and, when it is said, of one family. */
export function leasesOf(
  { mirror }: Core,
  { guest, nic }: Pick<Attachment, "guest" | "nic">,
  family?: "ip4" | "ip6",
): readonly DhcpLease[] {
  return mirror
    .learnedLeases(guest)
    .filter((lease) => lease.nic === nic && (family === undefined || isIpv6(lease.address) === (family === "ip6")));
}

/** Whether somebody else may have the address; a lease that is over holds nothing, whoever failed to take it away. */
function isTaken(core: Core, { attachment, identity, spec }: Learner, address: IpAddress): boolean {
  const { mirror, parts } = core;
  const now = parts.clock.now();
  const own = { guest: attachment.guest, nic: attachment.nic };
  const isLapsed = (what: string, guest: string): boolean => {
    const lease = mirror.leases.get(what);
    return lease?.learned !== undefined && lease.guest === guest && isOver(lease, now);
  };
  const shared = networksSharing(mirror.networks, identity.network);
  const isClaimed = shared.some(({ name }) => {
    const what = addressOn(name, address);
    const { claim } = mirror.claimOf(what);
    return claim !== undefined && !sameClaim(claim, own) && !isLapsed(what, claim.guest);
  });
  if (isClaimed || shared.some((network) => network.spec.gateway4 === address)) return true;
  const wire = wireOf(spec.wiring);
  // Whose it is without a claim: by a prefix, by a MAC (IPv6), by allowedPairs.
  return core
    .declaredMembers()
    .holders(address)
    .some((member) => wireOf(member.networkSpec.wiring) === wire && !sameClaim(member, own));
}

/** Why the address cannot be the NIC's; undefined when it can. */
export function refusalOf(core: Core, learner: Learner, address: IpAddress): Refusal | undefined {
  const why = unfit(learner.spec, address);
  if (why !== undefined) return why;
  if (core.parts.links.isOwnAddress(ipToBytes(address), learner.attachment.ifindex)) return "host-address";
  return isTaken(core, learner, address) ? "taken" : undefined;
}

/** The lease goes, and the claim with it when it is the lease's own. */
function removal({ mirror }: Core, { network, address, guest, nic }: DhcpLease): Transaction {
  const { claim, revision } = mirror.claimOf(addressOn(network, address));
  const key = keys.address(network, address);
  const isOwn = sameClaim(claim, { guest, nic });
  return {
    expect: isOwn ? [{ key, revision }] : [],
    writes: [
      { op: "delete", key: keys.dhcpLease(network, address) },
      ...(isOwn ? [{ op: "delete", key } as const] : []),
    ],
  };
}

/** What others are told of guests that lose and get leases. */
function retold({ mirror }: Core, gone: readonly DhcpLease[], given: readonly DhcpLease[] = []): Transaction {
  const changed = [...gone, ...given];
  const parts = [...new Set(changed.map(({ guest }) => guest))].map((name) => {
    const declared = mirror.declared.guests.get(name);
    if (declared === undefined) return NOTHING;
    const isChanged = (lease: DhcpLease): boolean =>
      changed.some(({ network, address }) => network === lease.network && address === lease.address);
    const left = mirror.learnedLeases(name).filter((lease) => !isChanged(lease));
    const own = given.filter(({ guest }) => guest === name);
    return memberChanges(
      mirror.withLearned(declared),
      mirror.withLearned(declared, [...left, ...own]),
      mirror.revisionOf,
    );
  });
  return joined(parts);
}

/** Another port answers for the NIC by now. */
function isOthers({ mirror, parts }: Core, { guest, nic, port }: Attachment): boolean {
  const holder = mirror.claims.get(`${guest}/${nic}`)?.holder;
  return holder !== undefined && (holder.host !== parts.host || holder.port !== port);
}

/** What takes away all that an attachment learned: written together with its end. Of a NIC that has moved on it goes with it. */
export function endOfAll(core: Core, attachment: Attachment): Transaction {
  const leases = isOthers(core, attachment) ? [] : leasesOf(core, attachment);
  return joined([...leases.map((lease) => removal(core, lease)), retold(core, leases)]);
}

export async function end(core: Core, leases: readonly DhcpLease[]): Promise<void> {
  if (leases.length > 0)
    await core.write(joined([...leases.map((lease) => removal(core, lease)), retold(core, leases)]));
}

/** More time for what the NIC has already: nothing to decide, so it can be kept on this host while a fleet's store is away. */
function isRenewal({ mirror }: Core, { attachment, identity }: Learner, address: IpAddress): boolean {
  const what = addressOn(identity.network, address);
  const lease = mirror.leases.get(what);
  return (
    lease?.learned !== undefined &&
    lease.state === "bound" &&
    lease.mac === identity.mac &&
    sameClaim(lease, attachment) &&
    sameClaim(mirror.claimOf(what).claim, attachment)
  );
}

function leaseOf({ attachment: { guest, nic }, identity }: Learner, gift: Gift): DhcpLease {
  const { address, expiresAt, from, hostname } = gift;
  return {
    network: identity.network,
    address,
    guest,
    nic,
    mac: identity.mac,
    state: "bound",
    expiresAt,
    learned: from,
    ...(hostname === undefined ? {} : { hostname }),
  };
}

function binding(core: Core, learner: Learner, lease: DhcpLease): Transaction {
  const { mirror } = core;
  const { identity } = learner;
  const { address, guest, nic } = lease;
  const shared = networksSharing(mirror.networks, identity.network);
  const put: Write = { op: "put", key: keys.dhcpLease(identity.network, address), value: toJson(lease) };
  if (isRenewal(core, learner, address)) return { expect: [], writes: [put] };
  return {
    expect: shared.map(({ name }) => ({
      key: keys.address(name, address),
      revision: mirror.claimOf(addressOn(name, address)).revision,
    })),
    writes: [{ op: "put", key: keys.address(identity.network, address), value: { guest, nic } }, put],
  };
}

/**
 * One transaction: the new address, and the end of the one the NIC had before. Resolves when it is durable and the mirror shows it.
 * @returns why it cannot be
 */
export async function bind(core: Core, learner: Learner, gift: Gift): Promise<Refusal | undefined> {
  const why = refusalOf(core, learner, gift.address);
  if (why !== undefined) return why;
  // Nobody waits for what can only be refused.
  if (isAway(core) && !isRenewal(core, learner, gift.address)) return "journal";
  const family = isIpv6(gift.address) ? "ip6" : "ip4";
  const former = leasesOf(core, learner.attachment, family).filter(
    ({ network, address }) => network !== learner.identity.network || address !== gift.address,
  );
  try {
    const lease = leaseOf(learner, gift);
    const ends = former.map((one) => removal(core, one));
    await core.write(joined([...ends, binding(core, learner, lease), retold(core, former, [lease])]));
    return undefined;
  } catch (error) {
    if (!(error instanceof GuardError)) throw error;
    // Somebody else's claim was first.
    return error.code === "CONFLICT" ? "taken" : "journal";
  }
}

/** Why a lease must not go on; undefined while it may. */
function whyOver(core: Core, lease: DhcpLease): string | undefined {
  const { mirror, parts } = core;
  if (isOver(lease, parts.clock.now())) return "it is over";
  const nic = mirror.guests.get(lease.guest)?.nics[lease.nic];
  const spec = nic === undefined ? undefined : mirror.networks.get(nic.network);
  if (nic?.network !== lease.network || nic.mac !== lease.mac || spec === undefined) return "the NIC is another one";
  if (!isLearned(spec.addressing)) return "addresses of the network are decided here";
  return unfit(spec, lease.address) === undefined ? undefined : "the network has no place for it any more";
}

/** Takes away what is over of the ports of this host; what a host that is gone left behind is taken by whoever is given the address. */
export async function sweep(core: Core): Promise<void> {
  const { mirror, parts } = core;
  // What is over is shut by the kernel meanwhile.
  if (isAway(core)) return;
  const own = [...new Set([...mirror.attachments.values()].flatMap((attachment) => leasesOf(core, attachment)))];
  const over = own.flatMap((lease) => {
    const why = whyOver(core, lease);
    return why === undefined ? [] : [{ lease, why }];
  });
  for (const { lease, why } of over)
    parts.log.info(
      { network: lease.network, address: lease.address, guest: lease.guest, why },
      "a learned address ended",
    );
  await end(
    core,
    over.map(({ lease }) => lease),
  );
}
