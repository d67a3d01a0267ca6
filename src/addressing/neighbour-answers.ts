/** What the host says for others on a port (RFC 826, RFC 4861): whose address it is, and how addresses are given here. */
import type { Ipv4Address } from "../model/ipv4.ts";
import { ANY6, type Ipv6Address, type Ipv6Prefix, ipv6FromBytes, ipv6ToBytes, linkLocalOf } from "../model/ipv6.ts";
import type { MacAddress } from "../model/mac.ts";
import { HOST_PORT_MAC } from "../model/wiring.ts";
import { arpCodec, arpOperations } from "../packet/arp.ts";
import type { Decoded, Rejection } from "../packet/codec.ts";
import { type EthernetFrame, ethernetCodec, etherTypes } from "../packet/ethernet.ts";
import { icmp6Frame } from "../packet/frame6.ts";
import { ipProtocols } from "../packet/ipv4.ts";
import { readIcmp6, readIpv6 } from "../packet/ipv6.ts";
import { nd, neighbourAdvertisement, routerAdvertisement } from "../packet/nd.ts";

/** What is advertised on a port of a network with an IPv6 prefix. */
export interface RouterOffer {
  readonly prefix: Ipv6Prefix;
  /** Without one there is no default router. */
  readonly gateway?: Ipv6Address;
  /** Of the gateway, where it is pinned. */
  readonly gatewayMac?: MacAddress;
  readonly mtu?: number;
  readonly dns: readonly Ipv6Address[];
  /** Machines of the prefix are reached by the gateway alone. */
  readonly offLink?: boolean;
}

/** Who has an address of the port's network, as far as the host may answer for it. */
export type OwnerOf = (address: Ipv4Address | Ipv6Address) => MacAddress | undefined;

/**
 * The longest a router may announce (RFC 8319), 18 hours: an agent that is away for long takes no guest's default route.
 * What ends sooner is announced when it does.
 */
const LIFETIME_SECONDS = 65_535;

const ALL_NODES = Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);

/**
 * To one guest. Without an address to all nodes, by unicast all the same (RFC 6085): nobody else is on the port.
 * @param serverMac stands for the gateway as long as its own is not known: nobody learns from it
 */
export function advertisement(
  offer: RouterOffer,
  serverMac: MacAddress,
  to: { readonly mac: MacAddress; readonly address?: Uint8Array },
): Uint8Array {
  const { prefix, gateway, gatewayMac, mtu, dns, offLink } = offer;
  const message = routerAdvertisement({
    onLink: offLink !== true,
    routerLifetime: gateway === undefined ? 0 : LIFETIME_SECONDS,
    prefix,
    ...(gatewayMac === undefined || gateway === undefined ? {} : { mac: gatewayMac }),
    ...(mtu === undefined ? {} : { mtu }),
    dns: dns.map(ipv6ToBytes),
    lifetime: LIFETIME_SECONDS,
  });
  const ends = {
    destinationMac: to.mac,
    sourceMac: gateway === undefined ? serverMac : (gatewayMac ?? serverMac),
    source: ipv6ToBytes(gateway ?? linkLocalOf(serverMac)),
    destination: to.address ?? ALL_NODES,
  };
  return icmp6Frame(ends, message);
}

const rejected = (why: Rejection): Decoded<never> => ({ ok: false, why });

/**
 * The answer to a question the guard handed up. "unsupported": nothing to be answered, which the rules should not have handed up.
 * The answer comes from the owner's own MAC, as if the owner had given it.
 */
export function answerNeighbour(
  frame: Uint8Array,
  ownerOf: OwnerOf,
  router: RouterOffer | undefined,
  serverMac: MacAddress,
): Decoded<Uint8Array> {
  const read = ethernetCodec.decode(frame);
  if (!read.ok) return read;
  switch (read.value.type) {
    case etherTypes.arp:
      return answerArp(read.value, ownerOf);
    case etherTypes.ipv6:
      return answerNd(read.value, ownerOf, router, serverMac);
    default:
      return rejected("unsupported");
  }
}

const ARP_BYTES = 28;

function answerArp({ source, payload }: EthernetFrame, ownerOf: OwnerOf): Decoded<Uint8Array> {
  const asked = arpCodec.decode(payload.subarray(0, ARP_BYTES));
  if (!asked.ok) return asked;
  const { operation, senderMac, senderIp, targetIp } = asked.value;
  const owner = operation === arpOperations.request ? ownerOf(targetIp) : undefined;
  if (owner === undefined) return rejected("unsupported");
  const answer = { operation: arpOperations.reply, senderMac: owner, senderIp: targetIp };
  const bytes = arpCodec.encode({ ...answer, targetMac: senderMac, targetIp: senderIp });
  return {
    ok: true,
    value: ethernetCodec.encode({ destination: source, source: owner, type: etherTypes.arp, payload: bytes }),
  };
}

function answerNd(
  { source: mac, payload }: EthernetFrame,
  ownerOf: OwnerOf,
  router: RouterOffer | undefined,
  serverMac: MacAddress,
): Decoded<Uint8Array> {
  const packet = readIpv6(payload).value;
  if (packet === undefined || packet.nextHeader !== ipProtocols.icmp6) return rejected("unsupported");
  const message = readIcmp6(packet.payload).value;
  if (message === undefined) return rejected("truncated");
  const address = packet.source.slice();
  if (message.type === nd.routerSolicitation && router !== undefined) {
    const to = ipv6FromBytes(address) === ANY6 ? { mac } : { mac, address };
    return { ok: true, value: advertisement(router, serverMac, to) };
  }
  const { target } = message;
  const owner = message.type === nd.solicitation && target !== undefined ? ownerOf(ipv6FromBytes(target)) : undefined;
  if (owner === undefined || target === undefined) return rejected("unsupported");
  const ends = { destinationMac: mac, sourceMac: owner, source: target, destination: address };
  const why = ipv6FromBytes(target) === router?.gateway ? "router" : "asked";
  return { ok: true, value: icmp6Frame(ends, neighbourAdvertisement(target, owner, why)) };
}

/** Every responder of every host looks the same to its guests, and on a routed port it is the port itself. */
export const RESPONDER_MAC: MacAddress = HOST_PORT_MAC;
