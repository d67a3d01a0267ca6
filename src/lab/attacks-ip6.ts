/** Lies of IPv6: false sources, headers that hide what comes behind them, and DHCPv6. */
import { type Ipv6Address, ipv6FromBytes, ipv6ToBytes } from "../model/ipv6.ts";
import type { Reason } from "../model/reasons.ts";
import { type Attack, type AttackContext, type Build, type Control, DISCARD, payloadOf } from "./attack.ts";
import {
  ALL_NODES,
  ALL_ROUTERS,
  ANYBODY,
  advertise,
  dhcp6Solicit,
  dhcp6To,
  echoTo,
  endsOf,
  FROM_LINK,
  frame6,
  honestAdvertisement,
  honestDhcp6,
  honestEcho6,
  honestRouterSolicitation,
  honestSolicitation,
  honestUdp6,
  icmp6To,
  ownSource,
  ownTarget,
  solicit,
  UPPER,
  udp6To,
} from "./attack6.ts";
import { join, patched, u32 } from "./forge.ts";
import {
  dhcp6,
  dhcp6Option,
  duidOf,
  fragmentHeader,
  ICMP6,
  icmp6,
  ip6Of,
  mld2Report,
  NEXT,
  neighbourMessage,
  optionsHeader,
  padding,
  ROUTER_ALERT6,
  routerAdvertisement,
  routingHeader,
  tcp6,
  udp6,
} from "./forge6.ts";
import { GATEWAY6, globalOf, LAB_PREFIX6, llOf } from "./topology.ts";

const IP = 14;
const MLD_ROUTERS = ip6Of("ff02::16");
/** In the lab's prefix, but nobody's. */
const FREE = ip6Of(LAB_PREFIX6.replace("/64", "200"));
/** Documentation range of another network. */
const ELSEWHERE = ip6Of("2001:db8:ffff::1");
const ADVERTISE = 2;

function lie(name: string, says: string, reason: Reason, build: Build, control = honestUdp6): Attack {
  return { name, layer: "ipv6", says, reason, build, control };
}

function source(name: string, says: string, build: Build, control = honestUdp6): Attack {
  return lie(name, says, "ip6-source", build, control);
}

function tcpTo(context: AttackContext, from: Ipv6Address): Uint8Array {
  const { toMac, ...ends } = endsOf(context, { from });
  return frame6(context, toMac, { ...ends, next: NEXT.tcp }, tcp6(ends, 40_000, DISCARD, context.serial));
}

/** `::ffff:a.b.c.d` (RFC 4291 section 2.5.5.2): its own IPv4 address, where no filter for IPv4 looks. */
function mapped(context: AttackContext): Ipv6Address {
  const bytes = new Uint8Array(16).fill(255, 10, 12);
  bytes.set(context.self.address.split(".").map(Number), 12);
  return ipv6FromBytes(bytes);
}

const sources: readonly Attack[] = [
  source("foreign-ip6", "sends from another guest's address", (c) => [udp6To(c, { from: globalOf(c.victim) })]),
  source(
    "foreign-link-local",
    "pings from another guest's link-local address",
    (c) => [echoTo(c, { from: llOf(c.victim), to: llOf(c.neighbour) })],
    honestEcho6,
  ),
  source("gateway-ip6", "sends from the gateway's address", (c) => [udp6To(c, { from: globalOf(c.gateway) })]),
  source("gateway-link-local", "sends from the gateway's link-local address", (c) => [
    udp6To(c, { from: GATEWAY6, to: llOf(c.neighbour) }),
  ]),
  source("free-ip6", "takes an address of the network that nobody was given", (c) => [udp6To(c, { from: FREE })]),
  source("free-link-local", "takes a link-local address that is not of its MAC", (c) => [
    udp6To(c, { from: ip6Of("fe80::dead:beef"), to: llOf(c.neighbour) }),
  ]),
  source("outside-ip6", "sends from an address of somewhere else, as floods do", (c) => [
    udp6To(c, { from: ELSEWHERE }),
  ]),
  source(
    "unspecified-echo",
    "pings from no address",
    (c) => [echoTo(c, { from: ANYBODY, to: ALL_NODES })],
    honestEcho6,
  ),
  source("unspecified-udp", "sends UDP from no address", (c) => [udp6To(c, { from: ANYBODY })]),
  source("unspecified-tcp", "opens TCP from no address", (c) => [tcpTo(c, ANYBODY)]),
  source("loopback6-source", "sends from ::1", (c) => [udp6To(c, { from: ip6Of("::1") })]),
  source("mapped-source", "sends from an IPv4 address in IPv6's clothes", (c) => [udp6To(c, { from: mapped(c) })]),
  source("multicast6-source", "sends from a group's address", (c) => [udp6To(c, { from: ALL_NODES })]),
  source(
    "unspecified-rs",
    "asks for routers from no address",
    (c) => [icmp6To(c, join([ICMP6.routerSolicitation, 0, 0, 0], u32(0)), { from: ANYBODY, to: ALL_ROUTERS })],
    honestRouterSolicitation,
  ),
  source(
    "neighbour-solicitation",
    "asks in another guest's name",
    (c) => [solicit(c, globalOf(c.neighbour), { from: llOf(c.victim) })],
    honestSolicitation,
  ),
  source(
    "neighbour-advertisement",
    "announces another guest's address as its own, in that guest's name",
    (c) => [advertise(c, llOf(c.victim), { from: llOf(c.victim), to: "everybody" })],
    honestAdvertisement,
  ),
  source(
    "router-advertisement",
    "poses as the router of everybody, in the gateway's name",
    (c) => [icmp6To(c, routerAdvertisement(1800, [ownSource(c)]), { from: llOf(c.gateway), to: ALL_NODES })],
    honestRouterSolicitation,
  ),
  source(
    "router-advertisement-alias",
    "takes the router away, in the name that everybody knows it by",
    (c) => [icmp6To(c, routerAdvertisement(0, [ownSource(c)]), { from: GATEWAY6, to: ALL_NODES })],
    honestRouterSolicitation,
  ),
];

