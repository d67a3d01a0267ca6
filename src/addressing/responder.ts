/** DHCP without sockets (RFC 2131): what to answer to a message that came in on a port, given what that port is. */
import type { Boot } from "../model/dhcp.ts";
import type { Ipv4Address, Ipv4Prefix } from "../model/ipv4.ts";
import type { Ipv6Address } from "../model/ipv6.ts";
import type { MacAddress } from "../model/mac.ts";
import type { DhcpLease } from "../model/resources.ts";
import type { Dhcp4Message } from "../packet/dhcp4-message.ts";
import type { Variant } from "./client-class.ts";

/** Everything the responder may tell the guest on one port; identity comes from here and never from the packet. */
export interface PortOffer {
  readonly mac: MacAddress;
  readonly address: Ipv4Address;
  readonly prefix: Ipv4Prefix;
  readonly gateway: Ipv4Address;
  /** Server identifier (option 54): the address clients renew with. */
  readonly serverId: Ipv4Address;
  readonly leaseSeconds: number;
  readonly dns: readonly Ipv4Address[];
  readonly ntp: readonly Ipv4Address[];
  readonly hostname?: string;
  readonly domain?: string;
  readonly search: readonly string[];
  readonly mtu?: number;
  readonly routes: readonly { readonly to: Ipv4Prefix; readonly via: Ipv4Address }[];
  readonly boot?: Boot;
  readonly options?: readonly ToldOption[];
  /** What clients of a class are told instead; who the port is stays the same. */
  readonly variants?: readonly Variant<PortOffer>[];
}

/** An option of the operator's own, as it is written. */
export interface ToldOption {
  readonly number: number;
  readonly value: Uint8Array;
  /** Told though the client did not ask. */
  readonly always: boolean;
}

/** The same for DHCPv6 (RFC 8415): one address, and what stateless clients ask for. */
export interface PortOffer6 {
  readonly mac: MacAddress;
  readonly address: Ipv6Address;
  /** DUID of the responder (option 2). */
  readonly serverId: Uint8Array;
  readonly leaseSeconds: number;
  readonly dns: readonly Ipv6Address[];
  readonly ntp?: readonly Ipv6Address[];
  readonly hostname?: string;
  readonly domain?: string;
  readonly search: readonly string[];
  readonly bootUrl?: string;
  readonly options?: readonly ToldOption[];
  readonly variants?: readonly Variant<PortOffer6>[];
}

/** What must be durable before the reply leaves. */
export type LeaseChange = Pick<DhcpLease, "state" | "expiresAt" | "hostname">;

export type Answer =
  /** `change` must be durable before `reply` is sent. `deliverTo` per RFC 2131 section 4.1. */
  | {
      readonly kind: "reply";
      readonly reply: Dhcp4Message;
      readonly change?: LeaseChange;
      readonly deliverTo: "broadcast" | "unicast";
      /** Octets that the client takes. */
      readonly room: number;
    }
  /** Nothing to send, but something to remember (RELEASE, DECLINE). */
  | { readonly kind: "note"; readonly change: LeaseChange }
  | { readonly kind: "silence"; readonly why: string };

/** @param now milliseconds since the Unix epoch */
export type Respond = (message: Dhcp4Message, offer: PortOffer, lease: DhcpLease | undefined, now: number) => Answer;
