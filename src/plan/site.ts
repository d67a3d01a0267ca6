/** From wanted objects to one store transaction and the sentences that tell it; what is not in the file stays as it is. */
import { GuardError } from "../model/errors.ts";
import { type ObjectName, parseObjectName } from "../model/names.ts";
import { unreachable } from "../model/never.ts";
import type { ChangeView } from "../model/operations.ts";
import type { Guest, GuestSpec, Kind, Resource } from "../model/resources.ts";
import { someOf } from "../model/some-of.ts";
import type { Key, Revision, Transaction } from "../store/store.ts";
import { addressOn, type Claims, siteKeys } from "./claims.ts";
import type { SiteView } from "./desired.ts";
import { assertHoldings, assertSameDecider, assertSpelled, holdings } from "./holdings.ts";
import { assignIdentities, type GuestWish, type Random, releaseGuest } from "./identity.ts";
import { sameJson, toJson } from "./json.ts";
import { writeMembers } from "./members.ts";
import { assertAlone } from "./overlaps.ts";
import { assertPublics, mayMeetPublics } from "./publics.ts";
import { createdSentences, deletedSentences, groupSentences, guestSentences, networkSentences } from "./sentences.ts";
import { type CoolingWrite, createDraft, type Draft, writePublics } from "./site-draft.ts";
import { assertReferences, type HeldNetworks, peerGroups, type WantedSite, wantedSite } from "./wanted.ts";

/** What the store holds of the site. */
export interface HeldSite extends HeldNetworks {
  readonly guests: ReadonlyMap<ObjectName, Guest>;
  /** Of at least the keys of `siteKeys`. */
  readonly revisions: ReadonlyMap<Key, Revision>;
  /** The same guest with the addresses that it learned; where none is given, none learns any. */
  readonly learned?: (guest: Guest) => Guest;
  /** Guests with a port on some host. */
  readonly attached: ReadonlySet<ObjectName>;
}

export interface SitePlan {
  /** One for every wanted object, in the order of the file. */
  readonly changes: readonly ChangeView[];
  /** Without writes when nothing would change. */
  readonly transaction: Transaction;
  /** To be written with it. */
  readonly cooling: readonly CoolingWrite[];
}

function writeClaims(draft: Draft, claims: Claims, keyOf: (what: string) => Key): void {
  for (const [what, fate] of claims.changed()) {
    if (fate.kind === "free") draft.delete(keyOf(what));
    else if (fate.kind === "cools") draft.cool(keyOf(what), fate.claim, fate.seconds);
    else draft.put(keyOf(what), { guest: fate.claim.guest, nic: fate.claim.nic });
  }
}

/** What the written guests lean on must stay: their networks and groups, and their addresses free on the rest of the wire. */
function readLeanings(draft: Draft, site: WantedSite, guest: Guest): void {
  for (const { network, groups } of guest.spec.nics) {
    draft.read(siteKeys.network(network));
    for (const group of groups) draft.read(siteKeys.group(group));
  }
  for (const { network, addresses4 } of guest.nics) {
    for (const { name } of site.siblings(network))
      for (const address of addresses4) draft.read(siteKeys.address(addressOn(name, address)));
    if (mayMeetPublics(site, network)) for (const address of addresses4) draft.read(siteKeys.public(address));
  }
}

/** A port is bound to its NIC's number: taking a NIC away would darken it. */
function assertAttached(held: HeldSite, name: ObjectName, before: Guest, after: GuestSpec): void {
  if (after.nics.length >= before.nics.length || !held.attached.has(name)) return;
  throw attached(name, `cannot lose ${before.nics.length - after.nics.length} of its NICs`);
}

function attached(name: ObjectName, cannot: string): GuardError {
  const says = `guest '${name}' ${cannot} while it is attached: 'vifguard detach PORT' first ('vifguard status' shows its ports)`;
  return new GuardError("IN_USE", says, { fields: { guest: name } });
}

const sameSpec = (a: object | undefined, b: object): boolean => a !== undefined && sameJson(toJson(a), toJson(b));

function isUnchanged(held: HeldSite, resource: Resource): boolean {
  switch (resource.kind) {
    case "network":
      return sameSpec(held.networks.get(resource.name), resource.spec);
    case "group":
      return sameSpec(held.groups.get(resource.name), resource.spec);
    case "guest": {
      const guest = held.guests.get(resource.name);
      return guest?.nics.length === resource.spec.nics.length && sameSpec(guest.spec, resource.spec);
    }
    default:
      return unreachable(resource);
  }
}

