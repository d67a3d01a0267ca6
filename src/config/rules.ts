/** What one object must fulfil in itself beyond the form of its fields. */
import {
  hosts4Bounds,
  type Ipv4Address,
  type Ipv4Prefix,
  type Ipv4Range,
  ipv4ToNumber,
  parsePrefix4,
  prefix4Bounds,
  prefix4Contains,
} from "../model/ipv4.ts";
import { isGroupMac, type MacAddress } from "../model/mac.ts";
import { unreachable } from "../model/never.ts";
import type { Addressing, GroupRule, GroupSpec, GuestSpec, NetworkSpec, Resource, Wiring } from "../model/resources.ts";
import type { FieldFault } from "./issues.ts";

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
  const { first, last, length } = prefix4Bounds(prefix4);
  if (length < 8) yield { field, says: `${prefix4} is too large: a network is a /8 or smaller` };
  if (length === 32)
    yield { field, says: `${prefix4} has no room for a gateway and a guest: a network is a /31 or larger` };
  for (const [text, why] of SPECIAL) {
    const special = parsePrefix4(text);
    if (special === undefined) continue;
    const bounds = prefix4Bounds(special);
    if (first <= bounds.last && last >= bounds.first) yield { field, says: `${prefix4} meets ${text}, which ${why}` };
  }
}

function* rangeFaults({ prefix4, range4 }: NetworkSpec): Iterable<FieldFault> {
  for (const [n, range] of range4.entries()) {
    const field = ["spec", "range4", n];
    const why = notAHost(prefix4, range.first) ?? notAHost(prefix4, range.last);
    if (why !== undefined) yield { field, says: why };
    const other = range4.slice(0, n).find((earlier) => rangesMeet(range, earlier));
    if (other !== undefined)
      yield { field, says: `${rangeText(range)} overlaps ${rangeText(other)} of the same network` };
  }
}

function* wiringFaults(wiring: Wiring): Iterable<FieldFault> {
  switch (wiring.kind) {
    case "bridged":
      if (wiring.uplink === wiring.bridge)
        yield {
          field: ["spec", "wiring", "uplink"],
          says: `'${wiring.uplink}' is the bridge itself: name the interface towards the LAN`,
        };
      return;
    default:
      unreachable(wiring.kind);
  }
}

function* addressingFaults({ routes }: Addressing, prefix4: Ipv4Prefix): Iterable<FieldFault> {
  for (const [n, { to, via }] of routes.entries()) {
    const field = ["spec", "addressing", "routes", n];
    const why = via === "0.0.0.0" ? undefined : notAHost(prefix4, via);
    if (why !== undefined) yield { field: [...field, "via"], says: `a guest cannot reach this router: ${why}` };
    if (to === "0.0.0.0/0") yield { field: [...field, "to"], says: "the default route is gateway4 and needs no entry" };
    if (routes.findIndex((route) => route.to === to) < n)
      yield { field: [...field, "to"], says: `${to} is written twice` };
  }
}

function* networkFaults(spec: NetworkSpec): Iterable<FieldFault> {
  yield* prefixFaults(spec);
  const gateway = notAHost(spec.prefix4, spec.gateway4);
  if (gateway !== undefined) yield { field: ["spec", "gateway4"], says: gateway };
  const mac = spec.gatewayMac === undefined ? undefined : notAMac(spec.gatewayMac);
  if (mac !== undefined) yield { field: ["spec", "gatewayMac"], says: mac };
  yield* rangeFaults(spec);
  yield* wiringFaults(spec.wiring);
  yield* addressingFaults(spec.addressing, spec.prefix4);
}

function* ruleFaults(rules: readonly GroupRule[], direction: "ingress" | "egress"): Iterable<FieldFault> {
  for (const [n, rule] of rules.entries()) {
    const field = ["spec", direction, n, "ports"];
    if (rule.ports !== undefined && rule.protocol !== "tcp" && rule.protocol !== "udp")
      yield { field, says: `ports go with tcp or udp, not with ${rule.protocol}` };
  }
}

function* groupFaults(spec: GroupSpec): Iterable<FieldFault> {
  yield* ruleFaults(spec.ingress, "ingress");
  yield* ruleFaults(spec.egress, "egress");
}

function* guestFaults({ nics }: GuestSpec): Iterable<FieldFault> {
  for (const [n, { mac, groups }] of nics.entries()) {
    const why = mac === undefined ? undefined : notAMac(mac);
    if (why !== undefined) yield { field: ["spec", "nics", n, "mac"], says: why };
    for (const [g, group] of groups.entries()) {
      if (groups.indexOf(group) < g)
        yield { field: ["spec", "nics", n, "groups", g], says: `'${group}' is written twice` };
    }
  }
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
