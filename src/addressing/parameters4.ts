/**
 * What a DHCPv4 client is told besides its address: which options, in whose order, and what is left out where its message has no room.
 * All of it comes from the offer; from the packet come only wishes.
 */
import {
  type Ipv4Address,
  ipv4FromNumber,
  netmask4,
  parsePrefix4,
  prefix4Bounds,
  prefix4Contains,
} from "../model/ipv4.ts";
import { fitsDhcp4 } from "../packet/dhcp4.ts";
import type { Dhcp4Message } from "../packet/dhcp4-message.ts";
import { type DhcpOption, dhcp4Options as known, type Route4, readOption } from "../packet/dhcp4-options.ts";
import { fqdnReply4 } from "../packet/fqdn.ts";
import type { PortOffer } from "./responder.ts";

export type Options = Map<number, Uint8Array>;

const ANY: Ipv4Address = ipv4FromNumber(0);
/** Infinity has no T1 and T2 (RFC 2131 section 3.3). */
const INFINITE = 0xffffffff;
/** Every client takes an IP datagram of 576 octets (RFC 2131 section 2); 28 of them are IP and UDP. */
const SMALLEST_DATAGRAM = 576;
const ETHERNET_MTU = 1500;
const IP_AND_UDP = 28;
/** The field `file` with its closing zero (RFC 2131 section 2). */
const FILE_MOST = 127;

interface Asked {
  readonly message: Dhcp4Message;
  readonly offer: PortOffer;
}

/**
 * The mask always, and before any router (RFC 2132 section 3.3); the rest as the parameter list asks and in its order (section 9.8),
 * everything without a list, and last what the operator wants told to all.
 */
export function grant({ message, offer }: Asked, options: Options, times: "with times" | "without times"): void {
  const words = wordsOf(offer);
  options.set(known.subnetMask.number, words.mask);
  const offered = times === "with times" ? words.all : words.parameters;
  for (const number of readOption(message.options, known.parameterList) ?? offered.keys()) {
    const value = offered.get(number);
    if (value !== undefined) options.set(number, value);
  }
  for (const { number, value, always } of offer.options ?? []) if (always) options.set(number, value);
  answerKind({ message, offer }, options);
  const fqdn = message.options.get(known.fqdn.number);
  if (fqdn !== undefined && fqdn.length >= FQDN_HEAD && offer.hostname !== undefined)
    options.set(known.fqdn.number, fqdnReply4(fqdn, offer.hostname, offer.domain));
}

/** Flags and two result codes (RFC 4702 section 2). */
const FQDN_HEAD = 3;

/** What boot loaders call themselves, and what firmware wants to hear back before it believes a boot file: PXE 2.1 section 2.2, UEFI 2.10 section 24.7. */
const LOADERS = ["PXEClient", "HTTPClient"] as const;

function answerKind({ message, offer }: Asked, options: Options): void {
  const said = message.options.get(known.vendorClass.number);
  if (said === undefined || offer.boot?.file === undefined || options.has(known.vendorClass.number)) return;
  const loader = LOADERS.find((name) => [...name].every((char, i) => said[i] === char.charCodeAt(0)));
  if (loader !== undefined) options.set(known.vendorClass.number, new TextEncoder().encode(loader));
}

/** Leaves out what has no room, until the rest has. @param options those of the message */
export function trim(message: Dhcp4Message, options: Options, offer: PortOffer, room: number): void {
  const own = offer.options ?? [];
  const asked = own.filter(({ always }) => !always).map(({ number }) => number);
  const always = own.filter((option) => option.always).map(({ number }) => number);
  for (const number of [...asked.reverse(), ...dispensable.map((option) => option.number), ...always.reverse()]) {
    if (fitsDhcp4(message, room)) return;
    options.delete(number);
  }
}

/** First what a guest misses least. */
const dispensable = [
  known.fqdn,
  known.domainSearch,
  known.ntp,
  known.domain,
  known.hostname,
  known.renewalTime,
  known.rebindingTime,
  known.broadcast,
  known.mtu,
  known.dns,
  known.tftpServer,
  known.bootfile,
  known.classlessRoutes,
] as const;

