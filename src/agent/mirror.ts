/** What the store holds, as this host needs it: kept current by watches, never written here. */
import { isMember } from "../model/keys.ts";
import type { HostId, InterfaceName, ObjectName } from "../model/names.ts";
import type { GroupSpec } from "../model/policy.ts";
import type { Attachment, DhcpLease, Guest, NetworkSpec, NicClaim } from "../model/resources.ts";
import type { SiteView } from "../plan/desired.ts";
import type { HeldSite } from "../plan/site.ts";
import type { ClaimRecord } from "../store/collections.ts";
import { holds } from "../store/place.ts";
import { LEVEL, levelOf, readRecord, type Unread } from "../store/read-record.ts";
import type { Change, Entry, Key, Place, Revision, Snapshot, Store, Write } from "../store/store.ts";
import type { ColdClaims } from "./cold-claims.ts";
import { asChange, concerned, isLeading, isSite } from "./mirror-keys.ts";
import { drop, emptyMaps, type IsOwn, put } from "./mirror-maps.ts";
import { createPlaces } from "./places.ts";
import { basePlaces, guestPlace, hostPlaces, type Scope } from "./scope.ts";
import { createWaiters } from "./waiters.ts";

export interface Mirror {
  readonly networks: ReadonlyMap<ObjectName, NetworkSpec>;
  readonly groups: ReadonlyMap<ObjectName, GroupSpec>;
  /** With the addresses that they learned. Of other hosts, where only what concerns this one is held, no more than its ports must know. */
  readonly guests: ReadonlyMap<ObjectName, Guest>;
  /** Those known whole, as they were declared. */
  readonly whole: ReadonlyMap<ObjectName, Guest>;
  /** Of this host. */
  readonly attachments: ReadonlyMap<InterfaceName, Attachment>;
  /** By `guest/nic`. */
  readonly claims: ReadonlyMap<string, NicClaim>;
  /** Of other hosts, by key; only where the whole site is held. */
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
  /** The guest with these leases, or those that it has. */
  withLearned(guest: Guest, leases?: readonly DhcpLease[]): Guest;
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
  /** Resolves when the mirror shows what was committed under that revision. */
  wrote(writes: readonly Write[], revision: Revision): Promise<void>;
  /** Has all that a port of the guest would need held, until that is called. @throws STORE_UNAVAILABLE */
  ask(guest: ObjectName): Promise<() => void>;
  /** Keys that are held. */
  readonly size: number;
  /** 0 when there is none. */
  revisionOf(key: Key): Revision;
  /** Whether this process was the last to write it. */
  isOwnWrite(key: Key): boolean;
  onSiteChange(changed: () => void): void;
  /** Told of the ports of this host that had a part in a claim, or have one now. */
  onClaimChange(changed: (ports: readonly InterfaceName[]) => void): void;
  stop(): Promise<void>;
}

export interface MirrorOptions {
  readonly scope?: Scope | undefined;
  readonly isOwn?: IsOwn;
}

/** What one transaction changed in two places is told apart, and must not be seen apart; in milliseconds. */
const TOGETHER_MS = 10;

/**
 * @param failed told when a watch broke: what is mirrored then stays as it was, and nothing that waits for more is kept waiting
 * @throws STORE_CORRUPT when an entry is not what it should be
 */
