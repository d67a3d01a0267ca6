/** Lies of the outer frame: false source addresses, tags, and types that are neither ARP nor IP. */
import { BROADCAST_MAC, type MacAddress, macFromBytes, macToBytes } from "../model/mac.ts";
import { type Attack, type AttackContext, ETHER, honestUdp, payloadOf, udpTo } from "./attack.ts";
import { ethernet, join, macOf, tagged, text, u16, u32 } from "./forge.ts";

const STP_GROUP = macOf("01:80:c2:00:00:00");
const PAE_GROUP = macOf("01:80:c2:00:00:03");
const LLDP_GROUP = macOf("01:80:c2:00:00:0e");
const FLOOD = 256;

/** Locally administered, all different, the same for the same serial: a failure can be repeated. */
function randomMac(serial: number, index: number): MacAddress {
  // Numerical Recipes' linear congruential generator.
  const value = (Math.imul(serial * FLOOD + index, 1_664_525) + 1_013_904_223) >>> 0;
  return macFromBytes(Uint8Array.of(0x06, index, ...u32(value)));
}

/** Configuration BPDU of a bridge that wants to be root (IEEE 802.1D section 9.3.1), in LLC 42 42 03. */
function rootBpdu(context: AttackContext): Uint8Array {
  const bridge = [0, 0, ...macToBytes(context.self.mac)];
  const times = [...u16(0), ...u16(20 * 256), ...u16(2 * 256), ...u16(15 * 256)];
  const bpdu = join([0x42, 0x42, 3, 0, 0, 0, 0, 0], bridge, u32(0), bridge, u16(0x8001), times);
  return ethernet(STP_GROUP, context.self.mac, bpdu.length, bpdu);
}

/** An IPv4 packet in 802.3 with LLC/SNAP (RFC 1042): filters that look at the type field see only a length. */
function snap(context: AttackContext): Uint8Array {
  const inner = join([0xaa, 0xaa, 3, 0, 0, 0], u16(ETHER.ip), udpTo(context).subarray(14));
  return ethernet(context.neighbour.mac, context.self.mac, inner.length, inner);
}

function lldp(context: AttackContext): Uint8Array {
  const chassis = join([2, 7, 4], macToBytes(context.self.mac));
  const port = join([4, 5, 7], text("core"));
  return ethernet(LLDP_GROUP, context.self.mac, 0x88cc, join(chassis, port, [6, 2, 0, 120, 0, 0], payloadOf(context)));
}

function other(name: string, says: string, type: number, payload: readonly number[], to?: MacAddress): Attack {
  return {
    name,
    layer: "ethernet",
    says,
    reason: "ethertype",
    build: (c) => [ethernet(to ?? c.neighbour.mac, c.self.mac, type, join(payload, payloadOf(c)))],
    control: honestUdp,
  };
}

function tag(name: string, says: string, protocol: number, vlan: number): Attack {
  return {
    name,
    layer: "ethernet",
    says,
    reason: "vlan",
    build: (c) => [tagged(udpTo(c), protocol, vlan)],
    control: honestUdp,
  };
}

export const ethernetAttacks: readonly Attack[] = [
  {
    name: "foreign-mac",
    layer: "ethernet",
    says: "sends from another guest's MAC, to steal its traffic on the switch",
    reason: "mac-source",
    build: (c) => [udpTo(c, { mac: c.victim.mac })],
    control: honestUdp,
  },
  {
    name: "mac-flood",
    layer: "ethernet",
    says: `fills the switch's table with ${FLOOD} invented MACs`,
    reason: "mac-source",
    build: (c) => Array.from({ length: FLOOD }, (_, i) => udpTo(c, { mac: randomMac(c.serial, i) })),
    control: honestUdp,
  },
  tag("vlan-8021q", "hops into VLAN 5 with a tag", 0x8100, 5),
  tag("vlan0-tag", "hides behind a priority tag (VLAN 0)", 0x8100, 0),
  tag("qinq", "hides behind a service tag (802.1ad)", 0x88a8, 5),
  tag("qinq-9100", "hides behind the old stacked tag 0x9100", 0x9100, 5),
  {
    name: "qinq-double",
    layer: "ethernet",
    says: "stacks two tags, for a switch that takes off one",
    reason: "vlan",
    build: (c) => [tagged(tagged(udpTo(c), 0x8100, 5), 0x88a8, 1)],
    control: honestUdp,
  },
  {
    name: "llc-snap",
    layer: "ethernet",
    says: "wraps IPv4 in 802.3 LLC/SNAP",
    reason: "ethertype",
    build: (c) => [snap(c)],
    control: honestUdp,
  },
  {
    name: "bpdu",
    layer: "ethernet",
    says: "claims to be the root of the spanning tree",
    reason: "ethertype",
    build: (c) => [rootBpdu(c)],
    control: honestUdp,
  },
  {
    name: "lldp",
    layer: "ethernet",
    says: "introduces itself to the switch as a switch",
    reason: "ethertype",
    build: (c) => [lldp(c)],
    control: honestUdp,
  },
  other("eapol", "starts an 802.1X log-in", 0x888e, [1, 1, 0, 0], PAE_GROUP),
  other("pppoe-discovery", "looks for a PPPoE concentrator", 0x8863, [0x11, 9, 0, 0, 0, 4, 1, 1, 0, 0], BROADCAST_MAC),
  other("pppoe-session", "tunnels in PPPoE", 0x8864, [0x11, 0, 0, 1, 0, 2, 0, 0x21]),
  other("mpls", "tunnels in MPLS", 0x8847, [0, 1, 1, 64]),
  other("macsec", "hides in MACsec", 0x88e5, [0, 0, 0, 0, 0, 1]),
  other("loopback", "lets the switch test its loops", 0x9000, [0, 0, 1, 0]),
  other("rarp", "asks for an address by RARP", 0x8035, [0, 1, 8, 0, 6, 4, 0, 3]),
  other("wake-on-lan", "wakes other machines", 0x0842, [255, 255, 255, 255, 255, 255], BROADCAST_MAC),
];
