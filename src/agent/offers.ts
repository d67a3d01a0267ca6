/** What the DHCP responder may say on a port: all of it from the store, nothing from the packet. */

import type { Variant } from "../addressing/client-class.ts";
import { RESPONDER_MAC } from "../addressing/neighbour-answers.ts";
import type { PortOffer, PortOffer6 } from "../addressing/responder.ts";
import { toldOptions4, toldOptions6 } from "../addressing/told-options.ts";
import type { NicTell, Tell } from "../model/dhcp.ts";
import { type Ipv4Address, parsePrefix4 } from "../model/ipv4.ts";
import { macToBytes } from "../model/mac.ts";
import type { Guest, ManagedAddressing, NetworkSpec, NicIdentity, NicSpec } from "../model/resources.ts";
import { subnetOf } from "../model/transport.ts";
import { isRouted, PORT_GATEWAY4 } from "../model/wiring.ts";
import { address6Of } from "../plan/sources.ts";

/** What the guest takes its link for. Renewals go to the server's address by unicast; the guard takes every DHCP request on the port itself, so it need not be ours on the LAN. */
function linkOf(network: NetworkSpec, address: Ipv4Address): Pick<PortOffer, "prefix" | "gateway" | "serverId"> {
  const { wiring } = network;
  const alone = isRouted(wiring) && wiring.gives === "address" ? parsePrefix4(`${address}/32`) : undefined;
  const { prefix, gateway } = subnetOf(network, address);
  if (alone === undefined) return { prefix, gateway, serverId: gateway };
  return { prefix: alone, gateway: PORT_GATEWAY4, serverId: PORT_GATEWAY4 };
}

/** What a client is told, by the network, its class and the NIC: the later word stands, and options add up by number. */
function tellOf({ addressing }: Managed, classes: Tell | undefined, nic: NicTell | undefined): NicTell {
  const { domain, search, mtu, dns, dns6, ntp, ntp6, boot, options, options6 } = addressing;
  const network: Tell = {
    dns,
    dns6,
    ntp,
    search,
    ...(ntp6 === undefined ? {} : { ntp6 }),
    ...(domain === undefined ? {} : { domain }),
    ...(mtu === undefined ? {} : { mtu }),
  };
  const words = [{ boot, options, options6 }, classes ?? {}, nic ?? {}];
  return {
    ...network,
    ...classes,
    ...nic,
    boot: Object.assign({}, ...words.map((word) => word.boot ?? {})),
    options: lastOfEach(words.flatMap((word) => word.options ?? [])),
    options6: lastOfEach(words.flatMap((word) => word.options6 ?? [])),
  };
}

function lastOfEach<T extends { readonly code: number }>(options: readonly T[]): readonly T[] {
  return [...new Map(options.map((option) => [option.code, option])).values()];
}

type Managed = NetworkSpec & { readonly addressing: ManagedAddressing };

const isManaged = (network: NetworkSpec): network is Managed => network.addressing.kind === "managed";

/** The offer of each class, and of clients that are of none. */
function withVariants<Offer>(
  network: Managed,
  nic: NicTell | undefined,
  make: (tell: NicTell) => Offer,
): Offer & { readonly variants: readonly Variant<Offer>[] } {
  const variants = (network.addressing.classes ?? []).map(({ when, tell }) => ({
    when,
    offer: make(tellOf(network, tell, nic)),
  }));
  return { ...make(tellOf(network, undefined, nic)), variants };
}

/** undefined when the NIC has no IPv4 address to offer, or must not be offered one. */
export function portOffer(
  guest: Guest,
  nic: NicIdentity,
  spec: NicSpec | undefined,
  network: NetworkSpec,
): PortOffer | undefined {
  const address = nic.addresses4[0];
  if (address === undefined || !isManaged(network)) return undefined;
  const { leaseSeconds, routes } = network.addressing;
  const link = linkOf(network, address);
  return withVariants(network, spec?.tell, (tell) => ({
    mac: nic.mac,
    address,
    ...link,
    leaseSeconds,
    dns: tell.dns ?? [],
    ntp: tell.ntp ?? [],
    hostname: tell.hostname ?? guest.spec.hostname ?? guest.name,
    ...(tell.domain === undefined ? {} : { domain: tell.domain }),
    search: tell.search ?? [],
    ...(tell.mtu === undefined ? {} : { mtu: tell.mtu }),
    routes,
    ...(tell.boot === undefined ? {} : { boot: tell.boot }),
    options: toldOptions4(tell.options ?? []),
  }));
}

/** DUID-LL of the responder (RFC 8415 section 11.4). */
const SERVER_ID = Uint8Array.of(0, 3, 0, 1, ...macToBytes(RESPONDER_MAC));

const searchOf = ({ search = [], domain }: Tell): readonly string[] =>
  search.length > 0 || domain === undefined ? search : [domain];

/** undefined when the network has no IPv6, or tells nobody an address. */
export function portOffer6(
  guest: Guest,
  identity: NicIdentity,
  spec: NicSpec | undefined,
  network: NetworkSpec,
): PortOffer6 | undefined {
  const address = spec === undefined ? undefined : address6Of({ spec, identity }, network);
  if (address === undefined || !isManaged(network)) return undefined;
  const { leaseSeconds } = network.addressing;
  return withVariants(network, spec?.tell, (tell) => ({
    mac: identity.mac,
    address,
    serverId: SERVER_ID,
    leaseSeconds,
    dns: tell.dns6 ?? [],
    ntp: tell.ntp6 ?? [],
    hostname: tell.hostname ?? guest.spec.hostname ?? guest.name,
    ...(tell.domain === undefined ? {} : { domain: tell.domain }),
    search: searchOf(tell),
    ...(tell.boot?.url === undefined ? {} : { bootUrl: tell.boot.url }),
    options: toldOptions6(tell.options6 ?? []),
  }));
}
