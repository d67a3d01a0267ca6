/** What callers can ask of the agent; every change goes through the one queue. */
import { checkSite } from "../config/check.ts";
import { toDocument } from "../config/document.ts";
import { GuardError } from "../model/errors.ts";
import { parseIpv4 } from "../model/ipv4.ts";
import { parseIpv6 } from "../model/ipv6.ts";
import { keys } from "../model/keys.ts";
import { type ObjectName, parseObjectName } from "../model/names.ts";
import type {
  ChangeView,
  DropCount,
  DropEvent,
  LeaseView,
  ObjectView,
  Operations,
  StatusView,
} from "../model/operations.ts";
import type { DhcpLease, Kind, Resource } from "../model/resources.ts";
import { toJson } from "../plan/json.ts";
import { policyMatrix } from "../plan/policy-matrix.ts";
import { explainFlow } from "../plan/policy-question.ts";
import { nicPolicyView } from "../plan/policy-view.ts";
import { poolUses } from "../plan/pools.ts";
import { planRemove, planSite, type SitePlan } from "../plan/site.ts";
import { attach, detach, viewOf } from "./attach.ts";
import { end } from "./bindings.ts";
import { planned } from "./carry-out.ts";
import { coolingViews, endCooling } from "./cooling.ts";
import type { Core } from "./core.ts";
import { explain } from "./explain.ts";
import { guestRoutes } from "./guest-routes.ts";
import { drainHost, forgetHost, listHosts } from "./host-operations.ts";
import { tellWaiting } from "./moves.ts";
import { assertReadable, tellNewer } from "./newer.ts";
import { tellPools } from "./pools.ts";
import { tellExceptions, unboundPorts } from "./ports.ts";
import { watchSite } from "./site-watch.ts";
import { attachStandIn } from "./stand-ins.ts";
import { exportState } from "./state-export.ts";
import { asFarAsKnown, isAway, wholeOf } from "./whole-site.ts";

type Filter = { readonly guest?: string; readonly port?: string };

export function createOperations(core: Core): Operations {
  const { serial } = core;
  return {
    apply: async (resources, { dryRun }) => {
      const whole = await wholeOf(core);
      return enforced(core, () => apply(whole, resources, dryRun));
    },
    list: async (kind, { here = false } = {}) => {
      const of = here ? core : await asFarAsKnown(core);
      return objectNames(of, kind).map((name) => objectView(of, kind, name));
    },
    get: async (kind, name) => getObject(isKnownHere(core, kind, name) ? core : await wholeOf(core), kind, name),
    remove: async (kind, name) => {
      const whole = await wholeOf(core);
      return enforced(core, () => remove(whole, kind, name));
    },
    attach: (request) =>
      request.standsInFor === undefined ? attach(core, request) : attachStandIn(core, request, request.standsInFor),
    detach: (port) => serial(() => detach(core, port)),
    status: async () => status(core),
    drops: async (filter) => core.drops.counts().filter((line) => matches(line, filter)),
    followDrops: (filter, signal) => filterDrops(core.drops.follow(signal), filter),
    leases: async ({ network }, { here = false } = {}) => {
      const of = here ? core : await asFarAsKnown(core);
      return leaseViews(of).filter((lease) => network === undefined || lease.network === network);
    },
    releaseLease: async (network, address) => {
      const whole = await wholeOf(core);
      return serial(() => releaseLease(whole, network, address));
    },
    routes: async () => guestRoutes(await asFarAsKnown(core)),
    cooling: async () => coolingViews(await asFarAsKnown(core)),
    endCooling: async (what) => {
      const whole = await wholeOf(core);
      return serial(() => endCooling(whole, what));
    },
    hosts: (filter) => listHosts(core, filter),
    drainHost: (name, options) => drainHost(core, name, options),
    forgetHost: (name, options) => forgetHost(core, name, options),
    explain: async (question) => explain(core, question),
    explainFlow: async (question) => explainFlow((await asFarAsKnown(core)).members(), question),
    exportState: () => exportState(core),
    watch: (kinds, signal) => watchSite(core, kinds, signal),
    policyMatrix: async (filter) => policyMatrix((await asFarAsKnown(core)).members(), filter),
  };
}

