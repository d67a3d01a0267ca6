/** What both directions of the guard are made of: header constants, how a frame is refused, counted and sampled. */
import { type Reason, reasonTable } from "../model/reasons.ts";
import {
  accept,
  atLeast,
  back,
  below,
  type Chain,
  drop,
  type Field,
  goTo,
  inSet,
  is,
  jumpTo,
  type Match,
  masked,
  next,
  oneOf,
  type Rule,
  rule,
  type Statement,
  when,
  within,
} from "./ast.ts";

/** NFLOG groups: what the agent hears. Per network namespace, chosen away from the small numbers other programs use. */
export const logGroups = {
  dhcp: 7067,
  dropsFromGuest: 7068,
  dropsToGuest: 7069,
  neighbours: 7070,
  policy: 7071,
  leases: 7072,
} as const;

/** Packet mark of what the host's own responder puts on a port ("vfgd"). A guest's frame has it taken away before anything looks at it. */
export const RESPONDER_MARK = 0x76_66_67_64;

/**
 * Room for so many ports on a host. For a set with a size the kernel allots eight octets for every element it may ever have, times 4/3, up to the next power of
 * two, and walks all of them whenever the set is read: 128 KB for one element a port, and a third more ports would double it. (With room for 65 536 ports
 * the rules took 172 MB of memory that cannot be swapped.) Without a size a set grows with what is in it; loads and dumps are 1.4-2.4 times slower.
 */
export const PORTS = 12_288;
/** Of prefixes: nothing is allotted ahead. */
export const RANGES = 65_536;
/** Neighbours of all guests of a host together: 4 MB. */
export const NEIGHBOURS = 393_216;

/** Ethernet payload of an ARP packet for IPv4: 8 octets header, twice MAC and address (RFC 826). */
export const ARP_BYTES = 28;
export const ETHERNET_HEADER = 14;
export const IPV4_HEADER = 20;
export const UDP_HEADER = 8;
export const ETHER_TYPE = { ip4: 0x0800, arp: 0x0806, ip6: 0x86dd } as const;
export const PROTOCOL = {
  icmp: 1,
  igmp: 2,
  ipip: 4,
  tcp: 6,
  udp: 17,
  ip6: 41,
  gre: 47,
  icmp6: 58,
  eigrp: 88,
  ospf: 89,
  vrrp: 112,
} as const;
/** Extension headers (RFC 8200 section 4, and the registry of IPv6 extension headers). The kernel walks the first five. */
export const EXTENSION = { hopByHop: 0, routing: 43, fragment: 44, authentication: 51, none: 59, options: 60 } as const;
/** Mobility, HIP and Shim6: extension headers by the registry which the kernel does not walk, so what stands behind them is not known. */
export const UNWALKED = [135, 139, 140] as const;

/** The first octet behind the headers, whatever it is, is there: an extension header that the frame cuts off leads to its end on Linux 6.18, and nowhere on 6.1. */
export const BEHIND_HEADERS = atLeast("icmpType", 0);

/** The mark is only ours to use inside the guard: frames leave it with none. */
export const clean = (verdict: typeof accept, ...matches: readonly Match[]): Rule =>
  rule(matches, [{ kind: "mark", value: 0 }], verdict);

/** Hands a sample to the drop log: 5/s of one key (a port, or a port and a reason), 200/s in all, so that one guest cannot flood it. */
export const sampled = (set: string, key: Field, group: number): Rule =>
  rule(
    [],
    [
      { kind: "rate", set, key, perSecond: 5, burst: 10 },
      { kind: "limit", perSecond: 200 },
      { kind: "log", group, snaplen: 600 },
    ],
    next,
  );

/** What one port can be taught in a time is bounded, so that nobody on the LAN fills the table for all. */
export const LEARN_SHARE: Statement = { kind: "rate", set: "learn_share", key: "oif", perSecond: 20, burst: 500 };

/** Counts by port alone and drops: where the set's name is the reason. */
export const countedDrop = (name: string, set: string, port: "iif" | "oif"): Chain => ({
  name,
  rules: [rule([], [{ kind: "count", set, key: [port] }], next), when([], drop)],
});

/** Of a brouted port (ruleset/brouted.ts): to the host, whatever MAC the guest wrote; and with what says in the host's stack that the guard has let it by. */
export const TO_BRIDGE: Statement = { kind: "writeFrom", field: "etherDestination", key: ["iif"], map: "brouters" };
export const PROVEN: Statement = { kind: "markFrom", key: ["iif"], map: "brouted_mark" };

/** Counts the frame under its reason, and samples it. */
function tell(
  port: "iif" | "oif",
  counts: string,
  samples: string,
  group: number,
  ...observed: readonly Rule[]
): readonly Rule[] {
  return [
    rule([], [{ kind: "count", set: counts, key: [port, "mark"] }], next),
    sampled(samples, port, group),
    // Observed: judged and told, and let by (contract section 5).
    ...observed,
    clean(accept, inSet("observed", port)),
    when([], drop),
  ];
}

