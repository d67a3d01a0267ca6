/** Ports, networks and bridges of brouted wiring as set elements (ruleset/brouted.ts, ruleset/brouted-ways.ts). */
import { blockOctets } from "../model/ip-block.ts";
import { ipv4ToBytes } from "../model/ipv4.ts";
import { type Ipv6Address, type Ipv6Prefix, ipv6ToBytes, prefix6Bounds } from "../model/ipv6.ts";
import { type MacAddress, macToBytes } from "../model/mac.ts";
import { BROUTED_GATEWAY6, HOST_PORT_MAC } from "../model/wiring.ts";
import { icmp6Frame } from "../packet/frame6.ts";
import { neighbourAdvertisement } from "../packet/nd.ts";
import { concatKey, familyRange, hostU32, networkU32, type PlacedElement } from "./element-bytes.ts";
import type { PortBinding, Source } from "./elements.ts";

/** The bridge of a brouted port, which is how the host sees it. */
export interface Brouter {
  readonly ifindex: number;
  readonly mac: MacAddress;
}

/** Above the port's index in the mark ("b"); what refusals bear begins with a small number (ruleset/policy-parts.ts). */
const TAG = 0x62;
const TAG_SHIFT = 24;

export const broutedMark = (ifindex: number): number => TAG * 2 ** TAG_SHIFT + ifindex;
/** Which port a counted mark speaks of. */
export const portOfMark = (mark: number): number => mark & (2 ** TAG_SHIFT - 1);

/** Where the checksum stands in a frame: Ethernet, IPv6, type and code. */
const CHECKSUM_AT = 14 + 40 + 2;

/** Of what the rules make of this guest's question for its router. */
export function routerSum(asker: Ipv6Address): Uint8Array {
  const router = ipv6ToBytes(BROUTED_GATEWAY6);
  const ends = { destinationMac: HOST_PORT_MAC, sourceMac: HOST_PORT_MAC, source: router };
  const message = neighbourAdvertisement(router, HOST_PORT_MAC, "router");
  const frame = icmp6Frame({ ...ends, destination: ipv6ToBytes(asker) }, message);
  return frame.slice(CHECKSUM_AT, CHECKSUM_AT + 2);
}

function* sourceElements({ what }: Source): Iterable<PlacedElement> {
  if (what.kind === "prefix4" || what.kind === "prefix6") {
    const { first, last } = blockOctets(what);
    const family = what.kind === "prefix4" ? 4 : 6;
    yield { family: "inet", set: `brouteds${family}`, ...familyRange(family, first, last) };
  }
  if (what.kind === "address4") yield { family: "inet", set: "brouted4", key: ipv4ToBytes(what.address) };
  if (what.kind !== "address6") return;
  const key = ipv6ToBytes(what.address);
  yield { family: "inet", set: "brouted6", key };
  yield { family: "netdev", set: "router_sums", key, data: routerSum(what.address) };
}

export function broutedPortElements(
  { ifindex, sources, observed }: Pick<PortBinding, "ifindex" | "sources" | "observed">,
  bridge: Brouter,
): readonly PlacedElement[] {
  const [port, mark] = [hostU32(ifindex), hostU32(broutedMark(ifindex))];
  return [
    { family: "netdev", set: "brouted", key: port },
    { family: "netdev", set: "brouters", key: port, data: macToBytes(bridge.mac) },
    { family: "netdev", set: "brouted_mark", key: port, data: mark },
    { family: "inet", set: "brouted", key: mark },
    { family: "inet", set: "brouted_ways", key: concatKey(mark, hostU32(bridge.ifindex)) },
    ...(observed ? [] : [{ family: "bridge", set: "brouted", key: port } as const]),
    ...sources.flatMap((source) => [...sourceElements(source)]),
  ];
}

/** What the host must ask the LAN for, and may answer guests for. */
export function broutedNetworkElements(network: number, prefix6: Ipv6Prefix | undefined): readonly PlacedElement[] {
  if (prefix6 === undefined) return [];
  const { first, last } = prefix6Bounds(prefix6);
  const wide = networkU32(network);
  return [
    { family: "netdev", set: "answers_all6", key: hostU32(network) },
    { family: "netdev", set: "prefix6", key: concatKey(wide, first), keyEnd: concatKey(wide, last) },
  ];
}

/** What must be known of a bridge before its first port opens. */
export function brouterElements({ ifindex, mac }: Brouter): readonly PlacedElement[] {
  const bridge = hostU32(ifindex);
  return [
    { family: "inet", set: "brouters", key: bridge },
    { family: "inet", set: "brouter_macs", key: concatKey(bridge, macToBytes(mac)) },
  ];
}