/** RFC 2132 section 9.10; the size is that of the IP datagram, and no reply is ever fragmented. */
export function roomFor(message: Dhcp4Message, offer: PortOffer): number {
  const said = readOption(message.options, known.maxSize) ?? SMALLEST_DATAGRAM;
  const most = Math.min(offer.mtu ?? ETHERNET_MTU, ETHERNET_MTU);
  return Math.max(SMALLEST_DATAGRAM, Math.min(said, most)) - IP_AND_UDP;
}

/** A longer one is told by option 67 alone. */
export const fileOf = ({ boot }: PortOffer): string =>
  boot?.file !== undefined && boot.file.length <= FILE_MOST ? boot.file : "";

export function put<T>(options: Options, option: DhcpOption<T>, value: T | undefined): void {
  if (value !== undefined) options.set(option.number, option.value.encode(value));
}

interface Words {
  readonly serverId: Uint8Array;
  readonly leaseTime: Uint8Array;
  readonly mask: Uint8Array;
  readonly parameters: Options;
  /** With T1 and T2. */
  readonly all: Options;
}

/** An offer is asked about many times and never changes; writing its options anew made up two thirds of a reply (26 of 36 µs). */
const written = new WeakMap<PortOffer, Words>();

function wordsOf(offer: PortOffer): Words {
  const before = written.get(offer);
  if (before !== undefined) return before;
  const words = write(offer);
  written.set(offer, words);
  return words;
}

function write(offer: PortOffer): Words {
  const parameters = parametersOf(offer);
  return {
    serverId: known.serverId.value.encode(offer.serverId),
    leaseTime: known.leaseTime.value.encode(offer.leaseSeconds),
    mask: known.subnetMask.value.encode(netmask4(offer.prefix)),
    parameters,
    all: new Map([...parameters, ...timesOf(offer)]),
  };
}

export const serverIdOf = (offer: PortOffer): Uint8Array => wordsOf(offer).serverId;
export const leaseTimeOf = (offer: PortOffer): Uint8Array => wordsOf(offer).leaseTime;

/** RFC 2131 section 4.4.5: half and seven eighths of the lease. */
function timesOf({ leaseSeconds }: PortOffer): Options {
  const times: Options = new Map();
  if (leaseSeconds >= INFINITE) return times;
  put(times, known.renewalTime, Math.floor(leaseSeconds / 2));
  put(times, known.rebindingTime, Math.floor((leaseSeconds * 7) / 8));
  return times;
}

function parametersOf(offer: PortOffer): Options {
  const { first, last, length } = prefix4Bounds(offer.prefix);
  const options: Options = new Map();
  put(options, known.classlessRoutes, routesOf(offer));
  put(options, known.router, [offer.gateway]);
  put(options, known.dns, orNothing(offer.dns));
  put(options, known.hostname, offer.hostname);
  put(options, known.domain, offer.domain);
  put(options, known.mtu, offer.mtu);
  // Neither a /31 (RFC 3021) nor a /32 has a broadcast address.
  put(options, known.broadcast, length <= 30 && last > first ? ipv4FromNumber(last) : undefined);
  put(options, known.ntp, orNothing(offer.ntp));
  put(options, known.domainSearch, orNothing(offer.search));
  put(options, known.tftpServer, offer.boot?.serverName ?? offer.boot?.server);
  put(options, known.bootfile, offer.boot?.file);
  for (const { number, value } of offer.options ?? []) options.set(number, value);
  return options;
}

function orNothing<T>(list: readonly T[]): readonly T[] | undefined {
  return list.length === 0 ? undefined : list;
}

const EVERYWHERE = parsePrefix4("0.0.0.0/0");

/**
 * RFC 3442: a client that gets these routes ignores the router option, so the default route must be among them.
 * A gateway outside the prefix is first made reachable on the link (router 0.0.0.0).
 */
export function routesOf({
  prefix,
  gateway,
  routes,
}: Pick<PortOffer, "prefix" | "gateway" | "routes">): readonly Route4[] {
  const hasDefault = routes.some(({ to }) => to === EVERYWHERE);
  const gatewayAlone = prefix4Contains(prefix, gateway) ? undefined : parsePrefix4(`${gateway}/32`);
  return [
    ...(gatewayAlone === undefined ? [] : [{ to: gatewayAlone, via: ANY }]),
    ...routes,
    ...(hasDefault || EVERYWHERE === undefined ? [] : [{ to: EVERYWHERE, via: gateway }]),
  ];
}