/** Reached by jump: where the operator switched the line off for this NIC, the judgement goes on behind it, with the mark it had. */
export const dropFrom: Chain = {
  name: "drop_from",
  rules: [
    rule([inSet("unchecked", "iif", "mark")], [{ kind: "markFrom", key: ["iif"], map: "network" }], back),
    ...tell(
      "iif",
      "drops_from",
      "log_from",
      logGroups.dropsFromGuest,
      // Where the host routes, to the host all the same: the MAC that the guest knows is in no bridge.
      rule([inSet("observed", "iif"), inSet("brouted", "iif"), is("groupBit", 0)], [TO_BRIDGE, PROVEN], accept),
    ),
  ],
};
export const dropTo: Chain = { name: "drop_to", rules: tell("oif", "drops_to", "log_to", logGroups.dropsToGuest) };

/** The last resort of a chain, or of a match: count under `reason` and drop; unless the line is switched off, then the next rule is asked. */
export const refuseFrom = (reason: Reason, ...matches: readonly Match[]): Rule =>
  rule(matches, [{ kind: "mark", value: reasonTable[reason].code }], jumpTo("drop_from"));
export const refuseTo = (reason: Reason, ...matches: readonly Match[]): Rule =>
  rule(matches, [{ kind: "mark", value: reasonTable[reason].code }], goTo("drop_to"));

/** Within its share the frame goes on; beyond it too where the operator switched the line off. */
export const withinShare = (set: string, reason: Reason, then: Rule["verdict"]): readonly Rule[] => [
  when([within(set, "iif")], then),
  refuseFrom(reason),
  when([], then),
];

/**
 * Who asks for the host is remembered there, in a table with room for some hundred (gc_thresh3): of what lies behind a guest twenty addresses at once, and two
 * a second. The kernel makes room by forgetting what is older than five seconds (neigh_forced_gc), and a guest has one router to ask for.
 */
export const askedFromBehind = (name: string, reason: Reason, then: Rule["verdict"]): Chain => ({
  name,
  rules: [
    rule([], [{ kind: "rate", set: "behind_share", key: "iif", perSecond: 2, burst: 20 }], then),
    refuseFrom(reason),
    when([], then),
  ],
});

export const BROADCAST = is("etherDestination", 0xff_ff_ff_ff_ff_ff);
export const UNICAST = is("groupBit", 0);
/** 802.1Q, 802.1ad and the two old stacked types. */
export const VLAN = oneOf("etherType", 0x8100, 0x88a8, 0x9100, 0x9200);
/** More-fragments and offset both zero; the two upper flags do not matter. */
export const NOT_FRAGMENT = masked("ip4Fragment", 0x3fff, "==", 0);
export const ARP_SHAPE = [
  is("arpHardware", 1),
  is("arpProtocol", ETHER_TYPE.ip4),
  is("arpHardwareLength", 6),
  is("arpProtocolLength", 4),
  oneOf("arpOperation", 1, 2),
];
/** Frames with a MAC or address of multicast go only where the group is allowed. */
export const UNICAST4 = below("ip4DestinationTop", 224);
export const UNICAST6 = below("ip6DestinationTop", 0xff);
export const MULTICAST4 = is("etherDestination24", 0x01_00_5e);
export const MULTICAST6 = is("etherDestination16", 0x33_33);
/** Solicited node: group MAC and group address (RFC 4861 section 7.2.2). */
export const SOLICITED_NODE = [
  is("etherDestination24", 0x33_33_ff),
  is("ip6DestinationNode", 0xff02_0000_0000_0000_0000_0001_ffn),
];
export const ALL_NODES = [
  is("etherDestination", 0x33_33_00_00_00_01),
  is("ip6Destination", 0xff02_0000_0000_0000_0000_0000_0000_0001n),
];
/** Nobody's packet from farther than this link (RFC 4861 section 7.1). */
export const HOP_255 = is("ip6HopLimit", 255);
export const NS = is("icmp6TypeCode", 0x8700);
export const NA = is("icmp6TypeCode", 0x8800);
/** ICMPv6 body alone, and with the one option of eight octets that neighbour discovery needs. */
export const ND_BARE = is("ip6Length", 24);
export const ND_OPTION = is("ip6Length", 32);
export const SLLA = is("ndOption", 0x0101);
export const TLLA = is("ndOption", 0x0201);
/** Every second solicitation for a new address carries one, so that looped copies are known (RFC 7527 section 4.2). */
export const NONCE = is("ndOption", 0x0e01);
/** Errors and echo; all else of ICMPv6 is link-local business with rules of its own. */
export const ICMP6_ORDINARY = oneOf("icmpType", 1, 2, 3, 4, 128, 129);
/**
 * Who is heard speaking of routes may be believed, and routers believe whoever is on their link: RIP (RFC 2453), RIPng (RFC 2080), Babel (RFC 8966), also to a
 * single address. To groups they are the business of the network's `multicast`; BGP and BFD have sessions, which the other side must want.
 */
export const ROUTING_PORTS = oneOf("udpDestination", 520, 521, 6696);
export const ROUTING_PROTOCOLS = [PROTOCOL.eigrp, PROTOCOL.ospf] as const;
