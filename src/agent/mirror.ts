/** What the store holds, as this host needs it: kept current by a watch, never written here. */
import { GuardError } from "../model/errors.ts";
import type { Ipv4Address } from "../model/ipv4.ts";
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
import type { SiteView } from "../plan/desired.ts";
import type { HeldSite } from "../plan/site.ts";
import type { ClaimRecord, StoreRecord } from "../store/collections.ts";
import { LEVEL, levelOf, readRecord, type Unread } from "../store/read-record.ts";
import type { Change, Entry, Key, Revision, Store } from "../store/store.ts";
import { type ColdClaims, createColdClaims } from "./cold-claims.ts";
import { createLearnedGuests, type LearnedGuests } from "./learned-guests.ts";

export interface Mirror {
  readonly networks: ReadonlyMap<ObjectName, NetworkSpec>;
  readonly groups: ReadonlyMap<ObjectName, GroupSpec>;
  /** With the addresses that they learned. */
  readonly guests: ReadonlyMap<ObjectName, Guest>;
  /** Of this host. */
  readonly attachments: ReadonlyMap<InterfaceName, Attachment>;
  /** By `guest/nic`, of every host. */
  readonly claims: ReadonlyMap<string, NicClaim>;
  /** Of other hosts, by key. */
  readonly elsewhere: ReadonlyMap<Key, Attachment>;
  /** By `network/address`. */
  readonly leases: ReadonlyMap<string, DhcpLease>;
  /** Of a newer version, by key. */
  readonly unread: ReadonlyMap<Key, Unread>;
  readonly revision: Revision;
  /** Grows whenever networks, groups, guests or what they learned change. */
  readonly siteVersion: number;
  /** The site without what was learned, and a number that grows whenever it changes: far less often than the other. */
  readonly declared: SiteView & { readonly version: number };
  /** What other DHCP servers gave the guest. */
  learnedLeases(guest: ObjectName): readonly DhcpLease[];
  /** What guests gave up lately. */
  readonly cooling: Pick<ColdClaims, "addresses" | "macs" | "version">;
  /** Who holds an address (`network/address`) or had it last, and how old that is. */
  claimOf(what: string): { readonly claim: ClaimRecord | undefined; readonly revision: Revision };
  /** What a plan is made against: guests as they were declared. */
  held(): HeldSite;
  /** Resolves when the mirror shows that revision; rejects when it never will. */
  caughtUp(revision: Revision): Promise<void>;
  /** Of a key that plans are made against, or of a claim; 0 when there is none. */
  revisionOf(key: Key): Revision;
  onSiteChange(changed: () => void): void;
  /** Told of the ports of this host that had a part in a claim, or have one now. */
  onClaimChange(changed: (ports: readonly InterfaceName[]) => void): void;
  stop(): Promise<void>;
}

interface Waiter {
  readonly revision: Revision;
  readonly done: () => void;
  readonly fail: (error: unknown) => void;
}

interface Maps {
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
  /** Of everything: what a new reading does not show is gone. */
  readonly keys: Set<Key>;
}

/** Whether a record under this host's name is this host's. */
type IsOwn = (attachment: Attachment) => boolean;

function emptyMaps(): Maps {
  return {
    networks: new Map(),
    groups: new Map(),
    guests: new Map(),
    addresses: new Map(),
    macs: new Map(),
    cooling: createColdClaims(),
    publics: new Map(),
    attachments: new Map(),
    elsewhere: new Map(),
    claims: new Map(),
    leases: new Map(),
    revisions: new Map(),
    learned: createLearnedGuests(),
    unread: new Map(),
    keys: new Set(),
  };
}

/** One that was given up has no holder. */
function putClaim<What>(held: Map<What, ClaimRecord>, what: What, claim: ClaimRecord | undefined): void {
  if (claim === undefined) held.delete(what);
  else held.set(what, claim);
}

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
function put(maps: Maps, host: HostId, isOwn: IsOwn, key: Key, record: StoreRecord): boolean {
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
    default:
      maps.leases.set(record.what, record.value);
      return maps.learned.setLease(record.what, record.value);
  }
}

/** Removes what stood under a key, by the key alone: the value is gone. Texts that parsed once are found again as they are. */
function drop(maps: Maps, key: Key): boolean {
  const slash = key.indexOf("/");
  const kind = key.slice(0, slash);
  const rest = key.slice(slash + 1);
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
  return kind === "lease" ? maps.learned.setLease(rest, undefined) : isSite(key);
}

const isSite = (key: Key): boolean =>
  key.startsWith("network/") || key.startsWith("group/") || key.startsWith("guest/");

/** Ports of this host that a claim names. */
function concerned(claim: NicClaim | undefined, host: HostId): readonly InterfaceName[] {
  return [claim?.holder, claim?.next].flatMap((place) => (place?.host === host ? [place.port] : []));
}

/** Leases change by the thousand and no plan is made against them. */
const isPlanned = (key: Key): boolean => !key.startsWith("lease/") && !key.startsWith("attachment/");

/**
 * @param failed told when the watch broke: what is mirrored then stays as it was, and nothing that waits for more is kept waiting
 * @throws STORE_CORRUPT when an entry is not what it should be
 */
