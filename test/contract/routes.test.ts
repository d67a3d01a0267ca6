/** What the agent relies on in routes, neighbours and addresses: the memory double and the kernel give the same answers, and nobody else's is ever touched. */
import { describe, expect, test } from "vitest";
import {
  placeText,
  ROUTE_PROTOCOL,
  type RouteEvent,
  type RouteItem,
  type Routes,
  routeText,
} from "../../src/kernel/routes.ts";
import { memoryRoutes } from "../../src/kernel/routes-memory.ts";
import { openRoutes } from "../../src/kernel/routes-netlink.ts";
import { isIpv6, parseIp } from "../../src/model/ip-block.ts";
import { ipv4ToBytes } from "../../src/model/ipv4.ts";
import { ipv6ToBytes } from "../../src/model/ipv6.ts";
import { parseMac } from "../../src/model/mac.ts";
import { LOOPBACK } from "../../src/ruleset/nat.ts";
import { command, ipBatch, ownNamespace } from "../support/namespace.ts";

ownNamespace("routes");
ipBatch([
  "link set lo up",
  "link add port type veth peer name guest",
  "link add uplink type veth peer name lan",
  ...["port", "guest", "uplink", "lan"].map((name) => `link set ${name} up`),
]);
const indexOf = (name: string): number => Number(/^\d+/.exec(command("ip", "-o", "link", "show", "dev", name))?.[0]);
const [port, uplink] = [indexOf("port"), indexOf("uplink")];

function bytesOf(text: string): Uint8Array {
  const address = parseIp(text);
  if (address === undefined) throw new TypeError(text);
  return isIpv6(address) ? ipv6ToBytes(address) : ipv4ToBytes(address);
}

const mac = parseMac("fe:00:c6:33:64:05");
if (mac === undefined) throw new TypeError("MAC");

const route = (text: string, via?: string): RouteItem => {
  const [address = "", length = ""] = text.split("/");
  const item = { kind: "route", ifindex: port, address: bytesOf(address), length: Number(length) } as const;
  return via === undefined ? item : { ...item, via: bytesOf(via) };
};
const proxy = (text: string): RouteItem => ({ kind: "proxy", ifindex: uplink, address: bytesOf(text) });
const neighbour = (text: string): RouteItem => ({ kind: "neighbour", ifindex: port, address: bytesOf(text), mac });
const address = (text: string, length: number): RouteItem => ({
  kind: "address",
  ifindex: port,
  address: bytesOf(text),
  length,
});

/** Everything a port of both families brings, in the order it is made. */
const whole: readonly RouteItem[] = [
  address("169.254.0.1", 32),
  address("fe80::1", 64),
  neighbour("198.51.100.5"),
  neighbour("2001:db8:9::5"),
  neighbour("fe80::5"),
  route("198.51.100.5/32"),
  route("2001:db8:9::5/128"),
  route("192.0.2.0/28", "198.51.100.5"),
  route("2001:db8:77::/64", "fe80::5"),
  proxy("198.51.100.5"),
  proxy("2001:db8:9::5"),
];

const texts = (items: readonly RouteItem[]): readonly string[] => items.map(routeText).sort();

interface World {
  readonly routes: Routes;
  addForeign(item: RouteItem): void;
  removeForeign(item: RouteItem): void;
  /** As another program takes away what is ours. */
  steal(item: RouteItem): void;
  isForeignThere(item: RouteItem): boolean;
}

const textOf = (bytes: Uint8Array): string =>
  bytes.length === 4
    ? bytes.join(".")
    : Buffer.from(bytes)
        .toString("hex")
        .replace(/(.{4})(?!$)/g, "$1:");

function line(item: RouteItem): string {
  const family = item.address.length === 4 ? "-4" : "-6";
  const at = item.ifindex === port ? "port" : "uplink";
  if (item.kind === "address") return `${family} address VERB ${textOf(item.address)}/${item.length} dev ${at}`;
  if (item.kind === "route") return `${family} route VERB ${textOf(item.address)}/${item.length} dev ${at}`;
  return `${family} neigh VERB ${item.kind === "proxy" ? "proxy " : ""}${textOf(item.address)} dev ${at}`;
}

function ip(verb: string, item: RouteItem, more = ""): string {
  const [family = "", ...words] = line(item).replace("VERB", verb).split(" ");
  return command("ip", family, ...words, ...more.split(" ").filter(Boolean));
}

function kernelWorld(): World {
  return {
    routes: openRoutes(),
    addForeign: (item) => void ip("add", item),
    removeForeign: (item) => void ip("del", item),
    steal: (item) => void ip("del", item),
    isForeignThere: (item) => {
      const shown = ip("show", item);
      return shown !== "" && !shown.includes(`proto ${ROUTE_PROTOCOL}`);
    },
  };
}

function memoryWorld(): World {
  const routes = memoryRoutes();
  return {
    routes,
    addForeign: routes.addForeign,
    removeForeign: () => undefined,
    steal: routes.removeAsOther,
    isForeignThere: (item) => routes.foreign().some((other) => routeText(other) === routeText(item)),
  };
}

