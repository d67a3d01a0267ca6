/** A frame from the outermost layer inwards, as far as it can be read. Total: it never throws, never guesses, and says what it could not read and why. */
import type { Ipv4Address } from "../model/ipv4.ts";
import { BROADCAST_MAC, type MacAddress } from "../model/mac.ts";
import { type ArpPacket, arpCodec, arpOperations, readArp, readArpShape } from "./arp.ts";
import type { Rejection } from "./codec.ts";
import { dhcp4Codec } from "./dhcp4.ts";
import type { Dhcp4Message } from "./dhcp4-message.ts";
import { type EthernetFrame, ethernetCodec, etherTypes, FIRST_ETHERTYPE, readEthernet } from "./ethernet.ts";
import { type Icmp4Message, readIcmp4 } from "./icmp4.ts";
import { type IgmpMessage, readIgmp } from "./igmp.ts";
import { type Ipv4Packet, ipProtocols, ipv4Codec, ipv4Flags, isFragment, readIpv4 } from "./ipv4.ts";
import { type HeaderChain, type Icmp6Head, type Ipv6Packet, readIcmp6, readIpv6, walkHeaders } from "./ipv6.ts";
import { accessPoints, type LlcPacket, readLlc, readSnap, type SnapPacket } from "./llc.ts";
import { createReader, type Reading } from "./reader.ts";
import { type Bpdu, readStp } from "./stp.ts";
import { readTcp, type TcpSegment } from "./tcp.ts";
import { readUdp, type UdpDatagram, udp4Checksum, udpCodec } from "./udp.ts";
import { readVlan, type VlanTag } from "./vlan.ts";

/** `bytes` is what the layer was read from, with everything inside and behind it. */
interface Place<Kind extends string> {
  readonly kind: Kind;
  readonly bytes: Uint8Array;
  /** The header was read, but this is wrong with it; a frame that was logged is often "truncated". */
  readonly fault: Rejection | undefined;
}

export type Layer =
  | (Place<"ethernet"> & EthernetFrame)
  | (Place<"vlan"> & VlanTag & { readonly tpid: number })
  /** `length` is what the frame claims. */
  | (Place<"llc"> & LlcPacket & { readonly length: number })
  | (Place<"snap"> & SnapPacket)
  | (Place<"stp"> & Bpdu)
  | (Place<"arp"> & ArpPacket)
  | (Place<"ipv4"> & Ipv4Packet)
  | (Place<"icmp4"> & Icmp4Message)
  | (Place<"igmp"> & IgmpMessage)
  | (Place<"tcp"> & TcpSegment)
  | (Place<"udp"> & UdpDatagram)
  | (Place<"dhcp4"> & Dhcp4Message)
  | (Place<"ipv6"> & Ipv6Packet & { readonly chain: HeaderChain })
  | (Place<"icmp6"> & Icmp6Head)
  | Unread;

/** Where reading ended. "unsupported" means that it is nothing we know how to read; any other reason, that it is broken. */
export interface Unread {
  readonly kind: "unread";
  readonly bytes: Uint8Array;
  readonly what: string;
  readonly why: Rejection;
}

export interface Frame {
  /** Octets there were; fewer than were on the wire when the frame was logged cut short. */
  readonly length: number;
  readonly layers: readonly Layer[];
}

export function decodeFrame(bytes: Uint8Array): Frame {
  const read = readEthernet(bytes);
  if (read.value === undefined) return { length: bytes.length, layers: [unread("Ethernet", bytes, read.fault)] };
  const { type, payload } = read.value;
  return {
    length: bytes.length,
    layers: [{ kind: "ethernet", bytes, fault: read.fault, ...read.value }, ...readType(type, payload, 1)],
  };
}

type Layers = readonly Layer[];

/** Not from a standard: tags and encapsulations one inside the other. No switch looks deeper. */
const DEEPEST = 8;

const tagTypes: readonly number[] = [etherTypes.vlan, etherTypes.providerVlan, 0x9100, 0x9200];

const hex = (value: number, digits = 4): string => `0x${value.toString(16).padStart(digits, "0")}`;

function unread(what: string, bytes: Uint8Array, why: Rejection): Unread {
  return { kind: "unread", what, bytes, why };
}

function readType(type: number, bytes: Uint8Array, depth: number): Layers {
  if (depth > DEEPEST) return [unread("nested tags", bytes, "unsupported")];
  if (tagTypes.includes(type)) return readTag(type, bytes, depth);
  if (type < FIRST_ETHERTYPE) return read8023(type, bytes, depth);
  switch (type) {
    case etherTypes.arp:
      return readArpLayer(bytes);
    case etherTypes.ipv4:
      return readIpv4Layers(bytes);
    case etherTypes.ipv6:
      return readIpv6Layers(bytes);
    default:
      return [unread(etherTypeNames.get(type) ?? `EtherType ${hex(type)}`, bytes, "unsupported")];
  }
}

