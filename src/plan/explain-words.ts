/** What every set and every reason says in a sentence about one frame at one port. */

import { isIpv6 } from "../model/ip-block.ts";
import type { Ipv4Address } from "../model/ipv4.ts";
import type { Ipv6Address } from "../model/ipv6.ts";
import { type Reason, reasonTable } from "../model/reasons.ts";
import type { Field } from "../ruleset/ast.ts";
import { macsOf, type NetworkFacts, type PortBinding } from "../ruleset/elements.ts";

/** The port a question is about, with the names that sentences use. */
export interface ExplainedPort {
  /** Such as `web1/0`: guest and number of the NIC. */
  readonly nic: string;
  readonly network: string;
  readonly binding: PortBinding;
  readonly facts: NetworkFacts;
  /** Whether an address is one of the network's own link. */
  isOnLink(address: Ipv4Address | Ipv6Address): boolean;
  /** Who has an address in the network, such as "db1/0" or "the gateway of lan0". */
  owner(address: string): string | undefined;
}

/** One frame on its way, and how to read it. */
export interface Told {
  readonly port: ExplainedPort;
  readonly isFromGuest: boolean;
  /** The field as text; "?" where the frame ends before it. */
  read(field: Field): string;
}

export interface SetWords {
  /** Where an operator finds what fills it. */
  what(port: ExplainedPort): string;
  /** Of an element that was there; undefined where it says nothing worth telling. */
  holds?(values: readonly string[], port: ExplainedPort): string;
}

const ofNic =
  (field: string): SetWords["what"] =>
  ({ nic }) =>
    `${field} of NIC ${nic}`;
const ofNetwork =
  (field: string): SetWords["what"] =>
  ({ network }) =>
    `${field} of network ${network}`;

const ownPair: SetWords["holds"] = ([mac, ip], { nic }) => `${ip} with ${mac} is ${nic}'s`;
const ownAddress: SetWords["holds"] = ([ip], { nic }) => `${ip} is an address of ${nic}`;
const truth: SetWords["holds"] = ([ip = "", mac], { owner }) =>
  `${ip} is ${owner(ip) ?? "a member"} and ${mac} is its MAC`;
const gateway: SetWords["holds"] = ([ip], { network }) => `${ip} is the gateway of ${network}`;
const named: SetWords["holds"] = ([ip, mac]) => `ARP or ND has named ${mac} for ${ip} to this port`;
const group: SetWords["holds"] = ([ip], { network }) => `${network} allows the group ${ip}`;
const memberships: SetWords["holds"] = (_, { network }) => `${network} allows multicast groups`;

const server: SetWords["holds"] = ([ip], { network }) => `${ip} is a DHCP server of ${network}`;

