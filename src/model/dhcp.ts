/** What an operator may have DHCP clients told besides their address, and by what clients are told apart. */
import type { Ipv4Address } from "./ipv4.ts";
import type { Ipv6Address } from "./ipv6.ts";

/** An option that stands inside another. Exactly one of the ways to write its value is there. */
export interface SubOption<A> {
  readonly code: number;
  /** Hexadecimal digits without separators. */
  readonly hex?: string;
  /** Printable ASCII. */
  readonly text?: string;
  /** Of the option's family, one after the other. */
  readonly addresses?: readonly A[];
}

/** An option by its number. */
export interface RawOption<A> extends SubOption<A> {
  /** Told though the client did not ask. */
  readonly always?: boolean;
  /** Options inside the option, as vendors have them in 43 (RFC 2132 section 8.4). */
  readonly options?: readonly SubOption<A>[];
}

/** Where a machine that boots from the network finds what to run. */
export interface Boot {
  /** Next server (`siaddr`), and option 66 where no name is given. */
  readonly server?: Ipv4Address;
  /** Option 66. */
  readonly serverName?: string;
  /** The field `file` and option 67. */
  readonly file?: string;
  /** DHCPv6 has a URL for all of it (RFC 5970). */
  readonly url?: string;
}

/** What stands in place of the network's own words; options add up, by number. */
export interface Tell {
  readonly dns?: readonly Ipv4Address[];
  readonly dns6?: readonly Ipv6Address[];
  readonly ntp?: readonly Ipv4Address[];
  readonly ntp6?: readonly Ipv6Address[];
  readonly domain?: string;
  readonly search?: readonly string[];
  readonly mtu?: number;
  readonly boot?: Boot;
  readonly options?: readonly RawOption<Ipv4Address>[];
  readonly options6?: readonly RawOption<Ipv6Address>[];
}

/** Of one NIC. */
export interface NicTell extends Tell {
  readonly hostname?: string;
}

/** All that is named must hold. What clients say of themselves decides what they are told, never what they may be. */
export interface ClientMatch {
  /** How option 60 begins, such as `PXEClient`; DHCPv6: one of the vendor class (option 16). */
  readonly vendorClass?: string;
  /** One of option 77 (15), such as `iPXE`. */
  readonly userClass?: string;
  /** Client system architecture (RFC 4578 section 2.1, option 93; DHCPv6 option 61), such as 7 for UEFI on x86-64. */
  readonly arch?: readonly number[];
}

export interface ClientClass {
  readonly name: string;
  readonly when: ClientMatch;
  readonly tell: Tell;
}
