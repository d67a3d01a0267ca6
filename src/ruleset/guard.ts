/**
 * The guard of the contract, from the guest and to the guest: a constant ruleset in the netdev family.
 *
 * Every port has two base chains of its own (policy drop) whose only rule jumps to `from_guest` or `to_guest`; ports are elements of sets.
 * Rules are written so that only a positive match leads on. When a packet is too short for a field, nft skips the rule (NFT_BREAK),
 * so a rule of the form "if not in the set, drop" would let a cut frame slip by; here it falls through to the drop at the end.
 */
import { type Reason, reasonTable } from "../model/reasons.ts";
import {
  accept,
  atLeast,
  below,
  type Chain,
  drop,
  type Field,
  goTo,
  inSet,
  is,
  masked,
  next,
  oneOf,
  type Rule,
  rule,
  type SetSpec,
  type Table,
  when,
} from "./ast.ts";

/** NFLOG groups: what the agent hears. Per network namespace, chosen away from the small numbers other programs use. */
export const logGroups = { dhcp: 7067, dropsFromGuest: 7068, dropsToGuest: 7069 } as const;

/** Packet mark of what the host's own responder puts on a port ("vfgd"). A guest's frame has it taken away before anything looks at it. */
export const RESPONDER_MARK = 0x76_66_67_64;

// Room for 65 536 ports; a bound makes loads and dumps 1.4-2.4 times faster than none.
const PORTS = 65_536;

/** Ethernet payload of an ARP packet for IPv4: 8 octets header, twice MAC and address (RFC 826). */
const ARP_BYTES = 28;
const ETHERNET_HEADER = 14;
const IPV4_HEADER = 20;
const UDP_HEADER = 8;
const ETHER_TYPE = { ip4: 0x0800, arp: 0x0806, ip6: 0x86dd } as const;
const PROTOCOL = { icmp: 1, igmp: 2, tcp: 6, udp: 17 } as const;

const sets: readonly SetSpec[] = [
  { name: "ports", key: ["iif"], size: PORTS, use: "static" },
  { name: "identity", key: ["iif", "etherSource"], size: PORTS, use: "static" },
  { name: "chaddr", key: ["iif", "dhcpChaddr"], size: PORTS, use: "static" },
  { name: "bind4", key: ["iif", "arpSenderMac", "arpSenderIp"], size: 4 * PORTS, use: "static" },
  { name: "addr4", key: ["iif", "ip4Source"], size: 4 * PORTS, use: "static" },
  { name: "network", key: ["iif"], to: "mark", size: PORTS, use: "static" },
  { name: "prefix4", key: ["mark", "arpTargetIp"], size: PORTS, use: "ranges" },
  { name: "known4", key: ["mark", "arpSenderIp"], size: 8 * PORTS, use: "static" },
  { name: "true4", key: ["mark", "arpSenderIp", "arpSenderMac"], size: 8 * PORTS, use: "static" },
  { name: "gateways4", key: ["mark", "arpSenderIp"], size: PORTS, use: "static" },
  { name: "drops_from", key: ["iif", "mark"], size: 8 * PORTS, use: "counted" },
  { name: "drops_to", key: ["oif", "mark"], size: 8 * PORTS, use: "counted" },
  { name: "log_from", key: ["iif"], size: PORTS, use: "buckets" },
  { name: "log_to", key: ["oif"], size: PORTS, use: "buckets" },
  { name: "rate_arp", key: ["iif"], size: PORTS, use: "buckets" },
  { name: "rate_dhcp", key: ["iif"], size: PORTS, use: "buckets" },
];

/** Counts the frame under its reason, and hands a sample of it to the drop log: 5/s a port, 200/s in all, so that one guest cannot flood it. */
function dropChain(name: string, port: Field, counts: string, samples: string, group: number): Chain {
  return {
    name,
    rules: [
      rule([], [{ kind: "count", set: counts, key: [port, "mark"] }], next),
      rule(
        [],
        [
          { kind: "rate", set: samples, key: port, perSecond: 5, burst: 10 },
          { kind: "limit", perSecond: 200 },
          { kind: "log", group, snaplen: 256 },
        ],
        next,
      ),
      when([], drop),
    ],
  };
}

