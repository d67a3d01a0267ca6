/** Lies of neighbour discovery: stealing and refusing addresses, posing as a router. */

import { ipv6ToBytes } from "../model/ipv6.ts";
import type { Reason } from "../model/reasons.ts";
import { type Attack, type AttackContext, type Build, type Control, payloadOf } from "./attack.ts";
import {
  ALL_NODES,
  ANYBODY,
  advertise,
  dad,
  honestAdvertisement,
  honestAnnouncement6,
  honestDad,
  honestDadNonce,
  honestRouterSolicitation,
  honestSolicitation,
  honestUdp6,
  icmp6To,
  ownSource,
  ownTarget,
  solicit,
} from "./attack6.ts";
import { join, patched, u32 } from "./forge.ts";
import { ICMP6, ip6Of, linkLayer, ND_OPTION, neighbourMessage, prefixOption, routerAdvertisement } from "./forge6.ts";
import { GATEWAY6, globalOf, llOf } from "./topology.ts";

/** Documentation range of another network. */
const ELSEWHERE = ip6Of("2001:db8:ffff::1");
const ELSEWHERE_PREFIX = ip6Of("2001:db8:ffff::");

function lie(name: string, says: string, reason: Reason, control: Control, build: Build): Attack {
  return { name, layer: "ipv6", says, reason, build, control };
}

const victimSource = (c: AttackContext): Uint8Array => linkLayer(ND_OPTION.source, c.victim.mac);
const victimTarget = (c: AttackContext): Uint8Array => linkLayer(ND_OPTION.target, c.victim.mac);

/** Own message with a code that does not exist; the code comes before the sum is made. */
function coded(context: AttackContext, message: Uint8Array): Uint8Array {
  return icmp6To(context, patched(message, 1, [1]));
}

const solicitations: readonly Attack[] = [
  lie("ns-hop-limit", "asks from behind a router (hop limit 64)", "nd", honestSolicitation, (c) => [
    solicit(c, globalOf(c.neighbour), { hopLimit: 64 }),
  ]),
  lie("ns-foreign-mac", "names another guest's MAC as its own when asking", "nd", honestSolicitation, (c) => [
    solicit(c, globalOf(c.neighbour), { options: [victimSource(c)] }),
  ]),
  lie("ns-two-macs", "names its MAC and then another guest's", "nd", honestSolicitation, (c) => [
    solicit(c, globalOf(c.neighbour), { options: [ownSource(c), victimSource(c)] }),
  ]),
  lie("ns-long-mac", "names a MAC of 14 octets", "nd", honestSolicitation, (c) => [
    solicit(c, globalOf(c.neighbour), { options: [join(patched(ownSource(c), 1, [2]), new Uint8Array(8))] }),
  ]),
  lie("ns-endless-option", "asks with an option of length 0 (RFC 4861 section 4.6)", "nd", honestSolicitation, (c) => [
    solicit(c, globalOf(c.neighbour), { options: [patched(ownSource(c), 1, [0])] }),
  ]),
  lie("ns-code", "asks with a code that does not exist", "nd", honestSolicitation, (c) => [
    coded(c, neighbourMessage(ICMP6.neighbourSolicitation, globalOf(c.neighbour), [ownSource(c)])),
  ]),
  lie("dad-with-mac", "looks whether an address is free and names its MAC all the same", "nd", honestDad, (c) => [
    solicit(c, globalOf(c.self), { from: ANYBODY }),
  ]),
  lie("foreign-dad", "objects to another guest's address (duplicate address detection)", "nd", honestDad, (c) => [
    dad(c, globalOf(c.victim)),
  ]),
  lie("foreign-dad-link-local", "objects to another guest's link-local address", "nd", honestDadNonce, (c) => [
    dad(c, llOf(c.victim)),
  ]),
  lie("foreign-dad-gateway", "objects to the gateway's address", "nd", honestDadNonce, (c) => [dad(c, GATEWAY6)]),
  lie("dad-hop-limit", "looks whether an address is free from behind a router", "nd", honestDad, (c) => [
    solicit(c, globalOf(c.self), { from: ANYBODY, options: [], hopLimit: 64 }),
  ]),
];

