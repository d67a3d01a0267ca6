/**
 * The guard of the contract, from the guest and to the guest: a constant ruleset in the netdev family.
 *
 * Every port has two base chains of its own (policy drop) whose only rule jumps to `from_guest` or `to_guest`; ports are elements of sets.
 * Rules are written so that only a positive match leads on. When a packet is too short for a field, nft skips the rule (NFT_BREAK),
 * so a rule of the form "if not in the set, drop" would let a cut frame slip by; here it falls through to the drop at the end.
 */
import type { SetSpec, Table } from "./ast.ts";
import { fromGuest } from "./from-guest.ts";
import { PORTS } from "./parts.ts";
import { toGuest } from "./to-guest.ts";

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

/** Where the base chains of a port jump to. */
export const entryChains = { ingress: "from_guest", egress: "to_guest" } as const;

export const guardTable: Table = { family: "netdev", sets, chains: [...fromGuest, ...toGuest] };