/** The last resort of a chain, or of a match: count under `reason` and drop. */
function refuse(direction: "from" | "to", reason: Reason, ...matches: Parameters<typeof when>[0]): Rule {
  return rule(matches, [{ kind: "mark", value: reasonTable[reason].code }], goTo(`drop_${direction}`));
}
const refuseFrom = (reason: Reason, ...matches: Parameters<typeof when>[0]): Rule => refuse("from", reason, ...matches);
const refuseTo = (reason: Reason, ...matches: Parameters<typeof when>[0]): Rule => refuse("to", reason, ...matches);

const BROADCAST = is("etherDestination", 0xff_ff_ff_ff_ff_ff);
const UNICAST = is("groupBit", 0);
/** 802.1Q, 802.1ad and the two old stacked types. */
const VLAN = oneOf("etherType", 0x8100, 0x88a8, 0x9100, 0x9200);
/** More-fragments and offset both zero; the two upper flags do not matter. */
const NOT_FRAGMENT = masked("ip4Fragment", 0x3fff, "==", 0);
const ARP_SHAPE = [
  is("arpHardware", 1),
  is("arpProtocol", ETHER_TYPE.ip4),
  is("arpHardwareLength", 6),
  is("arpProtocolLength", 4),
  oneOf("arpOperation", 1, 2),
];
/** The mark is only ours to use inside the guard: frames leave it with none. */
const clean = (verdict: typeof accept, ...matches: Parameters<typeof when>[0]): Rule =>
  rule(matches, [{ kind: "mark", value: 0 }], verdict);

const fromArp: readonly Chain[] = [
  {
    name: "from_arp",
    rules: [when([atLeast("length", ARP_BYTES), ...ARP_SHAPE], goTo("from_arp_cast")), refuseFrom("arp-shape")],
  },
  {
    name: "from_arp_cast",
    rules: [
      when([BROADCAST], goTo("from_arp_sender")),
      when([UNICAST], goTo("from_arp_sender")),
      refuseFrom("multicast"),
    ],
  },
  {
    name: "from_arp_sender",
    rules: [
      when([inSet("bind4", "iif", "arpSenderMac", "arpSenderIp")], goTo("from_arp_target")),
      // RFC 5227 section 1.1: a probe asks for the own address with sender 0.0.0.0.
      when(
        [is("arpOperation", 1), is("arpSenderIp", 0), inSet("bind4", "iif", "arpSenderMac", "arpTargetIp")],
        goTo("from_arp_rate"),
      ),
      refuseFrom("arp-sender"),
    ],
  },
  {
    name: "from_arp_target",
    rules: [
      when([is("arpOperation", 2), UNICAST], goTo("from_arp_rate")),
      when([is("arpOperation", 2), inSet("bind4", "iif", "arpSenderMac", "arpTargetIp")], goTo("from_arp_rate")),
      rule([is("arpOperation", 1)], [{ kind: "markFrom", key: "iif", map: "network" }], next),
      when([is("arpOperation", 1), inSet("prefix4", "mark", "arpTargetIp")], goTo("from_arp_rate")),
      refuseFrom("arp-target"),
    ],
  },
  {
    name: "from_arp_rate",
    rules: [
      rule(
        [],
        [
          { kind: "rate", set: "rate_arp", key: "iif", perSecond: 50, burst: 100 },
          { kind: "mark", value: 0 },
        ],
        accept,
      ),
      refuseFrom("rate-arp"),
    ],
  },
];