export async function startMirror(
  store: Store,
  host: HostId,
  failed: (error: unknown) => void = () => undefined,
  isOwn: IsOwn = () => true,
): Promise<Mirror> {
  const maps = emptyMaps();
  const snapshot = await store.read("");
  let level = levelOf(snapshot.entries.get(LEVEL)?.value);
  for (const entry of snapshot.entries.values()) takeEntry(entry);
  let revision = snapshot.revision;
  let siteVersion = 1;
  let declaredVersion = 1;
  let siteChanged = (): void => undefined;
  let claimChanged: (ports: readonly InterfaceName[]) => void = () => undefined;
  let waiting: readonly Waiter[] = [];
  let broken: unknown;
  const stopping = new AbortController();

  const claimUnder = (key: Key): NicClaim | undefined =>
    key.startsWith("claim/") ? maps.claims.get(key.slice("claim/".length)) : undefined;

  /** @returns whether the site is another one by it */
  function takeEntry({ key, value, revision: at }: Pick<Entry, "key" | "value" | "revision">): boolean {
    if (key === LEVEL) level = levelOf(value);
    const record = readRecord(key, value, level);
    maps.keys.add(key);
    if (record.kind === "aside") return false;
    maps.unread.delete(key);
    if (record.kind === "unread") return passOver(key, record);
    const isOther = put(maps, host, isOwn, key, record);
    if (isPlanned(key)) maps.revisions.set(key, at);
    return isOther;
  }

  /** As if it were not there; without a revision, so that nothing is written in its place. */
  function passOver(key: Key, record: Unread): boolean {
    const isOther = drop(maps, key);
    maps.revisions.delete(key);
    maps.unread.set(key, record);
    return isOther;
  }

  /** @returns whether the site is another one by it */
  function dropKey(key: Key): boolean {
    maps.keys.delete(key);
    maps.revisions.delete(key);
    maps.unread.delete(key);
    if (key === LEVEL) level = levelOf(undefined);
    return drop(maps, key);
  }

  function take(change: Change): void {
    const before = change.changes.map(({ key }) => claimUnder(key));
    const isOther = change.changes.map((entry) =>
      "deleted" in entry ? dropKey(entry.key) : takeEntry({ ...entry, revision: change.revision }),
    );
    if (change.changes.some(({ key }) => isSite(key))) declaredVersion += 1;
    stand(change.revision, isOther.includes(true));
    const claims = [...before, ...change.changes.map(({ key }) => claimUnder(key))];
    const ports = new Set(claims.flatMap((claim) => concerned(claim, host)));
    if (ports.size > 0) claimChanged([...ports]);
  }

  /** Too much was missed to be told one by one. */
  async function readAgain(): Promise<void> {
    const now = await store.read("");
    level = levelOf(now.entries.get(LEVEL)?.value);
    for (const key of [...maps.keys]) if (!now.entries.has(key)) dropKey(key);
    for (const entry of now.entries.values()) takeEntry(entry);
    declaredVersion += 1;
    stand(now.revision, true);
  }

  function stand(at: Revision, isSiteChanged: boolean): void {
    revision = at;
    if (isSiteChanged) {
      siteVersion += 1;
      siteChanged();
    }
    const due = waiting.filter((waiter) => waiter.revision <= revision);
    waiting = waiting.filter((waiter) => waiter.revision > revision);
    for (const { done } of due) done();
  }

  async function watchOn(): Promise<void> {
    while (!stopping.signal.aborted) {
      try {
        for await (const change of store.watch("", revision, stopping.signal)) take(change);
        return;
      } catch (error) {
        if (!(error instanceof GuardError) || error.code !== "CONFLICT") throw error;
        await readAgain();
      }
    }
  }

  async function follow(): Promise<void> {
    try {
      await watchOn();
    } catch (error) {
      broken = error;
      for (const { fail } of waiting) fail(error);
      waiting = [];
      failed(error);
    }
  }
  const following = follow();

  return {
    networks: maps.networks,
    groups: maps.groups,
    guests: maps.learned.guests,
    attachments: maps.attachments,
    elsewhere: maps.elsewhere,
    claims: maps.claims,
    leases: maps.leases,
    unread: maps.unread,
    get revision() {
      return revision;
    },
    get siteVersion() {
      return siteVersion;
    },
    declared: {
      networks: maps.networks,
      groups: maps.groups,
      guests: maps.guests,
      get version() {
        return declaredVersion;
      },
    },
    learnedLeases: maps.learned.leases,
    cooling: maps.cooling,
    claimOf: (what) => ({
      claim: maps.addresses.get(what) ?? maps.cooling.addresses.get(what),
      revision: maps.revisions.get(`address/${what}`) ?? 0,
    }),
    held: () => ({
      networks: maps.networks,
      groups: maps.groups,
      guests: maps.guests,
      addresses: maps.addresses,
      macs: maps.macs,
      publics: maps.publics,
      cooling: maps.cooling,
      revisions: maps.revisions,
      attached: new Set([...maps.attachments.values(), ...maps.elsewhere.values()].map(({ guest }) => guest)),
    }),
    caughtUp: (wanted) =>
      new Promise((resolve, reject) => {
        if (wanted <= revision) resolve();
        else if (broken !== undefined) reject(broken);
        else waiting = [...waiting, { revision: wanted, done: resolve, fail: reject }];
      }),
    revisionOf: (key) => maps.revisions.get(key) ?? 0,
    onSiteChange: (changed) => {
      siteChanged = changed;
    },
    onClaimChange: (changed) => {
      claimChanged = changed;
    },
    stop: async () => {
      stopping.abort();
      await following;
    },
  };
}
