/** What one object must fulfil in itself beyond the form of its fields. */
import { isLearned, macSchemeOf } from "../model/addressing.ts";
import { isIpv6 } from "../model/ip-block.ts";
import {
  hosts4Bounds,
  type Ipv4Address,
  type Ipv4Prefix,
  type Ipv4Range,
  ipv4ToNumber,
  parsePrefix4,
  prefix4Bounds,
  prefix4Contains,
  prefix4Meets,
} from "../model/ipv4.ts";
import { isLinkLocal6, isMulticast6, parsePrefix6, prefix6Meets } from "../model/ipv6.ts";
import { isGroupMac, type MacAddress } from "../model/mac.ts";
import type { ObjectName } from "../model/names.ts";
import { unreachable } from "../model/never.ts";
import type { GroupRule, GroupSpec } from "../model/policy.ts";
import type { GuestSpec, IpBlock, NetworkSpec, NicSpec, Resource, Told } from "../model/resources.ts";
import { linkLength } from "../model/transport.ts";
import { BROUTED_GATEWAY6, HOST_PORT_MAC, isRouted, PORT_GATEWAY6 } from "../model/wiring.ts";
import { responderFaults } from "./dhcp-rules.ts";
import { type FieldPath, fieldText } from "./faults.ts";
import type { FieldFault } from "./issues.ts";
import { learnedFaults } from "./learned.ts";
import { natFaults, publicFaults } from "./nat.ts";
import { transportFaults } from "./transport.ts";

/** Prefixes no guest network can have, RFC 6890. */
const SPECIAL = [
  ["0.0.0.0/8", "means 'this network'"],
  ["127.0.0.0/8", "is loopback"],
  ["224.0.0.0/4", "is multicast"],
  ["240.0.0.0/4", "is reserved"],
] as const;

/** Why the address cannot be a machine's own; undefined when it can. */
export function notAHost(prefix: Ipv4Prefix, address: Ipv4Address): string | undefined {
  if (!prefix4Contains(prefix, address)) return `${address} is outside prefix4 ${prefix}`;
  const { first, last } = hosts4Bounds(prefix);
  const value = ipv4ToNumber(address);
  if (value < first) return `${address} is the network address of ${prefix}`;
  return value > last ? `${address} is the broadcast address of ${prefix}` : undefined;
}

export function rangeText({ first, last }: Ipv4Range): string {
  return first === last ? first : `${first}-${last}`;
}

export function rangesMeet(a: Ipv4Range, b: Ipv4Range): boolean {
  return ipv4ToNumber(a.first) <= ipv4ToNumber(b.last) && ipv4ToNumber(b.first) <= ipv4ToNumber(a.last);
}

function notAMac(mac: MacAddress): string | undefined {
  if (isGroupMac(mac)) return `${mac} is a group address: the lowest bit of its first octet must be 0`;
  return mac === "00:00:00:00:00:00" ? `${mac} is no address` : undefined;
}

function* prefixFaults({ prefix4 }: NetworkSpec): Iterable<FieldFault> {
  const field = ["spec", "prefix4"];
  const { length } = prefix4Bounds(prefix4);
  if (length < 8) yield { field, says: `${prefix4} is too large: a network is a /8 or smaller` };
  if (length === 32)
    yield { field, says: `${prefix4} has no room for a gateway and a guest: a network is a /31 or larger` };
  for (const [text, why] of SPECIAL) {
    const special = parsePrefix4(text);
    if (special !== undefined && prefix4Meets(special, prefix4))
      yield { field, says: `${prefix4} meets ${text}, which ${why}` };
  }
}

function* rangeFaults({ prefix4, range4, wiring }: NetworkSpec): Iterable<FieldFault> {
  // A pool of links has no network and broadcast address of its own.
  const isOutside = (address: Ipv4Address): string | undefined =>
    prefix4Contains(prefix4, address) ? undefined : `${address} is outside prefix4 ${prefix4}`;
  const fault = linkLength(wiring) === undefined ? (end: Ipv4Address) => notAHost(prefix4, end) : isOutside;
  for (const [n, range] of range4.entries()) {
    const field = ["spec", "range4", n];
    const why = fault(range.first) ?? fault(range.last);
    if (why !== undefined) yield { field, says: why };
    const other = range4.slice(0, n).find((earlier) => rangesMeet(range, earlier));
    if (other !== undefined)
      yield { field, says: `${rangeText(range)} overlaps ${rangeText(other)} of the same network` };
  }
}

