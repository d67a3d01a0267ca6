/** Whole Ethernet frames with IPv6 in them, as the host's responder sends them. */
import type { MacAddress } from "../model/mac.ts";
import { checksum, pseudoHeader6 } from "./checksum.ts";
import { ethernetCodec, etherTypes } from "./ethernet.ts";
import { ipProtocols } from "./ipv4.ts";
import { ipv6Codec } from "./ipv6.ts";
import { udpCodec } from "./udp.ts";

/** Addresses of 16 octets. */
export interface Ends6 {
  readonly destinationMac: MacAddress;
  readonly sourceMac: MacAddress;
  readonly source: Uint8Array;
  readonly destination: Uint8Array;
}

function frame6(ends: Ends6, nextHeader: number, hopLimit: number, payload: Uint8Array): Uint8Array {
  const { destinationMac, sourceMac, source, destination } = ends;
  const packet = { trafficClass: 0, flowLabel: 0, nextHeader, hopLimit, source, destination, payload };
  return ethernetCodec.encode({
    destination: destinationMac,
    source: sourceMac,
    type: etherTypes.ipv6,
    payload: ipv6Codec.encode(packet),
  });
}

export function udp6Frame(ends: Ends6, sourcePort: number, destinationPort: number, payload: Uint8Array): Uint8Array {
  const datagram = { sourcePort, destinationPort, checksum: 0, payload };
  const bytes = udpCodec.encode(datagram);
  const pseudo = pseudoHeader6(ends.source, ends.destination, ipProtocols.udp, bytes.length);
  // Zero is no checksum in IPv6: it is sent as all ones (RFC 8200 section 8.1).
  const sum = checksum(pseudo, bytes) || 0xffff;
  return frame6(ends, ipProtocols.udp, 64, udpCodec.encode({ ...datagram, checksum: sum }));
}

/** @param message with its checksum field, octets 2 and 3, still zero; sent with the hop limit that shows it is from this link (RFC 4861) */
export function icmp6Frame(ends: Ends6, message: Uint8Array): Uint8Array {
  const pseudo = pseudoHeader6(ends.source, ends.destination, ipProtocols.icmp6, message.length);
  const whole = message.slice();
  new DataView(whole.buffer).setUint16(2, checksum(pseudo, message));
  return frame6(ends, ipProtocols.icmp6, 255, whole);
}
