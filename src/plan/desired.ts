/** From the site and what is attached to the wish for this host; what cannot be had is said per port. */
import type { Link } from "../kernel/links.ts";
import { isLearned } from "../model/addressing.ts";
import { GuardError } from "../model/errors.ts";
import { prefix4Meets } from "../model/ipv4.ts";
import type { MacAddress } from "../model/mac.ts";
import type { InterfaceName, ObjectName } from "../model/names.ts";
import { unreachable } from "../model/never.ts";
import type { GroupSpec } from "../model/policy.ts";
import { ratesOf } from "../model/rates.ts";
import type { Attachment, Guest, IpBlock, NetworkSpec } from "../model/resources.ts";
import { HOST_PORT_MAC, isRouted, wireOf } from "../model/wiring.ts";
import { stableNumbers } from "../ruleset/element-bytes.ts";
import type { NetworkFacts, PortBinding, Source } from "../ruleset/elements.ts";
import type { PolicyFacts } from "../ruleset/policy-elements.ts";
import type { PolicyFamily } from "../ruleset/policy-sets.ts";
import { bridgedAnnouncement } from "./announcement.ts";
import { broutedFacts, broutedWish } from "./brouted.ts";
import type { HostWish, PortWish } from "./host.ts";
import { assertNotHosts, insideFacts, translationOf, untranslatedFacts } from "./nat.ts";
import { areOpen, groupsOf } from "./policy.ts";
import { policyFacts } from "./policy-classes.ts";
import { routedFacts, routedSource, routedWish, uplinkOf } from "./routed.ts";
import { nicsOf, type SiteNic, sourcesOf } from "./sources.ts";
import { transportFacts, transportMembers, transportPlace, withLan } from "./transport.ts";

/** The part of the site that decides what this host enforces. */
export interface SiteView {
  readonly networks: ReadonlyMap<ObjectName, NetworkSpec>;
  readonly groups: ReadonlyMap<ObjectName, GroupSpec>;
  readonly guests: ReadonlyMap<ObjectName, Guest>;
}

export interface LinkView {
  byIndex(ifindex: number): Pick<Link, "name"> | undefined;
  byName(name: InterfaceName): Link | undefined;
}

export interface Desired {
  readonly wish: HostWish;
  /** Attachments that stay shut for now, and why. */
  readonly refused: readonly { readonly attachment: Attachment; readonly error: GuardError }[];
  /** Attachments whose interface is gone or is another one by now: to be forgotten. */
  readonly stale: readonly Attachment[];
}

interface OpenFacts extends NetworkFacts {
  readonly members: Source[];
}

function factsOf(spec: NetworkSpec, network: number): OpenFacts {
  const { prefix4, gateway4, gateway6, gatewayMac, hostServices, multicast, wiring, addressing } = spec;
  const facts = {
    network,
    prefix4,
    gateway4,
    ...(gateway6 === undefined ? {} : { gateway6 }),
    ...(gatewayMac === undefined ? {} : { gatewayMac }),
    hostServices,
    multicast,
    ...(addressing.kind === "snoop" ? { servers: [...addressing.servers, ...addressing.servers6] } : {}),
    members: [],
  };
  if (wiring.kind === "brouted") return { ...broutedFacts(spec, facts), members: [] };
  if (wiring.kind === "transport") return { ...transportFacts(spec, facts), members: [] };
  if (!isRouted(wiring)) return facts;
  const routed = routedFacts(spec, wiring, facts);
  return { ...(wiring.kind === "nat" ? insideFacts(routed) : routed), members: [] };
}

export function networkFacts(site: SiteView): ReadonlyMap<ObjectName, NetworkFacts> {
  const numbers = stableNumbers([...site.networks.keys()]);
  const facts = new Map<ObjectName, OpenFacts>();
  for (const [name, spec] of site.networks) facts.set(name, factsOf(spec, numbers.get(name) ?? 0));
  for (const guest of site.guests.values()) {
    for (const nic of nicsOf(guest)) {
      const spec = site.networks.get(nic.identity.network);
      if (spec !== undefined) facts.get(nic.identity.network)?.members.push(...membersOf(nic, spec));
    }
  }
  return facts;
}

/** As others of the network see it. */
function membersOf(nic: SiteNic, spec: NetworkSpec): readonly Source[] {
  const sources = sourcesOf(nic, spec);
  if (spec.wiring.kind === "transport") return transportMembers(sources, spec.wiring, spec);
  return spec.wiring.kind === "bridged" ? sources : sources.map(routedSource);
}

