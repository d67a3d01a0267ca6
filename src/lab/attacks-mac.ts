/** Lies of the destination: machines that are not there or are somebody else's, groups, the host itself, and tunnels to it. */
import type { Ipv4Address } from "../model/ipv4.ts";
import type { Ipv6Address } from "../model/ipv6.ts";
import type { MacAddress } from "../model/mac.ts";
import type { Reason } from "../model/reasons.ts";
import { pseudoHeader4 } from "../packet/checksum.ts";
import {
  type Attack,
  type AttackContext,
  addressIn,
  arpReply,
  arpRequest,
  askedFor,
  type Build,
  DISCARD,
  ETHER,
  honestArp,
  honestReply,
  honestUdp,
  idOf,
  PROTOCOL,
  payloadOf,
  udpTo,
} from "./attack.ts";
import {
  ALL_NODES,
  ALL_ROUTERS,
  ANYBODY,
  echoOf,
  echoTo,
  frame6,
  groupMac,
  honestEcho6,
  honestSolicitation,
  honestUdp6,
  solicit,
  udp6To,
} from "./attack6.ts";
import { checksum, ethernet, ip4, ip4Of, join, macOf, patched, u16, u32, udp } from "./forge.ts";
import {
  ICMP6,
  icmp6,
  ip6,
  ip6Of,
  mld1,
  mld2Query,
  mld2Report,
  NEXT,
  optionsHeader,
  ROUTER_ALERT6,
  syn,
  tcp6,
  udp6,
} from "./forge6.ts";
import { globalOf, llOf } from "./topology.ts";

/** Locally administered, and no box of any lab has it. */
const NOBODY = macOf("02:de:ad:00:00:01");
const STP_GROUP = macOf("01:80:c2:00:00:00");
const PAUSE_GROUP = macOf("01:80:c2:00:00:01");
const PAE_GROUP = macOf("01:80:c2:00:00:03");
const MDNS4 = ip4Of("224.0.0.251");
const MDNS6 = ip6Of("ff02::fb");
const MLD_ROUTERS = ip6Of("ff02::16");
/** All DHCP servers of the site (RFC 8415 section 7.1): routers carry it further than the link. */
const SITE = ip6Of("ff05::1:3");
const SSH = 22;

type Layer = Attack["layer"];

function lie(name: string, layer: Layer, says: string, reason: Reason, build: Build): Attack {
  return { name, layer, says, reason, build, control: layer === "ipv6" ? honestUdp6 : honestUdp };
}

/** MLD has a router alert in front of it and a hop limit of 1 (RFC 3810 section 5). */
function mldTo(context: AttackContext, group: Ipv6Address, message: Uint8Array, from = llOf(context.self)): Uint8Array {
  const ends = { from, to: group };
  const body = join(optionsHeader(NEXT.icmp6, ROUTER_ALERT6), icmp6(ends, message));
  return frame6(context, groupMac(group), { ...ends, next: NEXT.hopByHop, hopLimit: 1 }, body);
}

const group = (name: string, says: string, build: Build): Attack => lie(name, "ipv6", says, "multicast", build);
const group4 = (name: string, says: string, build: Build): Attack => lie(name, "ipv4", says, "multicast", build);

const groups: readonly Attack[] = [
  group("mld-query", "becomes the querier, so that switches send it all groups", (c) => [
    mldTo(c, ALL_NODES, mld2Query()),
  ]),
  group("mld-report", "joins a group, so that its traffic comes here", (c) => [
    mldTo(c, MLD_ROUTERS, mld2Report(MDNS6)),
  ]),
  group("mld-report-unspecified", "joins a group before it has an address", (c) => [
    mldTo(c, MLD_ROUTERS, mld2Report(MDNS6), ANYBODY),
  ]),
  group("mld-report-v1", "joins a group the old way", (c) => [mldTo(c, MDNS6, mld1(ICMP6.mldReport, MDNS6))]),
  group("mld-done", "ends a group for everybody", (c) => [mldTo(c, ALL_ROUTERS, mld1(ICMP6.mldDone, MDNS6))]),
  group("mdns6", "answers names by multicast DNS", (c) => [udp6To(c, { to: MDNS6, ports: [5353, 5353] })]),
  group("site-multicast", "shouts at a group that routers carry further", (c) => [udp6To(c, { to: SITE })]),
  group("ping-all-nodes", "pings everybody at once", (c) => [echoTo(c, { to: ALL_NODES })]),
  group("ping-all-routers", "pings all routers at once", (c) => [echoTo(c, { to: ALL_ROUTERS })]),
  group("unicast6-in-multicast", "sends a unicast IPv6 packet to a group's MAC", (c) => [
    udp6To(c, { toMac: groupMac(ALL_NODES) }),
  ]),
  group("multicast6-in-unicast", "sends a group's IPv6 packet to the gateway's MAC", (c) => [
    udp6To(c, { to: ALL_NODES, toMac: c.gateway.mac }),
  ]),
  group4("multicast-in-unicast", "sends a group's packet to the gateway's MAC", (c) => [
    udpTo(c, { to: MDNS4, toMac: c.gateway.mac }),
  ]),
  group4("stp-group", "sends IPv4 to the MAC of spanning tree", (c) => [udpTo(c, { toMac: STP_GROUP })]),
  group4("pae-group", "sends IPv4 to the MAC of 802.1X", (c) => [udpTo(c, { toMac: PAE_GROUP })]),
  // br_handle_frame drops 01:80:c2:00:00:01 whatever group_fwd_mask says.
  {
    ...group4("pause-group", "sends IPv4 to the MAC of pause frames", (c) => [udpTo(c, { toMac: PAUSE_GROUP })]),
    arrivesAt: "nowhere",
  },
  group("stp-group-ip6", "sends IPv6 to the MAC of spanning tree", (c) => [udp6To(c, { toMac: STP_GROUP })]),
];

