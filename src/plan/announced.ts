/** What of a NIC routers are told: everything that is its alone and not of the link itself. */
import type { Ipv4Prefix } from "../model/ipv4.ts";
import type { Ipv6Prefix } from "../model/ipv6.ts";
import type { IpBlock, NetworkSpec } from "../model/resources.ts";
import { publicAddresses, translationOf } from "./nat.ts";
import { address6Of, type SiteNic } from "./sources.ts";

export function announcedBlocks(nic: SiteNic, network: NetworkSpec): readonly IpBlock[] {
  const { wiring } = network;
  const address6 = address6Of(nic, network);
  const fours = wiring.kind === "nat" ? publicAddresses(translationOf(nic.spec, [], wiring)) : nic.identity.addresses4;
  return [
    ...fours.map((address): IpBlock => ({ kind: "address4", address })),
    ...(address6 === undefined ? [] : [{ kind: "address6", address: address6 } as const]),
    ...nic.spec.addresses.filter(({ kind }) => wiring.kind !== "nat" || kind === "address6"),
  ];
}

/** Of whose single addresses there is to tell: a private prefix is the same behind every host. */
export const announcedPrefixes = ({ prefix4, prefix6, wiring }: NetworkSpec): readonly (Ipv4Prefix | Ipv6Prefix)[] => [
  ...(wiring.kind === "nat" ? [] : [prefix4]),
  ...(prefix6 === undefined ? [] : [prefix6]),
];

/** The text of a block, with its length. */
export function routePrefix(block: IpBlock): string {
  if ("prefix" in block) return block.prefix;
  return `${block.address}/${block.kind === "address4" ? 32 : 128}`;
}
