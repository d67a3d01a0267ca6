/** The effective policy of a NIC, as `describe` shows it. */
import { ratesOf } from "../model/rates.ts";
import { isOpen, policyOf } from "./policy.ts";
import type { Member, Members } from "./policy-members.ts";
import { policySentences } from "./policy-words.ts";

export interface NicPolicyView {
  readonly groups: readonly string[];
  /** Whether the groups are the NIC's own or its network's. */
  readonly groupsFrom: "NIC" | "network";
  /** open: everything in and out, nothing is tracked. */
  readonly state: "open" | "stateful";
  readonly rules: readonly string[];
  readonly limits: readonly string[];
}

const shareText = (
  what: string,
  { perSecond, burst }: { readonly perSecond: number; readonly burst: number },
): string => `${perSecond} ${what} a second, ${burst} at once`;

function limitsOf({ spec, networkSpec }: Member, open: boolean): readonly string[] {
  const rates = ratesOf(networkSpec.rates, spec.rates);
  const connections = spec.connections ?? networkSpec.connections;
  return [
    open ? "no connections are tracked" : `${connections} tracked connections`,
    shareText(open ? "new TCP flows" : "new flows", rates.syn),
    shareText("packets from the guest", rates.packets),
    shareText("octets from the guest", rates.bytes),
    shareText("packets to the guest", rates.toGuestPackets),
    shareText("octets to the guest", rates.toGuestBytes),
  ];
}

export function nicPolicyView(members: Members, member: Member): NicPolicyView {
  const policy = policyOf(member.groups, members.site.groups);
  // What is translated is tracked, and judged, whatever its groups allow.
  const open = isOpen(policy) && member.networkSpec.wiring.kind !== "nat";
  return {
    groups: member.groups,
    groupsFrom: member.spec.groups.length > 0 ? "NIC" : "network",
    state: open ? "open" : "stateful",
    rules: policySentences(policy, members, member),
    limits: limitsOf(member, open),
  };
}
