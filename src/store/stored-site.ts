/** The whole of a store, read back and sorted by kind. */
import type { AliveRecord, HostRecord } from "../model/hosts.ts";
import type { Ipv4Address } from "../model/ipv4.ts";
import type { MacAddress } from "../model/mac.ts";
import type { HostId, ObjectName } from "../model/names.ts";
import { unreachable } from "../model/never.ts";
import type { GroupSpec } from "../model/policy.ts";
import type {
  Attachment,
  DhcpLease,
  Guest,
  NetworkSpec,
  NicClaim,
  NicMember,
  PublicHolder,
} from "../model/resources.ts";
import type { ClaimRecord, StoreRecord } from "./collections.ts";
import { LEVEL, levelOf, readRecord } from "./read-record.ts";
import type { Key, Revision, Snapshot } from "./store.ts";

export interface StoredSite {
  readonly networks: Map<ObjectName, NetworkSpec>;
  readonly groups: Map<ObjectName, GroupSpec>;
  readonly guests: Map<ObjectName, Guest>;
  /** By key: the same port name exists on many hosts. */
  readonly attachments: Map<Key, Attachment>;
  readonly hosts: Map<HostId, HostRecord>;
  readonly alive: Map<HostId, AliveRecord>;
  /** By `network/address`, like the claims. */
  readonly leases: Map<string, DhcpLease>;
  readonly addressClaims: Map<string, ClaimRecord>;
  readonly macClaims: Map<MacAddress, ClaimRecord>;
  readonly publics: Map<Ipv4Address, readonly PublicHolder[]>;
  /** By `guest/nic`. */
  readonly nicClaims: Map<string, NicClaim>;
  /** By key: under the NIC's network, and under each of its groups. */
  readonly members: Map<Key, NicMember>;
  readonly revisions: Map<Key, Revision>;
  /** What a newer version wrote. */
  readonly unread: Key[];
}

function putRecord(site: StoredSite, key: Key, record: StoreRecord): StoredSite[keyof StoredSite] {
  switch (record.kind) {
    case "network":
      return site.networks.set(record.name, record.value);
    case "group":
      return site.groups.set(record.name, record.value);
    case "guest":
      return site.guests.set(record.name, record.value);
    case "address":
      return site.addressClaims.set(record.what, record.value);
    case "public":
      return site.publics.set(record.what, record.value.holders);
    case "mac":
      return site.macClaims.set(record.what, record.value);
    case "claim":
      return site.nicClaims.set(record.what, record.value);
    case "member":
    case "carrier":
      return site.members.set(key, record.value);
    case "attachment":
      return site.attachments.set(key, record.value);
    case "host":
      return site.hosts.set(record.host, record.value);
    case "alive":
      return site.alive.set(record.host, record.value);
    case "lease":
      return site.leases.set(record.what, record.value);
    default:
      return unreachable(record);
  }
}

/** @throws STORE_CORRUPT naming the first bad record */
export function loadSite({ entries }: Snapshot): StoredSite {
  const site: StoredSite = {
    networks: new Map(),
    groups: new Map(),
    guests: new Map(),
    attachments: new Map(),
    hosts: new Map(),
    alive: new Map(),
    leases: new Map(),
    addressClaims: new Map(),
    macClaims: new Map(),
    publics: new Map(),
    nicClaims: new Map(),
    members: new Map(),
    revisions: new Map(),
    unread: [],
  };
  const level = levelOf(entries.get(LEVEL)?.value);
  for (const { key, value, revision } of entries.values()) {
    site.revisions.set(key, revision);
    const record = readRecord(key, value, level);
    if (record.kind === "unread") site.unread.push(key);
    else if (record.kind !== "aside") putRecord(site, key, record);
  }
  return site;
}
