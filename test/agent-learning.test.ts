/** Ports whose addresses other DHCP servers give, on a memory kernel: what is learned, from whom, what is refused, and when it ends. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { AgentParts } from "../src/agent/core.ts";
import { loadSite } from "../src/config/load.ts";
import { memoryDatagrams } from "../src/kernel/datagrams-memory.ts";
import { memoryFrames } from "../src/kernel/frames-memory.ts";
import { memoryLinks } from "../src/kernel/links-memory.ts";
import { memoryNft } from "../src/kernel/nft-memory.ts";
import { GuardError } from "../src/model/errors.ts";
import type { Ipv4Address } from "../src/model/ipv4.ts";
import type { MacAddress } from "../src/model/mac.ts";
import { dhcp4Codec } from "../src/packet/dhcp4.ts";
import type { Dhcp4Message } from "../src/packet/dhcp4-message.ts";
import { dhcp4Options as known, readOption } from "../src/packet/dhcp4-options.ts";
import { relayInfoCodec } from "../src/packet/dhcp4-relay.ts";
import { logGroups } from "../src/ruleset/parts.ts";
import { buildSkeleton } from "../src/ruleset/skeleton.ts";
import { memoryStore } from "../src/store/memory.ts";
import type { Store, Transaction } from "../src/store/store.ts";
import { ANY4, dhcp4Frame, dhcp4Message, guestFrame, ip4, macOf, type Said } from "./support/learning.ts";
import { portPrefixes, startMemoryAgent } from "./support/memory-agent.ts";
import { hostIdOf } from "./support/names.ts";

const SERVER = ip4("10.0.0.2");
const OTHER = ip4("10.0.0.66");
const HOST = ip4("10.0.0.3");
const SERVER_MAC = macOf("02:00:00:00:00:02");
const MACS = ["02:00:00:00:01:01", "02:00:00:00:01:02"].map(macOf);
const GIVEN = ip4("10.0.0.50");
const BRIDGE = 1;

const siteWith = (addressing: string, more = ""): string => `kind: network
name: lan0
spec:
  prefix4: 10.0.0.0/24
  gateway4: 10.0.0.1
  range4: [10.0.0.10-10.0.0.99]
  wiring: { kind: bridged, bridge: br0 }
  addressing: ${addressing}
---
kind: guest
name: web1
spec: { nics: [{ network: lan0, mac: "${MACS[0]}"${more} }] }
---
kind: guest
name: web2
spec: { nics: [{ network: lan0, mac: "${MACS[1]}" }] }
`;
const RELAY = `{ kind: relay, servers: [${SERVER}] }`;
const SNOOP = `{ kind: snoop, servers: [{ address: ${SERVER}, mac: "${SERVER_MAC}" }] }`;

function at<T>(list: readonly T[], index: number): T {
  const value = list[index];
  if (value === undefined) throw new TypeError(`there are ${list.length}`);
  return value;
}

/** What a second host has with the first in common: its guest is web2, on a port of the same name as that of web1. */
interface Shared {
  readonly store: Store;
  readonly now: { value: number };
}

