/** The lab on paper: its boxes, their names, addresses and wires. Pure: raising it is `raise.ts`'s work. */
import type { Brand } from "../model/brand.ts";
import { GuardError } from "../model/errors.ts";
import {
  type Ipv4Address,
  type Ipv4Prefix,
  ipv4FromNumber,
  ipv4ToBytes,
  parsePrefix4,
  prefix4Bounds,
} from "../model/ipv4.ts";
import {
  eui64Address,
  type Ipv6Address,
  type Ipv6Prefix,
  linkLocalOf,
  parseIpv6,
  parsePrefix6,
  prefix6Bounds,
} from "../model/ipv6.ts";
import { type MacAddress, macFromBytes } from "../model/mac.ts";

/** Lower-case letters and digits only, so that `vg-<name>-<box>` can be read back without doubt. */
export type LabName = Brand<string, "LabName">;
export type NicKind = "veth" | "tap";
export const nicKinds = ["veth", "tap"] as const satisfies readonly NicKind[];
export type HostBox = "host" | "host2" | "host3";
export type Box = "lan" | "gw" | "neighbour" | HostBox | `etcd${number}` | `guest${number}`;
/** How the host's guests reach the LAN; the host has a bridge, or its one address on the uplink itself. */
export type LabWiring = "bridged" | "routed" | "brouted" | "transport" | "nat";
export const labWirings = ["bridged", "routed", "brouted", "transport", "nat"] as const satisfies readonly LabWiring[];

/** Who somebody is on the wire. */
export interface Party {
  readonly mac: MacAddress;
  readonly address: Ipv4Address;
}

/** The host has its IPv6 address by hand, like a server; all others make theirs of their MAC. */
export interface HostParty extends Party {
  readonly address6: Ipv6Address;
}

export interface GuestBox extends Party {
  readonly box: Box;
  /** Where its port is. */
  readonly on: HostBox;
  /** The host's end of the guest's NIC; the guest's own end is always `eth0`. */
  readonly port: string;
  /** Where addresses are translated: by which the LAN knows it. */
  readonly public4?: Ipv4Address;
}

export interface Topology {
  readonly name: LabName;
  readonly nic: NicKind;
  readonly wiring: LabWiring;
  readonly prefix4: Ipv4Prefix;
  /** Where guests have their addresses, which is the LAN's unless they are translated. */
  readonly guests4: { readonly prefix4: Ipv4Prefix; readonly gateway4: Ipv4Address };
  readonly prefix6: Ipv6Prefix;
  readonly gateway: Party;
  readonly neighbour: Party;
  /** The bridge of the host box, with its addresses: what a guest must not speak to. */
  readonly host: HostParty;
  /** All of them, `host` the first. */
  readonly hosts: readonly (HostParty & { readonly box: HostBox })[];
  readonly guests: readonly GuestBox[];
  /** Every box, in the order they are made. */
  readonly boxes: readonly Box[];
}

export interface LabOptions {
  readonly name: string;
  readonly guests: number;
  readonly nic: NicKind;
  readonly wiring?: LabWiring;
  /** Guests are dealt out to them in turn. */
  readonly hosts?: 1 | 2 | 3;
  /** Boxes for the members of a store, without a wire. */
  readonly members?: number;
  /** What the guests' NICs are born with; by default the MAC that the `ip` scheme gives their address. */
  readonly guestMacs?: readonly MacAddress[];
}

/** One namespace's worth of work for `ip -batch`. */
export interface Batch {
  readonly netns: string;
  readonly lines: readonly string[];
}

const NETNS_PREFIX = "vg-";
export const MAX_GUESTS = 32;
/** RFC 5737 documentation range: cannot be anybody's LAN. */
const LAB_PREFIX = "203.0.113.0/24";
/** RFC 1918: the same behind every host that translates. */
const INSIDE_PREFIX = "10.66.0.0/24";
/** Public addresses of guests inside are so many above those of guests that need none. */
const PUBLIC_SHIFT = 100;
/** RFC 3849 documentation range. */
export const LAB_PREFIX6: Ipv6Prefix = known("2001:db8:66::/64", parsePrefix6);
/** RFC 5737, the first: cut into links of /31. */
export const LAB_POOL: Ipv4Prefix = known("192.0.2.0/24", parsePrefix4);
/** Of the lab's prefix the part that addresses made of a guest's MAC lie in, and nobody else's do: they end as the IPv4 address does, so a right-hand one stays one. */
export const LAB_POOL6: Ipv6Prefix = known("2001:db8:66:0:fc00::/80", parsePrefix6);
/** What the gateway is called by everybody, besides the addresses it makes of its MAC. */
export const GATEWAY6: Ipv6Address = known("fe80::1", parseIpv6);
const HOST6: Ipv6Address = known("2001:db8:66::3", parseIpv6);
const SECOND_HOST6: Ipv6Address = known("2001:db8:66::4", parseIpv6);
const THIRD_HOST6: Ipv6Address = known("2001:db8:66::5", parseIpv6);
export const HOST_BRIDGE = "br0";
const hasBridge = ({ wiring }: Pick<Topology, "wiring">): boolean => wiring === "bridged" || wiring === "brouted";
/** Where the host has its addresses. */
export const hostDevice = (topology: Pick<Topology, "wiring">): string => (hasBridge(topology) ? HOST_BRIDGE : "eth0");
/** Guests are numbered from .10 on, so that .1 to .9 stay for the boxes of the LAN. */
const FIRST_GUEST = 10;

