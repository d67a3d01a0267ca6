/** Bindings and networks as set elements: the bytes the kernel compares, nothing else. */
import { be16, bytesText } from "../model/bytes.ts";
import { isIpv6 } from "../model/ip-block.ts";
import { type Ipv4Address, type Ipv4Prefix, ipv4ToBytes, prefix4Contains, prefix4Octets } from "../model/ipv4.ts";
import { type Ipv6Address, type Ipv6Prefix, ipv6ToBytes, isLinkLocal6, prefix6Bounds } from "../model/ipv6.ts";
import { type MacAddress, macToBytes } from "../model/mac.ts";
import { unreachable } from "../model/never.ts";
import type { Rates } from "../model/rates.ts";
import { reasonTable } from "../model/reasons.ts";
import type { HostService, IpBlock, LanServer, Role, Uncheckable } from "../model/resources.ts";
import type { Family, SetSpec, Table } from "./ast.ts";
import { type Brouter, broutedNetworkElements, broutedPortElements } from "./brouted-elements.ts";
import { concatKey, hostU32, networkU32, type PlacedElement } from "./element-bytes.ts";
import { type Translation, translationElements } from "./nat-elements.ts";
import { type PortPolicy, portPolicyElements } from "./policy-elements.ts";

/** One of the addresses or prefixes of a port, and the MAC it goes with in ARP and ND. */
export interface Source {
  readonly what: IpBlock;
  readonly mac: MacAddress;
  /** Others may have it too: it is wherever it last announced itself, so the host does not answer for it. */
  readonly shared?: boolean;
}

/** What one port may be: the guard contract's binding. */
export interface PortBinding {
  readonly ifindex: number;
  /** The NIC's own; `sources` may bring more. */
  readonly mac: MacAddress;
  /** Everything of both families that the port may speak as, link-local addresses too. */
  readonly sources: readonly Source[];
  /** Number of the port's network; stands in the packet mark while the guard looks at a frame. */
  readonly network: number;
  readonly roles: readonly Role[];
  readonly unchecked: readonly Uncheckable[];
  readonly observed: boolean;
  readonly rates: Rates;
  /** Its addresses are another DHCP server's to give: until then it may only ask. */
  readonly learns?: true;
  /** Of a port that is a link of its own: the host's end. Elsewhere the network's facts have the gateway. */
  readonly gateway4?: Ipv4Address;
  /** Of a routed port the ifindex of its network's uplink. */
  readonly uplink?: number;
  /** Present when its IPv4 addresses are private. */
  readonly nat?: Translation;
  /** Of a brouted port its bridge. */
  readonly brouter?: Brouter;
  /** Only what is the port's alone is said of it: its addresses are still found elsewhere. */
  readonly waits?: true;
  /** Present when its flows must be judged. */
  readonly policy?: Pick<PortPolicy, "families" | "connections">;
}

/** What the guard must know of a network whose members it guards. */
export interface NetworkFacts {
  readonly network: number;
  readonly prefix4: Ipv4Prefix;
  readonly gateway4: Ipv4Address;
  readonly gateway6?: Ipv6Address;
  readonly gatewayMac?: MacAddress;
  readonly hostServices: readonly HostService[];
  readonly multicast: readonly (Ipv4Address | Ipv6Address)[];
  /** Address and MAC of every guest of the network: nobody else may announce these. On a routed port all are where the host is. */
  readonly members: readonly Source[];
  /** DHCP servers on the LAN whose answers are for the agent to judge and pass on. */
  readonly servers?: readonly LanServer<Ipv4Address | Ipv6Address>[];
  /** The host routes for its guests, and answers for every IPv6 address but the asker's own. */
  readonly routed?: {
    readonly prefix6?: Ipv6Prefix;
    /** The prefixes are pools of links: no guest's subnet, and nothing that the LAN holds. */
    readonly isPool?: true;
    /** Its IPv4 addresses are private: of it, too, the LAN holds nothing. */
    readonly isInside?: true;
    /** Of these, what the LAN behind the uplink of this host holds. */
    readonly lan?: readonly IpBlock[];
  };
  /** The same by way of a bridge: its guests are where the host is in each other's eyes, and where they are in the LAN's. */
  readonly brouted?: { readonly prefix6?: Ipv6Prefix };
}

