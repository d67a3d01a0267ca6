/** What the kinds of wiring have in common, and what a routed port looks like to its guest: the same on every port of every host, so that a guest may move. */
import { type Ipv4Address, parseIpv4 } from "./ipv4.ts";
import { type Ipv6Address, linkLocalOf, parseIpv6 } from "./ipv6.ts";
import { type MacAddress, macFromBytes } from "./mac.ts";
import type { InterfaceName } from "./names.ts";
import { unreachable } from "./never.ts";
import type { Masquerade, Wiring } from "./resources.ts";

function known<T>(text: string, parse: (text: string) => T | undefined): T {
  const value = parse(text);
  if (value === undefined) throw new TypeError(`not an address: ${text}`);
  return value;
}

/** Of every routed port, and what guests of brouted networks know their host by. Locally administered, and outside the FE:00 space of the `ip` scheme. */
export const HOST_PORT_MAC: MacAddress = macFromBytes(Uint8Array.of(0xfe, 0xff, 0xff, 0xff, 0xff, 0xfe));
/** In the part of 169.254/16 that nobody may choose by itself (RFC 3927 section 2.1), so no machine of a link has it by chance. */
export const PORT_GATEWAY4: Ipv4Address = known("169.254.0.1", parseIpv4);
export const PORT_GATEWAY6: Ipv6Address = known("fe80::1", parseIpv6);
/** The router of brouted guests. Nobody's on their LAN, unlike fe80::1, which many routers have: what those ask a guest would change where the guest sends to. */
export const BROUTED_GATEWAY6: Ipv6Address = linkLocalOf(HOST_PORT_MAC);

/** Networks of one wire share its addresses: there one address is one machine, whatever the network's name. */
export function wireOf(wiring: Wiring): string {
  switch (wiring.kind) {
    case "bridged":
    case "brouted":
      return `bridge ${wiring.bridge}`;
    case "routed":
    case "nat":
    case "transport":
      // One routing table for all of them.
      return "the host's routes";
    default:
      return unreachable(wiring);
  }
}

/** As sentences have it. */
export function wiringText(wiring: Wiring): string {
  switch (wiring.kind) {
    case "bridged":
      return `on bridge ${wiring.bridge}`;
    case "brouted":
      return `on bridge ${wiring.bridge}, routed by the host`;
    case "routed":
      return `routed by uplink ${wiring.uplink}`;
    case "nat":
      return `translated by uplink ${wiring.uplink}, ${masqueradeText(wiring.masquerade)}`;
    case "transport":
      return `in links of /${wiring.link4} by uplink ${wiring.uplink}`;
    default:
      return unreachable(wiring);
  }
}

/** Ports of both are in no bridge, and the host is their guests' router, by the same addresses. */
export type RoutedWiring = Extract<Wiring, { readonly kind: "routed" | "nat" }>;
export const isRouted = (wiring: Wiring): wiring is RoutedWiring => wiring.kind === "routed" || wiring.kind === "nat";

function masqueradeText(masquerade: Masquerade): string {
  if (masquerade === false) return "without a way out for guests that have no public address";
  return `others leave by ${masquerade === true ? "its own address" : masquerade}`;
}

/** Where the LAN is to send packets to a host for addresses that are not the host's own; undefined where guests answer for themselves. */
export function announcingUplink(wiring: Wiring): InterfaceName | undefined {
  switch (wiring.kind) {
    case "bridged":
    case "brouted":
      return undefined;
    case "routed":
    case "nat":
    case "transport":
      return wiring.uplink;
    default:
      return unreachable(wiring);
  }
}
