/** Lies of IPv6: posing as a router, stealing and refusing addresses. */
import { type MacAddress, macToBytes } from "../model/mac.ts";
import { type Attack, type AttackContext, type Build, ETHER, honestUdp, payloadOf } from "./attack.ts";
import { ethernet, icmp6, ip6, join, linkLocal, macOf, u32 } from "./forge.ts";

const ICMP6 = 58;
const UNSPECIFIED = new Uint8Array(16);
const ALL_NODES = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);
const ALL_NODES_MAC = macOf("33:33:00:00:00:01");

function attack(name: string, says: string, build: Build): Attack {
  return { name, layer: "ipv6", says, reason: "ip6-source", build, control: honestUdp };
}

function toAll(context: AttackContext, from: Uint8Array, message: Uint8Array): Uint8Array {
  const body = icmp6(from, ALL_NODES, message);
  return ethernet(ALL_NODES_MAC, context.self.mac, ETHER.ip6, ip6(from, ALL_NODES, ICMP6, 255, body));
}

/** Option 1 source, 2 target link-layer address (RFC 4861 section 4.6.1). */
function linkLayer(option: number, mac: MacAddress): Uint8Array {
  return join([option, 1], macToBytes(mac));
}

export const ip6Attacks: readonly Attack[] = [
  attack("router-advertisement", "poses as the router of everybody", (c) => {
    const message = join([134, 0, 0, 0, 64, 0, 7, 8], u32(0), u32(0), linkLayer(1, c.self.mac));
    return [toAll(c, linkLocal(c.gateway.mac), message)];
  }),
  attack("neighbour-solicitation", "asks in another guest's name", (c) => {
    const message = join([135, 0, 0, 0, 0, 0, 0, 0], linkLocal(c.neighbour.mac), linkLayer(1, c.self.mac));
    return [toAll(c, linkLocal(c.victim.mac), message)];
  }),
  attack("neighbour-advertisement", "announces another guest's address as its own", (c) => {
    const victim = linkLocal(c.victim.mac);
    const message = join([136, 0, 0, 0, 0x20, 0, 0, 0], victim, linkLayer(2, c.self.mac));
    return [toAll(c, victim, message)];
  }),
  attack("foreign-dad", "objects to another guest's address (duplicate address detection)", (c) => {
    const message = join([135, 0, 0, 0, 0, 0, 0, 0], linkLocal(c.victim.mac));
    return [toAll(c, UNSPECIFIED, message)];
  }),
  attack("foreign-ip6", "sends from another guest's link-local address", (c) => {
    const from = linkLocal(c.victim.mac);
    const message = join([128, 0, 0, 0, 0, 1, 0, 1], payloadOf(c));
    return [toAll(c, from, message)];
  }),
];
