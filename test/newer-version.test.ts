/** Two agents on one store, one of which plays a version that is not written yet: the other goes on, opens nothing, and plans nothing that it cannot see the whole of. */
import { setImmediate as turn } from "node:timers/promises";
import { afterEach, describe, expect, test } from "vitest";
import type { Agent } from "../src/agent/agent.ts";
import { loadSite } from "../src/config/load.ts";
import { memoryLinks } from "../src/kernel/links-memory.ts";
import { memoryNft } from "../src/kernel/nft-memory.ts";
import { memoryStore } from "../src/store/memory.ts";
import type { Json, Key } from "../src/store/store.ts";
import { put } from "./store.contract.ts";
import { clock, startMemoryAgent } from "./support/memory-agent.ts";
import { hostIdOf } from "./support/names.ts";

const site = `kind: network
name: lan0
spec:
  prefix4: 10.0.0.0/24
  gateway4: 10.0.0.1
  range4: [10.0.0.10-10.0.0.99]
  wiring: { kind: bridged, bridge: br0 }
---
kind: network
name: lan1
spec:
  prefix4: 10.1.0.0/24
  gateway4: 10.1.0.1
  range4: [10.1.0.10-10.1.0.99]
  wiring: { kind: bridged, bridge: br0 }
---
kind: guest
name: web1
spec: { nics: [{ network: lan0 }] }
---
kind: guest
name: db1
spec: { nics: [{ network: lan1 }] }
`;

const store = () => memoryStore(clock);
let agents: Agent[] = [];
afterEach(async () => {
  for (const agent of agents) await agent.stop();
  agents = [];
});

async function start(on: ReturnType<typeof store>, links = memoryLinks(), name = "h2"): Promise<Agent> {
  const agent = await startMemoryAgent({ nft: memoryNft(), links, store: on, host: hostIdOf(name) });
  agents.push(agent);
  return agent;
}

async function raise() {
  const shared = store();
  const links = memoryLinks();
  for (const [name, kind] of [["br0", "bridge"], ["vif1.0"], ["vif2.0"]] as const) links.add(name, kind);
  const agent = await start(shared, links, "h1");
  await agent.operations.apply(loadSite(site, "site"), { dryRun: false });
  await agent.operations.attach({ port: "vif1.0", guest: "web1", nic: 0 });
  await agent.operations.attach({ port: "vif2.0", guest: "db1", nic: 0 });
  const stored = async (key: Key): Promise<Json | undefined> => (await shared.read(key)).entries.get(key)?.value;
  /** As another agent, of another version, would. */
  const write = async (...writes: ReturnType<typeof put>[]): Promise<void> => {
    await shared.commit({ expect: [], writes });
    for (let i = 0; i < 10; i += 1) await turn();
    await agent.settled();
  };
  return { store: shared, links, agent, stored, write };
}

const stateOf = async (agent: Agent, port: string): Promise<string | undefined> =>
  (await agent.operations.status()).ports.find((one) => one.port === port)?.state;
const newer = async (agent: Agent): Promise<string | undefined> =>
  (await agent.operations.status()).conditions.find(({ code }) => code === "NEWER_RECORDS")?.text;
const guest = loadSite("kind: guest\nname: new1\nspec: { nics: [{ network: lan0 }] }\n", "more");

