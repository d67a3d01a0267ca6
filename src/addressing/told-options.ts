/** The operator's own options as octets. */
import type { RawOption, SubOption } from "../model/dhcp.ts";
import { type Ipv4Address, ipv4ToBytes } from "../model/ipv4.ts";
import { type Ipv6Address, ipv6ToBytes } from "../model/ipv6.ts";
import type { ToldOption } from "./responder.ts";

type Octets<A> = (address: A) => Uint8Array;

function hexOctets(digits: string): number[] {
  return Array.from({ length: digits.length / 2 }, (_, i) => Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16));
}

function octetsOf<A>({ hex, text, addresses = [] }: SubOption<A>, octets: Octets<A>): number[] {
  if (hex !== undefined) return hexOctets(hex);
  if (text !== undefined) return [...new TextEncoder().encode(text)];
  return addresses.flatMap((address) => [...octets(address)]);
}

/** A number, a length and the value, without an end (RFC 2132 section 8.4). */
function inside<A>(option: SubOption<A>, octets: Octets<A>): number[] {
  const value = octetsOf(option, octets);
  return [option.code, value.length, ...value];
}

function toldOptions<A>(options: readonly RawOption<A>[], octets: Octets<A>): readonly ToldOption[] {
  return options.map((option) => ({
    number: option.code,
    value: Uint8Array.from(option.options?.flatMap((one) => inside(one, octets)) ?? octetsOf(option, octets)),
    always: option.always === true,
  }));
}

export const toldOptions4 = (options: readonly RawOption<Ipv4Address>[]): readonly ToldOption[] =>
  toldOptions(options, ipv4ToBytes);

export const toldOptions6 = (options: readonly RawOption<Ipv6Address>[]): readonly ToldOption[] =>
  toldOptions(options, ipv6ToBytes);
