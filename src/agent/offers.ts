/** What the DHCP responder may say on a port: all of it from the store, nothing from the packet. */
import type { PortOffer } from "../addressing/responder.ts";
import type { Guest, NetworkSpec, NicIdentity } from "../model/resources.ts";

/** undefined when the NIC has no IPv4 address to offer. */
export function portOffer(guest: Guest, nic: NicIdentity, network: NetworkSpec): PortOffer | undefined {
  const address = nic.addresses4[0];
  if (address === undefined) return undefined;
  const { leaseSeconds, dns, ntp, domain, search, mtu, routes } = network.addressing;
  return {
    mac: nic.mac,
    address,
    prefix: network.prefix4,
    gateway: network.gateway4,
    // Renewals go to this address by unicast; the guard takes every DHCP request on the port itself, so it need not be ours on the LAN.
    serverId: network.gateway4,
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
