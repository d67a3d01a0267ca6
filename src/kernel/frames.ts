/** Seam to frames: what the ruleset sends up through NFLOG, and frames put on one port. */

/** A frame the ruleset logged, whole from the Ethernet header on (cut to the rule's snaplen). */
export interface LoggedFrame {
  /** Port it came in by (netdev ingress); 0 when it was logged on the way out. */
  readonly inIfindex: number;
  /** Port it was leaving by (netdev egress); 0 otherwise. */
  readonly outIfindex: number;
  /** Packet mark; the drop reason's code in drop logs. */
  readonly mark: number;
  readonly bytes: Uint8Array;
}

export interface OutgoingFrame {
  readonly ifindex: number;
  readonly bytes: Uint8Array;
}

export interface Frames {
  /**
   * Everything logged to an NFLOG group, in batches as the kernel hands them over.
   * `lost` is called when the socket overflowed. The byte arrays are the receiver's to keep.
   */
  subscribe(group: number, frames: (batch: readonly LoggedFrame[]) => void, lost: () => void): { close(): void };
  /**
   * Sends each frame out of its port, with the packet mark these frames were opened with; the port's egress chain judges them by it.
   * A port that is gone or down loses its frame silently. Returns how many were handed to the kernel.
   */
  send(frames: readonly OutgoingFrame[]): number;
  close(): void;
}