const fromIp4: readonly Chain[] = [
  {
    name: "from_ip4",
    rules: [
      // The ordinary packet in one rule: own source, no options, no fragment, unicast. It saves four chains; those below judge the rest by the same lines.
      when(
        [
          inSet("addr4", "iif", "ip4Source"),
          is("ip4VersionIhl", 0x45),
          NOT_FRAGMENT,
          UNICAST,
          below("ip4DestinationTop", 224),
        ],
        {
          kind: "dispatch",
          field: "ip4Protocol",
          cases: [
            { value: PROTOCOL.tcp, chain: "pass" },
            { value: PROTOCOL.icmp, chain: "pass" },
            { value: PROTOCOL.udp, chain: "from_udp4" },
          ],
        },
      ),
      when([inSet("addr4", "iif", "ip4Source")], goTo("from_ip4_own")),
      when(
        [
          is("ip4VersionIhl", 0x45),
          is("ip4Source", 0),
          is("ip4Destination", 0xff_ff_ff_ff),
          BROADCAST,
          NOT_FRAGMENT,
          is("ip4Protocol", PROTOCOL.udp),
          is("udpDestination", 67),
        ],
        goTo("from_dhcp4"),
      ),
      refuseFrom("ip4-source"),
    ],
  },
  {
    name: "from_ip4_own",
    rules: [when([is("ip4VersionIhl", 0x45)], goTo("from_ip4_fragment")), refuseFrom("ip4-shape")],
  },
  {
    name: "from_ip4_fragment",
    rules: [
      when([NOT_FRAGMENT], goTo("from_ip4_transport")),
      // The smallest MTU is 68 (RFC 791), so a first fragment that is shorter only hides the transport header (RFC 1858).
      when([masked("ip4Fragment", 0x1fff, "==", 0), atLeast("ip4Length", 68)], goTo("from_ip4_transport")),
      // Offset 1 overlaps the transport header of the first fragment (RFC 3128).
      when([masked("ip4Fragment", 0x1fff, ">=", 2)], goTo("from_ip4_destination")),
      refuseFrom("ip4-shape"),
    ],
  },
  {
    name: "from_ip4_transport",
    rules: [
      when([], {
        kind: "dispatch",
        field: "ip4Protocol",
        cases: [
          { value: PROTOCOL.udp, chain: "from_udp4" },
          { value: PROTOCOL.igmp, chain: "from_igmp" },
        ],
      }),
      when([], goTo("from_ip4_destination")),
    ],
  },
  { name: "from_igmp", rules: [refuseFrom("multicast")] },
  {
    name: "from_udp4",
    rules: [
      refuseFrom("dhcp-server", is("udpSource", 67)),
      when([is("udpDestination", 67)], goTo("from_dhcp4")),
      // Behind a short packet stand the padding octets of the frame, which nft reads as if they belonged to it.
      when(
        [atLeast("ip4Length", IPV4_HEADER + UDP_HEADER), atLeast("udpLength", UDP_HEADER)],
        goTo("from_ip4_destination"),
      ),
      refuseFrom("ip4-shape"),
    ],
  },
  {
    // The host's responder answers on the port itself: a DHCP request never goes further than this.
    name: "from_dhcp4",
    rules: [
      refuseFrom("dhcp-server", is("udpSource", 67)),
      // BOOTREQUEST, Ethernet, six octets of address, and that address is the port's own.
      when(
        [is("udpSource", 68), is("dhcpHead", 0x01_01_06), inSet("chaddr", "iif", "dhcpChaddr")],
        goTo("from_dhcp4_rate"),
      ),
      refuseFrom("dhcp-client"),
    ],
  },
  {
    name: "from_dhcp4_rate",
    rules: [
      rule(
        [],
        [
          { kind: "rate", set: "rate_dhcp", key: "iif", perSecond: 20, burst: 40 },
          { kind: "log", group: logGroups.dhcp },
        ],
        drop,
      ),
      refuseFrom("rate-dhcp"),
    ],
  },
  {
    name: "from_ip4_destination",
    rules: [
      when([UNICAST, below("ip4DestinationTop", 224)], accept),
      refuseFrom("broadcast", BROADCAST),
      refuseFrom("broadcast", is("ip4Destination", 0xff_ff_ff_ff)),
      refuseFrom("multicast"),
    ],
  },
];

const fromGuest: readonly Chain[] = [
  { name: "pass", rules: [when([], accept)] },
  dropChain("drop_from", "iif", "drops_from", "log_from", logGroups.dropsFromGuest),
  ...[...fromIp4].reverse(),
  ...[...fromArp].reverse(),
  // IPv6 stays shut until every line of the contract for it stands.
  { name: "from_ip6", rules: [refuseFrom("ip6-source")] },
  { name: "from_other", rules: [refuseFrom("vlan", VLAN), refuseFrom("ethertype")] },
  {
    name: "from_guest",
    rules: [
      rule([], [{ kind: "mark", value: 0 }], next),
      when([inSet("identity", "iif", "etherSource")], {
        kind: "dispatch",
        field: "etherType",
        cases: [
          { value: ETHER_TYPE.ip4, chain: "from_ip4" },
          { value: ETHER_TYPE.arp, chain: "from_arp" },
          { value: ETHER_TYPE.ip6, chain: "from_ip6" },
        ],
      }),
      when([inSet("identity", "iif", "etherSource")], goTo("from_other")),
      refuseFrom("mac-source", inSet("ports", "iif")),
      refuseFrom("unbound"),
    ],
  },
];