async function createHost(addressing: string, shared?: Shared, more: Partial<Pick<AgentParts, "storeHealth">> = {}) {
  const now = shared?.now ?? { value: 1_700_000_000_000 };
  const clock = { now: () => now.value };
  const nft = memoryNft();
  const links = memoryLinks();
  links.add("br0", "bridge");
  const frames = memoryFrames();
  const datagrams = memoryDatagrams([HOST]);
  const refuseWrites: { value: boolean | ((writes: Transaction["writes"]) => boolean) } = { value: false };
  const memory = memoryStore(clock);
  const store: Store = shared?.store ?? {
    ...memory,
    commit: async (transaction) => {
      const { value: refuses } = refuseWrites;
      if (typeof refuses === "function" ? refuses(transaction.writes) : refuses)
        throw new GuardError("STORE_UNAVAILABLE", "the disk is full");
      return memory.commit(transaction);
    },
  };
  const own = shared === undefined ? {} : { host: hostIdOf("h2") };
  const start = () => startMemoryAgent({ nft, links, store, frames, datagrams, clock, ...own, ...more });
  const agent = await start();
  const apply = (text: string) => agent.operations.apply(loadSite(text, "site"), { dryRun: false });
  if (shared === undefined) await apply(siteWith(addressing));
  const ports = [links.add("vif1.0"), links.add("vif2.0")];
  for (const [n, guest] of (shared === undefined ? ["web1", "web2"] : ["web2"]).entries())
    await agent.operations.attach({ port: `vif${n + 1}.0`, guest });
  const { table } = buildSkeleton(portPrefixes, ["inet"]);
  const held = (set: string): number => nft.elements({ family: "netdev", table, set })?.length ?? -1;
  let seen = frames.sent.length;
  let heard = datagrams.sent.length;
  /** Frames since the last time, by where they went. */
  const sentTo = (ifindex: number): readonly Uint8Array[] => {
    const news = frames.sent.slice(seen).filter((frame) => frame.ifindex === ifindex);
    return news.map(({ bytes }) => bytes);
  };
  /** @param guest whose MAC, where it is not that of the port's place */
  const ask = (n: number, said: Omit<Said, "mac">, guest = n): void => {
    seen = frames.sent.length;
    const bytes = guestFrame({ mac: at(MACS, guest), ...said });
    frames.log(logGroups.dhcp, [{ inIfindex: at(ports, n), outIfindex: 0, mark: 0, bytes }]);
  };
  /** What the relay sent to servers since the last time. */
  const relayed = async (): Promise<readonly Dhcp4Message[]> => {
    await new Promise((resolve) => setImmediate(resolve));
    const news = datagrams.sent.slice(heard);
    heard = datagrams.sent.length;
    return news.map(({ bytes }) => {
      const read = dhcp4Codec.decode(bytes);
      if (!read.ok) throw new TypeError(read.why);
      return read.value;
    });
  };
  const settled = async (): Promise<void> => {
    for (let i = 0; i < 5; i += 1) {
      await new Promise((resolve) => setImmediate(resolve));
      await agent.settled();
    }
  };
  const leases = () => agent.operations.leases({});
  const refused = async () => (await agent.operations.status()).learning.refused;
  const silent = async () => (await agent.operations.status()).learning.silent;
  const port = async (n: number) => at((await agent.operations.status()).ports, n);
  return {
    agent,
    start,
    apply,
    nft,
    frames,
    datagrams,
    links,
    ports,
    held,
    sentTo,
    ask,
    relayed,
    settled,
    leases,
    refused,
    silent,
    port,
    now,
    store,
    refuseWrites,
    table,
  };
}
type Host = Awaited<ReturnType<typeof createHost>>;

interface Answer {
  readonly type: "offer" | "ack" | "nak";
  readonly yiaddr?: Ipv4Address;
  readonly xid?: number;
  readonly mac?: MacAddress;
  readonly seconds?: number;
  readonly fields?: Partial<Dhcp4Message>;
}

const answerTo = (n: number, { type, yiaddr = ANY4, xid, mac = at(MACS, n), seconds = 600, fields }: Answer) =>
  dhcp4Message({
    mac,
    type,
    ...(xid === undefined ? {} : { xid }),
    serverId: SERVER,
    ...(type === "nak" ? {} : { leaseSeconds: seconds }),
    fields: { yiaddr, ...fields },
  });

/** A server's answer to what was relayed last. */
function relayAnswer(host: Host, question: Dhcp4Message, n: number, answer: Answer, from = SERVER): void {
  const message = answerTo(n, answer);
  const options = new Map(message.options);
  const info = question.options.get(known.relayAgent.number);
  if (info !== undefined) options.set(known.relayAgent.number, info);
  const bytes = dhcp4Codec.encode({ ...message, giaddr: question.giaddr, options, ...answer.fields });
  host.datagrams.deliver(HOST, 67, { from, bytes });
}

/** A server's answer on the LAN, as the guard hands it up. */
function lanAnswer(
  host: Host,
  n: number,
  answer: Answer,
  ends: { from?: Ipv4Address; fromMac?: MacAddress } = {},
): void {
  const frame = { from: SERVER, fromMac: SERVER_MAC, ...ends, toMac: at(MACS, n) };
  const bytes = dhcp4Frame(answerTo(n, answer), frame, [67, 68]);
  host.frames.log(logGroups.leases, [{ inIfindex: 0, outIfindex: at(host.ports, n), mark: 0, bytes }]);
}

