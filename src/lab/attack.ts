/** What a lie is, and the honest frames that must pass beside it. */
import { type Ipv4Address, type Ipv4Prefix, ipv4FromNumber, prefix4Bounds } from "../model/ipv4.ts";
import { BROADCAST_MAC, type MacAddress } from "../model/mac.ts";
import type { Reason } from "../model/reasons.ts";
import { ALL, ANY, arp, dhcp, ethernet, ip4, join, NO_MAC, text, u16, udp } from "./forge.ts";
import type { HostParty, Party } from "./topology.ts";

/** Who lies, about whom, to whom. */
export interface AttackContext {
  readonly self: Party;
  readonly gateway: Party;
  /** A machine of the LAN that is not a guest. */
  readonly neighbour: Party;
  /** Another guest: whom the liar pretends to be. */
  readonly victim: Party;
  /** The machine that the guests run on. */
  readonly host: HostParty;
  readonly prefix4: Ipv4Prefix;
  /** On a routed port: the one MAC there is, by which everybody is reached. */
  readonly via?: MacAddress;
  /** On a link of two ends: the other one, and the only one there is to ask for. */
  readonly near?: Ipv4Address;
  /** Differs from build to build, and goes into identifications and payloads: no frame is taken for an earlier one. */
  readonly serial: number;
}

export type Build = (context: AttackContext) => readonly Uint8Array[];

/** The honest twin: the same frames without the lie. */
export interface Control {
  readonly says: string;
  readonly build: Build;
  /** Set when the frame itself may stop at the host: an answer like this to the sender proves that it passed. */
  readonly answer?: (context: AttackContext, frame: Uint8Array) => boolean;
  /** What an honest sender says before this, so that it knows whom it speaks to. */
  readonly first?: Control;
}

export interface Attack {
  readonly name: string;
  readonly layer: "ethernet" | "arp" | "ipv4" | "dhcp" | "ipv6";
  /** What it would do, in one line. */
  readonly says: string;
  /** What the guard counts it under. undefined: no rule drops it, the host's own responder takes it and it goes no further. */
  readonly reason: Reason | undefined;
  readonly build: Build;
  readonly control: Control;
  /** Where it gets to when nothing guards, if not to another box of the LAN: the host alone, or nowhere because no bridge forwards it. */
  readonly arrivesAt?: "host" | "nowhere";
}

export const ETHER = { ip: 0x0800, arp: 0x0806, ip6: 0x86dd } as const;
export const PROTOCOL = { icmp: 1, igmp: 2, tcp: 6, udp: 17 } as const;
/** RFC 863: whoever gets it throws it away. */
export const DISCARD = 9;

export function payloadOf(context: AttackContext): Uint8Array {
  return text(`vifguard lab ${context.serial}`);
}

export function idOf(context: AttackContext): number {
  return context.serial & 0xffff;
}

/** @param last counted from the start of the prefix; -1 is its broadcast address */
export function addressIn(context: AttackContext, last: number): Ipv4Address {
  const { first, last: end } = prefix4Bounds(context.prefix4);
  return ipv4FromNumber(last < 0 ? end : first + last);
}

/** Where frames for the neighbour go. */
export const neighbourHop = ({ via, neighbour }: Pick<AttackContext, "via" | "neighbour">): MacAddress =>
  via ?? neighbour.mac;

/** Whom a guest may ask for by ARP. */
export const askedFor = ({ near, neighbour }: Pick<AttackContext, "near" | "neighbour">): Ipv4Address =>
  near ?? neighbour.address;

/** Unicast UDP to the neighbour, from whomever one likes to be. */
export function udpTo(
  context: AttackContext,
  change: {
    readonly mac?: MacAddress;
    readonly address?: Ipv4Address;
    readonly toMac?: MacAddress;
    readonly to?: Ipv4Address;
  } = {},
): Uint8Array {
  const { self, neighbour } = context;
  const from = change.address ?? self.address;
  const packet = ip4(
    { from, to: change.to ?? neighbour.address, protocol: PROTOCOL.udp, id: idOf(context) },
    udp(40_000, DISCARD, payloadOf(context)),
  );
  return ethernet(change.toMac ?? neighbourHop(context), change.mac ?? self.mac, ETHER.ip, packet);
}

