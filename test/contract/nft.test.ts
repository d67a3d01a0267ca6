/** What the agent relies on in nf_tables: the memory double and the kernel give the same answers. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import type { Element, Nft, PortChain, SetRef } from "../../src/kernel/nft.ts";
import { memoryNft } from "../../src/kernel/nft-memory.ts";
import { openNft } from "../../src/kernel/nft-netlink.ts";
import { patience } from "../../src/lab/patience.ts";
import { GuardError } from "../../src/model/errors.ts";
import { type InterfaceName, parseInterfaceName } from "../../src/model/names.ts";
import { concatKey, networkU32 } from "../../src/ruleset/element-bytes.ts";
import { command, ownNamespace } from "../support/namespace.ts";

ownNamespace("nft");

const TABLE = "vifguard_test";
const text = (family: string): string =>
  `table ${family} ${TABLE} {\n\tset plain { typeof meta iif; size 65536; }\n\tset brief { typeof meta iif; size 1024; flags timeout; }\n\tset pair { typeof meta iif . @nh,96,32; size 65536; }\n\tmap number { typeof meta iif : meta mark; size 65536; }\n${family === "netdev" ? "\tchain judge {\n\t}\n" : ""}}\n`;
const skeleton = text("netdev") + text("bridge");

/** Declared as stateful policy needs them; nft 1.0.6 wants the line's end behind the count. */
const policy = `table inet ${TABLE} {
	set conns { typeof ct zone . ct original ip saddr; ct count over 8192
	}
	map zone { typeof meta iif : ct zone; size 1024; }
	map leaves { typeof ip saddr : ip daddr; }
	map services { typeof ip daddr . meta l4proto . th dport : ip saddr . th dport; }
	map class { typeof ct zone . ip daddr . meta mark : meta mark; size 1024; flags interval; }
}
`;

const set = (name: string, family: SetRef["family"] = "netdev"): SetRef => ({ family, table: TABLE, set: name });
const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);
const pair = (index: number, last: number): Uint8Array => concatKey(u32(index), Uint8Array.of(10, 0, 0, last));
const u16 = (value: number): Uint8Array => new Uint8Array(Uint16Array.of(value).buffer);
const u16be = (value: number): Uint8Array => Uint8Array.of(value >> 8, value & 255);
const zoned = (zone: number, last: number): Uint8Array => concatKey(u16(zone), Uint8Array.of(127, 0, 0, last));
const bare = ({ key, keyEnd }: Element): Element => (keyEnd === undefined ? { key } : { key, keyEnd });
function raise(what: string): never {
  throw new TypeError(what);
}
const keys = (nft: Nft, ref: SetRef): string[] => (nft.elements(ref) ?? []).map(({ key }) => key.join(".")).sort();

function port(name: string): InterfaceName {
  const parsed = parseInterfaceName(name);
  if (parsed === undefined) throw new TypeError(name);
  return parsed;
}
const chain = (device: string, hook: PortChain["hook"] = "ingress"): PortChain => ({
  family: "netdev",
  table: TABLE,
  chain: `${hook === "ingress" ? "in" : "out"}/${device}`,
  hook,
  device: port(device),
  priority: 0,
  target: "judge",
});

