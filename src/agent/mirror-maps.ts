/** The maps of a mirror, and what a record under a key puts into them and takes out of them. */
import type { Ipv4Address } from "../model/ipv4.ts";
import { isMember, kindOf } from "../model/keys.ts";
import type { MacAddress } from "../model/mac.ts";
import {
  type HostId,
  type InterfaceName,
  type ObjectName,
  parseInterfaceName,
  parseObjectName,
} from "../model/names.ts";
import type { GroupSpec } from "../model/policy.ts";
import type { Attachment, DhcpLease, Guest, NetworkSpec, NicClaim, PublicHolder } from "../model/resources.ts";
import type { ClaimRecord, StoreRecord } from "../store/collections.ts";
import type { Unread } from "../store/read-record.ts";
import type { Key, Revision } from "../store/store.ts";
import { type ColdClaims, createColdClaims } from "./cold-claims.ts";
import { createKnownGuests, type KnownGuests } from "./known-guests.ts";
import { createLearnedGuests, type LearnedGuests } from "./learned-guests.ts";
import { isSite } from "./mirror-keys.ts";
import type { Scope } from "./scope.ts";

export interface Maps {
  readonly networks: Map<ObjectName, NetworkSpec>;
  readonly groups: Map<ObjectName, GroupSpec>;
  readonly guests: Map<ObjectName, Guest>;
  readonly addresses: Map<string, ClaimRecord>;
  readonly macs: Map<MacAddress, ClaimRecord>;
  readonly cooling: ColdClaims;
  readonly publics: Map<Ipv4Address, readonly PublicHolder[]>;
  readonly attachments: Map<InterfaceName, Attachment>;
  /** Attachments of other hosts: their guests cannot be deleted either. */
  readonly elsewhere: Map<Key, Attachment>;
  readonly claims: Map<string, NicClaim>;
  readonly leases: Map<string, DhcpLease>;
  readonly revisions: Map<Key, Revision>;
  readonly learned: LearnedGuests;
  readonly unread: Map<Key, Unread>;
  /** Where not the whole site is held. */
  readonly known: KnownGuests | undefined;
}

export function emptyMaps(scope: Scope): Maps {
  const guests = new Map<ObjectName, Guest>();
  const learned = createLearnedGuests((name) => known?.refresh(name));
  const known = scope === "host" ? createKnownGuests(learned.guests, guests) : undefined;
  return {
    learned,
    known,
    guests,
    networks: new Map(),
    groups: new Map(),
    addresses: new Map(),
    macs: new Map(),
    cooling: createColdClaims(),
    publics: new Map(),
    attachments: new Map(),
    elsewhere: new Map(),
    claims: new Map(),
    leases: new Map(),
    revisions: new Map(),
    unread: new Map(),
  };
}

/** One that was given up has no holder. */
function putClaim<What>(held: Map<What, ClaimRecord>, what: What, claim: ClaimRecord | undefined): void {
  if (claim === undefined) held.delete(what);
  else held.set(what, claim);
}

/** Whether a record under this host's name is this host's. */
export type IsOwn = (attachment: Attachment) => boolean;

/** Under this host's name: its own, or another machine's that has the name now. */
function putNamed({ attachments, elsewhere }: Maps, key: Key, value: Attachment, isOwn: boolean): void {
  if (isOwn) {
    elsewhere.delete(key);
    attachments.set(value.port, value);
  } else {
    attachments.delete(value.port);
    elsewhere.set(key, value);
  }
}

/** @returns whether the site is another one by it */
export function put(maps: Maps, host: HostId, isOwn: IsOwn, key: Key, record: StoreRecord): boolean {
  switch (record.kind) {
    case "network":
      maps.networks.set(record.name, record.value);
      return true;
    case "group":
      maps.groups.set(record.name, record.value);
      return true;
    case "guest":
      maps.guests.set(record.name, record.value);
      maps.learned.setGuest(record.name, record.value);
      return true;
    case "address":
      putClaim(maps.addresses, record.what, maps.cooling.take(record));
      return false;
    case "public":
      maps.publics.set(record.what, record.value.holders);
      return false;
    case "mac":
      putClaim(maps.macs, record.what, maps.cooling.take(record));
      return false;
    case "attachment":
      if (record.host === host) putNamed(maps, key, record.value, isOwn(record.value));
      else maps.elsewhere.set(key, record.value);
      return false;
    case "host":
    case "alive":
      // Followed by the book of hosts.
      return false;
    case "claim":
      maps.claims.set(record.what, record.value);
      return false;
    case "member":
    case "carrier":
      maps.known?.put(key, record);
      return maps.known !== undefined;
    default:
      maps.leases.set(record.what, record.value);
      return maps.learned.setLease(record.what, record.value);
  }
}

function dropMember({ known }: Maps, key: Key, rest: string): boolean {
  const guest = parseObjectName(rest.split("/")[1] ?? "");
  if (guest !== undefined) known?.drop(key, guest);
  return known !== undefined;
}

/** Removes what stood under a key, by the key alone: the value is gone. Texts that parsed once are found again as they are. */
export function drop(maps: Maps, key: Key): boolean {
  const kind = kindOf(key);
  const rest = key.slice(kind.length + 1);
  const byKind: Readonly<Record<string, ReadonlyMap<string, unknown> & { delete(text: string): boolean }>> = {
    network: maps.networks,
    group: maps.groups,
    guest: maps.guests,
    address: maps.addresses,
    mac: maps.macs,
    public: maps.publics,
    claim: maps.claims,
    lease: maps.leases,
  };
  byKind[kind]?.delete(rest);
  maps.cooling.drop(kind, rest);
  const name = kind === "guest" ? parseObjectName(rest) : undefined;
  if (name !== undefined) maps.learned.setGuest(name, undefined);
  if (kind === "attachment" && !maps.elsewhere.delete(key)) {
    const port = parseInterfaceName(rest.slice(rest.indexOf("/") + 1));
    if (port !== undefined) maps.attachments.delete(port);
  }
  if (isMember(key)) return dropMember(maps, key, rest);
  return kind === "lease" ? maps.learned.setLease(rest, undefined) : isSite(key);
}
