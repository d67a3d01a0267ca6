/** A store without an agent: what comes into it from a file, and what is said of it after a restore. The agent's own lock keeps both away from a store of one host that is in use. */
import { createReadStream } from "node:fs";
import { hostname } from "node:os";
import { createInterface } from "node:readline";
import { GuardError } from "../model/errors.ts";
import { RESTORE } from "../model/keys.ts";
import type { ImportView } from "../model/state.ts";
import { openEmbeddedStore } from "../store/embedded.ts";
import { importState } from "../store/import-state.ts";
import { markOf } from "../store/restore-mark.ts";
import { readState } from "../store/state-file.ts";
import type { Store } from "../store/store.ts";
import { openEtcd } from "./open-store.ts";
import type { EtcdSettings } from "./options.ts";

export interface StorePlace {
  readonly stateDirectory: string;
  readonly etcd: EtcdSettings | undefined;
}

/** Agents look at etcd again and again; what they hear of takes them some milliseconds, and a member that is slow some hundred. */
const SETTLE_MS = 2_000;

const now = (): number => Date.now();

/** @throws USAGE, AGENT_RUNNING, STORE_CORRUPT, STORE_UNAVAILABLE */
async function opened<T>({ stateDirectory, etcd }: StorePlace, act: (store: Store) => Promise<T>): Promise<T> {
  const store =
    etcd === undefined
      ? await openEmbeddedStore({ directory: stateDirectory, clock: { now } })
      : openEtcd(etcd, `import-${hostname()}-${process.pid}`);
  try {
    return await act(store);
  } finally {
    await store.close();
  }
}

/** @throws USAGE when it cannot be read, STATE_INVALID */
async function stateOf(path: string): ReturnType<typeof readState> {
  const input = path === "-" ? process.stdin : createReadStream(path);
  try {
    return await readState(createInterface({ input, crlfDelay: Number.POSITIVE_INFINITY }));
  } catch (cause) {
    if (cause instanceof GuardError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new GuardError("USAGE", `'${path}' cannot be read: ${why}`, { fields: { path }, cause });
  }
}

export async function importFile(
  place: StorePlace,
  path: string,
  how: { readonly replace: boolean; readonly dryRun: boolean },
): Promise<ImportView> {
  const file = await stateOf(path);
  const settleMs = place.etcd === undefined ? 0 : SETTLE_MS;
  return opened(place, (store) => importState(store, file, { ...how, now: now(), settleMs }));
}

/** Has every host make sure of its ports. @throws CONFLICT when an import is under way */
export function tellRestored(place: StorePlace, of: string): Promise<void> {
  return opened(place, async (store) => {
    const held = (await store.read({ key: RESTORE })).entries.get(RESTORE);
    if (markOf(held?.value)?.phase === "under-way")
      throw new GuardError("CONFLICT", "an import into the store is not done: import that file again instead");
    const value = { phase: "done", id: `${of}/${now()}`, keepsPlaces: false, of, at: now() };
    const commit = await store.commit({
      expect: [{ key: RESTORE, revision: held?.revision ?? 0 }],
      writes: [{ op: "put", key: RESTORE, value }],
    });
    if (!commit.ok) throw new GuardError("CONFLICT", "somebody else said so meanwhile");
  });
}
