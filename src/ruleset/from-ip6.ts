/** IPv6 of a guest but for neighbour discovery (contract section 2: source, DHCPv6, extension headers, multicast, destination MAC). */
import { atLeast, type Chain, goTo, inSet, is, oneOf, type Rule, routingHeader, when } from "./ast.ts";
import { fromDest, fromTcp } from "./from-either.ts";
import {
  BEHIND_HEADERS,
  EXTENSION,
  ICMP6_ORDINARY,
  MULTICAST6,
  PROTOCOL,
  ROUTING_PORTS,
  ROUTING_PROTOCOLS,
  refuseFrom,
  UDP_HEADER,
  UNICAST6,
  UNWALKED,
} from "./parts.ts";

const VERSION = is("ip6Version", 6);
const OWN_SOURCE = inSet("addr6", "iif", "ip6Source");

const byProtocol: Rule["verdict"] = {
  kind: "dispatch",
  field: "ip6Next",
  cases: [
    { value: PROTOCOL.tcp, chain: "from_tcp6" },
    { value: PROTOCOL.udp, chain: "from_udp6" },
    { value: PROTOCOL.icmp6, chain: "from_icmp6" },
  ],
};

/** MLD has the router alert in eight octets of hop-by-hop options and nothing else before it (RFC 2710 section 3, RFC 3810 section 5). */
const MLD_HEADERS = [
  is("ip6Next", EXTENSION.hopByHop),
  is("ip6ExtensionHead", 0x3a00),
  is("transport", PROTOCOL.icmp6),
];
const REPORT = oneOf("icmpType", 131, 132, 143);

export const fromIp6: readonly Chain[] = [
  {
    name: "from_ip6",
    rules: [
      when([VERSION, OWN_SOURCE], byProtocol),
      when([VERSION, OWN_SOURCE], goTo("from_ip6_other")),
      when([VERSION, is("ip6Source", 0)], goTo("from_ip6_nobody")),
      when([VERSION, inSet("addrs6", "iif", "ip6Source")], goTo("from_ip6_own")),
      refuseFrom("ip6-source", VERSION, atLeast("ip6DestinationTop", 0)),
      when([VERSION, atLeast("ip6DestinationTop", 0)], goTo("from_ip6_own")),
      refuseFrom("ip6-shape"),
    ],
  },
  { name: "from_ip6_own", rules: [when([], byProtocol), when([], goTo("from_ip6_other"))] },
  {
    name: "from_ip6_other",
    rules: [
      when([oneOf("ip6Next", ...Object.values(EXTENSION), ...UNWALKED)], goTo("from_ext6")),
      refuseFrom("routing", UNICAST6, oneOf("ip6Next", ...ROUTING_PROTOCOLS)),
      when([atLeast("transport", 0), BEHIND_HEADERS], goTo("from_dest6")),
      when([], goTo("from_ext6_bad")),
    ],
  },
  {
    // Without an address yet: asks whether its own is free (RFC 4862 section 5.4), and joins groups (RFC 3590).
    name: "from_ip6_nobody",
    rules: [
      when([is("ip6Next", PROTOCOL.icmp6), is("icmp6Type", 135)], goTo("from_dad")),
      when([...MLD_HEADERS, REPORT], goTo("from_mld")),
      refuseFrom("ip6-source"),
    ],
  },
  {
    /**
     * A header chain the kernel could walk to its end, without source routes, and nothing of the link's own business behind it (RFC 6980, RFC 7113).
     * The source-routing types are what IPv4's source-route options are: ways the guard cannot see (RFC 5095).
     */
    name: "from_ext6",
    rules: [
      when([routingHeader], goTo("from_ext6_bad")),
      when([oneOf("ip6Next", ...UNWALKED)], goTo("from_ext6_bad")),
      when([...MLD_HEADERS, oneOf("icmpType", 130, 131, 132, 143)], goTo("from_mld")),
      // A later fragment that could write over a TCP header (20 octets) is refused, as with IPv4.
      when([atLeast("ip6FragmentOffset", 3), atLeast("transport", 0)], goTo("from_dest6")),
      when([atLeast("ip6FragmentOffset", 1)], goTo("from_ext6_bad")),
      when([is("transport", PROTOCOL.icmp6), ICMP6_ORDINARY], goTo("from_dest6")),
      when([oneOf("transport", PROTOCOL.icmp6, ...Object.values(EXTENSION), ...UNWALKED)], goTo("from_ext6_bad")),
      when([is("transport", PROTOCOL.tcp)], goTo("from_tcp6")),
      when([is("transport", PROTOCOL.udp)], goTo("from_udp6")),
      refuseFrom("routing", UNICAST6, oneOf("transport", ...ROUTING_PROTOCOLS)),
      when([atLeast("transport", 0), BEHIND_HEADERS], goTo("from_dest6")),
      when([], goTo("from_ext6_bad")),
    ],
  },
  { name: "from_ext6_bad", rules: [refuseFrom("ip6-shape"), when([], goTo("from_dest6"))] },
  {
    name: "from_mld",
    rules: [
      when([MULTICAST6, oneOf("icmpType", 131, 132), inSet("groups6", "mark", "mldGroup")], goTo("from_multicast")),
      // Version 2 names its groups in a list; without traffic for groups that are not allowed it joins nothing (RFC 3810 section 5.2).
      when(
        [
          MULTICAST6,
          is("icmpType", 143),
          is("ip6Destination", 0xff02_0000_0000_0000_0000_0000_0000_0016n),
          inSet("multicast6", "mark"),
        ],
        goTo("from_multicast"),
      ),
      refuseFrom("multicast"),
      when([], goTo("from_multicast")),
    ],
  },
  ...fromTcp(6),
  {
    name: "from_udp6",
    rules: [
      when([oneOf("udpSource", 547), inSet("dhcp_servers", "iif")], goTo("from_udp6_whole")),
      refuseFrom("dhcp-server", is("udpSource", 547)),
      refuseFrom("dhcp-server", is("udpDestination", 546)),
      when([is("udpDestination", 547)], goTo("from_dhcp6")),
      when([], goTo("from_udp6_whole")),
    ],
  },
  {
    name: "from_udp6_whole",
    rules: [
      refuseFrom("routing", UNICAST6, ROUTING_PORTS),
      when([atLeast("ip6Length", UDP_HEADER), atLeast("udpLength", UDP_HEADER)], goTo("from_dest6")),
      refuseFrom("ip6-shape"),
      when([], goTo("from_dest6")),
    ],
  },
  {
    // From the link-local address to all servers, with nothing in between (RFC 8415 sections 7.1, 13.1): answered on the port, and never further.
    name: "from_dhcp6",
    rules: [
      when(
        [
          is("ip6Next", PROTOCOL.udp),
          is("udpSource", 546),
          inSet("linklocal6", "iif", "ip6Source"),
          is("ip6Destination", 0xff02_0000_0000_0000_0000_0000_0001_0002n),
          is("etherDestination", 0x33_33_00_01_00_02),
          atLeast("udpLength", UDP_HEADER + 4),
        ],
        goTo("from_dhcp_rate"),
      ),
      refuseFrom("dhcp-client"),
    ],
  },
  fromDest(6),
];
