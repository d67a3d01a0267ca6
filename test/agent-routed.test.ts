/** Routed and transport networks on a memory kernel: what a port brings to the host and takes away again, and that nothing of anybody else is touched. */
import { expect, test } from "vitest";
import type { Agent } from "../src/agent/agent.ts";
import { loadSite } from "../src/config/load.ts";
import { memoryLinks } from "../src/kernel/links-memory.ts";
import { memoryNft } from "../src/kernel/nft-memory.ts";
import { type RouteItem, routeText } from "../src/kernel/routes.ts";
import { memoryRoutes } from "../src/kernel/routes-memory.ts";
import { memorySysctls } from "../src/kernel/sysctls.ts";
import { type InterfaceName, parseInterfaceName } from "../src/model/names.ts";
import { type SettingName, settingNames, settingTable } from "../src/model/settings.ts";
import { HOST_PORT_MAC } from "../src/model/wiring.ts";
import { buildSkeleton } from "../src/ruleset/skeleton.ts";
import { memoryStore } from "../src/store/memory.ts";
import { clock, portPrefixes, startMemoryAgent } from "./support/memory-agent.ts";

const site = (more = "", nic = ""): string => `kind: network
name: lan0
spec:
  prefix4: 10.0.0.0/24
  gateway4: 10.0.0.1
  range4: [10.0.0.10-10.0.0.12]
  wiring: { kind: routed, uplink: eth0${more.startsWith(",") ? more : ""} }
  addressing: { kind: managed, macScheme: ip }
${more.startsWith(",") ? "" : more}---
kind: guest
name: web1
spec: { nics: [ { network: lan0${nic} } ] }
---
kind: guest
name: web2
spec: { nics: [ { network: lan0 } ] }
`;

/** As a kernel makes a new interface. */
const kernelDefaults: Readonly<Partial<Record<SettingName, number>>> = {
  redirectsIn4: 1,
  redirectsOut4: 1,
  redirectsIn6: 1,
  proxyDelay4: 80,
  proxyDelay6: 80,
  advertisements6: 1,
  duplicates6: 1,
};

const nameOf = (text: string): InterfaceName => {
  const name = parseInterfaceName(text);
  if (name === undefined) throw new TypeError(text);
  return name;
};

async function createHost(text = site()) {
  const [nft, links, routes, sysctls, store] = [
    memoryNft(),
    memoryLinks(),
    memoryRoutes(),
    memorySysctls(),
    memoryStore(clock),
  ];
  const add = (name: string): number => {
    for (const setting of settingNames)
      sysctls.define(settingTable[setting].path(nameOf(name)), kernelDefaults[setting] ?? 0);
    return links.add(name);
  };
  const start = (): Promise<Agent> =>
    startMemoryAgent({
      nft,
      links,
      routing: { routes, sysctls },
      store,
    });
  const uplink = add("eth0");
  let agent = await start();
  const apply = (wanted: string) => agent.operations.apply(loadSite(wanted, "site"), { dryRun: false });
  await apply(text);
  await agent.settled();
  const { table } = buildSkeleton(portPrefixes, ["inet"]);
  return {
    links,
    routes,
    store,
    sysctls,
    uplink,
    add,
    apply,
    attach: (port: string, guest: string) => agent.operations.attach({ port, guest }),
    detach: async (port: string) => {
      await agent.operations.detach(port);
      await agent.settled();
    },
    status: () => agent.operations.status(),
    guestRoutes: () => agent.operations.routes(),
    settled: () => agent.settled(),
    restart: async () => {
      await agent.stop();
      agent = await start();
    },
    port: (name: string) => links.list().find((link) => link.name === name),
    held: () => routes.held().map(routeText).sort(),
    value: (device: string, setting: SettingName) => sysctls.read(settingTable[setting].path(nameOf(device))),
    elements: (set: string) => nft.elements({ family: "inet", table, set })?.length ?? -1,
  };
}

const four = (last: number): Uint8Array => Uint8Array.of(10, 0, 0, last);
const foreignRoute = (last: number): RouteItem => ({ kind: "route", ifindex: 1, address: four(last), length: 32 });

