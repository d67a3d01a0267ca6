/** The agent on a memory kernel: what is refused, and that a refusal leaves the port shut and everything else as it was. */
import { describe, expect, test } from "vitest";
import type { Agent } from "../src/agent/agent.ts";
import { loadSite } from "../src/config/load.ts";
import { memoryLinks } from "../src/kernel/links-memory.ts";
import type { NftChange } from "../src/kernel/nft.ts";
import { memoryNft } from "../src/kernel/nft-memory.ts";
import { GuardError } from "../src/model/errors.ts";
import { buildSkeleton } from "../src/ruleset/skeleton.ts";
import { memoryStore } from "../src/store/memory.ts";
import type { Store } from "../src/store/store.ts";
import { clock, portPrefixes, startMemoryAgent } from "./support/memory-agent.ts";

const site = `kind: network
name: lan0
spec:
  prefix4: 10.0.0.0/24
  gateway4: 10.0.0.1
  range4: [10.0.0.10-10.0.0.11]
  wiring: { kind: bridged, bridge: br0 }
  addressing: { kind: managed, macScheme: ip }
---
kind: guest
name: web1
spec: { nics: [ { network: lan0 } ] }
---
kind: guest
name: web2
spec: { nics: [ { network: lan0 } ] }
`;

async function createHost(store: Store = memoryStore(clock)) {
  const nft = memoryNft();
  const links = memoryLinks();
  links.add("br0", "bridge");
  const hooks = { beforeCommit: (_: readonly NftChange[]): void => undefined };
  const start = (): Promise<Agent> =>
    startMemoryAgent({
      nft: {
        ...nft,
        commit: (changes) => {
          hooks.beforeCommit(changes);
          nft.commit(changes);
        },
      },
      links,
      store,
    });
  const agent = await start();
  const apply = (text: string) => agent.operations.apply(loadSite(text, "site"), { dryRun: false });
  await apply(site);
  await agent.settled();
  const { table } = buildSkeleton(portPrefixes, ["inet"]);
  const held = (set: string): number => nft.elements({ family: "netdev", table, set })?.length ?? -1;
  const up = (name: string): boolean | undefined => links.list().find((link) => link.name === name)?.up;
  return { nft, links, store, agent, start, apply, held, up, hooks, table, operations: agent.operations };
}

async function refusal(work: Promise<unknown>): Promise<GuardError> {
  const error = await work.then(
    () => undefined,
    (cause: unknown) => cause,
  );
  if (error instanceof GuardError) return error;
  throw new TypeError(`was not refused: ${String(error)}`);
}

test("a port is down while its rules change, and up when they were read back (I7, I10)", async () => {
  const host = await createHost();
  host.links.add("vif1.0");
  const states: (boolean | undefined)[] = [];
  host.hooks.beforeCommit = () => states.push(host.up("vif1.0"));
  const port = await host.operations.attach({ port: "vif1.0", guest: "web1" });
  expect(new Set(states)).toEqual(new Set([false]));
  expect(host.up("vif1.0")).toBe(true);
  expect(port).toMatchObject({ state: "applied", mac: "fe:00:0a:00:00:0a", addresses4: ["10.0.0.10"] });
});

test("attaching again what is attached changes nothing and cuts nothing", async () => {
  const host = await createHost();
  host.links.add("vif1.0");
  const first = await host.operations.attach({ port: "vif1.0", guest: "web1" });
  let commits = 0;
  host.hooks.beforeCommit = () => {
    commits += 1;
  };
  const events: string[] = [];
  host.links.watch(({ kind }) => events.push(kind));
  expect(await host.operations.attach({ port: "vif1.0", guest: "web1" })).toEqual(first);
  expect([commits, events]).toEqual([0, []]);
});

test("a transaction that the kernel refuses leaves the port down, unbound and free, and the others as they were (I7)", async () => {
  const host = await createHost();
  for (const name of ["vif1.0", "vif2.0"]) host.links.add(name);
  await host.operations.attach({ port: "vif1.0", guest: "web1" });
  const before = host.held("identity");
  host.nft.failNext();
  const error = await refusal(host.operations.attach({ port: "vif2.0", guest: "web2" }));
  expect(error.code).toBe("NFT_REFUSED");
  expect([host.up("vif1.0"), host.up("vif2.0"), host.held("identity")]).toEqual([true, false, before]);
  expect((await host.operations.status()).unbound).toEqual(["vif2.0"]);
  expect((await host.operations.attach({ port: "vif2.0", guest: "web2" })).state, "and the next try works").toBe(
    "applied",
  );
});

