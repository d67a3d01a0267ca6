/** What the parts of a running agent share, and the one way an attachment ends. */
import type { Conntrack } from "../kernel/conntrack.ts";
import type { Datagrams } from "../kernel/datagrams.ts";
import type { Frames } from "../kernel/frames.ts";
import type { Links } from "../kernel/links.ts";
import type { Nft } from "../kernel/nft.ts";
import type { Probes } from "../kernel/probes.ts";
import type { Clock } from "../model/clock.ts";
import { GuardError } from "../model/errors.ts";
import { parseIpBlock } from "../model/ip-block.ts";
import { ipv4FromBytes } from "../model/ipv4.ts";
import { ipv6FromBytes } from "../model/ipv6.ts";
import { keys } from "../model/keys.ts";
import type { HostId, ObjectName, PortPrefix } from "../model/names.ts";
import type { StatusView } from "../model/operations.ts";
import type { Attachment, NicClaim } from "../model/resources.ts";
import type { HostView } from "../plan/desired.ts";
import { type PortWish, routingOf } from "../plan/host.ts";
import { released } from "../plan/nic-claims.ts";
import type { Members } from "../plan/policy-members.ts";
import type { PoolUse } from "../plan/pools.ts";
import type { NetworkFacts } from "../ruleset/elements.ts";
import type { PolicyFacts } from "../ruleset/policy-elements.ts";
import { encodeRecord } from "../store/collections.ts";
import type { StoreHealth } from "../store/health.ts";
import { readRecord } from "../store/read-record.ts";
import type { Entry, Key, Revision, Store, Transaction } from "../store/store.ts";
import { joined, NOTHING } from "../store/transactions.ts";
import type { Announcer } from "./announcer.ts";
import { endOfAll } from "./bindings.ts";
import type { Conditions } from "./conditions.ts";
import type { PortDhcp } from "./dhcp.ts";
import type { Drops } from "./drops.ts";
import type { Enforcer } from "./enforcer.ts";
import type { FlowSweeper } from "./flows.ts";
import type { Hosts } from "./hosts.ts";
import type { Learning } from "./learning.ts";
import type { Loop } from "./loop.ts";
import type { Mirror } from "./mirror.ts";
import type { Neighbours } from "./neighbours.ts";
import { inheritance } from "./pairs.ts";
import type { PortState, Ports } from "./ports.ts";
import type { PresenceParts } from "./presence.ts";
import type { Routing } from "./router.ts";
import type { Scope } from "./scope.ts";
import type { Serial } from "./serial.ts";

/** What the agent tells its log; pino fits. */
export interface Log {
  info(fields: object, message: string): void;
  warn(fields: object, message: string): void;
  error(fields: object, message: string): void;
}

export interface AgentParts {
  readonly nft: Nft;
  readonly links: Links;
  readonly frames: Frames;
  readonly routing: Routing;
  /** Absent where nobody on the LAN is asked for an address before it is given. */
  readonly probes?: Probes;
  readonly datagrams: Datagrams;
  /** Absent where the kernel tracks no connections for us. */
  readonly conntrack?: Conntrack;
  readonly store: Store;
  /** For questions about the whole site, of which no copy need be kept; without it the same. */
  readonly siteStore?: Store;
  /** How much of the store is held all the time: all of it, unless it says less. */
  readonly scope?: Scope;
  readonly clock: Clock;
  readonly log: Log;
  readonly host: HostId;
  readonly epoch: string;
  readonly portPrefixes: readonly PortPrefix[];
  readonly version: string;
  /** For `status`: kernel release, nft version, what was found of what the guard needs. */
  readonly kernel: Omit<StatusView["kernel"], "guard">;
  readonly storeKind: string;
  /** Of a store behind a network. */
  readonly storeHealth?: StoreHealth;
  readonly copyHealth?: StoreHealth;
  /** Whether a store that was restored knows all guests that are attached here. */
  readonly restoreHealth?: StoreHealth;
  /** How often everything is read back though nothing was heard, in milliseconds. */
  readonly auditEvery: number;
  /** How long a move waits for the port that has the NIC before it says so, in milliseconds. */
  readonly movePatience?: number;
  /** How often it is looked who is connected where a NIC has two ports, in milliseconds. */
  readonly carrierEvery?: number;
  /** Who this host is among others. */
  readonly presence?: PresenceParts;
}

