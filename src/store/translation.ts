/** Shapes of what the store holds of address translation: the wiring, what a NIC offers by it, and who has a public address. */
import { parseIpv4 } from "../model/ipv4.ts";
import { parseInterfaceName, parseObjectName } from "../model/names.ts";
import type { PortRange } from "../model/policy.ts";
import {
  type Masquerade,
  type PublicHolder,
  type PublicService,
  routedGives,
  type Wiring,
} from "../model/resources.ts";
import { either, fields, list, oneOf, optional, type Shape, shape, text, variants, whole } from "./shape.ts";

const objectName = text("a name", parseObjectName);
const address4 = text("an IPv4 address", parseIpv4);
const isYesOrNo: Shape<boolean> = shape("true or false", (value) => typeof value === "boolean");

export const natWiring: Shape<Extract<Wiring, { readonly kind: "nat" }>> = fields<
  Extract<Wiring, { readonly kind: "nat" }>
>({
  kind: oneOf("nat"),
  uplink: text("an interface name", parseInterfaceName),
  gives: oneOf(...routedGives),
  masquerade: either<Masquerade>("true, false or an IPv4 address", isYesOrNo, address4),
});

export const publicServices: Shape<readonly PublicService[]> = list(
  fields<PublicService>({
    public4: address4,
    protocol: oneOf("tcp", "udp"),
    ports: list(fields<PortRange>({ first: whole(1, 65_535), last: whole(1, 65_535) })),
    to: optional(whole(1, 65_535)),
  }),
);

/** All who share a public address. */
export interface PublicRecord {
  readonly holders: readonly PublicHolder[];
}

const publicHolder = variants<PublicHolder>({
  whole: fields<Extract<PublicHolder, { readonly kind: "whole" }>>({
    kind: oneOf("whole"),
    guest: objectName,
    nic: whole(0),
  }),
  service: fields<Extract<PublicHolder, { readonly kind: "service" }>>({
    kind: oneOf("service"),
    guest: objectName,
    nic: whole(0),
    protocol: oneOf("tcp", "udp"),
    first: whole(1, 65_535),
    last: whole(1, 65_535),
  }),
  masquerade: fields<Extract<PublicHolder, { readonly kind: "masquerade" }>>({
    kind: oneOf("masquerade"),
    network: objectName,
  }),
});

export const publicRecord: Shape<PublicRecord> = fields<PublicRecord>({ holders: list(publicHolder) });
