/** DHCPv6 as whole Ethernet frames: what the guard hands up, and what goes back on the port. */
import { ipv6ToBytes, linkLocalOf } from "../model/ipv6.ts";
import { type MacAddress, macFromBytes } from "../model/mac.ts";
import { fold, isTransportSum, sum } from "../packet/checksum.ts";
import type { Decoded, Rejection } from "../packet/codec.ts";
import { type Dhcp6Message, dhcp6Codec, dhcp6Types } from "../packet/dhcp6.ts";
import { udp6Frame } from "../packet/frame6.ts";
import type { FrameAnswer } from "./frame-answer.ts";
import { respond6 } from "./respond6.ts";
import type { LeaseChange, PortOffer6 } from "./responder.ts";

const ETHERNET = 14;
const IPV6 = 40;
const UDP = 8;
const CLIENT = 546;
const SERVER = 547;

interface Said {
  readonly message: Dhcp6Message;
  /** Who said it, on the link. */
  readonly mac: MacAddress;
  readonly address: Uint8Array;
}

/**
 * @param serverMac Ethernet source of the reply; its link-local address is the reply's source
 * @param now milliseconds since the Unix epoch
 */
export function answer6(
  frame: Uint8Array,
  offer: PortOffer6,
  serverMac: MacAddress,
  lease: LeaseChange | undefined,
  now: number,
): FrameAnswer {
  const read = messageIn6(frame);
  if (!read.ok) return { kind: "malformed", why: read.why };
  const { message, mac, address } = read.value;
  const answer = respond6(message, offer, lease, now);
  if (answer.kind !== "reply") return answer;
  return {
    kind: "reply",
    frame: serverFrame(answer.reply, serverMac, mac, address),
    counter: answer.reply.type === dhcp6Types.advertise ? "offers" : "acks",
    ...(answer.change === undefined ? {} : { change: answer.change }),
  };
}

/** What a server elsewhere says to a client whose link-local address is made of its MAC. */
export const serverFrame6 = (message: Dhcp6Message, serverMac: MacAddress, mac: MacAddress): Uint8Array =>
  serverFrame(message, serverMac, mac, ipv6ToBytes(linkLocalOf(mac)));

function serverFrame(
  message: Dhcp6Message,
  serverMac: MacAddress,
  mac: MacAddress,
  destination: Uint8Array,
): Uint8Array {
  const ends = {
    destinationMac: mac,
    sourceMac: serverMac,
    source: ipv6ToBytes(linkLocalOf(serverMac)),
    destination,
  };
  return udp6Frame(ends, SERVER, CLIENT, dhcp6Codec.encode(message));
}

const rejected = (why: Rejection): Decoded<never> => ({ ok: false, why });

/** The guard lets through exactly this shape; it is checked again because a frame may be cut, and a guard may be old. */
export function messageIn6(bytes: Uint8Array, from: "client" | "server" = "client"): Decoded<Said> {
  if (bytes.length < ETHERNET + IPV6 + UDP) return rejected("truncated");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const [source, destination] = from === "client" ? [CLIENT, SERVER] : [SERVER, CLIENT];
  const isShape =
    view.getUint16(12) === 0x86dd &&
    view.getUint8(ETHERNET) >> 4 === 6 &&
    view.getUint8(ETHERNET + 6) === 17 &&
    view.getUint16(ETHERNET + IPV6) === source &&
    view.getUint16(ETHERNET + IPV6 + 2) === destination;
  if (!isShape) return rejected("unsupported");
  const payload = view.getUint16(ETHERNET + 4);
  const udpLength = view.getUint16(ETHERNET + IPV6 + 4);
  if (ETHERNET + IPV6 + payload > bytes.length) return rejected("truncated");
  if (udpLength < UDP || udpLength > payload) return rejected("bad-length");
  const udp = bytes.subarray(ETHERNET + IPV6, ETHERNET + IPV6 + udpLength);
  const pseudo = fold(sum(bytes, ETHERNET + 8, ETHERNET + IPV6) + udpLength + 17);
  if (!isTransportSum(udp, view.getUint16(ETHERNET + IPV6 + 6), pseudo)) return rejected("bad-checksum");
  const message = dhcp6Codec.decode(udp.subarray(UDP));
  if (!message.ok) return message;
  const address = bytes.slice(ETHERNET + 8, ETHERNET + 24);
  return { ok: true, value: { message: message.value, mac: macFromBytes(bytes, 6), address } };
}
