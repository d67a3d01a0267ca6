/** The frames of IPv6 that lies are made of, and the honest ones that must pass beside them. */
import { type Ipv6Address, ipv6ToBytes, multicastMac6, solicitedNode } from "../model/ipv6.ts";
import { type MacAddress, macFromBytes, macToBytes } from "../model/mac.ts";
import {
  type AttackContext,
  arpRequest,
  type Control,
  DISCARD,
  ETHER,
  idOf,
  isEqual,
  neighbourHop,
  payloadOf,
} from "./attack.ts";
import { ethernet, join, u16, u32 } from "./forge.ts";
import {
  dhcp6,
  dhcp6Option,
  duidOf,
  type Ends,
  ICMP6,
  type Ip6Fields,
  icmp6,
  ip6,
  ip6Of,
  linkLayer,
  ND_OPTION,
  NEXT,
  ndOption,
  neighbourMessage,
  udp6,
} from "./forge6.ts";
import { globalOf, llOf, type Party } from "./topology.ts";

export const ANYBODY = ip6Of("::");
export const ALL_NODES = ip6Of("ff02::1");
export const ALL_ROUTERS = ip6Of("ff02::2");
/** All DHCP relay agents and servers (RFC 8415 section 7.1). */
const DHCP_SERVERS = ip6Of("ff02::1:2");
/** What neighbour discovery must come with, as proof that no router has passed it on (RFC 4861). */
export const FROM_LINK = 255;
/** Flags of an advertisement. */
const SOLICITED = 0x40;
const OVERRIDE = 0x20;

const IP = 14;
/** Where the upper protocol begins in a frame without extension headers. */
export const UPPER = IP + 40;

export function groupMac(group: Ipv6Address): MacAddress {
  return macFromBytes(multicastMac6(group));
}

/** The flow label makes each frame another one, which is what it is for (RFC 6437): discovery has no field to put a serial in. */
export function frame6(context: AttackContext, toMac: MacAddress, fields: Ip6Fields, payload: Uint8Array): Uint8Array {
  return ethernet(toMac, context.self.mac, ETHER.ip6, ip6({ flow: context.serial, ...fields }, payload));
}

export interface Change6 {
  readonly from?: Ipv6Address;
  readonly to?: Ipv6Address;
  readonly toMac?: MacAddress;
}

/** From the own address to the neighbour's, unless changed; a group gets its own MAC. */
export function endsOf(context: AttackContext, change: Change6): Ends & { readonly toMac: MacAddress } {
  const { self, neighbour } = context;
  const to = change.to ?? globalOf(neighbour);
  const mac = to.startsWith("ff") ? groupMac(to) : neighbourHop(context);
  return { from: change.from ?? globalOf(self), to, toMac: change.toMac ?? mac };
}

export function udp6To(context: AttackContext, change: Change6 & { readonly ports?: readonly [number, number] } = {}) {
  const { toMac, ...ends } = endsOf(context, change);
  const [from, to] = change.ports ?? [40_000, DISCARD];
  return frame6(context, toMac, { ...ends, next: NEXT.udp }, udp6(ends, from, to, payloadOf(context)));
}

/** Any ICMPv6 message, its checksum put in. */
export function icmp6To(
  context: AttackContext,
  message: Uint8Array,
  change: Change6 & { readonly hopLimit?: number } = {},
): Uint8Array {
  const { toMac, ...ends } = endsOf(context, change);
  const fields = { ...ends, next: NEXT.icmp6, hopLimit: change.hopLimit ?? FROM_LINK };
  return frame6(context, toMac, fields, icmp6(ends, message));
}

export function echoOf(context: AttackContext): Uint8Array {
  return join([ICMP6.echo, 0, 0, 0], u16(idOf(context)), u16(1), payloadOf(context));
}

export function echoTo(context: AttackContext, change: Change6 = {}): Uint8Array {
  return icmp6To(context, echoOf(context), { hopLimit: 64, ...change });
}

export interface Solicitation {
  readonly options?: readonly Uint8Array[];
  readonly hopLimit?: number;
  readonly from?: Ipv6Address;
  /** By default the solicited-node group of the target. */
  readonly to?: Ipv6Address;
  readonly toMac?: MacAddress;
}

export function ownSource(context: AttackContext): Uint8Array {
  return linkLayer(ND_OPTION.source, context.self.mac);
}

export function ownTarget(context: AttackContext): Uint8Array {
  return linkLayer(ND_OPTION.target, context.self.mac);
}

/** Who has `target`? */
export function solicit(context: AttackContext, target: Ipv6Address, change: Solicitation = {}): Uint8Array {
  const { options = [ownSource(context)], to = solicitedNode(target), ...rest } = change;
  return icmp6To(context, neighbourMessage(ICMP6.neighbourSolicitation, target, options), { ...rest, to });
}

/** `target` is here. To the neighbour alone as an answer, or to everybody. */
export function advertise(
  context: AttackContext,
  target: Ipv6Address,
  change: Omit<Solicitation, "to"> & { readonly to?: "neighbour" | "everybody" } = {},
): Uint8Array {
  const { options = [ownTarget(context)], to = "neighbour", ...rest } = change;
  const flags = OVERRIDE | (to === "neighbour" ? SOLICITED : 0);
  const message = neighbourMessage(ICMP6.neighbourAdvertisement, target, options, flags);
  return icmp6To(context, message, { ...rest, ...(to === "everybody" ? { to: ALL_NODES } : {}) });
}

/** Is anybody using `target`? (RFC 4862 section 5.4) */
export function dad(context: AttackContext, target: Ipv6Address, options: readonly Uint8Array[] = []): Uint8Array {
  return solicit(context, target, { from: ANYBODY, options });
}