/** @throws BRIDGE_MISSING */
function bridgeOf(name: InterfaceName, network: ObjectName, links: LinkView): Link {
  const bridge = links.byName(name);
  if (bridge?.kind === "bridge") return bridge;
  const what = bridge === undefined ? "does not exist" : "is not a bridge";
  throw new GuardError("BRIDGE_MISSING", `bridge '${name}' of network '${network}' ${what}`, {
    fields: { bridge: name, network },
  });
}

type Placed = Pick<PortWish, "binding" | "bridge" | "judged" | "routed" | "brouted" | "announced">;

/** Where the port goes, and which interface its judged flows pass by. @throws BRIDGE_MISSING, UPLINK_MISSING */
function placed(spec: NetworkSpec, network: ObjectName, port: InterfaceName, own: PortBinding, host: HostView): Placed {
  const { wiring } = spec;
  const { links, families } = host;
  const judgedBy = (by: readonly PolicyFamily[], name: InterfaceName, mac: MacAddress): Pick<Placed, "judged"> =>
    by.length === 0 ? {} : { judged: { families: by, name, mac } };
  switch (wiring.kind) {
    case "bridged": {
      const { ifindex, mac } = bridgeOf(wiring.bridge, network, links);
      const by = own.policy?.families ?? onlyOpen(families);
      const uplink = wiring.uplink === undefined ? undefined : links.byName(wiring.uplink);
      return {
        binding: own,
        bridge: ifindex,
        ...judgedBy(by, wiring.bridge, mac),
        ...bridgedAnnouncement(uplink, own),
      };
    }
    case "brouted": {
      const { ifindex, mac } = bridgeOf(wiring.bridge, network, links);
      const binding = { ...own, brouter: { ifindex, mac } };
      const brouted = broutedWish(wiring.bridge, { ifindex, mac }, own, spec);
      const by = own.policy?.families ?? onlyOpen(families);
      return { binding, bridge: ifindex, brouted, ...judgedBy(by, wiring.bridge, mac) };
    }
    case "nat":
    case "routed": {
      const uplink = uplinkOf(wiring, network, links.byName);
      if (own.nat !== undefined)
        assertNotHosts(own.nat, network, (address) => host.isOwnAddress?.(address, uplink.ifindex) === true);
      const binding = { ...own, uplink: uplink.ifindex };
      const routed = routedWish(port, binding, uplink, wiring, spec);
      return { binding, bridge: 0, routed, ...judgedBy(own.policy?.families ?? [], port, HOST_PORT_MAC) };
    }
    case "transport": {
      const place = transportPlace(port, own, uplinkOf(wiring, network, links.byName), wiring, spec);
      return { ...place, ...judgedBy(own.policy?.families ?? [], port, HOST_PORT_MAC) };
    }
    default:
      return unreachable(wiring);
  }
}

/** The network as far as this host has to do with it. */
function hostFacts(facts: NetworkFacts, spec: NetworkSpec | undefined, host: HostView): NetworkFacts {
  return spec?.wiring.kind === "nat" && host.nat !== true ? untranslatedFacts(facts) : withLan(facts, spec, host);
}

function nicOf(site: SiteView, attachment: Attachment): SiteNic {
  const guest = site.guests.get(attachment.guest);
  const nic = guest === undefined ? undefined : nicsOf(guest)[attachment.nic];
  if (nic !== undefined) return nic;
  throw new GuardError("NOT_FOUND", `guest '${attachment.guest}' has no NIC ${attachment.nic}`, {
    fields: { guest: attachment.guest, nic: attachment.nic },
  });
}

/** Connections are known by their addresses, so on one host an address must mean one guest. */
function rival(site: SiteView, network: ObjectName): ObjectName | undefined {
  const own = site.networks.get(network);
  return [...site.networks].find(
    ([name, spec]) =>
      own !== undefined &&
      name !== network &&
      wireOf(spec.wiring) !== wireOf(own.wiring) &&
      prefix4Meets(own.prefix4, spec.prefix4),
  )?.[0];
}