test("a port brings its route, its neighbour, the gateway and the proxy entry, for exactly its address, and takes them away", async () => {
  const host = await createHost();
  const ifindex = host.add("vif1.0");
  expect((await host.attach("vif1.0", "web1")).state).toBe("applied");
  expect(host.held()).toEqual([
    `address ${ifindex} 169.254.0.1/32`,
    `neighbour ${ifindex} 10.0.0.10 fe:00:0a:00:00:0a`,
    `proxy ${host.uplink} 10.0.0.10`,
    `route ${ifindex} 10.0.0.10/32 `,
  ]);
  expect(host.port("vif1.0")).toMatchObject({ up: true, master: 0, mac: HOST_PORT_MAC });
  expect([host.elements("routed"), host.elements("ways")]).toEqual([1, 2]);
  await host.detach("vif1.0");
  expect(host.held()).toEqual([]);
  expect([host.elements("routed"), host.elements("ways"), host.elements("settings")]).toEqual([0, 0, 0]);
});

test("settings change on the port and its uplink alone, are told with their reason, and go back with the last port", async () => {
  const host = await createHost();
  host.add("eth1");
  for (const name of ["vif1.0", "vif2.0"]) host.add(name);
  await host.attach("vif1.0", "web1");
  await host.attach("vif2.0", "web2");
  expect([host.value("eth0", "forwarding4"), host.value("eth0", "proxyDelay4")]).toEqual([1, 0]);
  expect([host.value("vif1.0", "sourceCheck4"), host.value("vif1.0", "redirectsOut4")]).toEqual([1, 0]);
  expect(host.value("vif1.0", "off6"), "the network has no IPv6").toBe(1);
  expect(host.value("eth0", "off6"), "which is the host's own matter elsewhere").toBe(0);
  for (const setting of settingNames) expect(host.value("eth1", setting)).toBe(kernelDefaults[setting] ?? 0);
  const { settings } = await host.status();
  expect(settings).toContainEqual({
    device: "eth0",
    setting: "net/ipv4/conf/eth0/forwarding",
    value: 1,
    was: 0,
    why: settingTable.forwarding4.why,
  });
  expect(host.elements("opened"), "eth0, and both ports").toBe(3);
  await host.detach("vif1.0");
  expect(host.value("eth0", "forwarding4"), "another port needs it").toBe(1);
  await host.detach("vif2.0");
  for (const device of ["eth0", "vif1.0", "vif2.0"])
    for (const setting of settingNames)
      expect(host.value(device, setting), `${device} ${setting}`).toBe(kernelDefaults[setting] ?? 0);
  expect([host.elements("settings"), host.elements("opened")]).toEqual([0, 0]);
  expect((await host.status()).settings).toEqual([]);
});

test("what was forwarded before is left as it is, and the uplink then not narrowed", async () => {
  const host = await createHost();
  host.sysctls.write("ipv4/conf/eth0/forwarding", 1);
  host.add("vif1.0");
  await host.attach("vif1.0", "web1");
  expect(host.elements("opened"), "the port alone").toBe(1);
  await host.detach("vif1.0");
  expect(host.value("eth0", "forwarding4")).toBe(1);
});

test("an agent with no memory finds what an earlier one changed, keeps what is needed and puts the rest back", async () => {
  const host = await createHost();
  for (const name of ["vif1.0", "vif2.0"]) host.add(name);
  await host.attach("vif1.0", "web1");
  await host.attach("vif2.0", "web2");
  const before = host.held();
  await host.restart();
  expect(host.held()).toEqual(before);
  expect((await host.status()).ports.map(({ state }) => state)).toEqual(["applied", "applied"]);
  await host.detach("vif1.0");
  await host.detach("vif2.0");
  expect([host.value("eth0", "forwarding4"), host.value("eth0", "proxyDelay4")]).toEqual([0, 80]);
  expect(host.held()).toEqual([]);
});

