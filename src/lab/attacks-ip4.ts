/** Lies of IPv4: false sources, options and fragments that mislead, broadcast and multicast. */
import { BROADCAST_MAC, type MacAddress } from "../model/mac.ts";
import type { Reason } from "../model/reasons.ts";
import {
  type Attack,
  type AttackContext,
  addressIn,
  type Build,
  ETHER,
  honestUdp,
  idOf,
  neighbourHop,
  PROTOCOL,
  payloadOf,
  udpTo,
} from "./attack.ts";
import { ALL, ANY, checksum, ethernet, type Ip4Fields, ip4, ip4Of, join, macOf, patched, u16, udp } from "./forge.ts";

const IP = 14;
const MORE_FRAGMENTS = 0x2000;
const IGMP_ALL = { mac: macOf("01:00:5e:00:00:01"), address: ip4Of("224.0.0.1") };
const MDNS = { mac: macOf("01:00:5e:00:00:fb"), address: ip4Of("224.0.0.251") };
const VRRP = { mac: macOf("01:00:5e:00:00:12"), address: ip4Of("224.0.0.18") };
/** RFC 2544 benchmarking range: nobody's. */
const ELSEWHERE = ip4Of("198.18.0.1");
/** RFC 2113. */
const ROUTER_ALERT = [148, 4, 0, 0];

function attack(name: string, says: string, reason: Reason, build: Build): Attack {
  return { name, layer: "ipv4", says, reason, build, control: honestUdp };
}

function packet(
  context: AttackContext,
  change: Partial<Ip4Fields> & { readonly toMac?: MacAddress },
  payload: Uint8Array,
): Uint8Array {
  const { self, neighbour } = context;
  const fields: Ip4Fields = {
    from: self.address,
    to: neighbour.address,
    protocol: PROTOCOL.udp,
    id: idOf(context),
    ...change,
  };
  return ethernet(change.toMac ?? neighbourHop(context), self.mac, ETHER.ip, ip4(fields, payload));
}

function withOptions(name: string, says: string, options: (c: AttackContext) => readonly number[]): Attack {
  return attack(name, says, "ip4-shape", (c) => [packet(c, { options: options(c) }, udp(40_000, 9, payloadOf(c)))]);
}

/** Type, maximum response time, group; checksum over it all (RFC 2236). */
function igmp(type: number, group: readonly number[]): Uint8Array {
  const message = join([type, 100, 0, 0], group);
  return patched(message, 2, u16(checksum(message)));
}

function igmpTo(
  context: AttackContext,
  to: { readonly mac: MacAddress; readonly address: Ip4Fields["to"] },
  message: Uint8Array,
  options: readonly number[] = [],
): Uint8Array {
  const change = { toMac: to.mac, to: to.address, protocol: PROTOCOL.igmp, ttl: 1, options };
  return packet(context, change, join(message, payloadOf(context)));
}

/** A first fragment of 8 octets leaves the transport header to the second (RFC 1858 section 3). */
const tinyFragment: Build = (c) => {
  const whole = udp(40_000, 9, join(payloadOf(c), new Uint8Array(64)));
  return [
    packet(c, { fragment: MORE_FRAGMENTS }, whole.subarray(0, 8)),
    packet(c, { fragment: MORE_FRAGMENTS | 1 }, whole.subarray(8, 16)),
  ];
};

/** Offset 1 writes over the ports that a filter has judged in the first fragment (RFC 3128). */
const overlappingFragment: Build = (c) => [packet(c, { fragment: 1 }, join(u16(67), u16(68), payloadOf(c)))];

const honestFragments: Attack["control"] = {
  says: "a datagram in two fragments of decent size",
  build: (c) => {
    const whole = udp(40_000, 9, join(payloadOf(c), new Uint8Array(1200)));
    return [
      packet(c, { fragment: MORE_FRAGMENTS }, whole.subarray(0, 800)),
      packet(c, { fragment: 100 }, whole.subarray(800)),
    ];
  },
};

