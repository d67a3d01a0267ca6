/** What a transport network must fulfil beyond other routed ones: pools that have room for links, and in which nobody else has an address. */
import { bytesText } from "../model/bytes.ts";
import { blockOctets, ipBlockText } from "../model/ip-block.ts";
import { ipv4ToNumber, prefix4Bounds } from "../model/ipv4.ts";
import type { ObjectName } from "../model/names.ts";
import type { IpBlock, Link4Length, NetworkSpec } from "../model/resources.ts";
import { linkCount4, linkCount6, linkLength, rightHands } from "../model/transport.ts";
import type { FieldFault } from "./issues.ts";

interface Named {
  readonly name: ObjectName;
  readonly spec: NetworkSpec;
}

function* poolFaults({ prefix4, prefix6 }: NetworkSpec, length: Link4Length): Iterable<FieldFault> {
  const own = prefix4Bounds(prefix4).length;
  // Of a /32 it is said already.
  if (own > length && own < 32)
    yield { field: ["spec", "prefix4"], says: `${prefix4} has no room for a link of /${length}` };
  const [links4, links6] = [linkCount4(prefix4, length), prefix6 === undefined ? Infinity : linkCount6(prefix6)];
  if (links6 < links4)
    yield {
      field: ["spec", "prefix6"],
      says: `${prefix6} has ${Math.max(0, links6)} links of /127 besides its first, and each of the ${links4} of ${prefix4} needs one`,
    };
}

export function* transportFaults(spec: NetworkSpec, length: Link4Length): Iterable<FieldFault> {
  yield* poolFaults(spec, length);
  for (const [n, { first, last }] of spec.range4.entries())
    if (rightHands(length, ipv4ToNumber(first), ipv4ToNumber(last)).count === 0)
      yield { field: ["spec", "range4", n], says: `has no right-hand address of a link of /${length}` };
}

function meets(a: IpBlock, b: IpBlock): boolean {
  const [x, y] = [blockOctets(a), blockOctets(b)];
  if (x.first.length !== y.first.length) return false;
  return bytesText(x.first) <= bytesText(y.last) && bytesText(y.first) <= bytesText(x.last);
}

const prefixesOf = ({ prefix4, prefix6 }: NetworkSpec): readonly (readonly ["prefix4" | "prefix6", IpBlock])[] => [
  ["prefix4", { kind: "prefix4", prefix: prefix4 }],
  ...(prefix6 === undefined ? [] : [["prefix6", { kind: "prefix6", prefix: prefix6 }] as const]),
];

/** A pool is cut into links whole: whatever else lay in it would be one end of somebody's link. */
export function* sharedPoolFaults(own: Named, others: Iterable<Named>): Iterable<FieldFault> {
  for (const other of others) {
    if (other.name === own.name || [own, other].every(({ spec }) => linkLength(spec.wiring) === undefined)) continue;
    for (const [field, block] of prefixesOf(own.spec)) {
      const met = prefixesOf(other.spec).find(([, theirs]) => meets(block, theirs))?.[1];
      if (met !== undefined)
        yield {
          field: ["spec", field],
          says: `${ipBlockText(block)} meets ${ipBlockText(met)} of network '${other.name}': the pool of a transport network is its alone`,
        };
    }
  }
}

/** Of what a NIC names besides its own addresses: the network in whose pool it lies. */
export function poolOf(block: IpBlock, networks: Iterable<Named>): ObjectName | undefined {
  for (const { name, spec } of networks)
    if (linkLength(spec.wiring) !== undefined && prefixesOf(spec).some(([, pool]) => meets(block, pool))) return name;
  return undefined;
}
