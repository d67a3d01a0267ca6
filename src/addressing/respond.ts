/**
 * The server side of RFC 2131 for a port that has one address: who asks is known by the port, so nothing is ever chosen or guessed.
 * What is said comes from the offer; from the packet come only xid, flags, client identifier, wishes and a host name to remember.
 */
import {
  type Ipv4Address,
  ipv4FromNumber,
  netmask4,
  parsePrefix4,
  prefix4Bounds,
  prefix4Contains,
} from "../model/ipv4.ts";
import { unreachable } from "../model/never.ts";
import { dhcp4Size } from "../packet/dhcp4.ts";
import type { Dhcp4Message, DhcpType } from "../packet/dhcp4-message.ts";
import { type DhcpOption, dhcp4Options as known, type Route4, readOption } from "../packet/dhcp4-options.ts";
import type { Answer, LeaseChange, PortOffer } from "./responder.ts";

/** Why a message gets no answer; `says` is for people. */
export const silences = {
  "foreign-chaddr": { says: "chaddr is not the port's MAC" },
  "not-a-request": { says: "op is not BOOTREQUEST" },
  relayed: { says: "giaddr or hops is set: a guest is no relay" },
  "relay-option": { says: "relay agent information (option 82) from a guest" },
  "no-type": { says: "no DHCP message type: plain BOOTP, or a type we do not know" },
  "server-type": { says: "a message only servers send" },
  "bad-option": { says: "requested address or server identifier is malformed, or the client identifier is too long" },
  "other-server": { says: "meant for another server" },
  "no-address": { says: "names no address" },
  "other-address": { says: "about an address that is not the port's" },
  quarantine: { says: "the guest declined its address a moment ago" },
  "no-lease": { says: "released already, or never leased" },
} as const satisfies Record<string, { readonly says: string }>;
export type SilenceReason = keyof typeof silences;

/**
 * How long a declined address is not offered again. The address is the guest's by decree, so somebody else on the wire is using it against the rules;
 * a client waits 10 s at least before it starts over (RFC 2131 section 3.1 item 5), and a minute leaves time to look without leaving the guest dead.
 */
export const DECLINE_QUARANTINE_MS = 60_000;

const ANY: Ipv4Address = ipv4FromNumber(0);
/** Infinity has no T1 and T2 (RFC 2131 section 3.3). */
const INFINITE = 0xffffffff;
/** Every client takes an IP datagram of 576 octets (RFC 2131 section 2); 28 of them are IP and UDP. */
const SMALLEST_DATAGRAM = 576;
const ETHERNET_MTU = 1500;
const IP_AND_UDP = 28;
const HOST_LABEL = /^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/;

interface Question {
  readonly message: Dhcp4Message;
  readonly offer: PortOffer;
  readonly lease: LeaseChange | undefined;
  readonly now: number;
  readonly requested: Ipv4Address | undefined;
  readonly serverId: Ipv4Address | undefined;
}

type Options = Map<number, Uint8Array>;

/** A `Respond`; only state, expiry and host name of the lease are looked at. */
export function respond(message: Dhcp4Message, offer: PortOffer, lease: LeaseChange | undefined, now: number): Answer {
  const refusal = whyNot(message, offer);
  if (refusal !== undefined) return silence(refusal);
  const type = readOption(message.options, known.type);
  const requested = readOption(message.options, known.requestedAddress);
  const serverId = readOption(message.options, known.serverId);
  const question = { message, offer, lease, now, requested, serverId };
  switch (type) {
    case "discover":
      return onDiscover(question);
    case "request":
      return onRequest(question);
    case "decline":
      return onDecline(question);
    case "release":
      return onRelease(question);
    case "inform":
      return onInform(question);
    case "offer":
    case "ack":
    case "nak":
      return silence("server-type");
    case undefined:
      return silence("no-type");
    default:
      return unreachable(type);
  }
}

function silence(why: SilenceReason): Answer {
  return { kind: "silence", why };
}