const astray = (name: string, layer: Layer, says: string, build: Build): Attack =>
  lie(name, layer, says, "dest-mac", build);

const destinations: readonly Attack[] = [
  astray("nobody-ip4", "ipv4", "floods the LAN: IPv4 to a MAC that nobody has", (c) => [
    udpTo(c, { to: addressIn(c, 200), toMac: NOBODY }),
  ]),
  astray("nobody-ip4-neighbour", "ipv4", "floods the LAN with what is for the neighbour", (c) => [
    udpTo(c, { toMac: NOBODY }),
  ]),
  astray("nobody-ip4-outside", "ipv4", "sends to the world by a MAC that nobody has", (c) => [
    udpTo(c, { to: ip4Of("198.18.0.1"), toMac: NOBODY }),
  ]),
  astray("nobody-ip6", "ipv6", "floods the LAN: IPv6 to a MAC that nobody has", (c) => [udp6To(c, { toMac: NOBODY })]),
  {
    ...astray("nobody-arp", "arp", "floods the LAN: a question to a MAC that nobody has", (c) => [
      ethernet(NOBODY, c.self.mac, ETHER.arp, arpRequest(c, c.self, askedFor(c)).subarray(14)),
    ]),
    control: honestArp,
  },
  {
    ...astray("nobody-arp-reply", "arp", "floods the LAN: an answer to a MAC that nobody has", (c) => [
      arpReply(c, c.self, { mac: NOBODY, address: addressIn(c, 200) }),
    ]),
    control: honestReply,
  },
  {
    ...astray("nobody-ns", "ipv6", "floods the LAN: a solicitation to a MAC that nobody has", (c) => [
      solicit(c, globalOf(c.neighbour), { to: globalOf(c.neighbour), toMac: NOBODY }),
    ]),
    control: honestSolicitation,
  },
  astray("neighbour-by-victim", "ipv4", "sends what is for the neighbour to another guest", (c) => [
    udpTo(c, { toMac: c.victim.mac }),
  ]),
  astray("neighbour-by-victim-ip6", "ipv6", "sends IPv6 that is for the neighbour to another guest", (c) => [
    udp6To(c, { toMac: c.victim.mac }),
  ]),
];

/** From the own address to the host's, to a MAC of choice. */
function hostFrame4(context: AttackContext, toMac: MacAddress, protocol: number, payload: Uint8Array): Uint8Array {
  const { self, host } = context;
  const fields = { from: self.address, to: host.address, protocol, id: idOf(context) };
  return ethernet(toMac, self.mac, ETHER.ip, ip4(fields, payload));
}

function hostFrame6(context: AttackContext, toMac: MacAddress, next: number, payload: Uint8Array): Uint8Array {
  const { self, host } = context;
  return frame6(context, toMac, { from: globalOf(self), to: host.address6, next }, payload);
}

function tcp4(context: AttackContext, to: Ipv4Address): Uint8Array {
  const bare = syn(40_000, SSH, context.serial);
  const pseudo = pseudoHeader4(context.self.address, to, PROTOCOL.tcp, bare.length);
  return patched(bare, 16, u16(checksum(join(pseudo, bare))));
}

function echo4(context: AttackContext): Uint8Array {
  const bare = join([8, 0, 0, 0], u16(idOf(context)), u16(1), payloadOf(context));
  return patched(bare, 2, u16(checksum(bare)));
}

interface Service {
  readonly name: string;
  readonly layer: "ipv4" | "ipv6";
  readonly says: string;
  readonly frame: (c: AttackContext, toMac: MacAddress) => Uint8Array;
  readonly control?: Attack["control"];
}

const ends6 = (c: AttackContext): { readonly from: Ipv6Address; readonly to: Ipv6Address } => ({
  from: globalOf(c.self),
  to: c.host.address6,
});

