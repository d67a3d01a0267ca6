/** A store in memory that holds a site as it was applied, without an agent. */
import { randomBytes } from "node:crypto";
import { loadSite } from "../../src/config/load.ts";
import { planSite } from "../../src/plan/site.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Store, Write } from "../../src/store/store.ts";
import { clock } from "./memory-agent.ts";

const random = (count: number): Uint8Array => Uint8Array.from(randomBytes(count));

export async function filledStore(site: string, more: readonly Write[] = []): Promise<Store> {
  const store = memoryStore(clock);
  const empty = { networks: new Map(), groups: new Map(), guests: new Map(), addresses: new Map(), macs: new Map() };
  const held = { ...empty, publics: new Map(), revisions: new Map(), attached: new Set<never>() };
  await store.commit(planSite(held, loadSite(site, "site"), random).transaction);
  await store.commit({ expect: [], writes: more });
  return store;
}
