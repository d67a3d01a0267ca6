/**
 * Seam to what routes: host routes, addresses and neighbours of guest ports, and the addresses a port towards the LAN answers for. Everything written here
 * bears vifguard's protocol number in the kernel, and nothing without it is ever shown, changed or removed. Synchronous: the kernel answers at once.
 */
import type { MacAddress } from "../model/mac.ts";

/**
 * Of routes (rtm_protocol), neighbours (NDA_PROTOCOL) and addresses (IFA_PROTO, Linux 5.18). Free in the kernel's and iproute2's registries, where 2 to 99 hold
 * the kernel and the routing daemons, and 186 to 192 the protocols of FRR. BIRD sees it as `krt_source`, FRR as a kernel route, `ip route` as `proto 118`.
 */
export const ROUTE_PROTOCOL = 118;

/** Addresses are of either family: 4 octets or 16. */
export type RouteItem =
  /** In the main table, to everything behind a port; `via` where it is not on the link itself. */
  | {
      readonly kind: "route";
      readonly ifindex: number;
      readonly address: Uint8Array;
      readonly length: number;
      readonly via?: Uint8Array;
    }
  /** The interface answers ARP or neighbour solicitations for this address, though it is not the host's. */
  | { readonly kind: "proxy"; readonly ifindex: number; readonly address: Uint8Array }
  /** The MAC of an address, never asked for and never forgotten. */
  | { readonly kind: "neighbour"; readonly ifindex: number; readonly address: Uint8Array; readonly mac: MacAddress }
  /** Of the host itself, on this interface alone. */
  | { readonly kind: "address"; readonly ifindex: number; readonly address: Uint8Array; readonly length: number };

export interface Lan {
  readonly address: Uint8Array;
  readonly length: number;
}

export type RoutePlace = Pick<RouteItem, "kind" | "ifindex" | "address">;

export type RouteEvent =
  /** One of ours is gone, whoever took it. A neighbour is told without its MAC. */
  | { readonly kind: "removed"; readonly place: RoutePlace }
  /** A setting of this interface changed (forwarding, rp_filter, proxying). */
  | { readonly kind: "setting"; readonly ifindex: number }
  /** Events were lost (ENOBUFS): read everything again. */
  | { readonly kind: "lost" };

export interface Routes {
  /** Everything that bears our number, or one kind of it. */
  held(kind?: RouteItem["kind"]): readonly RouteItem[];
  /** The networks that the interface is on by its addresses, whoever gave them: their first address. Single addresses and the link-local network are none. */
  lan(ifindex: number): readonly Lan[];
  /** Fine when it is there already and ours. @throws ROUTE_TAKEN when somebody else's stands there, KERNEL_REFUSED with errno */
  add(item: RouteItem): void;
  /** Fine when it is gone, or its interface is. Never removes what is not ours. */
  remove(item: RouteItem): void;
  /** Removed proxies are not told: the kernel does not (pneigh_delete), so they must be looked after. */
  watch(event: (event: RouteEvent) => void): { close(): void };
  close(): void;
}

/** Of an interface's address the network it is in; undefined where there is nobody but the host, or only the link itself. */
export function lanOf(address: Uint8Array, length: number): Lan | undefined {
  const isLinkLocal = address.length === 16 && address[0] === 0xfe && ((address[1] ?? 0) & 0xc0) === 0x80;
  if (length === address.length * 8 || isLinkLocal) return undefined;
  const first = address.map((octet, i) => octet & ~(0xff >> Math.min(8, Math.max(0, length - 8 * i))));
  return { address: first, length };
}

export const placeText = ({ kind, ifindex, address }: RoutePlace): string => `${kind} ${ifindex} ${address.join(".")}`;

/** Equal for equal items, and for nothing else. */
export function routeText(item: RouteItem): string {
  const place = placeText(item);
  switch (item.kind) {
    case "route":
      return `${place}/${item.length} ${item.via?.join(".") ?? ""}`;
    case "address":
      return `${place}/${item.length}`;
    case "neighbour":
      return `${place} ${item.mac}`;
    default:
      return place;
  }
}