test("a port that vanishes while it is attached is told, and nothing of it stays", async () => {
  const host = await createHost();
  const ifindex = host.links.add("vif1.0");
  host.hooks.beforeCommit = () => host.links.remove(ifindex);
  const error = await refusal(host.operations.attach({ port: "vif1.0", guest: "web1" }));
  expect(error.code).toBe("PORT_MISSING");
  host.hooks.beforeCommit = () => undefined;
  await host.agent.settled();
  expect(host.held("identity")).toBe(0);
  expect((await host.operations.status()).ports).toEqual([]);
  host.links.add("vif1.0");
  expect((await host.operations.attach({ port: "vif1.0", guest: "web1" })).state).toBe("applied");
});

test("a port that goes away is detached by itself; a new one with its name is a stranger (I3, I6)", async () => {
  const host = await createHost();
  const ifindex = host.links.add("vif1.0");
  await host.operations.attach({ port: "vif1.0", guest: "web1" });
  expect(host.held("identity")).toBe(1);
  host.links.remove(ifindex);
  host.links.add("vif1.0");
  await expect.poll(async () => (await host.operations.status()).ports).toEqual([]);
  expect(host.held("identity")).toBe(0);
  expect((await host.operations.status()).unbound).toEqual(["vif1.0"]);
});

test.each([
  ["no such interface", { port: "vif7.0", guest: "web1" }, "PORT_MISSING"],
  ["a name outside the guarded prefixes", { port: "eth0", guest: "web1" }, "PORT_NAME"],
  ["nft in a name", { port: 'vif1.0"; }', guest: "web1" }, "PORT_NAME"],
  ["a shell in a name", { port: "vif$(id)", guest: "web1" }, "PORT_NAME"],
  ["a path in a name", { port: "vif/../x", guest: "web1" }, "PORT_NAME"],
  ["an unknown guest", { port: "vif1.0", guest: "nobody" }, "NOT_FOUND"],
  ["a guest name that is none", { port: "vif1.0", guest: "$(id)" }, "NOT_FOUND"],
  ["a NIC it does not have", { port: "vif1.0", guest: "web1", nic: 3 }, "NOT_FOUND"],
] as const)("attach with %s is refused: %j", async (_, request, code) => {
  const host = await createHost();
  host.links.add("vif1.0");
  const error = await refusal(host.operations.attach(request));
  expect(error.code).toBe(code);
  expect(error.hint.length).toBeGreaterThan(20);
  expect(host.up("vif1.0")).toBe(false);
  expect(host.held("identity")).toBe(0);
  expect((await host.operations.attach({ port: "vif1.0", guest: "web1" })).state, "control").toBe("applied");
});

test("a port, a NIC and an attached guest are not given away twice", async () => {
  const host = await createHost();
  for (const name of ["vif1.0", "vif2.0"]) host.links.add(name);
  await host.operations.attach({ port: "vif1.0", guest: "web1" });
  expect((await refusal(host.operations.attach({ port: "vif1.0", guest: "web2" }))).code).toBe("PORT_TAKEN");
  expect((await refusal(host.operations.attach({ port: "vif2.0", guest: "web1" }))).code).toBe("NIC_TAKEN");
  expect((await refusal(host.operations.remove("guest", "web1"))).code).toBe("IN_USE");
  expect((await refusal(host.operations.remove("network", "lan0"))).code).toBe("IN_USE");
  expect(await host.operations.detach("vif1.0")).toEqual({ detached: true });
  expect(await host.operations.detach("vif1.0")).toEqual({ detached: false });
  expect((await host.operations.remove("guest", "web1")).action).toBe("delete");
});

test("a full pool is told with its numbers, and nothing of the file is applied", async () => {
  const host = await createHost();
  const error = await refusal(
    host.apply(
      "kind: group\nname: late\nspec: {}\n---\nkind: guest\nname: web3\nspec: { nics: [ { network: lan0 } ] }\n",
    ),
  );
  expect(error.code).toBe("POOL_EXHAUSTED");
  expect(error.message).toMatch(/lan0/);
  expect(await host.operations.list("group")).toEqual([]);
});

