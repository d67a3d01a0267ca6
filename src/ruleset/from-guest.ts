/** What a guest may put on its port: the chains behind `from_guest` (contract section 2). */
import { accept, atLeast, below, type Chain, drop, goTo, inSet, is, masked, next, rule, when } from "./ast.ts";
import {
  ARP_BYTES,
  ARP_SHAPE,
  BROADCAST,
  dropChain,
  ETHER_TYPE,
  IPV4_HEADER,
  logGroups,
  NOT_FRAGMENT,
  PROTOCOL,
  refuseFrom,
  UDP_HEADER,
  UNICAST,
  VLAN,
} from "./parts.ts";

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

export const fromGuest: readonly Chain[] = [
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
