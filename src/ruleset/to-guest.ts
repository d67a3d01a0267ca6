/** What may reach a guest: the chains behind `to_guest` (contract section 3). */
import { accept, atLeast, type Chain, drop, goTo, inSet, is, masked, oneOf, type Rule, when, within } from "./ast.ts";
import { broutedTo, hears } from "./brouted.ts";
import { LEASE_ANSWER4, toLearner } from "./learn.ts";
import {
  BEHIND_HEADERS,
  BROADCAST,
  clean,
  dropTo,
  ETHER_TYPE,
  EXTENSION,
  ICMP6_ORDINARY,
  IPV4_HEADER,
  MULTICAST4,
  MULTICAST6,
  NOT_FRAGMENT,
  PROTOCOL,
  RESPONDER_MARK,
  refuseTo,
  UDP_HEADER,
  UNICAST,
  UNWALKED,
  VLAN,
} from "./parts.ts";
import { NETWORK, toArp, toNd } from "./to-neighbour.ts";

const OWN_MAC = inSet("macs", "oif", "etherDestination");

const toIp4: readonly Chain[] = [
  {
    name: "to_ip4",
    rules: [
      when([inSet("addr4", "oif", "ip4Destination")], goTo("to_ip4_own")),
      when([inSet("addrs4", "oif", "ip4Destination")], goTo("to_ip4_own")),
      LEASE_ANSWER4,
      refuseTo("not-for-guest"),
    ],
  },
  {
    name: "to_ip4_own",
    rules: [
      hears(4),
      when([masked("ip4Fragment", 0x1fff, ">=", 1)], accept),
      when([is("ip4Protocol", PROTOCOL.udp)], goTo("to_udp4")),
      when([], accept),
    ],
  },
  {
    name: "to_udp4",
    rules: [
      when([is("udpDestination", 67), inSet("dhcp_servers", "oif")], accept),
      when([is("udpDestination", 68)], goTo("to_lease4")),
      refuseTo("dhcp-server", is("udpSource", 67)),
      when([atLeast("ip4Length", IPV4_HEADER + UDP_HEADER), atLeast("udpLength", UDP_HEADER)], accept),
      refuseTo("ip4-shape"),
    ],
  },
  {
    name: "to_ip4_multicast",
    rules: [
      NETWORK,
      clean(accept, inSet("groups4", "mark", "ip4Destination")),
      // A querier must be able to ask (RFC 3376 section 4.1.12).
      clean(accept, inSet("multicast4", "mark"), is("ip4Protocol", PROTOCOL.igmp), is("icmpType", 0x11)),
      refuseTo("multicast"),
    ],
  },
];

const toIp6: readonly Chain[] = [
  {
    name: "to_ip6",
    rules: [
      when([is("ip6Version", 6), inSet("addr6", "oif", "ip6Destination")], goTo("to_ip6_own")),
      when([is("ip6Version", 6), inSet("addrs6", "oif", "ip6Destination")], goTo("to_ip6_own")),
      refuseTo("not-for-guest"),
    ],
  },
  {
    name: "to_ip6_own",
    rules: [
      hears(6),
      when([], {
        kind: "dispatch",
        field: "ip6Next",
        cases: [
          { value: PROTOCOL.udp, chain: "to_udp6" },
          { value: PROTOCOL.icmp6, chain: "to_icmp6" },
        ],
      }),
      when([oneOf("ip6Next", ...Object.values(EXTENSION), ...UNWALKED)], goTo("to_ext6")),
      when([], accept),
    ],
  },
  {
    name: "to_udp6",
    rules: [
      when([is("udpDestination", 547), inSet("dhcp_servers", "oif")], accept),
      when([is("udpDestination", 546)], goTo("to_lease6")),
      refuseTo("dhcp-server", is("udpSource", 547)),
      when([atLeast("ip6Length", UDP_HEADER), atLeast("udpLength", UDP_HEADER)], accept),
      refuseTo("ip6-shape"),
    ],
  },
  {
    // Nothing of the link's own business behind extension headers (RFC 6980, RFC 7113).
    name: "to_ext6",
    rules: [
      when([atLeast("ip6FragmentOffset", 1), atLeast("transport", 0)], accept),
      when([is("transport", PROTOCOL.icmp6), ICMP6_ORDINARY], accept),
      refuseTo("ip6-shape", oneOf("transport", PROTOCOL.icmp6, ...Object.values(EXTENSION), ...UNWALKED)),
      when([is("transport", PROTOCOL.udp)], goTo("to_udp6")),
      when([atLeast("transport", 0), BEHIND_HEADERS], accept),
      refuseTo("ip6-shape"),
    ],
  },
  {
    name: "to_ip6_multicast",
    rules: [
      when([is("ip6Version", 6), is("ip6Next", PROTOCOL.icmp6)], goTo("to_nd_multicast")),
      when([is("ip6Version", 6)], goTo("to_ip6_group")),
      refuseTo("multicast"),
    ],
  },
  {
    name: "to_ip6_group",
    rules: [
      NETWORK,
      clean(accept, inSet("groups6", "mark", "ip6Destination")),
      clean(
        accept,
        inSet("multicast6", "mark"),
        is("ip6Next", EXTENSION.hopByHop),
        is("transport", PROTOCOL.icmp6),
        is("icmpType", 130),
      ),
      refuseTo("multicast"),
    ],
  },
];