test("a route of somebody else is not touched: the port stays shut, says so, and heals when the route is gone", async () => {
  const host = await createHost();
  host.routes.addForeign(foreignRoute(10));
  for (const name of ["vif1.0", "vif2.0"]) host.add(name);
  await expect(host.attach("vif1.0", "web1")).rejects.toMatchObject({ code: "ROUTE_TAKEN" });
  expect(host.port("vif1.0")?.up).toBe(false);
  expect(host.held(), "nothing half made").toEqual([]);
  expect(host.routes.foreign()).toEqual([foreignRoute(10)]);
  expect((await host.attach("vif2.0", "web2")).state, "control").toBe("applied");
});

test("what another program takes away is put back", async () => {
  const host = await createHost();
  host.add("vif1.0");
  await host.attach("vif1.0", "web1");
  const before = host.held();
  for (const item of host.routes.held()) if (item.kind === "route") host.routes.removeAsOther(item);
  expect(host.held()).not.toEqual(before);
  await host.settled();
  expect(host.held()).toEqual(before);
});

test("a missing uplink keeps the port shut; it heals when the uplink comes, with another index", async () => {
  const host = await createHost();
  host.links.remove(host.uplink);
  host.add("vif1.0");
  await expect(host.attach("vif1.0", "web1")).rejects.toMatchObject({ code: "UPLINK_MISSING" });
  const uplink = host.add("eth0");
  await host.attach("vif1.0", "web1");
  expect(host.held()).toContain(`proxy ${uplink} 10.0.0.10`);
  host.links.remove(uplink);
  await host.settled();
  await expect.poll(async () => (await host.status()).ports[0]?.state).toBe("failed");
  expect(host.port("vif1.0")?.up).toBe(false);
  const third = host.add("eth0");
  await expect.poll(() => host.held()).toContain(`proxy ${third} 10.0.0.10`);
  expect((await host.status()).ports[0]?.state).toBe("applied");
});

test("IPv6 brings the same, and is refused where this kernel could forward it only for every interface", async () => {
  const host = await createHost(site("  prefix6: 2001:db8:9::/64\n", ", address6: '2001:db8:9::10'"));
  const ifindex = host.add("vif1.0");
  await host.attach("vif1.0", "web1");
  expect(host.held().filter((text) => text.includes("32.1.13.184"))).toEqual([
    `neighbour ${ifindex} 32.1.13.184.0.9.0.0.0.0.0.0.0.0.0.16 fe:00:0a:00:00:0a`,
    `proxy ${host.uplink} 32.1.13.184.0.9.0.0.0.0.0.0.0.0.0.16`,
    `route ${ifindex} 32.1.13.184.0.9.0.0.0.0.0.0.0.0.0.16/128 `,
  ]);
  expect([host.value("eth0", "advertisements6"), host.value("eth0", "router6")]).toEqual([2, 1]);
  await host.detach("vif1.0");
  expect(host.value("eth0", "advertisements6")).toBe(1);
  for (const device of ["eth0", "vif1.0"]) host.sysctls.forget(`ipv6/conf/${device}/force_forwarding`);
  await expect(host.attach("vif1.0", "web1")).rejects.toMatchObject({ code: "FORWARDING_OFF" });
  expect(host.port("vif1.0")?.up).toBe(false);
  host.sysctls.define("ipv6/conf/all/forwarding", 1);
  expect((await host.attach("vif1.0", "web1")).state, "the operator decided").toBe("applied");
});

test("with gives: prefix the host answers every ARP of the port; what is behind a guest is reached by it", async () => {
  const host = await createHost(site(", gives: prefix", ", addresses: [192.0.2.16/28]"));
  const ifindex = host.add("vif1.0");
  await host.attach("vif1.0", "web1");
  expect([host.value("vif1.0", "proxy4"), host.value("eth0", "proxy4")]).toEqual([1, 0]);
  expect(host.held()).toContain(`route ${ifindex} 192.0.2.16/28 10.0.0.10`);
  expect(host.held()).not.toContain(`proxy ${host.uplink} 192.0.2.16`);
});

