/** The whole state for a file, at one revision, a line at a time. */
import type { StateLine } from "../model/state.ts";
import { storeFormat } from "../store/migrate.ts";
import { stateLines } from "../store/state-file.ts";
import type { Core } from "./core.ts";

/** @throws STORE_UNAVAILABLE */
export async function* exportState({ parts, siteStore }: Core): AsyncGenerator<StateLine> {
  const { host, version, clock } = parts;
  const { revision, entries } = await siteStore.read("");
  const at = new Date(clock.now()).toISOString();
  yield* stateLines({ vifguard: "state", format: storeFormat, version, host, revision, at }, entries.values());
}
