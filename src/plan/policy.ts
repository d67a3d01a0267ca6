/** What a NIC's security groups come to: whose rules they are, and what each of them matches. Allow-only, so groups add up and order means nothing. */
import { blockHolds, type IpAddress, isIpv6 } from "../model/ip-block.ts";
import { prefix4Contains } from "../model/ipv4.ts";
import { isLinkLocal6, prefix6Contains } from "../model/ipv6.ts";
import type { ObjectName } from "../model/names.ts";
import { unreachable } from "../model/never.ts";
import type { GroupRule, GroupSpec, Peer, Service } from "../model/policy.ts";
import type { NetworkSpec, NicSpec } from "../model/resources.ts";

/** The groups a NIC carries: its own, or, when it names none, its network's. */
export function groupsOf(
  nic: Pick<NicSpec, "groups">,
  network: Pick<NetworkSpec, "groups"> | undefined,
): readonly ObjectName[] {
  return nic.groups.length > 0 ? nic.groups : (network?.groups ?? []);
}

/** A rule and the group it came with. */
export interface GivenRule {
  readonly group: ObjectName;
  readonly rule: GroupRule;
}

export type Egress =
  /** Because the group names no egress; without one because the NIC carries no group. */
  | { readonly kind: "everything"; readonly group?: ObjectName }
  | { readonly kind: "rules"; readonly rules: readonly GivenRule[] };

/** The effective policy of whoever carries these groups. */
export interface Policy {
  readonly groups: readonly ObjectName[];
  readonly ingress: readonly GivenRule[];
  readonly egress: Egress;
}

function egressOf(names: readonly ObjectName[], groups: ReadonlyMap<ObjectName, GroupSpec>): Egress {
  if (names.length === 0) return { kind: "everything" };
  const free = names.find((group) => groups.has(group) && groups.get(group)?.egress === undefined);
  if (free !== undefined) return { kind: "everything", group: free };
  const rules = names.flatMap((group) => (groups.get(group)?.egress ?? []).map((rule) => ({ group, rule })));
  return { kind: "rules", rules };
}

/** A group that is not there gives nothing: not even the freedom of one that names no egress. */
export function policyOf(names: readonly ObjectName[], groups: ReadonlyMap<ObjectName, GroupSpec>): Policy {
  const ingress = names.flatMap((group) => (groups.get(group)?.ingress ?? []).map((rule) => ({ group, rule })));
  return { groups: names, ingress, egress: egressOf(names, groups) };
}

const isEverything = ({ service, peer }: GroupRule): boolean => service.kind === "any" && peer.kind === "any";
const isAll = ({ rule }: GivenRule): boolean => isEverything(rule);

/** Whether everything may come in from anyone and go out to anyone: such a NIC needs no connection tracking. */
export function isOpen({ ingress, egress }: Policy): boolean {
  return ingress.some(isAll) && (egress.kind === "everything" || egress.rules.some(isAll));
}

/** The same for whoever carries these groups, without gathering their rules: asked of every NIC again and again. */
export function areOpen(names: readonly ObjectName[], groups: ReadonlyMap<ObjectName, GroupSpec>): boolean {
  const specs = names.flatMap((name) => groups.get(name) ?? []);
  return (
    specs.some(({ ingress }) => ingress.some(isEverything)) &&
    specs.some(({ egress }) => egress === undefined || egress.some(isEverything))
  );
}

/** What one flow is opened to. */
export type FlowService =
  | { readonly kind: "tcp" | "udp"; readonly port: number }
  | { readonly kind: "icmp" | "icmpv6"; readonly type: number; readonly code: number }
  | { readonly kind: "protocol"; readonly number: number };

export function serviceMatches(service: Service, flow: FlowService): boolean {
  switch (service.kind) {
    case "any":
      return true;
    case "tcp":
    case "udp":
      if (flow.kind !== service.kind) return false;
      return (
        service.ports.length === 0 || service.ports.some(({ first, last }) => first <= flow.port && flow.port <= last)
      );
    case "icmp":
    case "icmpv6":
      if (flow.kind !== service.kind) return false;
      if (service.type !== undefined && service.type !== flow.type) return false;
      return service.code === undefined || service.code === flow.code;
    case "protocol":
      return flow.kind === "protocol" && flow.number === service.number;
    default:
      return unreachable(service);
  }
}

/** The other end, as a rule looks at it. */
export interface PeerView {
  readonly address: IpAddress;
  /** Carried by whoever may have the address, anywhere in the site. */
  readonly groups: ReadonlySet<ObjectName>;
}

/** Whether an address is inside one of the prefixes of the network; where it has IPv6, every link-local address is (RFC 4291 section 2.5.6). */
export function isOfNetwork(
  { prefix4, prefix6 }: Pick<NetworkSpec, "prefix4" | "prefix6">,
  address: IpAddress,
): boolean {
  if (isIpv6(address)) return prefix6 !== undefined && (prefix6Contains(prefix6, address) || isLinkLocal6(address));
  return prefix4Contains(prefix4, address);
}

/** @param networks the judged NIC's own */
export function peerMatches(
  peer: Peer,
  { address, groups }: PeerView,
  networks: readonly Pick<NetworkSpec, "prefix4" | "prefix6">[],
): boolean {
  switch (peer.kind) {
    case "any":
      return true;
    case "network":
      return networks.some((network) => isOfNetwork(network, address));
    case "group":
      return groups.has(peer.group);
    case "prefix4":
    case "prefix6":
      return blockHolds(peer, address);
    default:
      return unreachable(peer);
  }
}
