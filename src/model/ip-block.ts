/** Text of either family to what it names, and back. */
import { type Ipv4Address, parseIpv4, parsePrefix4 } from "./ipv4.ts";
import { type Ipv6Address, parseIpv6, parsePrefix6 } from "./ipv6.ts";
import type { IpBlock } from "./resources.ts";

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
export function parseIp(text: string): Ipv4Address | Ipv6Address | undefined {
  return parseIpv4(text) ?? parseIpv6(text);
}

export function ipBlockText(block: IpBlock): string {
  return "address" in block ? block.address : block.prefix;
}

export function isIpv6(address: Ipv4Address | Ipv6Address): address is Ipv6Address {
  return address.includes(":");
}