function guestWishes(held: HeldSite, changed: readonly Resource[]): readonly GuestWish[] {
  return changed.flatMap((resource) => {
    if (resource.kind !== "guest") return [];
    const { name, spec } = resource;
    const before = held.guests.get(name);
    if (before !== undefined) assertAttached(held, name, before, spec);
    return [{ name, spec, held: before }];
  });
}

function assertNetworks(site: WantedSite, changed: readonly Resource[], guests: ReadonlyMap<string, Guest>): void {
  const networks = changed.filter((resource) => resource.kind === "network");
  const held = holdings(site, new Set(networks.map(({ name }) => name)), guests);
  for (const { name, spec } of networks) {
    assertSameDecider(name, spec, guests.values());
    assertHoldings(site, name, spec, held.get(name) ?? []);
    assertSpelled(name, spec, held.get(name) ?? [], guests);
  }
}

function sentencesOf(held: HeldSite, guests: ReadonlyMap<ObjectName, Guest>, resource: Resource): readonly string[] {
  const { name } = resource;
  if (resource.kind === "guest") {
    const after = guests.get(name);
    return after === undefined ? [] : guestSentences(held.guests.get(name), after);
  }
  if (resource.kind === "network") {
    const before = held.networks.get(name);
    return before === undefined ? createdSentences(resource) : networkSentences(name, before, resource.spec);
  }
  const before = held.groups.get(name);
  return before === undefined ? createdSentences(resource) : groupSentences(name, before, resource.spec);
}

function exists(held: HeldSite, kind: Kind, name: ObjectName): boolean {
  return { network: held.networks, group: held.groups, guest: held.guests }[kind].has(name);
}

function withLearned({ learned }: HeldSite, guest: Guest | undefined): Guest | undefined {
  return guest === undefined || learned === undefined ? guest : learned(guest);
}

function writeObject(
  draft: Draft,
  { site, held }: { readonly site: WantedSite; readonly held: HeldSite },
  resource: Resource,
  guests: ReadonlyMap<ObjectName, Guest>,
): void {
  if (resource.kind === "network") {
    for (const group of resource.spec.groups) draft.read(siteKeys.group(group));
    if (mayMeetPublics(site, resource.name)) draft.read(siteKeys.public(resource.spec.gateway4));
    draft.put(siteKeys.network(resource.name), toJson(resource.spec));
  }
  if (resource.kind === "group") {
    for (const peer of peerGroups(resource.spec)) draft.read(siteKeys.group(peer));
    draft.put(siteKeys.group(resource.name), toJson(resource.spec));
  }
  const guest = resource.kind === "guest" ? guests.get(resource.name) : undefined;
  if (guest === undefined) return;
  readLeanings(draft, site, guest);
  draft.put(siteKeys.guest(guest.name), toJson(guest));
  writeMembers(draft, withLearned(held, held.guests.get(guest.name)), withLearned(held, guest));
}

/** The site as it will be, with everything that must hold of it. */
interface Settled {
  readonly site: WantedSite;
  /** Of the wanted objects. */
  readonly changed: readonly Resource[];
  /** New or changed. */
  readonly guests: ReadonlyMap<ObjectName, Guest>;
  readonly allGuests: ReadonlyMap<ObjectName, Guest>;
}

function settle(held: HeldSite, wanted: readonly Resource[], random: Random, scatter = false): Settled {
  const site = wantedSite(held, wanted);
  assertReferences(site, wanted);
  const changed = wanted.filter((resource) => !isUnchanged(held, resource));
  const assigned = assignIdentities(site, guestWishes(held, changed), random, scatter);
  const guests = new Map(assigned.map((guest) => [guest.name, guest]));
  const allGuests = new Map(held.guests);
  for (const [name, guest] of guests) allGuests.set(name, guest);
  const everyone = [...allGuests.values()];
  assertNetworks(site, changed, allGuests);
  assertAlone(site.networks, everyone);
  assertPublics(site, changed, everyone);
  return { site, changed, guests, allGuests };
}

/**
 * @param random as many random bytes as asked for; only MACs of scheme `random` are drawn from it, and where to begin when addresses are scattered
 * @param scatter takes any free addresses instead of the lowest: for a plan that another host was faster than, so that many hosts part ways
 * @throws ADDRESS_TAKEN, MAC_TAKEN, COOLING_DOWN, POOL_EXHAUSTED, IN_USE, and SITE_INVALID for references that lead nowhere
 */