const toGuest: readonly Chain[] = [
  dropChain("drop_to", "oif", "drops_to", "log_to", logGroups.dropsToGuest),
  {
    name: "to_udp4",
    rules: [
      refuseTo("dhcp-server", is("udpDestination", 68)),
      refuseTo("dhcp-server", is("udpSource", 67)),
      when([atLeast("ip4Length", IPV4_HEADER + UDP_HEADER), atLeast("udpLength", UDP_HEADER)], accept),
      refuseTo("ip4-shape"),
    ],
  },
  {
    name: "to_ip4_own",
    rules: [
      when([masked("ip4Fragment", 0x1fff, ">=", 1)], accept),
      when([is("ip4Protocol", PROTOCOL.udp)], goTo("to_udp4")),
      when([], accept),
    ],
  },
  {
    name: "to_ip4",
    rules: [when([inSet("addr4", "oif", "ip4Destination")], goTo("to_ip4_own")), refuseTo("not-for-guest")],
  },
  {
    name: "to_arp_target",
    rules: [clean(accept, inSet("addr4", "oif", "arpTargetIp")), refuseTo("not-for-guest")],
  },
  {
    // The sender is true or nobody we know: who asks for the guest may; announcements only of the gateway and of members.
    name: "to_arp_announce",
    rules: [
      clean(accept, inSet("addr4", "oif", "arpTargetIp")),
      clean(
        accept,
        inSet("true4", "mark", "arpSenderIp", "arpSenderMac"),
        inSet("true4", "mark", "arpTargetIp", "arpSenderMac"),
      ),
      clean(accept, inSet("gateways4", "mark", "arpSenderIp"), inSet("gateways4", "mark", "arpTargetIp")),
      refuseTo("not-for-guest"),
    ],
  },
  {
    name: "to_arp_cast",
    rules: [when([BROADCAST], goTo("to_arp_announce")), when([], goTo("to_arp_target"))],
  },
  {
    name: "to_arp",
    rules: [
      rule(
        [atLeast("length", ARP_BYTES + ETHERNET_HEADER), ...ARP_SHAPE],
        [{ kind: "markFrom", key: "oif", map: "network" }],
        next,
      ),
      when(
        [
          atLeast("length", ARP_BYTES + ETHERNET_HEADER),
          ...ARP_SHAPE,
          inSet("true4", "mark", "arpSenderIp", "arpSenderMac"),
        ],
        goTo("to_arp_cast"),
      ),
      refuseTo("arp-sender", inSet("known4", "mark", "arpSenderIp")),
      when([atLeast("length", ARP_BYTES + ETHERNET_HEADER), ...ARP_SHAPE], goTo("to_arp_cast")),
      refuseTo("arp-shape"),
    ],
  },
  {
    // Its answers may be broadcast: a client without an address may not hear unicast yet (RFC 2131 section 4.1).
    name: "to_responder",
    rules: [
      clean(
        accept,
        is("etherType", ETHER_TYPE.ip4),
        is("ip4Protocol", PROTOCOL.udp),
        is("udpSource", 67),
        is("udpDestination", 68),
      ),
      refuseTo("dhcp-server"),
    ],
  },
  { name: "to_ip6", rules: [refuseTo("ip6-source")] },
  { name: "to_other", rules: [refuseTo("vlan", VLAN), refuseTo("ethertype")] },
  {
    name: "to_guest",
    rules: [
      when([is("mark", RESPONDER_MARK)], goTo("to_responder")),
      when([inSet("identity", "oif", "etherDestination")], {
        kind: "dispatch",
        field: "etherType",
        cases: [
          { value: ETHER_TYPE.ip4, chain: "to_ip4" },
          { value: ETHER_TYPE.arp, chain: "to_arp" },
          { value: ETHER_TYPE.ip6, chain: "to_ip6" },
        ],
      }),
      when([inSet("identity", "oif", "etherDestination")], goTo("to_other")),
      when([BROADCAST, is("etherType", ETHER_TYPE.arp)], goTo("to_arp")),
      refuseTo("broadcast", BROADCAST),
      refuseTo("not-for-guest", UNICAST),
      refuseTo("multicast"),
    ],
  },
];

/** Where the base chains of a port jump to. */
export const entryChains = { ingress: "from_guest", egress: "to_guest" } as const;

export const guardTable: Table = { family: "netdev", sets, chains: [...fromGuest, ...toGuest] };
