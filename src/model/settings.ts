/**
 * Settings of single interfaces that routing needs. The number stands in the kernel beside the value from before, so it never changes meaning; the words are what `status` says.
 */
import type { InterfaceName } from "./names.ts";

interface SettingSpec {
  readonly code: number;
  /** Below /proc/sys/net. */
  readonly path: (name: InterfaceName) => string;
  readonly why: string;
}

const ipv4 = (what: string) => (name: InterfaceName) => `ipv4/conf/${name}/${what}`;
const ipv6 = (what: string) => (name: InterfaceName) => `ipv6/conf/${name}/${what}`;

export const settingTable = {
  forwarding4: { code: 1, path: ipv4("forwarding"), why: "what comes in here is routed on" },
  sourceCheck4: { code: 2, path: ipv4("rp_filter"), why: "only packets that would be routed back here are taken" },
  redirectsIn4: { code: 3, path: ipv4("accept_redirects"), why: "a guest changes no route of the host" },
  redirectsOut4: { code: 4, path: ipv4("send_redirects"), why: "guests have one way, and are told of no other" },
  proxy4: { code: 5, path: ipv4("proxy_arp"), why: "the host answers every ARP of this guest" },
  proxyDelay4: {
    code: 6,
    path: (name) => `ipv4/neigh/${name}/proxy_delay`,
    why: "ARP is answered at once for guests, not after up to 0.8 s",
  },
  off6: { code: 7, path: ipv6("disable_ipv6"), why: "IPv6 as the network has it, or none" },
  advertisements6: {
    code: 8,
    path: ipv6("accept_ra"),
    why: "the host goes on learning its own routes, or learns none here",
  },
  redirectsIn6: { code: 9, path: ipv6("accept_redirects"), why: "a guest changes no route of the host" },
  naming6: { code: 10, path: ipv6("addr_gen_mode"), why: "the port has the address fe80::1 and no other" },
  duplicates6: { code: 11, path: ipv6("accept_dad"), why: "every routed port has the same address on purpose" },
  router6: { code: 12, path: ipv6("forwarding"), why: "the kernel answers for others only where it is a router" },
  forwarding6: {
    code: 13,
    path: ipv6("force_forwarding"),
    why: "what comes in here is routed on, without the switch of all interfaces",
  },
  proxy6: {
    code: 14,
    path: ipv6("proxy_ndp"),
    why: "the host answers neighbour solicitations for its guests, for no one else",
  },
  proxyDelay6: {
    code: 15,
    path: (name) => `ipv6/neigh/${name}/proxy_delay`,
    why: "neighbour solicitations are answered at once for guests, not after up to 0.8 s",
  },
} as const satisfies Readonly<Record<string, SettingSpec>>;

export type SettingName = keyof typeof settingTable;
export const settingNames = Object.keys(settingTable) as readonly SettingName[];

/** One setting of one interface as it should be. */
export interface Setting {
  readonly name: SettingName;
  readonly ifindex: number;
  readonly device: InterfaceName;
  readonly value: number;
  /** Only where it has this value now. */
  readonly insteadOf?: number;
}
