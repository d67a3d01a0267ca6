/** The store contract on a real etcd, and what only a store behind a network meets: members that go, answers that are lost, what etcd has forgotten. */

import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll } from "vitest";
import { openEtcdStore } from "../../src/store/etcd.ts";
import type { Commit, Revision, Snapshot, Store } from "../../src/store/store.ts";
import { storeContract } from "../store.contract.ts";
import { type EtcdCluster, startEtcd } from "../support/etcd.ts";

let etcd: EtcdCluster;
beforeAll(async () => {
  etcd = await startEtcd({ members: 1 });
  await etcd.ready();
});
afterAll(() => etcd?.down());

/** Counts revisions from where etcd stood when the store was opened, as the contract does. */
function fromZero(store: Store, base: Revision): Store {
  const up = (revision: Revision): Revision => (revision === 0 ? 0 : revision + base);
  const down = (revision: Revision): Revision => Math.max(0, revision - base);
  const lowered = ({ revision, entries }: Snapshot): Snapshot => ({
    revision: down(revision),
    entries: new Map([...entries].map(([key, entry]) => [key, { ...entry, revision: down(entry.revision) }])),
  });
  const verdict = (commit: Commit): Commit => (commit.ok ? { ok: true, revision: down(commit.revision) } : commit);
  return {
    ...store,
    read: async (prefix) => lowered(await store.read(prefix)),
    watch: async function* (prefix, after, signal) {
      for await (const { revision, changes } of store.watch(prefix, after + base, signal))
        yield { revision: down(revision), changes };
    },
    commit: async ({ expect, writes }) =>
      verdict(
        await store.commit({ expect: expect.map(({ key, revision }) => ({ key, revision: up(revision) })), writes }),
      ),
  };
}

let opened = 0;
storeContract("etcd", async (_clock, { history }) => {
  opened += 1;
  const store = openEtcdStore({ endpoints: etcd.endpoints, root: `test/${opened}`, client: "host-1" });
  const { revision } = await store.read("");
  return {
    store: fromZero(store, revision),
    clean: () => undefined,
    wait: (seconds) => sleep(1000 * seconds),
    forget: async () => {
      if (history !== undefined) etcd.ctl("compaction", String((await store.read("")).revision - history + 1));
    },
  };
});
