/** Seam to asking a link who has an address (RFC 5227 section 2.1), by the kernel's own neighbour table: it sends the question, and takes up the answer. */
import type { MacAddress } from "../model/mac.ts";

export interface Probes {
  /** What was known is forgotten and asked anew. False where the entry is not the kernel's to change (permanent), or the interface is gone. */
  ask(ifindex: number, address: Uint8Array): boolean;
  /** Who answered so far. */
  answer(ifindex: number, address: Uint8Array): MacAddress | undefined;
  /** Takes the question back, and with it what was answered. */
  forget(ifindex: number, address: Uint8Array): void;
  close(): void;
}
