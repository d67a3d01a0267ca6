/** Bindings and networks as set elements: the bytes the kernel compares, nothing else. */
import { type Ipv4Address, type Ipv4Prefix, ipv4FromNumber, ipv4ToBytes, prefix4Bounds } from "../model/ipv4.ts";
import { type MacAddress, macToBytes } from "../model/mac.ts";
import type { Family } from "./ast.ts";

/** An element and the set it belongs to, in the tables of the skeleton. */
export interface PlacedElement {
  readonly family: Family;
  readonly set: string;
  readonly key: Uint8Array;
  /** End of the range, on sets of prefixes. */
  readonly keyEnd?: Uint8Array;
  readonly data?: Uint8Array;
}

/** What one port may be: the guard contract's binding. */
export interface PortBinding {
  readonly ifindex: number;
  readonly mac: MacAddress;
  readonly addresses4: readonly Ipv4Address[];
  /** Number of the port's network; stands in the packet mark while the guard looks at ARP. */
  readonly network: number;
}

/** What the guard must know of a network whose members it guards. */
export interface NetworkFacts {
  readonly network: number;
  readonly prefix4: Ipv4Prefix;
  readonly gateway4: Ipv4Address;
  readonly gatewayMac?: MacAddress;
  /** Address and MAC of every guest of the network: nobody else may announce these. */
  readonly members: readonly { readonly address: Ipv4Address; readonly mac: MacAddress }[];
}

/** Families whose birth tables must let an armed port pass. */
const armedFamilies = ["bridge", "inet", "arp"] as const;

const little = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1;

/** Interface indexes and marks are numbers of the host: its own byte order. */
function hostU32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, little);
  return bytes;
}

/** In sets of ranges nft compares everything in network order, marks too. */
function networkU32(value: number): Uint8Array {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value, false);
  return bytes;
}

/** Fields of a concatenation each start on a 4-byte register (NFT_REG32). */
export function concatKey(...parts: readonly Uint8Array[]): Uint8Array {
  const key = new Uint8Array(parts.reduce((sum, part) => sum + ((part.length + 3) & ~3), 0));
  let at = 0;
  for (const part of parts) {
    key.set(part, at);
    at += (part.length + 3) & ~3;
  }
  return key;
}

/** The number at `offset` of a key, as the host writes it. */
export function hostU32At(key: Uint8Array, offset: number): number {
  return new DataView(key.buffer, key.byteOffset, key.byteLength).getUint32(offset, little);
}

export function portElements(binding: PortBinding): readonly PlacedElement[] {
  const port = hostU32(binding.ifindex);
  const mac = macToBytes(binding.mac);
  const netdev = (set: string, key: Uint8Array, data?: Uint8Array): PlacedElement =>
    data === undefined ? { family: "netdev", set, key } : { family: "netdev", set, key, data };
  const elements = [
    netdev("ports", port),
    netdev("identity", concatKey(port, mac)),
    netdev("chaddr", concatKey(port, mac)),
    netdev("network", port, hostU32(binding.network)),
    ...armedFamilies.map((family): PlacedElement => ({ family, set: "armed", key: port })),
  ];
  for (const address of binding.addresses4) {
    const ip = ipv4ToBytes(address);
    elements.push(netdev("bind4", concatKey(port, mac, ip)), netdev("addr4", concatKey(port, ip)));
  }
  return elements;
}

export function networkElements(facts: NetworkFacts): readonly PlacedElement[] {
  const mark = hostU32(facts.network);
  const { first, last } = prefix4Bounds(facts.prefix4);
  const elements: PlacedElement[] = [
    {
      family: "netdev",
      set: "prefix4",
      key: concatKey(networkU32(facts.network), ipv4ToBytes(ipv4FromNumber(first))),
      keyEnd: concatKey(networkU32(facts.network), ipv4ToBytes(ipv4FromNumber(last))),
    },
  ];
  const known = (address: Ipv4Address, mac: MacAddress): void => {
    const ip = ipv4ToBytes(address);
    elements.push({ family: "netdev", set: "known4", key: concatKey(mark, ip) });
    elements.push({ family: "netdev", set: "true4", key: concatKey(mark, ip, macToBytes(mac)) });
  };
  if (facts.gatewayMac === undefined) {
    elements.push({ family: "netdev", set: "gateways4", key: concatKey(mark, ipv4ToBytes(facts.gateway4)) });
  } else {
    known(facts.gateway4, facts.gatewayMac);
  }
  for (const member of facts.members) known(member.address, member.mac);
  return elements;
}

/** The sets the agent fills, by table: everything else in them is not ours to leave there. */
export const staticSets: readonly { readonly family: Family; readonly set: string }[] = [
  ...["ports", "identity", "chaddr", "network", "bind4", "addr4", "prefix4", "known4", "true4", "gateways4"].map(
    (set) => ({ family: "netdev", set }) as const,
  ),
  ...armedFamilies.map((family) => ({ family, set: "armed" }) as const),
];

/**
 * A number for every network, the same on every start: a digest of the name, moved on by one where two meet.
 * Never 0 (no mark) and never as small as a drop reason.
 */
export function networkNumbers(names: readonly string[]): ReadonlyMap<string, number> {
  const taken = new Set<number>();
  const numbers = new Map<string, number>();
  for (const name of [...names].sort()) {
    let number = digest31(name);
    while (taken.has(number)) number = ((number + 1) & 0x7fffffff) | 0x10000;
    taken.add(number);
    numbers.set(name, number);
  }
  return numbers;
}

function digest31(text: string): number {
  let hash = 0x811c9dc5;
  for (let i = 0; i < text.length; i += 1) hash = Math.imul(hash ^ text.charCodeAt(i), 0x01000193);
  return (hash & 0x7fffffff) | 0x10000;
}