export function planSite(held: HeldSite, wanted: readonly Resource[], random: Random, scatter = false): SitePlan {
  const { site, changed, guests } = settle(held, wanted, random, scatter);
  const draft = createDraft(held.revisions);
  for (const resource of changed) writeObject(draft, { site, held }, resource, guests);
  writeClaims(draft, site.addresses, siteKeys.address);
  writeClaims(draft, site.macs, siteKeys.mac);
  writePublics(draft, site);
  const differs = new Set(changed);
  const changes = wanted.map((resource): ChangeView => {
    const { kind, name } = resource;
    if (!differs.has(resource)) return { action: "unchanged", kind, name, sentences: [] };
    const action = exists(held, kind, name) ? "update" : "create";
    return { action, kind, name, sentences: sentencesOf(held, guests, resource) };
  });
  return { changes, transaction: draft.transaction(), cooling: draft.cooling() };
}

const nothing: HeldSite = {
  networks: new Map(),
  groups: new Map(),
  guests: new Map(),
  addresses: new Map(),
  macs: new Map(),
  revisions: new Map(),
  attached: new Set(),
};

/** The site as a host that holds nothing would come to have it. @throws as `planSite` */
export function freshSite(wanted: readonly Resource[], random: Random): SiteView {
  const { site, allGuests } = settle(nothing, wanted, random);
  return { networks: site.networks, groups: site.groups, guests: allGuests };
}

function inUse(kind: Kind, name: string, users: readonly string[]): GuardError {
  return new GuardError("IN_USE", `${kind} '${name}' is used by ${someOf(users)}`, {
    fields: { kind, name, users: users.length },
  });
}

function usersOf(held: HeldSite, kind: "network" | "group", name: ObjectName): readonly string[] {
  const guests = [...held.guests.values()]
    .filter(({ spec }) =>
      spec.nics.some((nic) => (kind === "network" ? nic.network === name : nic.groups.includes(name))),
    )
    .map((guest) => `guest '${guest.name}'`);
  if (kind === "network") return guests;
  const groups = [...held.groups]
    .filter(([other, spec]) => other !== name && peerGroups(spec).includes(name))
    .map(([other]) => `group '${other}'`);
  const networks = [...held.networks]
    .filter(([, spec]) => spec.groups.includes(name))
    .map(([network]) => `network '${network}'`);
  return [...guests, ...groups, ...networks];
}

function deletion(kind: Kind, name: ObjectName, draft: Draft, guest?: Guest): SitePlan {
  draft.delete(siteKeys[kind](name));
  const sentences = deletedSentences(kind, name, guest?.nics ?? []);
  const [transaction, cooling] = [draft.transaction(), draft.cooling()];
  return { changes: [{ action: "delete", kind, name, sentences }], transaction, cooling };
}

const NICS_MOST = 256;

/** A port that is being given to the guest meanwhile makes the deletion a conflict. */
function removeNicClaims(draft: Draft, revisions: HeldSite["revisions"], { name, nics }: Guest): void {
  for (let nic = 0; nic < NICS_MOST; nic += 1) {
    const key = siteKeys.nicClaim(name, nic);
    if (revisions.has(key)) draft.delete(key);
    else if (nic < nics.length) draft.read(key);
  }
}

function removeGuest(held: HeldSite, guest: Guest): SitePlan {
  if (held.attached.has(guest.name)) throw attached(guest.name, "cannot be deleted");
  const site = wantedSite(held, []);
  releaseGuest(site, guest);
  site.publics.release({ guest: guest.name });
  const draft = createDraft(held.revisions);
  writeClaims(draft, site.addresses, siteKeys.address);
  writeClaims(draft, site.macs, siteKeys.mac);
  writePublics(draft, site);
  removeNicClaims(draft, held.revisions, guest);
  writeMembers(draft, guest, undefined);
  return deletion("guest", guest.name, draft, guest);
}

/** @throws NOT_FOUND; IN_USE naming the users, or that a guest is attached */
export function planRemove(held: HeldSite, kind: Kind, text: string): SitePlan {
  const name = parseObjectName(text);
  if (name === undefined || !exists(held, kind, name))
    throw new GuardError("NOT_FOUND", `${kind} ${JSON.stringify(text)} does not exist`, {
      fields: { kind, name: text },
    });
  if (kind === "guest") {
    const guest = held.guests.get(name);
    if (guest !== undefined) return removeGuest(held, guest);
    throw new GuardError("NOT_FOUND", `guest '${name}' does not exist`, { fields: { kind, name } });
  }
  const users = usersOf(held, kind, name);
  if (users.length > 0) throw inUse(kind, name, users);
  const draft = createDraft(held.revisions);
  if (kind === "network") {
    const site = wantedSite(held, []);
    site.publics.release({ network: name });
    writePublics(draft, site);
  }
  return deletion(kind, name, draft);
}
