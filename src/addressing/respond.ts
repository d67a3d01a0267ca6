/**
 * The server side of RFC 2131 for a port that has one address: who asks is known by the port, so nothing is ever chosen or guessed.
 * What is said comes from the offer; from the packet come only xid, flags, client identifier, wishes and a host name to remember.
 */
import { type Ipv4Address, ipv4FromNumber } from "../model/ipv4.ts";
import { unreachable } from "../model/never.ts";
import type { Dhcp4Message, DhcpType } from "../packet/dhcp4-message.ts";
import { dhcp4Options as known, readOption } from "../packet/dhcp4-options.ts";
import { fqdnHost4 } from "../packet/fqdn.ts";
import { offerFor4 } from "./client-class.ts";
import { fileOf, grant, leaseTimeOf, type Options, put, roomFor, serverIdOf, trim } from "./parameters4.ts";
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
  unserved: { says: "guests of the network are configured by hand or by their MACs, and nobody answers them" },
} as const satisfies Record<string, { readonly says: string }>;
export type SilenceReason = keyof typeof silences;

/**
 * How long a declined address is not offered again. The address is the guest's by decree, so somebody else on the wire is using it against the rules;
 * a client waits 10 s at least before it starts over (RFC 2131 section 3.1 item 5), and a minute leaves time to look without leaving the guest dead.
 */
export const DECLINE_QUARANTINE_MS = 60_000;

const ANY: Ipv4Address = ipv4FromNumber(0);
const HOST_LABEL = /^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/;

interface Question {
  readonly message: Dhcp4Message;
  readonly offer: PortOffer;
  readonly lease: LeaseChange | undefined;
  readonly now: number;
  readonly requested: Ipv4Address | undefined;
  readonly serverId: Ipv4Address | undefined;
}

/** A `Respond`; only state, expiry and host name of the lease are looked at. */
export function respond(message: Dhcp4Message, port: PortOffer, lease: LeaseChange | undefined, now: number): Answer {
  const refusal = whyNot(message, port);
  if (refusal !== undefined) return silence(refusal);
  const type = readOption(message.options, known.type);
  const requested = readOption(message.options, known.requestedAddress);
  const serverId = readOption(message.options, known.serverId);
  const offer = offerFor4(port, message);
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
export function whyNot(
  { op, chaddr, giaddr, hops, options }: Dhcp4Message,
  { mac }: Pick<PortOffer, "mac">,
): SilenceReason | undefined {
  if (op !== "request") return "not-a-request";
  if (chaddr !== mac) return "foreign-chaddr";
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
    ...reply(question, ANY, question.offer.address, granted(question, "offer")),
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
  return { kind: "reply", ...reply(question, message.ciaddr, ANY, options), deliverTo: "unicast" };
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
  const fqdn = message.options.get(known.fqdn.number);
  const said = readOption(message.options, known.hostname) ?? (fqdn === undefined ? undefined : fqdnHost4(fqdn));
  const hostname = said !== undefined && HOST_LABEL.test(said) ? said : lease?.hostname;
  return {
    kind: "reply",
    ...reply(question, ciaddr, offer.address, granted(question, "ack", rapid)),
    change: leaseChange("bound", now + offer.leaseSeconds * 1000, hostname),
    // RFC 2131 section 4.1: a client that has its address already is reached there whatever its flag says.
    deliverTo: message.broadcast && ciaddr === ANY ? "broadcast" : "unicast",
  };
}

/** RFC 2131 section 4.1: a NAK is broadcast always; table 3: no address and no parameter in it. */
function refuse(question: Question, why: string): Answer {
  const options = head(question, "nak");
  put(options, known.message, why);
  return { kind: "reply", ...reply(question, ANY, ANY, options), deliverTo: "broadcast" };
}

/** RFC 2131 table 3. What does not fit the client's message size is left out, the dearest last. */
function reply(
  { message, offer }: Question,
  ciaddr: Ipv4Address,
  yiaddr: Ipv4Address,
  options: Options,
): Pick<Extract<Answer, { kind: "reply" }>, "reply" | "room"> {
  const room = roomFor(message, offer);
  // A NAK has no address, and tells nothing.
  const isTold = yiaddr !== ANY || ciaddr !== ANY;
  const said: Dhcp4Message = {
    op: "reply",
    hops: 0,
    xid: message.xid,
    secs: 0,
    broadcast: message.broadcast,
    ciaddr,
    yiaddr,
    siaddr: (isTold ? offer.boot?.server : undefined) ?? ANY,
    giaddr: ANY,
    chaddr: offer.mac,
    sname: "",
    file: isTold ? fileOf(offer) : "",
    options,
  };
  trim(said, options, offer, room);
  return { reply: said, room };
}

/** What every reply has: type, server identifier, and the client identifier as it came (RFC 6842 section 3). */
function head({ message, offer }: Question, type: DhcpType): Options {
  const options: Options = new Map();
  put(options, known.type, type);
  options.set(known.serverId.number, serverIdOf(offer));
  const clientId = message.options.get(known.clientId.number);
  if (clientId !== undefined) options.set(known.clientId.number, clientId);
  return options;
}

function granted(question: Question, type: DhcpType, rapid = false): Options {
  const options = head(question, type);
  options.set(known.leaseTime.number, leaseTimeOf(question.offer));
  if (rapid) put(options, known.rapidCommit, true);
  grant(question, options, "with times");
  return options;
}
