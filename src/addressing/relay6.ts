/** A relay agent's part of DHCPv6 (RFC 8415 section 19): a guest's message wrapped, and the answer unwrapped. */
import { sameBytes } from "../model/bytes.ts";
import type { Ipv6Address } from "../model/ipv6.ts";
import type { Decoded } from "../packet/codec.ts";
import { type Dhcp6Message, dhcp6Codec, dhcp6Types } from "../packet/dhcp6.ts";
import { dhcp6RelayCodes as codes, type Dhcp6RelayMessage } from "../packet/dhcp6-relay.ts";

/** Where the guest is, as its servers are told. */
export interface RelayPlace6 {
  /** An address of the guest's link, by which servers choose the subnet. */
  readonly link: Ipv6Address;
  /** The guest's link-local address. */
  readonly peer: Ipv6Address;
  /** Name of the port. */
  readonly interfaceId: string;
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

export function relayForward(message: Dhcp6Message, { link, peer, interfaceId }: RelayPlace6): Dhcp6RelayMessage {
  return {
    type: dhcp6Types.relayForward,
    hops: 0,
    link,
    peer,
    options: [
      { code: codes.interfaceId, body: text(interfaceId) },
      { code: codes.relayMessage, body: dhcp6Codec.encode(message) },
    ],
  };
}

function only({ options }: Dhcp6RelayMessage, code: number): Uint8Array | undefined {
  const found = options.filter((option) => option.code === code);
  return found.length === 1 ? found[0]?.body : undefined;
}

/** Which port an answer is for, by its own word. */
export function interfaceIdOf(message: Dhcp6RelayMessage): string | undefined {
  const body = only(message, codes.interfaceId);
  return body === undefined ? undefined : new TextDecoder("latin1").decode(body);
}

/** The guest's answer; undefined when it is not for this place. */
export function relayReplied(reply: Dhcp6RelayMessage, place: RelayPlace6): Decoded<Dhcp6Message> | undefined {
  const inside = only(reply, codes.relayMessage);
  const isHere =
    reply.type === dhcp6Types.relayReply &&
    reply.link === place.link &&
    reply.peer === place.peer &&
    sameBytes(only(reply, codes.interfaceId) ?? new Uint8Array(), text(place.interfaceId));
  if (!isHere) return undefined;
  return inside === undefined ? { ok: false, why: "truncated" } : dhcp6Codec.decode(inside);
}
