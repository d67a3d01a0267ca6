/** What a host remembers of a store part by part, and whether a store can be the one that it remembers. */
import { expect, test } from "vitest";
import { isDiverged } from "../src/store/diverged.ts";
import { createCopy, openFleetStore } from "../src/store/fleet.ts";
import { createStoreHealth } from "../src/store/health.ts";
import { memoryStore } from "../src/store/memory.ts";
import type { Store } from "../src/store/store.ts";
import { commits, put, testClock, write } from "./store.contract.ts";

const PORTS = "attachment/h1/";
const attached = (port: string, fence: number) => put(PORTS + port, { guest: "g1", nic: 0, fence });

/** A host that has read its ports and followed the networks alone. */
async function remembering(remote: Store) {
  const memory = memoryStore(testClock());
  const health = createStoreHealth();
  const store = openFleetStore({ remote, copy: memory, health, mayKeep: () => false, format: 1 });
  await store.read(PORTS);
  await store.read("claim/g1/");
  const { revision } = await store.read("network/");
  await commits(remote, write(attached("vif2.0", 1)));
  const newest = await commits(remote, write(put("network/lan0", 2)));
  for await (const _ of store.watch("network/", revision, new AbortController().signal)) break;
  const before = await createCopy(memory, 1).all();
  if (before === undefined) throw new TypeError("nothing is remembered");
  return { before, newest, ported: revision };
}

test("one part may be told ahead of another: what was not told yet is no other past, and what was and is another is", async () => {
  const remote = memoryStore(testClock());
  await commits(remote, write(attached("vif1.0", 1), put("claim/g1/0", 1), put("network/lan0", 1)));
  const { before, newest, ported } = await remembering(remote);
  expect(before.snapshot.revision).toBe(newest);
  expect([before.upTo("network/lan0"), before.upTo(`${PORTS}vif2.0`), before.upTo("claim/g1/0")]).toEqual([
    newest,
    ported,
    ported,
  ]);
  expect(before.upTo("guest/g1"), "never read").toBe(0);
  const memory = { before, isOpen: () => true };
  expect(await isDiverged(remote, "h1", memory)).toBe(false);
  const other = memoryStore(testClock());
  await commits(other, write(attached("vif3.0", 1), attached("vif1.0", 1), put("claim/g1/0", 1)));
  expect(await isDiverged(other, "h1", memory), "control: a port that the host never had").toBe(true);
});