function typeIn(frame: Uint8Array) {
  const read = dhcp4Codec.decode(frame.subarray(42));
  return read.ok ? readOption(read.value.options, known.type) : read.why;
}

async function bindByRelay(host: Host, n: number, yiaddr: Ipv4Address, seconds = 600): Promise<readonly Uint8Array[]> {
  host.ask(n, { type: "request", requested: yiaddr, serverId: SERVER });
  const [question] = await host.relayed();
  if (question === undefined) throw new TypeError("nothing was relayed");
  relayAnswer(host, question, n, { type: "ack", yiaddr, seconds });
  await host.settled();
  return host.sentTo(at(host.ports, n));
}

describe("relay", () => {
  test("the exchange goes to the server with the place of the guest, and the guest hears the ACK when it is durable and enforced", async () => {
    const host = await createHost(RELAY);
    expect(await host.port(0)).toMatchObject({ addresses4: [], learns: "relay", state: "applied" });
    expect([host.held("addr4"), host.held("leased4")]).toEqual([0, 0]);

    host.ask(0, { type: "discover" });
    const [discover, ...more] = await host.relayed();
    expect(more).toEqual([]);
    expect(discover).toMatchObject({ giaddr: HOST, hops: 1, chaddr: MACS[0] });
    const info = relayInfoCodec.decode(discover?.options.get(82) ?? new Uint8Array());
    if (!info.ok) throw new TypeError(info.why);
    expect(info.value.map(({ code, body }) => [code, new TextDecoder().decode(body)])).toEqual([
      [1, "vif1.0"],
      [2, "h1"],
    ]);
    if (discover === undefined) return;
    relayAnswer(host, discover, 0, { type: "offer", yiaddr: GIVEN });
    const [offer] = host.sentTo(at(host.ports, 0));
    expect(typeIn(offer ?? new Uint8Array())).toBe("offer");
    const told = dhcp4Codec.decode((offer ?? new Uint8Array()).subarray(42));
    expect(told.ok && [told.value.options.has(82), told.value.giaddr, told.value.yiaddr]).toEqual([false, ANY4, GIVEN]);
    expect(await host.leases()).toEqual([]);

    const [ack] = await bindByRelay(host, 0, GIVEN);
    expect(typeIn(ack ?? new Uint8Array())).toBe("ack");
    expect(await host.port(0)).toMatchObject({ addresses4: [GIVEN] });
    expect([host.held("addr4"), host.held("bind4"), host.held("leased4")]).toEqual([1, 1, 1]);
    expect(await host.leases()).toMatchObject([
      { address: GIVEN, guest: "web1", state: "bound", learned: { by: "relay", server: SERVER } },
    ]);
  });

  test.each<readonly [string, string, (host: Host, question: Dhcp4Message) => void]>([
    [
      "from a server that is none",
      "other-server",
      (host, q) => relayAnswer(host, q, 0, { type: "ack", yiaddr: GIVEN }, OTHER),
    ],
    [
      "to a question nobody asked",
      "not-asked",
      (host, q) => relayAnswer(host, q, 0, { type: "ack", yiaddr: GIVEN, xid: 99 }),
    ],
    [
      "after the time",
      "not-asked",
      (host, q) => {
        host.now.value += 31_000;
        relayAnswer(host, q, 0, { type: "ack", yiaddr: GIVEN });
      },
    ],
    [
      "for another port by its circuit identifier",
      "other-port",
      (host, q) => {
        const other = relayInfoCodec.encode([
          { code: 1, body: new TextEncoder().encode("vif2.0") },
          { code: 2, body: new TextEncoder().encode("h1") },
        ]);
        relayAnswer(host, { ...q, options: new Map([[82, other]]) }, 0, { type: "ack", yiaddr: GIVEN });
      },
    ],
    [
      "without what the relay said",
      "other-port",
      (host, q) => relayAnswer(host, { ...q, options: new Map() }, 0, { type: "ack", yiaddr: GIVEN }),
    ],
    [
      "for another relay",
      "other-port",
      (host, q) => relayAnswer(host, { ...q, giaddr: OTHER }, 0, { type: "ack", yiaddr: GIVEN }),
    ],
    [
      "for another chaddr",
      "other-port",
      (host, q) => relayAnswer(host, q, 0, { type: "ack", yiaddr: GIVEN, mac: at(MACS, 1) }),
    ],
    [
      "outside the range",
      "out-of-range",
      (host, q) => relayAnswer(host, q, 0, { type: "ack", yiaddr: ip4("10.0.0.200") }),
    ],
    ["of the gateway", "gateway", (host, q) => relayAnswer(host, q, 0, { type: "ack", yiaddr: ip4("10.0.0.1") })],
    [
      "that is no DHCP",
      "malformed",
      (host) => void host.datagrams.deliver(HOST, 67, { from: SERVER, bytes: new Uint8Array(100) }),
    ],
  ])("an answer %s is dropped and counted; the true one is heard (control)", async (_, why, forge) => {
    const host = await createHost(RELAY);
    host.ask(0, { type: "request", requested: GIVEN, serverId: SERVER });
    const [question] = await host.relayed();
    if (question === undefined) throw new TypeError("nothing was relayed");
    forge(host, question);
    await host.settled();
    expect(host.sentTo(at(host.ports, 0))).toEqual([]);
    expect([await host.refused(), host.held("addr4")]).toEqual([{ [why]: 1 }, 0]);
    expect(await bindByRelay(host, 0, GIVEN)).toHaveLength(1);
    expect(host.held("addr4")).toBe(1);
  });

  test("a second answer to one question is a replay", async () => {
    const host = await createHost(RELAY);
    host.ask(0, { type: "request", requested: GIVEN });
    const [question] = await host.relayed();
    if (question === undefined) throw new TypeError("nothing was relayed");
    relayAnswer(host, question, 0, { type: "ack", yiaddr: GIVEN });
    relayAnswer(host, question, 0, { type: "ack", yiaddr: ip4("10.0.0.51") });
    await host.settled();
    expect(await host.refused()).toEqual({ "not-asked": 1 });
    expect(await host.leases()).toMatchObject([{ address: GIVEN }]);
  });

  test("an address of a host, and one that another guest has, are refused and told; nobody loses one", async () => {
    const host = await createHost(RELAY);
    host.links.addAddress(BRIDGE, Uint8Array.of(10, 0, 0, 60));
    expect(await bindByRelay(host, 1, ip4("10.0.0.60"))).toEqual([]);
    expect(await bindByRelay(host, 0, GIVEN)).toHaveLength(1);
    expect(await bindByRelay(host, 1, GIVEN)).toEqual([]);
    expect(await host.refused()).toEqual({ "host-address": 1, taken: 1 });
    const { conditions } = await host.agent.operations.status();
    expect(conditions.map(({ code, text }) => [code, text])).toEqual([
      ["ADDRESS_REFUSED", expect.stringContaining(`vif2.0 (web2): ${GIVEN} gives an address that somebody else has`)],
    ]);
    expect(await host.leases()).toMatchObject([{ address: GIVEN, guest: "web1" }]);
    expect(await bindByRelay(host, 1, ip4("10.0.0.51"))).toHaveLength(1);
    expect((await host.agent.operations.status()).conditions).toEqual([]);
  });

  test("what a guest must not say goes to no server", async () => {
    const host = await createHost(RELAY);
    await bindByRelay(host, 0, GIVEN);
    await bindByRelay(host, 1, ip4("10.0.0.51"));
    host.ask(1, { type: "discover", fields: { giaddr: OTHER } });
    host.ask(1, {
      type: "discover",
      fields: {
        options: new Map([
          [53, Uint8Array.of(1)],
          [82, Uint8Array.of(1, 1, 65)],
        ]),
      },
    });
    host.ask(1, { type: "release", serverId: SERVER, fields: { ciaddr: GIVEN } });
    host.ask(1, { type: "decline", serverId: SERVER, requested: GIVEN });
    host.ask(1, { type: "request", fields: { ciaddr: GIVEN } });
    host.ask(1, { type: "ack", fields: { op: "request" } });
    expect(await host.relayed()).toEqual([]);
    expect(await host.silent()).toEqual({ relayed: 1, "relay-option": 1, "other-address": 3, "server-type": 1 });
    host.ask(1, { type: "discover" });
    expect(await host.relayed()).toHaveLength(1);
    expect(await host.leases()).toHaveLength(2);
  });

  test("a new address moves the guard: never both, and the old one is free", async () => {
    const host = await createHost(RELAY);
    await bindByRelay(host, 0, GIVEN);
    await bindByRelay(host, 0, ip4("10.0.0.51"));
    expect(await host.port(0)).toMatchObject({ addresses4: ["10.0.0.51"] });
    expect([host.held("addr4"), host.held("leased4")]).toEqual([1, 1]);
    expect(await bindByRelay(host, 1, GIVEN)).toHaveLength(1);
  });

  test.each<readonly [string, (host: Host) => Promise<void>]>([
    ["RELEASE", async (host) => host.ask(0, { type: "release", serverId: SERVER, fields: { ciaddr: GIVEN } })],
    ["DECLINE", async (host) => host.ask(0, { type: "decline", serverId: SERVER, requested: GIVEN })],
    [
      "NAK",
      async (host) => {
        host.ask(0, { type: "request", fields: { ciaddr: GIVEN } });
        const [question] = await host.relayed();
        if (question !== undefined) relayAnswer(host, question, 0, { type: "nak" });
        await host.settled();
        expect(host.sentTo(at(host.ports, 0)).map(typeIn)).toEqual(["nak"]);
      },
    ],
    ["detaching", async (host) => void (await host.agent.operations.detach("vif1.0"))],
    ["the operator", async (host) => void (await host.agent.operations.releaseLease("lan0", GIVEN))],
    [
      "the end of the lease",
      async (host) => {
        host.now.value += 600_000;
        await host.apply("kind: group\nname: other\nspec: {}\n");
      },
    ],
    [
      "a range that has it no more",
      async (host) => void (await host.apply(siteWith(RELAY).replace("10.0.0.10-10.0.0.99", "10.0.0.10-10.0.0.20"))),
    ],
  ])("%s ends it: the guard is shut and the address free", async (_, endIt) => {
    const host = await createHost(RELAY);
    await bindByRelay(host, 0, GIVEN);
    expect(host.held("addr4"), "control").toBe(1);
    await endIt(host);
    await host.settled();
    expect(await host.leases()).toEqual([]);
    expect([host.held("addr4"), host.held("bind4"), host.held("leased4")]).toEqual([0, 0, 0]);
    expect((await host.store.read("address/")).entries.size).toBe(0);
  });

  test("an agent with no memory goes on with what was learned, and shuts what is over meanwhile", async () => {
    const host = await createHost(RELAY);
    await bindByRelay(host, 0, GIVEN);
    await bindByRelay(host, 1, ip4("10.0.0.51"), 60);
    await host.agent.stop();
    host.now.value += 120_000;
    const again = await host.start();
    expect((await again.operations.status()).ports.map(({ addresses4 }) => addresses4)).toEqual([[GIVEN], []]);
    expect([host.held("addr4"), host.held("leased4")]).toEqual([1, 1]);
    await again.stop();
  });

  test("a store that cannot write gives nobody an address and keeps no rule from being repaired; what is over stays shut", async () => {
    const host = await createHost(RELAY);
    await bindByRelay(host, 0, GIVEN);
    host.refuseWrites.value = true;
    expect(await bindByRelay(host, 1, ip4("10.0.0.51"))).toEqual([]);
    expect(await host.refused()).toEqual({ journal: 1 });
    host.now.value += 600_000;
    host.nft.meddle("flush");
    await expect.poll(() => host.held("ports")).toBe(2);
    await host.settled();
    expect(host.held("leased4"), "shut").toBe(0);
    host.refuseWrites.value = false;
    expect(await bindByRelay(host, 1, ip4("10.0.0.51"))).toHaveLength(1);
    expect(await host.leases()).toMatchObject([{ address: "10.0.0.51" }]);
    expect(host.held("leased4"), "control").toBe(1);
  });

  test("while a fleet's store is away leases are renewed and none is new, and nobody waits for it", async () => {
    const fault: { value: string | undefined } = { value: undefined };
    const storeHealth = { now: () => fault.value, watch: () => () => undefined };
    const host = await createHost(RELAY, undefined, { storeHealth });
    await bindByRelay(host, 0, GIVEN, 60);
    fault.value = "no member answers";
    host.refuseWrites.value = (writes) => writes.some(({ key }) => !key.startsWith("lease/"));
    host.now.value += 30_000;
    expect(await bindByRelay(host, 1, ip4("10.0.0.51"))).toEqual([]);
    expect(await bindByRelay(host, 0, GIVEN, 600), "control").toHaveLength(1);
    expect(await host.leases()).toMatchObject([{ address: GIVEN, expiresAt: host.now.value + 600_000 }]);
    host.now.value += 600_000;
    await host.agent.operations.status();
    host.nft.meddle({ dropElements: { family: "netdev", table: host.table, set: "leased4" } });
    await host.settled();
    expect([await host.leases(), host.held("leased4")]).toMatchObject([[{ state: "expired" }], 0]);
  });

  test("servers of another link are told which link it is (RFC 3527), and their own name if asked for (RFC 5107)", async () => {
    const host = await createHost(`{ kind: relay, servers: [${SERVER}], serverIdOverride: true }`);
    const far = siteWith(`{ kind: relay, servers: [${SERVER}], serverIdOverride: true }`)
      .replaceAll("10.0.0.", "10.7.0.")
      .replace(`servers: [10.7.0.2]`, `servers: [${SERVER}]`);
    await host.apply(far);
    host.ask(0, { type: "discover" });
    const [discover] = await host.relayed();
    const info = relayInfoCodec.decode(discover?.options.get(82) ?? new Uint8Array());
    expect(info.ok && info.value.slice(2).map(({ code, body }) => [code, body.join(".")])).toEqual([
      [5, "10.7.0.1"],
      [11, "10.7.0.1"],
    ]);
  });

  test("a host without a way to its servers says so until it has one", async () => {
    const host = await createHost(`{ kind: relay, servers: [${SERVER}], giaddr: 10.0.0.77 }`);
    host.ask(0, { type: "discover" });
    await host.settled();
    expect((await host.agent.operations.status()).conditions).toMatchObject([{ code: "RELAY_FAILED" }]);
    await host.apply(siteWith(RELAY));
    host.ask(0, { type: "discover" });
    await host.settled();
    expect((await host.agent.operations.status()).conditions).toEqual([]);
  });
});

