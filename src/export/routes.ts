/** Static routes for routers that are told by hand: one line for every address of a guest, in the router's words. */

import { bytesText } from "../model/bytes.ts";
import { GuardError } from "../model/errors.ts";
import { blockOctets, type IpAddress, isIpv6, parseIpBlock } from "../model/ip-block.ts";
import { netmask4, parsePrefix4 } from "../model/ipv4.ts";
import { unreachable } from "../model/never.ts";
import type { RouteView } from "../model/operations.ts";
import { notExportable, origin } from "./site.ts";

export const routeFormats = ["ip", "frr", "bird", "cisco", "json"] as const;
/** `ip`: commands of iproute2. `cisco`: what Cisco IOS and its many imitators take. */
export type RouteFormat = (typeof routeFormats)[number];

export interface RoutesWish {
  /** All when there is none. */
  readonly networks: readonly string[];
  /** In place of the host's own address, one for a family at most. */
  readonly via: readonly IpAddress[];
  /** What is attached nowhere leads to nothing, rather than being left out. */
  readonly blackhole: boolean;
}

/** A line of a router's table; without `via` whatever is sent there is thrown away. */
export interface StaticRoute {
  readonly family: 4 | 6;
  readonly prefix: string;
  readonly via?: string;
  readonly guest: string;
  readonly nic: number;
}

const familyOf = (prefix: string): 4 | 6 => (prefix.includes(":") ? 6 : 4);

function viaOf(view: RouteView, { via }: RoutesWish): string {
  const said = via.find((address) => isIpv6(address) === (familyOf(view.prefix) === 6));
  const found = said ?? view.via;
  if (found !== undefined) return found;
  const says = `the uplink of network '${view.network}' has no IPv${familyOf(view.prefix)} address to send ${view.prefix} to: name one with --via`;
  throw notExportable(says, { network: view.network });
}

function staticRoute(view: RouteView, wish: RoutesWish): readonly StaticRoute[] {
  const { prefix, guest, nic } = view;
  const own = { family: familyOf(prefix), prefix, guest, nic };
  if (view.port !== undefined) return [{ ...own, via: viaOf(view, wish) }];
  // Another host's agent knows that host's address.
  return view.host === undefined && wish.blackhole ? [own] : [];
}

function sortKey({ family, prefix }: StaticRoute): string {
  const block = parseIpBlock(prefix);
  const first = block === undefined ? new Uint8Array() : blockOctets(block).first;
  return bytesText(Uint8Array.of(family, ...first, Number(prefix.split("/")[1])));
}

/**
 * By address, IPv4 first: the same state is always the same text.
 * @throws NOT_FOUND, NOT_EXPORTABLE
 */
export function staticRoutes(views: readonly RouteView[], wish: RoutesWish): readonly StaticRoute[] {
  const missing = wish.networks.find((name) => !views.some(({ network }) => network === name));
  if (missing !== undefined)
    throw new GuardError("NOT_FOUND", `network '${missing}' has no guest, is not routed, or does not exist`, {
      fields: { network: missing },
    });
  const wanted = views.filter(({ network }) => wish.networks.length === 0 || wish.networks.includes(network));
  // A public address may be several guests': it is where one of them is attached.
  const placed = new Set(wanted.flatMap(({ prefix, host }) => (host === undefined ? [] : [prefix])));
  return wanted
    .filter(({ prefix, host }) => host !== undefined || !placed.has(prefix))
    .flatMap((view) => staticRoute(view, wish))
    .map((route) => ({ route, key: sortKey(route) }))
    .sort((a, b) => (a.key < b.key ? -1 : Number(a.key > b.key)))
    .filter(({ key }, n, all) => key !== all[n - 1]?.key)
    .map(({ route }) => route);
}

type Lines = readonly string[];

const ipLine = ({ family, prefix, via }: StaticRoute): string =>
  `ip${family === 6 ? " -6" : ""} route replace ${via === undefined ? `blackhole ${prefix}` : `${prefix} via ${via}`}`;

const frrLine = ({ family, prefix, via = "blackhole" }: StaticRoute): string =>
  `${family === 4 ? "ip" : "ipv6"} route ${prefix} ${via}`;

function ciscoLine({ family, prefix, via = "Null0" }: StaticRoute): string {
  const prefix4 = family === 4 ? parsePrefix4(prefix) : undefined;
  if (prefix4 === undefined) return `ipv6 route ${prefix} ${via}`;
  return `ip route ${prefix4.slice(0, prefix4.indexOf("/"))} ${netmask4(prefix4)} ${via}`;
}

function birdLines(routes: readonly StaticRoute[]): Lines {
  return ([4, 6] as const).flatMap((family) => {
    const own = routes.filter((route) => route.family === family);
    if (own.length === 0) return [];
    const lines = own.map(
      (route) =>
        `  route ${route.prefix} ${route.via === undefined ? "blackhole" : `via ${route.via}`}; ${whose("#", route)}`,
    );
    return [`protocol static vifguard_static${family} {`, `  ipv${family};`, ...lines, "}"];
  });
}

const whose = (mark: string, { guest, nic }: StaticRoute): string => `${mark} ${guest} NIC ${nic}`;

/** Cisco and FRR take no remark behind a command. */
const remarked = (routes: readonly StaticRoute[], line: (route: StaticRoute) => string): Lines =>
  routes.flatMap((route) => [whose("!", route), line(route)]);

function linesOf(routes: readonly StaticRoute[], format: Exclude<RouteFormat, "json">): Lines {
  switch (format) {
    case "ip":
      return routes.map((route) => `${ipLine(route)} ${whose("#", route)}`);
    case "frr":
      return remarked(routes, frrLine);
    case "cisco":
      return remarked(routes, ciscoLine);
    case "bird":
      return birdLines(routes);
    default:
      return unreachable(format);
  }
}

export function renderRoutes(routes: readonly StaticRoute[], format: RouteFormat): string {
  if (format === "json") return `${JSON.stringify(routes, undefined, 2)}\n`;
  const mark = format === "frr" || format === "cisco" ? "!" : "#";
  return `${[`${mark} ${origin("routes")}`, ...linesOf(routes, format)].join("\n")}\n`;
}
