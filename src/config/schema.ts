/** The fields of site documents, with their defaults and limits. Nothing else in the program writes a default of theirs. */
import { z } from "zod";
import { COOL_DOWN_SECONDS } from "../model/cool-down.ts";
import { defaultRates, type RateName, type Share } from "../model/rates.ts";
import { type HostService, link4Lengths, roles, routedGives, uncheckable } from "../model/resources.ts";
import { addressingOf } from "./addressing-kinds.ts";
import { nicTell, responderFields } from "./dhcp-told.ts";
import { parsed, parsedNumber, typeNames } from "./fields.ts";
import { hasNeedlessGateway, lacksGateway, NEEDLESS_GATEWAY, withGateway } from "./gateway.ts";
import { learnedFields } from "./learned.ts";
import { masquerade, publicFields } from "./nat.ts";
import { groupSpec } from "./policy.ts";
import {
  address4,
  address6,
  domainName,
  hostname,
  hostProtocol,
  interfaceName,
  ipAddress,
  ipBlock,
  macAddress,
  objectName,
  prefix4,
  prefix6,
  range4,
} from "./text.ts";
import { wiringOf } from "./wiring.ts";

/** Most of anything in one file; beyond it a file is a mistake rather than a wish. */
export const limits = {
  fileCharacters: 64 * 1024 * 1024,
  fileObjects: 65_536,
  nesting: 32,
  aliases: 256,
} as const;

const wiring = z
  .strictObject({
    kind: z
      .enum(["bridged", "routed", "brouted", "transport", "nat"])
      .describe(
        "How a port reaches the network. `bridged`: the port joins the bridge. `routed`: the port joins no bridge, and the host routes. `brouted`: the port joins the bridge, the host routes what the guest sends, and what is sent to it is bridged. `transport`: as `routed`, and each port is a subnet of its own. `nat`: as `routed`, with private IPv4 addresses, which the host translates.",
      ),
    bridge: parsed(
      interfaceName,
      "The bridge that ports of a bridged or brouted network join. It must exist on the host.",
    ).exactOptional(),
    uplink: parsed(
      interfaceName,
      "The host's interface towards the LAN. Networks of every wiring but bridged need it: by it their packets come and go. Of a bridged network a port of the bridge, and only told.",
    ).exactOptional(),
    gives: z
      .enum(routedGives)
      .exactOptional()
      .describe(
        "What guests of a network of kind `routed` or `nat` are given. `address` (when left out): their address alone and 169.254.0.1 as gateway, on the port itself. `prefix`: the network's prefix and its gateway4; the host answers every ARP on the port.",
      ),
    masquerade: masquerade.exactOptional(),
    link4: z
      .literal(link4Lengths)
      .exactOptional()
      .describe(
        "Prefix length of the link between the host and each guest of a transport network, 31 when left out (RFC 3021). 30 is for guests that know no /31. IPv6 has /127 (RFC 6164).",
      ),
  })
  .transform(wiringOf)
  .describe("How a port reaches the network.");

const route = z.strictObject({
  to: parsed(prefix4, "Destination."),
  via: parsed(address4, "Router of this network; 0.0.0.0 when the destination is on the link (RFC 3442)."),
});

const addressing = z
  .strictObject({
    kind: z
      .enum(["managed", "static", "mac", "relay", "snoop"])
      .describe(
        "Who decides the addresses, and how a guest learns its own. `managed`: vifguard, and answers DHCP. `static`: vifguard, and the guest is configured by hand. `mac`: vifguard, and the guest reads it in its own MAC. `relay`: DHCP servers elsewhere, which vifguard's relay agent asks for the guest. `snoop`: DHCP servers on the bridge's LAN. Of the last two vifguard reads what they give.",
      ),
    leaseSeconds: z
      .int()
      .min(10)
      .max(31_536_000)
      .exactOptional()
      .describe("How long a DHCP lease lasts: 3600 when left out. Guests renew after half of it."),
    macScheme: z
      .enum(["ip", "net", "random"])
      .exactOptional()
      .describe(
        "`ip`: the address decides the MAC, fe:00 and its four octets. `net`: so do prefix length and gateway, for guests that read them there; always so with `kind: mac`. `random` (when left out): a locally administered MAC, drawn once per NIC.",
      ),
    dns: z.array(parsed(address4, "DNS server.")).max(8).default([]).describe("DNS servers told to guests, in order."),
    dns6: z
      .array(parsed(address6, "DNS server."))
      .max(8)
      .default([])
      .describe("The same by DHCPv6 and router advertisement."),
    ntp: z.array(parsed(address4, "NTP server.")).max(8).default([]).describe("NTP servers told to guests."),
    domain: parsed(domainName, "Domain name told to guests.").exactOptional(),
    search: z
      .array(parsed(domainName, "Search domain."))
      .max(16)
      .default([])
      .describe("Search domains told to guests (RFC 3397)."),
    mtu: z.int().min(576).max(9216).exactOptional().describe("MTU told to guests; nothing is told without it."),
    routes: z
      .array(route)
      .max(64)
      .default([])
      .describe("Static routes told to guests besides the default route (RFC 3442)."),
    ...responderFields,
    ...learnedFields,
  })
  .transform(addressingOf)
  .describe("How a guest gets its address and how vifguard knows it.");