/** Families whose birth tables must let an armed port pass. */
const armedFamilies = ["bridge", "inet", "arp"] as const;

type Place = (
  set: string,
  key: Uint8Array,
  more?: Pick<PlacedElement, "data" | "limit" | "connections" | "keyEnd">,
) => void;

function collector(): { readonly place: Place; readonly elements: PlacedElement[] } {
  const elements: PlacedElement[] = [];
  const place: Place = (set, key, more = {}) => {
    elements.push({ family: "netdev", set, key, ...more });
  };
  return { place, elements };
}

export function macsOf(binding: Pick<PortBinding, "mac" | "sources">): readonly MacAddress[] {
  return [...new Set([binding.mac, ...binding.sources.map(({ mac }) => mac)])];
}

function placeSource(place: Place, ifindex: number, { what, mac }: Source): void {
  const port = hostU32(ifindex);
  switch (what.kind) {
    case "address4": {
      const ip = ipv4ToBytes(what.address);
      place("bind4", concatKey(port, macToBytes(mac), ip));
      place("addr4", concatKey(port, ip));
      return;
    }
    case "prefix4": {
      const { first, last } = prefix4Octets(what.prefix);
      const key = networkU32(ifindex);
      place("binds4", concatKey(key, macToBytes(mac), first), { keyEnd: concatKey(key, macToBytes(mac), last) });
      place("addrs4", concatKey(key, first), { keyEnd: concatKey(key, last) });
      return;
    }
    case "address6": {
      const key = concatKey(port, ipv6ToBytes(what.address));
      place("addr6", key);
      if (isLinkLocal6(what.address)) place("linklocal6", key);
      return;
    }
    case "prefix6": {
      const { first, last } = prefix6Bounds(what.prefix);
      place("addrs6", concatKey(networkU32(ifindex), first), { keyEnd: concatKey(networkU32(ifindex), last) });
      return;
    }
    default:
      unreachable(what);
  }
}

/** The host may say who has it. */
function placeAnswer(place: Place, mark: Uint8Array, what: IpBlock): void {
  if (what.kind === "address4") place("answers4", concatKey(mark, ipv4ToBytes(what.address)));
  if (what.kind === "address6") place("answers6", concatKey(mark, ipv6ToBytes(what.address)));
}

const shareSets = {
  arp: "rate_arp",
  nd: "rate_nd",
  dhcp: "rate_dhcp",
  multicast: "rate_multicast",
  syn: "rate_syn",
} as const;

function placeShares(place: Place, port: Uint8Array, rates: Rates): void {
  for (const name of ["arp", "nd", "dhcp", "multicast", "syn"] as const)
    place(shareSets[name], port, { limit: { ...rates[name], unit: "packets" } });
  place("rate_bytes", port, { limit: { ...rates.bytes, unit: "bytes" } });
  place("rate_to_packets", port, { limit: { ...rates.toGuestPackets, unit: "packets" } });
  place("rate_to_bytes", port, { limit: { ...rates.toGuestBytes, unit: "bytes" } });
}

/** Of a routed port the host itself answers, as the router; of a brouted one it knows the guest in any case. */
const isAnsweredFor = ({ observed, uplink, brouter, waits }: PortBinding): boolean =>
  waits !== true && (brouter !== undefined || (!observed && uplink === undefined));

