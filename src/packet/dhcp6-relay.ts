/** What relay agents and DHCPv6 servers say to each other (RFC 8415 section 9): a client's message whole, and where it came from. */
import { type Ipv6Address, ipv6FromBytes, ipv6ToBytes } from "../model/ipv6.ts";
import type { Codec } from "./codec.ts";
import { type Dhcp6Option, dhcp6Types, readDhcp6Options, writeDhcp6Options } from "./dhcp6.ts";
import { createReader } from "./reader.ts";
import { createWriter } from "./writer.ts";

export interface Dhcp6RelayMessage {
  readonly type: typeof dhcp6Types.relayForward | typeof dhcp6Types.relayReply;
  readonly hops: number;
  /** Of the client's link. */
  readonly link: Ipv6Address;
  /** Who asked. */
  readonly peer: Ipv6Address;
  readonly options: readonly Dhcp6Option[];
}

/** RFC 8415 sections 21.10 and 21.18. */
export const dhcp6RelayCodes = { relayMessage: 9, interfaceId: 18 } as const;

export const dhcp6RelayCodec: Codec<Dhcp6RelayMessage> = {
  name: "dhcp6 relay",
  decode: (bytes) => {
    const reader = createReader(bytes);
    const type = reader.u8();
    const hops = reader.u8();
    const [link, peer] = [reader.bytes(16), reader.bytes(16)];
    if (reader.truncated) return { ok: false, why: "truncated" };
    if (type !== dhcp6Types.relayForward && type !== dhcp6Types.relayReply) return { ok: false, why: "unsupported" };
    const options = readDhcp6Options(reader.rest());
    if (!options.ok) return options;
    return {
      ok: true,
      value: { type, hops, link: ipv6FromBytes(link), peer: ipv6FromBytes(peer), options: options.value },
    };
  },
  encode: ({ type, hops, link, peer, options }) =>
    createWriter()
      .u8(type)
      .u8(hops)
      .bytes(ipv6ToBytes(link))
      .bytes(ipv6ToBytes(peer))
      .bytes(writeDhcp6Options(options))
      .done(),
};
