/** A frame from the outermost layer inwards, as far as it can be read. For logs and explanations: it never throws and never guesses. */
import { type Ipv4Address, ipv4FromBytes } from "../model/ipv4.ts";
import { type MacAddress, macFromBytes } from "../model/mac.ts";
import { dhcp4Codec } from "./dhcp4.ts";
import type { Dhcp4Message } from "./dhcp4-message.ts";

export type Layer =
  | { readonly kind: "ethernet"; readonly destination: MacAddress; readonly source: MacAddress; readonly type: number }
  | {
      readonly kind: "vlan";
      readonly tpid: number;
      readonly id: number;
      readonly priority: number;
      readonly type: number;
    }
  | { readonly kind: "llc"; readonly length: number; readonly dsap: number; readonly ssap: number }
  | { readonly kind: "bpdu"; readonly version: number; readonly type: number }
  | {
      readonly kind: "arp";
      readonly operation: number;
      readonly senderMac: MacAddress;
      readonly senderIp: Ipv4Address;
      readonly targetMac: MacAddress;
      readonly targetIp: Ipv4Address;
    }
  | {
      readonly kind: "ipv4";
      readonly source: Ipv4Address;
      readonly destination: Ipv4Address;
      readonly protocol: number;
      readonly options: number;
      /** In octets. */
      readonly offset: number;
      readonly more: boolean;
    }
  | { readonly kind: "udp"; readonly source: number; readonly destination: number }
  | { readonly kind: "tcp"; readonly source: number; readonly destination: number; readonly flags: number }
  | { readonly kind: "icmp"; readonly type: number; readonly code: number }
  | { readonly kind: "igmp"; readonly type: number; readonly group: Ipv4Address }
  | { readonly kind: "ipv6"; readonly source: string; readonly destination: string; readonly nextHeader: number }
  | { readonly kind: "dhcp"; readonly message: Dhcp4Message }
  /** What came next could not be read, and why. */
  | { readonly kind: "unread"; readonly what: string; readonly why: "truncated" | "malformed" };

export interface Frame {
  readonly length: number;
  readonly layers: readonly Layer[];
}

/** Reads big-endian numbers; past the end it answers zeros and remembers that it did. */
class Cursor {
  readonly bytes: Uint8Array;
  at = 0;
  truncated = false;
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
  u8(): number {
    const value = this.bytes[this.at];
    this.at += 1;
    if (value === undefined) this.truncated = true;
    return value ?? 0;
  }
  u16(): number {
    return this.u8() * 256 + this.u8();
  }
  skip(count: number): this {
    this.at += count;
    return this;
  }
  mac(): MacAddress {
    return macFromBytes(this.take(6));
  }
  ip(): Ipv4Address {
    return ipv4FromBytes(this.take(4));
  }
  take(count: number): Uint8Array {
    const part = this.bytes.subarray(this.at, this.at + count);
    if (part.length < count) this.truncated = true;
    this.at += count;
    return part;
  }
  rest(): Uint8Array {
    return this.bytes.subarray(this.at);
  }
}

const VLAN_TYPES: readonly number[] = [0x8100, 0x88a8, 0x9100, 0x9200];
/** Tags deep: more than any switch understands. */
const MOST_TAGS = 4;

function readArp(cursor: Cursor): Layer {
  const shape = [cursor.u16(), cursor.u16(), cursor.u8(), cursor.u8()];
  if (String(shape) !== String([1, 0x0800, 6, 4]))
    return {
      kind: "unread",
      what: `ARP with shape ${shape.join("/")}`,
      why: cursor.truncated ? "truncated" : "malformed",
    };
  const operation = cursor.u16();
  return {
    kind: "arp",
    operation,
    senderMac: cursor.mac(),
    senderIp: cursor.ip(),
    targetMac: cursor.mac(),
    targetIp: cursor.ip(),
  };
}