/** What no message may have, whatever its type. */
function whyNot({ op, chaddr, giaddr, hops, options }: Dhcp4Message, offer: PortOffer): SilenceReason | undefined {
  if (op !== "request") return "not-a-request";
  if (chaddr !== offer.mac) return "foreign-chaddr";
  if (giaddr !== ANY || hops !== 0) return "relayed";
  if (options.has(known.relayAgent.number)) return "relay-option";
  const isBroken = [known.requestedAddress, known.serverId].some(
    (option) => options.has(option.number) && readOption(options, option) === undefined,
  );
  // An identifier is echoed (RFC 6842) and must leave room in the smallest datagram; RFC 2132 section 9.14 has one length octet for it.
  return isBroken || (options.get(known.clientId.number)?.length ?? 0) > 255 ? "bad-option" : undefined;
}

/** RFC 2131 section 4.3.1. A wish for another address (option 50) or lease time (option 51) changes nothing. */
function onDiscover(question: Question): Answer {
  if (isQuarantined(question)) return silence("quarantine");
  // RFC 4039 section 3.1: with rapid commit the acknowledgement comes at once and carries the option back.
  if (readOption(question.message.options, known.rapidCommit) !== undefined) return acknowledge(question, true);
  return {
    kind: "reply",
    reply: reply(question, ANY, question.offer.address, granted(question, "offer")),
    deliverTo: question.message.broadcast ? "broadcast" : "unicast",
  };
}

/**
 * RFC 2131 section 4.3.2. SELECTING has a server identifier, INIT-REBOOT a requested address, RENEWING and REBINDING a `ciaddr`;
 * in every state the one right address is the port's own, and any other that is named earns a NAK.
 */
function onRequest(question: Question): Answer {
  const { message, offer, requested, serverId } = question;
  if (serverId !== undefined && serverId !== offer.serverId) return silence("other-server");
  const named = [requested, message.ciaddr].filter((address) => address !== undefined && address !== ANY);
  if (named.length === 0) return silence("no-address");
  if (named.some((address) => address !== offer.address)) return refuse(question, "not the address of this port");
  if (isQuarantined(question)) return refuse(question, "this address was declined a moment ago");
  return acknowledge(question, false);
}

/** RFC 2131 section 4.3.3. */
function onDecline(question: Question): Answer {
  const { offer, lease, requested, serverId, now } = question;
  if (serverId !== offer.serverId) return silence("other-server");
  if (requested !== offer.address) return silence("other-address");
  if (isQuarantined(question)) return silence("quarantine");
  return { kind: "note", change: leaseChange("declined", now + DECLINE_QUARANTINE_MS, lease?.hostname) };
}

/** RFC 2131 section 4.3.4: what the guest said of itself is kept. systemd-networkd 252 names no server: on this port that can only be us. */
function onRelease({ message, offer, lease, serverId, now }: Question): Answer {
  if (serverId !== undefined && serverId !== offer.serverId) return silence("other-server");
  if (message.ciaddr !== offer.address) return silence("other-address");
  if (lease?.state !== "bound") return silence("no-lease");
  return { kind: "note", change: leaseChange("released", now, lease.hostname) };
}

/** RFC 2131 section 4.3.5: to `ciaddr`, without `yiaddr` and without times. */
function onInform(question: Question): Answer {
  const { message, offer } = question;
  if (message.ciaddr !== offer.address) return silence(message.ciaddr === ANY ? "no-address" : "other-address");
  const options = head(question, "ack");
  grant(question, options, "without times");
  return { kind: "reply", reply: reply(question, message.ciaddr, ANY, options), deliverTo: "unicast" };
}

export function isQuarantined({ lease, now }: Pick<Question, "lease" | "now">): boolean {
  return lease?.state === "declined" && lease.expiresAt > now;
}

export function leaseChange(state: LeaseChange["state"], expiresAt: number, hostname: string | undefined): LeaseChange {
  return hostname === undefined ? { state, expiresAt } : { state, expiresAt, hostname };
}