const links = (link4: number, nic: string, more = ""): string => `kind: network
name: lan0
spec:
  prefix4: 10.0.0.0/24
  range4: [10.0.0.0-10.0.0.15]
${more}  wiring: { kind: transport, uplink: eth0, link4: ${link4} }
  addressing: { kind: managed, macScheme: ip }
---
kind: guest
name: web1
spec: { nics: [ { network: lan0${nic} } ] }
---
kind: guest
name: web2
spec: { nics: [ { network: lan0 } ] }
`;

test("a link brings its two ends, what is behind the guest by the right-hand one, and nothing to the uplink", async () => {
  const host = await createHost(links(31, ", addresses: [192.0.2.16/28, 192.0.2.9]"));
  const ifindex = host.add("vif1.0");
  expect((await host.attach("vif1.0", "web1")).state).toBe("applied");
  expect(host.held()).toEqual([
    `address ${ifindex} 10.0.0.0/31`,
    `neighbour ${ifindex} 10.0.0.1 fe:00:0a:00:00:01`,
    `route ${ifindex} 10.0.0.1/32 `,
    `route ${ifindex} 192.0.2.16/28 10.0.0.1`,
    `route ${ifindex} 192.0.2.9/32 10.0.0.1`,
  ]);
  expect(host.port("vif1.0")).toMatchObject({ up: true, master: 0, mac: HOST_PORT_MAC });
  expect([host.elements("routed"), host.elements("ways")]).toEqual([1, 2]);
  expect([host.value("eth0", "forwarding4"), host.value("eth0", "proxyDelay4")], "nobody is answered for").toEqual([
    1, 80,
  ]);
  await host.detach("vif1.0");
  expect(host.held()).toEqual([]);
  for (const device of ["eth0", "vif1.0"])
    for (const setting of settingNames)
      expect(host.value(device, setting), `${device} ${setting}`).toBe(kernelDefaults[setting] ?? 0);
});

test("links of /30 leave network and broadcast address alone; an agent with no memory finds them as they were", async () => {
  const host = await createHost(links(30, ""));
  const ports = ["vif1.0", "vif2.0"].map(host.add);
  await host.attach("vif1.0", "web1");
  await host.attach("vif2.0", "web2");
  const before = host.held();
  expect(before.filter((text) => text.startsWith("address"))).toEqual([
    `address ${ports[0]} 10.0.0.1/30`,
    `address ${ports[1]} 10.0.0.5/30`,
  ]);
  expect(before).toContain(`route ${ports[1]} 10.0.0.6/32 `);
  await host.restart();
  expect(host.held()).toEqual(before);
});

test("of IPv6 a link has a /127 besides its router's address, and leaves the host its router advertisements", async () => {
  const host = await createHost(links(31, ", addresses: ['2001:db8:5::/64']", "  prefix6: 2001:db8:9::/64\n"));
  const ifindex = host.add("vif1.0");
  await host.attach("vif1.0", "web1");
  const [left, right] = ["32.1.13.184.0.9.0.0.0.0.0.0.0.0.0.2", "32.1.13.184.0.9.0.0.0.0.0.0.0.0.0.3"];
  const held = host.held();
  expect(held.filter((text) => text.startsWith("address"))).toEqual([
    `address ${ifindex} 10.0.0.0/31`,
    `address ${ifindex} 254.128.0.0.0.0.0.0.0.0.0.0.0.0.0.1/64`,
    `address ${ifindex} ${left}/127`,
  ]);
  expect(held).toContain(`route ${ifindex} ${right}/128 `);
  expect(held).toContain(`route ${ifindex} 32.1.13.184.0.5.0.0.0.0.0.0.0.0.0.0/64 ${right}`);
  expect([
    host.value("eth0", "forwarding6"),
    host.value("eth0", "router6"),
    host.value("eth0", "advertisements6"),
  ]).toEqual([1, 0, 1]);
  await host.detach("vif1.0");
  expect([host.held().length, host.value("eth0", "forwarding6")]).toEqual([0, 0]);
});

