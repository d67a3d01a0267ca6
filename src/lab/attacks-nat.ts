/** Lies that only a guest with a private address can tell: with public addresses, its own too, and to private ones that are nobody's. */
import type { Ipv4Address } from "../model/ipv4.ts";
import { type Attack, arpReply, arpRequest, honestAnnouncement, honestReply, honestUdp, udpTo } from "./attack.ts";

/** Public addresses of the liar and of another guest, and a private one that nobody has. */
export interface NatParties {
  readonly own: Ipv4Address;
  readonly others: Ipv4Address;
  readonly nobody: Ipv4Address;
}

export function natAttacks({ own, others, nobody }: NatParties): readonly Attack[] {
  return [
    {
      name: "own-public-source",
      layer: "ipv4",
      says: "sends from its own public address, which is the host's to put there",
      reason: "ip4-source",
      build: (c) => [udpTo(c, { address: own })],
      control: honestUdp,
    },
    {
      name: "foreign-public-source",
      layer: "ipv4",
      says: "sends from another guest's public address",
      reason: "ip4-source",
      build: (c) => [udpTo(c, { address: others })],
      control: honestUdp,
    },
    {
      name: "announced-public",
      layer: "arp",
      says: "announces its own public address, for which the host answers",
      reason: "arp-sender",
      build: (c) => [arpRequest(c, { mac: c.self.mac, address: own }, own)],
      control: honestAnnouncement,
    },
    {
      name: "foreign-public-reply",
      layer: "arp",
      says: "says that another guest's public address is at its own MAC",
      reason: "arp-sender",
      build: (c) => [arpReply(c, { mac: c.self.mac, address: others }, c.gateway)],
      control: honestReply,
    },
    {
      name: "nobody-inside",
      layer: "ipv4",
      says: "has the host look outside for a private address",
      reason: "untranslated",
      build: (c) => [udpTo(c, { to: nobody })],
      control: honestUdp,
    },
  ];
}
