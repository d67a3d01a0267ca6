/** ARP for IPv4 over Ethernet (RFC 826); other hardware and protocols are "unsupported". */
import type { Ipv4Address } from "../model/ipv4.ts";
import type { MacAddress } from "../model/mac.ts";
import type { Codec } from "./codec.ts";
import { createReader, type Reading, strict, unreadable } from "./reader.ts";
import { createWriter } from "./writer.ts";

export interface ArpPacket {
  /** 1 request, 2 reply; any other number is kept as it is. */
  readonly operation: number;
  readonly senderMac: MacAddress;
  readonly senderIp: Ipv4Address;
  readonly targetMac: MacAddress;
  readonly targetIp: Ipv4Address;
}

export const arpOperations = { request: 1, reply: 2 } as const;

/** The first four fields: which addresses these are, and how long. */
export interface ArpShape {
  readonly hardware: number;
  readonly protocol: number;
  readonly hardwareLength: number;
  readonly protocolLength: number;
}

const ETHERNET = 1;
const IPV4 = 0x0800;

export function readArpShape(bytes: Uint8Array): ArpShape {
  const reader = createReader(bytes);
  return {
    hardware: reader.u16(),
    protocol: reader.u16(),
    hardwareLength: reader.u8(),
    protocolLength: reader.u8(),
  };
}

function isEthernetIpv4(shape: ArpShape): boolean {
  const { hardware, protocol, hardwareLength, protocolLength } = shape;
  return hardware === ETHERNET && protocol === IPV4 && hardwareLength === 6 && protocolLength === 4;
}

export function readArp(bytes: Uint8Array): Reading<ArpPacket> {
  const reader = createReader(bytes);
  reader.bytes(6);
  if (reader.truncated) return unreadable("truncated");
  if (!isEthernetIpv4(readArpShape(bytes))) return unreadable("unsupported");
  const value = {
    operation: reader.u16(),
    senderMac: reader.mac(),
    senderIp: reader.ipv4(),
    targetMac: reader.mac(),
    targetIp: reader.ipv4(),
  };
  if (reader.truncated) return unreadable("truncated");
  return { value, fault: reader.rest().length > 0 ? "trailing-bytes" : undefined };
}

export const arpCodec: Codec<ArpPacket> = {
  name: "arp",
  decode: (bytes) => strict(readArp(bytes)),
  encode: ({ operation, senderMac, senderIp, targetMac, targetIp }) =>
    createWriter()
      .u16(ETHERNET)
      .u16(IPV4)
      .u8(6)
      .u8(4)
      .u16(operation)
      .mac(senderMac)
      .ipv4(senderIp)
      .mac(targetMac)
      .ipv4(targetIp)
      .done(),
};