/** Puts something between the IPv6 header and the message; given what comes behind, it gives the header and its own number. */
interface Cover {
  readonly name: string;
  readonly says: string;
  readonly next: number;
  readonly header: (next: number, serial: number) => Uint8Array;
}

const covers: readonly Cover[] = [
  { name: "options", says: "behind destination options", next: NEXT.options, header: (next) => optionsHeader(next) },
  {
    name: "atomic",
    says: "behind a fragment header that cuts nothing (RFC 6946)",
    next: NEXT.fragment,
    header: (next, serial) => fragmentHeader(next, 0, false, serial),
  },
  {
    name: "fragment",
    says: "in the first of several fragments (RFC 6980)",
    next: NEXT.fragment,
    header: (next, serial) => fragmentHeader(next, 0, true, serial),
  },
  { name: "hop", says: "behind hop-by-hop options", next: NEXT.hopByHop, header: (next) => optionsHeader(next) },
];

interface Hidden {
  readonly name: string;
  readonly says: string;
  readonly to: (c: AttackContext) => Ipv6Address;
  readonly message: (c: AttackContext) => Uint8Array;
  readonly control: Control;
}

const solicitation: Hidden = {
  name: "ns",
  says: "a neighbour solicitation",
  to: (c) => globalOf(c.neighbour),
  message: (c) => neighbourMessage(ICMP6.neighbourSolicitation, globalOf(c.neighbour), [ownSource(c)]),
  control: honestSolicitation,
};
const advertisement: Hidden = {
  name: "na",
  says: "a false neighbour advertisement",
  to: (c) => globalOf(c.neighbour),
  message: (c) => neighbourMessage(ICMP6.neighbourAdvertisement, globalOf(c.victim), [ownTarget(c)], 0x60),
  control: honestAdvertisement,
};
const router: Hidden = {
  name: "ra",
  says: "a router advertisement",
  to: () => ALL_NODES,
  message: (c) => routerAdvertisement(1800, [ownSource(c)]),
  control: honestRouterSolicitation,
};
const listener: Hidden = {
  name: "mld",
  says: "a multicast listener report",
  to: () => MLD_ROUTERS,
  message: () => join(mld2Report(ip6Of("ff02::fb")), new Uint8Array(4)),
  control: honestUdp6,
};

/** MLD always comes behind a router alert: that alone hides nothing. All other messages are whole units of 8 octets, so a fragment may end behind them. */
function hide(hidden: Hidden, cover: Cover): Attack {
  const isListener = hidden.name === "mld";
  const build: Build = (c) => {
    const { toMac, ...ends } = endsOf(c, { from: llOf(c.self), to: hidden.to(c) });
    const covered = join(cover.header(NEXT.icmp6, c.serial), icmp6(ends, hidden.message(c)));
    if (!isListener) return [frame6(c, toMac, { ...ends, next: cover.next, hopLimit: FROM_LINK }, covered)];
    const alert = optionsHeader(cover.next, ROUTER_ALERT6);
    return [frame6(c, toMac, { ...ends, next: NEXT.hopByHop, hopLimit: 1 }, join(alert, covered))];
  };
  const name = `${hidden.name}-behind-${cover.name}`;
  return lie(name, `hides ${hidden.says} ${cover.says}`, "ip6-shape", build, hidden.control);
}

const hiddenMessages: readonly Attack[] = [
  ...[solicitation, advertisement, router].flatMap((hidden) => covers.map((cover) => hide(hidden, cover))),
  ...covers.filter(({ next }) => next !== NEXT.hopByHop).map((cover) => hide(listener, cover)),
];

/** A datagram with headers put before it that are no lie in what they carry. */
function headed(context: AttackContext, next: number, headers: Uint8Array): Uint8Array {
  const { toMac, ...ends } = endsOf(context, {});
  return frame6(context, toMac, { ...ends, next }, join(headers, udp6(ends, 40_000, DISCARD, payloadOf(context))));
}

