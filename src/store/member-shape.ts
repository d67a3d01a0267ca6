/** Shapes of what a NIC may have besides its own address, and of the record that says so to other hosts. */
import { type Ipv4Address, parseIpv4, parsePrefix4 } from "../model/ipv4.ts";
import { type Ipv6Address, parseIpv6, parsePrefix6 } from "../model/ipv6.ts";
import { parseMac } from "../model/mac.ts";
import { parseObjectName } from "../model/names.ts";
import type { AllowedPair, IpBlock, NicMember } from "../model/resources.ts";
import { fields, list, oneOf, optional, type Shape, text, variants } from "./shape.ts";

const mac = text("a MAC address", parseMac);
const address4: Shape<Ipv4Address> = text("an IPv4 address", parseIpv4);
const address6: Shape<Ipv6Address> = text("an IPv6 address", parseIpv6);
const name = text("a name", parseObjectName);
const prefix4 = text("an IPv4 prefix", parsePrefix4);
const prefix6 = text("an IPv6 prefix", parsePrefix6);

export const ipBlock = variants<IpBlock>({
  address4: fields<Extract<IpBlock, { readonly kind: "address4" }>>({ kind: oneOf("address4"), address: address4 }),
  address6: fields<Extract<IpBlock, { readonly kind: "address6" }>>({ kind: oneOf("address6"), address: address6 }),
  prefix4: fields<Extract<IpBlock, { readonly kind: "prefix4" }>>({ kind: oneOf("prefix4"), prefix: prefix4 }),
  prefix6: fields<Extract<IpBlock, { readonly kind: "prefix6" }>>({ kind: oneOf("prefix6"), prefix: prefix6 }),
});
export const allowedPair = fields<AllowedPair>({ what: ipBlock, mac: optional(mac) });

export const nicMember = fields<NicMember>({
  network: name,
  mac,
  addresses4: list(address4),
  addresses6: optional(list(address6)),
  address6: optional(address6),
  public4: optional(address4),
  addresses: optional(list(ipBlock)),
  allowedPairs: optional(list(allowedPair)),
  groups: optional(list(name)),
});
