/** Changes as they come: told once, in order, of the kinds that were asked for, and not silently missed. */
import { afterEach, describe, expect, test } from "vitest";
import type { Agent } from "../src/agent/agent.ts";
import { loadSite } from "../src/config/load.ts";
import { memoryLinks } from "../src/kernel/links-memory.ts";
import { memoryNft } from "../src/kernel/nft-memory.ts";
import type { WatchEvent, WatchKind } from "../src/model/watch.ts";
import { memoryStore } from "../src/store/memory.ts";
import { put } from "./store.contract.ts";
import { clock, startMemoryAgent } from "./support/memory-agent.ts";

const site = (guests: readonly string[]): string => `kind: network
name: lan0
spec:
  prefix4: 10.0.0.0/24
  gateway4: 10.0.0.1
  range4: [10.0.0.10-10.0.0.99]
  wiring: { kind: bridged, bridge: br0 }
${guests.map((name) => `---\nkind: guest\nname: ${name}\nspec: { nics: [{ network: lan0 }] }\n`).join("")}`;

const stopping = new Set<() => unknown>();
afterEach(async () => {
  for (const stop of stopping) await stop();
  stopping.clear();
});

async function raise(history?: number) {
  const store = memoryStore(clock, history === undefined ? {} : { history });
  const links = memoryLinks();
  for (const [name, kind] of [["br0", "bridge"], ["vif1.0"]] as const) links.add(name, kind);
  const agent: Agent = await startMemoryAgent({ nft: memoryNft(), links, store });
  stopping.add(() => agent.stop());
  const apply = (...guests: readonly string[]) =>
    agent.operations.apply(loadSite(site(guests), "site"), { dryRun: false });
  await apply();
  return { store, agent, apply };
}

function follow(agent: Agent, kinds: readonly WatchKind[] = []) {
  const seen: WatchEvent[] = [];
  const end = new AbortController();
  const done = (async () => {
    for await (const event of agent.operations.watch(kinds, end.signal)) seen.push(event);
  })();
  stopping.add(async () => {
    end.abort();
    await done;
  });
  return seen;
}

const textsOf = (seen: readonly WatchEvent[]): readonly string[] => seen.map(({ text }) => text);

describe("a watch", () => {
  test("tells the site, what is attached, whose the NIC is, and leases, in words", async () => {
    const { store, agent, apply } = await raise();
    const seen = follow(agent);
    await apply("web1");
    await agent.operations.attach({ port: "vif1.0", guest: "web1" });
    await agent.operations.detach("vif1.0");
    const lease = { network: "lan0", address: "10.0.0.10", guest: "web1", nic: 0, mac: "fe:00:0a:00:00:0a" };
    await store.commit({
      expect: [],
      writes: [put("lease/lan0/10.0.0.10", { ...lease, state: "bound", expiresAt: 0 })],
    });
    await agent.operations.remove("guest", "web1");
    await expect.poll(() => seen.length).toBeGreaterThan(6);
    expect(textsOf(seen)).toEqual([
      "guest web1 written",
      "NIC web1/0 is of port vif1.0 of host h1 (1)",
      "port h1/vif1.0 attached to web1/0",
      "NIC web1/0 is nobody's (1)",
      "port h1/vif1.0 detached",
      "lease lan0/10.0.0.10: web1/0 bound until 1970-01-01T00:00:00.000Z",
      ...textsOf(seen).slice(6),
    ]);
    expect(textsOf(seen).slice(6)).toContain("guest web1 gone");
    expect(seen.map(({ revision }) => revision)).toEqual(
      seen.map(({ revision }) => revision).toSorted((a, b) => a - b),
    );
    expect(seen[2]).toMatchObject({ action: "put", kind: "port", name: "h1/vif1.0", value: { guest: "web1" } });
    expect(seen[4]).toMatchObject({ action: "delete", kind: "port", name: "h1/vif1.0" });
  });

  test("of some kinds tells no others, and nothing of before it began", async () => {
    const { agent, apply } = await raise();
    await apply("old1");
    const [ports, guests] = [follow(agent, ["port"]), follow(agent, ["guest", "network"])];
    await apply("old1", "web1");
    await agent.operations.attach({ port: "vif1.0", guest: "web1" });
    await expect.poll(() => [ports.length, guests.length]).toEqual([1, 1]);
    expect([...textsOf(ports), ...textsOf(guests)]).toEqual([
      "port h1/vif1.0 attached to web1/0",
      "guest web1 written",
    ]);
  });

  test("says when it missed something, and goes on", async () => {
    const { store, agent, apply } = await raise(4);
    const events = agent.operations.watch([], new AbortController().signal)[Symbol.asyncIterator]();
    const first = events.next();
    await apply("web1");
    expect((await first).value).toMatchObject({ text: "guest web1 written" });
    for (let n = 0; n < 20; n += 1) await store.commit({ expect: [], writes: [put("level/store", { level: 1 })] });
    await new Promise((resolve) => setImmediate(resolve));
    expect((await events.next()).value).toMatchObject({ action: "missed" });
    await store.commit({ expect: [], writes: [put("group/web", { ingress: [] })] });
    expect((await events.next()).value).toMatchObject({ text: "group web written" });
    await events.return?.(undefined);
  });
});