test("a missing bridge keeps the port shut, says so, and heals when the bridge comes", async () => {
  const host = await createHost();
  host.links.add("vif1.0");
  await host.operations.attach({ port: "vif1.0", guest: "web1" });
  const bridge = host.links.list().find(({ kind }) => kind === "bridge")?.ifindex ?? 0;
  host.links.setMaster(host.links.list().find(({ name }) => name === "vif1.0")?.ifindex ?? 0, 0);
  host.links.remove(bridge);
  await host.agent.settled();
  await expect.poll(async () => (await host.operations.status()).healthy).toBe(false);
  expect(host.up("vif1.0")).toBe(false);
  expect((await host.operations.status()).conditions.map(({ code }) => code)).toContain("PORT_FAILED");
  host.links.add("br0", "bridge");
  await expect.poll(() => host.up("vif1.0")).toBe(true);
  expect((await host.operations.status()).healthy).toBe(true);
});

test("what others do to the rules while a pass waits for the store is seen by the next one", async () => {
  const memory = memoryStore(clock);
  let meddle = (): void => undefined;
  const host = await createHost({
    ...memory,
    commit: async (transaction) => {
      meddle();
      return memory.commit(transaction);
    },
  });
  host.links.add("vif1.0");
  await host.operations.attach({ port: "vif1.0", guest: "web1" });
  await host.agent.stop();
  host.links.remove(host.links.list().find(({ name }) => name === "vif1.0")?.ifindex ?? 0);
  let meddled = 0;
  meddle = () => {
    meddled += 1;
    meddle = () => undefined;
    host.nft.meddle("flush");
  };
  const agent = await host.start();
  await agent.settled();
  expect([meddled, host.nft.tables("netdev").length, host.held("prefix4")]).toEqual([1, 1, 1]);
  await agent.stop();
});

test("a store that cannot write refuses the attach; the port stays shut", async () => {
  const store = memoryStore(clock);
  let isFull = false;
  const failing: Store = {
    ...store,
    commit: async (transaction) => {
      if (isFull) throw new GuardError("STORE_UNAVAILABLE", "the disk is full");
      return store.commit(transaction);
    },
  };
  const host = await createHost(failing);
  host.links.add("vif1.0");
  isFull = true;
  expect((await refusal(host.operations.attach({ port: "vif1.0", guest: "web1" }))).code).toBe("STORE_UNAVAILABLE");
  expect([host.up("vif1.0"), host.held("identity")]).toEqual([false, 0]);
  isFull = false;
  expect((await host.operations.attach({ port: "vif1.0", guest: "web1" })).state).toBe("applied");
});

test("a dry run touches nothing", async () => {
  const host = await createHost();
  const changes = await host.operations.apply(loadSite("kind: group\nname: late\nspec: {}\n", "site"), {
    dryRun: true,
  });
  expect(changes.map(({ action, name }) => `${action} ${name}`)).toEqual(["create late"]);
  expect(await host.operations.list("group")).toEqual([]);
});

test("what get shows can be applied again and changes nothing", async () => {
  const host = await createHost();
  const objects = [...(await host.operations.list("network")), ...(await host.operations.list("guest"))];
  const text = JSON.stringify(objects.map(({ kind, name, spec }) => ({ kind, name, spec })));
  const again = JSON.parse(text) as readonly object[];
  const changes = await host.operations.apply(
    again.flatMap((object) => [...loadSite(JSON.stringify(object), "site")]),
    { dryRun: true },
  );
  expect(new Set(changes.map(({ action }) => action))).toEqual(new Set(["unchanged"]));
});

test("the policy that stands is told, judged and laid out, with the groups of a network", async () => {
  const host = await createHost();
  const groups = `---
kind: group
name: base
spec: { ingress: [{ protocol: tcp, ports: [22], from: { group: base } }] }
`;
  await host.apply(site.replace("  wiring", "  groups: [base]\n  wiring") + groups);
  expect(await host.operations.get("group", "base")).toMatchObject({ status: { members: ["web1", "web2"] } });
  expect(await host.operations.get("guest", "web1")).toMatchObject({
    status: {
      policy: [
        {
          nic: 0,
          groups: ["base"],
          groupsFrom: "network",
          state: "stateful",
          rules: ["in: tcp 22 from 2 NICs of group base (group base)", "out: everything (group base names no egress)"],
        },
      ],
    },
  });
  expect((await host.operations.list("guest"))[0]?.status, "lists stay small").not.toHaveProperty("policy");
  const verdict = async (to: string) => (await host.operations.explainFlow({ from: "web1", to })).flows[0]?.verdict;
  expect([await verdict("web2:22/tcp"), await verdict("web2:23/tcp")]).toEqual(["pass", "drop"]);
  expect((await host.operations.policyMatrix({})).cells).toContainEqual({
    from: "web1/0",
    to: "web2/0",
    services: ["tcp 22"],
  });
  await host.agent.stop();
});

