/** Whether a flow may be opened (contract section 4): both ends are asked, each by the groups of whoever may have its address. */
import type { IpAddress } from "../model/ip-block.ts";
import type { ObjectName } from "../model/names.ts";
import type { Reason } from "../model/reasons.ts";
import { wireOf } from "../model/wiring.ts";
import { type FlowService, type GivenRule, type PeerView, peerMatches, policyOf, serviceMatches } from "./policy.ts";
import { groupsAt, type Member, type Members } from "./policy-members.ts";

/** One end. An address that several NICs may have is judged by the groups of all of them; without NICs nothing here judges it. */
export interface FlowEnd {
  readonly address: IpAddress;
  readonly nics: readonly Member[];
}

export interface Flow {
  readonly from: FlowEnd;
  readonly to: FlowEnd;
  readonly service: FlowService;
}

export type EndRuling =
  | { readonly kind: "not-judged" }
  | { readonly kind: "allowed"; readonly by: GivenRule | EverythingOut }
  | {
      readonly kind: "dropped";
      readonly reason: Extract<Reason, "policy-egress" | "policy-ingress">;
      readonly asked: Asked;
    };

/** A group that names no egress, or a NIC that carries no group. */
export interface EverythingOut {
  readonly everything: true;
  readonly group?: ObjectName;
}

/** Of which groups how many rules were asked in vain. */
export interface Asked {
  readonly groups: readonly ObjectName[];
  readonly rules: number;
}

export interface FlowRuling {
  readonly egress: EndRuling;
  readonly ingress: EndRuling;
}

const viewOf = (members: Members, { address }: FlowEnd): PeerView => ({ address, groups: groupsAt(members, address) });

function judgeEnd(
  members: Members,
  side: "egress" | "ingress",
  { nics }: FlowEnd,
  peer: PeerView,
  service: FlowService,
): EndRuling {
  if (nics.length === 0) return { kind: "not-judged" };
  const groups = [...new Set(nics.flatMap((nic) => nic.groups))];
  const policy = policyOf(groups, members.site.groups);
  if (side === "egress" && policy.egress.kind === "everything") {
    const { group } = policy.egress;
    return { kind: "allowed", by: { everything: true, ...(group === undefined ? {} : { group }) } };
  }
  const rules = side === "ingress" ? policy.ingress : policy.egress.kind === "rules" ? policy.egress.rules : [];
  const networks = nics.map(({ networkSpec }) => networkSpec);
  const by = rules.find(({ rule }) => serviceMatches(rule.service, service) && peerMatches(rule.peer, peer, networks));
  if (by !== undefined) return { kind: "allowed", by };
  const reason = side === "egress" ? "policy-egress" : "policy-ingress";
  return { kind: "dropped", reason, asked: { groups, rules: rules.length } };
}

export function judgeFlow(members: Members, { from, to, service }: Flow): FlowRuling {
  return {
    egress: judgeEnd(members, "egress", from, viewOf(members, to), service),
    ingress: judgeEnd(members, "ingress", to, viewOf(members, from), service),
  };
}

/** Where one address is one machine: on a bridge, or wherever the host routes, whatever the networks on it are called. */
const bridgeOf = ({ networkSpec }: Member): string => wireOf(networkSpec.wiring);

/** The end that a NIC is when it speaks with one of its addresses. */
export function nicEnd(members: Members, nic: Member, address: IpAddress): FlowEnd {
  const others = members.holders(address).filter((other) => other !== nic && bridgeOf(other) === bridgeOf(nic));
  return { address, nics: [nic, ...others] };
}

/**
 * The end that an address is, seen from the NICs at the other end: whoever has it on their bridge, else whoever has it elsewhere.
 * undefined when it is several machines, each on a bridge of its own.
 */
export function addressEnd(members: Members, address: IpAddress, seenFrom: readonly Member[]): FlowEnd | undefined {
  const holders = members.holders(address);
  const bridges = new Set(seenFrom.map(bridgeOf));
  const near = holders.filter((holder) => bridges.has(bridgeOf(holder)));
  const nics = near.length > 0 ? near : holders;
  return new Set(nics.map(bridgeOf)).size > 1 ? undefined : { address, nics };
}
