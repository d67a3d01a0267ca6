/**
 * Which address and MAC every NIC gets. What a NIC holds it keeps; what the operator names replaces it; the rest is assigned.
 * NICs are known by their place in the guest's spec, as attachments know them: one more is appended, the last is taken away.
 */
import { macFromIpv4, randomMac, spelledIpv4 } from "../addressing/mac-scheme.ts";
import { macFromSettings, settingsFromMac } from "../addressing/net-mac.ts";
import { allocate, anyFree, isAssignable, type Pool } from "../addressing/pool.ts";
import { isLearned, macSchemeOf } from "../model/addressing.ts";
import { coolDownOf } from "../model/cool-down.ts";
import { GuardError } from "../model/errors.ts";
import { isIpv6 } from "../model/ip-block.ts";
import { type Ipv4Address, prefix4Bounds } from "../model/ipv4.ts";
import type { Ipv6Address } from "../model/ipv6.ts";
import type { MacAddress } from "../model/mac.ts";
import type { ObjectName } from "../model/names.ts";
import type { Guest, GuestSpec, NetworkSpec, NicIdentity, NicSpec } from "../model/resources.ts";
import { linkLength, notRightHand4, subnetOf } from "../model/transport.ts";
import { addressOn, type Claim, sameClaim } from "./claims.ts";
import { assertWarm, coldIn, isCold, ownAddress, ownMac } from "./cooling.ts";
import { publicHolderText } from "./publics.ts";
import { invalid, networkOf, type WantedSite } from "./wanted.ts";

export type Random = (count: number) => Uint8Array;

/** A guest that is new or changed. */
export interface GuestWish {
  readonly name: ObjectName;
  readonly spec: GuestSpec;
  readonly held: Guest | undefined;
}

/** A NIC on its way to an identity. */
interface Draft {
  readonly claim: Claim;
  readonly spec: NicSpec;
  readonly network: NetworkSpec;
  readonly held: NicIdentity | undefined;
  address: Ipv4Address | undefined;
  mac: MacAddress | undefined;
}

/** A MAC that spells this address, but with another prefix or gateway than the network has: its guest would go astray. */
export function misleads(mac: MacAddress, network: NetworkSpec, address: Ipv4Address): boolean {
  const spelled = settingsFromMac(mac);
  if (spelled?.address !== address) return false;
  const { prefix, gateway } = subnetOf(network, address);
  return spelled.gateway !== gateway || spelled.length !== prefix4Bounds(prefix).length;
}

/** Where guests read their MACs, one that spells something else or nothing is no MAC for them. */
export function isTold(mac: MacAddress, network: NetworkSpec, address: Ipv4Address): boolean {
  if (network.addressing.kind !== "mac") return true;
  const { prefix, gateway } = subnetOf(network, address);
  const spelled = macFromSettings({ address, length: prefix4Bounds(prefix).length, gateway });
  return spelled.ok && spelled.mac === mac;
}

function keptMac(network: NetworkSpec, held: NicIdentity, address: Ipv4Address | undefined): MacAddress | undefined {
  const [before] = held.addresses4;
  if (address !== undefined && address === before)
    return misleads(held.mac, network, address) || !isTold(held.mac, network, address) ? undefined : held.mac;
  // A MAC that spells the address given up belongs to whoever gets that address next.
  const spelled = before !== undefined && spelledIpv4(held.mac) === before;
  return macSchemeOf(network.addressing) !== "random" || spelled ? undefined : held.mac;
}

function draftOf(site: WantedSite, { name, held: guest }: GuestWish, spec: NicSpec, nic: number): Draft {
  const network = networkOf(site, name, nic, spec.network);
  const held = guest?.nics[nic];
  const kept = held?.network === spec.network ? held.addresses4[0] : undefined;
  const address = isLearned(network.addressing) ? undefined : (spec.address4 ?? kept);
  const mac = spec.mac ?? (held === undefined ? undefined : keptMac(network, held, address));
  return { claim: { guest: name, nic }, spec, network, held, address, mac };
}

/** What a NIC names besides its first IPv4 address as its alone: nobody else may be given it. */
function namedAddresses({ address6, addresses }: NicSpec): readonly (Ipv4Address | Ipv6Address)[] {
  const more = addresses.flatMap((block) => ("address" in block ? [block.address] : []));
  return address6 === undefined ? more : [address6, ...more];
}

/** Everything the NIC held and holds no longer; first for all guests, so that two may swap. */
function release(
  site: WantedSite,
  claim: Claim,
  held: NicIdentity,
  was: NicSpec | undefined,
  draft: Draft | undefined,
): void {
  const coolDown = coolDownOf(site.networks.get(held.network));
  const stays = draft?.spec.network === held.network ? namedAddresses(draft.spec) : [];
  for (const address of was === undefined ? [] : namedAddresses(was)) {
    if (!stays.includes(address)) site.addresses.release(addressOn(held.network, address), claim, coolDown);
  }
  for (const address of held.addresses4) {
    if (draft?.spec.network !== held.network || draft.address !== address)
      site.addresses.release(addressOn(held.network, address), claim, coolDown);
  }
  if (draft?.mac !== held.mac) site.macs.release(held.mac, claim, coolDown);
}

