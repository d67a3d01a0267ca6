/** DHCP for IPv4 as whole Ethernet frames: what the guard hands up, and what goes back on the port. */
import { type Ipv4Address, ipv4ToNumber } from "../model/ipv4.ts";
import { BROADCAST_MAC, type MacAddress, macToBytes } from "../model/mac.ts";
import { fold, isTransportSum, sum } from "../packet/checksum.ts";
import type { Decoded, Rejection } from "../packet/codec.ts";
import { dhcp4Codec, encodeDhcp4 } from "../packet/dhcp4.ts";
import type { Dhcp4Message } from "../packet/dhcp4-message.ts";
import { dhcp4Options, readOption } from "../packet/dhcp4-options.ts";
import type { FrameAnswer } from "./frame-answer.ts";
import { respond } from "./respond.ts";
import type { Answer, LeaseChange, PortOffer } from "./responder.ts";

/**
 * @param serverMac Ethernet source of the reply
 * @param now milliseconds since the Unix epoch
 */
export function answer4(
  frame: Uint8Array,
  offer: PortOffer,
  serverMac: MacAddress,
  lease: LeaseChange | undefined,
  now: number,
): FrameAnswer {
  const message = messageIn4(frame);
  if (!message.ok) return { kind: "malformed", why: message.why };
  const answer = respond(message.value, offer, lease, now);
  if (answer.kind !== "reply") return answer;
  const { change, reply } = answer;
  return {
    kind: "reply",
    frame: replyFrame4(answer, serverMac, offer.serverId),
    counter: counterOf(reply),
    ...(change === undefined ? {} : { change }),
  };
}

function counterOf(reply: Dhcp4Message): "offers" | "acks" | "naks" {
  switch (readOption(reply.options, dhcp4Options.type)) {
    case "nak":
      return "naks";
    case "offer":
      return "offers";
    default:
      return "acks";
  }
}

const ETHERNET = 14;
const IPV4 = 20;
const UDP = 8;
const EVERYONE = 0xffffffff;

const rejected = (why: Rejection): Decoded<never> => ({ ok: false, why });

/** The guard lets through exactly this shape; it is checked again because a frame may be cut, and a guard may be old. */
export function messageIn4(bytes: Uint8Array, port: 67 | 68 = 67): Decoded<Dhcp4Message> {
  if (bytes.length < ETHERNET + IPV4 + UDP) return rejected("truncated");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  // IPv4, a header without options, UDP, no fragment, to the port of the server, or of the client.
  const isShape =
    view.getUint16(12) === 0x08_00 &&
    view.getUint8(ETHERNET) === 0x45 &&
    (view.getUint16(ETHERNET + 6) & 0x3f_ff) === 0 &&
    view.getUint8(ETHERNET + 9) === 17 &&
    view.getUint16(ETHERNET + IPV4 + 2) === port;
  if (!isShape) return rejected("unsupported");
  const end = ETHERNET + view.getUint16(ETHERNET + 2);
  const udpLength = view.getUint16(ETHERNET + IPV4 + 4);
  if (end > bytes.length) return rejected("truncated");
  if (udpLength < UDP || ETHERNET + IPV4 + udpLength > end) return rejected("bad-length");
  if (fold(sum(bytes, ETHERNET, ETHERNET + IPV4)) !== 0xffff) return rejected("bad-checksum");
  const udp = bytes.subarray(ETHERNET + IPV4, ETHERNET + IPV4 + udpLength);
  const field = view.getUint16(ETHERNET + IPV4 + 6);
  // None at all is allowed (RFC 768).
  if (field !== 0 && !isTransportSum(udp, field, pseudoSum(bytes, udpLength))) return rejected("bad-checksum");
  return dhcp4Codec.decode(udp.subarray(UDP));
}

/** Source, destination, protocol and UDP length (RFC 768), addresses as they stand in the frame. */
function pseudoSum(frame: Uint8Array, udpLength: number): number {
  return sum(frame, ETHERNET + 12, ETHERNET + 20) + 17 + udpLength;
}

/** RFC 2131 section 4.1: to `ciaddr` if the client has its address, else to `yiaddr` though it cannot answer ARP for it yet, or to all. */
export function replyFrame4(
  {
    reply,
    deliverTo,
    room,
  }: Pick<Extract<Answer, { kind: "reply" }>, "reply" | "deliverTo"> & { readonly room?: number },
  serverMac: MacAddress,
  serverId: Ipv4Address,
): Uint8Array {
  const message = encodeDhcp4(reply, room);
  const own = ipv4ToNumber(reply.ciaddr) || ipv4ToNumber(reply.yiaddr);
  const isBroadcast = deliverTo === "broadcast";
  const frame = new Uint8Array(ETHERNET + IPV4 + UDP + message.length);
  const view = new DataView(frame.buffer);
  frame.set(macToBytes(isBroadcast ? BROADCAST_MAC : reply.chaddr), 0);
  frame.set(macToBytes(serverMac), 6);
  view.setUint32(12, 0x08_00_45_00);
  view.setUint16(ETHERNET + 2, IPV4 + UDP + message.length);
  // Never fragmented, so it needs no identification (RFC 6864).
  view.setUint32(ETHERNET + 4, 0x00_00_40_00);
  view.setUint16(ETHERNET + 8, 64 * 256 + 17);
  view.setUint32(ETHERNET + 12, ipv4ToNumber(serverId));
  view.setUint32(ETHERNET + 16, isBroadcast ? EVERYONE : own);
  view.setUint16(ETHERNET + 10, ~fold(sum(frame, ETHERNET, ETHERNET + IPV4)) & 0xffff);
  view.setUint32(ETHERNET + IPV4, 67 * 0x1_00_00 + 68);
  view.setUint16(ETHERNET + IPV4 + 4, UDP + message.length);
  frame.set(message, ETHERNET + IPV4 + UDP);
  const total = sum(frame, ETHERNET + IPV4, frame.length) + pseudoSum(frame, UDP + message.length);
  // A sum of zero is sent as its other form, zero being "none" (RFC 768).
  view.setUint16(ETHERNET + IPV4 + 6, ~fold(total) & 0xffff || 0xffff);
  return frame;
}
