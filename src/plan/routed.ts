/** What a routed port needs of the host besides its rules: routes to its addresses, its gateway on the port, what the uplink answers for, and settings of both interfaces. */

import type { Link } from "../kernel/links.ts";
import type { RouteItem } from "../kernel/routes.ts";
import { GuardError } from "../model/errors.ts";
import { ipToBytes } from "../model/ip-block.ts";
import { type Ipv4Address, ipv4ToBytes, prefix4Bounds, prefix4Octets } from "../model/ipv4.ts";
import { type Ipv6Address, ipv6ToBytes, isLinkLocal6, linkLocalOf, prefix6Bounds } from "../model/ipv6.ts";
import type { MacAddress } from "../model/mac.ts";
import type { InterfaceName, ObjectName } from "../model/names.ts";
import { unreachable } from "../model/never.ts";
import type { NetworkSpec } from "../model/resources.ts";
import type { Setting, SettingName } from "../model/settings.ts";
import { HOST_PORT_MAC, PORT_GATEWAY4, PORT_GATEWAY6, type RoutedWiring } from "../model/wiring.ts";
import type { NetworkFacts, PortBinding, Source } from "../ruleset/elements.ts";
import { publicAddresses, publicItems } from "./nat.ts";

export interface RoutedWish {
  readonly uplink: Pick<Link, "ifindex" | "mac"> & { readonly name: InterfaceName };
  /** Of the port and of its uplink, in the order in which they are made. */
  readonly items: readonly RouteItem[];
  readonly settings: readonly Setting[];
  /** Those of the items that other ports may need as well: a public address may be several guests'. */
  readonly shared?: readonly RouteItem[];
  /** What the LAN is told when the port opens: at the uplink's MAC, or at this one. */
  readonly announced: readonly (Ipv4Address | Ipv6Address)[];
  readonly announcedAt?: MacAddress;
}

type Routed = Pick<RoutedWiring, "uplink" | "gives">;

/** To the guests of a routed network everybody is where the host's port is. */
export function routedFacts(spec: NetworkSpec, { gives }: Routed, facts: NetworkFacts): NetworkFacts {
  return {
    ...facts,
    gateway4: gives === "address" ? PORT_GATEWAY4 : spec.gateway4,
    gatewayMac: HOST_PORT_MAC,
    ...(spec.prefix6 === undefined ? { routed: {} } : { gateway6: PORT_GATEWAY6, routed: { prefix6: spec.prefix6 } }),
  };
}

/** As the members of a routed network are seen by each other. */
export function routedSource(source: Source): Source {
  return { ...source, mac: HOST_PORT_MAC };
}

/** @throws UPLINK_MISSING */
export function uplinkOf(
  { uplink }: Pick<Routed, "uplink">,
  network: ObjectName,
  byName: (name: InterfaceName) => Link | undefined,
): RoutedWish["uplink"] {
  const link = byName(uplink);
  if (link !== undefined) return { ifindex: link.ifindex, mac: link.mac, name: uplink };
  throw new GuardError("UPLINK_MISSING", `uplink '${uplink}' of network '${network}' does not exist`, {
    fields: { uplink, network },
  });
}

/** @param uplink where the host answers for the guest, if it does */
export function* sourceItems(
  { what }: Source,
  { ifindex, mac, sources, nat }: Pick<PortBinding, "ifindex" | "mac" | "sources" | "nat">,
  uplink?: number,
): Iterable<RouteItem> {
  switch (what.kind) {
    case "address4":
    case "address6": {
      const address = ipToBytes(what.address);
      yield { kind: "neighbour", ifindex, address, mac };
      // Of the link itself: nobody routes to it.
      if (what.kind === "address6" && isLinkLocal6(what.address)) return;
      yield { kind: "route", ifindex, address, length: address.length * 8 };
      // A private one is nobody's outside.
      const isOutside = what.kind === "address6" || nat === undefined;
      if (uplink !== undefined && isOutside) yield { kind: "proxy", ifindex: uplink, address };
      return;
    }
    // What is behind the guest is reached by it, and is for routers to know: a proxy entry is of one address.
    case "prefix4": {
      const { length } = prefix4Bounds(what.prefix);
      const via = sources.find(({ what: own }) => own.kind === "address4")?.what;
      if (via?.kind === "address4")
        yield {
          kind: "route",
          ifindex,
          address: prefix4Octets(what.prefix).first,
          length,
          via: ipv4ToBytes(via.address),
        };
      return;
    }
    case "prefix6": {
      const { first, length } = prefix6Bounds(what.prefix);
      yield { kind: "route", ifindex, address: first, length, via: ipv6ToBytes(linkLocalOf(mac)) };
      return;
    }
    default:
      unreachable(what);
  }
}

