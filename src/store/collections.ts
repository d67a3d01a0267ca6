/**
 * What the entries of the store mean: their keys read back, their values checked against one table of shapes on the way in,
 * so that a damaged record is named and not believed. A field or a kind that joins the model breaks the build here until it is in the table.
 */

import type { Cooling } from "../model/cool-down.ts";
import { GuardError } from "../model/errors.ts";
import type { AliveRecord, HostRecord } from "../model/hosts.ts";
import { parseIp } from "../model/ip-block.ts";
import { type Ipv4Address, type Ipv4Range, parseIpv4, parsePrefix4 } from "../model/ipv4.ts";
import { type Ipv6Address, parseIpv6, parsePrefix6 } from "../model/ipv6.ts";
import { keys } from "../model/keys.ts";
import { type MacAddress, parseMac } from "../model/mac.ts";
import {
  type HostId,
  type InterfaceName,
  type ObjectName,
  parseHostId,
  parseInterfaceName,
  parseObjectName,
} from "../model/names.ts";
import { unreachable } from "../model/never.ts";
import type { GroupSpec } from "../model/policy.ts";
import {
  type Addressing,
  type Attachment,
  type DhcpLease,
  type Guest,
  type GuestSpec,
  type HostService,
  type Link4Length,
  link4Lengths,
  type Mode,
  type NetworkSpec,
  type NicClaim,
  type NicMember,
  type NicSpec,
  roles,
  routedGives,
  uncheckable,
  type Wiring,
} from "../model/resources.ts";
import { byHand, byMac, managed, nicTell } from "./addressing-shapes.ts";
import { nicClaim } from "./claim-shape.ts";
import { aliveRecord, hostRecord } from "./host-shapes.ts";
import { identityShape, learnedShape, relayShape, snoopShape } from "./learned-shapes.ts";
import { allowedPair, ipBlock, nicMember } from "./member-shape.ts";
import { rule } from "./policy-shapes.ts";
import { rates } from "./rates.ts";
import { either, fields, list, oneOf, optional, type Shape, shape, text, variants, whole } from "./shape.ts";
import type { Json, Key } from "./store.ts";
import { natWiring, type PublicRecord, publicRecord, publicServices } from "./translation.ts";

/** A NIC that holds an address or a MAC, or had it last. A version that knows no cool-down reads that it still has it. */
export interface ClaimRecord {
  readonly guest: ObjectName;
  readonly nic: number;
  /** It was given up. The record stands under a store lease and goes with it. */
  readonly cooling?: Cooling;
}

interface NamedKey<K> {
  readonly kind: K;
  readonly name: ObjectName;
}
interface AddressKey<K> {
  readonly kind: K;
  /** `network/address`. */
  readonly what: string;
  readonly network: ObjectName;
  readonly address: Ipv4Address | Ipv6Address;
}
interface NicKey<K> {
  readonly kind: K;
  /** A network, or a group. */
  readonly of: ObjectName;
  readonly guest: ObjectName;
  readonly nic: number;
}
export type ParsedKey =
  | NamedKey<"network">
  | NamedKey<"group">
  | NamedKey<"guest">
  | AddressKey<"address">
  | { readonly kind: "public"; readonly what: Ipv4Address }
  | { readonly kind: "mac"; readonly what: MacAddress }
  | { readonly kind: "claim"; readonly what: string; readonly guest: ObjectName; readonly nic: number }
  | NicKey<"member">
  | NicKey<"carrier">
  | { readonly kind: "attachment"; readonly host: HostId; readonly port: InterfaceName }
  | { readonly kind: "host"; readonly host: HostId }
  | { readonly kind: "alive"; readonly host: HostId }
  | AddressKey<"lease">;

interface Values {
  readonly network: NetworkSpec;
  readonly group: GroupSpec;
  readonly guest: Guest;
  readonly address: ClaimRecord;
  readonly public: PublicRecord;
  readonly mac: ClaimRecord;
  readonly claim: NicClaim;
  readonly member: NicMember;
  readonly carrier: NicMember;
  readonly attachment: Attachment;
  readonly host: HostRecord;
  readonly alive: AliveRecord;
  readonly lease: DhcpLease;
}
export type StoreRecord = {
  readonly [K in ParsedKey["kind"]]: Extract<ParsedKey, { readonly kind: K }> & { readonly value: Values[K] };
}[ParsedKey["kind"]];

const anyText: Shape<string> = shape("text", (value) => typeof value === "string");
const moment: Shape<number> = shape("a time", (value) => Number.isFinite(value));
const objectName = text("a name", parseObjectName);
const interfaceName = text("an interface name", parseInterfaceName);
const mac = text("a MAC address", parseMac);
const address6 = text("an IPv6 address", parseIpv6);
const prefix6 = text("an IPv6 prefix", parsePrefix6);
const address4 = text("an IPv4 address", parseIpv4);
const prefix4 = text("an IPv4 prefix", parsePrefix4);

