/** What the entries of the store mean: each checked on its way in, so that a damaged record is named and not believed. */
import { GuardError } from "../model/errors.ts";
import { parseIpv4, parsePrefix4 } from "../model/ipv4.ts";
import { parseMac } from "../model/mac.ts";
import type { ObjectName } from "../model/names.ts";
import { parseInterfaceName, parseObjectName } from "../model/names.ts";
import type { Attachment, DhcpLease, GroupSpec, Guest, NetworkSpec } from "../model/resources.ts";
import type { Json, Key } from "./store.ts";

/** A NIC that holds an address or a MAC. */
export interface ClaimRecord {
  readonly guest: ObjectName;
  readonly nic: number;
}

export type StoreRecord =
  | { readonly kind: "network"; readonly name: ObjectName; readonly value: NetworkSpec }
  | { readonly kind: "group"; readonly name: ObjectName; readonly value: GroupSpec }
  | { readonly kind: "guest"; readonly name: ObjectName; readonly value: Guest }
  /** `what` is `network/address`. */
  | { readonly kind: "address"; readonly what: string; readonly value: ClaimRecord }
  | { readonly kind: "mac"; readonly what: string; readonly value: ClaimRecord }
  | { readonly kind: "attachment"; readonly host: string; readonly value: Attachment }
  | { readonly kind: "lease"; readonly what: string; readonly value: DhcpLease };

type Fields = Readonly<Record<string, unknown>>;
type Check<T> = (value: unknown) => value is T;

const isFields = (value: unknown): value is Fields =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isText = (value: unknown): value is string => typeof value === "string";
const isNumber = (value: unknown): value is number => typeof value === "number" && Number.isFinite(value);
const parses = (parse: (text: string) => unknown, value: unknown): boolean =>
  isText(value) && parse(value) !== undefined;
const isList = (value: unknown, item: (value: unknown) => boolean): boolean =>
  Array.isArray(value) && value.every(item);

const isNetwork: Check<NetworkSpec> = (value): value is NetworkSpec =>
  isFields(value) &&
  parses(parsePrefix4, value["prefix4"]) &&
  parses(parseIpv4, value["gateway4"]) &&
  Array.isArray(value["range4"]) &&
  isFields(value["wiring"]) &&
  value["wiring"]["kind"] === "bridged" &&
  isFields(value["addressing"]) &&
  value["addressing"]["kind"] === "managed" &&
  isNumber(value["addressing"]["leaseSeconds"]);

const isGroup: Check<GroupSpec> = (value): value is GroupSpec =>
  isFields(value) && Array.isArray(value["ingress"]) && Array.isArray(value["egress"]);

const isIdentity = (value: unknown): boolean =>
  isFields(value) &&
  parses(parseObjectName, value["network"]) &&
  parses(parseMac, value["mac"]) &&
  isList(value["addresses4"], (address) => parses(parseIpv4, address));

const isGuest: Check<Guest> = (value): value is Guest =>
  isFields(value) &&
  parses(parseObjectName, value["name"]) &&
  isFields(value["spec"]) &&
  Array.isArray(value["spec"]["nics"]) &&
  isList(value["nics"], isIdentity);

const isClaim: Check<ClaimRecord> = (value): value is ClaimRecord =>
  isFields(value) && parses(parseObjectName, value["guest"]) && isNumber(value["nic"]);

const isAttachment: Check<Attachment> = (value): value is Attachment =>
  isFields(value) &&
  parses(parseInterfaceName, value["port"]) &&
  isNumber(value["ifindex"]) &&
  isText(value["epoch"]) &&
  parses(parseObjectName, value["guest"]) &&
  isNumber(value["nic"]) &&
  isNumber(value["since"]);

const isLease: Check<DhcpLease> = (value): value is DhcpLease =>
  isFields(value) &&
  parses(parseObjectName, value["network"]) &&
  parses(parseIpv4, value["address"]) &&
  parses(parseObjectName, value["guest"]) &&
  parses(parseMac, value["mac"]) &&
  isNumber(value["expiresAt"]) &&
  (value["state"] === "bound" || value["state"] === "released" || value["state"] === "declined");

function corrupt(key: Key, why: string): GuardError {
  return new GuardError("STORE_CORRUPT", `store entry '${key}' ${why}`, { fields: { key } });
}

function checked<T>(key: Key, value: Json, check: Check<T>): T {
  if (check(value)) return value;
  throw corrupt(key, "is not what an entry of its kind looks like");
}

function nameIn(key: Key, text: string | undefined): ObjectName {
  const name = parseObjectName(text ?? "");
  if (name === undefined) throw corrupt(key, "has no name");
  return name;
}

/** @throws STORE_CORRUPT */
export function decodeRecord(key: Key, value: Json): StoreRecord {
  const slash = key.indexOf("/");
  const kind = key.slice(0, slash);
  const rest = key.slice(slash + 1);
  switch (kind) {
    case "network":
      return { kind, name: nameIn(key, rest), value: checked(key, value, isNetwork) };
    case "group":
      return { kind, name: nameIn(key, rest), value: checked(key, value, isGroup) };
    case "guest":
      return { kind, name: nameIn(key, rest), value: checked(key, value, isGuest) };
    case "address":
    case "mac":
      return { kind, what: rest, value: checked(key, value, isClaim) };
    case "attachment":
      return { kind, host: rest.slice(0, rest.indexOf("/")), value: checked(key, value, isAttachment) };
    case "lease":
      return { kind, what: rest, value: checked(key, value, isLease) };
    default:
      throw corrupt(key, "is of no kind this version knows");
  }
}
