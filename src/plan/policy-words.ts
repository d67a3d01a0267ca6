/** Services, peers and rules of security groups, and what was ruled by them, as people read it. */
import type { GroupRule, Peer, Service } from "../model/policy.ts";
import { icmpTypeName, portRangeText } from "../model/services.ts";
import type { FlowService, GivenRule, Policy } from "./policy.ts";
import type { EndRuling } from "./policy-flow.ts";
import type { Member, Members } from "./policy-members.ts";

/** Such as `tcp 80, 443, 8000-8100`, `icmp echo-request`, `everything`. */
export function serviceText(service: Service): string {
  switch (service.kind) {
    case "any":
      return "everything";
    case "tcp":
    case "udp":
      return service.ports.length === 0
        ? service.kind
        : `${service.kind} ${service.ports.map(portRangeText).join(", ")}`;
    case "icmp":
    case "icmpv6": {
      const { kind, type, code } = service;
      if (type === undefined) return kind;
      return `${kind} ${icmpTypeName(kind, type)}${code === undefined ? "" : ` code ${code}`}`;
    }
    default:
      return `protocol ${service.number}`;
  }
}

export function flowServiceText(service: FlowService): string {
  switch (service.kind) {
    case "tcp":
    case "udp":
      return `${service.kind} ${service.port}`;
    case "icmp":
    case "icmpv6":
      return `${service.kind} ${icmpTypeName(service.kind, service.type)}${service.code === 0 ? "" : ` code ${service.code}`}`;
    default:
      return `protocol ${service.number}`;
  }
}

export function peerText(peer: Peer): string {
  if (peer.kind === "group") return `group ${peer.group}`;
  if ("prefix" in peer) return peer.prefix;
  return peer.kind === "network" ? "the own network" : "any";
}

/** Such as `tcp 22 from group admin`. */
export function ruleText({ service, peer }: GroupRule, word: "from" | "to"): string {
  return `${serviceText(service)} ${word} ${peerText(peer)}`;
}

export const countText = (count: number, what: string): string => `${count} ${what}${count === 1 ? "" : "s"}`;

const groupsText = (groups: readonly string[]): string =>
  groups.length === 1 ? `group ${groups[0]}` : `groups ${groups.join(", ")}`;

/** The peer with what it comes to now. */
function peerNow(peer: Peer, everybody: string, members: Members, { network }: Member): string {
  if (peer.kind === "any") return everybody;
  if (peer.kind === "group") return `${countText(members.countOf(peer.group), "NIC")} of group ${peer.group}`;
  return peer.kind === "network" ? `network ${network}` : peerText(peer);
}

/** One sentence for each thing that is allowed, with every group that allows it. */
function ruleSentences(rules: readonly GivenRule[], says: (rule: GroupRule) => string): readonly string[] {
  const groups = new Map<string, string[]>();
  for (const { group, rule } of rules) {
    const text = says(rule);
    groups.set(text, [...(groups.get(text) ?? []), group]);
  }
  return [...groups].map(([text, from]) => `${text} (${groupsText(from)})`);
}

function ingressSentences({ groups, ingress }: Policy, members: Members, member: Member): readonly string[] {
  if (groups.length === 0) return ["in: nothing (the NIC carries no group)"];
  if (ingress.length === 0) return [`in: nothing (no rule of ${groupsText(groups)})`];
  return ruleSentences(
    ingress,
    ({ service, peer }) => `in: ${serviceText(service)} from ${peerNow(peer, "anyone", members, member)}`,
  );
}

function egressSentences({ groups, egress }: Policy, members: Members, member: Member): readonly string[] {
  if (egress.kind === "everything")
    return egress.group === undefined
      ? ["out: everything (the NIC carries no group)"]
      : [`out: everything (group ${egress.group} names no egress)`];
  if (egress.rules.length === 0) return [`out: nothing (no rule of ${groupsText(groups)})`];
  return ruleSentences(
    egress.rules,
    ({ service, peer }) => `out: ${serviceText(service)} to ${peerNow(peer, "anywhere", members, member)}`,
  );
}

/** Such as "in: tcp 80, 443 from anyone (group web)". */
export function policySentences(policy: Policy, members: Members, member: Member): readonly string[] {
  return [...ingressSentences(policy, members, member), ...egressSentences(policy, members, member)];
}

/** Why an end rules as it does. @param what such as `tcp 5432` @param other the end it would speak with, in words */
export function endSentence(ruling: EndRuling, side: "egress" | "ingress", what: string, other: string): string {
  const [direction, word] = side === "egress" ? (["out", "to"] as const) : (["in", "from"] as const);
  if (ruling.kind === "not-judged") return "no guest of this site: nothing here judges it";
  if (ruling.kind === "allowed") {
    const { by } = ruling;
    if (!("everything" in by)) return `group ${by.group} lets ${direction} ${ruleText(by.rule, word)}`;
    const why = by.group === undefined ? "it carries no group" : `group ${by.group} names no egress`;
    return `everything goes out: ${why}`;
  }
  const { groups, rules } = ruling.asked;
  if (groups.length === 0) return "it carries no group: nothing comes in";
  if (rules === 0) return `${groupsText(groups)} ${groups.length === 1 ? "lets" : "let"} nothing ${direction}`;
  const none =
    rules === 1
      ? `the one ${side} rule of ${groupsText(groups)} does not let`
      : `none of the ${rules} ${side} rules of ${groupsText(groups)} lets`;
  return `${none} ${direction} ${what} ${word} ${other}`;
}