/** Of every set that rules look into. */
export const setWords: Readonly<Record<string, SetWords>> = {
  ports: { what: ({ nic }) => `the attachment of NIC ${nic}` },
  macs: { what: ofNic("MAC addresses") },
  identity: { what: ofNic("MAC addresses") },
  network: { what: ofNic("network") },
  chaddr: { what: ofNic("MAC"), holds: ([mac], { nic }) => `${mac} is the MAC of ${nic}` },
  bind4: { what: ofNic("IPv4 addresses"), holds: ownPair },
  binds4: { what: ofNic("IPv4 prefixes"), holds: ownPair },
  addr4: { what: ofNic("IPv4 addresses"), holds: ownAddress },
  addrs4: { what: ofNic("IPv4 prefixes"), holds: ownAddress },
  link_gateways: { what: ofNic("link"), holds: ([ip], { nic }) => `${ip} is the host's end of the link of ${nic}` },
  addr6: { what: ofNic("IPv6 addresses"), holds: ownAddress },
  addrs6: { what: ofNic("IPv6 prefixes"), holds: ownAddress },
  linklocal6: { what: ofNic("link-local addresses"), holds: ownAddress },
  dhcp_servers: { what: ofNic("role dhcp-server"), holds: (_, { nic }) => `${nic} has the role dhcp-server` },
  ra_senders: { what: ofNic("role router"), holds: (_, { nic }) => `${nic} has the role router` },
  observed: { what: ofNic("mode") },
  unchecked: { what: ofNic("unchecked lines") },
  prefix4: { what: ofNetwork("prefix4"), holds: ([ip], { network }) => `${ip} is inside the prefix of ${network}` },
  known4: { what: ofNetwork("members and gateway") },
  true4: { what: ofNetwork("members and gateway"), holds: truth },
  known6: { what: ofNetwork("members and gateway") },
  true6: { what: ofNetwork("members and gateway"), holds: truth },
  gateways4: { what: ofNetwork("gateway4"), holds: gateway },
  gateways6: { what: ofNetwork("gateway6"), holds: gateway },
  routers: {
    what: ofNetwork("gatewayMac"),
    holds: ([mac], { network }) => `${mac} is the gateway's MAC on ${network}`,
  },
  routers6: { what: ofNetwork("gateway6"), holds: gateway },
  groups4: { what: ofNetwork("multicast"), holds: group },
  groups6: { what: ofNetwork("multicast"), holds: group },
  multicast4: { what: ofNetwork("multicast"), holds: memberships },
  multicast6: { what: ofNetwork("multicast"), holds: memberships },
  sharers: { what: ofNic("allowedPairs"), holds: (_, { nic }) => `${nic} shares an address (allowedPairs)` },
  host_services: {
    what: ofNetwork("hostServices"),
    holds: ([protocol, number], { network }) => `${network} offers ${protocol} port ${number} of the host`,
  },
  host_protocols: {
    what: ofNetwork("hostServices"),
    holds: ([name], { network }) => `${network} offers ${name} of the host`,
  },
  host_echo: { what: ofNetwork("hostServices"), holds: (_, { network }) => `${network} lets guests ping the host` },
  answers4: { what: ofNetwork("members and gateway"), holds: ([ip]) => `the host knows who has ${ip}` },
  answers_all6: { what: ofNetwork("routing"), holds: () => "the host routes for everybody of the network" },
  routing: { what: ofNetwork("wiring"), holds: (_, { network }) => `the host is the router of ${network}` },
  answers6: { what: ofNetwork("members and gateway"), holds: ([ip]) => `the host knows who has ${ip}` },
  suppress: { what: ofNetwork("suppression") },
  brouted: { what: ofNetwork("wiring"), holds: (_, { network }) => `the host routes what guests of ${network} send` },
  brouters: { what: ofNetwork("wiring") },
  brouted_mark: { what: ofNetwork("wiring") },
  askers: { what: ofNic("questions of the LAN"), holds: ([ip], { nic }) => `${ip} has asked for ${nic}` },
  askers6: { what: ofNic("questions of the LAN"), holds: ([ip], { nic }) => `${ip} has asked for ${nic}` },
  asked4: { what: ofNic("machines asked for") },
  asked6: { what: ofNic("machines asked for") },
  router_sums: { what: ofNic("IPv6 addresses") },
  prefix6: { what: ofNetwork("prefix6"), holds: ([ip], { network }) => `${ip} is inside the prefix of ${network}` },
  heard4: { what: ofNetwork("machines heard lately") },
  heard6: { what: ofNetwork("machines heard lately") },
  rate_arp: { what: ofNic("rates") },
  rate_nd: { what: ofNic("rates") },
  rate_dhcp: { what: ofNic("rates") },
  rate_multicast: { what: ofNic("rates") },
  rate_syn: { what: ofNic("rates") },
  rate_bytes: { what: ofNic("rates") },
  rate_to_packets: { what: ofNic("rates") },
  rate_to_bytes: { what: ofNic("rates") },
  gateway_macs: {
    what: ofNetwork("learned gateway MACs"),
    holds: ([mac], { network }) => `${mac} was heard as the gateway of ${network}`,
  },
  resolved4: { what: ofNic("learned neighbours"), holds: named },
  resolved6: { what: ofNic("learned neighbours"), holds: named },
  leased4: { what: ofNic("IPv4 lease"), holds: (_, { nic }) => `${nic} has an IPv4 lease` },
  leased6: { what: ofNic("IPv6 lease"), holds: (_, { nic }) => `${nic} has an IPv6 lease` },
  lease_servers4: { what: ofNetwork("DHCP servers"), holds: server },
  lease_servers6: { what: ofNetwork("DHCP servers"), holds: server },
  lease_server_macs4: { what: ofNetwork("DHCP servers"), holds: server },
  lease_server_macs6: { what: ofNetwork("DHCP servers"), holds: server },
};

/** Addresses of the NIC in the family of what is compared with them. */
function ownAddresses({ binding }: ExplainedPort, like: string): string {
  const isOther = like.includes(":");
  const own = binding.sources.flatMap(({ what }) => {
    const text: Ipv4Address | Ipv6Address | string = "address" in what ? what.address : what.prefix;
    return text.includes(":") === isOther ? [text] : [];
  });
  return own.length === 0 ? `it has no IPv${isOther ? 6 : 4} address` : own.join(", ");
}

const notOwn = (address: string, port: ExplainedPort): string =>
  `${address} is not an address of ${port.nic} (${ownAddresses(port, address)})`;
