/** Seam to UDP as the host itself speaks it, of either family: from an address of the host, to servers elsewhere. */
import type { IpAddress } from "../model/ip-block.ts";

export interface Datagram {
  readonly from: IpAddress;
  readonly bytes: Uint8Array;
}

export interface DatagramSocket {
  /** What cannot be sent is lost, as on the way. */
  send(to: IpAddress, port: number, bytes: Uint8Array): void;
  close(): void;
}

export interface Datagrams {
  /** The host's address that it would speak to the other with; undefined when there is no way. */
  sourceTo(other: IpAddress): Promise<IpAddress | undefined>;
  /** @throws KERNEL_REFUSED when the host has no such address, or the port is somebody else's */
  open(address: IpAddress, port: number, received: (datagram: Datagram) => void): Promise<DatagramSocket>;
}