describe.each([
  ["memory", (): Nft => memoryNft()],
  ["kernel", (): Nft => openNft()],
])("nf_tables (%s)", (name, open) => {
  async function fresh(): Promise<Nft> {
    if (name === "kernel") command("nft", "flush", "ruleset");
    const nft = open();
    await nft.load(skeleton);
    return nft;
  }

  test("elements that were added are read back, with their data, in one dump or by key", async () => {
    const nft = await fresh();
    nft.commit([
      { op: "add-elements", set: set("pair"), elements: [{ key: pair(7, 1) }, { key: pair(7, 2) }] },
      { op: "add-elements", set: set("number"), elements: [{ key: u32(7), data: u32(99) }] },
    ]);
    expect(keys(nft, set("pair"))).toEqual([pair(7, 1).join("."), pair(7, 2).join(".")]);
    expect(nft.elements(set("number"))?.map(({ data }) => data?.join("."))).toEqual([u32(99).join(".")]);
    expect(nft.lookup(set("pair"), [pair(7, 2), pair(8, 1)]).map(({ key }) => key.join("."))).toEqual([
      pair(7, 2).join("."),
    ]);
    expect(nft.lookup(set("number"), [u32(7)])[0]?.data).toEqual(u32(99));
    nft.close();
  });

  test("adding what is there is fine; deleting what is not there is refused", async () => {
    const nft = await fresh();
    const add = { op: "add-elements", set: set("plain"), elements: [{ key: u32(1) }] } as const;
    nft.commit([add]);
    nft.commit([add]);
    expect(keys(nft, set("plain"))).toHaveLength(1);
    expect(() => nft.commit([{ op: "delete-elements", set: set("plain"), elements: [{ key: u32(2) }] }])).toThrow(
      GuardError,
    );
    nft.close();
  });

  test("an element with a time of its own lapses; deleted and added in one transaction it has another", async () => {
    const nft = await fresh();
    const [brief, elements] = [set("brief"), [{ key: u32(1) }, { key: u32(2) }]];
    const add = (lapsesAfter: number) =>
      ({ op: "add-elements", set: brief, elements: elements.map((one) => ({ ...one, lapsesAfter })) }) as const;
    nft.commit([add(patience(400))]);
    expect(keys(nft, brief)).toHaveLength(2);
    const [kept, renewed] = elements;
    if (kept === undefined || renewed === undefined) throw new TypeError("two elements");
    nft.commit([
      { op: "delete-elements", set: brief, elements: [renewed] },
      { op: "add-elements", set: brief, elements: [{ ...renewed, lapsesAfter: 3_600_000 }] },
    ]);
    await sleep(patience(600));
    expect(keys(nft, brief)).toEqual([renewed.key.join(".")]);
    expect(nft.lookup(brief, [kept.key])).toEqual([]);
    nft.close();
  });

  test("one bad change undoes the whole transaction, in every family", async () => {
    const nft = await fresh();
    expect(() =>
      nft.commit([
        { op: "add-elements", set: set("plain"), elements: [{ key: u32(1) }] },
        { op: "add-elements", set: set("plain", "bridge"), elements: [{ key: u32(1) }] },
        { op: "add-port-chain", chain: chain("vif1.0") },
        { op: "add-elements", set: set("no_such_set"), elements: [{ key: u32(1) }] },
      ]),
    ).toThrow(/ENOENT/);
    expect(keys(nft, set("plain"))).toEqual([]);
    expect(keys(nft, set("plain", "bridge"))).toEqual([]);
    expect(nft.portChain(TABLE, "in/vif1.0")).toBeUndefined();
    nft.commit([{ op: "add-elements", set: set("plain"), elements: [{ key: u32(1) }] }]);
    expect(keys(nft, set("plain")), "and the next one works").toHaveLength(1);
    nft.close();
  });

  test("a port chain hooks its device, drops by policy and jumps to one place", async () => {
    const nft = await fresh();
    if (name === "kernel") command("ip", "link", "add", "vif-15-chars.00", "type", "veth", "peer", "name", "p1");
    nft.commit([
      { op: "add-port-chain", chain: chain("vif-15-chars.00") },
      { op: "add-port-chain", chain: chain("vif-15-chars.00", "egress") },
    ]);
    const held = {
      chain: "in/vif-15-chars.00",
      hook: "ingress",
      devices: ["vif-15-chars.00"],
      policy: "drop",
      target: "judge",
    };
    expect(nft.portChain(TABLE, "in/vif-15-chars.00")).toEqual(held);
    expect(nft.portChains(TABLE, "in/")).toEqual([held]);
    expect(nft.portChains(TABLE, "out/")?.map(({ hook }) => hook)).toEqual(["egress"]);
    expect(() => nft.commit([{ op: "add-port-chain", chain: chain("vif-15-chars.00") }]), "twice").toThrow(/EEXIST/);
    nft.commit([{ op: "delete-port-chain", chain: { family: "netdev", table: TABLE, chain: "in/vif-15-chars.00" } }]);
    expect(nft.portChains(TABLE, "in/")).toEqual([]);
    expect(() =>
      nft.commit([{ op: "delete-port-chain", chain: { family: "netdev", table: TABLE, chain: "in/vif-15-chars.00" } }]),
    ).toThrow(/ENOENT/);
    if (name === "kernel") command("ip", "link", "del", "vif-15-chars.00");
    nft.close();
  });

  test("what does not exist is told apart from what is empty", async () => {
    const nft = await fresh();
    expect(nft.elements(set("plain"))).toEqual([]);
    expect(nft.elements({ family: "netdev", table: "vifguard_none", set: "plain" })).toBeUndefined();
    expect(nft.portChains("vifguard_none", "in/")).toBeUndefined();
    expect(await nft.listTable("netdev", "vifguard_none")).toBeUndefined();
    expect(nft.tables("netdev")).toEqual([TABLE]);
    expect(nft.tables("arp")).toEqual([]);
    nft.close();
  });

  test("bad text is refused and changes nothing; a table is replaced in one go", async () => {
    const nft = await fresh();
    nft.commit([{ op: "add-elements", set: set("plain"), elements: [{ key: u32(1) }] }]);
    await expect(nft.load(`delete table netdev vifguard_none\n${text("arp")}`)).rejects.toThrow(GuardError);
    expect(nft.tables("arp")).toEqual([]);
    await nft.load(`delete table netdev ${TABLE}\n${text("netdev")}`);
    expect(nft.elements(set("plain"))).toEqual([]);
    nft.close();
  });

  test("an element carries how many connections it allows: added, read back, left alone, replaced, deleted", async () => {
    const nft = await fresh();
    await nft.load(policy);
    const conns = set("conns", "inet");
    const [a, b] = [zoned(7, 1), zoned(7, 2)];
    const add = (elements: readonly Element[]) => ({ op: "add-elements", set: conns, elements }) as const;
    const held = (): Readonly<Record<string, number | undefined>> =>
      Object.fromEntries((nft.elements(conns) ?? []).map(({ key, connections }) => [key.join("."), connections]));
    nft.commit([
      add([
        { key: a, connections: 3 },
        { key: b, connections: 4_000_000_000 },
      ]),
    ]);
    expect(held()).toEqual({ [a.join(".")]: 3, [b.join(".")]: 4_000_000_000 });
    expect(nft.lookup(conns, [a]).map(({ connections }) => connections)).toEqual([3]);
    nft.commit([add([{ key: a, connections: 5 }])]);
    expect(held()[a.join(".")], "what is there stays as it is").toBe(3);
    nft.commit([{ op: "delete-elements", set: conns, elements: [{ key: a }] }, add([{ key: a, connections: 5 }])]);
    expect(held()).toEqual({ [a.join(".")]: 5, [b.join(".")]: 4_000_000_000 });
    nft.commit([{ op: "delete-elements", set: conns, elements: [{ key: a }] }]);
    expect(held()).toEqual({ [b.join(".")]: 4_000_000_000 });
    nft.close();
  });

  test("data of two octets comes back as it was given, and can be replaced", async () => {
    const nft = await fresh();
    await nft.load(policy);
    const zone = set("zone", "inet");
    const data = (): string[] => (nft.elements(zone) ?? []).map((element) => String(element.data));
    const add = (value: number) =>
      ({ op: "add-elements", set: zone, elements: [{ key: u32(7), data: u16(value) }] }) as const;
    nft.commit([add(1)]);
    expect(data()).toEqual([String(u16(1))]);
    expect(nft.lookup(zone, [u32(7)])[0]?.data).toEqual(u16(1));
    expect(() => nft.commit([add(0x1234)]), "other data under the key").toThrow(GuardError);
    nft.commit([{ op: "delete-elements", set: zone, elements: [{ key: u32(7) }] }, add(0x1234)]);
    expect(data()).toEqual([String(u16(0x1234))]);
    if (name === "kernel")
      expect(command("nft", "-y", "list", "map", "inet", TABLE, "zone")).toContain(`: ${0x1234} }`);
    nft.commit([{ op: "delete-elements", set: zone, elements: [{ key: u32(7) }] }]);
    expect(data()).toEqual([]);
    nft.close();
  });

  test("a map leads from a public address, and from one of its ports, to others: as nft itself shows it, and not to two at once", async () => {
    const nft = await fresh();
    await nft.load(policy);
    const [leaves, services] = [set("leaves", "inet"), set("services", "inet")];
    const inside = Uint8Array.of(10, 66, 0, 10);
    const outside = Uint8Array.of(203, 0, 113, 5);
    const at = (protocol: number, port: number): Uint8Array => concatKey(outside, Uint8Array.of(protocol), u16be(port));
    const to = (port: number): Uint8Array => concatKey(inside, u16be(port));
    const add = (key: Uint8Array, data: Uint8Array) =>
      ({ op: "add-elements", set: services, elements: [{ key, data }] }) as const;
    nft.commit([
      { op: "add-elements", set: leaves, elements: [{ key: inside, data: outside }] },
      add(at(6, 8080), to(80)),
      add(at(17, 8080), to(53)),
    ]);
    expect(nft.lookup(leaves, [inside])[0]?.data).toEqual(outside);
    expect(nft.lookup(services, [at(6, 8080), at(6, 80)]).map(({ data }) => data)).toEqual([to(80)]);
    expect(nft.elements(services)).toHaveLength(2);
    expect(() => nft.commit([add(at(6, 8080), to(81))]), "another guest's port").toThrow(GuardError);
    nft.commit([{ op: "delete-elements", set: services, elements: [{ key: at(6, 8080) }] }, add(at(6, 8080), to(81))]);
    expect(nft.lookup(services, [at(6, 8080)])[0]?.data).toEqual(to(81));
    if (name === "kernel") {
      const listed = command("nft", "-n", "list", "map", "inet", TABLE, "services");
      expect(listed).toContain("203.0.113.5 . 6 . 8080 : 10.66.0.10 . 81");
      expect(listed).toContain("203.0.113.5 . 17 . 8080 : 10.66.0.10 . 53");
    }
    nft.close();
  });

  test("maps of ranges: a range in a later field of the key, with its data", async () => {
    const nft = await fresh();
    await nft.load(policy);
    const ranges = set("class", "inet");
    const key = (zone: number, last: number, mark: number): Uint8Array =>
      concatKey(u16be(zone), Uint8Array.of(10, 0, 0, last), networkU32(mark));
    const elements: readonly Element[] = [
      { key: key(7, 0, 5), keyEnd: key(7, 127, 5), data: u32(1) },
      { key: key(7, 128, 5), keyEnd: key(7, 255, 5), data: u32(2) },
      { key: key(7, 128, 6), keyEnd: key(7, 255, 9), data: u32(3) },
      { key: key(8, 4, 5), keyEnd: key(8, 4, 5), data: u32(4) },
    ];
    const texts = (list: readonly Element[] | undefined): readonly string[] =>
      (list ?? []).map((element) => `${element.key}-${element.keyEnd}: ${element.data}`).sort();
    nft.commit([{ op: "add-elements", set: ranges, elements }]);
    expect(texts(nft.elements(ranges))).toEqual(texts(elements));
    const [first = raise("none"), ...others] = elements;
    const other: Element = { ...first, data: u32(9) };
    nft.commit([{ op: "add-elements", set: ranges, elements: [first] }]);
    expect(() => nft.commit([{ op: "add-elements", set: ranges, elements: [other] }]), "other data").toThrow(
      GuardError,
    );
    nft.commit([
      { op: "delete-elements", set: ranges, elements: [{ key: key(7, 0, 5), keyEnd: key(7, 127, 5) }] },
      { op: "add-elements", set: ranges, elements: [other] },
    ]);
    expect(texts(nft.elements(ranges))).toEqual(texts([other, ...others]));
    if (name === "kernel")
      expect(command("nft", "-y", "list", "map", "inet", TABLE, "class")).toMatch(
        /7 \. 10\.0\.0\.128\/25 \. 0x0*6-0x0*9 : 0x0*3\b/,
      );
    nft.commit([{ op: "delete-elements", set: ranges, elements: [other, ...others].map(bare) }]);
    expect(nft.elements(ranges)).toEqual([]);
    nft.close();
  });

  test("20 000 elements go in and come out", async () => {
    const nft = await fresh();
    const elements = Array.from({ length: 20_000 }, (_, i) => ({ key: pair(i >> 8, i & 255) }));
    nft.commit([{ op: "add-elements", set: set("pair"), elements }]);
    expect(nft.elements(set("pair"))).toHaveLength(20_000);
    nft.commit([{ op: "delete-elements", set: set("pair"), elements }]);
    expect(nft.elements(set("pair"))).toEqual([]);
    nft.close();
  });
});