export async function startMirror(
  store: Store,
  host: HostId,
  failed: (error: unknown) => void = () => undefined,
  { scope = "site", isOwn = () => true }: MirrorOptions = {},
): Promise<Mirror> {
  const maps = emptyMaps(scope);
  /** What this host wrote itself, before its watches told. */
  const own = new Map<Key, Revision>();
  /** Claims that it was the last to write, unless their revision says otherwise. */
  const written = new Map<Key, Revision>();
  const asked = new Map<ObjectName, number>();
  let revision: Revision = 0;
  let level = levelOf(undefined);
  let siteVersion = 1;
  let declaredVersion = 1;
  let siteChanged = (): void => undefined;
  let claimChanged: (ports: readonly InterfaceName[]) => void = () => undefined;
  let broken: unknown;
  let isDue = false;
  let timer: NodeJS.Timeout | undefined;

  const places = createPlaces({
    store,
    changed: (change) => take(change.changes.filter(isNews(change.revision)), change.revision, "others"),
    shown,
    gone: (place) => {
      const isOther = keysOf(place)
        .filter((key) => !places.holds(key))
        .map(dropKey);
      if (!isOther.includes(true)) return;
      declaredVersion += 1;
      stand(revision, true, "others");
    },
    opened: () => {
      if (isDue) tell();
      waiters.look();
    },
    failed: (error) => {
      broken ??= error;
      waiters.fail(error);
      failed(error);
    },
  });

  // Not before what a change made necessary was read, too.
  const waiters = createWaiters(() => (places.isOpening ? undefined : revision));

  function rescope(): void {
    const view = { ...maps, guests: maps.learned.guests, host, asked: new Set(asked.keys()) };
    places.want(scope === "site" ? [""] : hostPlaces(view));
  }

  const claimUnder = (key: Key): NicClaim | undefined =>
    key.startsWith("claim/") ? maps.claims.get(key.slice("claim/".length)) : undefined;

  const keysOf = (place: Place): readonly Key[] =>
    [...maps.revisions.keys(), ...maps.unread.keys()].filter((key) => holds(place, key));

  /** What is known already, or newer by now, is none. */
  function isNews(at: Revision): (one: Change["changes"][number]) => boolean {
    return ({ key }) => {
      if (own.get(key) !== at) return (maps.revisions.get(key) ?? 0) <= at;
      own.delete(key);
      return false;
    };
  }

  /** The watch may have told it before the commit was answered. What is kept here while the store is away comes under a revision that was before. */
  function isUnseen(at: Revision): (write: Write) => boolean {
    return ({ key }) => {
      const known = maps.revisions.get(key) ?? 0;
      return places.holds(key) && (known < at || (known === at && !isSite(key)));
    };
  }

  /** @returns whether the site is another one by it */
  function takeEntry({ key, value, revision: at }: Pick<Entry, "key" | "value" | "revision">): boolean {
    if (key === LEVEL) level = levelOf(value);
    const record = readRecord(key, value, level);
    if (record.kind === "aside") return false;
    maps.unread.delete(key);
    if (record.kind === "unread") return passOver(key, record);
    const isOther = put(maps, host, isOwn, key, record);
    maps.revisions.set(key, at);
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
    own.delete(key);
    if (key === LEVEL) level = levelOf(undefined);
    maps.unread.delete(key);
    return maps.revisions.delete(key) && drop(maps, key);
  }

  /** Tells of the ports that have, or had, a part in claims under these keys. */
  function tellingClaims(keys: readonly Key[], change: () => void): void {
    const before = keys.map(claimUnder);
    change();
    const ports = new Set([...before, ...keys.map(claimUnder)].flatMap((claim) => concerned(claim, host)));
    if (ports.size > 0) claimChanged([...ports]);
  }

  const take = (changes: Change["changes"], at: Revision, by: "this host" | "others"): void =>
    tellingClaims(
      changes.map(({ key }) => key),
      () => takeAll(changes, at, by),
    );

  function takeAll(changes: Change["changes"], at: Revision, by: "this host" | "others"): void {
    const isOther = changes.map((entry) =>
      "deleted" in entry ? dropKey(entry.key) : takeEntry({ ...entry, revision: at }),
    );
    if (changes.some(({ key }) => isSite(key) && (scope === "host" || !isMember(key)))) declaredVersion += 1;
    if (scope === "host" && changes.some(({ key }) => isLeading(key))) rescope();
    stand(at, isOther.includes(true), by);
  }

  /** All of a place: read for the first time, or again because too much was missed to be told one by one. */
  function shown(place: Place, { entries, revision: at }: Snapshot, isFirst: boolean): void {
    const known = isFirst ? [] : keysOf(place);
    const old = known.filter((key) => !entries.has(key) && (maps.revisions.get(key) ?? 0) <= at);
    const entered = [...entries.values()].filter((entry) => (maps.revisions.get(entry.key) ?? -1) < entry.revision);
    tellingClaims([...old, ...entered.map(({ key }) => key)], () => {
      if (holds(place, LEVEL)) level = levelOf(entries.get(LEVEL)?.value);
      for (const key of old) dropKey(key);
      for (const entry of entered) takeEntry(entry);
      declaredVersion += 1;
      if (scope === "host" && [...old, ...entries.keys()].some(isLeading)) rescope();
      stand(at, true, "others");
    });
  }

  function stand(at: Revision, isSiteChanged: boolean, by: "this host" | "others"): void {
    revision = Math.max(revision, at);
    if (isSiteChanged) {
      siteVersion += 1;
      isDue = true;
    }
    if (isDue && !places.isOpening) tellSoon(by);
    waiters.look();
  }

  function tellSoon(by: "this host" | "others"): void {
    if (scope === "site" || by === "this host") tell();
    else timer ??= setTimeout(tell, TOGETHER_MS).unref();
  }

  function tell(): void {
    clearTimeout(timer);
    timer = undefined;
    isDue = false;
    siteChanged();
  }

  if (scope === "host") {
    // What other places hold is read by it.
    places.want([{ key: LEVEL }]);
    await places.settled();
  }
  rescope();
  await places.settled();
  // Without these nothing else can be known; what else could not be read is read later.
  for (const place of scope === "site" ? [""] : basePlaces(host)) broken ??= places.faultOf(place);
  if (broken !== undefined) {
    await places.stop();
    throw broken;
  }

  return {
    networks: maps.networks,
    groups: maps.groups,
    guests: maps.known?.guests ?? maps.learned.guests,
    whole: maps.guests,
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
    get size() {
      return maps.revisions.size;
    },
    declared: {
      networks: maps.networks,
      groups: maps.groups,
      guests: maps.known?.declared ?? maps.guests,
      get version() {
        return declaredVersion;
      },
    },
    learnedLeases: maps.learned.leases,
    withLearned: maps.learned.withLearned,
    cooling: maps.cooling,
    claimOf: (what) => ({
      claim: maps.addresses.get(what) ?? maps.cooling.addresses.get(what),
      revision: maps.revisions.get(`address/${what}`) ?? 0,
    }),
    held: () => ({
      networks: new Map([...maps.networks].filter(([name]) => places.holds(`address/${name}/`))),
      groups: maps.groups,
      guests: maps.guests,
      addresses: maps.addresses,
      macs: maps.macs,
      publics: maps.publics,
      cooling: maps.cooling,
      revisions: maps.revisions,
      learned: maps.learned.withLearned,
      attached: new Set([...maps.attachments.values(), ...maps.elsewhere.values()].map(({ guest }) => guest)),
    }),
    caughtUp: waiters.for,
    wrote: (writes, at) => {
      // The one watch of everything tells all in order.
      if (scope === "site") return waiters.for(at);
      const changes = writes.filter(isUnseen(at)).map(asChange);
      for (const { key } of changes) own.set(key, at);
      for (const { key } of writes) if (key.startsWith("claim/")) written.set(key, at);
      take(changes, at, "this host");
      return waiters.for(at);
    },
    ask: async (guest) => {
      const letGo = (): void => {
        const left = (asked.get(guest) ?? 1) - 1;
        if (left === 0) asked.delete(guest);
        else asked.set(guest, left);
        rescope();
      };
      asked.set(guest, (asked.get(guest) ?? 0) + 1);
      rescope();
      await places.settled();
      const fault = scope === "site" ? undefined : places.faultOf(guestPlace(guest));
      if (fault === undefined) return letGo;
      letGo();
      throw fault;
    },
    isOwnWrite: (key) => maps.revisions.get(key) === written.get(key) && written.has(key),
    revisionOf: (key) => maps.revisions.get(key) ?? 0,
    onSiteChange: (changed) => {
      siteChanged = changed;
    },
    onClaimChange: (changed) => {
      claimChanged = changed;
    },
    stop: async () => {
      clearTimeout(timer);
      await places.stop();
    },
  };
}