const wiring = variants<Wiring>({
  bridged: fields<Extract<Wiring, { readonly kind: "bridged" }>>({
    kind: oneOf("bridged"),
    bridge: interfaceName,
    uplink: optional(interfaceName),
  }),
  routed: fields<Extract<Wiring, { readonly kind: "routed" }>>({
    kind: oneOf("routed"),
    uplink: interfaceName,
    gives: oneOf(...routedGives),
  }),
  nat: natWiring,
  brouted: fields<Extract<Wiring, { readonly kind: "brouted" }>>({
    kind: oneOf("brouted"),
    bridge: interfaceName,
  }),
  transport: fields<Extract<Wiring, { readonly kind: "transport" }>>({
    kind: oneOf("transport"),
    uplink: interfaceName,
    link4: shape<Link4Length>(link4Lengths.join(" or "), (value) => link4Lengths.some((length) => length === value)),
  }),
});
const addressing = variants<Addressing>({ managed, static: byHand, mac: byMac, relay: relayShape, snoop: snoopShape });
const yes: Shape<true> = shape("true", (value) => value === true);
const anyAddress = either<Ipv4Address | Ipv6Address>("an IP address", address4, address6);
const mode = oneOf<Mode>("enforce", "observe");
const nicSpec = fields<NicSpec>({
  network: objectName,
  mac: optional(mac),
  address4: optional(address4),
  address6: optional(address6),
  addresses: list(ipBlock),
  allowedPairs: list(allowedPair),
  roles: list(oneOf(...roles)),
  unchecked: list(oneOf(...uncheckable)),
  mode: optional(mode),
  rates,
  connections: optional(whole(1)),
  groups: list(objectName),
  public4: optional(address4),
  services: optional(publicServices),
  tell: optional(nicTell),
});
const claim = fields<ClaimRecord>({
  guest: objectName,
  nic: whole(0),
  cooling: optional(fields<Cooling>({ until: anyText })),
});

/** One shape for every kind of record. */
const shapes: { readonly [K in keyof Values]: Shape<Values[K]> } = {
  network: fields<NetworkSpec>({
    prefix4,
    gateway4: address4,
    range4: list(fields<Ipv4Range>({ first: address4, last: address4 })),
    gatewayMac: optional(mac),
    prefix6: optional(prefix6),
    gateway6: optional(address6),
    hostServices: list(
      fields<HostService>({
        protocol: either<HostService["protocol"]>("a protocol", oneOf("tcp", "udp", "icmp"), whole(0, 255)),
        ports: list(whole(1, 65_535)),
      }),
    ),
    multicast: list(anyAddress),
    suppression: shape<boolean>("true or false", (value) => typeof value === "boolean"),
    mode,
    rates,
    groups: list(objectName),
    connections: whole(1),
    coolDown: optional(whole(0)),
    wiring,
    addressing,
  }),
  group: fields<GroupSpec>({ ingress: list(rule), egress: optional(list(rule)) }),
  guest: fields<Guest>({
    name: objectName,
    spec: fields<GuestSpec>({ nics: list(nicSpec), hostname: optional(anyText) }),
    nics: list(identityShape),
  }),
  address: claim,
  public: publicRecord,
  mac: claim,
  claim: nicClaim,
  member: nicMember,
  carrier: nicMember,
  attachment: fields<Attachment>({
    port: interfaceName,
    ifindex: whole(1),
    epoch: anyText,
    instance: optional(anyText),
    guest: objectName,
    nic: whole(0),
    fence: whole(1),
    prepared: optional(yes),
    standsInFor: optional(interfaceName),
    since: moment,
  }),
  host: hostRecord,
  alive: aliveRecord,
  lease: fields<DhcpLease>({
    network: objectName,
    address: anyAddress,
    guest: objectName,
    nic: whole(0),
    mac,
    state: oneOf("bound", "released", "declined"),
    expiresAt: moment,
    hostname: optional(anyText),
    learned: optional(learnedShape),
  }),
};

export const isRecordKind = (word: string): boolean => Object.hasOwn(shapes, word);

function corrupt(key: Key, why: string): GuardError {
  return new GuardError("STORE_CORRUPT", `store entry '${key}': ${why}`, { fields: { key } });
}

const fits = <T>({ fault }: Shape<T>, value: unknown): value is T => fault(value) === undefined;

function checked<T>(key: Key, value: unknown, wanted: Shape<T>): T {
  if (fits(wanted, value)) return value;
  const fault = wanted.fault(value) ?? "";
  throw corrupt(key, fault.startsWith(".") ? fault.slice(1) : `it${fault}`);
}

