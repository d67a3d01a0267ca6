/** How long what a guest gave up is nobody else's: an agent that is cut off, or a neighbour's table, may still know the old owner. */

/** Longer than an agent takes to restart, an etcd to elect and a LAN to forget a neighbour; short against what a pool has to spare. */
export const COOL_DOWN_SECONDS = 600;

/** Of the network that the address is of, or the NIC that had the MAC; 0: what is given up is free at once. */
export const coolDownOf = (network: { readonly coolDown?: number } | undefined): number =>
  network?.coolDown ?? COOL_DOWN_SECONDS;

/** What a guest gave up and nobody else has yet. */
export interface Cooling {
  /** By the clock of the host that wrote it, for people, who read it as it stands (RFC 3339): what ends it is the store's own lease. */
  readonly until: string;
}
