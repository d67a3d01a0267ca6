/** Networks of wiring nat on a memory kernel: what a guest brings to the rules and the routes of its host, what others leave it when they go, and what is refused. */
import { describe, expect, test } from "vitest";
import type { Agent } from "../src/agent/agent.ts";
import { loadSite } from "../src/config/load.ts";
import { memoryLinks } from "../src/kernel/links-memory.ts";
import { memoryNft } from "../src/kernel/nft-memory.ts";
import { routeText } from "../src/kernel/routes.ts";
import { memoryRoutes } from "../src/kernel/routes-memory.ts";
import { memorySysctls } from "../src/kernel/sysctls.ts";
import { parseInterfaceName } from "../src/model/names.ts";
import { settingNames, settingTable } from "../src/model/settings.ts";
import { buildSkeleton } from "../src/ruleset/skeleton.ts";
import { memoryStore } from "../src/store/memory.ts";
import { clock, portPrefixes, startMemoryAgent } from "./support/memory-agent.ts";

const network = (masquerade = "false"): string => `kind: network
name: inside
spec:
  prefix4: 10.66.0.0/24
  gateway4: 10.66.0.1
  wiring: { kind: nat, uplink: eth0, masquerade: ${masquerade} }
  addressing: { kind: managed, macScheme: ip }
  groups: [open]
---
{ kind: group, name: open, spec: { ingress: [{ protocol: any, from: any }] } }
`;
const guest = (name: string, last: number, more = ""): string =>
  `---\n{ kind: guest, name: ${name}, spec: { nics: [{ network: inside, address4: 10.66.0.${last}${more} }] } }\n`;
const whole = guest("web1", 10, ", public4: 203.0.113.5");
const services = (name: string, last: number, port: number): string =>
  guest(name, last, `, services: [{ public4: 203.0.113.6, protocol: tcp, ports: [${port}], to: 80 }]`);

async function createHost(text: string) {
  const [nft, links, routes, sysctls, store] = [
    memoryNft(),
    memoryLinks(),
    memoryRoutes(),
    memorySysctls(),
    memoryStore(clock),
  ];
  const add = (device: string): number => {
    const name = parseInterfaceName(device);
    if (name === undefined) throw new TypeError(device);
    for (const setting of settingNames) sysctls.define(settingTable[setting].path(name), 0);
    return links.add(device);
  };
  const start = (): Promise<Agent> => startMemoryAgent({ nft, links, routing: { routes, sysctls }, store });
  const uplink = add("eth0");
  routes.addForeign({ kind: "address", ifindex: uplink, address: Uint8Array.of(203, 0, 113, 3), length: 24 });
  let agent = await start();
  const apply = async (wanted: string): Promise<void> => {
    await agent.operations.apply(loadSite(wanted, "site"), { dryRun: false });
    await agent.settled();
  };
  await apply(text);
  const { table } = buildSkeleton(portPrefixes, ["inet"]);
  const elements = (set: string): readonly string[] =>
    (nft.elements({ family: "inet", table, set }) ?? []).map(
      ({ key, keyEnd, data }) =>
        key.join(".") +
        (keyEnd === undefined ? "" : `-${keyEnd.join(".")}`) +
        (data === undefined ? "" : ` > ${data.join(".")}`),
    );
  return {
    links,
    nft,
    table,
    uplink,
    add,
    apply,
    elements,
    attach: (port: string, name: string) => agent.operations.attach({ port, guest: name }),
    detach: async (port: string): Promise<void> => {
      await agent.operations.detach(port);
      await agent.settled();
    },
    settled: () => agent.settled(),
    restart: async (): Promise<void> => {
      await agent.stop();
      agent = await start();
    },
    held: () => routes.held().map(routeText).sort(),
    /** As another host of the fleet does. */
    attachElsewhere: async (name: string, more: object = {}): Promise<void> => {
      const value = { port: "vif9.0", ifindex: 9, epoch: "b", guest: name, nic: 0, since: 0, fence: 1, ...more };
      const claim = { fence: 1, holder: { host: "h2", port: "vif9.0" } };
      const writes = [
        { op: "put", key: "attachment/h2/vif9.0", value },
        { op: "put", key: `claim/${name}/0`, value: claim },
      ] as const;
      await store.commit({ expect: [], writes });
      await agent.settled();
    },
    guestRoutes: () => agent.operations.routes(),
  };
}

const maps = ["public4", "services4", "leaves4", "masqueraded4", "itself4", "inside"] as const;
type Host = Awaited<ReturnType<typeof createHost>>;
const all = (host: Host): Readonly<Record<string, readonly string[]>> =>
  Object.fromEntries(maps.map((set) => [set, host.elements(set)]));
const nothing = Object.fromEntries(maps.map((set) => [set, []]));

test("a public address leads to its guest and from it; the host answers for it, and not for the private one", async () => {
  const host = await createHost(network() + whole);
  const ifindex = host.add("vif1.0");
  await host.attach("vif1.0", "web1");
  expect(host.held()).toEqual([
    `address ${ifindex} 169.254.0.1/32`,
    `neighbour ${ifindex} 10.66.0.10 fe:00:0a:42:00:0a`,
    `proxy ${host.uplink} 203.0.113.5`,
    "route 1 203.0.113.5/32 ",
    `route ${ifindex} 10.66.0.10/32 `,
  ]);
  expect(all(host)).toEqual({
    ...nothing,
    public4: ["203.0.113.5 > 10.66.0.10"],
    leaves4: ["10.66.0.10 > 203.0.113.5"],
    inside: [new Uint8Array(Uint32Array.of(ifindex).buffer).join(".")],
  });
  expect(host.elements("inside4")).toEqual(["8.0.0.0.10.66.0.0-8.0.0.0.10.66.0.255"]);
  expect(host.elements("on_link4"), "of the uplink, not the private ones").toEqual([
    "8.0.0.0.203.0.113.0-8.0.0.0.203.0.113.255",
  ]);
  expect(host.elements("connections"), "open to all, and bounded").toHaveLength(1);
  await host.detach("vif1.0");
  expect(host.held()).toEqual([]);
  expect(all(host)).toEqual(nothing);
});

