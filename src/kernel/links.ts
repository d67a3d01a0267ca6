/** Seam to rtnetlink: interfaces, bridge ports and static forwarding entries. Synchronous: the kernel answers at once. */
import type { MacAddress } from "../model/mac.ts";
import type { InterfaceName } from "../model/names.ts";

/** Bridge port settings vifguard cares for (IFLA_BRPORT_*). */
export interface BridgePortFlags {
  readonly learning: boolean;
  readonly locked: boolean;
  readonly unicastFlood: boolean;
  readonly multicastFlood: boolean;
  readonly broadcastFlood: boolean;
}

/** Whether what a bridge forwards passes the chains of the family inet (IPv4, IPv6) as well. Of that bridge alone; the sysctl of the same name is for all. */
export interface BridgeNetfilter {
  readonly callIptables: boolean;
  readonly callIp6tables: boolean;
}

export interface Link {
  readonly ifindex: number;
  /** As the kernel has it; may be a name vifguard would not accept. */
  readonly name: string;
  readonly mac: MacAddress;
  /** IFLA_INFO_KIND: "veth", "tun", "bridge", "" when there is none. */
  readonly kind: string;
  /** Administrative state, IFF_UP. */
  readonly up: boolean;
  /**
   * Whether somebody is at the other end: a tap that a process has open, a veth whose peer is up, a vif of Xen whose guest has connected its driver.
   * It changes also while the interface is down, and that no event tells (linkwatch_do_dev).
   */
  readonly carrier: boolean;
  /** ifindex of the bridge it belongs to; 0 for none. */
  readonly master: number;
  readonly mtu: number;
  readonly alias: string;
  /** Present only on ports of a bridge. */
  readonly bridgePort: BridgePortFlags | undefined;
  /** Present only on bridges, of a kernel that can do it (CONFIG_BRIDGE_NETFILTER). */
  readonly bridge?: BridgeNetfilter;
}

/** A static (NUD_NOARP or permanent) forwarding entry of a bridge port, VLAN 0 (none). */
export interface FdbEntry {
  readonly ifindex: number;
  readonly mac: MacAddress;
  /** It stays where it is, whoever speaks with that MAC behind another port (NTF_STICKY). */
  readonly isSticky: boolean;
}

export type LinkEvent =
  | { readonly kind: "changed"; readonly link: Link }
  | { readonly kind: "removed"; readonly ifindex: number; readonly name: string }
  /** Events were lost (ENOBUFS): read everything again. */
  | { readonly kind: "lost" };

export interface Links {
  list(): readonly Link[];
  byName(name: InterfaceName): Link | undefined;
  byIndex(ifindex: number): Link | undefined;
  /** The setters throw PORT_MISSING when the interface is gone, else KERNEL_REFUSED with errno. All are idempotent. */
  setUp(ifindex: number, up: boolean): void;
  setMac(ifindex: number, mac: MacAddress): void;
  /** 0 takes it out of its bridge. */
  setMaster(ifindex: number, master: number): void;
  setBridgePort(ifindex: number, flags: BridgePortFlags): void;
  /** Nothing else of the bridge is changed, and no other bridge. */
  setBridgeNetfilter(ifindex: number, wanted: BridgeNetfilter): void;
  /** Static entries of all bridge ports, or of one. Entries the kernel makes for the ports' own MACs (permanent, local) are left out. */
  fdb(ifindex?: number): readonly FdbEntry[];
  addFdb(entry: FdbEntry): void;
  /** A missing entry is fine. */
  deleteFdb(entry: Pick<FdbEntry, "ifindex" | "mac">): void;
  /**
   * Whether a packet for this IPv4 or IPv6 address that came in on the interface would be the host's own: local, broadcast or anycast by its
   * routing tables now, as `fib daddr type` of nf_tables has it. Link-local addresses are those of that interface.
   */
  isOwnAddress(address: Uint8Array, ifindex: number): boolean;
  /** Addresses of the interface, of both families, by which others may know it: without those of the link alone, those not yet or no longer used, and temporary ones. */
  addresses(ifindex: number): readonly Uint8Array[];
  watch(event: (event: LinkEvent) => void): { close(): void };
  close(): void;
}
