/** What one port may put on the wire, and what may be put on it, in a second, by kind of frame: token buckets in the kernel. */

/** Octets for `bytes` and `toGuestBytes`, frames for all others. `burst` is how much may come at once after a silence. */
export interface Share {
  readonly perSecond: number;
  readonly burst: number;
}

/**
 * No normal server feels these; who needs more, or less, says so per network or NIC.
 *
 * arp, nd: a host asks once for every neighbour it speaks to and refreshes each about once a minute (Linux: base_reachable_time 30 s), so 50/s keeps
 *   3 000 neighbours fresh; a /24 is scanned at once out of the burst.
 * dhcp: a client sends two messages for a lease and four in the first minute when nobody answers (RFC 2131 section 4.1).
 * multicast: VRRP sends one a second for each group, mDNS and MLD a few; video by multicast needs more and must be allowed anyway.
 * syn: new TCP flows. A busy crawler or proxy opens some hundred a second; a port scan or SYN flood is what opens thousands without end.
 * packets: 10 Gbit/s in frames of 1500 octets is 812 000/s, but a guest on a virtual NIC hands over larger ones; 64-octet floods stop here.
 * bytes: 10 Gbit/s.
 * toGuestPackets: what many machines send to one guest cannot be kept at their ports. Policed where it leaves the host's path, at the port's egress: nothing
 *   is queued for a guest that does not keep up. Five senders at their own share of packets; a flood by the whole LAN stops here.
 * toGuestBytes: 10 Gbit/s, as for bytes.
 */
export const defaultRates = {
  arp: { perSecond: 50, burst: 300 },
  nd: { perSecond: 50, burst: 300 },
  dhcp: { perSecond: 20, burst: 40 },
  multicast: { perSecond: 100, burst: 200 },
  syn: { perSecond: 2_000, burst: 5_000 },
  packets: { perSecond: 300_000, burst: 150_000 },
  bytes: { perSecond: 1_250_000_000, burst: 312_500_000 },
  toGuestPackets: { perSecond: 1_500_000, burst: 750_000 },
  toGuestBytes: { perSecond: 1_250_000_000, burst: 312_500_000 },
} as const satisfies Readonly<Record<string, Share>>;

export type RateName = keyof typeof defaultRates;
export type Rates = Readonly<Record<RateName, Share>>;
/** What an operator set; the rest is taken from the network, then from the defaults. */
export type RateSettings = Readonly<Partial<Record<RateName, Share>>>;

export function ratesOf(...settings: readonly RateSettings[]): Rates {
  return Object.assign({}, defaultRates, ...settings);
}
