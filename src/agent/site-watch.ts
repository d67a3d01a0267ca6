/** Changes of the store as they come, for those who look on: of the site, of what is attached where, of leases. */
import { isConflict } from "../model/errors.ts";
import { kindOf } from "../model/keys.ts";
import { type WatchEvent, type WatchKind, watchKinds } from "../model/watch.ts";
import { LEVEL } from "../store/read-record.ts";
import { isFields } from "../store/shape.ts";
import type { Change, Key, Revision } from "../store/store.ts";
import type { Core } from "./core.ts";

const isWatchKind = (word: string): word is WatchKind => watchKinds.some((kind) => kind === word);

/** Claims on addresses and MACs change with the guests that they are of. */
function watchedKind(key: Key): WatchKind | undefined {
  const word = kindOf(key);
  if (word === "attachment") return "port";
  return isWatchKind(word) ? word : undefined;
}

const placeOf = (value: unknown): string =>
  isFields(value) ? `port ${String(value["port"])} of host ${String(value["host"])}` : "no port";

function claimText(name: string, { holder, next, fence }: Readonly<Record<string, unknown>>): string {
  const asked = next === undefined ? "" : `, asked for by ${placeOf(next)}`;
  return `NIC ${name} is ${holder === undefined ? "nobody's" : `of ${placeOf(holder)}`} (${String(fence)})${asked}`;
}

function leaseText(name: string, lease: Readonly<Record<string, unknown>>): string {
  const { guest, nic, state, expiresAt } = lease;
  const until = typeof expiresAt === "number" ? ` until ${new Date(expiresAt).toISOString()}` : "";
  return `lease ${name}: ${String(guest)}/${String(nic)} ${String(state)}${until}`;
}

function textOf(kind: WatchKind, name: string, value: unknown): string {
  if (value === undefined) return kind === "port" ? `port ${name} detached` : `${kind} ${name} gone`;
  const fields = isFields(value) ? value : {};
  if (kind === "port") return `port ${name} attached to ${String(fields["guest"])}/${String(fields["nic"])}`;
  if (kind === "claim") return claimText(name, fields);
  return kind === "lease" ? leaseText(name, fields) : `${kind} ${name} written`;
}

function* eventsOf({ revision, changes }: Change, kinds: readonly WatchKind[], at: number): Generator<WatchEvent> {
  for (const change of changes) {
    const kind = watchedKind(change.key);
    if (kind === undefined || !kinds.includes(kind)) continue;
    const name = change.key.slice(change.key.indexOf("/") + 1);
    if ("deleted" in change) yield { at, revision, action: "delete", kind, name, text: textOf(kind, name, undefined) };
    else
      yield {
        at,
        revision,
        action: "put",
        kind,
        name,
        text: textOf(kind, name, change.value),
        value: change.value,
      };
  }
}

/** Where only what concerns this host is followed, what is known may be long ago. */
async function newest({ parts, mirror, siteStore }: Core): Promise<Revision> {
  if (parts.scope !== "host" || parts.storeHealth?.now() !== undefined) return mirror.revision;
  return Math.max(mirror.revision, (await siteStore.read({ key: LEVEL })).revision);
}

/** From what the agent knows now on, until the signal aborts. No kinds: all. */
export async function* watchSite(
  core: Core,
  kinds: readonly WatchKind[],
  signal: AbortSignal,
): AsyncGenerator<WatchEvent> {
  const { parts, siteStore } = core;
  const wanted = kinds.length === 0 ? watchKinds : kinds;
  let at: Revision = await newest(core);
  while (!signal.aborted) {
    try {
      for await (const change of siteStore.watch("", at, signal)) {
        at = change.revision;
        yield* eventsOf(change, wanted, parts.clock.now());
      }
      return;
    } catch (cause) {
      if (!isConflict(cause)) throw cause;
      // The agent itself read everything again.
      at = Math.max(at + 1, await newest(core));
      const text = "changes were missed: look at everything again";
      yield { at: parts.clock.now(), revision: at, action: "missed", text };
    }
  }
}
