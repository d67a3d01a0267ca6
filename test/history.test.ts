/**
 * History does not matter (invariants I7, I10, I12): whatever was applied, attached, flushed, meddled with or restarted, in whatever order,
 * the kernel ends up holding exactly what the store says, and an agent that then starts with no memory finds nothing to do.
 */
import fc from "fast-check";
import { expect, test } from "vitest";
import { type Agent, startAgent } from "../src/agent/agent.ts";
import { startMirror } from "../src/agent/mirror.ts";
import { loadSite } from "../src/config/load.ts";
import { memoryFrames } from "../src/kernel/frames-memory.ts";
import { memoryLinks } from "../src/kernel/links-memory.ts";
import type { NftChange } from "../src/kernel/nft.ts";
import { memoryNft } from "../src/kernel/nft-memory.ts";
import { GuardError } from "../src/model/errors.ts";
import { parseHostId, parsePortPrefix } from "../src/model/names.ts";
import { desiredHost } from "../src/plan/desired.ts";
import { guardChanges, linkSteps, portChainPrefix } from "../src/plan/host.ts";
import { wishedSets } from "../src/ruleset/elements.ts";
import { buildSkeleton } from "../src/ruleset/skeleton.ts";
import { memoryStore } from "../src/store/memory.ts";

const host = parseHostId("h1");
const prefix = parsePortPrefix("vif");
if (host === undefined || prefix === undefined) throw new TypeError("names");
const hostId = host;
const portPrefixes = [prefix];
const clock = { now: () => 1_700_000_000_000 };
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };
const EPOCH = "boot/1";

const network = `kind: network
name: lan0
spec:
  prefix4: 10.0.0.0/24
  gateway4: 10.0.0.1
  range4: [10.0.0.10-10.0.0.99]
  wiring: { kind: bridged, bridge: br0 }
  addressing: { kind: managed, macScheme: ip }
`;
const guest = (n: number, address?: number): string =>
  `---\nkind: guest\nname: g${n}\nspec: { nics: [ { network: lan0${address === undefined ? "" : `, address4: 10.0.0.${address}`} } ] }\n`;

type Event =
  | {
      readonly kind: "apply" | "delete" | "attach" | "detach" | "unplug" | "drift" | "cut-chain" | "refuse";
      readonly n: number;
    }
  | { readonly kind: "move"; readonly n: number; readonly to: number }
  | { readonly kind: "flush" | "restart" | "no-bridge" };

const few = fc.integer({ min: 1, max: 4 });
const event: fc.Arbitrary<Event> = fc.oneof(
  fc.record({
    kind: fc.constantFrom(
      "apply",
      "delete",
      "attach",
      "attach",
      "attach",
      "detach",
      "unplug",
      "drift",
      "cut-chain",
      "refuse",
    ),
    n: few,
  }),
  fc.record({ kind: fc.constant("move" as const), n: few, to: fc.integer({ min: 50, max: 60 }) }),
  fc.record({ kind: fc.constantFrom("flush", "restart", "no-bridge") }),
);