export function portElements(binding: PortBinding): readonly PlacedElement[] {
  const { ifindex, mac, rates } = binding;
  const port = hostU32(ifindex);
  const network = hostU32(binding.network);
  const { place, elements } = collector();
  place("ports", port);
  place("network", port, { data: network });
  place("chaddr", concatKey(port, macToBytes(mac)));
  for (const own of macsOf(binding)) {
    const key = concatKey(port, macToBytes(own));
    place("macs", key);
    place("identity", key, { data: network, limit: { ...rates.packets, unit: "packets" } });
  }
  for (const source of binding.sources) {
    placeSource(place, ifindex, source);
    if (source.shared !== true && isAnsweredFor(binding)) placeAnswer(place, network, source.what);
  }
  placeShares(place, port, rates);
  if (binding.roles.includes("dhcp-server")) place("dhcp_servers", port);
  if (binding.roles.includes("router")) place("ra_senders", port);
  if (binding.sources.some(({ shared }) => shared === true)) place("sharers", port);
  if (binding.observed) place("observed", port);
  for (const reason of binding.unchecked) place("unchecked", concatKey(port, hostU32(reasonTable[reason].code)));
  for (const family of armedFamilies) elements.push({ family, set: "armed", key: port });
  if (binding.observed || binding.unchecked.includes("host"))
    elements.push({ family: "bridge", set: "host_open", key: port });
  elements.push(...hostRouteElements(port, binding));
  if (binding.policy !== undefined) elements.push(...portPolicyElements(policyOf(binding, binding.policy)));
  return once(elements);
}

/** Where the host routes what the port sends, and as whom. */
function hostRouteElements(port: Uint8Array, binding: PortBinding): readonly PlacedElement[] {
  const { brouter, nat, waits } = binding;
  const sources = waits === true ? [] : binding.sources;
  return [
    ...(brouter === undefined ? [] : broutedPortElements({ ...binding, sources }, brouter)),
    ...wayElements(port, binding),
    ...(nat === undefined ? [] : translationElements(port, waits === true ? { insides: [], forwards: [] } : nat)),
  ];
}

/** Of a routed port: where its packets may go, and who else is on a link of its own. */
function wayElements(port: Uint8Array, { uplink: ifindex, gateway4 }: PortBinding): readonly PlacedElement[] {
  if (ifindex === undefined) return [];
  const uplink = hostU32(ifindex);
  const keys = [concatKey(port, uplink), concatKey(uplink, port)];
  const gateways = gateway4 === undefined ? [] : [concatKey(port, ipv4ToBytes(gateway4))];
  return [
    ...gateways.map((key): PlacedElement => ({ family: "netdev", set: "link_gateways", key })),
    { family: "inet", set: "routed", key: port },
    ...keys.map((key): PlacedElement => ({ family: "inet", set: "ways", key })),
  ];
}

function policyOf(
  { ifindex, sources, observed, rates, waits }: PortBinding,
  own: NonNullable<PortBinding["policy"]>,
): PortPolicy {
  const whats = waits === true ? [] : sources.map(({ what }) => what);
  return { ...own, ifindex, observed, newFlows: rates.syn, sources: whats };
}

/** Two sources may make the same element (one address with two MACs); the kernel wants it named once. */
function once(elements: readonly PlacedElement[]): readonly PlacedElement[] {
  const seen = new Map<string, PlacedElement>();
  for (const element of elements) seen.set(`${element.family}/${element.set}/${bytesText(element.key)}`, element);
  return [...seen.values()];
}

function placeTrue(place: Place, mark: Uint8Array, { what, mac }: Source): void {
  if (what.kind === "address4") {
    place("known4", concatKey(mark, ipv4ToBytes(what.address)));
    place("true4", concatKey(mark, ipv4ToBytes(what.address), macToBytes(mac)));
  }
  if (what.kind === "address6") {
    place("known6", concatKey(mark, ipv6ToBytes(what.address)));
    place("true6", concatKey(mark, ipv6ToBytes(what.address), macToBytes(mac)));
  }
}