/** What the parts of the agent share. */
export interface Core {
  readonly parts: AgentParts;
  /** What concerns this host. */
  readonly mirror: Mirror;
  /** For what is asked once, or about the whole site: nothing of it is kept on this host. */
  readonly siteStore: Store;
  /** The whole site. @throws STORE_UNAVAILABLE */
  whole(): Promise<Mirror>;
  readonly enforcer: Enforcer;
  readonly ports: Ports;
  readonly conditions: Conditions;
  readonly drops: Drops;
  readonly dhcp: PortDhcp;
  readonly neighbours: Neighbours;
  readonly learning: Learning;
  readonly flows: FlowSweeper;
  readonly announcer: Announcer;
  readonly hosts: Hosts;
  readonly serial: Serial;
  readonly loop: Loop;
  readonly startedAt: number;
  /** Facts of every network, kept until the site changes, so that attaching costs the same however many guests there are. */
  facts(): ReadonlyMap<ObjectName, NetworkFacts>;
  /** Who is who for the service policy, kept in the same way. */
  members(): Members;
  /** Networks whose addresses run out. */
  pools(): readonly PoolUse[];
  /** The same of the site as it was declared: without what was learned since. */
  declaredMembers(): Members;
  /** What the rules know of it. */
  policy(): PolicyFacts;
  /** Commits to the store and waits until the mirror shows it. @throws CONFLICT, STORE_UNAVAILABLE */
  write(transaction: Transaction): Promise<void>;
  /** The same, made anew when somebody else was faster. `make` sees the store as it is now, and may throw. */
  writeAnew(make: () => Transaction): Promise<void>;
  /** After a conflict: resolves when the mirror shows what came after that revision, which somebody else wrote. */
  news(revision: Revision): Promise<void>;
  newsOf(mirror: Mirror, revision: Revision): Promise<void>;
  random(count: number): Uint8Array;
}

export const hostView = ({ parts, enforcer }: Pick<Core, "parts" | "enforcer">): HostView => ({
  links: parts.links,
  families: enforcer.families,
  nat: enforcer.nat,
  isOwnAddress: parts.links.isOwnAddress,
  lan: (ifindex) =>
    parts.routing.routes.lan(ifindex).flatMap(({ address, length }) => {
      const first = address.length === 4 ? ipv4FromBytes(address) : ipv6FromBytes(address);
      return parseIpBlock(`${first}/${length}`) ?? [];
    }),
});

/** Remembers what became of a port, and what its responders may say from now on. */
export function setPort(core: Core, state: PortState): void {
  core.ports.set(state);
  core.dhcp.refresh(state.attachment);
  core.neighbours.refresh(state);
  core.announcer.refresh(state);
}

/**
 * Removes every trace of an attachment, in the kernel first: while its record stands, it can be tried again.
 * Elements of an attachment this agent never saw applied are left to the full pass, which removes what nobody wants.
 */
export async function forget(core: Core, attachment: Attachment): Promise<void> {
  const { ports, mirror, parts } = core;
  const { port, ifindex } = attachment;
  const { wish, knows: kept } = ports.get(port) ?? {};
  const isGoingOn = (await isAwaited(core, attachment)) || inheritance(core, attachment) !== undefined;
  const knows = kept ?? (isGoingOn && wish !== undefined ? core.enforcer.learned.of(wish.binding) : []);
  close(core, attachment, wish, () => ports.delete(port));
  if (mirror.attachments.get(port)?.ifindex !== ifindex) return;
  await core.writeAnew(() => {
    const own: Transaction = { expect: [], writes: [{ op: "delete", key: keys.attachment(parts.host, port) }] };
    const claim = inheritance(core, attachment, knows) ?? releaseOf(core, attachment, knows);
    return joined([claim, own, isGoingOn ? NOTHING : endOfAll(core, attachment)]);
  });
  // What stands in for a port goes with it.
  const standIn = ports.standInOf(port)?.attachment;
  if (standIn !== undefined) await forget(core, standIn);
}

