/** Hosts on memory kernels over one store, each with its copy, whose store can be put back to what it was: agents live on, as their processes do. */
import { setTimeout as sleep, setImmediate as turn } from "node:timers/promises";
import { type Life, type Lives, startLives } from "../../src/agent/lives.ts";
import { isLive } from "../../src/agent/ports.ts";
import { settleRestore } from "../../src/agent/restores.ts";
import { loadSite } from "../../src/config/load.ts";
import { memoryLinks } from "../../src/kernel/links-memory.ts";
import { memoryNft } from "../../src/kernel/nft-memory.ts";
import type { MoveKind } from "../../src/model/operations.ts";
import type { Attachment } from "../../src/model/resources.ts";
import { createCopy, openFleetStore } from "../../src/store/fleet.ts";
import { createStoreHealth } from "../../src/store/health.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { restoreGate } from "../../src/store/restore-gate.ts";
import type { Snapshot, Store } from "../../src/store/store.ts";
import { clock, EPOCH, silent, startMemoryAgent } from "./memory-agent.ts";
import { hostIdOf } from "./names.ts";

export const site = (guests: readonly string[]): string => `kind: network
name: lan0
spec:
  prefix4: 10.0.0.0/24
  gateway4: 10.0.0.1
  range4: [10.0.0.10-10.0.0.99]
  wiring: { kind: bridged, bridge: br0, uplink: eth0 }
${guests.map((guest) => `---\nkind: guest\nname: ${guest}\nspec: { nics: [{ network: lan0 }] }\n`).join("")}`;

/** What stands behind every host's connection, which notices when it is another one. */
function createRemote() {
  let store: Store = memoryStore(clock);
  const told = new Set<() => void>();
  const now: Store = {
    read: (prefix) => store.read(prefix),
    watch: (prefix, after, signal) => store.watch(prefix, after, signal),
    commit: (transaction) => store.commit(transaction),
    grantLease: (seconds) => store.grantLease(seconds),
    keepAlive: (lease) => store.keepAlive(lease),
    revokeLease: (lease) => store.revokeLease(lease),
    close: async () => undefined,
  };
  return {
    store: now,
    onWentBack: (wentBack: () => void) => {
      told.add(wentBack);
    },
    restore: (from: Snapshot) => {
      store = memoryStore(clock, { from });
      for (const wentBack of [...told]) {
        told.delete(wentBack);
        wentBack();
      }
    },
  };
}

function createHost(name: string, remote: ReturnType<typeof createRemote>, looked: () => void) {
  const [nft, links] = [memoryNft(), memoryLinks()];
  links.add("br0", "bridge");
  links.add("eth0");
  let copyStore = memoryStore(clock);
  let lives: Lives | undefined;
  let end = (): void => undefined;
  let running: Promise<void> | undefined;
  const isOpen = (attachment: Attachment): boolean =>
    isLive({ epoch: EPOCH, links }, attachment) && links.byIndex(attachment.ifindex)?.up === true;

  async function begin(): Promise<Life> {
    const [health, restoreHealth] = [createStoreHealth(), createStoreHealth()];
    const shut = ({ ifindex }: Attachment): void => links.setUp(ifindex, false);
    const parts = { host: hostIdOf(name), isOwn: () => true, isOpen, shut, lost: restoreHealth.tell, log: silent };
    const memory: Store = { ...copyStore, close: async () => undefined };
    const gate = restoreGate({
      remote: remote.store,
      host: name,
      isOpen,
      memory,
      before: createCopy(memory, 1),
      settle: (store, before, marked) => settleRestore(parts, store, before, marked),
      health: health.tell,
    });
    remote.onWentBack(gate.end);
    const store = openFleetStore({ remote: gate.store, copy: memory, health, mayKeep: () => false, format: 1 });
    const seen = new Proxy(links, {
      get: (target, method) => {
        const value: unknown = Reflect.get(target, method);
        if (typeof value !== "function") return value;
        return (...args: readonly unknown[]) => {
          const result: unknown = value(...args);
          looked();
          return result;
        };
      },
    });
    const own = {
      nft,
      links: seen,
      store,
      siteStore: gate.store,
      scope: "host",
      host: hostIdOf(name),
      movePatience: 20,
      storeHealth: health,
      restoreHealth,
    } as const;
    return { agent: await startMemoryAgent(own), store, restored: gate.restored };
  }

  const linkOf = (port: string) => links.list().find((link) => link.name === port);
  const operations = () => {
    if (lives === undefined) throw new TypeError(`nothing runs on ${name}`);
    return lives.operations;
  };
  return {
    name,
    start: async () => {
      lives = await startLives(begin, () => undefined);
      running = lives.run(
        new Promise((resolve) => {
          end = resolve;
        }),
      );
    },
    stop: async () => {
      end();
      await running;
      lives = undefined;
    },
    /** As after its disk was lost. */
    forget: () => {
      copyStore = memoryStore(clock);
    },
    plug: (port: string) => {
      if (linkOf(port) === undefined) links.add(port);
    },
    isOpen: (port: string): boolean => linkOf(port)?.up === true && linkOf(port)?.master !== 0,
    attach: (port: string, guest: string, move?: MoveKind) =>
      operations().attach({ port, guest, nic: 0, ...(move === undefined ? {} : { move }) }),
    detach: (port: string) => operations().detach(port),
    apply: (...guests: readonly string[]) => operations().apply(loadSite(site(guests), "site"), { dryRun: false }),
    status: () => operations().status(),
    openPorts: () => links.list().filter(({ name: port, up, master }) => port.startsWith("vif") && up && master !== 0),
  };
}

export type RestoredHost = ReturnType<typeof createHost>;

export async function raiseRestored() {
  const remote = createRemote();
  const hosts: RestoredHost[] = [];
  let [most, least] = [0, Number.POSITIVE_INFINITY];
  function looked(): void {
    const open = hosts.reduce((sum, host) => sum + host.openPorts().length, 0);
    [most, least] = [Math.max(most, open), Math.min(least, open)];
  }
  for (const name of ["a", "b"]) hosts.push(createHost(name, remote, looked));
  const [a, b] = hosts;
  if (a === undefined || b === undefined) throw new TypeError("a fleet has two hosts");
  for (const host of hosts) {
    await host.start();
    for (const port of ["vif1.0", "vif2.0"]) host.plug(port);
  }
  return {
    a,
    b,
    store: remote.store,
    snapshot: () => remote.store.read(""),
    restore: remote.restore,
    /** From here on. */
    count: () => {
      [most, least] = [0, Number.POSITIVE_INFINITY];
      looked();
    },
    /** How many ports of all hosts ever were open at once. */
    seen: () => ({ most, least }),
    settle: async () => {
      for (let i = 0; i < 60; i += 1) await turn();
      await sleep(30);
    },
    claim: async (guest: string) => (await remote.store.read("claim/")).entries.get(`claim/${guest}/0`)?.value,
    stop: async () => {
      for (const host of hosts) await host.stop();
    },
  };
}