const SOLICIT = 1;
const ADVERTISE = 2;

/** Asks for one address (option 3), with an identity of the own MAC (option 1), having begun just now (option 8). */
export function dhcp6Solicit(context: AttackContext): Uint8Array {
  const options = [
    dhcp6Option(1, duidOf(context.self.mac)),
    dhcp6Option(3, join(u32(1), u32(0), u32(0))),
    dhcp6Option(8, u16(0)),
  ];
  return dhcp6(SOLICIT, context.serial, options);
}

/** Any DHCPv6 message, from the client's link-local address to all servers unless changed. */
export function dhcp6To(
  context: AttackContext,
  message: Uint8Array,
  change: Change6 & { readonly ports?: readonly [number, number] } = {},
): Uint8Array {
  const { toMac, ...ends } = endsOf(context, { from: llOf(context.self), to: DHCP_SERVERS, ...change });
  const [from, to] = change.ports ?? [546, 547];
  return frame6(context, toMac, { ...ends, next: NEXT.udp, hopLimit: 1 }, udp6(ends, from, to, message));
}

/** IPv6 with this upper protocol right behind the header, to the liar's MAC. */
function isUpper(context: AttackContext, frame: Uint8Array, next: number, head: readonly number[]): boolean {
  return (
    isEqual(frame, 0, macToBytes(context.self.mac)) &&
    isEqual(frame, 12, u16(ETHER.ip6)) &&
    frame[IP + 6] === next &&
    isEqual(frame, UPPER, head)
  );
}

const isFrom = (frame: Uint8Array, address: Ipv6Address): boolean => isEqual(frame, IP + 8, ipv6ToBytes(address));

function solicitation(says: string, addressOf: (party: Party) => Ipv6Address): Control {
  return {
    says,
    build: (c) => [solicit(c, addressOf(c.neighbour), { from: addressOf(c.self) })],
    // An advertisement of that very address, whoever gives it: the neighbour, or the host in its place.
    answer: (c, frame) =>
      isUpper(c, frame, NEXT.icmp6, [ICMP6.neighbourAdvertisement, 0]) &&
      isEqual(frame, UPPER + 8, ipv6ToBytes(addressOf(c.neighbour))),
  };
}

export const honestSolicitation = solicitation("asks for the neighbour's MAC by its IPv6 address", globalOf);
export const honestSolicitationLocal = solicitation("asks for the neighbour's MAC by its link-local address", llOf);

/** A guest knows the host's MAC as soon as it asks; what it may then use of the host is another matter. */
export const honestQuestions: Control = {
  says: "asks for the gateway's MAC, and for the host's by all of its addresses",
  build: (c) => [
    arpRequest(c, c.self, c.gateway.address),
    arpRequest(c, c.self, c.host.address),
    solicit(c, c.host.address6),
    solicit(c, llOf(c.host)),
  ],
};

export const honestUdp6: Control = {
  says: "IPv6 UDP to the neighbour from its own address",
  build: (c) => [udp6To(c)],
  first: honestSolicitation,
};

export const honestEcho6: Control = {
  says: "pings the neighbour by IPv6 from its own address",
  build: (c) => [echoTo(c)],
  answer: (c, frame) =>
    isUpper(c, frame, NEXT.icmp6, [ICMP6.echoReply, 0]) &&
    isFrom(frame, globalOf(c.neighbour)) &&
    isEqual(frame, UPPER + 4, echoOf(c).subarray(4)),
  first: honestSolicitation,
};

export const honestDad: Control = {
  says: "looks whether its own address is free before using it",
  build: (c) => [dad(c, llOf(c.self)), dad(c, globalOf(c.self))],
};

export const honestDadNonce: Control = {
  says: "looks whether its own address is free, with a nonce (RFC 7527)",
  build: (c) => {
    const nonce = ndOption(ND_OPTION.nonce, [0x76, 0x67, ...u32(c.serial)]);
    return [dad(c, llOf(c.self), [nonce]), dad(c, globalOf(c.self), [nonce])];
  },
};

export const honestAdvertisement: Control = {
  says: "tells the neighbour its own IPv6 address",
  build: (c) => [advertise(c, globalOf(c.self)), advertise(c, llOf(c.self), { from: llOf(c.self) })],
  first: honestSolicitation,
};

export const honestAnnouncement6: Control = {
  says: "announces its own IPv6 address to everybody",
  build: (c) => [advertise(c, globalOf(c.self), { to: "everybody" })],
};

export const honestRouterSolicitation: Control = {
  says: "asks for routers from its own address",
  build: (c) => {
    const message = join([ICMP6.routerSolicitation, 0, 0, 0], u32(0), ownSource(c));
    return [icmp6To(c, message, { from: llOf(c.self), to: ALL_ROUTERS })];
  },
  // Routers may answer all nodes instead of the one that asked (RFC 4861 section 6.2.6); an advertisement is from a link-local address.
  answer: (c, frame) =>
    isEqual(frame, 12, u16(ETHER.ip6)) &&
    frame[IP + 6] === NEXT.icmp6 &&
    frame[IP + 7] === FROM_LINK &&
    isEqual(frame, IP + 8, [0xfe, 0x80]) &&
    !isFrom(frame, llOf(c.self)) &&
    isEqual(frame, UPPER, [ICMP6.routerAdvertisement, 0]),
};

export const honestDhcp6: Control = {
  says: "asks for a DHCPv6 lease from its link-local address",
  build: (c) => [dhcp6To(c, dhcp6Solicit(c))],
  answer: (c, frame) =>
    isUpper(c, frame, NEXT.udp, [...u16(547), ...u16(546)]) &&
    isEqual(frame, UPPER + 8, dhcp6(ADVERTISE, c.serial, [])),
};