test("what the LAN behind the uplink holds is asked for with a bound: its own networks, not the pool", async () => {
  const host = await createHost(links(31, ""));
  expect(host.elements("on_link4")).toBe(0);
  host.routes.addForeign({ kind: "address", ifindex: host.uplink, address: Uint8Array.of(192, 0, 2, 5), length: 24 });
  host.add("vif1.0");
  await host.attach("vif1.0", "web1");
  await host.apply(links(31, ", addresses: [198.51.100.9]"));
  await host.settled();
  expect(host.elements("on_link4")).toBe(1);
});

test("a network that changes its wiring takes its ports along, and leaves nothing of the other behind", async () => {
  const host = await createHost();
  const bridge = host.links.add("br0", "bridge");
  host.add("vif1.0");
  await host.attach("vif1.0", "web1");
  await host.apply(site().replace("kind: routed, uplink: eth0", "kind: bridged, bridge: br0"));
  await host.settled();
  expect(host.port("vif1.0")).toMatchObject({ up: true, master: bridge });
  expect(host.held()).toEqual([]);
  expect([host.value("eth0", "forwarding4"), host.value("vif1.0", "forwarding4"), host.elements("routed")]).toEqual([
    0, 0, 0,
  ]);
  await host.apply(site());
  await host.settled();
  expect(host.port("vif1.0")).toMatchObject({ up: true, master: 0, mac: HOST_PORT_MAC });
  expect([host.held().length, host.value("eth0", "forwarding4"), host.elements("routed")]).toEqual([4, 1, 1]);
});

test("routers are told by which address of the uplink a guest is reached: what the kernel holds, and who is attached nowhere", async () => {
  const more = "  prefix6: 2001:db8:1::/64\n";
  const host = await createHost(site(more, ', addresses: [192.0.2.16/28, "2001:db8:2::/64"]'));
  const octets = (text: string): Uint8Array => Uint8Array.from(text.split("."), Number);
  for (const address of ["192.0.2.1", "10.0.0.3"]) host.links.addAddress(host.uplink, octets(address));
  const told = async (): Promise<readonly string[]> =>
    (await host.guestRoutes()).map(({ prefix, guest, port, via, host: at }) =>
      [prefix, guest, at, port, via].join(" "),
    );
  const unattached = ["10.0.0.11/32 web2   ", "2001:db8:1:0:fc00:aff:fe00:b/128 web2   "];
  const ours = ["10.0.0.10/32", "2001:db8:1:0:fc00:aff:fe00:a/128", "192.0.2.16/28", "2001:db8:2::/64"];
  expect(await told()).toEqual([...ours.map((prefix) => `${prefix} web1   `), ...unattached]);
  host.add("vif1.0");
  await host.attach("vif1.0", "web1");
  expect(await told()).toEqual([
    "10.0.0.10/32 web1 h1 vif1.0 10.0.0.3",
    "2001:db8:1:0:fc00:aff:fe00:a/128 web1 h1 vif1.0 ",
    "192.0.2.16/28 web1 h1 vif1.0 10.0.0.3",
    "2001:db8:2::/64 web1 h1 vif1.0 ",
    ...unattached,
  ]);
  host.links.addAddress(host.uplink, Uint8Array.of(0x20, 1, 0xd, 0xb8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3));
  expect(await told()).toContain("2001:db8:2::/64 web1 h1 vif1.0 2001:db8:1::3");
  await host.detach("vif1.0");
  expect((await told())[0]).toBe("10.0.0.10/32 web1   ");
  const value = { port: "vif7.0", ifindex: 7, epoch: "other/1", guest: "web1", nic: 0, fence: 2, since: 1 };
  const claim = { fence: 2, holder: { host: "h2", port: "vif7.0" } };
  await host.store.commit({
    expect: [],
    writes: [
      { op: "put", key: "attachment/h2/vif7.0", value },
      { op: "put", key: "claim/web1/0", value: claim },
    ],
  });
  await host.settled();
  expect((await told())[0], "at another host, whose address that one knows").toBe("10.0.0.10/32 web1 h2  ");
  await host.apply(site().replace("kind: routed, uplink: eth0", "kind: bridged, bridge: br0"));
  expect(await told()).toEqual([]);
});
