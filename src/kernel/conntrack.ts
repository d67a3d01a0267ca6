/** Seam to connection tracking: the flows of one zone, and their removal. Synchronous: the kernel answers at once. */
import type { Ipv4Address } from "../model/ipv4.ts";
import type { Ipv6Address } from "../model/ipv6.ts";

/** The reply tuple. */
export interface FlowReply {
  readonly from: Ipv4Address | Ipv6Address;
  readonly to: Ipv4Address | Ipv6Address;
  /** As of the flow itself; of ICMP the type and code of the answer. */
  readonly fromPort: number;
  readonly toPort: number;
}

/** A tracked flow as its first packet opened it (the original tuple). */
export interface Flow {
  readonly zone: number;
  /** IP protocol number. */
  readonly protocol: number;
  readonly from: Ipv4Address | Ipv6Address;
  readonly to: Ipv4Address | Ipv6Address;
  /** The identifier of ICMP and ICMPv6; 0 of protocols that have no ports. */
  readonly fromPort: number;
  /** Type and code of ICMP and ICMPv6, `type << 8 | code`. */
  readonly toPort: number;
  /** Who answers, and to whom: others than `to` and `from` where an address is translated. Absent where the kernel did not tell. */
  readonly reply?: FlowReply;
  /**
   * The kernel's own (CTA_ID, from Linux 5.2 a digest of the tuple and of where in memory the entry is). It tells a flow from a later one with the same
   * tuple only if that lies elsewhere: of flows opened anew at once 17 in 20 had the id of the one just removed.
   */
  readonly id: number;
}

export interface Conntrack {
  /**
   * Read while it is walked, so that a large table is never held whole; flows that come or go meanwhile may or may not be among them. Removing on the
   * way is fine. @throws KERNEL_REFUSED
   */
  flows(zone: number): Iterable<Flow>;
  /** False when it is gone. @throws KERNEL_REFUSED */
  remove(flow: Flow): boolean;
  close(): void;
}
