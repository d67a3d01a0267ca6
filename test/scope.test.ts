/** What an agent of a fleet holds and hears of the site: what its own ports need, whatever else there is, and all of that. */
import { setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { afterEach, describe, expect, test } from "vitest";
import { type Mirror, startMirror } from "../src/agent/mirror.ts";
import { loadSite } from "../src/config/load.ts";
import { GuardError } from "../src/model/errors.ts";
import { type HostId, type ObjectName, parseObjectName } from "../src/model/names.ts";
import type { Attachment } from "../src/model/resources.ts";
import type { SiteView } from "../src/plan/desired.ts";
import { toJson } from "../src/plan/json.ts";
import { memberRecords } from "../src/plan/members.ts";
import { judgeFlow } from "../src/plan/policy-flow.ts";
import { type Members, siteMembers } from "../src/plan/policy-members.ts";
import { planSite } from "../src/plan/site.ts";
import { memoryStore } from "../src/store/memory.ts";
import { holds } from "../src/store/place.ts";
import type { Change, Key, Place, Snapshot, Store, Write } from "../src/store/store.ts";
import { commits, del, put, write } from "./store.contract.ts";
import { clock } from "./support/memory-agent.ts";
import { hostIdOf } from "./support/names.ts";
import { randomSite } from "./support/policy-sites.ts";

const network = (name: string, octet: number, more = ""): string => `kind: network
name: ${name}
spec:
  prefix4: 10.${octet}.0.0/16
  gateway4: 10.${octet}.0.1
  range4: [10.${octet}.1.0-10.${octet}.9.255]
  wiring: { kind: bridged, bridge: br${octet} }
  addressing: { kind: managed, macScheme: ip }${more}
---
`;
const guest = (name: string, on: string, groups = ""): string =>
  `kind: guest\nname: ${name}\nspec: { nics: [ { network: ${on}${groups === "" ? "" : `, groups: [${groups}]`} } ] }\n---\n`;
const group = (name: string, from: string): string =>
  `kind: group\nname: ${name}\nspec: { ingress: [ { protocol: tcp, ports: [5432], from: ${from} } ] }\n---\n`;

/** `near1` and `near2` are on lan0, forty guests and one of group `web` on lan1; rules of `db` name `web`. */
const SITE = [
  network("lan0", 0),
  network("lan1", 1),
  group("web", "any"),
  group("db", "{ group: web }"),
  group("other", "any"),
  guest("near1", "lan0", "db"),
  guest("near2", "lan0", "other"),
  guest("web1", "lan1", "web"),
  ...Array.from({ length: 40 }, (_, n) => guest(`far${n}`, "lan1", n % 2 === 0 ? "other" : "")),
].join("");

const nameOf = (text: string): ObjectName => {
  const name = parseObjectName(text);
  if (name === undefined) throw new TypeError(text);
  return name;
};
const [h1, h2] = [hostIdOf("h1"), hostIdOf("h2")];

const attachment = (
  port: string,
  of: string,
): Omit<Attachment, "port" | "guest"> & { port: string; guest: string } => ({
  port,
  ifindex: 7,
  epoch: "boot/1",
  guest: of,
  nic: 0,
  fence: 1,
  since: 1,
});
const attach = (host: HostId, port: string, of: string): readonly Write[] => [
  put(`attachment/${host}/${port}`, attachment(port, of)),
  put(`claim/${of}/0`, { fence: 1, holder: { host, port } }),
];

async function apply(store: Store, text: string): Promise<void> {
  const whole = await startMirror(store, h1);
  const { transaction } = planSite(whole.held(), loadSite(text, "site"), (count) => new Uint8Array(count));
  await whole.stop();
  await commits(store, transaction);
}

/** The store as one host sees it, with every key that it was told of. */
function listening(store: Store) {
  const heard: Key[] = [];
  async function* watch(place: Place, after: number, signal: AbortSignal): AsyncGenerator<Change> {
    for await (const change of store.watch(place, after, signal)) {
      heard.push(...change.changes.map(({ key }) => key));
      yield change;
    }
  }
  return {
    heard,
    store: {
      ...store,
      watch,
      read: async (place: Place): Promise<Snapshot> => {
        const snapshot = await store.read(place);
        heard.push(...snapshot.entries.keys());
        return snapshot;
      },
    } satisfies Store,
  };
}

const mirrors: Mirror[] = [];
afterEach(async () => {
  for (const mirror of mirrors.splice(0)) await mirror.stop();
});
async function mirrorOf(store: Store, host: HostId): Promise<Mirror> {
  const mirror = await startMirror(store, host, undefined, { scope: "host" });
  mirrors.push(mirror);
  return mirror;
}
/** Longer than what belongs together is waited for. */
const settle = (): Promise<void> => sleep(30);

async function filled() {
  const store = memoryStore(clock);
  await apply(store, SITE);
  await commits(store, write(...attach(h1, "vif1.0", "near1"), ...attach(h2, "vif2.0", "near2")));
  const seen = listening(store);
  return { store, heard: seen.heard, mirror: await mirrorOf(seen.store, h1) };
}

const guestsOf = (mirror: Mirror): readonly string[] => [...mirror.guests.keys()].sort();

describe("an agent of a fleet", () => {
  test("holds its own guests whole, of others those of its networks and of the groups its rules name, and hears of no more", async () => {
    const { store, heard, mirror } = await filled();
    expect(guestsOf(mirror)).toEqual(["near1", "near2", "web1"]);
    expect(mirror.guests.get(nameOf("near1"))?.spec.nics[0]?.rates).toBeDefined();
    expect([...mirror.claims.keys()]).toEqual(["near1/0"]);
    expect([...mirror.attachments.keys()]).toEqual(["vif1.0"]);
    expect(heard.filter((key) => /far|mac\//.test(key))).toEqual([]);
    const all = (await store.read("")).entries.size;
    expect(all).toBeGreaterThan(200);
    expect(mirror.size).toBeLessThan(20);
    const known = heard.length;
    await apply(store, guest("far99", "lan1", "other") + guest("far0", "lan1", "other, db"));
    await commits(store, write(...attach(h2, "vif9.0", "far1"), put("lease/lan1/10.1.1.9", leaseOf("far9"))));
    await settle();
    expect(heard).toHaveLength(known);
    // The control: guests that do concern it.
    await apply(store, guest("near3", "lan0") + guest("web2", "lan1", "web"));
    await settle();
    expect(guestsOf(mirror)).toEqual(["near1", "near2", "near3", "web1", "web2"]);
  });

  test("a guest that joins or leaves a group is told to the hosts whose rules name it, and to no other", async () => {
    const { store, mirror } = await filled();
    const other = listening(store);
    const second = await mirrorOf(other.store, h2);
    const before = other.heard.length;
    expect(guestsOf(second)).toEqual(["near1", "near2"]);
    await apply(store, guest("far1", "lan1", "web"));
    await settle();
    expect(guestsOf(mirror)).toContain("far1");
    expect(siteMembers(mirror).countOf(nameOf("web"))).toBe(2);
    await apply(store, guest("far1", "lan1", "other"));
    await settle();
    expect(guestsOf(mirror)).not.toContain("far1");
    expect(other.heard).toHaveLength(before);
  });

  test("a network's own groups count for its NICs that name none", async () => {
    const { store, mirror } = await filled();
    expect(guestsOf(mirror)).not.toContain("far1");
    await apply(store, network("lan1", 1, "\n  groups: [web]"));
    await settle();
    expect(siteMembers(mirror).countOf(nameOf("web")), "far1, far3, …, and web1").toBe(21);
  });

  test("what a port needs is opened before it is attached and closed when it is gone", async () => {
    const { store, mirror } = await filled();
    const before = mirror.size;
    const letGo = await mirror.ask(nameOf("far1"));
    expect(mirror.guests.get(nameOf("far1"))?.spec.nics[0]?.rates, "whole").toBeDefined();
    expect(guestsOf(mirror)).toHaveLength(43);
    const writes = attach(h1, "vif1.1", "far1");
    await mirror.wrote(writes, await commits(store, write(...writes)));
    letGo();
    expect([...mirror.claims.keys()].sort()).toEqual(["far1/0", "near1/0"]);
    expect(mirror.size).toBeGreaterThan(before + 40);
    await commits(store, write(del("attachment/h1/vif1.1"), put("claim/far1/0", { fence: 1 })));
    await expect.poll(() => mirror.size).toBe(before);
    expect(guestsOf(mirror)).toEqual(["near1", "near2", "web1"]);
  });

  test("a claim of a guest here is told at once, one of a guest elsewhere never", async () => {
    const { store, mirror } = await filled();
    const told: (readonly string[])[] = [];
    mirror.onClaimChange((ports) => told.push(ports));
    const next = { host: "h2", port: "vif2.7" };
    await commits(store, write(put("claim/near2/0", { fence: 2, holder: next })));
    await commits(store, write(put("claim/near1/0", { fence: 1, holder: { host: "h1", port: "vif1.0" }, next })));
    await expect.poll(() => told).toEqual([["vif1.0"]]);
    expect(mirror.claims.has("near2/0")).toBe(false);
  });

  test("what one transaction changes in several places is seen together", async () => {
    const { store, mirror } = await filled();
    let told = 0;
    mirror.onSiteChange(() => {
      told += 1;
    });
    await apply(
      store,
      group("db", "{ group: other }") + guest("near2", "lan0", "web") + network("lan0", 0, "\n  mode: observe"),
    );
    await expect.poll(() => told).toBe(1);
    await settle();
    expect(told).toBe(1);
    expect(siteMembers(mirror).countOf(nameOf("other")), "far0, far2, …").toBe(20);
  });
});

const leaseOf = (of: string) => ({
  network: "lan1",
  address: "10.1.1.9",
  guest: of,
  nic: 0,
  mac: "fe:00:0a:01:01:09",
  state: "bound",
  expiresAt: 1,
});

describe("whatever comes in between", () => {
  /** Each reading takes its time: what `meanwhile` does comes after it was made and before it is answered. */
  function slow(store: Store, meanwhile: (place: Place) => Promise<void>): Store {
    return {
      ...store,
      read: async (place) => {
        const snapshot = await store.read(place);
        await meanwhile(place);
        return snapshot;
      },
    };
  }

  test("a change between reading and watching is not missed", async () => {
    const { store } = await filled();
    let left = 1;
    const late = slow(store, async (place) => {
      if (!holds(place, "member/lan0/near2/0") || left === 0) return;
      left -= 1;
      await apply(store, guest("near9", "lan0") + guest("web9", "lan1", "web"));
    });
    const mirror = await mirrorOf(late, h1);
    await settle();
    expect(left).toBe(0);
    expect(guestsOf(mirror)).toEqual(["near1", "near2", "near9", "web1", "web9"]);
  });

  test("what this host wrote itself is not undone by an older reading, nor by an older change", async () => {
    const { store } = await filled();
    let isHeld = true;
    const kept: (() => void)[] = [];
    const late = slow(store, async () => {
      if (!isHeld) await new Promise<void>((resolve) => kept.push(resolve));
    });
    const mirror = await mirrorOf(late, h1);
    isHeld = false;
    const asked = mirror.ask(nameOf("far1"));
    await settle();
    const writes = attach(h1, "vif1.1", "far1");
    const wrote = mirror.wrote(writes, await commits(store, write(...writes)));
    expect(mirror.claims.get("far1/0"), "at once").toEqual(writes[1]?.op === "put" ? writes[1].value : undefined);
    isHeld = true;
    while (kept.length > 0) {
      for (const go of kept.splice(0)) go();
      await settle();
    }
    (await asked)();
    await wrote;
    expect(mirror.claims.get("far1/0")).toEqual({ fence: 1, holder: { host: "h1", port: "vif1.1" } });
    expect(mirror.guests.get(nameOf("far1"))?.spec.nics[0]?.rates).toBeDefined();
  });

  test("a place that fell behind what the store remembers is read again, and the others go on", async () => {
    const store = memoryStore(clock, { history: 4 });
    await apply(store, SITE);
    await commits(store, write(...attach(h1, "vif1.0", "near1")));
    let isStuck = false;
    async function* watch(place: Place, after: number, signal: AbortSignal): AsyncGenerator<Change> {
      for await (const change of store.watch(place, after, signal)) {
        while (isStuck && place === "member/lan0/") await sleep(5);
        yield change;
      }
    }
    const mirror = await mirrorOf({ ...store, watch }, h1);
    isStuck = true;
    for (let n = 0; n < 30; n += 1) {
      await apply(
        store,
        n % 3 === 2
          ? guest("web9", "lan1", n % 2 === 0 ? "web" : "web, db")
          : guest(`near${3 + (n % 5)}`, "lan0", n % 2 === 0 ? "other" : ""),
      );
      await sleep(1);
    }
    expect(guestsOf(mirror)).toContain("web9");
    expect(guestsOf(mirror)).not.toContain("near5");
    isStuck = false;
    await expect
      .poll(() => guestsOf(mirror).filter((name) => name.startsWith("near")))
      .toEqual(["near1", "near2", "near3", "near4", "near5", "near6", "near7"]);
  });

  test("a store that is away refuses what it would have to be asked, and what it has is read when it is back", async () => {
    const { store } = await filled();
    let isAway = false;
    const read = async (place: Place): Promise<Snapshot> => {
      if (isAway) throw new GuardError("STORE_UNAVAILABLE", "away");
      return store.read(place);
    };
    const mirror = await mirrorOf({ ...store, read }, h1);
    isAway = true;
    await expect(mirror.ask(nameOf("far1"))).rejects.toMatchObject({ code: "STORE_UNAVAILABLE" });
    // A rule that names another group while nothing can be read.
    await apply(store, group("db", "{ group: other }"));
    await settle();
    expect(guestsOf(mirror)).toEqual(["near1", "near2"]);
    isAway = false;
    await expect.poll(() => siteMembers(mirror).countOf(nameOf("other")), { timeout: 3_000 }).toBe(21);
  });
});

/** A site as the store has it, and one NIC attached here. */
async function storeWith(site: SiteView, attached: string): Promise<Store> {
  const store = memoryStore(clock);
  const writes: Write[] = [...attach(h1, "vif1.0", attached)];
  for (const [name, spec] of site.networks) writes.push(put(`network/${name}`, toJson(spec)));
  for (const [name, spec] of site.groups) writes.push(put(`group/${name}`, toJson(spec)));
  for (const [name, one] of site.guests) {
    writes.push(put(`guest/${name}`, toJson(one)));
    for (const [key, record] of memberRecords(one)) writes.push(put(key, toJson(record)));
  }
  await commits(store, write(...writes));
  return store;
}

test("in any site the groups of a NIC here let the same flows be opened as by the whole site", async () => {
  let compared = 0;
  await fc.assert(
    fc.asyncProperty(randomSite, fc.constantFrom("g0", "g1", "g2", "g3"), async (site, attached) => {
      const mirror = await startMirror(await storeWith(site, attached), h1, undefined, { scope: "host" });
      try {
        const [whole, here] = [siteMembers(site), siteMembers(mirror)];
        const own = addressesOf(whole, attached);
        for (const mine of own)
          for (const theirs of [...site.guests.keys()].flatMap((name) => addressesOf(whole, name))) {
            compared += 1;
            expect(rulings(here, mine, theirs), `${mine} and ${theirs}`).toEqual(rulings(whole, mine, theirs));
          }
      } finally {
        await mirror.stop();
      }
    }),
    { numRuns: 60 },
  );
  expect(compared).toBeGreaterThan(1_000);
});

type Address = Parameters<Members["holders"]>[0];

const addressesOf = (members: Members, name: string): readonly Address[] =>
  (members.ofGuest(nameOf(name)) ?? []).flatMap(({ sources }) =>
    sources.flatMap(({ what }) => ("address" in what ? [what.address] : [])),
  );

/** What this host says: of what goes out of its NIC, and of what comes in. */
function rulings(members: Members, mine: Address, theirs: Address): readonly unknown[] {
  const end = (address: Address) => ({ address, nics: members.holders(address) });
  const services = [22, 80, 90].map((port) => ({ kind: "tcp", port }) as const);
  return services.flatMap((service) => {
    const out = judgeFlow(members, { from: end(mine), to: end(theirs), service }).egress;
    const into = judgeFlow(members, { from: end(theirs), to: end(mine), service }).ingress;
    return [out.kind, into.kind];
  });
}
