/** What the rest of the agent asks of the fleet's hosts: may a NIC be attached here, and is that other host heard. */
import { GuardError } from "../model/errors.ts";
import { type HostState, hostStates } from "../model/hosts.ts";
import { keys } from "../model/keys.ts";
import type { HostId } from "../model/names.ts";
import { someOf } from "../model/some-of.ts";
import type { Revision, Transaction } from "../store/store.ts";
import type { Conditions } from "./conditions.ts";
import type { AgentParts } from "./core.ts";
import { type HostBook, openHostBook } from "./host-book.ts";
import { createPresence, type Presence } from "./presence.ts";

export interface Hosts {
  /** Of this host's records; absent where its name can be nobody else's. */
  readonly instance: string | undefined;
  readonly book: HostBook | undefined;
  /** Takes this host's name. @throws HOST_TWIN; then nothing of it runs on */
  claim(): Promise<void>;
  /** @param returning resolves when what was missed is in force */
  begin(returning: (revision: Revision) => Promise<void>): void;
  /** Before a change that needs the name. */
  ready(): Promise<void>;
  /** After a conflict: what the store says of this host now. */
  refresh(): Promise<void>;
  /** @throws HOST_TWIN, HOST_DRAINING */
  assertTaking(): void;
  /** What an attachment demands of the store: that this host is who it is, heard, and takes NICs. */
  expectation(): Transaction["expect"];
  stateOf(host: HostId): HostState;
  /** Such as "silent since 2026-11-27T20:00:00.000Z"; undefined of one that is heard, or when nobody knows. */
  silence(host: HostId): string | undefined;
  /** Of the fleet. */
  counts(): Readonly<Record<HostState, number>>;
  stop(): Promise<void>;
}

function countsOf(states: readonly HostState[]): Record<HostState, number> {
  const none: Record<HostState, number> = { up: 0, draining: 0, silent: 0, unknown: 0 };
  for (const state of hostStates) none[state] = states.filter((one) => one === state).length;
  return none;
}

/** Of an agent that was told nothing of other hosts. */
const alone: Hosts = {
  instance: undefined,
  book: undefined,
  claim: async () => undefined,
  begin: () => undefined,
  ready: async () => undefined,
  refresh: async () => undefined,
  assertTaking: () => undefined,
  expectation: () => [],
  stateOf: () => "up",
  silence: () => undefined,
  counts: () => countsOf(["up"]),
  stop: async () => undefined,
};

function silenceText(since: number | undefined): string {
  return since === undefined
    ? "silent since before this agent looked"
    : `silent since ${new Date(since).toISOString()}`;
}

export function startHosts(parts: AgentParts, conditions: Conditions): Hosts {
  if (parts.presence === undefined) return alone;
  const { host, storeHealth } = parts;
  let presence: Presence | undefined;
  const book = openHostBook(parts, () => {
    presence?.look();
    tell();
  });
  const own = createPresence(parts, parts.presence, book, conditions);
  presence = own;

  function stateOf(name: HostId): HostState {
    const record = book.hosts.get(name);
    if (record === undefined && !book.alive.has(name)) return "unknown";
    if (storeHealth?.now() !== undefined && name !== host) return "unknown";
    if (!book.alive.has(name)) return "silent";
    return record?.value.draining === undefined ? "up" : "draining";
  }

  const silence = (name: HostId): string | undefined =>
    stateOf(name) === "silent" ? silenceText(book.silentSince(name)) : undefined;

  /** One that an operator has drained is expected to go. */
  function tell(): void {
    const silent = [...book.hosts].filter(
      ([name, { value }]) => name !== host && value.draining === undefined && stateOf(name) === "silent",
    );
    const names = silent.map(([name]) => `${name} (${silenceText(book.silentSince(name))})`).sort();
    if (names.length === 0) conditions.clear("HOSTS_SILENT");
    else conditions.raise("HOSTS_SILENT", someOf(names));
  }
  const endWatch = storeHealth?.watch(tell);

  async function stop(): Promise<void> {
    endWatch?.();
    await own.stop();
    await book.stop();
  }

  return {
    book,
    stateOf,
    silence,
    stop,
    get instance() {
      return own.instance;
    },
    claim: async () => {
      try {
        await Promise.all([own.claim(), book.looked]);
      } catch (error) {
        await stop();
        throw error;
      }
    },
    begin: own.begin,
    ready: own.ready,
    refresh: own.refresh,
    assertTaking: () => {
      const twin = own.twin();
      if (twin !== undefined)
        throw new GuardError("HOST_TWIN", `the name '${host}' belongs to ${twin}`, { fields: { host } });
      const since = book.hosts.get(host)?.value.draining;
      if (since === undefined) return;
      const text = `host '${host}' takes no new NICs: it is draining since ${new Date(since).toISOString()}`;
      throw new GuardError("HOST_DRAINING", text, { fields: { host, since } });
    },
    expectation: () => [
      { key: keys.host(host), revision: book.hosts.get(host)?.revision ?? 0 },
      { key: keys.alive(host), revision: book.alive.get(host)?.revision ?? 0 },
    ],
    counts: () => countsOf([...new Set([...book.hosts.keys(), ...book.alive.keys()])].map(stateOf)),
  };
}