/** One host that goes through it all. */
async function createWorld() {
  const nft = memoryNft();
  const links = memoryLinks();
  const store = memoryStore(clock);
  const skeleton = buildSkeleton(portPrefixes, ["inet"]);
  const { table } = skeleton;
  links.add("br0", "bridge");
  let commits = 0;
  const counted = {
    ...nft,
    commit: (changes: readonly NftChange[]) => {
      commits += 1;
      nft.commit(changes);
    },
  };
  const start = (): Promise<Agent> =>
    startAgent({
      nft: counted,
      links,
      frames: memoryFrames(),
      store,
      clock,
      log: silent,
      host: hostId,
      epoch: EPOCH,
      portPrefixes,
      version: "test",
      kernel: { release: "test", nft: "test", shape: "port-chains", policy: "bridge-netfilter", capabilities: [] },
      storeKind: "memory",
      auditEvery: 3_600_000,
    });
  let agent = await start();
  const apply = async (text: string): Promise<unknown> =>
    agent.operations.apply(loadSite(network + text, "site"), { dryRun: false });

  const linkOf = (n: number) => links.list().find(({ name }) => name === `vif${n}.0`);
  async function play(e: Event): Promise<void> {
    switch (e.kind) {
      case "apply":
        await apply(guest(e.n));
        break;
      case "move":
        await apply(guest(e.n, e.to));
        break;
      case "delete":
        await agent.operations.remove("guest", `g${e.n}`);
        break;
      case "attach":
        if (linkOf(e.n) === undefined) links.add(`vif${e.n}.0`);
        await agent.operations.attach({ port: `vif${e.n}.0`, guest: `g${e.n}` });
        break;
      case "detach":
        await agent.operations.detach(`vif${e.n}.0`);
        break;
      case "unplug":
        links.remove(linkOf(e.n)?.ifindex ?? 0);
        break;
      case "drift":
        nft.meddle({
          dropElements: { family: "netdev", table, set: ["identity", "addr4", "bind4", "known4"][e.n - 1] ?? "ports" },
        });
        break;
      case "cut-chain":
        nft.meddle({ dropChain: { table, chain: `${portChainPrefix.ingress}vif${e.n}.0` } });
        break;
      case "refuse":
        nft.failNext();
        break;
      case "flush":
        nft.meddle("flush");
        break;
      case "no-bridge": {
        const bridge = links.list().find(({ kind }) => kind === "bridge");
        for (const link of links.list()) if (link.master !== 0) links.setMaster(link.ifindex, 0);
        links.remove(bridge?.ifindex ?? 0);
        links.add("br0", "bridge");
        break;
      }
      default:
        await agent.stop();
        agent = await start();
    }
  }

  /** What the kernel still lacks, or has too much of. */
  async function differences(): Promise<{ readonly rules: number; readonly links: number; readonly ports: number }> {
    const mirror = await startMirror(store, hostId);
    const { wish } = desiredHost(mirror, mirror.attachments.values(), { links, families: skeleton.families }, EPOCH);
    await mirror.stop();
    const sets = wishedSets(skeleton.tables).map(({ family, set }) => ({
      set: { family, table, set },
      elements: nft.elements({ family, table, set }) ?? [],
    }));
    const chains = Object.values(portChainPrefix).flatMap((name) => nft.portChains(table, name) ?? []);
    const steps = wish.ports.flatMap((port) => {
      const link = links.byIndex(port.binding.ifindex);
      return link === undefined ? [] : [...linkSteps(port, link, links.fdb(port.binding.ifindex))];
    });
    return { rules: guardChanges(table, wish, { sets, chains }).length, links: steps.length, ports: wish.ports.length };
  }

  return {
    play,
    differences,
    settle: () => agent.settled(),
    restart: () => play({ kind: "restart" }),
    stop: () => agent.stop(),
    get commits() {
      return commits;
    },
  };
}

/** Operators' mistakes are refused with a reason; anything else is a defect. */
async function playAll(world: Awaited<ReturnType<typeof createWorld>>, history: readonly Event[]): Promise<void> {
  for (const e of history) {
    try {
      await world.play(e);
    } catch (error) {
      if (!(error instanceof GuardError) || error.code === "INTERNAL") throw error;
    }
    await world.settle();
  }
}

test("any history ends in the kernel state that the store asks for, and a second pass is empty", async () => {
  let portsSeen = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(event, { maxLength: 30 }), async (history) => {
      const world = await createWorld();
      try {
        await playAll(
          world,
          [1, 2, 3, 4].map((n) => ({ kind: "apply", n })),
        );
        await playAll(world, history);
        // Whatever was refused on the way is tried again by the pass that a start is.
        await world.restart();
        await world.settle();
        const left = await world.differences();
        portsSeen += left.ports;
        expect({ rules: left.rules, links: left.links }).toEqual({ rules: 0, links: 0 });
        const before = world.commits;
        await world.restart();
        await world.settle();
        expect(world.commits).toBe(before);
      } finally {
        await world.stop();
      }
    }),
    { numRuns: 250 },
  );
  expect(portsSeen, "the histories did attach ports").toBeGreaterThan(50);
}, 120_000);

test("control: the check sees a difference when there is one", async () => {
  const world = await createWorld();
  await playAll(world, [
    { kind: "apply", n: 1 },
    { kind: "attach", n: 1 },
  ]);
  expect(await world.differences()).toEqual({ rules: 0, links: 0, ports: 1 });
  await world.stop();
  await world.play({ kind: "cut-chain", n: 1 });
  expect((await world.differences()).rules).toBeGreaterThan(0);
});