/** Where the host routes it is the gateway, and a group ends there. */
function* routedFaults({ gatewayMac, gateway6, multicast, addressing, wiring }: NetworkSpec): Iterable<FieldFault> {
  const router = wiring.kind === "brouted" ? BROUTED_GATEWAY6 : PORT_GATEWAY6;
  const own = `the gateway on a ${wiring.kind} port is the host itself, ${HOST_PORT_MAC}, ${router}; leave it out`;
  if (gatewayMac !== undefined) yield { field: ["spec", "gatewayMac"], says: own };
  if (gateway6 !== undefined) yield { field: ["spec", "gateway6"], says: own };
  if (macSchemeOf(addressing) === "net" && isRouted(wiring) && wiring.gives === "address")
    yield {
      field: ["spec", "addressing", addressing.kind === "mac" ? "kind" : "macScheme"],
      says: "a MAC spells prefix and gateway of the network, and its guests are given their address alone; 'gives: prefix' goes with it",
    };
  if (!isLearned(addressing) && addressing.routes.length > 0)
    yield {
      field: ["spec", "addressing", "routes"],
      says: `guests of a ${wiring.kind} network have one router, which decides`,
    };
  if (multicast.length > 0)
    yield { field: ["spec", "multicast"], says: `a ${wiring.kind} network forwards no multicast; leave it out` };
}

function* wiringFaults(spec: NetworkSpec): Iterable<FieldFault> {
  const { wiring } = spec;
  switch (wiring.kind) {
    case "nat":
      yield* natFaults(spec);
      return yield* routedFaults(spec);
    case "routed":
    case "brouted":
      return yield* routedFaults(spec);
    case "transport":
      yield* routedFaults(spec);
      return yield* transportFaults(spec, wiring.link4);
    case "bridged":
      if (wiring.uplink === wiring.bridge)
        yield {
          field: ["spec", "wiring", "uplink"],
          says: `'${wiring.uplink}' is the bridge itself: name the interface towards the LAN`,
        };
      return;
    default:
      unreachable(wiring);
  }
}

function* addressingFaults(spec: NetworkSpec): Iterable<FieldFault> {
  const { addressing } = spec;
  if (isLearned(addressing)) yield* learnedFaults(spec, addressing);
  else yield* managedFaults(addressing, spec.prefix4);
}

function* managedFaults({ routes }: Told, prefix4: Ipv4Prefix): Iterable<FieldFault> {
  for (const [n, { to, via }] of routes.entries()) {
    const field = ["spec", "addressing", "routes", n];
    const why = via === "0.0.0.0" ? undefined : notAHost(prefix4, via);
    if (why !== undefined) yield { field: [...field, "via"], says: `a guest cannot reach this router: ${why}` };
    if (to === "0.0.0.0/0") yield { field: [...field, "to"], says: "the default route is gateway4 and needs no entry" };
    if (routes.findIndex((route) => route.to === to) < n)
      yield { field: [...field, "to"], says: `${to} is written twice` };
  }
}

/** Prefixes that are no unicast network of anybody's guests (RFC 4291 section 2.4). */
const SPECIAL6 = [
  ["::/8", "holds the unspecified, loopback and mapped addresses"],
  ["fe80::/10", "is link-local: every network has it"],
  ["ff00::/8", "is multicast"],
] as const;

/** RFC 8200 section 5: guests take no smaller MTU for a link with IPv6. */
const SMALLEST_MTU6 = 1280;

function* ip6Faults({ prefix6, gateway6, addressing }: NetworkSpec): Iterable<FieldFault> {
  const mtu = isLearned(addressing) ? undefined : addressing.mtu;
  if (prefix6 !== undefined && mtu !== undefined && mtu < SMALLEST_MTU6)
    yield { field: ["spec", "addressing", "mtu"], says: `IPv6 needs ${SMALLEST_MTU6} at least, not ${mtu}` };
  if (prefix6 !== undefined) {
    for (const [text, why] of SPECIAL6) {
      const special = parsePrefix6(text);
      if (special !== undefined && prefix6Meets(special, prefix6))
        yield { field: ["spec", "prefix6"], says: `${prefix6} meets ${text}, which ${why}` };
    }
    if (prefix6.endsWith("/128")) yield { field: ["spec", "prefix6"], says: `${prefix6} has no room for a guest` };
  }
  if (gateway6 === undefined) return;
  const field = ["spec", "gateway6"];
  if (prefix6 === undefined) yield { field, says: "goes with prefix6, which is not here" };
  if (!isLinkLocal6(gateway6))
    yield {
      field,
      says: `${gateway6} is not link-local: a router is known by its fe80:: address (RFC 4861 section 6.1.2)`,
    };
}