describe("explain", () => {
  const ask = async (host: Awaited<ReturnType<typeof createHost>>, target: string, phrase: string) => {
    const { frames, notes } = await host.operations.explain({ target, direction: "from-guest", phrase });
    return { ...frames[0], notes };
  };

  test("judges with what the kernel holds now, not with what the agent remembers", async () => {
    const host = await createHost();
    host.links.add("vif1.0");
    await host.operations.attach({ port: "vif1.0", guest: "web1" });
    expect(await ask(host, "web1", "arp announce")).toMatchObject({ verdict: "pass", notes: [] });
    host.nft.meddle({ dropElements: { family: "netdev", table: host.table, set: "bind4" } });
    expect(await ask(host, "vif1.0", "arp announce")).toMatchObject({
      verdict: "drop",
      line: { reason: "arp-sender" },
    });
    await host.agent.settled();
    expect(await ask(host, "web1/0", "arp announce"), "repaired").toMatchObject({ verdict: "pass" });
    host.nft.meddle({ dropChain: { table: host.table, chain: "in/vif1.0" } });
    expect((await ask(host, "web1", "arp announce")).notes).toEqual([expect.stringContaining("chains of port vif1.0")]);
  });

  test("knows the host's own addresses, and on which side of the bridge they are", async () => {
    const host = await createHost();
    host.links.add("vif1.0");
    await host.operations.attach({ port: "vif1.0", guest: "web1" });
    const phrase = "tcp own > 10.0.0.11:22";
    expect((await ask(host, "web1", phrase)).line).toBeUndefined();
    host.links.addAddress(1, Uint8Array.of(10, 0, 0, 11));
    expect(await ask(host, "web1", phrase)).toMatchObject({ verdict: "drop", line: { reason: "host", section: 2 } });
  });

  test("a port that is nobody's is shut, whatever the frame; what has no port is not found", async () => {
    const host = await createHost();
    host.links.add("vif9.0");
    expect(await ask(host, "vif9.0", "ping gateway")).toMatchObject({
      verdict: "drop",
      line: { reason: "unbound", section: 5 },
    });
    expect((await refusal(ask(host, "web1", "stp"))).message).toContain("guest 'web1' has no port on this host");
    expect((await refusal(ask(host, "web1/4", "stp"))).message).toContain("NIC 4 of guest 'web1' has no port");
    expect((await refusal(ask(host, "nobody", "stp"))).code).toBe("NOT_FOUND");
  });
});

test("a network without a free address says so in status, and no longer; a guest more is refused, until one has cooled down", async () => {
  let passed = 0;
  const store = memoryStore({ now: () => clock.now() + passed });
  const host = await createHost(store);
  const told = async (): Promise<readonly string[]> => {
    await host.agent.settled();
    return (await host.operations.status()).conditions.map(({ code, text }) => `${code}: ${text}`);
  };
  expect(await told()).toEqual(["POOL_FULL: no free address: lan0 (all 2 are held)"]);
  const more = "kind: guest\nname: web3\nspec: { nics: [ { network: lan0 } ] }\n";
  expect((await refusal(host.apply(more))).code).toBe("POOL_EXHAUSTED");
  const range4 = async () => Object((await host.operations.get("network", "lan0")).status).range4;
  expect(await range4()).toEqual({ size: 2, free: 0, cooling: 0 });
  await host.operations.remove("guest", "web2");
  expect(await range4()).toEqual({ size: 2, free: 0, cooling: 1 });
  expect(await told()).toEqual(["POOL_FULL: no free address: lan0 (all 2 are held, 1 only cooling down)"]);
  expect((await refusal(host.apply(more))).message).toContain("are held or the gateway's (1 of them cool down");
  passed = 599_000;
  await store.read("");
  expect((await refusal(host.apply(more))).code, "a second too early").toBe("POOL_EXHAUSTED");
  passed = 600_000;
  await store.read("");
  expect(await range4()).toEqual({ size: 2, free: 1, cooling: 0 });
  expect(await told(), "one of two is free").toEqual([]);
  expect(await host.apply(more)).toMatchObject([
    { action: "create", sentences: [expect.stringContaining("10.0.0.11")] },
  ]);
});
