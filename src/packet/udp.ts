/** UDP datagrams (RFC 768). The checksum is carried, not judged: it covers the IP addresses, and offload leaves it unfinished on a host. */
import type { Ipv4Address } from "../model/ipv4.ts";
import { checksum, pseudoHeader4 } from "./checksum.ts";
import type { Codec, Rejection } from "./codec.ts";
import { ipProtocols } from "./ipv4.ts";
import { createReader, type Reading, strict, unreadable } from "./reader.ts";
import { createWriter } from "./writer.ts";

export interface UdpDatagram {
  readonly sourcePort: number;
  readonly destinationPort: number;
  /** As it stands in the header; 0 means none (IPv4 only). */
  readonly checksum: number;
  readonly payload: Uint8Array;
}

const HEADER = 8;

/** Has a value as soon as the header is whole; a length below 8 is passed over for the payload. */
export function readUdp(bytes: Uint8Array): Reading<UdpDatagram> {
  const reader = createReader(bytes);
  const [sourcePort, destinationPort, length, sum] = [reader.u16(), reader.u16(), reader.u16(), reader.u16()];
  if (reader.truncated) return unreadable("truncated");
  const payload = length < HEADER ? reader.rest() : bytes.subarray(HEADER, length);
  return { value: { sourcePort, destinationPort, checksum: sum, payload }, fault: faultOf(length, bytes.length) };
}

function faultOf(said: number, there: number): Rejection | undefined {
  if (said < HEADER) return "bad-length";
  if (said > there) return "truncated";
  return said < there ? "trailing-bytes" : undefined;
}

export const udpCodec: Codec<UdpDatagram> = {
  name: "udp",
  decode: (bytes) => strict(readUdp(bytes)),
  encode: (datagram) =>
    createWriter()
      .u16(datagram.sourcePort)
      .u16(datagram.destinationPort)
      .u16(HEADER + datagram.payload.length)
      .u16(datagram.checksum)
      .bytes(datagram.payload)
      .done(),
};

/** The checksum a datagram between these addresses must have; one that comes out as 0 is sent as all ones. */
export function udp4Checksum(source: Ipv4Address, destination: Ipv4Address, datagram: UdpDatagram): number {
  const bytes = udpCodec.encode({ ...datagram, checksum: 0 });
  return checksum(pseudoHeader4(source, destination, ipProtocols.udp, bytes.length), bytes) || 0xffff;
}