const services: readonly Service[] = [
  {
    name: "host-tcp",
    layer: "ipv4",
    says: "opens TCP to the host",
    frame: (c, mac) => hostFrame4(c, mac, PROTOCOL.tcp, tcp4(c, c.host.address)),
  },
  {
    name: "host-udp",
    layer: "ipv4",
    says: "sends UDP to the host",
    frame: (c, mac) => hostFrame4(c, mac, PROTOCOL.udp, udp(40_000, DISCARD, payloadOf(c))),
  },
  {
    name: "host-ping",
    layer: "ipv4",
    says: "pings the host",
    frame: (c, mac) => hostFrame4(c, mac, PROTOCOL.icmp, echo4(c)),
  },
  {
    name: "host-tcp6",
    layer: "ipv6",
    says: "opens TCP to the host by IPv6",
    frame: (c, mac) => hostFrame6(c, mac, NEXT.tcp, tcp6(ends6(c), 40_000, SSH, c.serial)),
  },
  {
    name: "host-udp6",
    layer: "ipv6",
    says: "sends UDP to the host by IPv6",
    frame: (c, mac) => hostFrame6(c, mac, NEXT.udp, udp6(ends6(c), 40_000, DISCARD, payloadOf(c))),
  },
  {
    name: "host-ping6",
    layer: "ipv6",
    says: "pings the host by IPv6",
    frame: (c, mac) => hostFrame6(c, mac, NEXT.icmp6, icmp6(ends6(c), echoOf(c))),
    control: honestEcho6,
  },
];

/** Each straight to the bridge, and once more by the gateway, which would bring it back. */
const hosts: readonly Attack[] = [
  ...services.flatMap(({ name, layer, says, frame, control }): Attack[] => {
    const common = control === undefined ? {} : { control };
    const straight = lie(name, layer, says, "host", (c) => [frame(c, c.host.mac)]);
    const round = lie(`${name}-by-gateway`, layer, `${says} by way of the gateway`, "host", (c) => [
      frame(c, c.gateway.mac),
    ]);
    return [
      { ...straight, ...common, arrivesAt: "host" },
      { ...round, ...common },
    ];
  }),
  {
    ...lie("host-link-local", "ipv6", "sends UDP to the host's link-local address", "host", (c) => [
      udp6To(c, { from: llOf(c.self), to: llOf(c.host), toMac: c.host.mac }),
    ]),
    arrivesAt: "host",
  },
];

/** A whole packet of its own, as it would come out at the other end. */
const inner4 = (c: AttackContext): Uint8Array =>
  ip4(
    { from: c.victim.address, to: c.neighbour.address, protocol: PROTOCOL.udp, id: idOf(c) },
    udp(40_000, DISCARD, payloadOf(c)),
  );

const inner6 = (c: AttackContext): Uint8Array => {
  const ends = { from: globalOf(c.victim), to: globalOf(c.neighbour) };
  return ip6({ ...ends, next: NEXT.udp, flow: c.serial }, udp6(ends, 40_000, DISCARD, payloadOf(c)));
};

const innerFrame = (c: AttackContext): Uint8Array => ethernet(c.neighbour.mac, c.victim.mac, ETHER.ip, inner4(c));
/** RFC 2784: no checksum, version 0, then the type of what is inside. */
const gre = (c: AttackContext): Uint8Array => join(u16(0), u16(ETHER.ip), inner4(c));
/** RFC 7348: the I flag, network 1. */
const vxlan = (c: AttackContext): Uint8Array => join([8, 0, 0, 0], u32(1 << 8), innerFrame(c));
/** RFC 8926: no options, Ethernet inside, network 1. */
const geneve = (c: AttackContext): Uint8Array => join([0, 0], u16(0x6558), u32(1 << 8), innerFrame(c));

function tunnel(name: string, layer: "ipv4" | "ipv6", says: string, frame: (c: AttackContext) => Uint8Array): Attack {
  return { ...lie(name, layer, says, "tunnel", (c) => [frame(c)]), arrivesAt: "host" };
}

const tunnels: readonly Attack[] = [
  tunnel("tunnel-ipip", "ipv4", "wraps IPv4 in IPv4 for the host to unwrap", (c) =>
    hostFrame4(c, c.host.mac, NEXT.ip4, inner4(c)),
  ),
  tunnel("tunnel-gre", "ipv4", "wraps IPv4 in GRE for the host to unwrap", (c) =>
    hostFrame4(c, c.host.mac, NEXT.gre, gre(c)),
  ),
  tunnel("tunnel-6in4", "ipv4", "wraps IPv6 in IPv4 for the host to unwrap", (c) =>
    hostFrame4(c, c.host.mac, NEXT.ip6, inner6(c)),
  ),
  tunnel("tunnel-vxlan", "ipv4", "wraps a frame in VXLAN for the host to unwrap", (c) =>
    hostFrame4(c, c.host.mac, PROTOCOL.udp, udp(40_000, 4789, vxlan(c))),
  ),
  tunnel("tunnel-geneve", "ipv4", "wraps a frame in Geneve for the host to unwrap", (c) =>
    hostFrame4(c, c.host.mac, PROTOCOL.udp, udp(40_000, 6081, geneve(c))),
  ),
  tunnel("tunnel-gre-ip6", "ipv6", "wraps IPv4 in GRE over IPv6 for the host to unwrap", (c) =>
    hostFrame6(c, c.host.mac, NEXT.gre, gre(c)),
  ),
];

export const macAttacks: readonly Attack[] = [...groups, ...destinations, ...hosts, ...tunnels];
