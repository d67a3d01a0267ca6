/** The same as `learn4.ts` for DHCPv6 (RFC 8415): one address, of the first association for non-temporary addresses; nothing else that a server gives is learned. */
import type { IpAddress } from "../model/ip-block.ts";
import { type Ipv6Address, ipv6FromBytes } from "../model/ipv6.ts";
import {
  dhcp6Codes as codes,
  type Dhcp6Message,
  readDhcp6Options,
  dhcp6Status as status,
  dhcp6Types as types,
} from "../packet/dhcp6.ts";
import { createReader } from "../packet/reader.ts";
import type { Exchanges, Wants } from "./exchanges.ts";
import type { Verdict } from "./learn4.ts";

/** Who the port is. */
export interface Learner6 {
  readonly address: Ipv6Address | undefined;
  readonly offered: ReadonlySet<IpAddress>;
}

export type Question6 =
  | { readonly kind: "silence"; readonly why: "server-type" | "bad-option" | "other-address" }
  | { readonly kind: "forward"; readonly wants: readonly Wants[]; readonly ends?: "released" | "declined" };

interface Given {
  readonly address: Ipv6Address;
  /** Valid lifetime. */
  readonly seconds: number;
}

interface Associations {
  /** Of all associations for non-temporary addresses, in order. */
  readonly given: readonly Given[];
  readonly count: number;
}

/** Octets before the options inside IA_NA, and the shortest IA address (RFC 8415 sections 21.4, 21.6). */
const [HEAD, ADDRESS] = [12, 24];
const bodiesOf = ({ options }: Pick<Dhcp6Message, "options">, code: number): readonly Uint8Array[] =>
  options.flatMap((option) => (option.code === code ? [option.body] : []));

/** undefined when one of them cannot be read. */
function associationsOf(message: Dhcp6Message): Associations | undefined {
  const bodies = bodiesOf(message, codes.iaNa);
  const given: Given[] = [];
  for (const body of bodies) {
    const inside = body.length < HEAD ? undefined : readDhcp6Options(body.subarray(HEAD));
    if (inside?.ok !== true) return undefined;
    for (const { code, body: address } of inside.value) {
      if (code !== codes.iaAddress) continue;
      if (address.length < ADDRESS) return undefined;
      given.push({ address: ipv6FromBytes(address), seconds: createReader(address.subarray(20)).u32() });
    }
  }
  return { given, count: bodies.length };
}

const wanted: Readonly<Record<number, readonly Wants[]>> = {
  [types.solicit]: ["offer"],
  [types.request]: ["final"],
  [types.renew]: ["final"],
  [types.rebind]: ["final"],
  [types.confirm]: ["facts"],
  [types.release]: ["facts"],
  [types.decline]: ["facts"],
  [types.informationRequest]: ["facts"],
};

/** Whether a message of the guest may go to the servers. */
export function question6(message: Dhcp6Message, { address, offered }: Learner6): Question6 {
  const wants = wanted[message.type];
  if (wants === undefined) return { kind: "silence", why: "server-type" };
  const associations = associationsOf(message);
  if (associations === undefined) return { kind: "silence", why: "bad-option" };
  const named = associations.given.map((one) => one.address);
  if (message.type === types.solicit && bodiesOf(message, codes.rapidCommit).length > 0)
    return { kind: "forward", wants: ["offer", "final"] };
  if (message.type !== types.release && message.type !== types.decline) return { kind: "forward", wants };
  // With somebody else's identifier it would give back what is his.
  const isOwn = (one: Ipv6Address): boolean => one === address || (message.type === types.decline && offered.has(one));
  if (!named.every(isOwn)) return { kind: "silence", why: "other-address" };
  if (address === undefined || !named.includes(address)) return { kind: "forward", wants };
  return { kind: "forward", wants, ends: message.type === types.release ? "released" : "declined" };
}

/** The message's own status (RFC 8415 section 21.13). */
function statusOf(message: Dhcp6Message): number {
  const [body] = bodiesOf(message, codes.statusCode);
  return body === undefined ? status.success : createReader(body).u16();
}

/** What an answer of an authorised server means for the port. A final one answers its question. */
export function answered6(message: Dhcp6Message, exchanges: Exchanges, now: number): Verdict<Ipv6Address> {
  const associations = associationsOf(message);
  if (associations === undefined) return { kind: "refused", why: "malformed" };
  const { transactionId } = message;
  const awaits = (answer: Wants): boolean => exchanges.awaits(transactionId, answer, now);
  const [first] = associations.given.filter(({ seconds }) => seconds > 0);
  if (message.type === types.advertise && awaits("offer"))
    return first === undefined ? { kind: "pass" } : { kind: "offer", address: first.address };
  if (message.type !== types.reply) return { kind: "refused", why: "not-asked" };
  if (awaits("final")) {
    exchanges.answered(transactionId);
    if (first !== undefined) return { kind: "bind", ...first };
    return { kind: associations.count > 0 ? "end" : "pass" };
  }
  if (!awaits("facts")) return { kind: "refused", why: "not-asked" };
  // To CONFIRM (RFC 8415 section 18.3.3).
  return { kind: statusOf(message) === status.notOnLink ? "end" : "pass" };
}
