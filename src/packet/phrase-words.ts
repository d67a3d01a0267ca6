/** The words of a phrase, read one after the other: whatever is wrong is said with the word, what was expected and what may have been meant. */
import { GuardError } from "../model/errors.ts";
import { type IpAddress, isIpv6, parseIp } from "../model/ip-block.ts";
import { type Ipv4Address, ipv4FromNumber } from "../model/ipv4.ts";
import { type Ipv6Address, linkLocalOf } from "../model/ipv6.ts";
import { BROADCAST_MAC, type MacAddress, parseMac } from "../model/mac.ts";
import { suggestion } from "../model/nearest.ts";
import type { Direction } from "../model/reasons.ts";

/** Somebody a phrase can name without an address. */
export interface Party {
  readonly mac: MacAddress;
  readonly address4?: Ipv4Address;
  /** Global, or whatever it has beyond the link-local one. */
  readonly address6?: Ipv6Address;
  readonly linkLocal6?: Ipv6Address;
}

/** What a phrase is relative to. */
export interface PhraseContext {
  /** Whose frame it is: sent by the guest of the port, or on its way to it. */
  readonly direction: Direction;
  readonly own: Party;
  readonly gateway: Party;
  /** The MAC of whoever has the address on this link; undefined where nobody is known: then it is the gateway's business. */
  neighbour(address: IpAddress): MacAddress | undefined;
}

export type AddressFamily = 4 | 6;

export interface Words {
  /** The next word without taking it. */
  peek(): string | undefined;
  /** Takes the next word if it is one of these. */
  take<W extends string>(...words: readonly W[]): W | undefined;
  /** Takes the next word. @throws PHRASE_INVALID when there is none */
  next(expected: string): string;
  /** One of these words. @throws PHRASE_INVALID */
  oneOf<W extends string>(words: readonly W[], what: string): W;
  /** Everything that is left. */
  rest(): readonly string[];
  fail(word: string | undefined, says: string): GuardError;
}

export function readWords(text: string): Words {
  // `a>b` is three words, as are `a > b` and `a -> b`.
  const words = text
    .replace(/-?>/g, " > ")
    .split(/\s+/)
    .filter((word) => word !== "");
  let at = 0;
  const fail = (word: string | undefined, says: string): GuardError =>
    new GuardError("PHRASE_INVALID", `${word === undefined ? "the phrase ends too early" : `'${word}'`}: ${says}`, {
      fields: { phrase: text, word: word ?? "" },
    });
  const next = (expected: string): string => {
    const word = words[at];
    if (word === undefined) throw fail(undefined, `expected ${expected}`);
    at += 1;
    return word;
  };
  return {
    fail,
    next,
    peek: () => words[at],
    take: (...wanted) => {
      const found = wanted.find((word) => word === words[at]);
      if (found !== undefined) at += 1;
      return found;
    },
    oneOf: (known, what) => {
      const word = next(`${what}: ${known.join(", ")}`);
      const found = known.find((one) => one === word);
      if (found !== undefined) return found;
      throw fail(word, `expected ${what}: ${known.join(", ")}${suggestion(word, known)}`);
    },
    rest: () => words.slice(at),
  };
}

/** Who speaks when nobody is named: the guest, or towards it the gateway. */
export const speaker = (context: PhraseContext): Party =>
  context.direction === "from-guest" ? context.own : context.gateway;
export const hearer = (context: PhraseContext): Party =>
  context.direction === "from-guest" ? context.gateway : context.own;

export const familyOf = (address: IpAddress): AddressFamily => (isIpv6(address) ? 6 : 4);
export const ALL4: Ipv4Address = ipv4FromNumber(0xff_ff_ff_ff);

export const linkLocal = (party: Party): Ipv6Address => party.linkLocal6 ?? linkLocalOf(party.mac);

const partyWords = ["own", "own4", "own6", "gateway", "gateway4", "gateway6"] as const;
const addressWords: readonly string[] = [...partyWords, "broadcast"];

/** The address of a party, in the family that is asked for; IPv4 where both would do. */
function addressOf(party: Party, family: AddressFamily | undefined): IpAddress | undefined {
  const first = family === 6 ? undefined : party.address4;
  return first ?? (family === 4 ? undefined : (party.address6 ?? party.linkLocal6));
}

function partyAddress(
  words: Words,
  word: string,
  context: PhraseContext,
  family: AddressFamily | undefined,
): IpAddress {
  const isOwn = word.startsWith("own");
  const asked = word.endsWith("4") ? 4 : word.endsWith("6") ? 6 : family;
  const address = addressOf(isOwn ? context.own : context.gateway, asked);
  if (address !== undefined) return address;
  const whose = isOwn ? "the NIC" : "the gateway of its network";
  throw words.fail(word, `${whose} has no ${asked === undefined ? "" : `IPv${asked} `}address`);
}

/** @param text one word @param family what it must be of, if that is settled */
export function parseAddress(words: Words, text: string, context: PhraseContext, family?: AddressFamily): IpAddress {
  if (partyWords.some((word) => word === text)) return partyAddress(words, text, context, family);
  const address = text === "broadcast" ? ALL4 : parseIp(text);
  if (address === undefined)
    throw words.fail(
      text,
      `expected an address such as 203.0.113.7, 2001:db8::7, own or gateway${suggestion(text, addressWords)}`,
    );
  if (family !== undefined && familyOf(address) !== family)
    throw words.fail(text, `expected an IPv${family} address, as the rest of the phrase has it`);
  return address;
}

export function address4(words: Words, context: PhraseContext, what: string): Ipv4Address {
  const address = parseAddress(words, words.next(what), context, 4);
  if (isIpv6(address)) throw words.fail(address, `expected ${what} of IPv4`);
  return address;
}

export function address6(words: Words, context: PhraseContext, what: string): Ipv6Address {
  const address = parseAddress(words, words.next(what), context, 6);
  if (!isIpv6(address)) throw words.fail(address, `expected ${what} of IPv6`);
  return address;
}

const macWords: readonly string[] = ["own", "gateway", "broadcast"];

export function macAddress(words: Words, context: PhraseContext, what: string): MacAddress {
  const word = words.next(what);
  if (word === "own") return context.own.mac;
  if (word === "gateway") return context.gateway.mac;
  if (word === "broadcast") return BROADCAST_MAC;
  const mac = parseMac(word);
  if (mac !== undefined) return mac;
  throw words.fail(
    word,
    `expected ${what}, such as 02:00:00:00:00:07, own, gateway or broadcast${suggestion(word, macWords)}`,
  );
}

/** Decimal, or hexadecimal with 0x. */
export function number(words: Words, what: string, most: number): number {
  const word = words.next(`${what} from 0 to ${most}`);
  return parseNumber(words, word, what, most);
}

export function parseNumber(words: Words, word: string, what: string, most: number): number {
  const value = /^(?:\d{1,9}|0x[0-9a-f]{1,8})$/i.test(word) ? Number(word) : Number.NaN;
  if (value >= 0 && value <= most) return value;
  throw words.fail(word, `expected ${what} from 0 to ${most}`);
}
