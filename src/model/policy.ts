/** Words of the service policy (contract section 4): what a guest may offer and use, allow-only, stateful. */
import type { Ipv4Prefix } from "./ipv4.ts";
import type { Ipv6Prefix } from "./ipv6.ts";
import type { ObjectName } from "./names.ts";

/** Both ends included; one port has both the same. */
export interface PortRange {
  readonly first: number;
  readonly last: number;
}

/** What is offered or used. The port is the one the flow was opened to. */
export type Service =
  /** Every protocol of both families. */
  | { readonly kind: "any" }
  /** Without ranges every port. */
  | { readonly kind: "tcp" | "udp"; readonly ports: readonly PortRange[] }
  /** Of echo requests and the like, which open a flow; errors belong to the flow they speak of. A code only with its type. */
  | { readonly kind: "icmp" | "icmpv6"; readonly type?: number; readonly code?: number }
  /** Any other IP protocol, by its number. */
  | { readonly kind: "protocol"; readonly number: number };

/** The other end of the flow. */
export type Peer =
  | { readonly kind: "any" }
  /** Addresses of the NIC's own network, guests or not. */
  | { readonly kind: "network" }
  /** NICs that carry the group, on whatever host. */
  | { readonly kind: "group"; readonly group: ObjectName }
  | { readonly kind: "prefix4"; readonly prefix: Ipv4Prefix }
  | { readonly kind: "prefix6"; readonly prefix: Ipv6Prefix };

export interface GroupRule {
  readonly service: Service;
  readonly peer: Peer;
}

/** Rules of several groups add up. */
export interface GroupSpec {
  /** Who may open flows to the members. Without rules nobody. */
  readonly ingress: readonly GroupRule[];
  /** Where the members may open flows to; absent: everywhere. */
  readonly egress?: readonly GroupRule[];
}
