/**
 * Why a frame was dropped: one word per line of the guard contract, with a stable number.
 * The number travels in the packet mark from the deciding rule to the drop counter and the drop log, so it never changes meaning.
 */
export const reasonTable = {
  unbound: { code: 1, says: "the port has no binding: closed from birth" },
  "mac-source": { code: 2, says: "source MAC is not the port's own" },
  vlan: { code: 3, says: "VLAN tag of any kind" },
  ethertype: { code: 4, says: "outermost type is not ARP, IPv4 or IPv6" },
  "arp-shape": { code: 5, says: "ARP packet is not Ethernet/IPv4 request or reply, or not whole" },
  "arp-sender": { code: 6, says: "ARP sender is not the port's MAC with one of its addresses" },
  "arp-target": { code: 7, says: "ARP target is outside the network, or a reply that announces somebody else" },
  "ip4-source": { code: 8, says: "IPv4 source is not one of the port's addresses" },
  "ip4-shape": { code: 9, says: "IPv4 options, tiny or overlapping fragments, or a header that is not whole" },
  "dhcp-client": { code: 10, says: "DHCP request that is not this client's own" },
  "dhcp-server": { code: 11, says: "DHCP server traffic from a guest, or not from the host's responder" },
  broadcast: { code: 12, says: "broadcast that is neither an ARP request nor DHCP" },
  multicast: { code: 13, says: "multicast the network does not allow" },
  "ip6-source": { code: 14, says: "IPv6 source is not one of the port's addresses" },
  nd: { code: 15, says: "neighbour discovery with a false or hidden part" },
  ra: { code: 16, says: "router advertisement or redirect" },
  "ip6-shape": { code: 17, says: "IPv6 extension headers or fragments that hide something" },
  "dest-mac": { code: 18, says: "destination MAC is not one this port may speak to" },
  host: { code: 19, says: "service of the host that the network does not offer" },
  tunnel: { code: 20, says: "tunnel to a host" },
  "rate-arp": { code: 21, says: "more ARP than the port's share" },
  "rate-nd": { code: 22, says: "more neighbour discovery than the port's share" },
  "rate-dhcp": { code: 23, says: "more DHCP than the port's share" },
  "rate-syn": { code: 24, says: "more new flows than the port's share" },
  "rate-packets": { code: 25, says: "more packets than the port's share" },
  "rate-bytes": { code: 26, says: "more bytes than the port's share" },
  "conn-limit": { code: 27, says: "more tracked connections than the port's share" },
  "policy-egress": { code: 28, says: "no security group lets the guest use this service" },
  "policy-ingress": { code: 29, says: "no security group lets this reach the guest" },
  "rate-multicast": { code: 31, says: "more multicast, IGMP or MLD than the port's share" },
  "not-for-guest": { code: 30, says: "addressed to somebody else" },
  astray: { code: 33, says: "routed to or from where the network has no way" },
  "no-lease": { code: 34, says: "the guest has no lease: it may ask for one, and nothing else" },
  untranslated: { code: 35, says: "a private address on its way out or in that no public address stands for" },
  routing: { code: 36, says: "a routing protocol spoken to somebody: OSPF, EIGRP, RIP, Babel" },
  "conn-state": { code: 32, says: "packet of no connection that is known, or of an invalid one" },
} as const satisfies Record<string, { readonly code: number; readonly says: string }>;

export type Reason = keyof typeof reasonTable;
/** Whose frame it was: sent by the guest, or on its way to the guest. */
export type Direction = "from-guest" | "to-guest";

const byCode = new Map<number, Reason>();
for (const [reason, { code }] of Object.entries(reasonTable)) byCode.set(code, reason as Reason);

export function reasonFromCode(code: number): Reason | undefined {
  return byCode.get(code);
}
