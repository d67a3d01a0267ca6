/**
 * What a port that is a link of its own needs of the host: the left-hand address on the port, the right-hand one behind it, everything else of the guest behind
 * that. The LAN has routes to the right-hand addresses and what is behind them; on the uplink the host answers for none of them.
 */
import type { RouteItem } from "../kernel/routes.ts";
import { GuardError } from "../model/errors.ts";
import { blockOctets, ipToBytes } from "../model/ip-block.ts";
import { ipv4ToBytes } from "../model/ipv4.ts";
import { type Ipv6Address, ipv6ToBytes, isLinkLocal6 } from "../model/ipv6.ts";
import type { InterfaceName } from "../model/names.ts";
import type { IpBlock, NetworkSpec, Wiring } from "../model/resources.ts";
import type { Setting } from "../model/settings.ts";
import { LINK6_LENGTH, type Link4, type Link6, link4At, link6At } from "../model/transport.ts";
import { HOST_PORT_MAC, PORT_GATEWAY6 } from "../model/wiring.ts";
import type { NetworkFacts, PortBinding, Source } from "../ruleset/elements.ts";
import type { HostView } from "./desired.ts";
import { inOrder, PORT4, PORT6, type RoutedWish, routedSource, settingsOn, type Values } from "./routed.ts";

type Transport = Extract<Wiring, { readonly kind: "transport" }>;

interface Ends {
  readonly link4: Link4;
  /** Where the network has IPv6. */
  readonly link6?: Link6;
}

const isGlobal6 = (what: IpBlock): what is IpBlock & { readonly kind: "address6"; readonly address: Ipv6Address } =>
  what.kind === "address6" && !isLinkLocal6(what.address);

/** The NIC's own addresses come first (`sourcesOf`). */
function endsOf(sources: readonly Source[], { link4 }: Transport, hasIp6: boolean): Ends {
  const blocks = sources.map(({ what }) => what);
  const four = blocks.find((what) => what.kind === "address4");
  const six = hasIp6 ? blocks.find(isGlobal6) : undefined;
  if (four === undefined) throw new GuardError("INTERNAL", "a NIC of a transport network has no IPv4 address");
  const ends = { link4: link4At(four.address, link4) };
  return six === undefined ? ends : { ...ends, link6: link6At(six.address) };
}

/** No two ports share a gateway or a subnet: only its MAC is the network's. */
export function transportFacts(spec: NetworkSpec, facts: NetworkFacts): NetworkFacts {
  const own = { ...facts, gatewayMac: HOST_PORT_MAC, routed: { isPool: true } } as const;
  return spec.prefix6 === undefined ? own : { ...own, gateway6: PORT_GATEWAY6 };
}

/** A guest makes its host ask the LAN for whoever it speaks to there: which addresses that are, the host's own on the uplink say. */
export function withLan(
  facts: NetworkFacts,
  spec: NetworkSpec | undefined,
  { links, lan }: Pick<HostView, "links" | "lan">,
): NetworkFacts {
  const wiring = spec?.wiring.kind === "transport" || spec?.wiring.kind === "nat" ? spec.wiring : undefined;
  const uplink = wiring === undefined ? undefined : links.byName(wiring.uplink);
  const found = uplink === undefined ? [] : (lan?.(uplink.ifindex) ?? []);
  return found.length === 0 ? facts : { ...facts, routed: { ...facts.routed, lan: found } };
}

/** As others of the network see a NIC: it and the other end of its link are where the host is. */
export function transportMembers(
  sources: readonly Source[],
  wiring: Transport,
  { prefix6 }: Pick<NetworkSpec, "prefix6">,
): readonly Source[] {
  const { link4, link6 } = endsOf(sources, wiring, prefix6 !== undefined);
  const left: IpBlock[] = [{ kind: "address4", address: link4.left }];
  if (link6 !== undefined) left.push({ kind: "address6", address: link6.left });
  return [...left.map((what) => ({ what, mac: HOST_PORT_MAC })), ...sources.map(routedSource)];
}

type Item<K extends RouteItem["kind"]> = Extract<RouteItem, { readonly kind: K }>;

/** The host's end. A router is known by its link-local address (RFC 4861 section 6.1.2), which is the same on every port. */
function leftItems(ifindex: number, { link4, link6 }: Ends, length4: number): readonly Item<"address">[] {
  const six: readonly (readonly [Ipv6Address, number])[] =
    link6 === undefined
      ? []
      : [
          [PORT_GATEWAY6, 64],
          [link6.left, LINK6_LENGTH],
        ];
  return [
    { kind: "address", ifindex, address: ipv4ToBytes(link4.left), length: length4 },
    ...six.map(([address, length]) => ({ kind: "address", ifindex, address: ipv6ToBytes(address), length }) as const),
  ];
}

/** The right-hand addresses are on the link; whatever else is the guest's lies behind them. */
function rightItems({ what }: Source, { ifindex, mac }: PortBinding, { link4, link6 }: Ends): readonly RouteItem[] {
  const { first } = blockOctets(what);
  const length = prefixLength(what);
  const neighbour: RouteItem = { kind: "neighbour", ifindex, address: first, mac };
  if ("address" in what && isLinkLocal(what)) return [neighbour];
  const route: RouteItem = { kind: "route", ifindex, address: first, length };
  const right = first.length === 4 ? link4.right : link6?.right;
  if (right === undefined) return [];
  if ("address" in what && what.address === right) return [neighbour, route];
  return [{ ...route, via: ipToBytes(right) }];
}

const isLinkLocal = (what: IpBlock): boolean => what.kind === "address6" && isLinkLocal6(what.address);

function prefixLength(what: IpBlock): number {
  if (!("address" in what)) return Number(what.prefix.slice(what.prefix.indexOf("/") + 1));
  return what.kind === "address4" ? 32 : 128;
}

const UPLINK4: Values = [["forwarding4", 1]];
/** The uplink answers for nobody, so it need not be a router to its neighbours, and goes on hearing router advertisements. */
const UPLINK6: Values = [["forwarding6", 1]];

function transportSettings(
  port: Pick<Setting, "ifindex" | "device">,
  uplink: Pick<Setting, "ifindex" | "device">,
  hasIp6: boolean,
): readonly Setting[] {
  return [
    ...settingsOn(port, PORT4),
    ...settingsOn(port, [["proxy4", 0]]),
    ...settingsOn(port, hasIp6 ? PORT6 : [["off6", 1]]),
    ...settingsOn(uplink, UPLINK4),
    ...settingsOn(uplink, hasIp6 ? UPLINK6 : []),
  ];
}

/** @param port its name */
export function transportPlace(
  port: InterfaceName,
  own: PortBinding,
  uplink: RoutedWish["uplink"],
  wiring: Transport,
  { prefix6 }: Pick<NetworkSpec, "prefix6">,
): { readonly binding: PortBinding; readonly bridge: 0; readonly routed: RoutedWish } {
  const ends = endsOf(own.sources, wiring, prefix6 !== undefined);
  const binding = { ...own, uplink: uplink.ifindex, gateway4: ends.link4.left };
  const items = [
    ...leftItems(own.ifindex, ends, wiring.link4),
    ...own.sources.flatMap((source) => rightItems(source, binding, ends)),
  ];
  const settings = transportSettings(
    { ifindex: own.ifindex, device: port },
    { ifindex: uplink.ifindex, device: uplink.name },
    prefix6 !== undefined,
  );
  return { binding, bridge: 0, routed: { uplink, items: inOrder(items), settings, announced: [] } };
}
