/** IPv4 of a guest (contract section 2), up to where it may go, which `from-end.ts` judges. */
import { accept, atLeast, type Chain, drop, goTo, inSet, is, masked, oneOf, type Rule, rule, when } from "./ast.ts";
import { fromDest, fromTcp } from "./from-either.ts";
import {
  BROADCAST,
  clean,
  IPV4_HEADER,
  logGroups,
  MULTICAST4,
  NOT_FRAGMENT,
  PROTOCOL,
  ROUTING_PORTS,
  ROUTING_PROTOCOLS,
  refuseFrom,
  UDP_HEADER,
  UNICAST4,
  withinShare,
} from "./parts.ts";

const OWN_SOURCE = inSet("addr4", "iif", "ip4Source");
const PLAIN = is("ip4VersionIhl", 0x45);

const byProtocol: Rule["verdict"] = {
  kind: "dispatch",
  field: "ip4Protocol",
  cases: [
    { value: PROTOCOL.tcp, chain: "from_tcp4" },
    { value: PROTOCOL.udp, chain: "from_udp4" },
    { value: PROTOCOL.igmp, chain: "from_igmp" },
  ],
};

export const fromIp4: readonly Chain[] = [
  {
    name: "from_ip4",
    rules: [
      // The ordinary packet in one rule: own source, no options, no fragment. It saves three chains; those below judge the rest by the same lines.
      when([OWN_SOURCE, PLAIN, NOT_FRAGMENT], {
        kind: "dispatch",
        field: "ip4Protocol",
        cases: [
          { value: PROTOCOL.tcp, chain: "from_tcp4" },
          { value: PROTOCOL.icmp, chain: "from_dest4" },
          { value: PROTOCOL.udp, chain: "from_udp4" },
        ],
      }),
      when([OWN_SOURCE], goTo("from_ip4_own")),
      when(
        [
          PLAIN,
          is("ip4Source", 0),
          is("ip4Destination", 0xff_ff_ff_ff),
          BROADCAST,
          NOT_FRAGMENT,
          is("ip4Protocol", PROTOCOL.udp),
          is("udpDestination", 67),
        ],
        goTo("from_dhcp4"),
      ),
      when([inSet("addrs4", "iif", "ip4Source")], goTo("from_ip4_own")),
      refuseFrom("ip4-source"),
      when([], goTo("from_ip4_own")),
    ],
  },
  {
    name: "from_ip4_own",
    rules: [
      when([PLAIN], goTo("from_ip4_fragment")),
      // Router alert is for IGMP alone (RFC 2113, RFC 3376 section 4).
      when(
        [is("ip4VersionIhl", 0x46), is("ip4Option", 0x94_04_00_00), is("ip4Protocol", PROTOCOL.igmp)],
        goTo("from_igmp"),
      ),
      refuseFrom("ip4-shape"),
      when([], goTo("from_ip4_transport")),
    ],
  },
  {
    name: "from_ip4_fragment",
    rules: [
      when([NOT_FRAGMENT], goTo("from_ip4_transport")),
      // The smallest MTU is 68 (RFC 791), so a first fragment that is shorter only hides the transport header (RFC 1858).
      when([masked("ip4Fragment", 0x1fff, "==", 0), atLeast("ip4Length", 68)], goTo("from_ip4_transport")),
      // Offset 1 overlaps the transport header of the first fragment (RFC 3128).
      when([masked("ip4Fragment", 0x1fff, ">=", 2)], goTo("from_dest4")),
      refuseFrom("ip4-shape"),
      when([], goTo("from_dest4")),
    ],
  },
  {
    name: "from_ip4_transport",
    rules: [
      when([], byProtocol),
      refuseFrom("routing", UNICAST4, oneOf("ip4Protocol", ...ROUTING_PROTOCOLS)),
      when([], goTo("from_dest4")),
    ],
  },
  {
    name: "from_igmp",
    rules: [
      when(
        [MULTICAST4, oneOf("icmpType", 0x12, 0x16, 0x17), inSet("groups4", "mark", "igmpGroup")],
        goTo("from_multicast"),
      ),
      // A version 3 report names its groups in a list; without traffic for groups that are not allowed it joins nothing (RFC 3376 section 4.2).
      when(
        [MULTICAST4, is("icmpType", 0x22), is("ip4Destination", 0xe0_00_00_16), inSet("multicast4", "mark")],
        goTo("from_multicast"),
      ),
      refuseFrom("multicast"),
      when([], goTo("from_multicast")),
    ],
  },
  ...fromTcp(4),
  {
    name: "from_udp4",
    rules: [
      when([is("udpSource", 67), inSet("dhcp_servers", "iif")], goTo("from_udp4_whole")),
      refuseFrom("dhcp-server", is("udpSource", 67)),
      when([is("udpDestination", 67)], goTo("from_dhcp4")),
      when([], goTo("from_udp4_whole")),
    ],
  },
  {
    name: "from_udp4_whole",
    rules: [
      refuseFrom("routing", UNICAST4, ROUTING_PORTS),
      // Behind a short packet stand the padding octets of the frame, which nft reads as if they belonged to it.
      when([atLeast("ip4Length", IPV4_HEADER + UDP_HEADER), atLeast("udpLength", UDP_HEADER)], goTo("from_dest4")),
      refuseFrom("ip4-shape"),
      when([], goTo("from_dest4")),
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
        goTo("from_dhcp_rate"),
      ),
      refuseFrom("dhcp-client"),
    ],
  },
  {
    // Both families. Somebody else's server answers a port that is only observed.
    name: "from_dhcp_rate",
    rules: [clean(accept, inSet("observed", "iif")), ...withinShare("rate_dhcp", "rate-dhcp", goTo("from_dhcp_log"))],
  },
  { name: "from_dhcp_log", rules: [rule([], [{ kind: "log", group: logGroups.dhcp }], drop)] },
  fromDest(4),
];
