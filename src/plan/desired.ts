/** From the site and what is attached to the wish for this host; what cannot be had is said per port. */
import type { Link } from "../kernel/links.ts";
import { GuardError } from "../model/errors.ts";
import type { InterfaceName, ObjectName } from "../model/names.ts";
import { unreachable } from "../model/never.ts";
import type { Attachment, Guest, NetworkSpec, NicIdentity } from "../model/resources.ts";
import { type NetworkFacts, networkNumbers } from "../ruleset/elements.ts";
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

export function networkFacts(site: SiteView): ReadonlyMap<ObjectName, NetworkFacts> {
  const numbers = networkNumbers([...site.networks.keys()]);
  const facts = new Map<ObjectName, NetworkFacts & { members: NetworkFacts["members"][number][] }>();
  for (const [name, spec] of site.networks) {
    const { prefix4, gateway4, gatewayMac } = spec;
    const pinned = gatewayMac === undefined ? {} : { gatewayMac };
    facts.set(name, { network: numbers.get(name) ?? 0, prefix4, gateway4, ...pinned, members: [] });
  }
  for (const guest of site.guests.values()) {
    for (const nic of guest.nics) {
      for (const address of nic.addresses4) facts.get(nic.network)?.members.push({ address, mac: nic.mac });
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

function nicOf(site: SiteView, attachment: Attachment): NicIdentity {
  const nic = site.guests.get(attachment.guest)?.nics[attachment.nic];
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
  const spec = site.networks.get(nic.network);
  const facts = numbers.get(nic.network);
  if (spec === undefined || facts === undefined)
    throw new GuardError("NOT_FOUND", `network '${nic.network}' does not exist`);
  return {
    port: attachment.port,
    binding: { ifindex: attachment.ifindex, mac: nic.mac, addresses4: nic.addresses4, network: facts.network },
    bridge: bridgeOf(spec, nic.network, links),
  };
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
