/** The service policy as set elements (ruleset/policy-sets.ts), in every family that judges it. */
import { be16 } from "../model/bytes.ts";
import { blockOctets } from "../model/ip-block.ts";
import { type MacAddress, macToBytes } from "../model/mac.ts";
import type { InterfaceName } from "../model/names.ts";
import type { Share } from "../model/rates.ts";
import type { IpBlock } from "../model/resources.ts";
import { concatKey, familyRange, hostU32, networkU32, type PlacedElement } from "./element-bytes.ts";
import { type PolicyTag, policyTags, TAG_SHIFT } from "./policy-parts.ts";
import { type PolicyFamily, serviceRanges } from "./policy-sets.ts";
import type { ServiceSet } from "./service-set.ts";

export interface ClassMember {
  readonly what: IpBlock;
  readonly policyClass: number;
}

export interface RangeRule {
  readonly judged: number;
  readonly family: 4 | 6;
  readonly first: Uint8Array;
  readonly last: Uint8Array;
  readonly services: number;
}

/** What one side of a flow lets be opened: by the class that is judged, and who the other is. */
export interface SideFacts {
  readonly any: readonly { readonly judged: number; readonly services: number }[];
  readonly pairs: readonly { readonly judged: number; readonly peer: number; readonly services: number }[];
  readonly ranges: readonly RangeRule[];
}

/** What holds of the whole site. */
export interface PolicyFacts {
  readonly members: readonly ClassMember[];
  readonly out: SideFacts;
  readonly in: SideFacts;
  readonly services: readonly { readonly number: number; readonly set: ServiceSet }[];
}

/** A bridge whose frames are judged, or at least kept out of connection tracking, and where. */
export interface JudgedBridge {
  readonly families: readonly PolicyFamily[];
  readonly name: InterfaceName;
  readonly mac: MacAddress;
}

/** What a stateful NIC brings with it. */
export interface PortPolicy {
  /** Where it is judged. */
  readonly families: readonly PolicyFamily[];
  readonly ifindex: number;
  readonly sources: readonly IpBlock[];
  readonly observed: boolean;
  readonly connections: number;
  readonly newFlows: Share;
}

type Element = Omit<PlacedElement, "family">;

/** In the set of single addresses, or in that of prefixes. */
function addressKey(block: IpBlock, one: string, many: string): Element {
  const { first, last } = blockOctets(block);
  const family = first.length === 4 ? 4 : 6;
  if ("address" in block) return { set: `${one}${family}`, key: first };
  return { set: `${many}${family}`, ...familyRange(family, first, last) };
}
const addressElement = (block: IpBlock, one: string, many: string, data: Uint8Array): Element => ({
  ...addressKey(block, one, many),
  data,
});

function* sideElements(side: "out" | "in", { any, pairs, ranges }: SideFacts): Iterable<Element> {
  for (const { judged, services } of any) yield { set: `${side}_any`, key: hostU32(judged), data: hostU32(services) };
  for (const { judged, peer, services } of pairs) {
    // The class of the end the flow was opened to stands first.
    const [opened, opener] = side === "out" ? [peer, judged] : [judged, peer];
    yield { set: `${side}_pairs`, key: concatKey(hostU32(opened), hostU32(opener)), data: hostU32(services) };
  }
  for (const { judged, family, first, last, services } of ranges) {
    const mark = networkU32(judged);
    const [key, keyEnd] = [concatKey(mark, first), concatKey(mark, last)];
    yield { set: `${side}_ranges${family}`, key, keyEnd, data: hostU32(services) };
  }
}

function* serviceElements({ services }: PolicyFacts): Iterable<Element> {
  for (const { number, set } of services) {
    for (const protocol of set.protocols)
      yield { set: "protocols", key: concatKey(hostU32(number), Uint8Array.of(protocol)) };
    for (const { protocol, first, last } of set.ranges) {
      if (first === last) {
        yield { set: "service", key: concatKey(hostU32(number), Uint8Array.of(protocol), be16(first)) };
        continue;
      }
      const name = serviceRanges.find((one) => one.protocol === protocol)?.name;
      const mark = networkU32(number);
      if (name !== undefined)
        yield { set: name, key: concatKey(mark, be16(first)), keyEnd: concatKey(mark, be16(last)) };
    }
  }
}

function* siteElements(facts: PolicyFacts): Iterable<Element> {
  for (const { what, policyClass } of facts.members)
    yield { ...addressElement(what, "class", "classes", hostU32(policyClass)) };
  yield* sideElements("out", facts.out);
  yield* sideElements("in", facts.in);
  yield* serviceElements(facts);
}

/** As nf_tables compares interface names: sixteen octets, filled up with zeros. */
export function nameBytes(name: InterfaceName): Uint8Array {
  const bytes = new Uint8Array(16);
  bytes.set(new TextEncoder().encode(name));
  return bytes;
}

function* bridgeElements({ name, mac }: JudgedBridge): Iterable<Element> {
  yield { set: "bridges", key: nameBytes(name) };
  yield { set: "bridge_macs", key: concatKey(nameBytes(name), macToBytes(mac)) };
}

const placedIn = (family: PolicyFamily, elements: Iterable<Element>): readonly PlacedElement[] =>
  [...elements].map((element) => ({ family, ...element }));

/** @param families where it is judged */
export function policyElements(families: readonly PolicyFamily[], facts: PolicyFacts): readonly PlacedElement[] {
  return families.flatMap((family) => placedIn(family, siteElements(facts)));
}

/** What must be known of a bridge before its first port opens. */
export function judgedBridgeElements(bridge: JudgedBridge): readonly PlacedElement[] {
  return bridge.families.flatMap((family) => placedIn(family, bridgeElements(bridge)));
}

function* nicElements({ ifindex, sources, observed, connections, newFlows }: PortPolicy): Iterable<Element> {
  const nic = hostU32(ifindex);
  for (const what of sources) {
    yield addressElement(what, "nic", "nics", nic);
    yield addressElement(what, "tracked", "tracks", nic);
  }
  yield { set: "flows", key: nic, limit: { ...newFlows, unit: "packets" } };
  yield { set: "connections", key: nic, connections };
  if (observed)
    for (const tag of Object.values(policyTags)) yield { set: "watched", key: hostU32(tagged(tag, ifindex)) };
}

export function portPolicyElements(policy: PortPolicy): readonly PlacedElement[] {
  return [
    ...policy.families.flatMap((family) => placedIn(family, nicElements(policy))),
    // Where the host routes for brouted guests, whatever family judges them.
    ...placedIn(
      "inet",
      policy.sources.map((what) => addressKey(what, "judged", "judgeds")),
    ),
    { family: "bridge", set: "stateful", key: hostU32(policy.ifindex) },
  ];
}

const tagged = (tag: number, ifindex: number): number => tag * 2 ** TAG_SHIFT + ifindex;

/** What the mark of a counted or sampled refusal says. */
export function readTag(mark: number): { readonly tag: PolicyTag | undefined; readonly ifindex: number } {
  const code = mark >>> TAG_SHIFT;
  const tag = (Object.keys(policyTags) as PolicyTag[]).find((name) => policyTags[name] === code);
  return { tag, ifindex: mark & (2 ** TAG_SHIFT - 1) };
}