test("routers are told of public addresses, those that are shared too, and of nothing private", async () => {
  const host = await createHost(network() + whole + services("web2", 11, 8081) + services("web3", 12, 8082));
  for (const port of ["vif1.0", "vif2.0"]) host.add(port);
  host.links.addAddress(host.uplink, Uint8Array.of(203, 0, 113, 3));
  const told = async (): Promise<readonly string[]> =>
    (await host.guestRoutes()).map(({ prefix, guest: name, port = "nowhere" }) => `${prefix} ${name} ${port}`);
  expect(await told()).toEqual([
    "203.0.113.5/32 web1 nowhere",
    "203.0.113.6/32 web2 nowhere",
    "203.0.113.6/32 web3 nowhere",
  ]);
  await host.attach("vif1.0", "web1");
  await host.attach("vif2.0", "web2");
  expect(await told()).toEqual([
    "203.0.113.5/32 web1 vif1.0",
    "203.0.113.6/32 web2 vif2.0",
    "203.0.113.6/32 web3 nowhere",
  ]);
  expect((await host.guestRoutes())[0]).toMatchObject({ host: "h1", via: "203.0.113.3" });
});

test("single services, and what masquerade says of the rest", async () => {
  const host = await createHost(network() + services("web1", 10, 8080));
  host.add("vif1.0");
  await host.attach("vif1.0", "web1");
  const own = {
    services4: ["203.0.113.6.6.0.0.0.31.144.0.0 > 10.66.0.10.0.80.0.0"],
    itself4: ["10.66.0.10.10.66.0.10 > 203.0.113.6"],
  };
  expect(all(host)).toMatchObject({ ...own, public4: [], leaves4: [], masqueraded4: [] });
  await host.apply(network("true"));
  expect(all(host)).toMatchObject({ ...own, leaves4: [], masqueraded4: ["10.66.0.10"] });
  await host.apply(network("203.0.113.9"));
  expect(all(host)).toMatchObject({ ...own, leaves4: ["10.66.0.10 > 203.0.113.9"], masqueraded4: [] });
  expect(host.held()).toContain(`proxy ${host.uplink} 203.0.113.9`);
  await host.apply(network());
  expect(all(host)).toMatchObject({ ...own, leaves4: [], masqueraded4: [] });
  expect(host.held()).not.toContain(`proxy ${host.uplink} 203.0.113.9`);
});

test("of two that share an address the first that goes leaves it to the other, in memory of nobody", async () => {
  const host = await createHost(network() + services("web1", 10, 8080) + services("web2", 11, 8081));
  for (const port of ["vif1.0", "vif2.0"]) host.add(port);
  await host.attach("vif1.0", "web1");
  await host.attach("vif2.0", "web2");
  await host.restart();
  const shared = ["route 1 203.0.113.6/32 ", `proxy ${host.uplink} 203.0.113.6`];
  expect(host.held()).toEqual(expect.arrayContaining(shared));
  await host.detach("vif1.0");
  expect(host.held()).toEqual(expect.arrayContaining(shared));
  expect(host.elements("services4")).toEqual(["203.0.113.6.6.0.0.0.31.145.0.0 > 10.66.0.11.0.80.0.0"]);
  await host.detach("vif2.0");
  expect(host.held()).toEqual([]);
});

test("what another program empties is filled again", async () => {
  const host = await createHost(network() + whole);
  host.add("vif1.0");
  await host.attach("vif1.0", "web1");
  const before = all(host);
  for (const set of ["public4", "leaves4", "inside"]) {
    host.nft.meddle({ dropElements: { family: "inet", table: host.table, set } });
    expect(all(host)).not.toEqual(before);
    await host.settled();
    expect(all(host)).toEqual(before);
  }
});

describe("a port stays shut", () => {
  test("while another host answers for an address it shares", async () => {
    const host = await createHost(network() + whole + services("web2", 11, 8081) + services("web3", 12, 8082));
    for (const port of ["vif1.0", "vif2.0"]) host.add(port);
    await host.attachElsewhere("web3");
    await expect(host.attach("vif2.0", "web2")).rejects.toMatchObject({
      code: "ADDRESS_TAKEN",
      message:
        "public address 203.0.113.6 is answered for by host 'h2', where guest 'web3' shares it: attach both on one host",
    });
    expect(host.held()).toEqual([]);
    expect((await host.attach("vif1.0", "web1")).state, "control: one of its own").toBe("applied");
    for (const more of [{ prepared: true }, { fence: 7 }]) {
      await host.attachElsewhere("web3", more);
      const { state } = await host.attach("vif2.0", "web2");
      expect(state, "a port there that only waits, or has let go").toBe("applied");
      await host.detach("vif2.0");
    }
  });

  test("when its public address is the host's own", async () => {
    const host = await createHost(network() + whole);
    host.add("vif1.0");
    host.links.addAddress(host.uplink, Uint8Array.of(203, 0, 113, 5));
    await expect(host.attach("vif1.0", "web1")).rejects.toMatchObject({
      code: "ADDRESS_TAKEN",
      message: "public address 203.0.113.5 of network 'inside' is this host's own",
    });
    expect(host.held()).toEqual([]);
  });
});
