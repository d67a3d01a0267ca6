/** Addresses and prefixes of either family: from text and back, as octets, and what lies in what. */
import { type Ipv4Address, ipv4ToBytes, parseIpv4, parsePrefix4, prefix4Contains, prefix4Octets } from "./ipv4.ts";
import { type Ipv6Address, ipv6ToBytes, parseIpv6, parsePrefix6, prefix6Bounds, prefix6Contains } from "./ipv6.ts";
import { unreachable } from "./never.ts";
import type { IpBlock } from "./resources.ts";

export type IpAddress = Ipv4Address | Ipv6Address;

/** `203.0.113.7`, `203.0.113.0/28`, `2001:db8::7`, `2001:db8::/64`; a prefix of one address is the address. */
export function parseIpBlock(text: string): IpBlock | undefined {
  if (!text.includes("/")) return parseAddress(text);
  const prefix4 = parsePrefix4(text);
  if (prefix4 !== undefined)
    return prefix4.endsWith("/32") ? parseAddress(prefix4.slice(0, -3)) : { kind: "prefix4", prefix: prefix4 };
  const prefix6 = parsePrefix6(text);
  if (prefix6 === undefined) return undefined;
  return prefix6.endsWith("/128") ? parseAddress(prefix6.slice(0, -4)) : { kind: "prefix6", prefix: prefix6 };
}

function parseAddress(text: string): IpBlock | undefined {
  const address = parseIp(text);
  if (address === undefined) return undefined;
  return isIpv6(address) ? { kind: "address6", address } : { kind: "address4", address };
}

/** An address of either family. */
export function parseIp(text: string): IpAddress | undefined {
  return parseIpv4(text) ?? parseIpv6(text);
}

export function ipBlockText(block: IpBlock): string {
  return "address" in block ? block.address : block.prefix;
}

export function isIpv6(address: IpAddress): address is Ipv6Address {
  return address.includes(":");
}

export function ipToBytes(address: IpAddress): Uint8Array {
  return isIpv6(address) ? ipv6ToBytes(address) : ipv4ToBytes(address);
}

/** First and last address as octets; of a single one both are the same. */
export function blockOctets(block: IpBlock): { readonly first: Uint8Array; readonly last: Uint8Array } {
  switch (block.kind) {
    case "address4":
    case "address6": {
      const address = ipToBytes(block.address);
      return { first: address, last: address };
    }
    case "prefix4":
      return prefix4Octets(block.prefix);
    case "prefix6":
      return prefix6Bounds(block.prefix);
    default:
      return unreachable(block);
  }
}

export function blockHolds(block: IpBlock, address: IpAddress): boolean {
  switch (block.kind) {
    case "address4":
    case "address6":
      return block.address === address;
    case "prefix4":
      return !isIpv6(address) && prefix4Contains(block.prefix, address);
    case "prefix6":
      return isIpv6(address) && prefix6Contains(block.prefix, address);
    default:
      return unreachable(block);
  }
}
