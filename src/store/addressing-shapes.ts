/** Shapes of the addressings that are decided here, and of what DHCP clients are told besides their address. */
import type { Boot, ClientClass, ClientMatch, NicTell, RawOption, SubOption, Tell } from "../model/dhcp.ts";
import { type Ipv4Address, parseIpv4, parsePrefix4 } from "../model/ipv4.ts";
import { type Ipv6Address, parseIpv6 } from "../model/ipv6.ts";
import type { MacAddressing, MacScheme, ManagedAddressing, StaticAddressing, Told } from "../model/resources.ts";
import { type FieldShapes, fields, list, oneOf, optional, type Shape, shape, text, whole } from "./shape.ts";

const anyText: Shape<string> = shape("text", (value) => typeof value === "string");
const yesNo: Shape<boolean> = shape("true or false", (value) => typeof value === "boolean");
const digits: Shape<string> = shape(
  "hexadecimal digits",
  (value) => typeof value === "string" && /^(?:[0-9a-f]{2})+$/.test(value),
);
const address4 = text("an IPv4 address", parseIpv4);
const address6 = text("an IPv6 address", parseIpv6);
const prefix4 = text("an IPv4 prefix", parsePrefix4);

const subOptionFields = <A>(address: Shape<A>): FieldShapes<SubOption<A>> => ({
  code: whole(1, 65_535),
  hex: optional(digits),
  text: optional(anyText),
  addresses: optional(list(address)),
});

const rawOptions = <A>(address: Shape<A>): Shape<readonly RawOption<A>[]> =>
  list(
    fields<RawOption<A>>({
      ...subOptionFields(address),
      always: optional(yesNo),
      options: optional(list(fields<SubOption<A>>(subOptionFields(address)))),
    }),
  );

const boot = fields<Boot>({
  server: optional(address4),
  serverName: optional(anyText),
  file: optional(anyText),
  url: optional(anyText),
});

const options4 = optional<readonly RawOption<Ipv4Address>[]>(rawOptions(address4));
const options6 = optional<readonly RawOption<Ipv6Address>[]>(rawOptions(address6));

const tellFields: FieldShapes<Tell> = {
  dns: optional(list(address4)),
  dns6: optional(list(address6)),
  ntp: optional(list(address4)),
  ntp6: optional(list(address6)),
  domain: optional(anyText),
  search: optional(list(anyText)),
  mtu: optional(whole(1)),
  boot: optional(boot),
  options: options4,
  options6,
};

const match = fields<ClientMatch>({
  vendorClass: optional(anyText),
  userClass: optional(anyText),
  arch: optional(list(whole(0, 65_535))),
});

const told = {
  dns: list(address4),
  dns6: list(address6),
  ntp: list(address4),
  domain: optional(anyText),
  search: list(anyText),
  mtu: optional(whole(1)),
  routes: list(fields<Told["routes"][number]>({ to: prefix4, via: address4 })),
};
const macScheme = oneOf<MacScheme>("ip", "net", "random");

export const managed = fields<ManagedAddressing>({
  kind: oneOf("managed"),
  leaseSeconds: whole(1),
  macScheme,
  ...told,
  conflictDetection: optional(yesNo),
  ntp6: tellFields.ntp6,
  boot: tellFields.boot,
  options: options4,
  options6,
  classes: optional(list(fields<ClientClass>({ name: anyText, when: match, tell: fields<Tell>(tellFields) }))),
});
export const byHand = fields<StaticAddressing>({ kind: oneOf("static"), macScheme, ...told });
export const byMac = fields<MacAddressing>({ kind: oneOf("mac"), macScheme: oneOf("net"), ...told });

export const nicTell = fields<NicTell>({ hostname: optional(anyText), ...tellFields });
