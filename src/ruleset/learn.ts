/**
 * Ports whose addresses another DHCP server gives: what they may send before that and after its end, and how the server's answers reach the agent, which alone
 * may put them on the port. No other port meets a rule of these.
 */
import {
  accept,
  atLeast,
  type Chain,
  drop,
  goTo,
  inSet,
  is,
  type Match,
  oneOf,
  type Rule,
  rule,
  type SetSpec,
  when,
} from "./ast.ts";
import { ETHER_TYPE, logGroups, NOT_FRAGMENT, PORTS, PROTOCOL, refuseFrom, refuseTo, UDP_HEADER } from "./parts.ts";
import { NETWORK } from "./to-neighbour.ts";

/** How many answers of servers one port may bring the agent: an exchange has two from each server. */
const LEASE_SHARE = { perSecond: 20, burst: 40 } as const;

export const learnSets: readonly SetSpec[] = [
  // The port has an address of the family: each element lapses with the lease, agent or no agent.
  { name: "leased4", key: ["iif"], size: PORTS, use: "lapsing" },
  { name: "leased6", key: ["iif"], size: PORTS, use: "lapsing" },
  { name: "lease_servers4", key: ["mark", "ip4Source"], size: PORTS, use: "static" },
  { name: "lease_servers6", key: ["mark", "ip6Source"], size: PORTS, use: "static" },
  { name: "lease_server_macs4", key: ["mark", "ip4Source", "etherSource"], size: PORTS, use: "static" },
  { name: "lease_server_macs6", key: ["mark", "ip6Source", "etherSource"], size: PORTS, use: "static" },
  { name: "lease_share", key: ["oif"], size: PORTS, use: "buckets" },
];

/** Where the ingress chain of such a port leads instead of to `from_guest`. It only narrows: what goes on is judged there from the first line on. */
export const fromLearner: Chain = {
  name: "from_learner",
  rules: [
    when([oneOf("etherType", ETHER_TYPE.ip4, ETHER_TYPE.arp), inSet("leased4", "iif")], goTo("from_guest")),
    when([is("etherType", ETHER_TYPE.ip6), inSet("leased6", "iif")], goTo("from_guest")),
    // Nobody's packet yet can only be a DHCP request, or it is dropped there.
    when([is("etherType", ETHER_TYPE.ip4), is("ip4Source", 0)], goTo("from_guest")),
    when([is("etherType", ETHER_TYPE.ip6), is("ip6Next", PROTOCOL.udp), is("udpDestination", 547)], goTo("from_guest")),
    // Without them no client comes to ask: whether its link-local address is free, and whether there is a router (RFC 8415 section 18.2.1).
    when(
      [is("etherType", ETHER_TYPE.ip6), is("ip6Next", PROTOCOL.icmp6), oneOf("icmp6Type", 133, 135, 136)],
      goTo("from_guest"),
    ),
    refuseFrom("no-lease", oneOf("etherType", ...Object.values(ETHER_TYPE))),
    when([], goTo("from_guest")),
  ],
};

const answer4: readonly Match[] = [
  is("ip4VersionIhl", 0x45),
  NOT_FRAGMENT,
  is("ip4Protocol", PROTOCOL.udp),
  is("udpSource", 67),
  is("udpDestination", 68),
  // BOOTREPLY, Ethernet, six octets of address, and that address is the port's own: a broadcast answer is for one port alone.
  is("dhcpHead", 0x02_01_06),
  inSet("chaddr", "oif", "dhcpChaddr"),
];
const answer6: readonly Match[] = [
  is("ip6Next", PROTOCOL.udp),
  is("udpSource", 547),
  is("udpDestination", 546),
  atLeast("udpLength", UDP_HEADER + 4),
];

/** Of the servers that the network names; for others the lines are as everywhere. */
const fromServers = (family: 4 | 6, answer: readonly Match[]): readonly Rule[] => [
  NETWORK,
  when([...answer, inSet(`lease_servers${family}`, "mark", `ip${family}Source`)], goTo("to_lease_share")),
  when(
    [...answer, inSet(`lease_server_macs${family}`, "mark", `ip${family}Source`, "etherSource")],
    goTo("to_lease_share"),
  ),
  refuseTo("dhcp-server"),
];

/** nft wants a chain defined before others lead to it. */
export const toLearner: readonly Chain[] = [
  { name: "to_lease4", rules: fromServers(4, answer4) },
  { name: "to_lease6", rules: fromServers(6, answer6) },
  {
    name: "to_lease_share",
    rules: [
      rule([inSet("observed", "oif")], [{ kind: "mark", value: 0 }], accept),
      rule(
        [],
        [
          { kind: "rate", set: "lease_share", key: "oif", ...LEASE_SHARE },
          { kind: "log", group: logGroups.leases },
        ],
        drop,
      ),
      refuseTo("rate-dhcp"),
    ],
  },
];

/** A DHCP answer, wherever on the way to a guest it turns up. */
export const LEASE_ANSWER4: Rule = when(
  [is("ip4Protocol", PROTOCOL.udp), is("udpSource", 67), is("udpDestination", 68)],
  goTo("to_lease4"),
);
