/** What a host tells the LAN when a port opens, so that a guest that came from another host is found at once though it says nothing itself. */
import type { Link } from "../kernel/links.ts";
import type { Ipv4Address } from "../model/ipv4.ts";
import { type Ipv6Address, isLinkLocal6 } from "../model/ipv6.ts";
import type { MacAddress } from "../model/mac.ts";
import type { PortBinding } from "../ruleset/elements.ts";
import { type PortWish, routingOf } from "./host.ts";

export interface Announced {
  /** The interface it is said by. */
  readonly by: number;
  /** Where the addresses are found: the guest's own MAC where it is bridged, the host's where the host routes. */
  readonly mac: MacAddress;
  readonly addresses: readonly (Ipv4Address | Ipv6Address)[];
}

/**
 * Of a bridged port: the switches of the LAN learn from the frame itself where the guest's MAC is. Not what several guests may have, which is wherever it was
 * announced last, and nothing for a guest that is only observed.
 */
export function bridgedAnnouncement(uplink: Link | undefined, binding: PortBinding): Pick<PortWish, "announced"> {
  const { mac, sources, observed } = binding;
  if (uplink === undefined || observed) return {};
  const addresses = sources.flatMap(({ what, shared }) => {
    if (shared === true || (what.kind !== "address4" && what.kind !== "address6")) return [];
    return what.kind === "address6" && isLinkLocal6(what.address) ? [] : [what.address];
  });
  return { announced: { by: uplink.ifindex, mac, addresses } };
}

export function announcedOf(wish: PortWish): Announced | undefined {
  const routing = routingOf(wish);
  if (routing === undefined) return wish.announced;
  const { uplink, announcedAt = uplink.mac, announced } = routing;
  return { by: uplink.ifindex, mac: announcedAt, addresses: announced };
}
