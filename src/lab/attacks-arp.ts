/** Lies of ARP: who has which address, and shapes that parsers read differently. */
import { BROADCAST_MAC } from "../model/mac.ts";
import {
  type Attack,
  type AttackContext,
  addressIn,
  arpReply,
  arpRequest,
  askedFor,
  type Build,
  ETHER,
  honestAnnouncement,
  honestArp,
  honestProbe,
  honestReply,
} from "./attack.ts";
import { ANY, arp, ethernet, ip4Of, NO_MAC, patched, u16 } from "./forge.ts";
import type { Party } from "./topology.ts";

const ARP = 14;
/** RFC 2544 benchmarking range: never inside the lab's prefix. */
const ELSEWHERE = ip4Of("198.18.0.1");

function posingAs(context: AttackContext, other: Party): Party {
  return { mac: context.self.mac, address: other.address };
}

/** An honest question with one field of its fixed part changed (RFC 826: htype, ptype, hlen, plen, op). */
function misshapen(name: string, says: string, offset: number, bytes: readonly number[]): Attack {
  return {
    name,
    layer: "arp",
    says,
    reason: "arp-shape",
    build: (c) => [patched(arpRequest(c, c.self, askedFor(c)), ARP + offset, bytes)],
    control: honestArp,
  };
}

function sender(name: string, says: string, build: Build, control = honestArp): Attack {
  return { name, layer: "arp", says, reason: "arp-sender", build, control };
}

/** A reply to everybody, about oneself, as if to somebody else: announcements are only for own addresses. */
function replyToAll(context: AttackContext): Uint8Array {
  const { self, neighbour } = context;
  const fields = {
    operation: 2,
    senderMac: self.mac,
    senderIp: self.address,
    targetMac: NO_MAC,
    targetIp: neighbour.address,
  };
  return ethernet(BROADCAST_MAC, self.mac, ETHER.arp, arp(fields));
}

export const arpAttacks: readonly Attack[] = [
  sender("foreign-arp-sender", "asks in another guest's name, so that the answerer learns a lie", (c) => [
    arpRequest(c, posingAs(c, c.victim), askedFor(c)),
  ]),
  sender("foreign-arp-mac", "names another guest's MAC inside ARP", (c) => [
    arpRequest(c, { mac: c.victim.mac, address: c.self.address }, askedFor(c)),
  ]),
  sender(
    "gratuitous-gateway",
    "announces itself to everybody as the gateway",
    (c) => [arpRequest(c, posingAs(c, c.gateway), c.gateway.address)],
    honestAnnouncement,
  ),
  sender(
    "arp-poison",
    "tells the neighbour alone that it is the gateway",
    (c) => [arpReply(c, posingAs(c, c.gateway), c.neighbour)],
    honestReply,
  ),
  sender(
    "arp-poison-victim",
    "tells the neighbour alone that it is the other guest",
    (c) => [arpReply(c, posingAs(c, c.victim), c.neighbour)],
    honestReply,
  ),
  sender(
    "foreign-arp-probe",
    "probes for another guest's address, so that it gives it up (RFC 5227)",
    (c) => [arpRequest(c, { mac: c.self.mac, address: ANY }, c.victim.address)],
    honestProbe,
  ),
  {
    name: "arp-reply-to-all",
    layer: "arp",
    says: "broadcasts a reply nobody asked for",
    reason: "arp-target",
    build: (c) => [replyToAll(c)],
    control: honestReply,
  },
  {
    name: "arp-outside",
    layer: "arp",
    says: "asks for addresses outside the network",
    reason: "arp-target",
    build: (c) => [arpRequest(c, c.self, ELSEWHERE)],
    control: honestArp,
  },
  {
    name: "arp-multicast",
    layer: "arp",
    says: "asks by multicast, past those who only watch broadcasts",
    reason: "multicast",
    build: (c) => [patched(arpRequest(c, c.self, addressIn(c, 2)), 0, [0x01, 0x00, 0x5e, 0x00, 0x00, 0xfb])],
    control: honestArp,
  },
  misshapen("arp-htype", "ARP for another kind of hardware", 0, u16(6)),
  misshapen("arp-ptype", "ARP for another protocol", 2, u16(0x86dd)),
  misshapen("arp-hlen", "ARP with hardware addresses of 8 octets", 4, [8]),
  misshapen("arp-plen", "ARP with protocol addresses of 16 octets", 5, [16]),
  misshapen("arp-operation", "reverse ARP's operation in ARP's clothes", 6, u16(3)),
  {
    name: "arp-truncated",
    layer: "arp",
    says: "ARP that ends before its target address",
    reason: "arp-shape",
    build: (c) => [arpRequest(c, c.self, askedFor(c)).subarray(0, ARP + 24)],
    control: honestArp,
  },
];