export function releaseGuest(site: WantedSite, guest: Guest, drafts: readonly Draft[] = []): void {
  for (const [nic, held] of guest.nics.entries())
    release(site, { guest: guest.name, nic }, held, guest.spec.nics[nic], drafts[nic]);
}

const nicText = ({ guest, nic }: Claim): string => `NIC ${nic} of guest '${guest}'`;

function takenAddress(
  draft: Draft,
  address: Ipv4Address | Ipv6Address,
  network: ObjectName,
  holder: Claim,
): GuardError {
  const says = `${address} on network '${network}', wanted for ${nicText(draft.claim)}, is held by ${nicText(holder)}`;
  return new GuardError("ADDRESS_TAKEN", says, {
    fields: { address, network, guest: draft.claim.guest, holder: holder.guest },
  });
}

function takenMac(draft: Draft, mac: MacAddress, by: string): GuardError {
  const derived = spelledIpv4(mac) === draft.address ? " (it spells the address)" : "";
  const says = `MAC ${mac}${derived}, wanted for ${nicText(draft.claim)}, is held by ${by}`;
  return new GuardError("MAC_TAKEN", says, { fields: { mac, guest: draft.claim.guest, holder: by } });
}

/** Every network on whose wire the address would be: the NIC's own first. */
function networksOfWire(site: WantedSite, network: ObjectName): readonly ObjectName[] {
  return [network, ...site.siblings(network).map(({ name }) => name)];
}

/** Why a guest may not have the address in this network at all. */
export function unassignable(
  site: WantedSite,
  name: ObjectName,
  spec: NetworkSpec,
  address: Ipv4Address,
): string | undefined {
  const length = linkLength(spec.wiring);
  if (length !== undefined) return notRightHand4(spec.prefix4, length, address);
  if (!isAssignable(spec, address)) return `${address} is not an address for guests in ${spec.prefix4}`;
  const owner = site.siblings(name).find((other) => other.spec.gateway4 === address);
  return owner === undefined ? undefined : `${address} is the gateway of network '${owner.name}' on the same bridge`;
}

function claimAddress(site: WantedSite, draft: Draft, address: Ipv4Address): void {
  const { spec, claim, network } = draft;
  const why = unassignable(site, spec.network, network, address);
  const kept = draft.held?.network === spec.network && draft.held.addresses4.includes(address);
  // What is kept is judged with its network: there the error names all the guests.
  if (why !== undefined && !kept) throw invalid("guest", claim.guest, `spec.nics[${claim.nic}].address4: ${why}`);
  claimOnWire(site, draft, address);
}

function claimOnWire(site: WantedSite, draft: Draft, address: Ipv4Address | Ipv6Address): void {
  const { spec, claim } = draft;
  const outside = isIpv6(address) ? undefined : publicHolderText(site.publics, address);
  if (outside !== undefined)
    throw new GuardError("ADDRESS_TAKEN", `${address}, wanted for ${nicText(claim)}, is held by ${outside}`, {
      fields: { address, guest: claim.guest, holder: outside },
    });
  for (const name of networksOfWire(site, spec.network)) {
    const holder = site.addresses.holder(addressOn(name, address));
    if (holder !== undefined && !sameClaim(holder, claim)) throw takenAddress(draft, address, name, holder);
    assertWarm(site.addresses, addressOn(name, address), claim, site.networks.get(name));
  }
  site.addresses.claim(addressOn(spec.network, address), claim);
}

function claimMac(site: WantedSite, draft: Draft, mac: MacAddress): void {
  const holder = site.macs.holder(mac);
  if (holder !== undefined && !sameClaim(holder, draft.claim)) throw takenMac(draft, mac, nicText(holder));
  const owner = site.gatewayMacs.get(mac);
  if (owner !== undefined) throw takenMac(draft, mac, `the gateway of network '${owner}'`);
  assertWarm(site.macs, mac, draft.claim, draft.network);
  draft.mac = mac;
  site.macs.claim(mac, draft.claim);
}

const isMacFree = (site: WantedSite, { claim, network }: Draft, mac: MacAddress): boolean =>
  site.macs.holder(mac) === undefined && !site.gatewayMacs.has(mac) && !isCold(site.macs, mac, claim.guest, network);

/** The MAC that the address decides; undefined where none does. @throws SITE_INVALID when the scheme cannot spell the network */
function spelledMac(guest: ObjectName, network: NetworkSpec, address: Ipv4Address): MacAddress | undefined {
  const scheme = macSchemeOf(network.addressing);
  if (scheme === "random") return undefined;
  if (scheme === "ip") return macFromIpv4(address);
  const { prefix, gateway } = subnetOf(network, address);
  const spelled = macFromSettings({ address, length: prefix4Bounds(prefix).length, gateway });
  if (spelled.ok) return spelled.mac;
  throw invalid("guest", guest, `no MAC can be made of ${address}: ${spelled.why}`);
}

