/** Lies of DHCPv4: serving leases, asking with somebody else's MAC, posing as a relay. */
import { BROADCAST_MAC } from "../model/mac.ts";
import {
  type Attack,
  type AttackContext,
  DISCOVER,
  discover,
  ETHER,
  honestDiscover,
  honestUdp,
  idOf,
  PROTOCOL,
} from "./attack.ts";
import { ALL, ANY, dhcp, ethernet, ip4, patched, u16, udp } from "./forge.ts";

const IP = 14;
const UDP = IP + 20;
const BOOTP = UDP + 8;
const MORE_FRAGMENTS = 0x2000;

/** An offer that names the liar as gateway and name server. */
function falseOffer(context: AttackContext): Uint8Array {
  const { self, victim } = context;
  const me = self.address.split(".").map(Number);
  const options = [53, 1, 2, 54, 4, ...me, 51, 4, 0, 0, 14, 16, 1, 4, 255, 255, 255, 0, 3, 4, ...me, 6, 4, ...me];
  return dhcp({ op: 2, xid: context.serial, chaddr: victim.mac, yiaddr: victim.address, options });
}

function serve(context: AttackContext, fragment: number, from = context.self.address): Uint8Array {
  const fields = { from, to: ALL, protocol: PROTOCOL.udp, id: idOf(context), fragment };
  return ethernet(BROADCAST_MAC, context.self.mac, ETHER.ip, ip4(fields, udp(67, 68, falseOffer(context))));
}

/** As a client that has an address already: from it, to a server of its choice. */
function renew(context: AttackContext, chaddr: AttackContext["self"]["mac"]): Uint8Array {
  const { self, neighbour } = context;
  const message = dhcp({ op: 1, xid: context.serial, chaddr, ciaddr: self.address, options: [53, 1, 3] });
  const fields = { from: self.address, to: neighbour.address, protocol: PROTOCOL.udp, id: idOf(context) };
  return ethernet(neighbour.mac, self.mac, ETHER.ip, ip4(fields, udp(68, 67, message)));
}

export const dhcpAttacks: readonly Attack[] = [
  {
    name: "rogue-dhcp-server",
    layer: "dhcp",
    says: "hands out leases with itself as the gateway",
    reason: "dhcp-server",
    build: (c) => [serve(c, 0)],
    control: honestDiscover,
  },
  {
    name: "rogue-dhcp-unconfigured",
    layer: "dhcp",
    says: "hands out leases from 0.0.0.0",
    reason: "ip4-source",
    build: (c) => [serve(c, 0, ANY)],
    control: honestDiscover,
  },
  {
    name: "rogue-dhcp-fragment",
    layer: "dhcp",
    says: "hands out leases in a datagram cut in fragments",
    reason: "dhcp-server",
    build: (c) => [serve(c, MORE_FRAGMENTS)],
    control: honestDiscover,
  },
  {
    name: "rogue-dhcp-port",
    layer: "dhcp",
    says: "speaks from the server's port to any other",
    reason: "dhcp-server",
    build: (c) => {
      const fields = { from: c.self.address, to: c.neighbour.address, protocol: PROTOCOL.udp, id: idOf(c) };
      return [ethernet(c.neighbour.mac, c.self.mac, ETHER.ip, ip4(fields, udp(67, 4011, falseOffer(c))))];
    },
    control: honestUdp,
  },
  {
    name: "foreign-chaddr",
    layer: "dhcp",
    says: "asks for another guest's lease",
    reason: "dhcp-client",
    build: (c) => [discover(c, { chaddr: c.victim.mac })],
    control: honestDiscover,
  },
  {
    name: "foreign-chaddr-renew",
    layer: "dhcp",
    says: "renews another guest's lease from its own address",
    reason: "dhcp-client",
    build: (c) => [renew(c, c.victim.mac)],
    control: honestDiscover,
  },
  {
    name: "dhcp-client-reply",
    layer: "dhcp",
    says: "sends a server's message from the client's port",
    reason: "dhcp-client",
    build: (c) => [patched(discover(c), BOOTP, [2])],
    control: honestDiscover,
  },
  {
    name: "dhcp-hlen",
    layer: "dhcp",
    says: "asks with a hardware address of another length",
    reason: "dhcp-client",
    build: (c) => [patched(discover(c), BOOTP + 2, [16])],
    control: honestDiscover,
  },
  {
    name: "dhcp-client-port",
    layer: "dhcp",
    says: "asks from a port that is no client's",
    reason: "dhcp-client",
    build: (c) => [patched(discover(c), UDP, u16(40_000))],
    control: honestDiscover,
  },
  {
    name: "dhcp-giaddr",
    layer: "dhcp",
    says: "poses as a relay, to draw leases of other networks",
    reason: undefined,
    build: (c) => [discover(c, { giaddr: c.self.address })],
    control: honestDiscover,
  },
  {
    name: "dhcp-option82",
    layer: "dhcp",
    says: "brings a relay's own option, to pass for another port (RFC 3046)",
    reason: undefined,
    build: (c) => [discover(c, { options: [...DISCOVER, 82, 6, 1, 4, 118, 105, 102, 50] })],
    control: honestDiscover,
  },
];
