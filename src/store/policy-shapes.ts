/** Shapes of the rules of security groups. */
import { parsePrefix4 } from "../model/ipv4.ts";
import { parsePrefix6 } from "../model/ipv6.ts";
import { parseObjectName } from "../model/names.ts";
import type { GroupRule, Peer, PortRange, Service } from "../model/policy.ts";
import { either, fields, list, oneOf, optional, text, variants, whole } from "./shape.ts";

const objectName = text("a name", parseObjectName);
const prefix4 = text("an IPv4 prefix", parsePrefix4);
const prefix6 = text("an IPv6 prefix", parsePrefix6);

const range = fields<PortRange>({ first: whole(1, 65_535), last: whole(1, 65_535) });
const service = either<Service>(
  "a service",
  fields<{ readonly kind: "any" }>({ kind: oneOf("any") }),
  fields<Extract<Service, { readonly ports: unknown }>>({ kind: oneOf("tcp", "udp"), ports: list(range) }),
  fields<Extract<Service, { readonly type?: number }>>({
    kind: oneOf("icmp", "icmpv6"),
    type: optional(whole(0, 255)),
    code: optional(whole(0, 255)),
  }),
  fields<Extract<Service, { readonly number: number }>>({ kind: oneOf("protocol"), number: whole(0, 255) }),
);
const peer = variants<Peer>({
  any: fields<Extract<Peer, { readonly kind: "any" }>>({ kind: oneOf("any") }),
  network: fields<Extract<Peer, { readonly kind: "network" }>>({ kind: oneOf("network") }),
  group: fields<Extract<Peer, { readonly kind: "group" }>>({ kind: oneOf("group"), group: objectName }),
  prefix4: fields<Extract<Peer, { readonly kind: "prefix4" }>>({ kind: oneOf("prefix4"), prefix: prefix4 }),
  prefix6: fields<Extract<Peer, { readonly kind: "prefix6" }>>({ kind: oneOf("prefix6"), prefix: prefix6 }),
});
export const rule = fields<GroupRule>({ service, peer });
