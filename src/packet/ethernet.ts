/** Ethernet II and IEEE 802.3 frames without preamble and check sequence (IEEE 802.3 section 3.1.1). */
import type { MacAddress } from "../model/mac.ts";
import type { Codec } from "./codec.ts";
import { createReader, type Reading, strict, unreadable } from "./reader.ts";
import { createWriter } from "./writer.ts";

export interface EthernetFrame {
  readonly destination: MacAddress;
  readonly source: MacAddress;
  /** EtherType; below 0x0600 the length of an 802.3 frame (IEEE 802.3 section 3.2.6). */
  readonly type: number;
  /** A view of the bytes read, padding included. */
  readonly payload: Uint8Array;
}

export const etherTypes = {
  ipv4: 0x0800,
  arp: 0x0806,
  vlan: 0x8100,
  ipv6: 0x86dd,
  providerVlan: 0x88a8,
} as const;

/** The smallest number that is a type; what is below is a length. */
export const FIRST_ETHERTYPE = 0x0600;

export function readEthernet(bytes: Uint8Array): Reading<EthernetFrame> {
  const reader = createReader(bytes);
  const [destination, source, type] = [reader.mac(), reader.mac(), reader.u16()];
  if (reader.truncated) return unreadable("truncated");
  return { value: { destination, source, type, payload: reader.rest() }, fault: undefined };
}

export const ethernetCodec: Codec<EthernetFrame> = {
  name: "ethernet",
  decode: (bytes) => strict(readEthernet(bytes)),
  encode: ({ destination, source, type, payload }) =>
    createWriter().mac(destination).mac(source).u16(type).bytes(payload).done(),
};
