/** What the agent relies on in rtnetlink: the memory double and the kernel give the same answers. */
import { spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { BridgePortFlags, Link, LinkEvent, Links } from "../../src/kernel/links.ts";
import { memoryLinks } from "../../src/kernel/links-memory.ts";
import { openLinks } from "../../src/kernel/links-netlink.ts";
import { GuardError } from "../../src/model/errors.ts";
import { isIpv6, parseIp } from "../../src/model/ip-block.ts";
import { ipv4ToBytes } from "../../src/model/ipv4.ts";
import { ipv6ToBytes } from "../../src/model/ipv6.ts";
import { parseMac } from "../../src/model/mac.ts";
import { parseInterfaceName } from "../../src/model/names.ts";
import { command, ipBatch, ownNamespace } from "../support/namespace.ts";

ownNamespace("links");

function bytesOf(text: string): Uint8Array {
  const address = parseIp(text);
  if (address === undefined) throw new TypeError(text);
  return isIpv6(address) ? ipv6ToBytes(address) : ipv4ToBytes(address);
}

/** Of the namespace this process is in; nothing where br_netfilter is not loaded, which must stay so. */
function sysctl(what: string): string | undefined {
  const file = `/proc/sys/net/bridge/bridge-nf-call-${what}`;
  return existsSync(file) ? readFileSync(file, "utf8") : undefined;
}

interface World {
  readonly links: Links;
  add(name: string, kind?: "bridge" | "veth"): void;
  remove(name: string): void;
  addAddress(name: string, address: string): void;
  /** What the other end does. */
  connect(name: string, isConnected: boolean): void;
}

function memoryWorld(): World {
  const links = memoryLinks();
  return {
    links,
    add: (name, kind = "veth") => void links.add(name, kind),
    remove: (name) => links.remove(links.list().find((link) => link.name === name)?.ifindex ?? 0),
    addAddress: (name, address) =>
      links.addAddress(links.list().find((link) => link.name === name)?.ifindex ?? 0, bytesOf(address)),
    connect: (name, isConnected) =>
      links.setCarrier(links.list().find((link) => link.name === name)?.ifindex ?? 0, isConnected),
  };
}

function kernelWorld(): World {
  const links = openLinks();
  return {
    links,
    add: (name, kind = "veth") =>
      ipBatch([kind === "bridge" ? `link add ${name} type bridge` : `link add ${name} type veth peer name p-${name}`]),
    remove: (name) => ipBatch([`link del ${name}`]),
    addAddress: (name, address) =>
      ipBatch([
        `address add ${address}/${address.includes(":") ? "64 dev" : "24 dev"} ${name}${address.includes(":") ? " nodad" : ""}`,
        `link set ${name} up`,
      ]),
    connect: (name, isConnected) => ipBatch([`link set p-${name} ${isConnected ? "up" : "down"}`]),
  };
}

const mac = parseMac("fe:00:0a:00:00:05");
const other = parseMac("fe:00:0a:00:00:06");
if (mac === undefined || other === undefined) throw new TypeError("MAC");

describe.each([
  ["memory", memoryWorld],
  ["kernel", kernelWorld],
])("interfaces (%s)", (_, open) => {
  function get(world: World, name: string): Link {
    const parsed = parseInterfaceName(name);
    const link = parsed === undefined ? undefined : world.links.byName(parsed);
    if (link === undefined) throw new TypeError(`no ${name}`);
    return link;
  }

  test("the host's own addresses are known, those of one link only there", () => {
    const world = open();
    world.add("br7", "bridge");
    world.add("br8", "bridge");
    for (const address of ["198.51.100.7", "2001:db8:9::7", "fe80::7"]) world.addAddress("br7", address);
    const [own, other] = [get(world, "br7").ifindex, get(world, "br8").ifindex];
    const isOwn = (address: string, ifindex: number): boolean => world.links.isOwnAddress(bytesOf(address), ifindex);
    // Without a carrier, as docker's bridge is while no container runs.
    for (const address of ["198.51.100.7", "2001:db8:9::7"]) expect(isOwn(address, other), address).toBe(true);
    for (const address of ["198.51.100.8", "2001:db8:9::8", "192.0.2.1"])
      expect(isOwn(address, own), address).toBe(false);
    expect(isOwn("fe80::7", own)).toBe(true);
    expect(isOwn("fe80::7", other)).toBe(false);
    world.remove("br7");
    world.remove("br8");
  });

  test("an interface's addresses are those by which others may know it", () => {
    const world = open();
    world.add("br7", "bridge");
    world.add("br8", "bridge");
    const { ifindex } = get(world, "br7");
    expect(world.links.addresses(ifindex)).toEqual([]);
    const known = ["198.51.100.7", "2001:db8:9::7"];
    for (const address of [...known, "fe80::7"]) world.addAddress("br7", address);
    world.addAddress("br8", "198.51.100.8");
    expect(world.links.addresses(ifindex).map((octets) => [...octets])).toEqual(known.map((one) => [...bytesOf(one)]));
    world.remove("br7");
    world.remove("br8");
    expect(world.links.addresses(ifindex)).toEqual([]);
  });

  test("an interface is found by name and by index, and not when it is gone", () => {
    const world = open();
    world.add("vif1.0");
    const link = get(world, "vif1.0");
    expect(world.links.byIndex(link.ifindex)).toEqual(link);
    expect(world.links.list().map(({ name }) => name)).toContain("vif1.0");
    expect(link).toMatchObject({ kind: "veth", up: false, master: 0, bridgePort: undefined });
    world.remove("vif1.0");
    expect(world.links.byIndex(link.ifindex)).toBeUndefined();
    expect(world.links.byIndex(0)).toBeUndefined();
    expect(() => world.links.setUp(link.ifindex, true)).toThrow(GuardError);
    world.links.close();
  });

  test("an interface takes another MAC, up or down, and tells it", async () => {
    const world = open();
    world.add("vif8.0");
    const { ifindex } = get(world, "vif8.0");
    const events: LinkEvent[] = [];
    const watch = world.links.watch((event) => events.push(event));
    for (const up of [false, true]) {
      world.links.setUp(ifindex, up);
      world.links.setMac(ifindex, up ? other : mac);
      expect(get(world, "vif8.0")).toMatchObject({ mac: up ? other : mac, up });
    }
    await expect.poll(() => events.some((event) => event.kind === "changed" && event.link.mac === other)).toBe(true);
    watch.close();
    world.remove("vif8.0");
    expect(() => world.links.setMac(ifindex, mac)).toThrow(GuardError);
    world.links.close();
  });

  test("a bridge port takes its flags and its one static entry, twice the same", () => {
    const world = open();
    const flags: BridgePortFlags = {
      learning: false,
      locked: true,
      unicastFlood: false,
      multicastFlood: false,
      broadcastFlood: true,
    };
    world.add("br1", "bridge");
    world.add("vif2.0");
    const [bridge, { ifindex }] = [get(world, "br1"), get(world, "vif2.0")];
    for (let round = 0; round < 2; round += 1) {
      world.links.setMaster(ifindex, bridge.ifindex);
      world.links.setBridgePort(ifindex, flags);
      world.links.addFdb({ ifindex, mac, isSticky: true });
      world.links.setUp(ifindex, true);
    }
    expect(get(world, "vif2.0")).toMatchObject({ master: bridge.ifindex, up: true, bridgePort: flags });
    expect(world.links.fdb(ifindex)).toEqual([{ ifindex, mac, isSticky: true }]);
    expect(world.links.fdb()).toContainEqual({ ifindex, mac, isSticky: true });
    world.links.addFdb({ ifindex, mac, isSticky: false });
    expect(world.links.fdb(ifindex), "what may be moved is told apart").toEqual([{ ifindex, mac, isSticky: false }]);
    world.links.deleteFdb({ ifindex, mac: other });
    world.links.deleteFdb({ ifindex, mac });
    expect(world.links.fdb(ifindex)).toEqual([]);
    world.links.addFdb({ ifindex, mac, isSticky: true });
    world.links.setMaster(ifindex, 0);
    expect(get(world, "vif2.0").bridgePort).toBeUndefined();
    expect(world.links.fdb(ifindex), "leaving the bridge forgets the entry").toEqual([]);
    world.remove("vif2.0");
    world.remove("br1");
    world.links.close();
  });

  test("a bridge calls netfilter for itself, IPv4 and IPv6 apart, and tells it", async () => {
    const world = open();
    world.add("br5", "bridge");
    world.add("br6", "bridge");
    world.add("vif5.0");
    const off = { callIptables: false, callIp6tables: false };
    const { ifindex, bridge } = get(world, "br5");
    const port = get(world, "vif5.0");
    expect([bridge, port.bridge]).toEqual([off, undefined]);
    world.links.setUp(ifindex, true);
    const events: LinkEvent[] = [];
    const watch = world.links.watch((event) => events.push(event));
    for (const callIptables of [true, false]) {
      const wanted = { callIptables, callIp6tables: !callIptables };
      for (let round = 0; round < 2; round += 1) world.links.setBridgeNetfilter(ifindex, wanted);
      expect(get(world, "br5").bridge).toEqual(wanted);
      expect(world.links.list().find((link) => link.ifindex === ifindex)?.bridge).toEqual(wanted);
      const isTold = (event: LinkEvent): boolean =>
        event.kind === "changed" &&
        event.link.ifindex === ifindex &&
        event.link.bridge?.callIptables === wanted.callIptables &&
        event.link.bridge.callIp6tables === wanted.callIp6tables;
      await expect.poll(() => events.some(isTold)).toBe(true);
    }
    expect(get(world, "br6").bridge, "another bridge").toEqual(off);
    expect(() => world.links.setBridgeNetfilter(port.ifindex, off), "not a bridge").toThrow(GuardError);
    for (const name of ["vif5.0", "br5", "br6"]) world.remove(name);
    expect(() => world.links.setBridgeNetfilter(ifindex, off), "gone").toThrow(GuardError);
    watch.close();
    world.links.close();
  });

  test("an interface has a carrier while its other end is there, and of one that is up it is told", async () => {
    const world = open();
    world.add("vif4.0");
    const { ifindex } = get(world, "vif4.0");
    const events: LinkEvent[] = [];
    const watch = world.links.watch((event) => events.push(event));
    world.links.setUp(ifindex, true);
    expect(get(world, "vif4.0")).toMatchObject({ up: true, carrier: false });
    for (const carrier of [true, false]) {
      events.length = 0;
      world.connect("vif4.0", carrier);
      expect(get(world, "vif4.0")).toMatchObject({ up: true, carrier });
      const isTold = (event: LinkEvent): boolean =>
        event.kind === "changed" && event.link.ifindex === ifindex && event.link.carrier === carrier;
      await expect.poll(() => events.some(isTold)).toBe(true);
    }
    watch.close();
    world.remove("vif4.0");
    world.links.close();
  });

  test("changes and removals are told", async () => {
    const world = open();
    const events: LinkEvent[] = [];
    const watch = world.links.watch((event) => events.push(event));
    world.add("vif3.0");
    const { ifindex } = get(world, "vif3.0");
    world.links.setUp(ifindex, true);
    world.remove("vif3.0");
    await expect.poll(() => events.some((event) => event.kind === "removed" && event.ifindex === ifindex)).toBe(true);
    expect(events.some((event) => event.kind === "changed" && event.link.name === "vif3.0" && event.link.up)).toBe(
      true,
    );
    watch.close();
    world.links.close();
  });
});

test("a bridge's netfilter calls are its own: neither its other settings, nor another bridge, nor the sysctl change", () => {
  const links = openLinks();
  ipBatch([
    "link add br3 type bridge forward_delay 700 mcast_snooping 0 nf_call_arptables 1",
    "link add br4 type bridge",
  ]);
  const details = (name: string): string => command("ip", "-d", "-o", "link", "show", "dev", name);
  const sysctls = (): readonly (string | undefined)[] => ["iptables", "ip6tables", "arptables"].map(sysctl);
  const before = { br3: details("br3"), br4: details("br4"), sysctls: sysctls() };
  expect(before.br3).toMatch(/nf_call_iptables 0 nf_call_ip6tables 0 nf_call_arptables 1/);
  const { ifindex } = links.list().find(({ name }) => name === "br3") ?? { ifindex: 0 };
  links.setBridgeNetfilter(ifindex, { callIptables: true, callIp6tables: true });
  expect(details("br3")).toBe(
    before.br3.replace("nf_call_iptables 0 nf_call_ip6tables 0", "nf_call_iptables 1 nf_call_ip6tables 1"),
  );
  expect({ br4: details("br4"), sysctls: sysctls() }).toEqual({ br4: before.br4, sysctls: before.sysctls });
  links.setBridgeNetfilter(ifindex, { callIptables: false, callIp6tables: false });
  expect(details("br3")).toBe(before.br3);
  links.close();
  ipBatch(["link del br3", "link del br4"]);
});

test("an event burst that overflows the socket is told as lost, and the watch goes on (ENOBUFS)", async () => {
  const links = openLinks({ eventBytes: 4096 });
  const events: LinkEvent[] = [];
  const watch = links.watch((event) => events.push(event));
  const names = Array.from({ length: 300 }, (_, i) => `b${i}`);
  // The event loop stands still meanwhile: execFileSync.
  ipBatch(names.map((name) => `link add ${name} type veth peer name q${name}`));
  await expect.poll(() => events.some(({ kind }) => kind === "lost")).toBe(true);
  events.length = 0;
  command("ip", "link", "set", "b7", "up");
  await expect.poll(() => events.some((event) => event.kind === "changed" && event.link.name === "b7")).toBe(true);
  watch.close();
  links.close();
  ipBatch(names.map((name) => `link del ${name}`));
});

test("a tap has a carrier while somebody has it open, up or down; nothing tells of it while it is down", async () => {
  const links = openLinks();
  ipBatch(["tuntap add dev vif6.0 mode tap"]);
  const { ifindex } = links.list().find(({ name }) => name === "vif6.0") ?? { ifindex: 0 };
  const events: LinkEvent[] = [];
  const watch = links.watch((event) => events.push(event));
  const tap = (): Link | undefined => links.byIndex(ifindex);
  for (const up of [false, true]) {
    links.setUp(ifindex, up);
    expect(tap()).toMatchObject({ up, carrier: false });
    await expect
      .poll(() => up === false || events.some((event) => event.kind === "changed" && event.link.up))
      .toBe(true);
    events.length = 0;
    // Opened by a program that does not set it up, and for as long as it waits.
    const machine = spawn("socat", ["-u", "EXEC:sleep 5", "TUN,tun-type=tap,tun-name=vif6.0,iff-no-pi"]);
    await expect.poll(() => tap()?.carrier, { timeout: 5_000 }).toBe(true);
    machine.kill("SIGKILL");
    await expect.poll(() => tap()?.carrier, { timeout: 5_000 }).toBe(false);
    if (up) await expect.poll(() => events.some((event) => event.kind === "changed" && event.link.carrier)).toBe(true);
    else expect(events.filter((event) => event.kind === "changed" && event.link.carrier)).toEqual([]);
    expect(tap()?.up).toBe(up);
  }
  watch.close();
  links.close();
  ipBatch(["link del vif6.0"]);
});
