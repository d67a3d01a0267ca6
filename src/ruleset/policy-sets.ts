/**
 * The sets of the service policy (ruleset/policy.ts). Sets with a protocol in front hold the prefixes of the few NICs that have them: nft takes ranges only in a
 * key of several fields the way vifguard writes them.
 */
import type { PolicyShape } from "../model/capabilities.ts";
import type { Field, SetSpec } from "./ast.ts";
import { PORTS, PROTOCOL, RANGES } from "./parts.ts";

export type PolicyFamily = "inet" | "bridge";

/** What is routed passes `inet` in any case; what is bridged too, where the bridge hands it over. */
export function familiesOf(shape: PolicyShape): readonly PolicyFamily[] {
  if (shape === "none") return [];
  return shape === "bridge" ? ["inet", "bridge"] : ["inet"];
}

/** The bridge a frame came in by. */
export const deviceOf = (family: PolicyFamily): Field => (family === "inet" ? "iifname" : "ibrname");

/** Of the whole site, as the rules below: these sets grow with it. */
const classSets: readonly SetSpec[] = [
  { name: "class4", key: ["opener4"], to: "mark", use: "static" },
  { name: "class6", key: ["opener6"], to: "mark", use: "static" },
  { name: "classes4", key: ["protocol", "opener4"], to: "mark", size: RANGES, use: "ranges" },
  { name: "classes6", key: ["protocol", "opener6"], to: "mark", size: RANGES, use: "ranges" },
];

/** Which NIC an address belongs to, by the index of its port: of stateful NICs of this host only. */
const nicSets: readonly SetSpec[] = [
  { name: "nic4", key: ["opener4"], to: "mark", size: PORTS, use: "static" },
  { name: "nic6", key: ["opener6"], to: "mark", size: PORTS, use: "static" },
  { name: "nics4", key: ["protocol", "opener4"], to: "mark", size: RANGES, use: "ranges" },
  { name: "nics6", key: ["protocol", "opener6"], to: "mark", size: RANGES, use: "ranges" },
  // The same by the packet's own addresses: before it has a connection.
  { name: "tracked4", key: ["source4"], to: "mark", size: PORTS, use: "static" },
  { name: "tracked6", key: ["source6"], to: "mark", size: PORTS, use: "static" },
  { name: "tracks4", key: ["protocol", "source4"], to: "mark", size: RANGES, use: "ranges" },
  { name: "tracks6", key: ["protocol", "source6"], to: "mark", size: RANGES, use: "ranges" },
];

/** By protocol. It is no part of the key: with ranges, nft 1.0.6 turns round the one octet, which kernels before 6.18 refuse. */
export const serviceRanges = [
  { protocol: PROTOCOL.tcp, name: "services_tcp" },
  { protocol: PROTOCOL.udp, name: "services_udp" },
  { protocol: PROTOCOL.icmp, name: "services_icmp" },
  { protocol: PROTOCOL.icmp6, name: "services_icmp6" },
] as const;

const ruleSets: readonly SetSpec[] = [
  { name: "out_pairs", key: ["flowMark", "mark"], to: "mark", use: "static" },
  { name: "out_any", key: ["mark"], to: "mark", use: "static" },
  { name: "out_ranges4", key: ["mark", "answerer4"], to: "mark", size: RANGES, use: "ranges" },
  { name: "out_ranges6", key: ["mark", "answerer6"], to: "mark", size: RANGES, use: "ranges" },
  { name: "in_pairs", key: ["flowMark", "mark"], to: "mark", use: "static" },
  { name: "in_any", key: ["flowMark"], to: "mark", use: "static" },
  { name: "in_ranges4", key: ["flowMark", "opener4"], to: "mark", size: RANGES, use: "ranges" },
  { name: "in_ranges6", key: ["flowMark", "opener6"], to: "mark", size: RANGES, use: "ranges" },
  { name: "protocols", key: ["mark", "transport"], use: "static" },
  // Of single ports, and of ranges: nearly all are single, and a range takes a thousand times longer to be taken out.
  { name: "service", key: ["mark", "transport", "service"], use: "static" },
  ...serviceRanges.map(({ name }): SetSpec => ({ name, key: ["mark", "service"], size: RANGES, use: "ranges" })),
];

const flowSets: readonly SetSpec[] = [
  { name: "flows", key: ["mark"], size: PORTS, use: "limited" },
  { name: "connections", key: ["mark"], use: "connections" },
  { name: "midstream", key: ["mark"], size: PORTS, use: "briefly" },
  { name: "watched", key: ["mark"], size: 2 * PORTS, use: "static" },
  { name: "policy_drops", key: ["mark"], size: 2 * PORTS, use: "counted" },
  { name: "log_policy", key: ["mark"], size: 2 * PORTS, use: "buckets" },
];

/** A stateful routed port stands here like a bridge of its own: what comes in by it is for the port's MAC, and what is routed to it leaves by its name. */
const bridgeSets = (family: PolicyFamily): readonly SetSpec[] => [
  { name: "bridges", key: [deviceOf(family)], size: PORTS, use: "static" },
  { name: "bridge_macs", key: [deviceOf(family), "destinationMac"], size: PORTS, use: "static" },
];

export const policySets = (family: PolicyFamily): readonly SetSpec[] => [
  ...bridgeSets(family),
  ...classSets,
  ...nicSets,
  ...ruleSets,
  ...flowSets,
];

/** Ports of stateful NICs: what the bridge forwards from or to them must have been judged, whoever switched off what. */
export const gateSets: readonly SetSpec[] = [
  { name: "stateful", key: ["iif"], size: PORTS, use: "static" },
  { name: "unjudged_from", key: ["iif"], size: PORTS, use: "counted" },
  { name: "unjudged_to", key: ["oif"], size: PORTS, use: "counted" },
  // Bridges whose netfilter calls vifguard switched on, so that an agent with no memory switches off those and no others.
  { name: "switched_on", key: ["iifname"], size: 1024, use: "notes" },
];