function readIpv4(cursor: Cursor): readonly Layer[] {
  const first = cursor.u8();
  const headerLength = (first & 15) * 4;
  cursor.skip(5);
  const fragment = cursor.u16();
  cursor.skip(1);
  const protocol = cursor.u8();
  cursor.skip(2);
  const source = cursor.ip();
  const destination = cursor.ip();
  if (first >> 4 !== 4 || headerLength < 20)
    return [{ kind: "unread", what: "IPv4 header", why: cursor.truncated ? "truncated" : "malformed" }];
  const layer: Layer = {
    kind: "ipv4",
    source,
    destination,
    protocol,
    options: headerLength - 20,
    offset: (fragment & 0x1fff) * 8,
    more: (fragment & 0x2000) !== 0,
  };
  cursor.skip(headerLength - 20);
  return layer.offset > 0 ? [layer] : [layer, ...readTransport(protocol, cursor)];
}

function readTransport(protocol: number, cursor: Cursor): readonly Layer[] {
  switch (protocol) {
    case 1:
      return [{ kind: "icmp", type: cursor.u8(), code: cursor.u8() }];
    case 2: {
      const type = cursor.u8();
      cursor.skip(3);
      return [{ kind: "igmp", type, group: cursor.ip() }];
    }
    case 6: {
      const [source, destination] = [cursor.u16(), cursor.u16()];
      cursor.skip(9);
      return [{ kind: "tcp", source, destination, flags: cursor.u8() }];
    }
    case 17:
      return readUdp(cursor);
    default:
      return [];
  }
}

function readUdp(cursor: Cursor): readonly Layer[] {
  const [source, destination] = [cursor.u16(), cursor.u16()];
  cursor.skip(4);
  const udp: Layer = { kind: "udp", source, destination };
  if (![67, 68].includes(source) && ![67, 68].includes(destination)) return [udp];
  const dhcp = dhcp4Codec.decode(cursor.rest());
  return [
    udp,
    dhcp.ok
      ? { kind: "dhcp", message: dhcp.value }
      : { kind: "unread", what: "DHCP message", why: dhcp.why === "truncated" ? "truncated" : "malformed" },
  ];
}

function readIpv6(cursor: Cursor): Layer {
  cursor.skip(6);
  const nextHeader = cursor.u8();
  cursor.skip(1);
  const address = (): string => Array.from({ length: 8 }, () => cursor.u16().toString(16)).join(":");
  return { kind: "ipv6", source: address(), destination: address(), nextHeader };
}

function readLlc(length: number, cursor: Cursor): readonly Layer[] {
  const [dsap, ssap] = [cursor.u8(), cursor.u8()];
  const llc: Layer = { kind: "llc", length, dsap, ssap };
  if (dsap !== 0x42 || ssap !== 0x42) return [llc];
  cursor.skip(3);
  return [llc, { kind: "bpdu", version: cursor.u8(), type: cursor.u8() }];
}

function readPayload(type: number, cursor: Cursor): readonly Layer[] {
  if (type < 0x0600) return readLlc(type, cursor);
  if (type === 0x0806) return [readArp(cursor)];
  if (type === 0x0800) return readIpv4(cursor);
  if (type === 0x86dd) return [readIpv6(cursor)];
  return [];
}

export function decodeFrame(bytes: Uint8Array): Frame {
  const cursor = new Cursor(bytes);
  const [destination, source] = [cursor.mac(), cursor.mac()];
  let type = cursor.u16();
  const layers: Layer[] = [{ kind: "ethernet", destination, source, type }];
  while (VLAN_TYPES.includes(type) && layers.length <= MOST_TAGS) {
    const [tpid, tci] = [type, cursor.u16()];
    type = cursor.u16();
    layers.push({ kind: "vlan", tpid, id: tci & 0xfff, priority: tci >> 13, type });
  }
  const headersWhole = !cursor.truncated;
  layers.push(...(headersWhole ? readPayload(type, cursor) : []));
  if (cursor.truncated)
    layers.push({ kind: "unread", what: headersWhole ? "the last header" : "the Ethernet header", why: "truncated" });
  return { length: bytes.length, layers };
}