function placeGateway(place: Place, mark: Uint8Array, facts: NetworkFacts): void {
  const { gateway4, gateway6, gatewayMac, routed, brouted } = facts;
  if (gatewayMac === undefined) {
    place("gateways4", concatKey(mark, ipv4ToBytes(gateway4)));
    if (gateway6 !== undefined) place("gateways6", concatKey(mark, ipv6ToBytes(gateway6)));
    return;
  }
  place("routers", concatKey(mark, macToBytes(gatewayMac)));
  // Of a pool each port has its own, where the kernel answers for it.
  const blocks: IpBlock[] = routed?.isPool === true ? [] : [{ kind: "address4", address: gateway4 }];
  if (gateway6 !== undefined) blocks.push({ kind: "address6", address: gateway6 });
  for (const what of blocks) {
    // The LAN's own gateway asks for brouted guests, from a MAC that is nobody's to say.
    if (brouted === undefined || what.kind === "address6") placeTrue(place, mark, { what, mac: gatewayMac });
    placeAnswer(place, mark, what);
  }
  if (gateway6 !== undefined) place("routers6", concatKey(mark, ipv6ToBytes(gateway6)));
}

function placeServices(place: Place, mark: Uint8Array, services: readonly HostService[]): void {
  const numbers = { tcp: 6, udp: 17 } as const;
  for (const { protocol, ports } of services) {
    if (protocol === "icmp") place("host_echo", mark);
    else if (typeof protocol === "number") place("host_protocols", concatKey(mark, Uint8Array.of(protocol)));
    else
      for (const port of ports) place("host_services", concatKey(mark, Uint8Array.of(numbers[protocol]), be16(port)));
  }
}

function placeGroups(place: Place, mark: Uint8Array, groups: NetworkFacts["multicast"]): void {
  for (const group of groups) {
    const [name, bytes] = isIpv6(group) ? (["6", ipv6ToBytes(group)] as const) : (["4", ipv4ToBytes(group)] as const);
    place(`groups${name}`, concatKey(mark, bytes));
    place(`multicast${name}`, mark);
  }
}

function placeServer(place: Place, mark: Uint8Array, { address, mac }: LanServer<Ipv4Address | Ipv6Address>): void {
  const [family, bytes] = isIpv6(address) ? ([6, ipv6ToBytes(address)] as const) : ([4, ipv4ToBytes(address)] as const);
  if (mac === undefined) place(`lease_servers${family}`, concatKey(mark, bytes));
  else place(`lease_server_macs${family}`, concatKey(mark, bytes, macToBytes(mac)));
}

function placeSubnet(place: Place, wide: Uint8Array, { prefix4, gateway4 }: NetworkFacts): void {
  const { first, last } = prefix4Octets(prefix4);
  place("prefix4", concatKey(wide, first), { keyEnd: concatKey(wide, last) });
  // On a routed port the gateway may be outside the prefix, and a guest must be able to ask for it.
  const gateway = ipv4ToBytes(gateway4);
  if (!prefix4Contains(prefix4, gateway4))
    place("prefix4", concatKey(wide, gateway), { keyEnd: concatKey(wide, gateway) });
}

export function networkElements(facts: NetworkFacts): readonly PlacedElement[] {
  const mark = hostU32(facts.network);
  const { place, elements } = collector();
  if (facts.routed?.isPool !== true) placeSubnet(place, networkU32(facts.network), facts);
  if (facts.routed !== undefined) place("routing", mark);
  if (facts.routed?.prefix6 !== undefined) place("answers_all6", mark);
  if (facts.brouted !== undefined) elements.push(...broutedNetworkElements(facts.network, facts.brouted.prefix6));
  placeGateway(place, mark, facts);
  for (const member of facts.members) placeTrue(place, mark, member);
  placeServices(place, mark, facts.hostServices);
  placeGroups(place, mark, facts.multicast);
  for (const server of facts.servers ?? []) placeServer(place, mark, server);
  return once(elements);
}

/** What the agent must say again and again while it answers ARP and ND of a network. */
export function suppressElement(network: number): PlacedElement {
  return { family: "netdev", set: "suppress", key: hostU32(network) };
}

const WISHED: readonly SetSpec["use"][] = ["static", "ranges", "limited", "limitedBytes", "connections"];

/** The sets whose every element is wished for: anything else in them is not ours to leave there. */
export function wishedSets(tables: readonly Table[]): readonly { readonly family: Family; readonly set: string }[] {
  return tables.flatMap(({ family, sets }) =>
    sets.filter(({ use }) => WISHED.includes(use)).map(({ name }) => ({ family, set: name })),
  );
}