test("the element with room for two connections lets two by and stops the third, one with more room does not", async () => {
  command("nft", "flush", "ruleset");
  command("ip", "link", "set", "lo", "up");
  const nft = openNft();
  // Counted where a connection leaves; what is stopped is counted under its source.
  const rules = `table inet ${TABLE} {
	set stopped { typeof ip saddr . udp sport; size 16; flags dynamic; }
	chain out {
		type filter hook output priority 0;
		ct state new ct zone . ct original ip saddr @conns add @stopped { ip saddr . udp sport } drop
	}
}
`;
  await nft.load(policy + rules);
  const elements = [
    { key: zoned(0, 1), connections: 2 },
    { key: zoned(0, 2), connections: 3 },
  ];
  nft.commit([{ op: "add-elements", set: set("conns", "inet"), elements }]);
  // A set declared `dynamic` would have lost them by now: nobody has a connection, and the kernel cleans up once a second.
  await sleep(2_500);
  expect(nft.elements(set("conns", "inet"))).toHaveLength(2);
  const receiver = createSocket("udp4");
  receiver.bind(0, "127.0.0.9");
  await once(receiver, "listening");
  const heard = new Map<string, number>();
  receiver.on("message", (_, from) => heard.set(from.address, (heard.get(from.address) ?? 0) + 1));
  const { port: wanted } = receiver.address();
  const open = async (from: string): Promise<void> => {
    const socket = createSocket("udp4");
    socket.bind(0, from);
    await once(socket, "listening");
    // A frame that netfilter drops on its way out is told to the sender as EPERM.
    await new Promise<void>((resolve) => socket.send("x", wanted, "127.0.0.9", () => resolve()));
    socket.close();
  };
  for (const from of ["127.0.0.1", "127.0.0.2"]) for (let n = 0; n < 3; n += 1) await open(from);
  await expect.poll(() => heard.get("127.0.0.2")).toBe(3);
  expect(heard.get("127.0.0.1")).toBe(2);
  expect(nft.elements(set("stopped", "inet"))?.map(({ key }) => [...key.subarray(0, 4)])).toEqual([[127, 0, 0, 1]]);
  receiver.close();
  nft.close();
});

describe("nf_tables events (kernel)", () => {
  test("others are heard, we are not", async () => {
    command("nft", "flush", "ruleset");
    const nft = openNft();
    let heard = 0;
    const watch = nft.watch(() => {
      heard += 1;
    });
    await nft.load(skeleton);
    nft.commit([{ op: "add-elements", set: set("plain"), elements: [{ key: u32(1) }] }]);
    await new Promise((resolve) => setTimeout(resolve, patience(200)));
    expect(heard, "our own work").toBe(0);
    command("nft", "flush", "ruleset");
    await expect.poll(() => heard, { timeout: patience(2000) }).toBeGreaterThan(0);
    watch.close();
    nft.close();
  });
});
