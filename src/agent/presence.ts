/**
 * This host among others: its name is taken before anything is touched, and kept under a store lease (invariant I19). What is not heard any more loses nothing: the
 * ports go on, and the name is taken again when the store is back.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { GuardError, isStoreAway } from "../model/errors.ts";
import { type AliveRecord, type HostIdentity, type HostRecord, heartbeat } from "../model/hosts.ts";
import { keys } from "../model/keys.ts";
import { judgeName, type NameVerdict, type NameView } from "../plan/host-names.ts";
import { encodeRecord } from "../store/collections.ts";
import type { LeaseId, Revision, Store, Write } from "../store/store.ts";
import type { Conditions } from "./conditions.ts";
import type { AgentParts } from "./core.ts";
import type { HostBook } from "./host-book.ts";

/** What an agent says of its host. */
export interface PresenceParts {
  readonly identity: HostIdentity;
  /** The store is this host's alone: nobody else can have its name. */
  readonly isAlone: boolean;
  readonly address?: string;
  /** Where the state directory lost what it was. */
  readonly keepInstance: (instance: string) => void;
  readonly ttlSeconds?: number;
  readonly everyMs?: number;
  /** Milliseconds of a clock that nobody sets. */
  readonly ticks?: () => number;
}

export interface Presence {
  /** @throws HOST_TWIN; without an answer of the store it is tried again later */
  claim(): Promise<void>;
  /** Has it say from now on that it is there. @param returning resolves when what was missed is in force */
  begin(returning: (revision: Revision) => Promise<void>): void;
  /** The state directory's, as it stands in attachments. */
  readonly instance: string;
  /** Who else has the name. */
  twin(): string | undefined;
  /** Before a change that needs the name: takes it again where it was lost. */
  ready(): Promise<void>;
  /** What the store says of this host now. */
  refresh(): Promise<void>;
  /** What the store showed of the name last is looked at. */
  look(): void;
  stop(): Promise<void>;
}

type Standing =
  | { readonly kind: "heard"; readonly lease: LeaseId; readonly revision: Revision }
  | { readonly kind: "unheard" }
  | { readonly kind: "twin"; readonly says: string };

interface Seen extends NameView {
  readonly hostRevision: Revision;
  readonly aliveRevision: Revision;
  readonly revision: Revision;
}

/** How often a lease is looked at that may be about to end, in milliseconds. */
const WAIT_EVERY = 500;
/** Somebody else wrote so often in a row only when something is wrong. */
const ATTEMPTS = 5;

type Seams = Pick<AgentParts, "store" | "clock" | "log" | "host" | "epoch" | "version" | "storeHealth">;

function twinText({ other, isHeard }: Extract<NameVerdict, { readonly kind: "twin" }>): string {
  const where = "address" in other && other.address !== undefined ? ` at ${other.address}` : "";
  const state = isHeard ? "up since" : "silent, with ports attached, and known since";
  const machine = other.machine === "" ? "unknown" : other.machine;
  return `another machine${where} (machine id ${machine}, version ${other.version}), ${state} ${new Date(other.since).toISOString()}`;
}

function twinError(host: string, verdict: Extract<NameVerdict, { readonly kind: "twin" }>): GuardError {
  const { other } = verdict;
  return new GuardError("HOST_TWIN", `the name '${host}' belongs to ${twinText(verdict)}`, {
    fields: { host, machine: other.machine, instance: other.instance, since: other.since },
  });
}

async function seenOf(store: Store, { host }: Seams, book: HostBook): Promise<Seen> {
  const [hosts, alive, ports] = await Promise.all([
    store.read({ key: keys.host(host) }),
    store.read({ key: keys.alive(host) }),
    store.read(`attachment/${host}/`),
  ]);
  for (const key of [keys.host(host), keys.alive(host)]) {
    const { entries, revision } = key === keys.host(host) ? hosts : alive;
    const entry = entries.get(key);
    book.note(key, entry?.value, entry?.revision ?? revision);
  }
  return {
    record: book.hosts.get(host)?.value,
    alive: book.alive.get(host)?.value,
    holdsPorts: ports.entries.size > 0,
    hostRevision: book.hosts.get(host)?.revision ?? 0,
    aliveRevision: book.alive.get(host)?.revision ?? 0,
    revision: alive.revision,
  };
}

