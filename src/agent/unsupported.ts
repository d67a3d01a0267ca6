/** A kernel that cannot hold the guard: what can be shut is shut, and the agent ends with the reason (I7). */
import type { Links } from "../kernel/links.ts";
import type { Nft } from "../kernel/nft.ts";
import { isGuarded, type PortPrefix } from "../model/names.ts";
import { birthTables } from "../ruleset/birth.ts";
import { renderTables } from "../ruleset/render.ts";
import { buildSkeleton, tablePrefix } from "../ruleset/skeleton.ts";
import type { Log } from "./core.ts";

export interface Shutters {
  readonly nft: Nft;
  readonly links: Links;
  readonly portPrefixes: readonly PortPrefix[];
  readonly log: Log;
}

const wordsOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));

/** What `look` finds out; when it throws, the ports are shut as far as this kernel goes, and the error goes on. */
export async function orShut<T>(shutters: Shutters, look: () => Promise<T>): Promise<T> {
  try {
    return await look();
  } catch (reason) {
    await shutWhatCan(shutters);
    throw reason;
  }
}

async function shutWhatCan({ nft, links, portPrefixes, log }: Shutters): Promise<void> {
  // The guard of an earlier run: nothing this kernel holds already is made worse. Its tables come and go together, the netdev one with them.
  if (ourTables(nft, "netdev").length > 0) {
    log.warn({}, "the rules of an earlier run stand and were left alone");
    return;
  }
  const name = buildSkeleton(portPrefixes, []).table;
  // Each on its own: the family that is missing must not keep the others out.
  for (const table of birthTables(portPrefixes)) {
    if (ourTables(nft, table.family).length > 0) continue;
    const { body, hooks } = renderTables([table], name);
    await trying(log, `ports could not be shut in family ${table.family}`, () => nft.load(body + hooks));
  }
  for (const { ifindex, name: port, up } of links.list()) {
    if (up && isGuarded(port, portPrefixes))
      await trying(log, `port ${port} could not be set down`, async () => links.setUp(ifindex, false));
  }
  log.warn({ portPrefixes }, "every port was set down and shut by its name, as far as this kernel goes");
}

/** A family that the kernel does not know cannot hold tables, and may refuse to say so. */
function ourTables(nft: Nft, family: "netdev" | ReturnType<typeof birthTables>[number]["family"]): readonly string[] {
  try {
    return nft.tables(family).filter((name) => name.startsWith(tablePrefix));
  } catch {
    return [];
  }
}

async function trying(log: Log, failed: string, action: () => Promise<void>): Promise<void> {
  try {
    await action();
  } catch (error) {
    log.error({ why: wordsOf(error) }, failed);
  }
}
