/** How a routing daemon is to speak: what the configurations for BIRD and FRR have in common. */
import type { IpAddress } from "../model/ip-block.ts";
import type { Ipv4Address } from "../model/ipv4.ts";
import type { InterfaceName } from "../model/names.ts";
import type { AnnouncedSite } from "./announced.ts";
import type { PlainWord } from "./site.ts";

export const routingProtocols = ["bgp", "ospf", "rip"] as const;
export type RoutingProtocol = (typeof routingProtocols)[number];
export const speakerSides = ["host", "router"] as const;
/** `host` tells and believes nothing; `router` believes what guests may have, and tells nothing. */
export type SpeakerSide = (typeof speakerSides)[number];

/** The session's other end: a router's address on a host, a host's on a router. */
export interface BgpPeers {
  readonly as: number;
  readonly peerAs: number;
  readonly addresses: readonly IpAddress[];
  /** RFC 5082: only from the other end of the link. */
  readonly ttlSecurity: boolean;
  /** RFC 2385. */
  readonly secret?: PlainWord;
}

export interface Speaker {
  readonly side: SpeakerSide;
  readonly protocol: RoutingProtocol;
  readonly announced: AnnouncedSite;
  /** Towards the other side. */
  readonly interfaces: readonly InterfaceName[];
  readonly routerId?: Ipv4Address;
  /** Seconds from one sign of life to the next. */
  readonly hello: number;
  /** Routes of one family that a router takes of one session, or of OSPF or RIP as a whole. */
  readonly limit: number;
  readonly bgp?: BgpPeers;
}

/** What goes without saying among routers (RFC 2328 appendix C.3, RFC 2453 section 3.8); of BGP a third of the nine seconds after which a host counts as gone. */
export const usualHello: Readonly<Record<RoutingProtocol, number>> = { bgp: 3, ospf: 10, rip: 30 };
/** So many of them are missed before the other side is given up. */
export const PATIENCE: Readonly<Record<RoutingProtocol, number>> = { bgp: 3, ospf: 4, rip: 6 };
/** Of RIP: a route that is gone is told as gone for so many more (RFC 2453 section 3.8). */
export const RIP_GARBAGE = 4;
/** Of OSPF: what was not acknowledged is said again; after five seconds where hellos have the usual ten (RFC 2328 appendix C.3), two being the least that BIRD takes. */
export const ospfRetransmit = (hello: number): number => Math.max(2, Math.ceil(hello / 2));