function* serviceFaults({ hostServices, multicast }: NetworkSpec): Iterable<FieldFault> {
  for (const [n, { protocol, ports }] of hostServices.entries()) {
    const field = ["spec", "hostServices", n, "ports"];
    const takesPorts = protocol === "tcp" || protocol === "udp";
    if (takesPorts && ports.length === 0) yield { field, says: `${protocol} needs its ports` };
    if (!takesPorts && ports.length > 0) yield { field, says: `ports go with tcp or udp, not with ${protocol}` };
  }
  for (const [n, group] of multicast.entries()) {
    const isGroup = isIpv6(group) ? isMulticast6(group) : /^(?:22[4-9]|23\d)\./.test(group);
    if (!isGroup) yield { field: ["spec", "multicast", n], says: `${group} is not a multicast group` };
  }
}

function* networkFaults(spec: NetworkSpec): Iterable<FieldFault> {
  yield* prefixFaults(spec);
  yield* ip6Faults(spec);
  yield* serviceFaults(spec);
  const gateway = linkLength(spec.wiring) === undefined ? notAHost(spec.prefix4, spec.gateway4) : undefined;
  if (gateway !== undefined) yield { field: ["spec", "gateway4"], says: gateway };
  const mac = spec.gatewayMac === undefined ? undefined : notAMac(spec.gatewayMac);
  if (mac !== undefined) yield { field: ["spec", "gatewayMac"], says: mac };
  yield* rangeFaults(spec);
  yield* wiringFaults(spec);
  yield* addressingFaults(spec);
  yield* responderFaults(spec);
  yield* twiceFaults(spec.groups, ["spec", "groups"]);
}

/** Rules that could never match, and rules that say again what another one said. */
function* ruleFaults(rules: readonly GroupRule[], field: FieldPath, peer: "from" | "to"): Iterable<FieldFault> {
  const seen = new Map<string, number>();
  for (const [n, rule] of rules.entries()) {
    const { service } = rule;
    if (service.kind === "icmpv6" && rule.peer.kind === "prefix4")
      yield { field: [...field, n, peer, "prefix"], says: `${rule.peer.prefix} is IPv4, and icmpv6 is IPv6's` };
    if (service.kind === "icmp" && rule.peer.kind === "prefix6")
      yield { field: [...field, n, peer, "prefix"], says: `${rule.peer.prefix} is IPv6, and icmp is IPv4's: icmpv6` };
    const key = JSON.stringify(rule);
    const first = seen.get(key);
    if (first !== undefined) yield { field: [...field, n], says: `says the same as ${fieldText([...field, first])}` };
    else seen.set(key, n);
  }
}

function* groupFaults({ ingress, egress = [] }: GroupSpec): Iterable<FieldFault> {
  yield* ruleFaults(ingress, ["spec", "ingress"], "from");
  yield* ruleFaults(egress, ["spec", "egress"], "to");
}

function* twiceFaults(groups: readonly ObjectName[], field: FieldPath): Iterable<FieldFault> {
  for (const [n, group] of groups.entries())
    if (groups.indexOf(group) < n) yield { field: [...field, n], says: `'${group}' is written twice` };
}

/** Why no guest may ever speak as it. A prefix may be as wide as the operator likes: it says what a router behind the NIC may send. */
function notASource(block: IpBlock): string | undefined {
  if (block.kind === "address4" && /^(?:0|127|22[4-9]|23\d|24\d|25[0-5])\./.test(block.address))
    return `${block.address} is no machine's own address`;
  if (block.kind === "address6" && (isMulticast6(block.address) || block.address === "::" || block.address === "::1"))
    return `${block.address} is no machine's own address`;
  return undefined;
}

function* sourceFaults({ addresses, allowedPairs }: NicSpec, n: number): Iterable<FieldFault> {
  for (const [i, block] of addresses.entries()) {
    const why = notASource(block);
    if (why !== undefined) yield { field: ["spec", "nics", n, "addresses", i], says: why };
  }
  for (const [i, { what, mac }] of allowedPairs.entries()) {
    const field = ["spec", "nics", n, "allowedPairs", i];
    const [noSource, noMac] = [notASource(what), mac === undefined ? undefined : notAMac(mac)];
    if (noSource !== undefined) yield { field: [...field, "address"], says: noSource };
    if (noMac !== undefined) yield { field: [...field, "mac"], says: noMac };
  }
}

function* guestFaults({ nics }: GuestSpec): Iterable<FieldFault> {
  for (const [n, nic] of nics.entries()) {
    const { mac } = nic;
    yield* sourceFaults(nic, n);
    const why = mac === undefined ? undefined : notAMac(mac);
    if (why !== undefined) yield { field: ["spec", "nics", n, "mac"], says: why };
    yield* twiceFaults(nic.groups, ["spec", "nics", n, "groups"]);
  }
  yield* publicFaults({ nics });
}

export function objectFaults(resource: Resource): Iterable<FieldFault> {
  switch (resource.kind) {
    case "network":
      return networkFaults(resource.spec);
    case "group":
      return groupFaults(resource.spec);
    case "guest":
      return guestFaults(resource.spec);
    default:
      return unreachable(resource);
  }
}
