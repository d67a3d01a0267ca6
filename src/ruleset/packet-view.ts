/**
 * A frame as nf_tables sees it in a netdev hook: where a field is, and whether it is there at all (a rule whose field is not there is skipped).
 * It follows nft_payload.c, nf_tables_ipv4.h, nf_tables_ipv6.h and ipv6_find_hdr() of Linux; the differential test holds it to them.
 */
import { be16 } from "../model/bytes.ts";
import { type Field, fields } from "./ast.ts";

export type Direction = "from" | "to";

export interface PacketView {
  /** The octets of the field, as wide as `fields` says; undefined where the kernel would skip the rule. */
  read(field: Field): Uint8Array | undefined;
  /** False where the frame ends before the field, or the field is not of the frame. */
  write(field: Field, bytes: Uint8Array): boolean;
  readonly hasRoutingHeader: boolean;
  /** Destination address of an IPv4 or IPv6 packet. */
  readonly destination: Uint8Array | undefined;
}

/** Everything that is not in the frame. */
export interface PortFacts {
  readonly direction: Direction;
  readonly ifindex: Uint8Array;
  readonly mark: () => Uint8Array;
}

const NETWORK = 14;
const [ROUTING, FRAGMENT, AUTH, NONE] = [43, 44, 51, 59];
/** ipv6_ext_hdr() of the kernel. */
const WALKED: readonly number[] = [0, ROUTING, FRAGMENT, AUTH, NONE, 60];

interface Transport {
  readonly protocol: number;
  readonly offset: number;
  readonly isLater: boolean;
}

const u16 = (bytes: Uint8Array, at: number): number => (bytes[at] ?? 0) * 256 + (bytes[at + 1] ?? 0);

/** __nft_set_pktinfo_ipv4_validate() */
function transport4(frame: Uint8Array): Transport | undefined {
  const there = frame.length - NETWORK;
  const header = (frame[NETWORK] ?? 0) & 15;
  const length = u16(frame, NETWORK + 2);
  if (there < 20 || (frame[NETWORK] ?? 0) >> 4 !== 4 || header < 5) return undefined;
  if (there < length || length < header * 4) return undefined;
  const isLater = (u16(frame, NETWORK + 6) & 0x1fff) !== 0;
  return { protocol: frame[NETWORK + 9] ?? 0, offset: NETWORK + header * 4, isLater };
}

interface Found {
  readonly next: number;
  readonly at: number;
  readonly isLater: boolean;
}

interface Header6 {
  readonly next: number;
  readonly at: number;
  /** What stands behind it, by its own word. */
  readonly inner: number;
  /** last: not to be walked past. later: a fragment that is not the first, behind which nothing can be read. */
  readonly kind: "walked" | "later" | "last";
}

const isLast = (next: number): boolean => !WALKED.includes(next) || next === NONE;

/** The steps of ipv6_find_hdr(); ends early where the frame does. */
function* headers6(frame: Uint8Array): Generator<Header6> {
  let [at, next] = [NETWORK + 40, frame[NETWORK + 6] ?? 0];
  while (!isLast(next)) {
    if (at + (next === ROUTING || next === FRAGMENT ? 4 : 2) > frame.length) return;
    const inner = frame[at] ?? 0;
    const isLater = next === FRAGMENT && (u16(frame, at + 2) & 0xfff8) !== 0;
    yield { next, at, inner, kind: isLater ? "later" : "walked" };
    if (isLater) return;
    at += lengthOf(next, frame[at + 1] ?? 0);
    next = inner;
  }
  yield { next, at, inner: next, kind: "last" };
}

function findExtension(frame: Uint8Array, target: number): Found | undefined {
  for (const { next, at, kind } of headers6(frame)) {
    if (next === target) return { next, at, isLater: kind === "later" };
  }
  return undefined;
}

/** Without a target ipv6_find_hdr() stops at AH too. */
function findTransport(frame: Uint8Array): Found | undefined {
  for (const { next, at, inner, kind } of headers6(frame)) {
    if (kind === "later") return isLast(inner) ? { next: inner, at: 0, isLater: true } : undefined;
    if (kind === "last" || next === AUTH) return { next, at, isLater: false };
  }
  return undefined;
}