function keyOf(record: ParsedKey): Key {
  switch (record.kind) {
    case "network":
    case "group":
    case "guest":
      return keys[record.kind](record.name);
    case "address":
      return keys.address(record.network, record.address);
    case "public":
      return keys.public(record.what);
    case "mac":
      return keys.mac(record.what);
    case "claim":
      return keys.claim(record.guest, record.nic);
    case "member":
    case "carrier":
      return keys[record.kind](record.of, record.guest, record.nic);
    case "attachment":
      return keys.attachment(record.host, record.port);
    case "host":
    case "alive":
      return keys[record.kind](record.host);
    case "lease":
      return keys.dhcpLease(record.network, record.address);
    default:
      return unreachable(record);
  }
}

function readNicKey(
  kind: "member" | "carrier",
  of: ObjectName | undefined,
  guest: ObjectName | undefined,
  nic: number,
): ParsedKey | undefined {
  return of === undefined || guest === undefined ? undefined : { kind, of, guest, nic };
}

function readHostKey(kind: "host" | "alive", text: string): ParsedKey | undefined {
  const host = parseHostId(text);
  return host === undefined ? undefined : { kind, host };
}

function readKey([kind, first = "", second = "", third = ""]: readonly string[]): ParsedKey | undefined {
  const [name, address] = [parseObjectName(first), parseIp(second)];
  switch (kind) {
    case "network":
    case "group":
    case "guest":
      return name === undefined ? undefined : { kind, name };
    case "address":
    case "lease":
      if (name === undefined || address === undefined) return undefined;
      return { kind, what: `${name}/${address}`, network: name, address };
    case "public": {
      const what = parseIpv4(first);
      return what === undefined ? undefined : { kind, what };
    }
    case "mac": {
      const what = parseMac(first);
      return what === undefined ? undefined : { kind, what };
    }
    case "claim":
      return name === undefined ? undefined : { kind, what: `${name}/${second}`, guest: name, nic: Number(second) };
    case "member":
    case "carrier":
      return readNicKey(kind, name, parseObjectName(second), Number(third));
    case "attachment": {
      const [host, port] = [parseHostId(first), parseInterfaceName(second)];
      return host === undefined || port === undefined ? undefined : { kind, host, port };
    }
    case "host":
    case "alive":
      return readHostKey(kind, first);
    default:
      return undefined;
  }
}

/** The inverse of `keys`; undefined for what `keys` never makes, such as a MAC in capitals or more after the name. */
export function parseKey(key: Key): ParsedKey | undefined {
  const parsed = readKey(key.split("/"));
  return parsed !== undefined && keyOf(parsed) === key ? parsed : undefined;
}

export function encodeRecord(record: StoreRecord): { readonly key: Key; readonly value: Json } {
  const value: Json = JSON.parse(JSON.stringify(record.value));
  return { key: keyOf(record), value };
}

/** A record that stands under another one's key would be believed to be that one. */
function assertOwnKey(key: Key, own: Key): void {
  if (own !== key) throw corrupt(key, `it is the record of '${own}'`);
}

/** @throws STORE_CORRUPT naming the key and the field */
export function decodeRecord(key: Key, json: Json): StoreRecord {
  const parsed = parseKey(key);
  switch (parsed?.kind) {
    case "network":
      return { ...parsed, value: checked(key, json, shapes.network) };
    case "group":
      return { ...parsed, value: checked(key, json, shapes.group) };
    case "guest": {
      const value = checked(key, json, shapes.guest);
      assertOwnKey(key, keys.guest(value.name));
      return { ...parsed, value };
    }
    case "address":
      return { ...parsed, value: checked(key, json, shapes.address) };
    case "public":
      return { ...parsed, value: checked(key, json, shapes.public) };
    case "mac":
      return { ...parsed, value: checked(key, json, shapes.mac) };
    case "claim":
      return { ...parsed, value: checked(key, json, shapes.claim) };
    case "member":
      return { ...parsed, value: checked(key, json, shapes.member) };
    case "carrier":
      return { ...parsed, value: checked(key, json, shapes.carrier) };
    case "attachment": {
      const value = checked(key, json, shapes.attachment);
      assertOwnKey(key, keys.attachment(parsed.host, value.port));
      return { ...parsed, value };
    }
    case "host":
      return { kind: "host", host: parsed.host, value: checked(key, json, shapes.host) };
    case "alive":
      return { kind: "alive", host: parsed.host, value: checked(key, json, shapes.alive) };
    case "lease": {
      const value = checked(key, json, shapes.lease);
      assertOwnKey(key, keys.dhcpLease(value.network, value.address));
      return { ...parsed, value };
    }
    default:
      throw corrupt(key, "it is of no kind this version knows");
  }
}