function known<T>(text: string, parse: (text: string) => T | undefined): T {
  const value = parse(text);
  if (value === undefined) throw new TypeError(`not an address or prefix: ${text}`);
  return value;
}

/** The link-local address that a kernel makes of the MAC (RFC 4291 appendix A). */
export function llOf(party: Pick<Party, "mac">): Ipv6Address {
  return linkLocalOf(party.mac);
}

/** The address in the lab's prefix that belongs to the MAC. */
export function globalOf(party: Pick<Party, "mac">): Ipv6Address {
  return eui64Address(LAB_PREFIX6, party.mac);
}

export function parseLabName(text: string): LabName | undefined {
  return /^[a-z0-9]{1,15}$/.test(text) ? (text as LabName) : undefined;
}

/** @throws USAGE */
export function labName(text: string): LabName {
  const name = parseLabName(text);
  if (name === undefined)
    throw new GuardError("USAGE", `lab name '${text}' is not 1 to 15 lower-case letters and digits`);
  return name;
}

export function namespaceOf(name: LabName, box: Box): string {
  return `${NETNS_PREFIX}${name}-${box}`;
}

/** Which lab a namespace belongs to; undefined for namespaces that are not ours. */
export function labOfNamespace(netns: string): LabName | undefined {
  const match = /^vg-([a-z0-9]{1,15})-(?:lan|gw|neighbour|host[23]?|etcd[1-9]|guest[1-9]\d?)$/.exec(netns);
  return match?.[1] === undefined ? undefined : parseLabName(match[1]);
}

/** FE:00 and the four octets of the address: what `macScheme: ip` gives. */
export function schemeMac(address: Ipv4Address): MacAddress {
  return macFromBytes(Uint8Array.of(0xfe, 0, ...ipv4ToBytes(address)));
}

function lanMac(last: number): MacAddress {
  return macFromBytes(Uint8Array.of(0x02, 0x76, 0x67, 0, 0, last));
}

/** @throws USAGE */
export function planLab(options: LabOptions): Topology {
  const name = labName(options.name);
  if (!Number.isInteger(options.guests) || options.guests < 1 || options.guests > MAX_GUESTS)
    throw new GuardError("USAGE", `a lab has 1 to ${MAX_GUESTS} guests, not ${options.guests}`);
  const prefix4 = known(LAB_PREFIX, parsePrefix4);
  const base = prefix4Bounds(prefix4).first;
  const isInside = options.wiring === "nat";
  const inside = known(INSIDE_PREFIX, parsePrefix4);
  const first = isInside ? prefix4Bounds(inside).first : base;
  const hostAt = <B extends HostBox>(box: B, nth: number, address6: Ipv6Address) => ({
    box,
    address: ipv4FromNumber(base + nth),
    mac: lanMac(nth),
    address6,
  });
  const host = hostAt("host", 3, HOST6);
  const others = [hostAt("host2", 4, SECOND_HOST6), hostAt("host3", 5, THIRD_HOST6)];
  const hosts = [host, ...others.slice(0, (options.hosts ?? 1) - 1)];
  const members = Array.from({ length: options.members ?? 0 }, (_, n): Box => `etcd${n + 1}`);
  const guests = Array.from({ length: options.guests }, (_, i): GuestBox => {
    const address =
      options.wiring === "transport"
        ? ipv4FromNumber(prefix4Bounds(LAB_POOL).first + 2 * i + 1)
        : ipv4FromNumber(first + FIRST_GUEST + i);
    const outside = isInside ? { public4: ipv4FromNumber(base + PUBLIC_SHIFT + FIRST_GUEST + i) } : {};
    return {
      box: `guest${i + 1}`,
      on: hosts[i % hosts.length]?.box ?? "host",
      port: `vif${i + 1}.0`,
      address,
      ...outside,
      mac: options.guestMacs?.[i] ?? schemeMac(address),
    };
  });
  return {
    name,
    nic: options.nic,
    wiring: options.wiring ?? "bridged",
    prefix4,
    guests4: { prefix4: isInside ? inside : prefix4, gateway4: ipv4FromNumber(first + 1) },
    prefix6: LAB_PREFIX6,
    gateway: { address: ipv4FromNumber(base + 1), mac: lanMac(1) },
    neighbour: { address: ipv4FromNumber(base + 2), mac: lanMac(2) },
    host,
    hosts,
    guests,
    boxes: ["lan", "gw", "neighbour", ...hosts.map(({ box }) => box), ...members, ...guests.map(({ box }) => box)],
  };
}