const draftMac = ({ mac, claim, network }: Draft, address: Ipv4Address): MacAddress | undefined =>
  mac === undefined ? spelledMac(claim.guest, network, address) : undefined;

/** Where the search of each network goes on, so that many guests walk the pool once. */
interface Cursors {
  at(pool: Pool & { readonly name: ObjectName }, taken: (address: Ipv4Address) => boolean): number | undefined;
  set(name: ObjectName, next: number): void;
}

function createCursors(random: Random, scatter: boolean): Cursors {
  const cursors = new Map<ObjectName, number>();
  const pick = (count: number): number => new DataView(Uint8Array.from(random(4)).buffer).getUint32(0) % count;
  return {
    at: (pool, taken) => cursors.get(pool.name) ?? (scatter ? anyFree(pool, taken, pick) : undefined),
    set: (name, next) => void cursors.set(name, next),
  };
}

function assignAddress(site: WantedSite, draft: Draft, cursors: Cursors): void {
  const { claim, network } = draft;
  const { network: name } = draft.spec;
  const wire = networksOfWire(site, name);
  const isTakenOn = (one: ObjectName, address: Ipv4Address): boolean =>
    site.addresses.holder(addressOn(one, address)) !== undefined ||
    isCold(site.addresses, addressOn(one, address), claim.guest, site.networks.get(one));
  const gateways = new Set(site.siblings(name).map(({ spec }) => spec.gateway4));
  const taken = (address: Ipv4Address): boolean => {
    if (gateways.has(address) || site.publics.holders(address).length > 0) return true;
    if (wire.some((one) => isTakenOn(one, address))) return true;
    const mac = draftMac(draft, address);
    return mac !== undefined && !isMacFree(site, draft, mac);
  };
  draft.address = ownAddress(site, claim, name, network, taken);
  if (draft.address === undefined) {
    const cold = (): number => coldIn(site, name, network, wire);
    const pool = { name, ...network };
    const { address, next } = allocate(pool, taken, cursors.at(pool, taken), cold);
    cursors.set(name, next);
    draft.address = address;
  }
  site.addresses.claim(addressOn(name, draft.address), claim);
}

function identityOf({ claim, spec, network, address, mac }: Draft): NicIdentity {
  if (isLearned(network.addressing) && mac !== undefined)
    return { network: spec.network, mac, addresses4: [], addresses6: [] };
  if (address === undefined || mac === undefined) throw new GuardError("INTERNAL", `${nicText(claim)} got no identity`);
  if (!isTold(mac, network, address)) {
    const says = `spec.nics[${claim.nic}].mac: guests of network '${spec.network}' read their MACs, and ${mac} does not say ${address}: leave it out`;
    throw invalid("guest", claim.guest, says);
  }
  return { network: spec.network, mac, addresses4: [address] };
}

function spellAddress(site: WantedSite, draft: Draft): void {
  const mac = draft.address === undefined ? undefined : draftMac(draft, draft.address);
  if (mac !== undefined) claimMac(site, draft, mac);
}

/** What is named or kept comes before what is assigned, so that no assignment takes an address that the same file names. */
function claimKnown(site: WantedSite, drafts: readonly Draft[]): void {
  for (const draft of drafts) {
    if (draft.address !== undefined) claimAddress(site, draft, draft.address);
    for (const address of namedAddresses(draft.spec)) claimOnWire(site, draft, address);
    if (draft.mac !== undefined) claimMac(site, draft, draft.mac);
  }
  for (const draft of drafts) spellAddress(site, draft);
}

function assignRest(site: WantedSite, drafts: readonly Draft[], random: Random, scatter: boolean): void {
  const cursors = createCursors(random, scatter);
  for (const draft of drafts) {
    if (draft.address === undefined && !isLearned(draft.network.addressing)) assignAddress(site, draft, cursors);
    spellAddress(site, draft);
  }
  for (const draft of drafts) {
    if (draft.mac !== undefined) continue;
    const drawn = (): MacAddress => randomMac(random, (mac) => !isMacFree(site, draft, mac));
    claimMac(site, draft, ownMac(site, draft.claim) ?? drawn());
  }
}

/**
 * Identities of all guests that are new or changed, claimed in the site.
 * @throws ADDRESS_TAKEN, MAC_TAKEN, COOLING_DOWN, POOL_EXHAUSTED, SITE_INVALID
 */
export function assignIdentities(
  site: WantedSite,
  wishes: readonly GuestWish[],
  random: Random,
  scatter: boolean,
): readonly Guest[] {
  const guests = wishes.map((wish) => ({ wish, drafts: wish.spec.nics.map((nic, n) => draftOf(site, wish, nic, n)) }));
  for (const { wish, drafts } of guests) if (wish.held !== undefined) releaseGuest(site, wish.held, drafts);
  const drafts = guests.flatMap((guest) => guest.drafts);
  claimKnown(site, drafts);
  assignRest(site, drafts, random, scatter);
  return guests.map(({ wish: { name, spec }, drafts }) => ({ name, spec, nics: drafts.map(identityOf) }));
}
