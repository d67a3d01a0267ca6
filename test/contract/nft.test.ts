/** What the agent relies on in nf_tables: the memory double and the kernel give the same answers. */
import { describe, expect, test } from "vitest";
import type { Nft, PortChain, SetRef } from "../../src/kernel/nft.ts";
import { memoryNft } from "../../src/kernel/nft-memory.ts";
import { openNft } from "../../src/kernel/nft-netlink.ts";
import { patience } from "../../src/lab/patience.ts";
import { GuardError } from "../../src/model/errors.ts";
import { type InterfaceName, parseInterfaceName } from "../../src/model/names.ts";
import { concatKey } from "../../src/ruleset/elements.ts";
import { command, ownNamespace } from "../support/namespace.ts";

ownNamespace("nft");

const TABLE = "vifguard_test";
const text = (family: string): string =>
  `table ${family} ${TABLE} {\n\tset plain { typeof meta iif; size 65536; }\n\tset pair { typeof meta iif . @nh,96,32; size 65536; }\n\tmap number { typeof meta iif : meta mark; size 65536; }\n${family === "netdev" ? "\tchain judge {\n\t}\n" : ""}}\n`;
const skeleton = text("netdev") + text("bridge");

const set = (name: string, family: SetRef["family"] = "netdev"): SetRef => ({ family, table: TABLE, set: name });
const u32 = (value: number): Uint8Array => new Uint8Array(Uint32Array.of(value).buffer);
const pair = (index: number, last: number): Uint8Array => concatKey(u32(index), Uint8Array.of(10, 0, 0, last));
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
