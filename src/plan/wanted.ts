/** The site as it will be when the plan is carried out: what is held with what is wanted laid over it. */
import { GuardError } from "../model/errors.ts";
import { type Ipv4Address, prefix4Meets } from "../model/ipv4.ts";
import type { MacAddress } from "../model/mac.ts";
import type { ObjectName } from "../model/names.ts";
import type { GroupSpec } from "../model/policy.ts";
import type { GuestSpec, NetworkSpec, PublicHolder, Resource } from "../model/resources.ts";
import { wireOf } from "../model/wiring.ts";
import { type Claim, type Claims, type CoolingClaim, createClaims } from "./claims.ts";
import { createPublics, type Publics } from "./publics.ts";

/** What is held of networks and groups, and who holds which address and MAC. */
export interface HeldNetworks {
  readonly networks: ReadonlyMap<ObjectName, NetworkSpec>;
  readonly groups: ReadonlyMap<ObjectName, GroupSpec>;
  /** By `network/address`. */
  readonly addresses: ReadonlyMap<string, Claim>;
  readonly macs: ReadonlyMap<MacAddress, Claim>;
  readonly publics?: ReadonlyMap<Ipv4Address, readonly PublicHolder[]>;
  readonly cooling?: Cold;
}

/** What guests gave up lately. */
export interface Cold {
  /** By `network/address`. */
  readonly addresses: ReadonlyMap<string, CoolingClaim>;
  readonly macs: ReadonlyMap<MacAddress, CoolingClaim>;
}

export interface NamedNetwork {
  readonly name: ObjectName;
  readonly spec: NetworkSpec;
}

export interface WantedSite {
  readonly networks: ReadonlyMap<ObjectName, NetworkSpec>;
  readonly groups: ReadonlyMap<ObjectName, GroupSpec>;
  readonly addresses: Claims;
  readonly macs: Claims;
  readonly publics: Publics;
  /** MACs that only a gateway may have, and the network that says so. */
  readonly gatewayMacs: ReadonlyMap<MacAddress, ObjectName>;
  /** Other networks on the same wire whose prefix meets this one's: there one address is one machine, whatever the network's name. */
  siblings(network: ObjectName): readonly NamedNetwork[];
}

function overlay<Spec>(
  held: ReadonlyMap<ObjectName, Spec>,
  wanted: readonly { readonly name: ObjectName; readonly spec: Spec }[],
): ReadonlyMap<ObjectName, Spec> {
  const all = new Map(held);
  for (const { name, spec } of wanted) all.set(name, spec);
  return all;
}

function siblingsOf(networks: ReadonlyMap<ObjectName, NetworkSpec>, name: ObjectName): readonly NamedNetwork[] {
  const own = networks.get(name);
  if (own === undefined) return [];
  return [...networks]
    .filter(([other, spec]) => other !== name && wireOf(spec.wiring) === wireOf(own.wiring))
    .filter(([, spec]) => prefix4Meets(spec.prefix4, own.prefix4))
    .map(([other, spec]) => ({ name: other, spec }));
}

function gatewayMacs(networks: ReadonlyMap<ObjectName, NetworkSpec>): ReadonlyMap<MacAddress, ObjectName> {
  const macs = new Map<MacAddress, ObjectName>();
  for (const [name, { gatewayMac }] of networks) if (gatewayMac !== undefined) macs.set(gatewayMac, name);
  return macs;
}

/** First all that is given up, so that two guests may swap. */
function wantedPublics({ publics = new Map() }: HeldNetworks, wanted: readonly Resource[]): Publics {
  const all = createPublics(publics);
  for (const { kind, name } of wanted)
    if (kind === "guest") all.release({ guest: name });
    else if (kind === "network") all.release({ network: name });
  for (const resource of wanted)
    if (resource.kind === "guest") all.takeGuest(resource.name, resource.spec);
    else if (resource.kind === "network") all.takeNetwork(resource.name, resource.spec);
  return all;
}

export function wantedSite(held: HeldNetworks, wanted: readonly Resource[]): WantedSite {
  const networks = overlay(
    held.networks,
    wanted.filter((resource) => resource.kind === "network"),
  );
  const groups = overlay(
    held.groups,
    wanted.filter((resource) => resource.kind === "group"),
  );
  const found = new Map<ObjectName, readonly NamedNetwork[]>();
  return {
    networks,
    groups,
    addresses: createClaims(held.addresses, held.cooling?.addresses),
    macs: createClaims(held.macs, held.cooling?.macs),
    publics: wantedPublics(held, wanted),
    gatewayMacs: gatewayMacs(networks),
    siblings: (network) => {
      const list = found.get(network) ?? siblingsOf(networks, network);
      found.set(network, list);
      return list;
    },
  };
}

/** @throws SITE_INVALID */
export function networkOf(site: WantedSite, guest: ObjectName, nic: number, network: ObjectName): NetworkSpec {
  const spec = site.networks.get(network);
  if (spec !== undefined) return spec;
  throw invalid("guest", guest, `spec.nics[${nic}].network: there is no network '${network}'`);
}

export function invalid(kind: Resource["kind"], name: ObjectName, says: string): GuardError {
  return new GuardError("SITE_INVALID", `${kind} ${name}: ${says}`, { fields: { kind, name } });
}

/** The file's own checks say this with more words and places; a plan never depends on their having run. */
export function assertReferences(site: WantedSite, wanted: readonly Resource[]): void {
  const seen = new Set<string>();
  for (const resource of wanted) {
    const key = `${resource.kind}/${resource.name}`;
    if (seen.has(key)) throw invalid(resource.kind, resource.name, "is declared twice");
    seen.add(key);
    if (resource.kind === "group") assertPeers(site, resource.name, resource.spec);
    if (resource.kind === "network") assertGroups(site, resource.name, resource.spec);
    if (resource.kind === "guest") assertNics(site, resource.name, resource.spec);
  }
}

export function peerGroups({ ingress, egress = [] }: GroupSpec): readonly ObjectName[] {
  return [...ingress, ...egress].flatMap(({ peer }) => (peer.kind === "group" ? peer.group : []));
}

function assertPeers(site: WantedSite, name: ObjectName, spec: GroupSpec): void {
  for (const group of peerGroups(spec)) {
    if (!site.groups.has(group)) throw invalid("group", name, `there is no group '${group}'`);
  }
}

function assertGroups(site: WantedSite, name: ObjectName, { groups }: NetworkSpec): void {
  const missing = groups.find((group) => !site.groups.has(group));
  if (missing !== undefined) throw invalid("network", name, `spec.groups: there is no group '${missing}'`);
}

function assertNics(site: WantedSite, name: ObjectName, { nics }: GuestSpec): void {
  for (const [n, nic] of nics.entries()) {
    networkOf(site, name, n, nic.network);
    const missing = nic.groups.find((group) => !site.groups.has(group));
    if (missing !== undefined) throw invalid("guest", name, `spec.nics[${n}].groups: there is no group '${missing}'`);
  }
}