export const ip4Attacks: readonly Attack[] = [
  attack("foreign-ip", "sends from another guest's address", "ip4-source", (c) => [
    udpTo(c, { address: c.victim.address }),
  ]),
  attack("gateway-ip", "sends from the gateway's address", "ip4-source", (c) => [
    udpTo(c, { address: c.gateway.address }),
  ]),
  attack("free-ip", "takes an address nobody was given", "ip4-source", (c) => [
    udpTo(c, { address: addressIn(c, 200) }),
  ]),
  attack("outside-ip", "sends from an address of somewhere else, as floods do", "ip4-source", (c) => [
    udpTo(c, { address: ELSEWHERE }),
  ]),
  attack("zero-source", "sends from 0.0.0.0 without asking for a lease", "ip4-source", (c) => [
    udpTo(c, { address: ANY }),
  ]),
  attack("broadcast-source", "sends from 255.255.255.255", "ip4-source", (c) => [udpTo(c, { address: ALL })]),
  attack("loopback-source", "sends from 127.0.0.1", "ip4-source", (c) => [udpTo(c, { address: ip4Of("127.0.0.1") })]),
  attack("ip-cut", "IPv4 that ends before its source address", "ip4-source", (c) => [udpTo(c).subarray(0, IP + 12)]),
  attack("ip-version", "another version number under IPv4's type", "ip4-shape", (c) => [patched(udpTo(c), IP, [0x65])]),
  attack("ip-header-length", "a header length below the minimum", "ip4-shape", (c) => [patched(udpTo(c), IP, [0x44])]),
  withOptions("source-route", "tells routers the way (loose source route)", (c) => [
    131,
    7,
    4,
    ...c.gateway.address.split(".").map(Number),
    0,
  ]),
  withOptions("strict-source-route", "tells routers the whole way", (c) => [
    137,
    7,
    4,
    ...c.gateway.address.split(".").map(Number),
    0,
  ]),
  withOptions("record-route", "asks routers for their addresses", () => [7, 7, 4, 0, 0, 0, 0, 0]),
  withOptions("timestamp-option", "asks routers for their clocks", () => [68, 8, 5, 0, 0, 0, 0, 0]),
  withOptions("router-alert", "makes every router look inside", () => ROUTER_ALERT),
  {
    ...attack("tiny-fragment", "hides the ports in the second fragment", "ip4-shape", tinyFragment),
    control: honestFragments,
  },
  {
    ...attack("offset-1-fragment", "writes over the ports that were judged", "ip4-shape", overlappingFragment),
    control: honestFragments,
  },
  attack("udp-cut", "UDP that ends inside its header", "ip4-shape", (c) => [
    packet(c, {}, udp(40_000, 9, payloadOf(c)).subarray(0, 6)),
  ]),
  attack("udp-short-length", "a UDP length below its own header", "ip4-shape", (c) => [
    patched(udpTo(c), IP + 24, u16(7)),
  ]),
  attack("broadcast-udp", "shouts UDP at everybody (255.255.255.255)", "broadcast", (c) => [
    udpTo(c, { toMac: BROADCAST_MAC, to: ALL }),
  ]),
  attack("directed-broadcast", "shouts UDP at the network's broadcast address", "broadcast", (c) => [
    udpTo(c, { toMac: BROADCAST_MAC, to: addressIn(c, -1) }),
  ]),
  attack("broadcast-unicast-frame", "sends 255.255.255.255 to one machine's MAC", "broadcast", (c) => [
    udpTo(c, { to: ALL }),
  ]),
  attack("unicast-in-broadcast", "sends a unicast packet to everybody's MAC", "broadcast", (c) => [
    udpTo(c, { toMac: BROADCAST_MAC }),
  ]),
  attack("unicast-in-multicast", "sends a unicast packet to a group's MAC", "multicast", (c) => [
    udpTo(c, { toMac: MDNS.mac }),
  ]),
  attack("mdns", "answers names by multicast DNS", "multicast", (c) => [
    packet(c, { toMac: MDNS.mac, to: MDNS.address, ttl: 255 }, udp(5353, 5353, payloadOf(c))),
  ]),
  attack("vrrp", "claims a shared router address", "multicast", (c) => [
    packet(c, { toMac: VRRP.mac, to: VRRP.address, protocol: 112, ttl: 255 }, join([0x21, 1, 255, 1], payloadOf(c))),
  ]),
  attack("igmp-query", "becomes the querier, so that switches send it all groups", "multicast", (c) => [
    igmpTo(c, IGMP_ALL, igmp(0x11, [0, 0, 0, 0])),
  ]),
  attack("igmp-report", "joins a group, so that its traffic comes here", "multicast", (c) => [
    igmpTo(c, MDNS, igmp(0x16, [224, 0, 0, 251])),
  ]),
  attack("igmp-router-alert", "joins a group with the router alert option", "multicast", (c) => [
    igmpTo(c, MDNS, igmp(0x16, [224, 0, 0, 251]), ROUTER_ALERT),
  ]),
];