/** What a NIC that must be judged brings with it; undefined for an open one. @throws POLICY_UNSUPPORTED */
function judgementOf(
  site: SiteView,
  { spec, identity }: SiteNic,
  families: HostView["families"],
): PortBinding["policy"] {
  const network = site.networks.get(identity.network);
  if (network === undefined) return undefined;
  // What is translated is tracked, and what is tracked must have its bound.
  if (network.wiring.kind !== "nat" && areOpen(groupsOf(spec, network), site.groups)) return undefined;
  const twin = rival(site, identity.network);
  if (twin === undefined && families.length > 0)
    return { families, connections: spec.connections ?? network.connections };
  const why =
    twin === undefined
      ? "this kernel cannot track connections where the NIC needs it"
      : `network '${twin}' has the same addresses on another wire, so connections cannot be told apart`;
  throw new GuardError("POLICY_UNSUPPORTED", `security groups of the NIC cannot be enforced: ${why}`, {
    fields: { network: identity.network },
  });
}

/** A bridge that tracks connections tracks those of open NICs too, unless it is told not to. */
const onlyOpen = (families: readonly PolicyFamily[]): readonly PolicyFamily[] =>
  families.filter((family) => family === "bridge");

/** The host as far as a wish depends on it. */
export interface HostView {
  readonly links: LinkView;
  /** Where the service policy can be judged; none: NICs that need it are refused. */
  readonly families: readonly PolicyFamily[];
  /** Whether addresses can be translated. */
  readonly nat?: boolean;
  /** Whether a packet for it that comes in there is for the host itself. */
  isOwnAddress?(address: Uint8Array, ifindex: number): boolean;
  /** The networks that an interface of the host is on. */
  readonly lan?: (ifindex: number) => readonly IpBlock[];
}

/** @throws NAT_UNSUPPORTED */
function assertTranslates({ nat }: HostView, network: ObjectName): void {
  if (nat === true) return;
  throw new GuardError(
    "NAT_UNSUPPORTED",
    `this kernel cannot translate addresses, and network '${network}' is of wiring nat`,
    {
      fields: { network },
    },
  );
}

/** One port's wish. Throws GuardError when its guest, network or bridge is not there, or its policy cannot be had. */
export function portWish(
  site: SiteView,
  numbers: ReadonlyMap<ObjectName, NetworkFacts>,
  attachment: Attachment,
  host: HostView,
): PortWish {
  const nic = nicOf(site, attachment);
  const { network, mac } = nic.identity;
  const spec = site.networks.get(network);
  const facts = numbers.get(network);
  if (spec === undefined || facts === undefined)
    throw new GuardError("NOT_FOUND", `network '${network}' does not exist`);
  const { roles, unchecked } = nic.spec;
  if (spec.wiring.kind === "nat") assertTranslates(host, network);
  const policy = judgementOf(site, nic, host.families);
  const sources = sourcesOf(nic, spec);
  const own: PortBinding = {
    ifindex: attachment.ifindex,
    mac,
    sources,
    network: facts.network,
    roles,
    unchecked,
    observed: (nic.spec.mode ?? spec.mode) === "observe",
    ...(isLearned(spec.addressing) ? { learns: true } : {}),
    rates: ratesOf(spec.rates, nic.spec.rates),
    ...(policy === undefined ? {} : { policy }),
    ...(spec.wiring.kind === "nat" ? { nat: translationOf(nic.spec, sources, spec.wiring) } : {}),
  };
  const hearsGroups = spec.prefix6 !== undefined || spec.multicast.length > 0;
  const place = placed(spec, network, attachment.port, own, host);
  return { port: attachment.port, ...place, hearsGroups };
}

/** What holds of the whole site, however it is attached. */
export interface SiteFacts {
  readonly networks: ReadonlyMap<ObjectName, NetworkFacts>;
  readonly policy: PolicyFacts;
}

export const siteFacts = (site: SiteView): SiteFacts => ({ networks: networkFacts(site), policy: policyFacts(site) });

/** @param epoch of this boot and network namespace; attachments of another are stale */
export function desiredHost(
  site: SiteView,
  attachments: Iterable<Attachment>,
  host: HostView,
  epoch: string,
  { networks, policy }: SiteFacts = siteFacts(site),
): Desired {
  const { links, families } = host;
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
      ports.push(portWish(site, networks, attachment, host));
    } catch (error) {
      if (!(error instanceof GuardError)) throw error;
      refused.push({ attachment, error });
    }
  }
  const here = [...networks].map(([name, facts]) => hostFacts(facts, site.networks.get(name), host));
  return { wish: { ports, networks: here, policy: { families, facts: policy } }, refused, stale };
}
