/**
 * The guard of the contract, from the guest and to the guest: a constant ruleset in the netdev family.
 *
 * Every port has two base chains of its own (policy drop) whose only rule jumps to `from_guest` or `to_guest`; ports are elements of sets.
 * Rules are written so that only a positive match leads on. When a packet is too short for a field, nft skips the rule (NFT_BREAK),
 * so a rule of the form "if not in the set, drop" would let a cut frame slip by; here it falls through to the drop at the end.
 */
import type { SetSpec, Table } from "./ast.ts";
import { broutedSets } from "./brouted.ts";
import { fromGuest } from "./from-guest.ts";
import { fromLearner, learnSets } from "./learn.ts";
import { NEIGHBOURS, PORTS, RANGES } from "./parts.ts";
import { toGuest } from "./to-guest.ts";

/** Who a port is. */
const identity: readonly SetSpec[] = [
  { name: "ports", key: ["iif"], size: PORTS, use: "static" },
  { name: "macs", key: ["iif", "etherSource"], size: 2 * PORTS, use: "static" },
  { name: "identity", key: ["iif", "etherSource"], to: "mark", size: 2 * PORTS, use: "limited" },
  { name: "network", key: ["iif"], to: "mark", size: PORTS, use: "static" },
  { name: "chaddr", key: ["iif", "dhcpChaddr"], size: PORTS, use: "static" },
  { name: "bind4", key: ["iif", "arpSenderMac", "arpSenderIp"], size: 4 * PORTS, use: "static" },
  { name: "addr4", key: ["iif", "ip4Source"], size: 4 * PORTS, use: "static" },
  // Of ports that are links of their own: who else is on it.
  { name: "link_gateways", key: ["iif", "arpTargetIp"], size: PORTS, use: "static" },
  { name: "addr6", key: ["iif", "ip6Source"], size: 4 * PORTS, use: "static" },
  { name: "linklocal6", key: ["iif", "ip6Source"], size: 2 * PORTS, use: "static" },
  // Prefixes of the few NICs that have them: ranges are dear to change, so they stand apart.
  { name: "binds4", key: ["iif", "arpSenderMac", "arpSenderIp"], size: RANGES, use: "ranges" },
  { name: "addrs4", key: ["iif", "ip4Source"], size: RANGES, use: "ranges" },
  { name: "addrs6", key: ["iif", "ip6Source"], size: RANGES, use: "ranges" },
];

/** What the operator gave or took from a port. */
const exceptions: readonly SetSpec[] = [
  { name: "dhcp_servers", key: ["iif"], size: PORTS, use: "static" },
  { name: "ra_senders", key: ["iif"], size: PORTS, use: "static" },
  { name: "sharers", key: ["iif"], size: PORTS, use: "static" },
  { name: "observed", key: ["iif"], size: PORTS, use: "static" },
  { name: "unchecked", key: ["iif", "mark"], size: 8 * PORTS, use: "static" },
];

/** What is true in a network; its number is the mark. Members are those of the whole site: their sets grow with it. */
const networks: readonly SetSpec[] = [
  { name: "prefix4", key: ["mark", "arpTargetIp"], size: RANGES, use: "ranges" },
  { name: "known4", key: ["mark", "arpSenderIp"], use: "static" },
  { name: "true4", key: ["mark", "arpSenderIp", "arpSenderMac"], use: "static" },
  { name: "known6", key: ["mark", "ip6Source"], use: "static" },
  { name: "true6", key: ["mark", "ip6Source", "etherSource"], use: "static" },
  { name: "gateways4", key: ["mark", "arpSenderIp"], size: PORTS, use: "static" },
  { name: "gateways6", key: ["mark", "ip6Source"], size: PORTS, use: "static" },
  { name: "routers", key: ["mark", "etherDestination"], size: PORTS, use: "static" },
  { name: "routers6", key: ["mark", "ip6Source"], size: PORTS, use: "static" },
  { name: "groups4", key: ["mark", "ip4Destination"], size: PORTS, use: "static" },
  { name: "groups6", key: ["mark", "ip6Destination"], size: PORTS, use: "static" },
  { name: "multicast4", key: ["mark"], size: PORTS, use: "static" },
  { name: "multicast6", key: ["mark"], size: PORTS, use: "static" },
  { name: "host_services", key: ["mark", "transport", "udpDestination"], size: PORTS, use: "static" },
  { name: "host_protocols", key: ["mark", "transport"], size: PORTS, use: "static" },
  { name: "host_echo", key: ["mark"], size: PORTS, use: "static" },
  { name: "answers4", key: ["mark", "arpTargetIp"], size: 8 * PORTS, use: "static" },
  { name: "answers6", key: ["mark", "ndTarget"], size: 8 * PORTS, use: "static" },
  // Routed networks: whoever is asked for is reached by the host.
  { name: "answers_all6", key: ["mark"], size: PORTS, use: "static" },
  // The host is the router, and remembers who asked it.
  { name: "routing", key: ["mark"], size: PORTS, use: "static" },
  { name: "suppress", key: ["mark"], size: PORTS, use: "beats" },
];

/** Shares of a port; packets have theirs in `identity`. */
const shares: readonly SetSpec[] = [
  { name: "rate_arp", key: ["iif"], size: PORTS, use: "limited" },
  { name: "rate_nd", key: ["iif"], size: PORTS, use: "limited" },
  { name: "rate_dhcp", key: ["iif"], size: PORTS, use: "limited" },
  { name: "rate_multicast", key: ["iif"], size: PORTS, use: "limited" },
  { name: "rate_syn", key: ["iif"], size: PORTS, use: "limited" },
  { name: "rate_bytes", key: ["iif"], size: PORTS, use: "limitedBytes" },
  { name: "rate_to_packets", key: ["oif"], size: PORTS, use: "limited" },
  { name: "rate_to_bytes", key: ["oif"], size: PORTS, use: "limitedBytes" },
];

/** What the rules write themselves. */
const written: readonly SetSpec[] = [
  { name: "gateway_macs", key: ["mark", "etherDestination"], size: PORTS, use: "learned" },
  { name: "resolved4", key: ["iif", "ip4Destination", "etherDestination"], size: NEIGHBOURS, use: "learned" },
  { name: "resolved6", key: ["iif", "ip6Destination", "etherDestination"], size: NEIGHBOURS, use: "learned" },
  { name: "behind_share", key: ["iif"], size: PORTS, use: "buckets" },
  { name: "learn_share", key: ["oif"], size: PORTS, use: "buckets" },
  { name: "drops_from", key: ["iif", "mark"], size: 8 * PORTS, use: "counted" },
  { name: "drops_to", key: ["oif", "mark"], size: 8 * PORTS, use: "counted" },
  { name: "log_from", key: ["iif"], size: PORTS, use: "buckets" },
  { name: "log_to", key: ["oif"], size: PORTS, use: "buckets" },
];

/** Where the base chains of a port jump to; `learner`: the ingress chain of one whose addresses are learned. */
export const entryChains = { ingress: "from_guest", egress: "to_guest", learner: "from_learner" } as const;

export const guardTable: Table = {
  family: "netdev",
  sets: [...identity, ...exceptions, ...networks, ...shares, ...learnSets, ...written, ...broutedSets],
  chains: [...fromGuest, fromLearner, ...toGuest],
};
