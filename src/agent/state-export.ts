/** The whole state for a file, at one revision, a line at a time. */
import type { StateLine } from "../model/state.ts";
import { storeFormat } from "../store/migrate.ts";
import { stateLines } from "../store/state-file.ts";
import type { Core } from "./core.ts";

/** @throws STORE_UNAVAILABLE */
export async function* exportState({ parts }: Core): AsyncGenerator<StateLine> {
  const ofStore = async () => ({ snapshot: await parts.store.read(""), from: "store" as const });
  const { snapshot, from } = await (parts.whole ?? ofStore)();
  const { host, version, clock } = parts;
  const at = new Date(clock.now()).toISOString();
  const { revision, entries } = snapshot;
  yield* stateLines({ vifguard: "state", format: storeFormat, version, host, revision, at, from }, entries.values());
}
