/**
 * The durable store of one host: SQLite (libsql) in its state directory, everything also in memory, so that reading costs nothing.
 *
 * Group commit: transactions that are asked for while one is being written go to disk together, each with its own verdict. A commit that was
 * acknowledged is on disk (WAL, synchronous=FULL); one that could not be written is as if it had never been asked.
 */
import { chmodSync, mkdirSync } from "node:fs";
import { join } from "node:path";
import Database from "libsql";
import type { Clock } from "../model/clock.ts";
import { GuardError } from "../model/errors.ts";
import { migrate } from "./migrate.ts";
import { committed, createState, type Staged, type State } from "./state.ts";
import type { Commit, Entry, Json, Key, LeaseId, Store, Transaction } from "./store.ts";

export interface EmbeddedOptions {
  readonly directory: string;
  readonly clock: Clock;
  /** Of the database file; for tests of a full disk. */
  readonly maxPages?: number;
}

interface Asked {
  readonly transaction: Transaction;
  readonly resolve: (commit: Commit) => void;
  readonly reject: (error: unknown) => void;
}

type Row = { readonly key: string; readonly value: string; readonly revision: number; readonly lease: number | null };

function openDatabase({ directory, maxPages }: EmbeddedOptions): Database.Database {
  try {
    mkdirSync(directory, { recursive: true, mode: 0o700 });
    const file = join(directory, "store.db");
    const database = new Database(file);
    chmodSync(file, 0o600);
    // One process at a time: the lock is the kernel's, so it goes with the process, however that ends.
    database.pragma("locking_mode = EXCLUSIVE");
    database.pragma("journal_mode = WAL");
    database.pragma("synchronous = FULL");
    database.exec("BEGIN EXCLUSIVE; COMMIT");
    if (maxPages !== undefined) database.pragma(`max_page_count = ${maxPages}`);
    return database;
  } catch (cause) {
    throw openFailed(directory, cause);
  }
}

function codeOf(cause: unknown): string {
  return cause instanceof Error && "code" in cause ? String(cause.code) : "";
}

const words = (cause: unknown): string => (cause instanceof Error ? cause.message : String(cause));

function openFailed(directory: string, cause: unknown): GuardError {
  if (cause instanceof GuardError) return cause;
  const code = codeOf(cause);
  const fields = { directory };
  if (code.startsWith("SQLITE_BUSY") || words(cause).includes("locked")) {
    return new GuardError("AGENT_RUNNING", `another agent is using '${directory}'`, { fields, cause });
  }
  const corrupt =
    code.startsWith("SQLITE_CORRUPT") ||
    code.startsWith("SQLITE_NOTADB") ||
    /not a database|malformed/.test(words(cause));
  return new GuardError(corrupt ? "STORE_CORRUPT" : "STORE_UNAVAILABLE", `store in '${directory}': ${words(cause)}`, {
    fields,
    cause,
  });
}

function load(database: Database.Database, clock: Clock): State {
  const rows = database.prepare("SELECT key, value, revision, lease FROM entries").all() as Row[];
  const entries = new Map<Key, Entry>();
  const orphans: Key[] = [];
  for (const { key, value, revision, lease } of rows) {
    // A lease lives with the process that keeps it alive: nobody does after a restart.
    if (lease !== null) orphans.push(key);
    else entries.set(key, { key, value: JSON.parse(value) as Json, revision });
  }
  const { revision } = database.prepare("SELECT revision FROM head").get() as { revision: number };
  const remove = database.prepare("DELETE FROM entries WHERE key = ?");
  for (const key of orphans) remove.run(key);
  return createState(clock, entries, revision);
}

/** @throws AGENT_RUNNING, STORE_CORRUPT, STORE_UNAVAILABLE */
export async function openEmbeddedStore(options: EmbeddedOptions): Promise<Store> {
  const database = openDatabase(options);
  let state: State;
  try {
    migrate(database);
    state = load(database, options.clock);
  } catch (cause) {
    database.close();
    throw openFailed(options.directory, cause);
  }
  const put = database.prepare(
    "INSERT INTO entries (key, value, revision, lease) VALUES (?, ?, ?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value, revision = excluded.revision, lease = excluded.lease",
  );
  const remove = database.prepare("DELETE FROM entries WHERE key = ?");
  const head = database.prepare("UPDATE head SET revision = ?");
  let asked: Asked[] = [];
  let closed = false;

  function write(staged: Staged): void {
    for (const [key, entry] of staged.entries) {
      if (entry === undefined) remove.run(key);
      else put.run(key, JSON.stringify(entry.value), entry.revision, entry.lease ?? null);
    }
  }

  /** Writes what is good of a group and answers who has to do with what: nothing of it is in memory yet. */
  function writeGroup(
    group: readonly Asked[],
  ): readonly { readonly one: Asked; readonly commit: Commit; readonly staged?: Staged }[] {
    const stage = state.stage();
    database.exec("BEGIN IMMEDIATE");
    try {
      const results = group.map((one) => {
        const verdict = stage.judge(one.transaction);
        if (!verdict.ok) return { one, commit: verdict };
        write(verdict.staged);
        return { one, commit: committed(verdict.staged), staged: verdict.staged };
      });
      const last = results.findLast(({ staged }) => staged !== undefined)?.staged;
      if (last !== undefined) head.run(last.change.revision);
      database.exec("COMMIT");
      return results;
    } catch (cause) {
      if (database.inTransaction) database.exec("ROLLBACK");
      throw cause;
    }
  }

  function flush(): void {
    const group = asked;
    asked = [];
    try {
      for (const { one, commit, staged } of writeGroup(group)) {
        if (staged !== undefined) state.settle(staged);
        one.resolve(commit);
      }
    } catch (cause) {
      const error =
        cause instanceof GuardError
          ? cause
          : new GuardError("STORE_UNAVAILABLE", `the store cannot write: ${words(cause)}`, {
              fields: { directory: options.directory },
              cause,
            });
      for (const { reject } of group) reject(error);
    }
  }

  function commit(transaction: Transaction): Promise<Commit> {
    if (closed) return Promise.reject(new GuardError("STORE_UNAVAILABLE", "the store is closed"));
    return new Promise((resolve, reject) => {
      if (asked.length === 0) setImmediate(flush);
      asked.push({ transaction, resolve, reject });
    });
  }

  async function expire(leases: readonly LeaseId[]): Promise<void> {
    for (const lease of leases) {
      const transaction = state.end(lease);
      if (transaction.writes.length > 0) await commit(transaction);
    }
  }
  const timer = setInterval(() => {
    // A disk that is full now may not be at the next tick; the entries stay until they can be removed.
    expire(state.overdue()).catch(() => undefined);
  }, 250);
  timer.unref();

  return {
    read: async (prefix) => {
      await expire(state.overdue());
      return state.read(prefix);
    },
    watch: (prefix, after, signal) => state.watch(prefix, after, signal),
    commit: async (transaction) => {
      await expire(state.overdue());
      return commit(transaction);
    },
    grantLease: async (ttlSeconds) => state.grant(ttlSeconds),
    keepAlive: async (lease) => {
      await expire(state.overdue());
      return state.keepAlive(lease);
    },
    revokeLease: (lease) => expire([lease]),
    close: async () => {
      if (closed) return;
      clearInterval(timer);
      if (asked.length > 0) flush();
      closed = true;
      state.endWatches();
      database.close();
    },
  };
}