function routed(type: number, isBehindOptions: boolean): Attack {
  const name = `routing-type-${type}${isBehindOptions ? "-behind-options" : ""}`;
  const says = `tells routers the way (routing header type ${type})${isBehindOptions ? ", behind destination options" : ""}`;
  return lie(name, says, "ip6-shape", (c) => {
    const header = routingHeader(NEXT.udp, type, globalOf(c.gateway));
    if (!isBehindOptions) return [headed(c, NEXT.routing, header)];
    return [headed(c, NEXT.options, join(optionsHeader(NEXT.routing), header))];
  });
}

/** A fragment of a TCP segment with some data, from octet `from` to `to` of what is behind the fragment header. */
function tcpFragment(context: AttackContext, options: Uint8Array, from: number, to: number): Uint8Array {
  const { toMac, ...ends } = endsOf(context, {});
  const whole = join(options, tcp6(ends, 40_000, DISCARD, context.serial), new Uint8Array(64));
  const first = options.length > 0 ? NEXT.options : NEXT.tcp;
  const header = fragmentHeader(first, from / 8, to < whole.length, context.serial);
  return frame6(context, toMac, { ...ends, next: NEXT.fragment }, join(header, whole.subarray(from, to)));
}

const NOTHING = new Uint8Array();

const shapes: readonly Attack[] = [
  ...hiddenMessages,
  ...[0, 2].flatMap((type) => [routed(type, false), routed(type, true)]),
  lie("tiny6-fragment", "hides TCP's flags in the second fragment (RFC 7112)", "ip6-shape", (c) => [
    tcpFragment(c, NOTHING, 0, 8),
  ]),
  lie("empty-first-fragment", "fills the first fragment with options, TCP comes in the second", "ip6-shape", (c) => [
    tcpFragment(c, optionsHeader(NEXT.tcp, padding(46)), 0, 48),
  ]),
  lie("overlapping6-fragment", "writes over TCP's flags with a fragment at offset 8", "ip6-shape", (c) => [
    tcpFragment(c, NOTHING, 8, 40),
  ]),
  lie("no-next-header", "ends in a header chain with nothing behind it", "ip6-shape", (c) => [
    headed(c, NEXT.options, optionsHeader(NEXT.none)),
  ]),
  lie("chain-cut", "an options header that is longer than the packet", "ip6-shape", (c) => [
    patched(headed(c, NEXT.options, optionsHeader(NEXT.udp)), UPPER + 1, [32]),
  ]),
  lie("ip6-version", "version 4 under IPv6's type", "ip6-shape", (c) => [patched(udp6To(c), IP, [0x40])]),
  lie("ip6-cut", "IPv6 that ends in the middle of its destination", "ip6-shape", (c) => [
    udp6To(c).subarray(0, IP + 32),
  ]),
];

/** An answer that names the liar as name server (option 23, RFC 3646), for the victim's next request. */
function falseAdvertise(context: AttackContext): Uint8Array {
  const options = [
    dhcp6Option(1, duidOf(context.victim.mac)),
    dhcp6Option(2, duidOf(context.self.mac)),
    dhcp6Option(23, ipv6ToBytes(globalOf(context.self))),
  ];
  return dhcp6(ADVERTISE, context.serial, options);
}

function dhcp(name: string, says: string, reason: Reason, build: Build): Attack {
  return { name, layer: "dhcp", says, reason, build, control: honestDhcp6 };
}

const toNeighbour = (context: AttackContext): { readonly to: Ipv6Address } => ({ to: llOf(context.neighbour) });

const leases: readonly Attack[] = [
  dhcp("rogue-dhcp6-server", "hands out DHCPv6 leases with itself as the name server", "dhcp-server", (c) => [
    dhcp6To(c, falseAdvertise(c), { ...toNeighbour(c), ports: [547, 546] }),
  ]),
  dhcp("rogue-dhcp6-port", "speaks from the DHCPv6 server's port to any other", "dhcp-server", (c) => [
    dhcp6To(c, falseAdvertise(c), { ...toNeighbour(c), ports: [547, 40_000] }),
  ]),
  dhcp("rogue-dhcp6-client-port", "answers DHCPv6 clients from a port that is no server's", "dhcp-server", (c) => [
    dhcp6To(c, falseAdvertise(c), { ...toNeighbour(c), ports: [1234, 546] }),
  ]),
  dhcp("dhcp6-global-source", "asks for a DHCPv6 lease from its global address", "dhcp-client", (c) => [
    dhcp6To(c, dhcp6Solicit(c), { from: globalOf(c.self) }),
  ]),
  dhcp("dhcp6-unicast", "asks one machine alone for a DHCPv6 lease", "dhcp-client", (c) => [
    dhcp6To(c, dhcp6Solicit(c), toNeighbour(c)),
  ]),
  dhcp("dhcp6-port", "asks for a DHCPv6 lease from a port that is no client's", "dhcp-client", (c) => [
    dhcp6To(c, dhcp6Solicit(c), { ports: [1234, 547] }),
  ]),
];

export const ip6Attacks: readonly Attack[] = [...sources, ...shapes, ...leases];