const mode = z.enum(["enforce", "observe"]);

/** A number alone is the rate; what may be saved up is then twice that. */
function share(name: RateName) {
  const { perSecond, burst } = defaultRates[name];
  const most = name === "bytes" || name === "toGuestBytes" ? 100_000_000_000 : 10_000_000;
  const number = z.int().min(1).max(most);
  return z
    .union([
      number,
      z.strictObject({
        perSecond: number.describe("How many in a second, over time."),
        burst: z.int().min(1).max(4_000_000_000).describe("How many at once after a silence."),
      }),
    ])
    .transform(
      (value): Share =>
        typeof value === "number" ? { perSecond: value, burst: Math.min(2 * value, 4_000_000_000) } : value,
    )
    .register(typeNames, { type: `1-${most} | {perSecond, burst}` })
    .describe(`${rateTexts[name]} Default: ${perSecond} a second, ${burst} at once.`)
    .exactOptional();
}

const rateTexts: Readonly<Record<RateName, string>> = {
  arp: "ARP packets.",
  nd: "Neighbour and router solicitations, advertisements.",
  dhcp: "DHCP and DHCPv6 messages.",
  multicast: "Multicast packets, IGMP and MLD reports, where multicast is allowed.",
  syn: "New flows: TCP connection attempts, and of NICs that are not open to all the first packets of other flows.",
  packets: "Frames of any kind.",
  bytes: "Octets of IP packets.",
  toGuestPackets: "Frames to the guest.",
  toGuestBytes: "Octets to the guest.",
};

const rates = z
  .strictObject({
    arp: share("arp"),
    nd: share("nd"),
    dhcp: share("dhcp"),
    multicast: share("multicast"),
    syn: share("syn"),
    packets: share("packets"),
    bytes: share("bytes"),
    toGuestPackets: share("toGuestPackets"),
    toGuestBytes: share("toGuestBytes"),
  })
  .default({})
  .describe(
    "What one port may send in a second, and be sent: a number, or {perSecond, burst}. More is dropped and counted.",
  );

const connections = z.int().min(1).max(1_000_000);

const groups = z.array(parsed(objectName, "Name of a group.")).max(16).default([]);

const hostService = z
  .strictObject({
    protocol: parsedNumber(hostProtocol, "Protocol; icmp means echo requests of both families."),
    ports: z
      .array(z.int().min(1).max(65_535))
      .max(64)
      .default([])
      .describe("Ports of the host; tcp and udp need them."),
  })
  .transform((service): HostService => service);

const networkFields = z.strictObject({
  prefix4: parsed(prefix4, "The IPv4 prefix of the network; host bits are zero."),
  gateway4: parsed(
    address4,
    "The default gateway, inside the prefix. No guest ever gets this address. Required, but of a transport network, where each guest's gateway is the left-hand address of its link.",
  ).exactOptional(),
  range4: z
    .array(parsed(range4, "First and last address, both included."))
    .max(256)
    .default([])
    .describe(
      "Where addresses are taken from. Without it only the addresses that NICs name (`address4`) are given out.",
    ),
  gatewayMac: parsed(
    macAddress,
    "When it is named, only this MAC may speak for the gateway's addresses.",
  ).exactOptional(),
  prefix6: parsed(
    prefix6,
    "The IPv6 prefix of the network. Without it guests have no IPv6 at all, link-local addresses neither.",
  ).exactOptional(),
  gateway6: parsed(
    address6,
    "The IPv6 router, by its link-local address. Without it guests are told no default route.",
  ).exactOptional(),
  hostServices: z
    .array(hostService)
    .max(64)
    .default([])
    .describe("What guests may use of the host itself besides ARP, ND and DHCP. Nothing by default."),
  multicast: z
    .array(parsed(ipAddress, "Multicast group."))
    .max(64)
    .default([])
    .describe("Groups of both families that guests may join, send to and hear. None by default."),
  suppression: z
    .boolean()
    .default(true)
    .describe(
      "Whether the host answers ARP and neighbour solicitations for what it knows, so that they do not leave the port.",
    ),
  mode: mode
    .default("enforce")
    .describe(
      "`observe`: everything is judged, counted and logged, nothing dropped. For adopting vifguard on a running host.",
    ),
  rates,
  groups: groups.describe("Security groups of the NICs that name none."),
  connections: connections
    .default(8192)
    .describe("Connections of one NIC that may be tracked at once; NICs that are open to all need none."),
  coolDown: z
    .int()
    .min(0)
    .max(2_592_000)
    .exactOptional()
    .describe(
      `Seconds that an address or a MAC that a guest gave up (it was deleted, or has another one) is nobody else's: ${COOL_DOWN_SECONDS} when left out, 0 for none. The same guest has its own back at once.`,
    ),
  wiring,
  addressing: addressing.prefault({ kind: "managed" }),
});