describe("what a newer version wrote", () => {
  test("of an unknown kind is left alone, told of, and in nobody's way", async () => {
    const { store: shared, agent, write } = await raise();
    expect(await newer(agent)).toBeUndefined();
    await write(put("tunnel/lan0", { to: "h9" }), put("tunnel/lan1", 7));
    expect(await newer(agent)).toContain("2 of kind 'tunnel'");
    expect(await stateOf(agent, "vif1.0")).toBe("applied");
    await agent.operations.apply(guest, { dryRun: false });
    const second = await start(shared);
    expect((await second.operations.list("guest")).map(({ name }) => name)).toEqual(["db1", "new1", "web1"]);
    expect((await shared.read("tunnel/")).entries.get("tunnel/lan0")?.value).toEqual({ to: "h9" });
    await shared.commit({
      expect: [],
      writes: [
        { op: "delete", key: "tunnel/lan0" },
        { op: "delete", key: "tunnel/lan1" },
      ],
    });
    await expect.poll(() => newer(agent)).toBeUndefined();
  });

  test("into a record that is known is read without what is new in it", async () => {
    const { agent, stored, write } = await raise();
    const [network, claim] = [await stored("network/lan0"), await stored("claim/web1/0")];
    await write(
      put("network/lan0", { ...Object(network), colour: "green" }),
      put("claim/web1/0", { ...Object(claim), colour: "green" }),
    );
    expect(await stateOf(agent, "vif1.0")).toBe("applied");
    expect(await newer(agent)).toBeUndefined();
    await agent.operations.apply(guest, { dryRun: false });
    expect(await stored("network/lan0")).toMatchObject({ colour: "green" });
  });

  test("that cannot be read shuts what hangs on it and nothing else, and nothing is planned meanwhile", async () => {
    const { store: shared, agent, links, stored, write } = await raise();
    const before = await stored("network/lan0");
    await write(put("level/store", { level: 2 }));
    await write(put("network/lan0", { ...Object(before), wiring: { kind: "overlay" } }));
    expect(await newer(agent)).toContain("'network'");
    expect([await stateOf(agent, "vif1.0"), await stateOf(agent, "vif2.0")]).toEqual(["failed", "applied"]);
    expect(links.list().flatMap(({ name, up }) => (name.startsWith("vif") ? [up] : []))).toEqual([false, true]);
    await expect(agent.operations.apply(guest, { dryRun: false })).rejects.toMatchObject({ code: "STORE_NEWER" });
    await expect(agent.operations.remove("network", "lan1")).rejects.toMatchObject({ code: "STORE_NEWER" });
    const second = await start(shared);
    expect((await second.operations.list("network")).map(({ name }) => name)).toEqual(["lan1"]);
    expect(await stored("network/lan0")).toMatchObject({ wiring: { kind: "overlay" } });

    await write(put("network/lan0", before ?? null));
    await expect.poll(() => stateOf(agent, "vif1.0")).toBe("applied");
    expect(await newer(agent)).toBeUndefined();
    await agent.operations.apply(guest, { dryRun: false });
  });

  test("under a claim that cannot be read is never written over", async () => {
    const { agent, stored, write } = await raise();
    const claim = await stored("claim/db1/0");
    await agent.operations.detach("vif2.0");
    await write(put("level/store", { level: 2 }), put("claim/db1/0", { shared: ["h1", "h2"] }));
    await expect(agent.operations.attach({ port: "vif2.0", guest: "db1", nic: 0 })).rejects.toMatchObject({
      code: "CONFLICT",
    });
    expect(await stored("claim/db1/0")).toEqual({ shared: ["h1", "h2"] });
    await write(put("claim/db1/0", { fence: Object(claim).fence + 1 }));
    await agent.operations.attach({ port: "vif2.0", guest: "db1", nic: 0 });
    expect(await stateOf(agent, "vif2.0")).toBe("applied");
  });

  test("is damage where no newer version may have written", async () => {
    const { store: shared, agent, stored } = await raise();
    const before = await stored("network/lan0");
    const damaged = { ...Object(before), wiring: { kind: "overlay" } };
    await shared.commit({ expect: [], writes: [put("network/lan0", damaged)] });
    await expect(start(shared)).rejects.toMatchObject({ code: "STORE_CORRUPT" });
    await expect.poll(async () => (await agent.operations.status()).healthy).toBe(false);
    expect(await stateOf(agent, "vif1.0")).toBe("applied");
    await shared.commit({ expect: [], writes: [put("level/store", { level: 2 })] });
    await expect(start(shared)).resolves.toBeDefined();
  });
});