function acknowledge(question: Question, rapid: boolean): Answer {
  const { message, offer, lease, now } = question;
  const ciaddr = rapid ? ANY : message.ciaddr;
  const said = readOption(message.options, known.hostname);
  const hostname = said !== undefined && HOST_LABEL.test(said) ? said : lease?.hostname;
  return {
    kind: "reply",
    reply: reply(question, ciaddr, offer.address, granted(question, "ack", rapid)),
    change: leaseChange("bound", now + offer.leaseSeconds * 1000, hostname),
    // RFC 2131 section 4.1: a client that has its address already is reached there whatever its flag says.
    deliverTo: message.broadcast && ciaddr === ANY ? "broadcast" : "unicast",
  };
}

/** RFC 2131 section 4.1: a NAK is broadcast always; table 3: no address and no parameter in it. */
function refuse(question: Question, why: string): Answer {
  const options = head(question, "nak");
  put(options, known.message, why);
  return { kind: "reply", reply: reply(question, ANY, ANY, options), deliverTo: "broadcast" };
}

/** RFC 2131 table 3. */
function reply({ message, offer }: Question, ciaddr: Ipv4Address, yiaddr: Ipv4Address, options: Options): Dhcp4Message {
  return {
    op: "reply",
    hops: 0,
    xid: message.xid,
    secs: 0,
    broadcast: message.broadcast,
    ciaddr,
    yiaddr,
    siaddr: ANY,
    giaddr: ANY,
    chaddr: offer.mac,
    sname: "",
    file: "",
    options,
  };
}

/** What every reply has: type, server identifier, and the client identifier as it came (RFC 6842 section 3). */
function head({ message, offer }: Question, type: DhcpType): Options {
  const options: Options = new Map();
  put(options, known.type, type);
  options.set(known.serverId.number, wordsOf(offer).serverId);
  const clientId = message.options.get(known.clientId.number);
  if (clientId !== undefined) options.set(known.clientId.number, clientId);
  return options;
}

function granted(question: Question, type: DhcpType, rapid = false): Options {
  const options = head(question, type);
  options.set(known.leaseTime.number, wordsOf(question.offer).leaseTime);
  if (rapid) put(options, known.rapidCommit, true);
  grant(question, options, "with times");
  return options;
}

/**
 * The mask always, and before any router (RFC 2132 section 3.3); the rest as the parameter list asks and in its order (section 9.8),
 * everything without a list. What does not fit the client's message size is left out, the dearest last.
 */
function grant({ message, offer }: Question, options: Options, times: "with times" | "without times"): void {
  const words = wordsOf(offer);
  options.set(known.subnetMask.number, words.mask);
  const offered = times === "with times" ? words.all : words.parameters;
  for (const number of readOption(message.options, known.parameterList) ?? offered.keys()) {
    const value = offered.get(number);
    if (value !== undefined) options.set(number, value);
  }
  const room = roomFor(message, offer);
  for (const { number } of dispensable) {
    if (dhcp4Size(options) <= room) return;
    options.delete(number);
  }
}

/** First what a guest misses least. */
const dispensable = [
  known.domainSearch,
  known.ntp,
  known.domain,
  known.hostname,
  known.renewalTime,
  known.rebindingTime,
  known.broadcast,
  known.mtu,
  known.dns,
  known.classlessRoutes,
] as const;

/** RFC 2132 section 9.10; the size is that of the IP datagram, and no reply is ever fragmented. */
function roomFor(message: Dhcp4Message, offer: PortOffer): number {
  const said = readOption(message.options, known.maxSize) ?? SMALLEST_DATAGRAM;
  const most = Math.min(offer.mtu ?? ETHERNET_MTU, ETHERNET_MTU);
  return Math.max(SMALLEST_DATAGRAM, Math.min(said, most)) - IP_AND_UDP;
}

function put<T>(options: Options, option: DhcpOption<T>, value: T | undefined): void {
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