const answers: readonly Chain[] = [
  {
    // Its answers may be broadcast: a client without an address may not hear unicast yet (RFC 2131 section 4.1).
    name: "to_responder",
    rules: [
      // What the host announces of one guest floods the bridge, and is for the LAN.
      when([BROADCAST, is("etherType", ETHER_TYPE.arp)], drop),
      when([MULTICAST6, is("etherType", ETHER_TYPE.ip6)], drop),
      clean(
        accept,
        is("etherType", ETHER_TYPE.ip4),
        is("ip4Protocol", PROTOCOL.udp),
        is("udpSource", 67),
        is("udpDestination", 68),
      ),
      clean(accept, is("etherType", ETHER_TYPE.arp), is("arpOperation", 2), OWN_MAC),
      clean(
        accept,
        is("etherType", ETHER_TYPE.ip6),
        is("ip6Next", PROTOCOL.icmp6),
        oneOf("icmp6Type", 134, 136),
        OWN_MAC,
      ),
      clean(
        accept,
        is("etherType", ETHER_TYPE.ip6),
        is("ip6Next", PROTOCOL.udp),
        is("udpSource", 547),
        is("udpDestination", 546),
        OWN_MAC,
      ),
      // What the agent passes on of another guest's questions.
      when([BROADCAST, is("etherType", ETHER_TYPE.ip4), inSet("dhcp_servers", "oif")], goTo("to_dhcp_server")),
      // To everybody else it is nothing, and nobody's lie that would have to be counted.
      when([BROADCAST, is("etherType", ETHER_TYPE.ip4), is("udpDestination", 67)], drop),
      when([MULTICAST6, is("etherType", ETHER_TYPE.ip6), is("udpDestination", 547)], drop),
      refuseTo("dhcp-server"),
    ],
  },
  {
    // A guest that serves DHCP hears the clients of the LAN (role given by the operator).
    name: "to_dhcp_server",
    rules: [
      when(
        [
          is("ip4VersionIhl", 0x45),
          NOT_FRAGMENT,
          is("ip4Destination", 0xff_ff_ff_ff),
          is("ip4Protocol", PROTOCOL.udp),
          is("udpDestination", 67),
        ],
        accept,
      ),
      refuseTo("broadcast"),
    ],
  },
];

const byType: Rule["verdict"] = {
  kind: "dispatch",
  field: "etherType",
  cases: [
    { value: ETHER_TYPE.ip4, chain: "to_ip4" },
    { value: ETHER_TYPE.arp, chain: "to_arp" },
    { value: ETHER_TYPE.ip6, chain: "to_ip6" },
  ],
};

export const toGuest: readonly Chain[] = [
  dropTo,
  ...[...toIp4, ...toIp6, ...toNd, ...toArp, ...toLearner, ...answers, ...broutedTo].reverse(),
  {
    name: "to_over",
    rules: [refuseTo("rate-bytes", within("rate_to_packets", "oif")), refuseTo("rate-packets")],
  },
  { name: "to_other", rules: [refuseTo("vlan", VLAN), refuseTo("ethertype")] },
  {
    name: "to_guest",
    rules: [
      when([is("mark", RESPONDER_MARK)], goTo("to_responder")),
      when([OWN_MAC, within("rate_to_packets", "oif"), within("rate_to_bytes", "oif")], byType),
      when([OWN_MAC, oneOf("etherType", ...Object.values(ETHER_TYPE))], goTo("to_over")),
      when([OWN_MAC], goTo("to_other")),
      when([BROADCAST, is("etherType", ETHER_TYPE.arp)], goTo("to_arp")),
      when([BROADCAST, is("etherType", ETHER_TYPE.ip4), inSet("dhcp_servers", "oif")], goTo("to_dhcp_server")),
      when([BROADCAST, is("etherType", ETHER_TYPE.ip4), ...LEASE_ANSWER4.matches], goTo("to_lease4")),
      refuseTo("broadcast", BROADCAST),
      when([MULTICAST6, is("etherType", ETHER_TYPE.ip6)], goTo("to_ip6_multicast")),
      when([MULTICAST4, is("etherType", ETHER_TYPE.ip4)], goTo("to_ip4_multicast")),
      refuseTo("not-for-guest", UNICAST),
      refuseTo("multicast"),
    ],
  },
];