export function createPresence(seams: Seams, parts: PresenceParts, book: HostBook, conditions: Conditions): Presence {
  const { store, clock, log, host, version } = seams;
  const { ttlSeconds = heartbeat.ttlSeconds, everyMs = heartbeat.everyMs, ticks = () => performance.now() } = parts;
  const waitMs = Math.min(WAIT_EVERY, everyMs);
  const run = randomUUID();
  const since = clock.now();
  let identity = parts.identity;
  let standing: Standing = { kind: "unheard" };
  /** When the lease was good last: on a clock that nobody sets, and as people read it. */
  let heard = { at: ticks(), time: since };
  let returned: (revision: Revision) => Promise<void> = async () => undefined;
  let timer: NodeJS.Timeout | undefined;
  let beating: Promise<void> | undefined;
  let isStopped = false;
  /** Before that an earlier agent of this host may be in the store still. */
  let hasHad = false;

  const aliveRecord = (): AliveRecord => ({
    ...identity,
    run,
    version,
    ...(parts.address === undefined ? {} : { address: parts.address }),
    since,
  });

  function hostRecord(before: HostRecord | undefined): HostRecord {
    const known = before?.instance === identity.instance ? before : undefined;
    return { ...known, ...identity, version, since: known?.since ?? clock.now() };
  }

  function verdictOf(seen: Seen): NameVerdict {
    if (parts.isAlone) return { kind: "ours", instance: identity.instance };
    return judgeName({ ...identity, run }, seen, !hasHad);
  }

  /** @returns false when somebody else wrote meanwhile */
  async function put(seen: Seen): Promise<boolean> {
    const lease = await store.grantLease(ttlSeconds);
    const alive = encodeRecord({ kind: "alive", host, value: aliveRecord() });
    const record = encodeRecord({ kind: "host", host, value: hostRecord(seen.record) });
    const isKnown = JSON.stringify(record.value) === JSON.stringify(seen.record);
    const writes: Write[] = [{ op: "put", ...alive, lease }];
    if (!isKnown) writes.push({ op: "put", ...record });
    const expect = [
      { key: record.key, revision: seen.hostRevision },
      { key: alive.key, revision: seen.aliveRevision },
    ];
    const commit = await store.commit({ expect, writes });
    if (!commit.ok) {
      await store.revokeLease(lease);
      return false;
    }
    standing = { kind: "heard", lease, revision: commit.revision };
    hasHad = true;
    if (!isKnown) book.note(record.key, record.value, commit.revision);
    book.note(alive.key, alive.value, commit.revision);
    return true;
  }

  function adopt(instance: string): void {
    if (instance === identity.instance) return;
    parts.keepInstance(instance);
    identity = { ...identity, instance };
    log.info({ instance }, "the state directory is another one: this host is known by what it was");
  }

  /** @returns what stands in the way, after what could be taken was taken. @throws STORE_UNAVAILABLE, CONFLICT */
  async function take(): Promise<Exclude<NameVerdict, { readonly kind: "ours" }> | undefined> {
    for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
      const seen = await seenOf(store, seams, book);
      // A copy that this host keeps may be old.
      if (seams.storeHealth?.now() !== undefined) throw new GuardError("STORE_UNAVAILABLE", "the store is away");
      const verdict = verdictOf(seen);
      if (verdict.kind !== "ours") return verdict;
      await returned(seen.revision);
      adopt(verdict.instance);
      if (await put(seen)) return undefined;
    }
    throw new GuardError("CONFLICT", `the records of host '${host}' change all the time`, { fields: { host } });
  }

  /** @throws HOST_TWIN, STORE_UNAVAILABLE, CONFLICT */
  async function claim(): Promise<void> {
    // Not the lease's end itself: its store may be a moment late.
    const patience = ticks() + ttlSeconds * 1_000 + 4 * WAIT_EVERY;
    for (;;) {
      const verdict = await take();
      if (verdict === undefined) return tell(true);
      if (verdict.kind === "twin") throw twinError(host, verdict);
      if (ticks() > patience || isStopped) throw twinError(host, { ...verdict, kind: "twin", isHeard: true });
      await sleep(waitMs);
    }
  }

  /** @param isAnswered whether the store has just said how it is */
  function tell(isAnswered: boolean): void {
    if (isAnswered && standing.kind === "heard") heard = { at: ticks(), time: clock.now() };
    if (standing.kind === "twin") conditions.raise("HOST_TWIN", standing.says);
    else conditions.clear("HOST_TWIN");
    const isLate = ticks() - heard.at > ttlSeconds * 1_000;
    if (standing.kind !== "twin" && isLate) conditions.raise("HOST_UNHEARD", new Date(heard.time).toISOString());
    else conditions.clear("HOST_UNHEARD");
  }

  async function beat(): Promise<void> {
    if (standing.kind === "heard") {
      const isKept = await store.keepAlive(standing.lease);
      // Somebody may have taken the name meanwhile, or the record away from under its lease.
      if (isKept && book.alive.has(host)) return;
      if (standing.kind === "heard") standing = { kind: "unheard" };
    }
    const verdict = await take();
    if (verdict?.kind === "twin") standing = { kind: "twin", says: twinText(verdict) };
    else if (verdict !== undefined) standing = { kind: "unheard" };
  }

  async function beatOnce(): Promise<void> {
    try {
      await beat();
      tell(true);
    } catch (error) {
      if (!isStoreAway(error)) log.warn({ error: String(error) }, "this host could not say that it is there");
      tell(false);
    }
  }

  function beatNow(): Promise<void> {
    beating ??= beatOnce().finally(() => {
      beating = undefined;
    });
    return beating;
  }

  const endWatch = seams.storeHealth?.watch((fault) => {
    if (fault === undefined && timer !== undefined) void beatNow();
  });

  return {
    claim: async () => {
      try {
        await claim();
      } catch (error) {
        if (error instanceof GuardError && error.code === "HOST_TWIN") throw error;
        log.warn({ error: String(error) }, "the host's name is taken when the store answers");
      }
    },
    begin: (returning) => {
      returned = returning;
      timer = setInterval(() => void beatNow(), everyMs);
      timer.unref();
    },
    get instance() {
      return identity.instance;
    },
    twin: () => (standing.kind === "twin" ? standing.says : undefined),
    ready: async () => {
      if (standing.kind !== "heard" && seams.storeHealth?.now() === undefined) await beatNow();
    },
    refresh: async () => {
      await seenOf(store, seams, book);
    },
    look: () => {
      const shown = book.alive.get(host);
      if (standing.kind !== "heard") return;
      if (shown === undefined) return void beatNow();
      if (shown.revision <= standing.revision || shown.value.run === run) return;
      standing = { kind: "twin", says: twinText({ kind: "twin", other: shown.value, isHeard: true }) };
      tell(true);
    },
    stop: async () => {
      isStopped = true;
      clearInterval(timer);
      endWatch?.();
      await beating;
    },
  };
}