const advertisements: readonly Attack[] = [
  lie("na-foreign", "answers the neighbour that another guest's address is here", "nd", honestAdvertisement, (c) => [
    advertise(c, globalOf(c.victim)),
  ]),
  lie("na-foreign-all", "tells everybody that another guest's address is here", "nd", honestAnnouncement6, (c) => [
    advertise(c, globalOf(c.victim), { to: "everybody" }),
  ]),
  lie("na-foreign-link-local", "claims another guest's link-local address", "nd", honestAnnouncement6, (c) => [
    advertise(c, llOf(c.victim), { from: llOf(c.self), to: "everybody" }),
  ]),
  lie("na-foreign-bare", "claims another guest's address without naming a MAC", "nd", honestAdvertisement, (c) => [
    advertise(c, globalOf(c.victim), { options: [] }),
  ]),
  lie("na-gateway", "tells everybody that it is the gateway", "nd", honestAnnouncement6, (c) => [
    advertise(c, GATEWAY6, { to: "everybody" }),
  ]),
  lie("na-gateway-global", "answers the neighbour that the gateway is here", "nd", honestAdvertisement, (c) => [
    advertise(c, globalOf(c.gateway)),
  ]),
  lie("na-foreign-mac", "says its own address is at another guest's MAC", "nd", honestAdvertisement, (c) => [
    advertise(c, globalOf(c.self), { options: [victimTarget(c)] }),
  ]),
  lie("na-hop-limit", "answers with a hop limit of 254", "nd", honestAdvertisement, (c) => [
    advertise(c, globalOf(c.self), { hopLimit: 254 }),
  ]),
  lie("na-two-macs", "answers with its MAC and then another guest's", "nd", honestAdvertisement, (c) => [
    advertise(c, globalOf(c.self), { options: [ownTarget(c), victimTarget(c)] }),
  ]),
  lie("na-code", "answers with a code that does not exist", "nd", honestAdvertisement, (c) => [
    coded(c, neighbourMessage(ICMP6.neighbourAdvertisement, globalOf(c.self), [ownTarget(c)], 0x60)),
  ]),
];

/** ICMPv6 that no guest has a reason to send, as unicast from the own address: nothing else about it is wrong. */
function never(
  name: string,
  says: string,
  type: number,
  body: (c: AttackContext) => readonly number[] = () => [],
): Attack {
  return lie(name, says, "nd", honestUdp6, (c) => [
    icmp6To(c, join([type, 0, 0, 0], u32(0), body(c), ownSource(c), payloadOf(c))),
  ]);
}

const others: readonly Attack[] = [
  never("inverse-solicitation", "asks for addresses by MAC (inverse discovery, RFC 3122)", 141),
  never("inverse-advertisement", "answers inverse discovery", 142),
  never("certification-path", "asks routers for certificates (RFC 3971)", 148),
  never("multicast-router", "poses as a multicast router (RFC 4286)", 151),
  never("node-information", "asks for names and addresses of a machine (RFC 4620)", 139, (c) => [
    ...u32(c.serial),
    ...u32(0),
    ...ipv6ToBytes(globalOf(c.neighbour)),
  ]),
];

/** Router advertisement with everything that takes a LAN over: a prefix and a default route. */
function takeOver(context: AttackContext): Uint8Array {
  return routerAdvertisement(1800, [ownSource(context), prefixOption(ELSEWHERE_PREFIX, 64)]);
}

function redirect(context: AttackContext): Uint8Array {
  const { self } = context;
  return join([ICMP6.redirect, 0, 0, 0], u32(0), ipv6ToBytes(llOf(self)), ipv6ToBytes(ELSEWHERE), ownTarget(context));
}

const routers: readonly Attack[] = [
  lie("rogue-router", "becomes everybody's router, with a prefix of its own", "ra", honestRouterSolicitation, (c) => [
    icmp6To(c, takeOver(c), { from: llOf(c.self), to: ALL_NODES }),
  ]),
  lie("rogue-router-unicast", "becomes the neighbour's router alone", "ra", honestRouterSolicitation, (c) => [
    icmp6To(c, takeOver(c), { from: llOf(c.self), to: llOf(c.neighbour) }),
  ]),
  lie("rogue-router-hop-limit", "becomes a router from behind a router", "ra", honestRouterSolicitation, (c) => [
    icmp6To(c, takeOver(c), { from: llOf(c.self), to: ALL_NODES, hopLimit: 64 }),
  ]),
  lie("dead-router", "says that the gateway is no router any more", "ra", honestRouterSolicitation, (c) => [
    icmp6To(c, routerAdvertisement(0, [linkLayer(ND_OPTION.source, c.gateway.mac)]), {
      from: llOf(c.self),
      to: ALL_NODES,
    }),
  ]),
  lie("redirect6", "tells the neighbour a better way, through itself", "ra", honestRouterSolicitation, (c) => [
    icmp6To(c, redirect(c), { from: llOf(c.self), to: llOf(c.neighbour) }),
  ]),
];

export const ndAttacks: readonly Attack[] = [...solicitations, ...advertisements, ...others, ...routers];
