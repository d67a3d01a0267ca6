/** Lies that only a routed port can tell: to the host's own gateway address, past the host to a MAC of the LAN, and to networks that only the host is on. */
import type { Ipv4Address } from "../model/ipv4.ts";
import { PORT_GATEWAY4, PORT_GATEWAY6 } from "../model/wiring.ts";
import { type Attack, honestUdp, udpTo } from "./attack.ts";
import { honestUdp6, udp6To } from "./attack6.ts";
import { llOf } from "./topology.ts";

/**
 * @param elsewhere a machine on a network that the host is on and the guest's is not
 * @param gateway of the liar, on its port
 */
export function routedAttacks(elsewhere: Ipv4Address, gateway = PORT_GATEWAY4): readonly Attack[] {
  return [
    {
      name: "port-gateway",
      layer: "ipv4",
      says: "sends UDP to the gateway's own address on the port",
      reason: "host",
      build: (c) => [udpTo(c, { to: gateway })],
      control: honestUdp,
    },
    {
      name: "port-gateway6",
      layer: "ipv6",
      says: "sends UDP to the gateway's link-local address on the port",
      reason: "host",
      build: (c) => [udp6To(c, { from: llOf(c.self), to: PORT_GATEWAY6 })],
      control: honestUdp6,
    },
    {
      name: "past-the-host",
      layer: "ipv4",
      says: "speaks to the neighbour's own MAC, as if it were on the link",
      reason: "dest-mac",
      build: (c) => [udpTo(c, { toMac: c.neighbour.mac })],
      control: honestUdp,
    },
    {
      name: "past-the-host6",
      layer: "ipv6",
      says: "speaks IPv6 to the neighbour's own MAC, as if it were on the link",
      reason: "dest-mac",
      build: (c) => [udp6To(c, { toMac: c.neighbour.mac })],
      control: honestUdp6,
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