/** What operators meet on a LAN besides IP; guests have no business with any of it. */
const etherTypeNames: ReadonlyMap<number, string> = new Map([
  [0x8035, "RARP"],
  [0x8808, "flow control"],
  [0x8809, "LACP"],
  [0x880b, "PPP"],
  [0x8847, "MPLS"],
  [0x8848, "MPLS multicast"],
  [0x8863, "PPPoE discovery"],
  [0x8864, "PPPoE"],
  [0x888e, "EAPOL"],
  [0x88cc, "LLDP"],
  [0x88e5, "MACsec"],
  [0x88f7, "PTP"],
  [0x8906, "FCoE"],
  [0x9000, "loopback"],
]);

function readTag(tpid: number, bytes: Uint8Array, depth: number): Layers {
  const { value, fault } = readVlan(bytes);
  if (value === undefined) return [unread("VLAN tag", bytes, fault)];
  return [{ kind: "vlan", tpid, bytes, fault, ...value }, ...readType(value.type, value.payload, depth + 1)];
}

function read8023(length: number, bytes: Uint8Array, depth: number): Layers {
  const inside = bytes.subarray(0, length);
  const { value, fault } = readLlc(inside);
  if (value === undefined) return [unread("802.2 LLC", inside, fault)];
  const cut = length > bytes.length ? "truncated" : undefined;
  const llc: Layer = { kind: "llc", length, bytes: inside, fault: cut, ...value };
  if (value.dsap !== value.ssap || value.control !== 3) return [llc];
  if (value.dsap === accessPoints.snap) return [llc, ...readSnapLayers(value.payload, depth)];
  return value.dsap === accessPoints.spanningTree ? [llc, readStpLayer(value.payload)] : [llc];
}

function readSnapLayers(bytes: Uint8Array, depth: number): Layers {
  const { value, fault } = readSnap(bytes);
  if (value === undefined) return [unread("SNAP", bytes, fault)];
  const snap: Layer = { kind: "snap", bytes, fault, ...value };
  return value.oui === 0 ? [snap, ...readType(value.protocol, value.payload, depth + 1)] : [snap];
}

function readStpLayer(bytes: Uint8Array): Layer {
  const { value, fault } = readStp(bytes);
  return value === undefined ? unread("STP BPDU", bytes, fault) : { kind: "stp", bytes, fault, ...value };
}

function readArpLayer(bytes: Uint8Array): Layers {
  const { value, fault } = readArp(bytes);
  if (value !== undefined) return [{ kind: "arp", bytes, fault: unlessPadding(fault), ...value }];
  if (fault !== "unsupported") return [unread("ARP", bytes, fault)];
  const { hardware, protocol, hardwareLength, protocolLength } = readArpShape(bytes);
  const shape = `hardware ${hardware} protocol ${hex(protocol)} lengths ${hardwareLength}/${protocolLength}`;
  return [unread(`ARP ${shape}`, bytes, fault)];
}

/** Short frames are padded to 60 octets by their sender (IEEE 802.3 section 3.2.8). */
function unlessPadding(fault: Rejection | undefined): Rejection | undefined {
  return fault === "trailing-bytes" ? undefined : fault;
}

function readIpv4Layers(bytes: Uint8Array): Layers {
  const { value, fault } = readIpv4(bytes);
  if (value === undefined) return [unread("IPv4", bytes, fault)];
  const ipv4: Layer = { kind: "ipv4", bytes, fault: unlessPadding(fault), ...value };
  if (value.offset > 0) return [ipv4];
  return [ipv4, ...readTransport(value.protocol, value.payload, isFragment(value) || ipv4.fault !== undefined)];
}

function readIpv6Layers(bytes: Uint8Array): Layers {
  const { value, fault } = readIpv6(bytes);
  if (value === undefined) return [unread("IPv6", bytes, fault)];
  const chain = walkHeaders(value);
  const ipv6: Layer = { kind: "ipv6", bytes, fault: unlessPadding(fault), ...value, chain };
  if (chain.end !== "upper") return [ipv6];
  const inside = value.payload.subarray(chain.at);
  return [ipv6, ...readTransport(chain.protocol, inside, chain.fragment?.more === true || ipv6.fault !== undefined)];
}