function lengthOf(header: number, octet: number): number {
  if (header === FRAGMENT) return 8;
  return header === AUTH ? (octet + 2) * 4 : (octet + 1) * 8;
}

/** __nft_set_pktinfo_ipv6_validate() */
function transport6(frame: Uint8Array): Transport | undefined {
  const there = frame.length - NETWORK;
  if (there < 40 || (frame[NETWORK] ?? 0) >> 4 !== 6 || u16(frame, NETWORK + 4) + 40 > there) return undefined;
  const found = findTransport(frame);
  if (found === undefined || found.at > 0xffff) return undefined;
  // ipv6_find_hdr() leaves the offset of a later fragment as it was: at the header itself.
  return { protocol: found.next, offset: found.isLater ? NETWORK : found.at, isLater: found.isLater };
}

function transportOf(frame: Uint8Array, type: number): Transport | undefined {
  if (type === 0x0800) return transport4(frame);
  return type === 0x86dd ? transport6(frame) : undefined;
}

/** `@nh,96,32` and the like. */
const RAW = /^@(ll|nh|th),(\d+),(\d+)$/;

function slice(frame: Uint8Array, base: number, bitOffset: number, bits: number): Uint8Array | undefined {
  const first = base + Math.floor(bitOffset / 8);
  const last = base + Math.ceil((bitOffset + bits) / 8);
  if (last > frame.length) return undefined;
  if (bits >= 8) return frame.subarray(first, last);
  const shift = 8 - (bitOffset % 8) - bits;
  return Uint8Array.of(((frame[first] ?? 0) >> shift) & ((1 << bits) - 1));
}

function destinationOf(frame: Uint8Array, type: number): Uint8Array | undefined {
  if (type === 0x0800) return slice(frame, NETWORK, 128, 32);
  return type === 0x86dd ? slice(frame, NETWORK, 192, 128) : undefined;
}

/** Fields of 1, 2 and 4 octets are read by nft_payload_fast_eval(), which does not ask whether the fragment is a later one; all others are not. */
function transportStart(transport: Transport | undefined, bits: number): number | undefined {
  const isFast = [8, 16, 32].includes(bits);
  return transport === undefined || (transport.isLater && !isFast) ? undefined : transport.offset;
}

/** @param frame is written to by `write` */
export function viewPacket(frame: Uint8Array, port: PortFacts): PacketView {
  const type = u16(frame, 12);
  const transport = transportOf(frame, type);

  function readMeta(field: Field): Uint8Array | undefined {
    switch (field) {
      case "iif":
        return port.direction === "from" ? port.ifindex : undefined;
      case "oif":
        return port.direction === "to" ? port.ifindex : undefined;
      case "mark":
        return port.mark();
      case "length":
        return lengthField(frame.length - (port.direction === "from" ? NETWORK : 0));
      case "transport":
        return transport === undefined ? undefined : Uint8Array.of(transport.protocol);
      case "ip6FragmentOffset":
        return fragmentOffset(frame, type);
      default:
        return undefined;
    }
  }

  /** Of whole octets a window on the frame itself. */
  function octets(field: Field): Uint8Array | undefined {
    const [, base, offset, bits] = RAW.exec(fields[field].nft) ?? [];
    if (base === undefined) return readMeta(field);
    const start = base === "th" ? transportStart(transport, Number(bits)) : { ll: 0, nh: NETWORK }[base];
    return start === undefined ? undefined : slice(frame, start, Number(offset), Number(bits));
  }

  return {
    read: octets,
    write: (field, bytes) => {
      const place = RAW.test(fields[field].nft) ? octets(field) : undefined;
      if (place?.length !== bytes.length) return false;
      place.set(bytes);
      return true;
    },
    hasRoutingHeader: type === 0x86dd && findExtension(frame, ROUTING) !== undefined,
    destination: destinationOf(frame, type),
  };
}

/** Compared as a number, so in network order here. */
const lengthField = (value: number): Uint8Array => Uint8Array.of(0, 0, ...be16(value));

function fragmentOffset(frame: Uint8Array, type: number): Uint8Array | undefined {
  const found = type === 0x86dd ? findExtension(frame, FRAGMENT) : undefined;
  return found === undefined || found.at + 4 > frame.length ? undefined : be16(u16(frame, found.at + 2) >> 3);
}
