/** What the chains of the service policy are made of: lookups of NICs and classes, and how a packet is refused, counted and sampled. */
import {
  type Chain,
  drop,
  type Field,
  goTo,
  inSet,
  jumpTo,
  next,
  type Rule,
  rule,
  type Statement,
  when,
} from "./ast.ts";
import { logGroups, sampled } from "./parts.ts";

/** "Judged and let by" ("vfgp"): the bridge's gate lets stateful ports pass nothing else. */
export const POLICED_MARK = 0x76_66_67_70;
/** The number of the set of services that holds everything. */
export const EVERYTHING = 1;
/** Labels of connections: judged from their first packet on; first seen in their middle. */
export const OPENED_HERE = 96;
export const MIDSTREAM = 97;
/** Where Linux begins to take ports for flows it opens (net.ipv4.ip_local_port_range); others begin higher (RFC 6335 section 6: 49152). */
export const EPHEMERAL = 32_768;
/** The tag of a refusal stands above the NIC's index in the mark. */
export const TAG_SHIFT = 24;

export const mapped = (map: string, ...key: readonly Field[]): Statement => ({ kind: "markFrom", key, map });
export const flowMapped = (map: string, ...key: readonly Field[]): Statement => ({ kind: "flowMarkFrom", key, map });
export const marked = (value: number): Statement => ({ kind: "mark", value });

/** The names of sets of single addresses and of prefixes, each for both families. */
export type AddressSets = readonly [readonly [string, string], readonly [string, string]];

/** One address, and whole prefixes; of either family. A rule whose address is of the other family is skipped. */
export const lookups = (
  [one, many]: AddressSets,
  four: Field,
  six: Field,
): readonly (readonly [string, ...Field[]])[] => [
  [one[0], four],
  [one[1], six],
  [many[0], "protocol", four],
  [many[1], "protocol", six],
];

export const NIC = [
  ["nic4", "nic6"],
  ["nics4", "nics6"],
] as const;
export const CLASS = [
  ["class4", "class6"],
  ["classes4", "classes6"],
] as const;
export const TRACKED = [
  ["tracked4", "tracked6"],
  ["tracks4", "tracks6"],
] as const;

/** Why the service policy refuses, by what it means for a NIC; part of the mark of what is counted and sampled. */
export const policyTags = {
  "policy-egress": 1,
  "policy-ingress": 2,
  "limit-from": 3,
  "limit-to": 4,
  "rate-from": 5,
  "stray-from": 6,
  "stray-to": 7,
} as const;
export type PolicyTag = keyof typeof policyTags;

const tagged = (tag: PolicyTag): Statement => ({ kind: "markAlso", value: policyTags[tag] * 2 ** TAG_SHIFT });

export const tell: Chain = {
  name: "policy_tell",
  rules: [
    rule([], [{ kind: "count", set: "policy_drops", key: ["mark"] }], next),
    sampled("log_policy", "mark", logGroups.policy),
    when([inSet("watched", "mark")], goTo("policy_passed")),
    when([], drop),
  ],
};

const toldAs = (tag: PolicyTag): Rule => rule([], [tagged(tag)], goTo("policy_tell"));

/** Counts against the NIC in the mark, samples, drops. */
export const refusalOfMarked = (name: string, tag: PolicyTag): Chain => ({ name, rules: [toldAs(tag)] });

/** The same against the NIC of one end of the flow. */
export const refusal = (name: string, end: string, tag: PolicyTag): Chain => ({
  name,
  rules: [when([], jumpTo(end)), toldAs(tag)],
});
