/**
 * The server side of RFC 8415 for a port that has one address: as with IPv4, who asks is known by the port and nothing is chosen.
 * The first association for non-temporary addresses (IA_NA) gets the address, whatever its IAID; every other one learns that there is none.
 */
import { sameBytes } from "../model/bytes.ts";
import { type Ipv6Address, ipv6FromBytes, ipv6ToBytes } from "../model/ipv6.ts";
import {
  dhcp6Codes as codes,
  type Dhcp6Message,
  type Dhcp6Option,
  readDhcp6Options,
  dhcp6Status as status,
  dhcp6Types as types,
  writeDhcp6Options,
} from "../packet/dhcp6.ts";
import { createWriter } from "../packet/writer.ts";
import { offerFor6 } from "./client-class.ts";
import { parameters6 } from "./parameters6.ts";
import { DECLINE_QUARANTINE_MS, isQuarantined, leaseChange } from "./respond.ts";
import type { LeaseChange, PortOffer6 } from "./responder.ts";

/** Why a message gets no answer; `says` is for people. */
export const silences6 = {
  "server-type": { says: "a message only servers send, or a type we do not know" },
  "no-client-id": { says: "no client identifier, or one that is no DUID" },
  "other-server": { says: "meant for another server" },
  "server-id": { says: "names a server where none may be named" },
  "no-server-id": { says: "names no server where one must be named" },
  "bad-option": { says: "an identity association or an address in it is malformed" },
  "no-address": { says: "names no address" },
  quarantine: { says: "the guest declined its address a moment ago" },
} as const satisfies Record<string, { readonly says: string }>;
export type SilenceReason6 = keyof typeof silences6;

export type Answer6 =
  /** `change` must be durable before `reply` is sent. */
  | { readonly kind: "reply"; readonly reply: Dhcp6Message; readonly change?: LeaseChange }
  | { readonly kind: "silence"; readonly why: SilenceReason6 };

/** An identity association as it was asked for. */
interface Association {
  readonly code: number;
  /** IAID as it came. */
  readonly id: Uint8Array;
  readonly addresses: readonly Ipv6Address[];
}

interface Question {
  readonly message: Dhcp6Message;
  readonly offer: PortOffer6;
  readonly lease: LeaseChange | undefined;
  readonly now: number;
  readonly associations: readonly Association[];
}

/** RFC 8415 section 11.1: a DUID has 130 octets at most, and a type of two. */
const LONGEST_DUID = 130;
const SHORTEST_DUID = 3;
const INFINITE = 0xffff_ffff;

/** RFC 8415 section 16: which messages name a server, which must not, and which may. */
const serverNamed: Readonly<Record<number, "never" | "always" | "maybe">> = {
  [types.solicit]: "never",
  [types.request]: "always",
  [types.confirm]: "never",
  [types.renew]: "always",
  [types.rebind]: "never",
  [types.release]: "always",
  [types.decline]: "always",
  [types.informationRequest]: "maybe",
};

/**
 * @param lease only state, expiry and host name are looked at
 * @param now milliseconds since the Unix epoch
 */
export function respond6(
  message: Dhcp6Message,
  port: PortOffer6,
  lease: LeaseChange | undefined,
  now: number,
): Answer6 {
  const refusal = whyNot(message, port);
  if (refusal !== undefined) return silence(refusal);
  const associations = associationsOf(message);
  if (associations === undefined) return silence("bad-option");
  const question = { message, offer: offerFor6(port, message), lease, now, associations };
  switch (message.type) {
    case types.solicit:
      return onSolicit(question);
    case types.confirm:
      return onConfirm(question);
    case types.release:
      return giveBack(question, "released");
    case types.decline:
      return giveBack(question, "declined");
    case types.informationRequest:
      return { kind: "reply", reply: reply(question, types.reply, []) };
    default:
      return grant(question, types.reply, []);
  }
}

function silence(why: SilenceReason6): Answer6 {
  return { kind: "silence", why };
}

const bodyOf = ({ options }: Dhcp6Message, code: number): Uint8Array | undefined =>
  options.find((option) => option.code === code)?.body;

function whyNot(message: Dhcp6Message, offer: PortOffer6): SilenceReason6 | undefined {
  const rule = serverNamed[message.type];
  if (rule === undefined) return "server-type";
  const client = bodyOf(message, codes.clientId);
  const isAnonymous = client === undefined && message.type === types.informationRequest;
  if (!isAnonymous && !isDuid(client)) return "no-client-id";
  const server = bodyOf(message, codes.serverId);
  if (server === undefined) return rule === "always" ? "no-server-id" : undefined;
  if (rule === "never") return "server-id";
  return sameBytes(server, offer.serverId) ? undefined : "other-server";
}

function isDuid(bytes: Uint8Array | undefined): boolean {
  return bytes !== undefined && bytes.length >= SHORTEST_DUID && bytes.length <= LONGEST_DUID;
}

/** Octets before the options inside: IAID, and T1 and T2 where there are any. */
const associationHead: Readonly<Record<number, number>> = { [codes.iaNa]: 12, [codes.iaTa]: 4, [codes.iaPd]: 12 };

/** One IA is answered in a hundred octets at most, and a reply is never fragmented; real clients have one or two. */
const MOST_ASSOCIATIONS = 8;

/** undefined when one of them cannot be read. */
function associationsOf({ options }: Dhcp6Message): readonly Association[] | undefined {
  const found: Association[] = [];
  for (const { code, body } of options) {
    const head = associationHead[code];
    if (head === undefined) continue;
    const inside = body.length < head ? undefined : readDhcp6Options(body.subarray(head));
    if (inside?.ok !== true || found.length === MOST_ASSOCIATIONS) return undefined;
    const addresses = inside.value.filter((option) => option.code === codes.iaAddress);
    if (addresses.some((option) => option.body.length < 24)) return undefined;
    found.push({ code, id: body.subarray(0, 4), addresses: addresses.map((option) => ipv6FromBytes(option.body)) });
  }
  return found;
}

