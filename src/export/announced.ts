/** What routers may be told of a site: the host routes inside the prefixes of networks whose hosts route, and what else is behind their guests. */
import { bytesText } from "../model/bytes.ts";
import { GuardError } from "../model/errors.ts";
import { blockHolds, blockOctets, parseIpBlock } from "../model/ip-block.ts";
import type { InterfaceName, ObjectName } from "../model/names.ts";
import type { IpBlock, NetworkSpec } from "../model/resources.ts";
import { announcingUplink } from "../model/wiring.ts";
import { announcedBlocks, announcedPrefixes, routePrefix } from "../plan/announced.ts";
import { nicsOf } from "../plan/sources.ts";
import { type ExportedSite, type MacMatters, notExportable } from "./site.ts";

/** `BASE/LENGTH`, or with `hosts` every single address inside it. */
export interface Announced {
  readonly family: 4 | 6;
  readonly base: string;
  readonly length: number;
  readonly hosts: boolean;
}

export interface AnnouncedWish {
  /** All that are announced when there is none. */
  readonly networks: readonly string[];
  /** Every address of a guest by itself, in place of the networks' prefixes. */
  readonly exact: boolean;
}

export interface AnnouncedSite {
  /** By address, each family for itself. */
  readonly blocks4: readonly Announced[];
  readonly blocks6: readonly Announced[];
  /** Where the hosts meet their routers. */
  readonly uplinks: readonly InterfaceName[];
}

type RoutedNetwork = readonly [ObjectName, NetworkSpec];

/** @throws NOT_FOUND, NOT_EXPORTABLE */
function announcedNetworks(site: ExportedSite, names: readonly string[]): readonly RoutedNetwork[] {
  const known = [...site.networks].filter(([name]) => names.length === 0 || names.includes(name));
  const missing = names.find((name) => !known.some(([found]) => found === name));
  if (missing !== undefined)
    throw new GuardError("NOT_FOUND", `network '${missing}' does not exist`, { fields: { network: missing } });
  const routed = known.filter(([, { wiring }]) => announcingUplink(wiring) !== undefined);
  const [other] = names.length === 0 ? [] : known.filter((network) => !routed.includes(network));
  if (other !== undefined)
    throw notExportable(`network '${other[0]}' is ${other[1].wiring.kind}: routers find its guests by themselves`);
  if (routed.length === 0)
    throw notExportable("no network is routed, transport or nat: there is nothing that routers have to be told");
  return routed.sort(([a], [b]) => (a < b ? -1 : 1));
}

/** Which MACs make an address that is named. */
export const announcedMacs =
  ({ networks, exact }: AnnouncedWish): MacMatters =>
  ({ prefix6, wiring }, { address6 }, { network }) =>
    exact &&
    prefix6 !== undefined &&
    address6 === undefined &&
    announcingUplink(wiring) !== undefined &&
    (networks.length === 0 || networks.includes(network));

const prefixesOf = (network: NetworkSpec): readonly IpBlock[] =>
  announcedPrefixes(network).flatMap((text) => parseIpBlock(text) ?? []);

function announced(block: IpBlock, hosts: boolean): Announced {
  const [base = "", length = ""] = routePrefix(block).split("/");
  return { family: base.includes(":") ? 6 : 4, base, length: Number(length), hosts: hosts && "prefix" in block };
}

/** What the NICs of a network have that no host route inside its prefixes names. */
function besides(
  guests: ExportedSite["guests"],
  [name, network]: RoutedNetwork,
  prefixes: readonly IpBlock[],
): readonly IpBlock[] {
  const isInside = (block: IpBlock): boolean =>
    "address" in block && prefixes.some((prefix) => blockHolds(prefix, block.address));
  return [...guests.values()].flatMap((guest) =>
    nicsOf(guest).flatMap((nic) => {
      if (nic.identity.network !== name) return [];
      return announcedBlocks(nic, network).filter((block) => !isInside(block));
    }),
  );
}

/**
 * In order, so that the same site is always the same text.
 * @throws NOT_FOUND, NOT_EXPORTABLE
 */
export function announcedSite(site: ExportedSite, { networks: names, exact }: AnnouncedWish): AnnouncedSite {
  const networks = announcedNetworks(site, names);
  const found = new Map<string, { readonly key: string; readonly block: Announced }>();
  const put = (block: IpBlock, hosts: boolean): void => {
    const { first } = blockOctets(block);
    const own = announced(block, hosts);
    found.set(`${routePrefix(block)} ${own.hosts}`, {
      key: bytesText(Uint8Array.of(...first, own.length)),
      block: own,
    });
  };
  for (const network of networks) {
    const prefixes = exact ? [] : prefixesOf(network[1]);
    for (const prefix of prefixes) put(prefix, true);
    for (const block of besides(site.guests, network, prefixes)) put(block, false);
  }
  const sorted = [...found.values()].sort((a, b) => (a.key < b.key ? -1 : 1)).map(({ block }) => block);
  return {
    blocks4: sorted.filter(({ family }) => family === 4),
    blocks6: sorted.filter(({ family }) => family === 6),
    uplinks: [...new Set(networks.flatMap(([, { wiring }]) => announcingUplink(wiring) ?? []))].sort(),
  };
}