describe("snoop", () => {
  async function bindBySnoop(host: Host, n: number, yiaddr: Ipv4Address): Promise<readonly Uint8Array[]> {
    host.ask(n, { type: "request", requested: yiaddr });
    lanAnswer(host, n, { type: "ack", yiaddr });
    await host.settled();
    return host.sentTo(at(host.ports, n));
  }

  test("the question goes out of the bridge as it came, and the guest hears the answer when it is enforced", async () => {
    const host = await createHost(SNOOP);
    host.ask(0, { type: "discover" });
    expect(host.sentTo(BRIDGE)).toEqual([guestFrame({ mac: at(MACS, 0), type: "discover" })]);
    lanAnswer(host, 0, { type: "offer", yiaddr: GIVEN });
    expect(host.sentTo(at(host.ports, 0)).map(typeIn)).toEqual(["offer"]);
    expect((await bindBySnoop(host, 0, GIVEN)).map(typeIn)).toEqual(["ack"]);
    expect(await host.port(0)).toMatchObject({ addresses4: [GIVEN], learns: "snoop" });
    expect(await host.leases()).toMatchObject([{ address: GIVEN, learned: { by: "snoop", server: SERVER } }]);
  });

  test.each<readonly [string, string, (host: Host) => void]>([
    ["another server", "other-server", (host) => lanAnswer(host, 0, { type: "ack", yiaddr: GIVEN }, { from: OTHER })],
    [
      "the server's address and another MAC",
      "other-server",
      (host) => lanAnswer(host, 0, { type: "ack", yiaddr: GIVEN }, { fromMac: macOf("02:00:00:00:00:66") }),
    ],
    ["the server, unasked", "not-asked", (host) => lanAnswer(host, 0, { type: "ack", yiaddr: GIVEN, xid: 1234 })],
    [
      "the server, for another chaddr",
      "other-port",
      (host) => lanAnswer(host, 0, { type: "ack", yiaddr: GIVEN, mac: at(MACS, 1) }),
    ],
    [
      "the server, of the gateway's address",
      "gateway",
      (host) => lanAnswer(host, 0, { type: "ack", yiaddr: ip4("10.0.0.1") }),
    ],
  ])("an answer of %s is dropped and counted; the true one is heard (control)", async (_, why, forge) => {
    const host = await createHost(SNOOP);
    host.ask(0, { type: "request", requested: GIVEN });
    forge(host);
    await host.settled();
    expect([host.sentTo(at(host.ports, 0)), await host.refused(), host.held("addr4")]).toEqual([[], { [why]: 1 }, 0]);
    expect(await bindBySnoop(host, 0, GIVEN)).toHaveLength(1);
  });
});

