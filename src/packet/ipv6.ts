/** IPv6: fixed header, the chain of extension headers (RFC 8200 sections 3 and 4) and the head of an ICMPv6 message (RFC 4443). */
import type { Codec } from "./codec.ts";
import { createReader, type Reading, strict, unreadable } from "./reader.ts";
import { createWriter } from "./writer.ts";

export interface Ipv6Packet {
  readonly trafficClass: number;
  readonly flowLabel: number;
  readonly nextHeader: number;
  readonly hopLimit: number;
  /** 16 octets each. */
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
  /** Extension headers and what follows them. */
  readonly payload: Uint8Array;
}

/** Has a value as soon as the fixed header is whole; then the payload is what there is of it. */
export function readIpv6(bytes: Uint8Array): Reading<Ipv6Packet> {
  const reader = createReader(bytes);
  const first = reader.u32();
  const payloadLength = reader.u16();
  const [nextHeader, hopLimit] = [reader.u8(), reader.u8()];
  const [source, destination] = [reader.bytes(16), reader.bytes(16)];
  if (bytes.length > 0 && (bytes[0] ?? 0) >> 4 !== 6) return unreadable("unsupported");
  if (reader.truncated) return unreadable("truncated");
  const rest = reader.rest();
  const value = {
    trafficClass: (first >>> 20) & 255,
    flowLabel: first & 0x000f_ffff,
    nextHeader,
    hopLimit,
    source,
    destination,
    payload: rest.subarray(0, payloadLength),
  };
  if (payloadLength > rest.length) return { value, fault: "truncated" };
  return { value, fault: payloadLength < rest.length ? "trailing-bytes" : undefined };
}

export const ipv6Codec: Codec<Ipv6Packet> = {
  name: "ipv6",
  decode: (bytes) => strict(readIpv6(bytes)),
  encode: (packet) =>
    createWriter()
      .u32((6 << 28) | (packet.trafficClass << 20) | packet.flowLabel)
      .u16(packet.payload.length)
      .u8(packet.nextHeader)
      .u8(packet.hopLimit)
      .bytes(packet.source)
      .bytes(packet.destination)
      .bytes(packet.payload)
      .done(),
};

export interface ExtensionHeader {
  /** Its number as a "next header". */
  readonly type: number;
  /** Octets of it, and where it begins in the payload. */
  readonly length: number;
  readonly at: number;
}

export interface HeaderChain {
  readonly headers: readonly ExtensionHeader[];
  /** Octets in the unfragmented packet and whether more follow; undefined without a fragment header. */
  readonly fragment: { readonly offset: number; readonly more: boolean } | undefined;
  /** The protocol behind the last header read, and where it begins in the payload. */
  readonly protocol: number;
  readonly at: number;
  /** "upper": `protocol` begins at `at`. Otherwise it cannot be seen, and this is why. */
  readonly end: "upper" | "nothing" | "later-fragment" | "truncated" | "too-many";
}

export const extensionHeaders = {
  hopByHop: 0,
  routing: 43,
  fragment: 44,
  authentication: 51,
  none: 59,
  destination: 60,
  mobility: 135,
  hip: 139,
  shim6: 140,
} as const;

const { fragment: FRAGMENT, none: NONE, authentication: AUTHENTICATION } = extensionHeaders;
const extensions = new Set<number>(Object.values(extensionHeaders).filter((type) => type !== NONE));

/** Not from an RFC: each kind is to appear once (section 4.1), so a longer chain is made to hide something. */
const MOST_HEADERS = 8;

/** Follows the chain as far as the bytes allow. Encrypted payloads (ESP, 50) count as an upper protocol. */
export function walkHeaders({ nextHeader, payload }: Ipv6Packet): HeaderChain {
  const headers: ExtensionHeader[] = [];
  let [protocol, at] = [nextHeader, 0];
  let fragment: HeaderChain["fragment"];
  const stop = (end: HeaderChain["end"]): HeaderChain => ({ headers, fragment, protocol, at, end });
  while (extensions.has(protocol)) {
    if (headers.length === MOST_HEADERS) return stop("too-many");
    const length = extensionLength(protocol, payload[at + 1]);
    if (at + length > payload.length) return stop("truncated");
    headers.push({ type: protocol, at, length });
    if (protocol === FRAGMENT) fragment = readFragment(payload, at);
    protocol = payload[at] ?? NONE;
    at += length;
    if (fragment !== undefined && fragment.offset > 0) return stop("later-fragment");
  }
  return stop(protocol === NONE ? "nothing" : "upper");
}

/** @param octet the second octet of the header; undefined when it is not there */
function extensionLength(type: number, octet: number | undefined): number {
  if (octet === undefined) return Number.POSITIVE_INFINITY;
  if (type === FRAGMENT) return 8;
  // RFC 4302 section 2.2 counts words and takes two off; all others count eights and take one off.
  return type === AUTHENTICATION ? (octet + 2) * 4 : (octet + 1) * 8;
}

function readFragment(payload: Uint8Array, at: number): { readonly offset: number; readonly more: boolean } {
  const field = (payload[at + 2] ?? 0) * 256 + (payload[at + 3] ?? 0);
  return { offset: field & 0xfff8, more: (field & 1) !== 0 };
}

export interface Icmp6Head {
  readonly type: number;
  readonly code: number;
  /** Of neighbour solicitation, advertisement and redirect (RFC 4861 section 4); 16 octets. */
  readonly target: Uint8Array | undefined;
}

const TARGETED: readonly number[] = [135, 136, 137];

/** The checksum is not judged. */
export function readIcmp6(bytes: Uint8Array): Reading<Icmp6Head> {
  const reader = createReader(bytes);
  const [type, code] = [reader.u8(), reader.u8()];
  reader.bytes(6);
  if (reader.truncated) return unreadable("truncated");
  const target = TARGETED.includes(type) ? reader.bytes(16) : undefined;
  return reader.truncated ? unreadable("truncated") : { value: { type, code, target }, fault: undefined };
}