/** Answers when the kernel holds what was decided, or the status says why not: what is revoked is cut by then. */
async function enforced<T>({ serial, loop }: Core, change: () => Promise<T>): Promise<T> {
  const result = await serial(change);
  await loop.settled();
  return result;
}

function matches(line: DropCount | DropEvent, filter: Filter): boolean {
  return (
    (filter.guest === undefined || line.guest === filter.guest) &&
    (filter.port === undefined || line.port === filter.port)
  );
}

async function* filterDrops(events: AsyncIterable<DropEvent>, filter: Filter): AsyncGenerator<DropEvent> {
  for await (const event of events) if (matches(event, filter)) yield event;
}

async function apply(core: Core, resources: readonly Resource[], dryRun: boolean): Promise<readonly ChangeView[]> {
  const make = (isLate: boolean): SitePlan => {
    const held = core.mirror.held();
    assertReadable(core);
    checkSite(resources, held);
    return planSite(held, resources, core.random, isLate);
  };
  const changes = await planned(core, make, dryRun);
  if (!dryRun && changes.some(({ action }) => action !== "unchanged")) core.loop.wake();
  return changes;
}

async function remove(core: Core, kind: Kind, name: string): Promise<ChangeView> {
  assertReadable(core);
  const [change] = await planned(core, () => planRemove(core.mirror.held(), kind, name));
  core.loop.wake();
  if (change === undefined) throw notFound(kind, name);
  return change;
}

const notFound = (kind: Kind, name: string): GuardError =>
  new GuardError("NOT_FOUND", `${kind} '${name}' does not exist`, { fields: { kind, name } });

function objectNames(core: Core, kind: Kind): readonly ObjectName[] {
  const { groups, whole: guests } = core.mirror;
  const { networks } = core.mirror.held();
  const all = { network: networks, group: groups, guest: guests } as const;
  return [...all[kind].keys()].sort();
}

/** While the store is away this host still knows its own. */
function isKnownHere(core: Core, kind: Kind, text: string): boolean {
  const name = parseObjectName(text);
  return isAway(core) && name !== undefined && resourceOf(core, kind, name) !== undefined;
}

/** As it would stand in a site file, so that what is shown can be applied again. */
function resourceOf({ mirror }: Core, kind: Kind, name: ObjectName): Resource | undefined {
  const network = mirror.networks.get(name);
  const group = mirror.groups.get(name);
  const guest = mirror.whole.get(name);
  if (kind === "network") return network && { kind, name, spec: network };
  if (kind === "group") return group && { kind, name, spec: group };
  return guest && { kind, name, spec: guest.spec };
}

function statusOf(core: Core, kind: Kind, name: ObjectName): object {
  if (kind === "network") return networkStatus(core, name);
  return kind === "group" ? { members: groupMembers(core, name) } : guestStatus(core, name);
}

function objectView(core: Core, kind: Kind, name: ObjectName): ObjectView {
  const resource = resourceOf(core, kind, name);
  if (resource === undefined) throw notFound(kind, name);
  return { kind, name, spec: toDocument(resource).spec, status: statusOf(core, kind, name) };
}

function getObject(core: Core, kind: Kind, text: string): ObjectView {
  const name = parseObjectName(text);
  if (name === undefined) throw notFound(kind, text);
  const view = objectView(core, kind, name);
  return kind === "guest" ? { ...view, status: { ...guestStatus(core, name), policy: guestPolicy(core, name) } } : view;
}

/** Of one guest alone: the sentences of twenty thousand would be thirty megabytes that no list shows. */
function guestPolicy(core: Core, name: ObjectName): readonly object[] {
  const members = core.members();
  return (members.ofGuest(name) ?? []).map((member) => ({ nic: member.nic, ...nicPolicyView(members, member) }));
}