describe("two hosts with one store", () => {
  async function bindOnSecond(host: Host, yiaddr: Ipv4Address): Promise<readonly Uint8Array[]> {
    host.ask(0, { type: "request", requested: yiaddr }, 1);
    const [question] = await host.relayed();
    if (question === undefined) throw new TypeError("nothing was relayed");
    relayAnswer(host, question, 1, { type: "ack", yiaddr });
    await host.settled();
    return host.sentTo(at(host.ports, 0));
  }

  test("never give one address to two guests; what a host that is gone left behind is free when its lease is over", async () => {
    const first = await createHost(RELAY);
    await first.agent.operations.detach("vif2.0");
    const second = await createHost(RELAY, first);
    await bindByRelay(first, 0, GIVEN);
    expect(await bindOnSecond(second, GIVEN)).toEqual([]);
    expect(await second.refused()).toEqual({ taken: 1 });
    await first.agent.stop();
    first.now.value += 601_000;
    expect(await bindOnSecond(second, GIVEN), "control").toHaveLength(1);
    expect(await second.leases()).toMatchObject([{ address: GIVEN, guest: "web2" }]);
  });

  test("a lease goes with the NIC that moves on, and ends with the last port it has", async () => {
    const first = await createHost(RELAY);
    await first.agent.operations.detach("vif2.0");
    const second = await createHost(RELAY, first);
    await bindOnSecond(second, GIVEN);
    const back = first.links.add("vif9.0");
    await first.agent.operations.attach({ port: "vif9.0", guest: "web2", move: "ask" });
    expect((await first.agent.operations.status()).ports).toMatchObject([{}, { addresses4: [GIVEN] }]);
    await second.agent.operations.detach("vif1.0");
    await first.settled();
    expect(first.held("leased4"), "open where it is now").toBe(1);
    expect(back).toBeGreaterThan(0);
    await first.agent.operations.detach("vif9.0");
    await first.settled();
    expect([await first.leases(), first.held("leased4")]).toEqual([[], 0]);
  });
});