/** Takes a port out of the kernel and from its responders, and remembers instead what `after` says. */
export function close(core: Core, attachment: Attachment, wish: PortWish | undefined, after: () => void): void {
  const { port, ifindex } = attachment;
  core.enforcer.detach(port, ifindex, wish);
  after();
  forgetFlows(core, wish);
  core.dhcp.forget(ifindex);
  core.neighbours.forget(ifindex);
  core.announcer.forget(ifindex);
  core.learning.forget(attachment);
}

/**
 * What a port that is shut, or that gives up waiting, writes into the claim of its NIC; nothing where it has no part in it.
 * @throws KERNEL_REFUSED while the kernel may hold more of the NIC than this agent knows of: a proxy entry outlives its port and its agent, and answers on
 */
export function releaseOf(
  core: Core,
  attachment: Attachment,
  knows = core.ports.get(attachment.port)?.knows,
): Transaction {
  const { port } = attachment;
  const claim = released(claimOf(core, attachment), core.parts.host, attachment, knows);
  if (claim === undefined) return NOTHING;
  if (!core.enforcer.router.isSwept())
    throw new GuardError("KERNEL_REFUSED", `what an earlier agent left of port '${port}' is not removed yet`, {
      fields: { port },
    });
  return claimChange(core, attachment, claim);
}

type Nic = Pick<Attachment, "guest" | "nic">;

/** A port is prepared for the NIC, here or elsewhere: its guest is on its way, and goes on with what it had. */
async function isAwaited({ mirror, parts, siteStore }: Core, { guest, nic }: Nic): Promise<boolean> {
  const isFor = (one: Attachment): boolean => one.prepared === true && one.guest === guest && one.nic === nic;
  if ([...mirror.attachments.values(), ...mirror.elsewhere.values()].some(isFor)) return true;
  const { scope, storeHealth } = parts;
  // Whoever prepares a port writes the claim again as it is, so most often nobody need be asked.
  if (scope !== "host" || mirror.isOwnWrite(keys.claim(guest, nic)) || storeHealth?.now() !== undefined) return false;
  const { entries } = await siteStore.read("attachment/").catch(() => ({ entries: new Map<Key, Entry>() }));
  return [...entries.values()].some(({ key, value }) => {
    const record = readRecord(key, value, Number.MAX_SAFE_INTEGER);
    return record.kind === "attachment" && isFor(record.value);
  });
}

export const claimOf = ({ mirror }: Core, { guest, nic }: Nic): NicClaim | undefined =>
  mirror.claims.get(`${guest}/${nic}`);

/** Holds only while the claim is as it is known now. */
export function claimChange({ mirror }: Core, { guest, nic }: Nic, claim: NicClaim): Transaction {
  const { key, value } = encodeRecord({ kind: "claim", what: `${guest}/${nic}`, guest, nic, value: claim });
  return { expect: [{ key, revision: mirror.revisionOf(key) }], writes: [{ op: "put", key, value }] };
}

/**
 * A bridge whose last judged port is gone needs no connections any more, and an address that another port shares must be known as that one's: the next pass
 * sees to it.
 */
function forgetFlows({ flows, ports, loop }: Core, wish: PortWish | undefined): void {
  const uplink = routingOf(wish)?.uplink.ifindex;
  // The next pass puts the settings of the uplink, or of the bridge, back.
  if (uplink !== undefined && !ports.list().some((port) => routingOf(port.wish)?.uplink.ifindex === uplink))
    loop.wake();
  if (wish?.judged === undefined) return;
  if (wish.binding.sources.some(({ shared }) => shared === true)) loop.wake();
  if (wish.binding.policy !== undefined)
    flows.departed(wish.binding.sources.filter(({ shared }) => shared !== true).map(({ what }) => what));
  if (!ports.list().some((port) => port.wish?.judged?.name === wish.judged?.name)) loop.wake();
}
