/** What an operator declares: networks, groups and guests, as they are after validation and with every default filled in. */
import type { ClientClass, NicTell, Tell } from "./dhcp.ts";
import type { Ipv4Address, Ipv4Prefix, Ipv4Range } from "./ipv4.ts";
import type { Ipv6Address, Ipv6Prefix } from "./ipv6.ts";
import type { MacAddress } from "./mac.ts";
import type { HostId, InterfaceName, ObjectName } from "./names.ts";
import type { GroupSpec, PortRange } from "./policy.ts";
import type { RateSettings } from "./rates.ts";
import type { Reason } from "./reasons.ts";

/** How a port reaches its network. The other kinds of the design join this union with their own work. */
export type Wiring =
  | { readonly kind: "bridged"; readonly bridge: InterfaceName; readonly uplink?: InterfaceName }
  | { readonly kind: "routed"; readonly uplink: InterfaceName; readonly gives: RoutedGives }
  | { readonly kind: "brouted"; readonly bridge: InterfaceName }
  | { readonly kind: "transport"; readonly uplink: InterfaceName; readonly link4: Link4Length }
  | {
      readonly kind: "nat";
      readonly uplink: InterfaceName;
      readonly gives: RoutedGives;
      readonly masquerade: Masquerade;
    };

/** What guests without a public address of their own leave by: nothing, the uplink's own address, or this one. */
export type Masquerade = boolean | Ipv4Address;

export const routedGives = ["address", "prefix"] as const;
/** What a guest of a routed network takes its link for: nothing but its own address and a gateway, or the whole network. */
export type RoutedGives = (typeof routedGives)[number];

export const link4Lengths = [30, 31] as const;
/** Prefix length of the IPv4 link between a host and one guest; of IPv6 it is always 127. */
export type Link4Length = (typeof link4Lengths)[number];

/** `ip`: the address decides the MAC (FE:00:o1:o2:o3:o4). `net`: the prefix length and the gateway too. `random`: a locally administered MAC, unique in the store. */
export type MacScheme = "ip" | "net" | "random";

/** What guests of a network are told besides their address, by whatever way they are told anything. */
export interface Told {
  readonly dns: readonly Ipv4Address[];
  readonly dns6: readonly Ipv6Address[];
  readonly ntp: readonly Ipv4Address[];
  readonly domain?: string;
  readonly search: readonly string[];
  readonly mtu?: number;
  /** Static routes handed out as option 121 (RFC 3442) besides the default route. */
  readonly routes: readonly { readonly to: Ipv4Prefix; readonly via: Ipv4Address }[];
}

/** How a guest gets its address and how we know it. */
export type Addressing = ManagedAddressing | StaticAddressing | MacAddressing | LearnedAddressing;

/** We decide, and answer DHCP. */
export interface ManagedAddressing extends Told, Pick<Tell, "ntp6" | "boot" | "options" | "options6"> {
  readonly kind: "managed";
  readonly leaseSeconds: number;
  readonly macScheme: MacScheme;
  /** Whether the LAN is asked for an address before it is given. */
  readonly conflictDetection?: boolean;
  /** The first that matches is the client's. */
  readonly classes?: readonly ClientClass[];
}

/** We decide, and the guest is configured by hand. */
export interface StaticAddressing extends Told {
  readonly kind: "static";
  readonly macScheme: MacScheme;
}

/** We decide, and the guest reads it in its own MAC. */
export interface MacAddressing extends Told {
  readonly kind: "mac";
  readonly macScheme: "net";
}

/** Somebody else's DHCP server decides, and what it gives is read from the guest's own exchange. */
export type LearnedAddressing = RelayAddressing | SnoopAddressing;

/** Our relay agent on the port speaks with the servers (RFC 3046, RFC 8415 section 19). */
export interface RelayAddressing {
  readonly kind: "relay";
  readonly servers: readonly Ipv4Address[];
  readonly servers6: readonly Ipv6Address[];
  /** Where servers answer to; without it the host's own address on the way to each of them. */
  readonly giaddr?: Ipv4Address;
  /** Guests renew at the network's gateway in name, so that what they say there comes to the relay (RFC 5107). */
  readonly serverIdOverride: boolean;
}

/** Servers on the LAN, which guests' questions reach over the bridge. */
export interface SnoopAddressing {
  readonly kind: "snoop";
  readonly servers: readonly LanServer<Ipv4Address>[];
  readonly servers6: readonly LanServer<Ipv6Address>[];
}

export interface LanServer<A> {
  readonly address: A;
  /** When it is named, only from there. */
  readonly mac?: MacAddress;
}

