/** TCP segments (RFC 9293 section 3.1). As with UDP the checksum is carried, not judged. */
import type { Codec } from "./codec.ts";
import { createReader, type Reading, strict, unreadable } from "./reader.ts";
import { createWriter } from "./writer.ts";

export interface TcpSegment {
  readonly sourcePort: number;
  readonly destinationPort: number;
  readonly sequence: number;
  readonly acknowledgement: number;
  /** Twelve bits: four reserved ones, then the eight control bits, see `tcpFlags`. */
  readonly flags: number;
  readonly window: number;
  readonly checksum: number;
  readonly urgent: number;
  /** Whole words, padding included; 40 octets at most. */
  readonly options: Uint8Array;
  readonly payload: Uint8Array;
}

/** From the lowest bit upwards. */
export const tcpFlags = ["fin", "syn", "rst", "psh", "ack", "urg", "ece", "cwr"] as const;

const HEADER = 20;

export function readTcp(bytes: Uint8Array): Reading<TcpSegment> {
  const reader = createReader(bytes);
  const [sourcePort, destinationPort] = [reader.u16(), reader.u16()];
  const [sequence, acknowledgement] = [reader.u32(), reader.u32()];
  const offsetAndFlags = reader.u16();
  const [window, sum, urgent] = [reader.u16(), reader.u16(), reader.u16()];
  if (reader.truncated) return unreadable("truncated");
  const headerLength = (offsetAndFlags >> 12) * 4;
  if (headerLength < HEADER) return unreadable("bad-length");
  const options = reader.bytes(headerLength - HEADER);
  if (reader.truncated) return unreadable("truncated");
  const flags = offsetAndFlags & 0x0fff;
  const payload = reader.rest();
  return {
    value: {
      sourcePort,
      destinationPort,
      sequence,
      acknowledgement,
      flags,
      window,
      checksum: sum,
      urgent,
      options,
      payload,
    },
    fault: undefined,
  };
}

export const tcpCodec: Codec<TcpSegment> = {
  name: "tcp",
  decode: (bytes) => strict(readTcp(bytes)),
  encode: (segment) =>
    createWriter()
      .u16(segment.sourcePort)
      .u16(segment.destinationPort)
      .u32(segment.sequence)
      .u32(segment.acknowledgement)
      .u16((((HEADER + segment.options.length) / 4) << 12) | (segment.flags & 0x0fff))
      .u16(segment.window)
      .u16(segment.checksum)
      .u16(segment.urgent)
      .bytes(segment.options)
      .bytes(segment.payload)
      .done(),
};
