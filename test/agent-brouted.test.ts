/** Brouted networks on a memory kernel: what a port brings to its bridge and takes away again, and what follows the bridge. */
import { expect, test } from "vitest";
import type { Agent } from "../src/agent/agent.ts";
import { loadSite } from "../src/config/load.ts";
import { memoryLinks } from "../src/kernel/links-memory.ts";
import { memoryNft } from "../src/kernel/nft-memory.ts";
import { routeText } from "../src/kernel/routes.ts";
import { memoryRoutes } from "../src/kernel/routes-memory.ts";
import { memorySysctls } from "../src/kernel/sysctls.ts";
import { type InterfaceName, parseInterfaceName } from "../src/model/names.ts";
import { type SettingName, settingNames, settingTable } from "../src/model/settings.ts";
import { buildSkeleton } from "../src/ruleset/skeleton.ts";
import { memoryStore } from "../src/store/memory.ts";
import { clock, portPrefixes, startMemoryAgent } from "./support/memory-agent.ts";

const site = (more = "", nic = ""): string => `kind: network
name: lan0
spec:
  prefix4: 10.0.0.0/24
  gateway4: 10.0.0.1
  range4: [10.0.0.10-10.0.0.12]
  wiring: { kind: brouted, bridge: br0 }
  addressing: { kind: managed, macScheme: ip }
${more}---
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
  const add = (name: string, kind?: "bridge"): number => {
    for (const setting of settingNames)
      sysctls.define(settingTable[setting].path(nameOf(name)), kernelDefaults[setting] ?? 0);
    return kind === undefined ? links.add(name) : links.add(name, kind);
  };
  const start = (): Promise<Agent> => startMemoryAgent({ nft, links, routing: { routes, sysctls }, store });
  const bridge = add("br0", "bridge");
  const ports = ["vif1.0", "vif2.0"].map((name) => add(name));
  let agent = await start();
  const apply = (wanted: string) => agent.operations.apply(loadSite(wanted, "site"), { dryRun: false });
  await apply(text);
  await agent.settled();
  const { table } = buildSkeleton(portPrefixes, ["inet"]);
  const elementsOf = (family: "inet" | "netdev" | "bridge") => (set: string) =>
    nft.elements({ family, table, set })?.length ?? -1;
  return {
    links,
    sysctls,
    bridge,
    ports,
    apply,
    attach: (port: string, guest: string) => agent.operations.attach({ port, guest }),
    detach: async (port: string) => {
      await agent.operations.detach(port);
      await agent.settled();
    },
    status: () => agent.operations.status(),
    settled: () => agent.settled(),
    restart: async () => {
      await agent.stop();
      agent = await start();
    },
    port: (name: string) => links.list().find((link) => link.name === name),
    held: () => routes.held().map(routeText).sort(),
    value: (device: string, setting: SettingName) => sysctls.read(settingTable[setting].path(nameOf(device))),
    inet: elementsOf("inet"),
    netdev: elementsOf("netdev"),
    inBridge: elementsOf("bridge"),
    brouterMac: () => nft.elements({ family: "netdev", table, set: "brouters" })?.map(({ data }) => data?.join("."))[0],
  };
}

test("a port joins the bridge, where the host knows its guest and routes for it, and takes all of it away", async () => {
  const host = await createHost();
  expect((await host.attach("vif1.0", "web1")).state).toBe("applied");
  expect(host.port("vif1.0")).toMatchObject({ up: true, master: host.bridge });
  expect(host.held()).toEqual([`neighbour ${host.bridge} 10.0.0.10 fe:00:0a:00:00:0a`]);
  expect(["brouted", "brouted_ways", "brouted4", "brouters", "brouter_macs", "routed"].map(host.inet)).toEqual([
    1, 1, 1, 1, 1, 0,
  ]);
  expect(["brouted", "brouters", "brouted_mark"].map(host.netdev)).toEqual([1, 1, 1]);
  expect(host.inBridge("brouted")).toBe(1);
  await host.detach("vif1.0");
  expect(host.held()).toEqual([]);
  expect(["brouted", "brouted_ways", "brouted4", "brouters", "brouter_macs", "settings"].map(host.inet)).toEqual([
    0, 0, 0, 0, 0, 0,
  ]);
  expect([...["brouted", "brouters", "brouted_mark"].map(host.netdev), host.inBridge("brouted")]).toEqual([0, 0, 0, 0]);
});

test("settings change on the bridge alone, are told with their reason, and go back with the last port", async () => {
  const host = await createHost();
  await host.attach("vif1.0", "web1");
  await host.attach("vif2.0", "web2");
  const now = (): readonly (number | undefined)[] =>
    (["redirectsIn4", "redirectsOut4", "forwarding4"] as const).map((setting) => host.value("br0", setting));
  expect(now()).toEqual([0, 0, 1]);
  for (const port of ["vif1.0", "vif2.0"])
    for (const setting of settingNames) expect(host.value(port, setting)).toBe(kernelDefaults[setting] ?? 0);
  expect((await host.status()).settings).toContainEqual({
    device: "br0",
    setting: "net/ipv4/conf/br0/forwarding",
    value: 1,
    was: 0,
    why: settingTable.forwarding4.why,
  });
  expect(host.inet("opened")).toBe(1);
  await host.detach("vif1.0");
  expect(now(), "another port needs it").toEqual([0, 0, 1]);
  expect(host.inet("brouters")).toBe(1);
  await host.detach("vif2.0");
  expect(now()).toEqual([1, 1, 0]);
  expect([host.inet("settings"), host.inet("opened"), host.inet("brouters")]).toEqual([0, 0, 0]);
});

test("an agent with no memory finds what an earlier one changed, keeps what is needed and puts the rest back", async () => {
  const host = await createHost();
  await host.attach("vif1.0", "web1");
  const before = host.held();
  await host.restart();
  expect(host.held()).toEqual(before);
  expect((await host.status()).ports.map(({ state }) => state)).toEqual(["applied"]);
  await host.detach("vif1.0");
  expect([host.value("br0", "forwarding4"), host.value("br0", "redirectsOut4")]).toEqual([0, 1]);
  expect(host.held()).toEqual([]);
});

test("IPv6 brings the same, with the answer for the router of each address, and is refused where this kernel could forward it only for every interface", async () => {
  const host = await createHost(
    site("  prefix6: 2001:db8:9::/64\n", ", address6: '2001:db8:9::10', addresses: [192.0.2.16/28, 192.0.2.77]"),
  );
  await host.attach("vif1.0", "web1");
  expect(host.held().filter((text) => text.includes("32.1.13.184"))).toEqual([
    `neighbour ${host.bridge} 32.1.13.184.0.9.0.0.0.0.0.0.0.0.0.16 fe:00:0a:00:00:0a`,
  ]);
  expect(host.held(), "what is behind it is reached by it").toContain(`route ${host.bridge} 192.0.2.16/28 10.0.0.10`);
  expect(host.held()).toContain(`route ${host.bridge} 192.0.2.77/32 `);
  expect(host.inet("brouteds4"), "as a range").toBe(1);
  expect(host.netdev("router_sums"), "global and link-local").toBe(2);
  expect((["forwarding6", "redirectsIn6", "router6"] as const).map((name) => host.value("br0", name))).toEqual([
    1, 0, 0,
  ]);
  await host.detach("vif1.0");
  expect(host.value("br0", "forwarding6")).toBe(0);
  host.sysctls.forget("ipv6/conf/br0/force_forwarding");
  await expect(host.attach("vif1.0", "web1")).rejects.toMatchObject({ code: "FORWARDING_OFF" });
  expect(host.port("vif1.0")?.up).toBe(false);
  host.sysctls.define("ipv6/conf/all/forwarding", 1);
  expect((await host.attach("vif1.0", "web1")).state, "the operator decided").toBe("applied");
});

test("a missing bridge keeps the port shut; it heals when the bridge comes, with another index and MAC", async () => {
  const host = await createHost();
  await host.attach("vif1.0", "web1");
  const [index, mac] = [host.bridge, host.brouterMac()];
  host.links.remove(index);
  await host.settled();
  await expect.poll(async () => (await host.status()).ports[0]?.state).toBe("failed");
  expect(host.port("vif1.0")?.up).toBe(false);
  const second = host.links.add("br0", "bridge");
  await expect.poll(() => host.held()).toContain(`neighbour ${second} 10.0.0.10 fe:00:0a:00:00:0a`);
  expect((await host.status()).ports[0]?.state).toBe("applied");
  expect(host.brouterMac()).not.toBe(mac);
});

test("a network that changes its wiring takes its ports along, and leaves nothing of the other behind", async () => {
  const host = await createHost();
  await host.attach("vif1.0", "web1");
  await host.apply(site().replace("kind: brouted", "kind: bridged"));
  await host.settled();
  expect(host.port("vif1.0")).toMatchObject({ up: true, master: host.bridge });
  expect([host.held(), host.value("br0", "forwarding4"), host.inet("brouted"), host.netdev("brouted")]).toEqual([
    [],
    0,
    0,
    0,
  ]);
  await host.apply(site());
  await host.settled();
  expect([host.held().length, host.value("br0", "forwarding4"), host.netdev("brouted")]).toEqual([1, 1, 1]);
});
