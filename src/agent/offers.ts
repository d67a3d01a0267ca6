/** What the DHCP responder may say on a port: all of it from the store, nothing from the packet. */
import { RESPONDER_MAC } from "../addressing/neighbour-answers.ts";
import type { PortOffer, PortOffer6 } from "../addressing/responder.ts";
import { type Ipv4Address, parsePrefix4 } from "../model/ipv4.ts";
import { macToBytes } from "../model/mac.ts";
import type { Guest, NetworkSpec, NicIdentity, NicSpec } from "../model/resources.ts";
import { subnetOf } from "../model/transport.ts";
import { PORT_GATEWAY4 } from "../model/wiring.ts";
import { address6Of } from "../plan/sources.ts";

/** What the guest takes its link for. Renewals go to the server's address by unicast; the guard takes every DHCP request on the port itself, so it need not be ours on the LAN. */
function linkOf(network: NetworkSpec, address: Ipv4Address): Pick<PortOffer, "prefix" | "gateway" | "serverId"> {
  const { wiring } = network;
  const alone = wiring.kind === "routed" && wiring.gives === "address" ? parsePrefix4(`${address}/32`) : undefined;
  const { prefix, gateway } = subnetOf(network, address);
  if (alone === undefined) return { prefix, gateway, serverId: gateway };
  return { prefix: alone, gateway: PORT_GATEWAY4, serverId: PORT_GATEWAY4 };
}

/** undefined when the NIC has no IPv4 address to offer. */
export function portOffer(guest: Guest, nic: NicIdentity, network: NetworkSpec): PortOffer | undefined {
  const address = nic.addresses4[0];
  if (address === undefined) return undefined;
  const { leaseSeconds, dns, ntp, domain, search, mtu, routes } = network.addressing;
  return {
    mac: nic.mac,
    address,
    ...linkOf(network, address),
    leaseSeconds,
    dns,
    ntp,
    hostname: guest.spec.hostname ?? guest.name,
    ...(domain === undefined ? {} : { domain }),
    search,
    ...(mtu === undefined ? {} : { mtu }),
    routes,
  };
}

/** DUID-LL of the responder (RFC 8415 section 11.4). */
const SERVER_ID = Uint8Array.of(0, 3, 0, 1, ...macToBytes(RESPONDER_MAC));

/** undefined when the network has no IPv6. */
export function portOffer6(
  identity: NicIdentity,
  spec: NicSpec | undefined,
  network: NetworkSpec,
): PortOffer6 | undefined {
  const address = spec === undefined ? undefined : address6Of({ spec, identity }, network);
  if (address === undefined) return undefined;
  const { leaseSeconds, dns6, search, domain } = network.addressing;
  return {
    mac: identity.mac,
    address,
    serverId: SERVER_ID,
    leaseSeconds,
    dns: dns6,
    search: search.length > 0 || domain === undefined ? search : [domain],
  };
}