function isBox(topology: Topology, text: string): text is Box {
  return topology.boxes.some((box) => box === text);
}

/** @throws NOT_FOUND */
export function boxOf(topology: Topology, text: string): Box {
  if (!isBox(topology, text))
    throw new GuardError(
      "NOT_FOUND",
      `lab '${topology.name}' has no box '${text}'; it has ${topology.boxes.join(", ")}`,
    );
  return text;
}

// A switch that keeps nothing back: no spanning tree, no snooping, and reserved groups (LLDP, 802.1X) forwarded too
// (bits 0 to 2 cannot be set). What does not arrive was stopped by vifguard and by nothing else.
export const PLAIN_BRIDGE = "type bridge stp_state 0 forward_delay 0 mcast_snooping 0 group_fwd_mask 65528";

/** Nobody answers on the LAN for a link: everybody else has a route to it. */
export function linkRoutes({ wiring, guests, hosts }: Topology, at?: HostBox): readonly string[] {
  if (wiring !== "transport") return [];
  return guests.flatMap((guest) => {
    const host = hosts.find(({ box }) => box === guest.on && box !== at);
    if (host === undefined) return [];
    return [
      `route add ${guest.address}/32 via ${host.address} dev eth0`,
      `route add ${globalOf(guest)}/128 via ${host.address6} dev eth0`,
    ];
  });
}

/** All wires, made from inside the namespaces so that not even for a moment anything stands outside. */
export function wiringOf(topology: Topology): readonly Batch[] {
  const ns = (box: Box): string => namespaceOf(topology.name, box);
  const length = prefix4Bounds(topology.prefix4).length;
  const veth = (near: string, far: string, box: Box): string =>
    `link add ${near} type veth peer name ${far} netns ${ns(box)}`;
  const length6 = prefix6Bounds(topology.prefix6).length;
  const station = (box: Box, party: Party, ...more: readonly Ipv6Address[]): Batch => ({
    netns: ns(box),
    lines: [
      "link set lo up",
      `link set eth0 address ${party.mac}`,
      `address add ${party.address}/${length} dev eth0`,
      ...[globalOf(party), ...more].map((address) => `address add ${address}/${length6} dev eth0 nodad`),
      "link set eth0 up",
      ...linkRoutes(topology),
    ],
  });
  const lanPorts = ["gw", "neighbour", ...topology.hosts.map(({ box }) => box)] as const;
  const ports = (on: HostBox): readonly string[] =>
    topology.guests
      .filter((guest) => guest.on === on)
      .map((guest) =>
        topology.nic === "veth" ? veth(guest.port, "eth0", guest.box) : `tuntap add ${guest.port} mode tap`,
      );
  const place = (host: Party): readonly string[] =>
    hasBridge(topology)
      ? [
          `link add ${HOST_BRIDGE} address ${host.mac} ${PLAIN_BRIDGE}`,
          `address add ${host.address}/${length} dev ${HOST_BRIDGE}`,
          `link set eth0 master ${HOST_BRIDGE} up`,
          `link set ${HOST_BRIDGE} up`,
          ...(topology.wiring === "brouted"
            ? [`route add default via ${topology.gateway.address} dev ${HOST_BRIDGE}`]
            : []),
        ]
      : [
          `link set eth0 address ${host.mac}`,
          `address add ${host.address}/${length} dev eth0`,
          "link set eth0 up",
          `route add default via ${topology.gateway.address} dev eth0`,
        ];
  return [
    {
      netns: ns("lan"),
      lines: [
        `link add sw0 ${PLAIN_BRIDGE}`,
        ...lanPorts.flatMap((box) => [veth(box, "eth0", box), `link set ${box} master sw0 up`]),
        "link set sw0 up",
      ],
    },
    station("gw", topology.gateway, GATEWAY6),
    station("neighbour", topology.neighbour),
    ...topology.hosts.map((host) => ({
      netns: ns(host.box),
      lines: ["link set lo up", ...place(host), ...ports(host.box)],
    })),
    ...topology.guests.map((guest) => ({
      netns: ns(guest.box),
      lines: [
        "link set lo up",
        ...(topology.nic === "tap" ? ["tuntap add eth0 mode tap"] : []),
        `link set eth0 address ${guest.mac}`,
        "link set eth0 up",
      ],
    })),
  ];
}