/** `observe`: judged, counted and logged, but let by. */
export type Mode = "enforce" | "observe";

/** Ports of tcp or udp; `icmp` (without ports) is an echo request of either family; another protocol is named by number. */
export interface HostService {
  readonly protocol: "tcp" | "udp" | "icmp" | number;
  readonly ports: readonly number[];
}

export interface NetworkSpec {
  readonly prefix4: Ipv4Prefix;
  /** No guest gets it. Of a transport network, where every link has its own, it is filled in: the left-hand address of the first link. */
  readonly gateway4: Ipv4Address;
  /** Where addresses are taken from; fixed addresses may lie outside but inside the prefix. */
  readonly range4: readonly Ipv4Range[];
  /** When the gateway's MAC is named, only it may speak for the gateway's addresses. */
  readonly gatewayMac?: MacAddress;
  /** Without it guests of the network have no IPv6 at all, link-local neither. */
  readonly prefix6?: Ipv6Prefix;
  /** Link-local, as routers announce themselves (RFC 4861 section 6.1.2). */
  readonly gateway6?: Ipv6Address;
  /** What guests may use of the host itself besides ARP, ND and DHCP. */
  readonly hostServices: readonly HostService[];
  /** Groups of both families that guests may join, send to and hear. */
  readonly multicast: readonly (Ipv4Address | Ipv6Address)[];
  /** Whether the host answers ARP and ND for what it knows, so that the question stays on the port. */
  readonly suppression: boolean;
  readonly mode: Mode;
  readonly rates: RateSettings;
  /** Groups of the NICs that name none. */
  readonly groups: readonly ObjectName[];
  /** Tracked connections that one NIC may have at once. */
  readonly connections: number;
  /** Seconds that an address or a MAC that was given up stays nobody else's; `coolDownOf` knows what holds without it. */
  readonly coolDown?: number;
  readonly wiring: Wiring;
  readonly addressing: Addressing;
}

export interface NicSpec {
  readonly network: ObjectName;
  /** Fixed by the operator; otherwise assigned when the guest is applied. */
  readonly mac?: MacAddress;
  readonly address4?: Ipv4Address;
  /** Without it the prefix with the interface identifier of the MAC. */
  readonly address6?: Ipv6Address;
  /** More addresses, and whole prefixes, that are this NIC's alone. */
  readonly addresses: readonly IpBlock[];
  /** Addresses that others may have too, with the NIC's MAC or another one (VRRP). */
  readonly allowedPairs: readonly AllowedPair[];
  readonly roles: readonly Role[];
  /** Lines of the contract that are switched off for this NIC. */
  readonly unchecked: readonly Uncheckable[];
  readonly mode?: Mode;
  readonly rates: RateSettings;
  /** Overrides the network's. */
  readonly connections?: number;
  /** Without any those of the network. */
  readonly groups: readonly ObjectName[];
  /** Of a nat network: the public address that is this NIC's alone, both ways. */
  readonly public4?: Ipv4Address;
  /** Of a nat network: single services under a public address that others may share. */
  readonly services?: readonly PublicService[];
  /** What DHCP tells this NIC instead of what the network says. */
  readonly tell?: NicTell;
}

/** Ports of a public address that lead to a NIC; `to` where the guest's port is another, of a range the first. */
export interface PublicService {
  readonly public4: Ipv4Address;
  readonly protocol: "tcp" | "udp";
  readonly ports: readonly PortRange[];
  readonly to?: number;
}

/** One address or a prefix, of either family. */
export type IpBlock =
  | { readonly kind: "address4"; readonly address: Ipv4Address }
  | { readonly kind: "prefix4"; readonly prefix: Ipv4Prefix }
  | { readonly kind: "address6"; readonly address: Ipv6Address }
  | { readonly kind: "prefix6"; readonly prefix: Ipv6Prefix };

export interface AllowedPair {
  readonly what: IpBlock;
  readonly mac?: MacAddress;
}

export const roles = ["dhcp-server", "router"] as const;
/** `dhcp-server` may answer DHCP; `router` may send router advertisements. */
export type Role = (typeof roles)[number];

/**
 * What may be switched off for a NIC. Not the MAC, the outermost type and the ARP sender: on them everything else stands;
 * more addresses are given with `addresses` and `allowedPairs`.
 */