/** Asked whatever else is wrong with the network. */
const always = { path: ["gateway4"], when: (): boolean => true };
const networkSpec = networkFields
  .refine((network) => !lacksGateway(network), {
    ...always,
    message: "is missing (IPv4 address)",
    params: { missing: true },
  })
  .refine((network) => !hasNeedlessGateway(network), { ...always, message: NEEDLESS_GATEWAY })
  .transform(withGateway);

const nic = z.strictObject({
  network: parsed(objectName, "The network the NIC is on."),
  mac: parsed(macAddress, "A fixed MAC, unicast. Assigned by the network's macScheme without it.").exactOptional(),
  address4: parsed(
    address4,
    "A fixed address inside the network's prefix; it may lie outside range4. Assigned from range4 without it.",
  ).exactOptional(),
  address6: parsed(
    address6,
    "A fixed IPv6 address inside prefix6. Without it the prefix with the interface identifier of the MAC (EUI-64).",
  ).exactOptional(),
  addresses: z
    .array(parsed(ipBlock, "Address or prefix."))
    .max(64)
    .default([])
    .describe("More addresses of both families, and whole prefixes, that are this NIC's alone."),
  allowedPairs: z
    .array(
      z
        .strictObject({
          address: parsed(ipBlock, "Address or prefix."),
          mac: parsed(macAddress, "The MAC that goes with it; the NIC's own without it.").exactOptional(),
        })
        .transform(({ address, ...rest }) => ({ what: address, ...rest })),
    )
    .max(64)
    .default([])
    .describe("Addresses that other NICs may have as well, such as one that VRRP moves."),
  roles: z
    .array(z.enum(roles))
    .max(2)
    .default([])
    .describe("`dhcp-server`: may answer DHCP. `router`: may send router advertisements."),
  unchecked: z
    .array(z.enum(uncheckable))
    .max(uncheckable.length)
    .default([])
    .describe("Lines of the contract switched off for this NIC; shown in `status`."),
  mode: mode.exactOptional().describe("Overrides the network's mode for this NIC."),
  rates,
  connections: connections.exactOptional().describe("Overrides the network's number of connections for this NIC."),
  ...publicFields,
  groups: groups.describe(
    "Security groups of the NIC; their rules add up. Without any those of the network. A NIC of no group is reached by nobody and reaches everybody.",
  ),
  tell: nicTell,
});

const guestSpec = z.strictObject({
  nics: z.array(nic).min(1).max(32).describe("The guest's NICs, in its own order."),
  hostname: parsed(hostname, "Host name told to the guest by DHCP.").exactOptional(),
});

const name = parsed(objectName, "Name of the object, unique among its kind.");

/** One document per object: `{kind, name, spec}`. */
export const documentSchemas = {
  network: z.strictObject({
    kind: z.literal("network").describe("`network`."),
    name,
    spec: networkSpec.describe("The network."),
  }),
  group: z.strictObject({
    kind: z.literal("group").describe("`group`."),
    name,
    spec: groupSpec.describe("The security group: allow-only rules."),
  }),
  guest: z.strictObject({
    kind: z.literal("guest").describe("`guest`."),
    name,
    spec: guestSpec.describe("The guest."),
  }),
} as const;

/** Words of the design that a later version will know; an answer of their own, because the operator read them somewhere. */
export const laterFields: Readonly<Record<string, string>> = {
  "network.spec.range6": "a range of IPv6 addresses",
  "network.spec.wiring.vlan": "a VLAN of the bridge",
};
export const laterValues: Readonly<Record<string, readonly string[]>> = {};

/** Right words in the wrong place. */
export const misplacedFields: Readonly<Record<string, string>> = {
  "group.spec.ingress[].to": "from",
  "group.spec.egress[].from": "to",
  "guest.spec.nics[].addresses4": "addresses",
  "guest.spec.nics[].addresses6": "addresses",
};