describe.each([
  ["memory", memoryWorld],
  ["kernel", kernelWorld],
])("routes (%s)", (_, open) => {
  test("all that a port needs is added, read back, added again and removed; removing twice is fine", () => {
    const { routes } = open();
    expect(routes.held()).toEqual([]);
    for (let round = 0; round < 2; round += 1) for (const item of whole) routes.add(item);
    expect(texts(routes.held())).toEqual(texts(whole));
    expect(texts(routes.held("proxy"))).toEqual(texts(whole.filter(({ kind }) => kind === "proxy")));
    for (let round = 0; round < 2; round += 1) for (const item of [...whole].reverse()) routes.remove(item);
    expect(routes.held()).toEqual([]);
    routes.close();
  });

  test("a public address is routed to the loopback device, and answered for", () => {
    const { routes } = open();
    const items: readonly RouteItem[] = [
      { kind: "route", ifindex: LOOPBACK, address: bytesOf("203.0.113.5"), length: 32 },
      proxy("203.0.113.5"),
    ];
    for (let round = 0; round < 2; round += 1) for (const item of items) routes.add(item);
    expect(texts(routes.held())).toEqual(texts(items));
    for (const item of items) routes.remove(item);
    expect(routes.held()).toEqual([]);
    routes.close();
  });

  test.each([
    ["a route", route("203.0.113.77/32")],
    ["a route of IPv6", route("2001:db8:9::77/128")],
    ["a proxy entry", proxy("203.0.113.78")],
    ["a proxy entry of IPv6", proxy("2001:db8:9::78")],
  ] as const)("%s of somebody else is never taken, shown or removed", (_what, item) => {
    const world = open();
    world.addForeign(item);
    expect(() => world.routes.add(item)).toThrow(expect.objectContaining({ code: "ROUTE_TAKEN" }));
    expect(world.routes.held()).toEqual([]);
    world.routes.remove(item);
    expect(world.isForeignThere(item)).toBe(true);
    world.removeForeign(item);
    world.routes.close();
  });

  test("an interface is on the networks of its addresses, whosever they are; single ones and the link-local network are none", () => {
    const { routes, addForeign, removeForeign } = open();
    const [four, six] = [
      { ...address("192.0.2.130", 25), ifindex: uplink },
      { ...address("2001:db8:5::9", 64), ifindex: uplink },
    ];
    const single = [address("192.0.2.7", 32), address("2001:db8:6::9", 128), address("fe80::9", 64)].map((item) => ({
      ...item,
      ifindex: uplink,
    }));
    const own = address("198.51.100.0", 31);
    for (const item of [four, six, ...single]) addForeign(item);
    routes.add(own);
    const lans = (ifindex: number) => routes.lan(ifindex).map((lan) => `${textOf(lan.address)}/${lan.length}`);
    expect(lans(uplink)).toEqual(["192.0.2.128/25", `${textOf(bytesOf("2001:db8:5::"))}/64`]);
    expect(lans(port)).toEqual(["198.51.100.0/31"]);
    routes.remove(own);
    for (const item of [four, six, ...single]) removeForeign(item);
    routes.close();
  });

  test("what is taken away by another is told, but for proxies, which are missed when they are looked for", async () => {
    const { routes, steal } = open();
    const events: RouteEvent[] = [];
    const watch = routes.watch((event) => events.push(event));
    const items = [
      neighbour("198.51.100.5"),
      route("198.51.100.5/32"),
      route("2001:db8:9::5/128"),
      proxy("198.51.100.5"),
    ];
    for (const item of items) routes.add(item);
    for (const item of items) steal(item);
    for (const item of items.slice(0, 3))
      await expect
        .poll(() => events.some((event) => event.kind === "removed" && placeText(event.place) === placeText(item)))
        .toBe(true);
    expect(routes.held()).toEqual([]);
    for (const item of items) routes.remove(item);
    watch.close();
    routes.close();
  });
});

test("an interface's settings are told when they change", async () => {
  const routes = openRoutes();
  const events: RouteEvent[] = [];
  const watch = routes.watch((event) => events.push(event));
  command("sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/uplink/forwarding");
  await expect.poll(() => events).toContainEqual({ kind: "setting", ifindex: uplink });
  watch.close();
  routes.close();
});

test("a port that goes takes its own with it, and leaves the proxy entry to be removed", () => {
  const routes = openRoutes();
  ipBatch(["link add port9 type veth peer name guest9", "link set port9 up"]);
  const ifindex = indexOf("port9");
  const items: readonly RouteItem[] = [
    { kind: "neighbour", ifindex, address: bytesOf("198.51.100.9"), mac },
    { kind: "route", ifindex, address: bytesOf("198.51.100.9"), length: 32 },
    proxy("198.51.100.9"),
  ];
  for (const item of items) routes.add(item);
  ipBatch(["link del port9"]);
  expect(texts(routes.held())).toEqual(texts(items.slice(2)));
  for (const item of items) routes.remove(item);
  expect(routes.held()).toEqual([]);
  routes.close();
});