test("octets of any kind from guest, LAN and servers: nobody gets an address by them, and a true answer is heard afterwards", async () => {
  const host = await createHost(RELAY);
  host.ask(0, { type: "request", requested: GIVEN });
  const [question] = await host.relayed();
  if (question === undefined) throw new TypeError("nothing was relayed");
  const whole = dhcp4Codec.encode({
    ...answerTo(0, { type: "ack", yiaddr: GIVEN }),
    giaddr: HOST,
    options: question.options,
  });
  const frame = guestFrame({ mac: at(MACS, 0), type: "discover" });
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 400 }), fc.nat(), fc.nat({ max: 400 }), (bytes, where, end) => {
      const bent = whole.slice(0, end);
      if (bent.length > 0) bent[where % bent.length] = where & 255;
      for (const datagram of [bytes, bent]) host.datagrams.deliver(HOST, 67, { from: OTHER, bytes: datagram });
      for (const seen of [bytes, frame.subarray(0, end)]) {
        host.frames.log(logGroups.dhcp, [{ inIfindex: at(host.ports, 0), outIfindex: 0, mark: 0, bytes: seen }]);
        host.frames.log(logGroups.leases, [{ inIfindex: 0, outIfindex: at(host.ports, 0), mark: 0, bytes: seen }]);
      }
    }),
    { numRuns: 500 },
  );
  await host.settled();
  expect([host.held("addr4"), await host.leases()]).toEqual([0, []]);
  expect(await bindByRelay(host, 0, GIVEN)).toHaveLength(1);
});

test("who decides the addresses of a network does not change under its guests", async () => {
  const host = await createHost(RELAY);
  await expect(host.apply(siteWith("{ kind: managed }"))).rejects.toThrow(/cannot be so while it has guests/);
  await expect(host.apply(siteWith(SNOOP))).resolves.toBeDefined();
});