function networkStatus(core: Core, name: ObjectName): object {
  const guests = [...core.mirror.guests.values()].filter((guest) => guest.nics.some((nic) => nic.network === name));
  const addresses = guests.flatMap((guest) =>
    guest.nics.filter((nic) => nic.network === name).flatMap((nic) => nic.addresses4),
  );
  const pool = poolUses(core.mirror.held(), true).find(({ network }) => network === name);
  const range4 = pool === undefined ? null : { size: pool.size, free: pool.free, cooling: pool.cooling };
  return { guests: guests.length, addresses4: addresses.length, range4 };
}

function groupMembers(core: Core, name: ObjectName): readonly string[] {
  const carriers = core.members().all.filter(({ groups }) => groups.includes(name));
  return [...new Set(carriers.map(({ guest }) => guest))];
}

function guestStatus(core: Core, name: ObjectName): object {
  const guest = core.mirror.guests.get(name);
  const states = core.ports.list().filter(({ attachment }) => attachment.guest === name);
  const nics = (guest?.nics ?? []).map((nic, index) => {
    const own = states.filter(({ attachment }) => attachment.nic === index);
    const state = own.find((one) => one.state === "applied") ?? own[0];
    const lease = nic.addresses4
      .map((address) => core.mirror.leases.get(`${nic.network}/${address}`))
      .find((found) => found !== undefined);
    return {
      ...nic,
      port: state?.attachment.port ?? null,
      state: state?.state ?? "detached",
      lease: lease === undefined ? null : leaseState(core, lease),
    };
  });
  return { nics };
}

function status(core: Core): StatusView {
  const { parts, mirror, ports, conditions } = core;
  // Attaching makes no pass.
  tellExceptions(ports, conditions);
  tellWaiting(core);
  tellNewer(core);
  // Nor does what has cooled down.
  tellPools(core.pools(), conditions);
  const standing = conditions.list();
  return {
    host: parts.host,
    version: parts.version,
    startedAt: core.startedAt,
    healthy: standing.every(({ severity }) => severity !== "error"),
    conditions: standing,
    portPrefixes: parts.portPrefixes,
    ports: ports
      .list()
      .map((state) => viewOf(core, state))
      .sort((a, b) => a.port.localeCompare(b.port)),
    learning: core.learning.view(),
    settings: core.enforcer.router.settings(),
    unbound: unboundPorts(parts.links.list(), ports, parts.portPrefixes),
    kernel: { ...parts.kernel, guard: `netdev ingress and egress per port, tables '${core.enforcer.table}'` },
    store: { kind: parts.storeKind, revision: mirror.revision },
    hosts: core.hosts.counts(),
    dhcp: core.dhcp.service.counts(),
  };
}

function leaseState(core: Core, lease: DhcpLease): LeaseView {
  const state = lease.state === "bound" && lease.expiresAt <= core.parts.clock.now() ? "expired" : lease.state;
  return { ...lease, state };
}

function leaseViews(core: Core): readonly LeaseView[] {
  return [...core.mirror.leases.values()]
    .map((lease) => leaseState(core, lease))
    .sort((a, b) => a.address.localeCompare(b.address, "en", { numeric: true }));
}

async function releaseLease(core: Core, networkText: string, addressText: string): Promise<LeaseView> {
  const network = parseObjectName(networkText);
  const address = parseIpv4(addressText) ?? parseIpv6(addressText);
  const lease = core.mirror.leases.get(`${networkText}/${address}`);
  if (network === undefined || address === undefined || lease === undefined) {
    throw new GuardError("NOT_FOUND", `no lease of ${addressText} on network '${networkText}'`, {
      fields: { network: networkText, address: addressText },
    });
  }
  if (lease.learned !== undefined) {
    await end(core, [lease]);
    core.loop.wake();
    return { ...leaseState(core, lease), state: "released" };
  }
  const released: DhcpLease = { ...lease, state: "released", expiresAt: core.parts.clock.now() };
  await core.write({
    expect: [],
    writes: [{ op: "put", key: keys.dhcpLease(network, address), value: toJson(released) }],
  });
  return leaseState(core, released);
}