/** @param partial a fragment, cut short or inside a broken packet: lengths and checksums cannot be right and are not judged */
function readTransport(protocol: number, bytes: Uint8Array, partial: boolean): Layers {
  switch (protocol) {
    case ipProtocols.icmp:
      return orUnread("ICMP", bytes, readIcmp4(bytes), (value, fault) => [
        { kind: "icmp4", bytes, fault: partial ? undefined : fault, ...value },
      ]);
    case ipProtocols.igmp:
      return orUnread("IGMP", bytes, readIgmp(bytes), (value, fault) => [
        { kind: "igmp", bytes, fault: partial ? undefined : fault, ...value },
      ]);
    case ipProtocols.tcp:
      return orUnread("TCP", bytes, readTcp(bytes), (value, fault) => [{ kind: "tcp", bytes, fault, ...value }]);
    case ipProtocols.udp:
      return orUnread("UDP", bytes, readUdp(bytes), (value, fault) => [
        { kind: "udp", bytes, fault: partial ? undefined : fault, ...value },
        ...(isDhcp(value) ? [readDhcpLayer(value.payload)] : []),
      ]);
    case ipProtocols.icmp6:
      return orUnread("ICMPv6", bytes, readIcmp6(bytes), (value, fault) => [{ kind: "icmp6", bytes, fault, ...value }]);
    default:
      return [unread(protocolNames[protocol] ?? `IP protocol ${protocol}`, bytes, "unsupported")];
  }
}

/** Tunnels and what speaks for routers. */
const protocolNames: Readonly<Record<number, string>> = {
  4: "IPv4 in IP",
  41: "IPv6 in IP",
  47: "GRE",
  50: "ESP",
  51: "AH",
  88: "EIGRP",
  89: "OSPF",
  97: "EtherIP",
  103: "PIM",
  112: "VRRP",
  115: "L2TP",
  132: "SCTP",
};

function orUnread<T>(
  what: string,
  bytes: Uint8Array,
  { value, fault }: Reading<T>,
  layers: (value: T, fault: Rejection | undefined) => Layers,
): Layers {
  return value === undefined ? [unread(what, bytes, fault ?? "unsupported")] : layers(value, fault);
}

const DHCP_PORTS: readonly number[] = [67, 68];

function isDhcp({ sourcePort, destinationPort }: UdpDatagram): boolean {
  return DHCP_PORTS.includes(sourcePort) || DHCP_PORTS.includes(destinationPort);
}

function readDhcpLayer(bytes: Uint8Array): Layer {
  const read = dhcp4Codec.decode(bytes);
  if (read.ok) return { kind: "dhcp4", bytes, fault: undefined, ...read.value };
  return unread(`DHCP${dhcpHead(bytes)}`, bytes, read.why);
}

/** The first fields of RFC 2131 section 2: all there is when a message was logged cut short of its options. */
function dhcpHead(bytes: Uint8Array): string {
  const reader = createReader(bytes);
  const [op, hardware] = [reader.u8(), reader.u16()];
  reader.u8();
  const xid = reader.u32();
  reader.bytes(20);
  const chaddr = reader.mac();
  if (reader.truncated || hardware !== 0x0106) return "";
  return ` ${op === 1 ? "request" : "reply"} xid ${xid.toString(16)} chaddr ${chaddr}`;
}

/** Where the frame says it comes from and goes to; by default what ARP itself says, requests to everybody. */
export interface ArpLink {
  readonly source?: MacAddress;
  readonly destination?: MacAddress;
}

/** A whole Ethernet frame without padding. */
export function buildArp(packet: ArpPacket, link: ArpLink = {}): Uint8Array {
  const answeree = packet.operation === arpOperations.reply ? packet.targetMac : BROADCAST_MAC;
  return ethernetCodec.encode({
    destination: link.destination ?? answeree,
    source: link.source ?? packet.senderMac,
    type: etherTypes.arp,
    payload: arpCodec.encode(packet),
  });
}

export interface UdpEnd {
  readonly mac: MacAddress;
  readonly address: Ipv4Address;
  readonly port: number;
}

/** A whole Ethernet frame with true lengths and checksums. */
export function buildUdp4(from: UdpEnd, to: UdpEnd, payload: Uint8Array): Uint8Array {
  const datagram = { sourcePort: from.port, destinationPort: to.port, checksum: 0, payload };
  const packet: Ipv4Packet = {
    tos: 0,
    id: 0,
    flags: ipv4Flags.dontFragment,
    offset: 0,
    ttl: 64,
    protocol: ipProtocols.udp,
    source: from.address,
    destination: to.address,
    options: new Uint8Array(0),
    payload: udpCodec.encode({ ...datagram, checksum: udp4Checksum(from.address, to.address, datagram) }),
  };
  return ethernetCodec.encode({
    destination: to.mac,
    source: from.mac,
    type: etherTypes.ipv4,
    payload: ipv4Codec.encode(packet),
  });
}
