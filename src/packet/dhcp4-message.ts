/** The shape of a DHCPv4 message (RFC 2131 section 2), options already joined per RFC 3396. */
import type { Ipv4Address } from "../model/ipv4.ts";
import type { MacAddress } from "../model/mac.ts";

export const dhcpTypes = {
  discover: 1,
  offer: 2,
  request: 3,
  decline: 4,
  ack: 5,
  nak: 6,
  release: 7,
  inform: 8,
} as const;
export type DhcpType = keyof typeof dhcpTypes;

export interface Dhcp4Message {
  readonly op: "request" | "reply";
  readonly xid: number;
  readonly secs: number;
  readonly broadcast: boolean;
  readonly hops: number;
  readonly ciaddr: Ipv4Address;
  readonly yiaddr: Ipv4Address;
  readonly siaddr: Ipv4Address;
  readonly giaddr: Ipv4Address;
  /** htype 1, hlen 6 only; anything else is "unsupported". */
  readonly chaddr: MacAddress;
  readonly sname: string;
  readonly file: string;
  /** Option number -> value bytes, joined over repetitions and over the overloaded sname/file fields (option 52). Without 0, 52 and 255. */
  readonly options: ReadonlyMap<number, Uint8Array>;
}
