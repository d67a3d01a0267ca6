/** What the judge looks things up in: elements as they would be put into the kernel, and the host's own addresses. */
import { bytesText } from "../model/bytes.ts";
import { ipv4ToBytes, ipv4ToNumber, parseIpv4 } from "../model/ipv4.ts";
import { ipv6ToBytes, parseIpv6 } from "../model/ipv6.ts";
import { hostU32At, networkU32, type PlacedElement } from "./element-bytes.ts";
import type { World } from "./judge.ts";

/** Range sets keep interface indexes and marks, which come first in every key, in network order. */
function rangeKey(key: Uint8Array): Uint8Array {
  const turned = key.slice();
  turned.set(networkU32(hostU32At(key, 0)));
  return turned;
}

/** Field by field, each on its own 4-byte register: both bounds of every field must hold, and fields before the last are single values. */
function isWithin(key: Uint8Array, first: Uint8Array, last: Uint8Array): boolean {
  const [text, from, to] = [bytesText(key), bytesText(first), bytesText(last)];
  return key.length === first.length && text >= from && text <= to;
}

export function elementsWorld(elements: Iterable<PlacedElement>, isHost: World["isHost"]): World {
  const exact = new Map<string, PlacedElement>();
  const ranges = new Map<string, PlacedElement[]>();
  for (const element of elements) {
    if (element.family !== "netdev") continue;
    if (element.keyEnd === undefined) exact.set(`${element.set}/${bytesText(element.key)}`, element);
    else ranges.set(element.set, [...(ranges.get(element.set) ?? []), element]);
  }
  return {
    isHost,
    find: (set, key) => {
      const range = ranges.get(set);
      if (range === undefined) return exact.get(`${set}/${bytesText(key)}`);
      const turned = rangeKey(key);
      return range.find(({ key: first, keyEnd }) => keyEnd !== undefined && isWithin(turned, first, keyEnd));
    },
  };
}

/** An address of an interface of the host, with the mask for IPv4. */
export interface InterfaceAddress {
  readonly address: string;
  readonly netmask: string;
}

/** As `fib daddr type` answers: local, or broadcast, which the unspecified address counts as (inet_addr_type). */
export function hostAddresses(interfaces: readonly InterfaceAddress[]): World["isHost"] {
  const own = new Set<string>([bytesText(Uint8Array.of(0, 0, 0, 0)), bytesText(Uint8Array.of(255, 255, 255, 255))]);
  for (const { address, netmask } of interfaces) {
    const [ip4, ip6, mask] = [parseIpv4(address), parseIpv6(address), parseIpv4(netmask)];
    if (ip6 !== undefined) own.add(bytesText(ipv6ToBytes(ip6)));
    if (ip4 === undefined) continue;
    own.add(bytesText(ipv4ToBytes(ip4)));
    if (mask === undefined || ipv4ToNumber(mask) >>> 0 >= 0xfffffffe) continue;
    const last = (ipv4ToNumber(ip4) | ~ipv4ToNumber(mask)) >>> 0;
    own.add(bytesText(Uint8Array.of(last >>> 24, (last >>> 16) & 255, (last >>> 8) & 255, last & 255)));
  }
  return (address) => own.has(bytesText(address)) || (address.length === 4 && address[0] === 127);
}