export const uncheckable = [
  "arp-target",
  "ip4-source",
  "ip6-source",
  "ip4-shape",
  "ip6-shape",
  "broadcast",
  "multicast",
  "dest-mac",
  "host",
  "tunnel",
  "routing",
  "rate-arp",
  "rate-nd",
  "rate-dhcp",
  "rate-multicast",
  "rate-syn",
  "rate-packets",
  "rate-bytes",
] as const satisfies readonly Reason[];
export type Uncheckable = (typeof uncheckable)[number];
export interface GuestSpec {
  readonly nics: readonly NicSpec[];
  readonly hostname?: string;
}

export type Resource =
  | { readonly kind: "network"; readonly name: ObjectName; readonly spec: NetworkSpec }
  | { readonly kind: "group"; readonly name: ObjectName; readonly spec: GroupSpec }
  | { readonly kind: "guest"; readonly name: ObjectName; readonly spec: GuestSpec };
export type Kind = Resource["kind"];
export const kinds = ["network", "group", "guest"] as const satisfies readonly Kind[];

/** What the store decided for one NIC: never changes while the guest exists, unless the operator changes the spec. */
export interface NicIdentity {
  readonly network: ObjectName;
  readonly mac: MacAddress;
  readonly addresses4: readonly Ipv4Address[];
  /** Of a NIC whose addresses are learned, which has none of its own making: what was learned. */
  readonly addresses6?: readonly Ipv6Address[];
}

/** As much of a NIC as others must know who speak to it: what `NicSpec` and `NicIdentity` say of it, with what it has learned. */
export interface NicMember extends NicIdentity, Pick<NicSpec, "address6" | "public4"> {
  readonly addresses?: readonly IpBlock[];
  readonly allowedPairs?: readonly AllowedPair[];
  /** Its own. */
  readonly groups?: readonly ObjectName[];
}

/** Who has a public address of a nat network, or a part of it. */
export type PublicHolder =
  | { readonly kind: "whole"; readonly guest: ObjectName; readonly nic: number }
  | {
      readonly kind: "service";
      readonly guest: ObjectName;
      readonly nic: number;
      readonly protocol: PublicService["protocol"];
      readonly first: number;
      readonly last: number;
    }
  | { readonly kind: "masquerade"; readonly network: ObjectName };

/** A guest with the identities of its NICs, in the order of `spec.nics`. */
export interface Guest {
  readonly name: ObjectName;
  readonly spec: GuestSpec;
  readonly nics: readonly NicIdentity[];
}

/** A port that was given to a NIC of a guest on this host. Valid only for that interface index in that boot of that host. */
export interface Attachment {
  readonly port: InterfaceName;
  readonly ifindex: number;
  /** Boot id and network namespace, so that an index of another life is never believed. */
  readonly epoch: string;
  /** Of the agent's state directory: another machine that got the host's name is not to take it for its own. */
  readonly instance?: string;
  readonly guest: ObjectName;
  readonly nic: number;
  /** Number of the claim under which it may open: with another number in the claim it has lost the NIC. */
  readonly fence: number;
  /** Its NIC is another port's, which has not been asked for it: the number is only that of the claim as it was. */
  readonly prepared?: true;
  /** The other port of its NIC, for which this one serves while nobody is connected there. */
  readonly standsInFor?: InterfaceName;
  /** Milliseconds since the Unix epoch. */
  readonly since: number;
}

/** A port of one host of the fleet. */
export interface PortPlace {
  readonly host: HostId;
  readonly port: InterfaceName;
}

/** Who may answer for a NIC. Only its holder gives it away, once its port is shut, unless an operator overrides. */
export interface NicClaim {
  /** Grows with every new holder and never falls while the guest exists. */
  readonly fence: number;
  /** Absent: nobody answers. */
  readonly holder?: PortPlace;
  /** Who is prepared and waits for the holder to let go; its port opens under the next number. */
  readonly next?: PortPlace;
  /** Whom the guest was speaking to when the last holder let go, as its rules had learned it: a guest that moves does not ask again. */
  readonly knows?: readonly string[];
}

/** What the DHCP responder has promised, or another server has given. */
export interface DhcpLease {
  readonly network: ObjectName;
  readonly address: Ipv4Address | Ipv6Address;
  readonly guest: ObjectName;
  readonly nic: number;
  readonly mac: MacAddress;
  readonly state: "bound" | "released" | "declined";
  /** Milliseconds since the Unix epoch. */
  readonly expiresAt: number;
  readonly hostname?: string;
  /** Given by another server: the guard is open for the address as long as this record stands. */
  readonly learned?: LearnedFrom;
}

export interface LearnedFrom {
  readonly by: LearnedAddressing["kind"];
  readonly server: Ipv4Address | Ipv6Address;
}