const notOwnMac = (mac: string, { nic, binding }: ExplainedPort): string =>
  `${mac} is not a MAC of ${nic} (${macsOf(binding).join(", ")})`;
const isOwnMac = (mac: string, { binding }: ExplainedPort): boolean => macsOf(binding).some((own) => own === mac);

type Sentence = (told: Told) => string;
const generic =
  (reason: Reason): Sentence =>
  () =>
    reasonTable[reason].says;

const isIp6 = (told: Told): boolean => told.read("etherType") === "0x86dd";
const destination = (told: Told): string => told.read(isIp6(told) ? "ip6Destination" : "ip4Destination");

function ethertype(told: Told): string {
  const type = told.read("etherType");
  if (Number(type) < 0x0600) return `it is an 802.3 frame (LLC, such as STP), not Ethernet II with ARP, IPv4 or IPv6`;
  return `Ethernet type ${type} is not ARP, IPv4 or IPv6`;
}

function arpSender(told: Told): string {
  const { port, read, isFromGuest } = told;
  const [mac, ip] = [read("arpSenderMac"), read("arpSenderIp")];
  if (!isFromGuest) return `${ip} belongs to ${port.owner(ip) ?? "somebody else"}, whose MAC is not ${mac}`;
  if (!isOwnMac(mac, port)) return `sender MAC ${notOwnMac(mac, port)}`;
  return notOwn(ip === "0.0.0.0" && read("arpOperation") === "1" ? read("arpTargetIp") : ip, port);
}

function arpTarget({ port, read }: Told): string {
  const target = read("arpTargetIp");
  if (read("arpOperation") === "1" && port.binding.gateway4 !== undefined)
    return `${target} is not on the link of ${port.nic}, whose other end is ${port.binding.gateway4}`;
  if (read("arpOperation") === "1") return `${target} is outside the prefix of ${port.network} (${port.facts.prefix4})`;
  return `a reply to everybody may only announce an own address, and ${notOwn(target, port)}`;
}

function ip4Shape({ read }: Told): string {
  const header = read("ip4VersionIhl");
  if (header !== "0x45")
    return `the IPv4 header is not the plain one of 20 octets (it begins with ${header}): options are not let by`;
  if ((Number(read("ip4Fragment")) & 0x3fff) !== 0)
    return "the fragment is so short, or so placed, that it hides the transport header";
  return "the transport header is not whole";
}

function dhcpClient(told: Told): string {
  const { port, read } = told;
  if (isIp6(told))
    return `a DHCPv6 client asks from its link-local address and port 546 all servers (ff02::1:2); this is ${read("ip6Source")} to ${destination(told)}`;
  const chaddr = read("dhcpChaddr");
  if (chaddr !== port.binding.mac)
    return `the client's hardware address ${chaddr} in the request is not the MAC of ${port.nic} (${port.binding.mac})`;
  return "it is not a whole BOOTREQUEST from port 68";
}

function dhcpServer({ port, isFromGuest, read }: Told): string {
  if (isFromGuest) return `only a server speaks so, and ${port.nic} does not have the role dhcp-server`;
  const { servers } = port.facts;
  if (servers === undefined) return "DHCP reaches a guest only from the host's own responder, on its port";
  const source = read(read("etherType") === "0x86dd" ? "ip6Source" : "ip4Source");
  return `it is no answer to ${port.nic} from a DHCP server of ${port.network} (${servers.map(({ address }) => address).join(", ")}), but from ${source}`;
}

function broadcast({ isFromGuest }: Told): string {
  return isFromGuest ? "only ARP and DHCP requests may go to everybody" : "of broadcasts only ARP reaches a guest";
}

function multicast(told: Told): string {
  const { port, read } = told;
  const type = read("etherType");
  const isIp = type === "0x0800" || type === "0x86dd";
  const what = isIp ? destination(told) : read("etherDestination");
  if (
    told.isFromGuest &&
    isIp &&
    read("transport") === "vrrp" &&
    !port.binding.sources.some(({ shared }) => shared === true)
  )
    return `${port.nic} shares no address (allowedPairs), so VRRP is not its business`;
  const own = port.facts.multicast.filter((one) => isIpv6(one) === isIp6(told));
  return `${port.network} does not allow ${what} (allowed groups: ${own.join(", ") || "none"})`;
}

const nd: Sentence = ({ port, isFromGuest, read }) =>
  isFromGuest
    ? `neighbour discovery must be bare, from this link, and about ${port.nic} itself (${ownAddresses(port, ":")}, ${port.binding.mac}); target is ${read("ndTarget")}`
    : `it is not what the network knows to be true of ${read("ip6Source")}, or it is not for guests`;

