/** DHCP as a guest and a server elsewhere speak it, for tests of ports whose addresses are learned. */
import { type Ipv4Address, ipv4FromNumber, ipv4ToBytes, parseIpv4 } from "../../src/model/ipv4.ts";
import { BROADCAST_MAC, type MacAddress, macToBytes, parseMac } from "../../src/model/mac.ts";
import { dhcp4Codec } from "../../src/packet/dhcp4.ts";
import type { Dhcp4Message, DhcpType } from "../../src/packet/dhcp4-message.ts";
import { dhcp4Options as known } from "../../src/packet/dhcp4-options.ts";
import { withUdpSum } from "../../src/packet/udp-sum.ts";

export function ip4(text: string): Ipv4Address {
  const address = parseIpv4(text);
  if (address === undefined) throw new TypeError(text);
  return address;
}

export function macOf(text: string): MacAddress {
  const mac = parseMac(text);
  if (mac === undefined) throw new TypeError(text);
  return mac;
}

export const ANY4: Ipv4Address = ipv4FromNumber(0);
const ALL4 = ip4("255.255.255.255");

export interface Said {
  readonly mac: MacAddress;
  readonly type: DhcpType;
  readonly xid?: number;
  readonly fields?: Partial<Dhcp4Message>;
  readonly requested?: Ipv4Address;
  readonly serverId?: Ipv4Address;
  readonly leaseSeconds?: number;
}

export function dhcp4Message({ mac, type, xid = 7, fields, requested, serverId, leaseSeconds }: Said): Dhcp4Message {
  const options = new Map([[known.type.number, known.type.value.encode(type)]]);
  if (requested !== undefined) options.set(known.requestedAddress.number, ipv4ToBytes(requested));
  if (serverId !== undefined) options.set(known.serverId.number, ipv4ToBytes(serverId));
  if (leaseSeconds !== undefined) options.set(known.leaseTime.number, known.leaseTime.value.encode(leaseSeconds));
  const isReply = type === "offer" || type === "ack" || type === "nak";
  return {
    op: isReply ? "reply" : "request",
    hops: 0,
    xid,
    secs: 0,
    broadcast: false,
    ciaddr: ANY4,
    yiaddr: ANY4,
    siaddr: ANY4,
    giaddr: ANY4,
    chaddr: mac,
    sname: "",
    file: "",
    options,
    ...fields,
  };
}

export interface Ends4 {
  readonly from: Ipv4Address;
  readonly fromMac: MacAddress;
  readonly to?: Ipv4Address;
  readonly toMac?: MacAddress;
}

/** @param ports source and destination */
export function dhcp4Frame(
  message: Dhcp4Message,
  { from, fromMac, to = ALL4, toMac = BROADCAST_MAC }: Ends4,
  ports: readonly [number, number],
): Uint8Array {
  const payload = dhcp4Codec.encode(message);
  const u16 = (value: number): readonly number[] => [value >> 8, value & 255];
  const header = [
    0x45,
    0,
    ...u16(28 + payload.length),
    0,
    0,
    0,
    0,
    64,
    17,
    0,
    0,
    ...ipv4ToBytes(from),
    ...ipv4ToBytes(to),
  ];
  const total = header.reduce((sum, byte, i) => sum + (i % 2 === 0 ? byte * 256 : byte), 0);
  const folded = (total & 0xffff) + (total >> 16);
  header.splice(10, 2, ...u16(~((folded & 0xffff) + (folded >> 16)) & 0xffff));
  const udp = [...ports.flatMap(u16), ...u16(8 + payload.length), 0, 0, ...payload];
  return withUdpSum(Uint8Array.from([...macToBytes(toMac), ...macToBytes(fromMac), 8, 0, ...header, ...udp]));
}

export const guestFrame = (said: Said): Uint8Array => {
  const message = dhcp4Message(said);
  return dhcp4Frame(message, { from: message.ciaddr, fromMac: said.mac }, [68, 67]);
};