/** Who has `target`? */
export function arpRequest(context: AttackContext, sender: Party, target: Ipv4Address): Uint8Array {
  const fields = { operation: 1, senderMac: sender.mac, senderIp: sender.address, targetMac: NO_MAC, targetIp: target };
  return ethernet(BROADCAST_MAC, context.self.mac, ETHER.arp, arp(fields));
}

/** To `to`: `sender.address` is at `sender.mac`. */
export function arpReply(context: AttackContext, sender: Party, to: Party): Uint8Array {
  const fields = {
    operation: 2,
    senderMac: sender.mac,
    senderIp: sender.address,
    targetMac: to.mac,
    targetIp: to.address,
  };
  return ethernet(to.mac, context.self.mac, ETHER.arp, arp(fields));
}

export const DISCOVER: readonly number[] = [53, 1, 1, 55, 3, 1, 3, 6];

export function discover(
  context: AttackContext,
  change: { readonly chaddr?: MacAddress; readonly giaddr?: Ipv4Address; readonly options?: readonly number[] } = {},
): Uint8Array {
  const message = dhcp({
    op: 1,
    xid: context.serial,
    chaddr: change.chaddr ?? context.self.mac,
    options: change.options ?? DISCOVER,
    ...(change.giaddr === undefined ? {} : { giaddr: change.giaddr }),
  });
  const packet = ip4({ from: ANY, to: ALL, protocol: PROTOCOL.udp, id: idOf(context) }, udp(68, 67, message));
  return ethernet(BROADCAST_MAC, context.self.mac, ETHER.ip, packet);
}

export function isEqual(frame: Uint8Array, offset: number, bytes: ArrayLike<number>): boolean {
  return Array.from(bytes).every((byte, i) => frame[offset + i] === byte);
}

export const honestUdp: Control = { says: "UDP to the neighbour from its own address", build: (c) => [udpTo(c)] };

export const honestArp: Control = {
  says: "asks for the neighbour's MAC",
  build: (c) => [arpRequest(c, c.self, askedFor(c))],
  // An ARP reply, whoever gives it: the neighbour, or the host in its place.
  answer: (c, frame) =>
    isEqual(frame, 12, u16(ETHER.arp)) &&
    isEqual(frame, 20, u16(2)) &&
    isEqual(frame, 28, askedFor(c).split(".").map(Number)),
};

export const honestAnnouncement: Control = {
  says: "announces its own address",
  build: (c) => [arpRequest(c, c.self, c.self.address)],
};

export const honestReply: Control = {
  says: "tells the neighbour its own address",
  build: (c) => [arpReply(c, c.self, { ...c.neighbour, mac: neighbourHop(c) })],
};

export const honestProbe: Control = {
  says: "probes for its own address before using it (RFC 5227)",
  build: (c) => [arpRequest(c, { mac: c.self.mac, address: ANY }, c.self.address)],
};

/** From port 67 to 68 with our transaction: 20 octets of IPv4, 8 of UDP, xid at 4. */
function isDhcpAnswer(context: AttackContext, frame: Uint8Array): boolean {
  const ports = join(u16(67), u16(68));
  return isEqual(frame, 12, u16(ETHER.ip)) && isEqual(frame, 34, ports) && isEqual(frame, 46, xidOf(context));
}

function xidOf(context: AttackContext): readonly number[] {
  return [...u16(context.serial >>> 16), ...u16(context.serial)];
}

export const honestDiscover: Control = {
  says: "asks for a lease with its own MAC",
  build: (c) => [discover(c)],
  answer: isDhcpAnswer,
};