const ra: Sentence = ({ port, isFromGuest, read }) =>
  isFromGuest
    ? `${port.nic} does not have the role router`
    : `${read("ip6Source")} is not the gateway of ${port.network} (gateway6: ${port.facts.gateway6 ?? "none"})`;

function destMac(told: Told): string {
  const { port, read } = told;
  const [mac, type] = [read("etherDestination"), read("etherType")];
  const ip = type === "0x0806" ? read("arpTargetIp") : destination(told);
  return `${mac} is neither the gateway's MAC nor that of a member of ${port.network} with ${ip}, and no ARP or ND answer has named it to this port`;
}

function hostService(told: Told): string {
  const { port, read } = told;
  const protocol = read("transport");
  const number = protocol === "tcp" || protocol === "udp" ? ` port ${read("udpDestination")}` : "";
  return `${destination(told)} is the host itself, and ${port.network} does not offer ${protocol}${number} of it (hostServices)`;
}

function noLease(told: Told): string {
  const family = isIp6(told) ? "an IPv6" : "an IPv4";
  return `${told.port.nic} has not got ${family} address from a DHCP server, or its lease is over: it may ask for one, and nothing else`;
}

function notForGuest(told: Told): string {
  const { port, read } = told;
  const mac = read("etherDestination");
  const isGroup = (Number.parseInt(mac.slice(0, 2), 16) & 1) === 1;
  if (!isGroup && !isOwnMac(mac, port))
    return `it is for ${mac}, and ${port.nic} is ${macsOf(port.binding).join(", ")}`;
  if (read("etherType") === "0x0806")
    return `${notOwn(read("arpTargetIp"), port)}, and it is no announcement of a member or the gateway`;
  return notOwn(isIp6(told) && isGroup ? read("ndTarget") : destination(told), port);
}

/** Behind "dropped: reason – ". */
export const reasonSentences: Readonly<Record<Reason, Sentence>> = {
  unbound: ({ port }) => `${port.nic} is attached to nobody: nothing passes, whatever it is`,
  "mac-source": ({ port, read }) => notOwnMac(read("etherSource"), port),
  vlan: ({ read }) => `the frame has a tag (Ethernet type ${read("etherType")})`,
  ethertype,
  "arp-shape": generic("arp-shape"),
  "arp-sender": arpSender,
  "arp-target": arpTarget,
  "ip4-source": ({ port, read }) => notOwn(read("ip4Source"), port),
  "ip4-shape": ip4Shape,
  "dhcp-client": dhcpClient,
  "dhcp-server": dhcpServer,
  broadcast,
  multicast,
  "ip6-source": ({ port, read }) => notOwn(read("ip6Source"), port),
  nd,
  ra,
  "ip6-shape": generic("ip6-shape"),
  "dest-mac": destMac,
  host: hostService,
  tunnel: (told) => `a tunnel (${told.read("transport")}) to ${destination(told)}, which is the host itself`,
  routing: (told) => `${told.read("transport")} tells ${destination(told)} of routes, which is not a guest's to say`,
  "rate-arp": generic("rate-arp"),
  "rate-nd": generic("rate-nd"),
  "rate-dhcp": generic("rate-dhcp"),
  "rate-syn": generic("rate-syn"),
  "rate-packets": generic("rate-packets"),
  "rate-bytes": generic("rate-bytes"),
  "conn-limit": generic("conn-limit"),
  "policy-egress": generic("policy-egress"),
  "policy-ingress": generic("policy-ingress"),
  "rate-multicast": generic("rate-multicast"),
  "not-for-guest": notForGuest,
  "conn-state": generic("conn-state"),
  astray: generic("astray"),
  untranslated: generic("untranslated"),
  "no-lease": noLease,
};

/** The sets of which one element, had it been there or not been there, would have made it otherwise. */
export const decidingSets: Readonly<Partial<Record<Reason, readonly string[]>>> = {
  unbound: ["ports"],
  "mac-source": ["macs"],
  "arp-sender": ["bind4", "true4"],
  "arp-target": ["prefix4", "bind4"],
  "ip4-source": ["addr4"],
  "dhcp-client": ["chaddr", "linklocal6"],
  "dhcp-server": ["dhcp_servers", "lease_servers4", "lease_servers6"],
  multicast: ["groups4", "groups6", "multicast4", "multicast6", "sharers"],
  "ip6-source": ["addr6"],
  nd: ["addr6", "macs", "true6"],
  ra: ["ra_senders", "gateways6", "routers6"],
  "dest-mac": ["resolved4", "resolved6"],
  host: ["host_services", "host_protocols", "host_echo"],
  "not-for-guest": ["macs", "addr4", "addr6"],
  "no-lease": ["leased4", "leased6"],
};
