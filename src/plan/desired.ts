/** From the site and what is attached to the wish for this host; what cannot be had is said per port. */
import type { Link } from "../kernel/links.ts";
import { GuardError } from "../model/errors.ts";
import { eui64Address, type Ipv6Address, linkLocalOf } from "../model/ipv6.ts";
import type { InterfaceName, ObjectName } from "../model/names.ts";
import { unreachable } from "../model/never.ts";
import { ratesOf } from "../model/rates.ts";
import type { Attachment, Guest, IpBlock, NetworkSpec, NicIdentity, NicSpec } from "../model/resources.ts";
import { type NetworkFacts, networkNumbers, type PortBinding, type Source } from "../ruleset/elements.ts";
import type { HostWish, PortWish } from "./host.ts";

/** The part of the site that decides what this host enforces. */
export interface SiteView {
  readonly networks: ReadonlyMap<ObjectName, NetworkSpec>;
  readonly guests: ReadonlyMap<ObjectName, Guest>;
}

export interface LinkView {
  byIndex(ifindex: number): Link | undefined;
  byName(name: InterfaceName): Link | undefined;
}

export interface Desired {
  readonly wish: HostWish;
  /** Attachments that stay shut for now, and why. */
  readonly refused: readonly { readonly attachment: Attachment; readonly error: GuardError }[];
  /** Attachments whose interface is gone or is another one by now: to be forgotten. */
  readonly stale: readonly Attachment[];
}

/** A NIC as the operator declared it, and who it came to be. */
interface SiteNic {
  readonly spec: NicSpec;
  readonly identity: NicIdentity;
}

/** The NICs that have an identity, in order. */
export function nicsOf({ spec, nics }: Guest): readonly SiteNic[] {
  return nics.flatMap((identity, n) => {
    const own = spec.nics[n];
    return own === undefined ? [] : [{ spec: own, identity }];
  });
}

/** The NIC's own IPv6 address: as the operator says, or the prefix with the interface identifier of the MAC; undefined without a prefix. */
export function address6Of(
  { spec, identity }: SiteNic,
  { prefix6 }: Pick<NetworkSpec, "prefix6">,
): Ipv6Address | undefined {
  return prefix6 === undefined ? undefined : (spec.address6 ?? eui64Address(prefix6, identity.mac));
}

/** Everything a NIC may speak as in its network; the same for the guard of its port and for what others may be told of it. */
export function sourcesOf(nic: SiteNic, network: NetworkSpec): readonly Source[] {
  const { spec, identity } = nic;
  const { mac, addresses4 } = identity;
  const own: IpBlock[] = addresses4.map((address) => ({ kind: "address4", address }));
  const address6 = address6Of(nic, network);
  if (address6 !== undefined) {
    own.push({ kind: "address6", address: linkLocalOf(mac) });
    own.push({ kind: "address6", address: address6 });
  }
  const pairs = spec.allowedPairs.map((pair): Source => ({ what: pair.what, mac: pair.mac ?? mac, shared: true }));
  return [...[...own, ...spec.addresses].map((what): Source => ({ what, mac })), ...pairs];
}

export function networkFacts(site: SiteView): ReadonlyMap<ObjectName, NetworkFacts> {
  const numbers = networkNumbers([...site.networks.keys()]);
  const facts = new Map<ObjectName, NetworkFacts & { members: Source[] }>();
  for (const [name, spec] of site.networks) {
    const { prefix4, gateway4, gateway6, gatewayMac, hostServices, multicast } = spec;
    facts.set(name, {
      network: numbers.get(name) ?? 0,
      prefix4,
      gateway4,
      ...(gateway6 === undefined ? {} : { gateway6 }),
      ...(gatewayMac === undefined ? {} : { gatewayMac }),
      hostServices,
      multicast,
      members: [],
    });
  }
  for (const guest of site.guests.values()) {
    for (const nic of nicsOf(guest)) {
      const spec = site.networks.get(nic.identity.network);
      if (spec !== undefined) facts.get(nic.identity.network)?.members.push(...sourcesOf(nic, spec));
    }
  }
  return facts;
}

/** The bridge of the port's network. Throws BRIDGE_MISSING. */
function bridgeOf(spec: NetworkSpec, network: ObjectName, links: LinkView): number {
  switch (spec.wiring.kind) {
    case "bridged": {
      const bridge = links.byName(spec.wiring.bridge);
      if (bridge?.kind === "bridge") return bridge.ifindex;
      const what = bridge === undefined ? "does not exist" : "is not a bridge";
      throw new GuardError("BRIDGE_MISSING", `bridge '${spec.wiring.bridge}' of network '${network}' ${what}`, {
        fields: { bridge: spec.wiring.bridge, network },
      });
    }
    default:
      return unreachable(spec.wiring.kind);
  }
}

function nicOf(site: SiteView, attachment: Attachment): SiteNic {
  const guest = site.guests.get(attachment.guest);
  const nic = guest === undefined ? undefined : nicsOf(guest)[attachment.nic];
  if (nic !== undefined) return nic;
  throw new GuardError("NOT_FOUND", `guest '${attachment.guest}' has no NIC ${attachment.nic}`, {
    fields: { guest: attachment.guest, nic: attachment.nic },
  });
}

/** One port's wish. Throws GuardError when its guest, network or bridge is not there. */
export function portWish(
  site: SiteView,
  numbers: ReadonlyMap<ObjectName, NetworkFacts>,
  attachment: Attachment,
  links: LinkView,
): PortWish {
  const nic = nicOf(site, attachment);
  const { network, mac } = nic.identity;
  const spec = site.networks.get(network);
  const facts = numbers.get(network);
  if (spec === undefined || facts === undefined)
    throw new GuardError("NOT_FOUND", `network '${network}' does not exist`);
  const { roles, unchecked } = nic.spec;
  const binding: PortBinding = {
    ifindex: attachment.ifindex,
    mac,
    sources: sourcesOf(nic, spec),
    network: facts.network,
    roles,
    unchecked,
    observed: (nic.spec.mode ?? spec.mode) === "observe",
    rates: ratesOf(spec.rates, nic.spec.rates),
  };
  const hearsGroups = spec.prefix6 !== undefined || spec.multicast.length > 0;
  return { port: attachment.port, binding, bridge: bridgeOf(spec, network, links), hearsGroups };
}

/** @param epoch of this boot and network namespace; attachments of another are stale */
export function desiredHost(
  site: SiteView,
  attachments: Iterable<Attachment>,
  links: LinkView,
  epoch: string,
): Desired {
  const facts = networkFacts(site);
  const ports: PortWish[] = [];
  const refused: { attachment: Attachment; error: GuardError }[] = [];
  const stale: Attachment[] = [];
  for (const attachment of attachments) {
    const link = links.byIndex(attachment.ifindex);
    if (attachment.epoch !== epoch || link === undefined || link.name !== attachment.port) {
      stale.push(attachment);
      continue;
    }
    try {
      ports.push(portWish(site, facts, attachment, links));
    } catch (error) {
      if (!(error instanceof GuardError)) throw error;
      refused.push({ attachment, error });
    }
  }
  return { wish: { ports, networks: [...facts.values()] }, refused, stale };
}
