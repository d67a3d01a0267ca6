/** One simulated host: a kernel in memory that outlives its agents, and the agent as it is, with its store on etcd and its copy in a directory. */
import { join } from "node:path";
import type { Agent } from "../../src/agent/agent.ts";
import { identityOf, keepInstance } from "../../src/agent/instance.ts";
import { openStore } from "../../src/agent/open-store.ts";
import { loadSite } from "../../src/config/load.ts";
import { memoryLinks } from "../../src/kernel/links-memory.ts";
import type { Nft, NftChange } from "../../src/kernel/nft.ts";
import { memoryNft } from "../../src/kernel/nft-memory.ts";
import { memoryRoutes } from "../../src/kernel/routes-memory.ts";
import { memorySysctls } from "../../src/kernel/sysctls.ts";
import type { Attachment } from "../../src/model/resources.ts";
import { settingNames, settingTable } from "../../src/model/settings.ts";
import type { Store } from "../../src/store/store.ts";
import { EPOCH, silent, startMemoryAgent } from "../support/memory-agent.ts";
import { hostIdOf, interfaceOf } from "../support/names.ts";

export interface SimHostOptions {
  readonly name: string;
  /** Plugged when the host is made, in the order of their interface numbers. */
  readonly ports: readonly string[];
  readonly endpoints: readonly string[];
  readonly root: string;
  readonly directory: string;
}

const clock = { now: () => Date.now() };
/** Of the first port: before it come the uplink and the bridge. */
export const FIRST_IFINDEX = 3;

/** The beat of the responder for neighbours says nothing about the site. */
const isOfSite = (change: NftChange): boolean => "chain" in change || change.set.set !== "suppress";

function growthOf(change: NftChange): number {
  if ("chain" in change) return 0;
  return change.op === "add-elements" ? change.elements.length : -change.elements.length;
}

/** The same seam, and told of what changed the rules: by how many elements. */
function noting(nft: Nft, changed: (growth: number) => void): Nft {
  return {
    ...nft,
    commit: (changes) => {
      nft.commit(changes);
      const own = changes.filter(isOfSite);
      if (own.length > 0) changed(own.reduce((sum, change) => sum + growthOf(change), 0));
    },
  };
}

export function createSimHost({ name, ports, endpoints, root, directory }: SimHostOptions) {
  const [nft, links, sysctls] = [memoryNft(), memoryLinks(), memorySysctls()];
  const routing = { routes: memoryRoutes(), sysctls };
  let changedAt = 0;
  let elements = 0;
  const seam = noting(nft, (growth) => {
    changedAt = Date.now();
    elements += growth;
  });
  let running: { readonly agent: Agent; readonly store: Store } | undefined;

  function plug(port: string, kind?: string): void {
    if (links.byName(interfaceOf(port)) !== undefined) return;
    for (const setting of settingNames) sysctls.define(settingTable[setting].path(interfaceOf(port)), 0);
    links.add(port, kind);
  }
  plug("eth0");
  plug("br0", "bridge");
  for (const port of ports) plug(port);

  const options = {
    stateDirectory: join(directory, name),
    socket: "",
    host: name,
    portPrefixes: ["vif"],
    loadOnly: false,
    without: [],
    logLevel: "silent",
    etcd: { endpoints, root },
    network: undefined,
  };

  async function start(): Promise<void> {
    const host = hostIdOf(name);
    const { stateDirectory } = options;
    const owner = {
      host,
      isOwn: () => true,
      isOpen: ({ ifindex }: Attachment) => links.byIndex(ifindex)?.up === true,
      shut: ({ ifindex }: Attachment) => links.setUp(ifindex, false),
      log: silent,
    };
    const { health, kind, ...opened } = await openStore(options, owner);
    const keep = (instance: string): void => keepInstance(stateDirectory, instance);
    const presence = { identity: identityOf(stateDirectory, EPOCH), isAlone: false, keepInstance: keep };
    const seams = { nft: seam, links, routing, host, clock, presence };
    const parts = { ...opened, ...seams, storeKind: kind, storeHealth: health };
    running = { store: opened.store, agent: await startMemoryAgent(parts) };
  }
  async function stop(): Promise<void> {
    const ending = running;
    running = undefined;
    await ending?.agent.stop();
    await ending?.store.close();
  }
  function agent(): Agent {
    if (running === undefined) throw new TypeError(`no agent runs on ${name}`);
    return running.agent;
  }
  return {
    name,
    start,
    stop,
    plug,
    /** When its rules were changed last. */
    changedAt: () => changedAt,
    settled: () => agent().settled(),
    apply: (text: string) => agent().operations.apply(loadSite(text, "site"), { dryRun: false }),
    attach: (port: string, guest: string, isMove: boolean) =>
      agent().operations.attach({ port, guest, nic: 0, ...(isMove ? { move: "ask" as const } : {}) }),
    /** How many of its ports are as they should be. */
    applied: async (): Promise<number> =>
      (await agent().operations.status()).ports.filter(({ state }) => state === "applied").length,
    /** In the sets of its rules. */
    elements: () => elements,
  };
}

export type SimHost = ReturnType<typeof createSimHost>;
