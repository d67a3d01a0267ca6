/** Links that are asked, in memory: who answers is said beforehand. */
import type { MacAddress } from "../model/mac.ts";
import type { Probes } from "./probes.ts";

export interface MemoryProbes extends Probes {
  /** From now on this machine answers for the address. */
  place(ifindex: number, address: Uint8Array, mac: MacAddress): void;
  /** Questions that were not taken back. */
  open(): number;
}

const placeOf = (ifindex: number, address: Uint8Array): string => `${ifindex} ${address.join(".")}`;

export function memoryProbes(): MemoryProbes {
  const machines = new Map<string, MacAddress>();
  const asked = new Set<string>();
  return {
    ask: (ifindex, address) => {
      asked.add(placeOf(ifindex, address));
      return true;
    },
    answer: (ifindex, address) => {
      const place = placeOf(ifindex, address);
      return asked.has(place) ? machines.get(place) : undefined;
    },
    forget: (ifindex, address) => void asked.delete(placeOf(ifindex, address)),
    close: () => asked.clear(),
    place: (ifindex, address, mac) => void machines.set(placeOf(ifindex, address), mac),
    open: () => asked.size,
  };
}