/** RFC 8415 section 18.3.1; with rapid commit the reply comes at once and carries the option back. */
function onSolicit(question: Question): Answer6 {
  if (isQuarantined(question)) return silence("quarantine");
  if (bodyOf(question.message, codes.rapidCommit) !== undefined)
    return grant(question, types.reply, [option(codes.rapidCommit)]);
  // Nobody else may answer here, so there is nothing to wait for (section 21.8).
  const preference = option(codes.preference, Uint8Array.of(255));
  return { kind: "reply", reply: reply(question, types.advertise, [preference, ...granted(question)]) };
}

/** RFC 8415 section 18.3.3: whether what the client has is still right; on this port only one address ever is. */
function onConfirm(question: Question): Answer6 {
  const named = question.associations.flatMap(({ addresses }) => addresses);
  if (named.length === 0) return silence("no-address");
  const isRight = named.every((address) => address === question.offer.address);
  const says = isRight ? statusOf(status.success, "all is well") : statusOf(status.notOnLink, "not of this port");
  return { kind: "reply", reply: reply(question, types.reply, [says]) };
}

/** REQUEST, RENEW, REBIND and rapid SOLICIT (RFC 8415 sections 18.3.2, 18.3.4, 18.3.5): bindings are decreed, so all of them make one. */
function grant(question: Question, type: number, more: readonly Dhcp6Option[]): Answer6 {
  const answer = reply(question, type, [...more, ...granted(question)]);
  if (!isGiven(question)) return { kind: "reply", reply: answer };
  const { offer, lease, now } = question;
  const change = leaseChange("bound", now + offer.leaseSeconds * 1000, lease?.hostname);
  return { kind: "reply", reply: answer, change };
}

/** The association that gets the address. */
const chosen = ({ associations }: Question): Association | undefined =>
  associations.find(({ code }) => code === codes.iaNa);

const isGiven = (question: Question): boolean => chosen(question) !== undefined && !isQuarantined(question);

function granted(question: Question): readonly Dhcp6Option[] {
  const first = isGiven(question) ? chosen(question) : undefined;
  return question.associations.map((association) =>
    association === first ? given(question, association) : denied(association),
  );
}

/** The address, and beside it with no lifetime what the client named and may not have (section 18.3.4). */
function given({ offer }: Question, { id, addresses }: Association): Dhcp6Option {
  const { address, leaseSeconds } = offer;
  const wrong = addresses.filter((named) => named !== address).slice(0, MOST_ASSOCIATIONS);
  const inside = [addressOption(address, leaseSeconds), ...wrong.map((named) => addressOption(named, 0))];
  return association(codes.iaNa, id, inside, leaseSeconds);
}

function denied({ code, id }: Association): Dhcp6Option {
  const why =
    code === codes.iaPd
      ? statusOf(status.noPrefixes, "no prefixes are delegated")
      : statusOf(status.noAddresses, "a port has one address");
  return association(code, id, [why], 0);
}

/** RFC 8415 sections 18.3.7 and 18.3.8. */
function giveBack(question: Question, state: "released" | "declined"): Answer6 {
  const { offer, lease, now, associations } = question;
  const isNamed = associations.some(({ addresses }) => addresses.includes(offer.address));
  const unknown = associations.filter(({ addresses }) => !addresses.includes(offer.address));
  const noBinding = unknown.map(({ code, id }) =>
    association(code, id, [statusOf(status.noBinding, "not given to this port")], 0),
  );
  const answer = reply(question, types.reply, [statusOf(status.success, "noted"), ...noBinding]);
  const isNews = isNamed && (state === "declined" ? !isQuarantined(question) : lease?.state === "bound");
  if (!isNews) return { kind: "reply", reply: answer };
  const until = state === "declined" ? now + DECLINE_QUARANTINE_MS : now;
  return { kind: "reply", reply: answer, change: leaseChange(state, until, lease?.hostname) };
}

function reply(question: Question, type: number, more: readonly Dhcp6Option[]): Dhcp6Message {
  const { message, offer } = question;
  const client = bodyOf(message, codes.clientId);
  const head = [
    ...(client === undefined ? [] : [option(codes.clientId, client)]),
    option(codes.serverId, offer.serverId),
    ...more,
  ];
  const { transactionId } = message;
  return { type, transactionId, options: [...head, ...parameters6(message, offer, writeDhcp6Options(head).length)] };
}

function option(code: number, body: Uint8Array = new Uint8Array(0)): Dhcp6Option {
  return { code, body };
}

function statusOf(code: number, says: string): Dhcp6Option {
  return option(codes.statusCode, createWriter().u16(code).bytes(new TextEncoder().encode(says)).done());
}

function addressOption(address: Ipv6Address, seconds: number): Dhcp6Option {
  return option(codes.iaAddress, createWriter().bytes(ipv6ToBytes(address)).u32(seconds).u32(seconds).done());
}

/** T1 and T2 at half and four fifths of the lease (section 21.4); an association for temporary addresses has neither. */
function association(code: number, id: Uint8Array, inside: readonly Dhcp6Option[], seconds: number): Dhcp6Option {
  const writer = createWriter().bytes(id);
  const isInfinite = seconds >= INFINITE;
  if (code !== codes.iaTa)
    writer
      .u32(isInfinite ? INFINITE : Math.floor(seconds / 2))
      .u32(isInfinite ? INFINITE : Math.floor((seconds * 4) / 5));
  return option(code, writer.bytes(writeDhcp6Options(inside)).done());
}
