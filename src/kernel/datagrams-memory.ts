/** Datagrams in memory: the test is the network, and says what arrives. */
import { GuardError } from "../model/errors.ts";
import type { IpAddress } from "../model/ip-block.ts";
import type { Datagram, Datagrams } from "./datagrams.ts";

export interface SentDatagram {
  readonly from: IpAddress;
  readonly to: IpAddress;
  readonly port: number;
  readonly bytes: Uint8Array;
}

export interface MemoryDatagrams extends Datagrams {
  readonly sent: readonly SentDatagram[];
  /** Whether somebody heard it. */
  deliver(to: IpAddress, port: number, datagram: Datagram): boolean;
}

/** @param own addresses of the host; the first of a family is what it speaks with */
export function memoryDatagrams(own: readonly IpAddress[]): MemoryDatagrams {
  const sent: SentDatagram[] = [];
  const open = new Map<string, (datagram: Datagram) => void>();
  const place = (address: IpAddress, port: number): string => `${address}|${port}`;
  return {
    sent,
    sourceTo: async (other) => own.find((address) => address.includes(":") === other.includes(":")),
    open: async (address, port, received) => {
      const at = place(address, port);
      if (!own.includes(address) || open.has(at))
        throw new GuardError("KERNEL_REFUSED", `UDP port ${port} of ${address} cannot be had`);
      open.set(at, received);
      return {
        send: (to, toPort, bytes) => {
          sent.push({ from: address, to, port: toPort, bytes });
          open.get(place(to, toPort))?.({ from: address, bytes });
        },
        close: () => {
          open.delete(at);
        },
      };
    },
    deliver: (to, port, datagram) => {
      const received = open.get(place(to, port));
      received?.(datagram);
      return received !== undefined;
    },
  };
}
