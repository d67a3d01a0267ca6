/** What of a NIC routers are told: everything that is its alone and not of the link itself. */
import type { IpBlock, NetworkSpec } from "../model/resources.ts";
import { address6Of, type SiteNic } from "./sources.ts";

export function announcedBlocks(nic: SiteNic, network: NetworkSpec): readonly IpBlock[] {
  const address6 = address6Of(nic, network);
  return [
    ...nic.identity.addresses4.map((address): IpBlock => ({ kind: "address4", address })),
    ...(address6 === undefined ? [] : [{ kind: "address6", address: address6 } as const]),
    ...nic.spec.addresses,
  ];
}

/** The text of a block, with its length. */
export function routePrefix(block: IpBlock): string {
  if ("prefix" in block) return block.prefix;
  return `${block.address}/${block.kind === "address4" ? 32 : 128}`;
}