/** The kernel makes them in this order: a route wants its address, a next hop its neighbour. */
const ORDER: readonly RouteItem["kind"][] = ["address", "neighbour", "route", "proxy"];
const isVia = (item: RouteItem): boolean => item.kind === "route" && item.via !== undefined;
const rank = (item: RouteItem): number => 2 * ORDER.indexOf(item.kind) + Number(isVia(item));
export const inOrder = (items: readonly RouteItem[]): readonly RouteItem[] =>
  [...items].sort((a, b) => rank(a) - rank(b));

function routedItems(
  binding: PortBinding,
  uplink: number,
  hasIp6: boolean,
  shared: readonly RouteItem[],
): readonly RouteItem[] {
  const { ifindex } = binding;
  const items: RouteItem[] = [{ kind: "address", ifindex, address: ipv4ToBytes(PORT_GATEWAY4), length: 32 }];
  if (hasIp6) items.push({ kind: "address", ifindex, address: ipv6ToBytes(PORT_GATEWAY6), length: 64 });
  for (const source of binding.sources) items.push(...sourceItems(source, binding, uplink));
  items.push(...shared);
  return inOrder(items);
}

export type Values = readonly (readonly [SettingName, number])[];

export const PORT4: Values = [
  ["sourceCheck4", 1],
  ["redirectsIn4", 0],
  ["redirectsOut4", 0],
  ["forwarding4", 1],
];
export const PORT6: Values = [
  ["naming6", 1],
  ["duplicates6", 0],
  ["advertisements6", 0],
  ["redirectsIn6", 0],
  ["off6", 0],
  ["forwarding6", 1],
];
const EVERY_ARP: Values = [
  ["proxyDelay4", 0],
  ["proxy4", 1],
];
const UPLINK4: Values = [
  ["proxyDelay4", 0],
  ["forwarding4", 1],
];
const UPLINK6: Values = [
  ["proxyDelay6", 0],
  ["proxy6", 1],
  ["router6", 1],
  ["forwarding6", 1],
];

type SettingPlace = Pick<Setting, "ifindex" | "device">;

export const settingsOn = (place: SettingPlace, values: Values): readonly Setting[] =>
  values.map(([name, value]) => ({ ...place, name, value }));

function routedSettings(
  port: SettingPlace,
  uplink: SettingPlace,
  gives: Routed["gives"],
  hasIp6: boolean,
): readonly Setting[] {
  return [
    ...settingsOn(port, PORT4),
    ...settingsOn(port, gives === "prefix" ? EVERY_ARP : [["proxy4", 0]]),
    ...settingsOn(port, hasIp6 ? PORT6 : [["off6", 1]]),
    ...settingsOn(uplink, UPLINK4),
    // A router hears router advertisements only with 2 (ip-sysctl, accept_ra): a host that learns its routes so must go on. Before it becomes one.
    ...(hasIp6 ? [{ ...uplink, name: "advertisements6", value: 2, insteadOf: 1 } as const] : []),
    ...settingsOn(uplink, hasIp6 ? UPLINK6 : []),
  ];
}

/** Addresses that others of the LAN, or beyond it, send to. */
export function announcedOf({ sources, nat }: Pick<PortBinding, "sources" | "nat">): RoutedWish["announced"] {
  const own = sources.flatMap(({ what }) =>
    (what.kind === "address4" && nat === undefined) || (what.kind === "address6" && !isLinkLocal6(what.address))
      ? [what.address]
      : [],
  );
  return nat === undefined ? own : [...publicAddresses(nat), ...own];
}

/** @param port its name */
export function routedWish(
  port: InterfaceName,
  binding: PortBinding,
  uplink: RoutedWish["uplink"],
  { gives }: Routed,
  { prefix6 }: Pick<NetworkSpec, "prefix6">,
): RoutedWish {
  const hasIp6 = prefix6 !== undefined;
  const { nat } = binding;
  const shared = nat === undefined ? [] : publicItems(nat, uplink.ifindex);
  const items = routedItems(binding, uplink.ifindex, hasIp6, shared);
  const settings = routedSettings(
    { ifindex: binding.ifindex, device: port },
    { ifindex: uplink.ifindex, device: uplink.name },
    gives,
    hasIp6,
  );
  return { uplink, items, settings, announced: announcedOf(binding), ...(shared.length === 0 ? {} : { shared }) };
}
