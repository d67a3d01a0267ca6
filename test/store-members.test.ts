/** Records of NICs for other hosts: what a plan writes beside a guest, and that a site stored before them comes to have the same. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import Database from "libsql";
import { afterEach, expect, test } from "vitest";
import { startMirror } from "../src/agent/mirror.ts";
import { loadSite } from "../src/config/load.ts";
import type { ObjectName } from "../src/model/names.ts";
import { parseObjectName } from "../src/model/names.ts";
import type { Guest } from "../src/model/resources.ts";
import { guestOfMembers, memberChanges, memberRecords } from "../src/plan/members.ts";
import { planRemove, planSite } from "../src/plan/site.ts";
import { decodeRecord } from "../src/store/collections.ts";
import { openEmbeddedStore } from "../src/store/embedded.ts";
import { memoryStore } from "../src/store/memory.ts";
import type { Json, Store } from "../src/store/store.ts";
import { commits, write } from "./store.contract.ts";
import { clock, hostId } from "./support/memory-agent.ts";

const SITE = `kind: network
name: lan0
spec:
  prefix4: 10.0.0.0/24
  gateway4: 10.0.0.1
  prefix6: 2001:db8::/64
  range4: [10.0.0.10-10.0.0.99]
  wiring: { kind: bridged, bridge: br0 }
  addressing: { kind: managed, macScheme: ip }
---
kind: network
name: old0
spec:
  prefix4: 10.0.1.0/24
  gateway4: 10.0.1.1
  prefix6: 2001:db8:1::/64
  wiring: { kind: bridged, bridge: br1 }
  addressing: { kind: snoop, servers: [ { address: 10.0.1.2 } ] }
---
kind: group
name: web
spec: { ingress: [ { protocol: tcp, ports: [80], from: any } ] }
---
kind: group
name: db
spec: { ingress: [ { protocol: tcp, ports: [5432], from: { group: web } } ] }
---
kind: guest
name: web1
spec:
  nics:
    - { network: lan0, groups: [web, db], addresses: [10.0.0.128/28], allowedPairs: [ { address: 10.0.0.200 } ] }
    - { network: old0, groups: [db] }
---
kind: guest
name: plain
spec: { nics: [ { network: lan0, address6: "2001:db8::7" } ] }
`;

const random = (count: number): Uint8Array => new Uint8Array(count).fill(0x42);
const directories: string[] = [];
afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true });
});

const nameOf = (text: string): ObjectName => {
  const name = parseObjectName(text);
  if (name === undefined) throw new TypeError(text);
  return name;
};

async function held(store: Store) {
  const mirror = await startMirror(store, hostId);
  const site = mirror.held();
  await mirror.stop();
  return site;
}

async function apply(store: Store, text: string): Promise<void> {
  await commits(store, planSite(await held(store), loadSite(text, "site"), random).transaction);
}

async function records(store: Store): Promise<Record<string, Json>> {
  const all = [...(await store.read("member/")).entries, ...(await store.read("carrier/")).entries];
  return Object.fromEntries(all.map(([key, { value }]) => [key, value]));
}

/** As an agent writes what another server gave. */
async function learn(store: Store, guest: string, nic: number, addresses: readonly string[]): Promise<void> {
  const site = await held(store);
  const found = site.guests.get(nameOf(guest));
  const identity = found?.nics[nic];
  if (found === undefined || identity === undefined) throw new TypeError(guest);
  const leases = addresses.map((address) => {
    const { network, mac } = identity;
    const value = { network, address, guest, nic, mac, state: "bound", expiresAt: 9e12 } as const;
    return {
      op: "put",
      key: `lease/${network}/${address}`,
      value: { ...value, learned: { by: "snoop", server: "10.0.1.2" } },
    } as const;
  });
  await commits(store, write(...leases));
  const after = (await held(store)).learned?.(found) ?? found;
  await commits(store, write(...memberChanges(found, after, () => 0).writes));
}

test("a guest is written with a record under each network and each of its own groups, and goes with them", async () => {
  const store = memoryStore(clock);
  await apply(store, SITE);
  const keys = ["carrier/db/web1/0", "carrier/db/web1/1", "carrier/web/web1/0"];
  const members = ["member/lan0/plain/0", "member/lan0/web1/0", "member/old0/web1/1"];
  expect(Object.keys(await records(store)).sort()).toEqual([...keys, ...members].sort());
  await apply(
    store,
    "kind: guest\nname: web1\nspec: { nics: [ { network: lan0, groups: [web] }, { network: lan0 } ] }",
  );
  const fewer = ["carrier/web/web1/0", "member/lan0/plain/0", "member/lan0/web1/0", "member/lan0/web1/1"];
  expect(Object.keys(await records(store)).sort()).toEqual(fewer);
  await commits(store, planRemove(await held(store), "guest", "web1").transaction);
  expect(Object.keys(await records(store))).toEqual(["member/lan0/plain/0"]);
});

test("what a guest has learned stands in its records, and stays there when the guest is applied again", async () => {
  const store = memoryStore(clock);
  await apply(store, SITE);
  const before = await records(store);
  expect(before["member/old0/web1/1"]).toMatchObject({ addresses4: [], addresses6: [] });
  await learn(store, "web1", 1, ["10.0.1.55", "2001:db8:1::55"]);
  const learned = { addresses4: ["10.0.1.55"], addresses6: ["2001:db8:1::55"] };
  expect((await records(store))["member/old0/web1/1"]).toMatchObject(learned);
  expect((await records(store))["carrier/db/web1/1"]).toMatchObject(learned);
  await apply(store, SITE.replace("groups: [db] }", "groups: [web] }"));
  expect((await records(store))["carrier/web/web1/1"]).toMatchObject(learned);
  expect((await records(store))["carrier/db/web1/1"]).toBeUndefined();
});

test("a file of the format before comes to have the records that this version would have written", async () => {
  const directory = mkdtempSync(join(tmpdir(), "vifguard-members-"));
  directories.push(directory);
  const store = await openEmbeddedStore({ directory, clock });
  await apply(store, SITE);
  await learn(store, "web1", 1, ["10.0.1.55", "2001:db8:1::55"]);
  const written = await records(store);
  expect(Object.keys(written)).toHaveLength(6);
  await store.close();
  const database = new Database(join(directory, "store.db"));
  database.exec("DELETE FROM entries WHERE key LIKE 'member/%' OR key LIKE 'carrier/%'; PRAGMA user_version = 4");
  database.close();
  const opened = await openEmbeddedStore({ directory, clock });
  expect(await records(opened)).toEqual(written);
  await opened.close();
});

test("a guest put together from its records has what others must know of it", async () => {
  const store = memoryStore(clock);
  await apply(store, SITE);
  const web1 = (await held(store)).guests.get(nameOf("web1"));
  const members = [...memberRecords(web1)].flatMap(([key, value]) => {
    const record = decodeRecord(key, JSON.parse(JSON.stringify(value)));
    return record.kind === "member" ? [record.value] : [];
  });
  const again: Guest = guestOfMembers(nameOf("web1"), members);
  expect(again.nics).toEqual(web1?.nics);
  expect(again.spec.nics).toEqual(web1?.spec.nics);
});
