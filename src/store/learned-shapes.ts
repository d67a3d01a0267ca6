/** What stands in records of addresses that other DHCP servers give, and of NICs that get them. */
import { type Ipv4Address, parseIpv4 } from "../model/ipv4.ts";
import { type Ipv6Address, parseIpv6 } from "../model/ipv6.ts";
import { parseMac } from "../model/mac.ts";
import { parseObjectName } from "../model/names.ts";
import type { LanServer, LearnedFrom, NicIdentity, RelayAddressing, SnoopAddressing } from "../model/resources.ts";
import { either, fields, list, oneOf, optional, shape, text } from "./shape.ts";

const mac = text("a MAC address", parseMac);
const address4 = text("an IPv4 address", parseIpv4);
const address6 = text("an IPv6 address", parseIpv6);

export const relayShape = fields<RelayAddressing>({
  kind: oneOf("relay"),
  servers: list(address4),
  servers6: list(address6),
  giaddr: optional(address4),
  serverIdOverride: shape<boolean>("true or false", (value) => typeof value === "boolean"),
});

export const snoopShape = fields<SnoopAddressing>({
  kind: oneOf("snoop"),
  servers: list(fields<LanServer<Ipv4Address>>({ address: address4, mac: optional(mac) })),
  servers6: list(fields<LanServer<Ipv6Address>>({ address: address6, mac: optional(mac) })),
});

export const identityShape = fields<NicIdentity>({
  network: text("a name", parseObjectName),
  mac,
  addresses4: list(address4),
  addresses6: optional(list(address6)),
});

export const learnedShape = fields<LearnedFrom>({
  by: oneOf("relay", "snoop"),
  server: either<Ipv4Address | Ipv6Address>("an IP address", address4, address6),
});
