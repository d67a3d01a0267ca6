/** Lies that only a brouted port can tell: past the host to a MAC of the LAN, in the name of the host that routes for it, and to networks that only the host is on. */
import type { Ipv4Address } from "../model/ipv4.ts";
import { type Ipv6Address, parseIpv6 } from "../model/ipv6.ts";
import { BROUTED_GATEWAY6, HOST_PORT_MAC } from "../model/wiring.ts";
import { type Attack, arpRequest, honestAnnouncement, honestUdp, udpTo } from "./attack.ts";
import { advertise, honestAdvertisement, honestUdp6, udp6To } from "./attack6.ts";
import { llOf } from "./topology.ts";

function known(text: string): Ipv6Address {
  const address = parseIpv6(text);
  if (address === undefined) throw new TypeError(text);
  return address;
}

/** RFC 3849, and not of the lab's own prefix. */
const FAR6 = known("2001:db8:99::1");

/** @param elsewhere a machine on a network that the host is on and the guest's is not */
export function broutedAttacks(elsewhere: Ipv4Address): readonly Attack[] {
  return [
    {
      name: "past-the-host",
      layer: "ipv4",
      says: "speaks to the neighbour's own MAC, of which nobody has told it",
      reason: "dest-mac",
      build: (c) => [udpTo(c, { toMac: c.neighbour.mac })],
      control: honestUdp,
    },
    {
      name: "past-the-host6",
      layer: "ipv6",
      says: "takes the neighbour for a router of its own",
      reason: "dest-mac",
      build: (c) => [udp6To(c, { to: FAR6, toMac: c.neighbour.mac })],
      control: honestUdp6,
    },
    {
      name: "host-link-local-router",
      layer: "ipv6",
      says: "sends UDP to the router's link-local address",
      reason: "host",
      build: (c) => [udp6To(c, { from: llOf(c.self), to: BROUTED_GATEWAY6, toMac: HOST_PORT_MAC })],
      control: honestUdp6,
    },
    {
      name: "router-name",
      layer: "ipv6",
      says: "tells everybody that it is the router of all guests",
      reason: "nd",
      build: (c) => [advertise(c, BROUTED_GATEWAY6, { to: "everybody" })],
      control: honestAdvertisement,
    },
    {
      name: "host-mac",
      layer: "arp",
      says: "announces its own address at the MAC that all guests know their host by",
      reason: "mac-source",
      build: (c) => [
        arpRequest(
          { ...c, self: { ...c.self, mac: HOST_PORT_MAC } },
          { ...c.self, mac: HOST_PORT_MAC },
          c.self.address,
        ),
      ],
      control: honestAnnouncement,
    },
    {
      name: "host-network",
      layer: "ipv4",
      says: "sends to a network that only the host is on",
      reason: "astray",
      build: (c) => [udpTo(c, { to: elsewhere })],
      control: honestUdp,
    },
  ];
}
