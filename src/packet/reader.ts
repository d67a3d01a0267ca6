/** A cursor over hostile bytes: past the end it yields zeros and remembers it, so a decoder reads straight down its format and checks once. */
import { type Ipv4Address, ipv4FromBytes } from "../model/ipv4.ts";
import { type MacAddress, macFromBytes } from "../model/mac.ts";
import type { Decoded, Rejection } from "./codec.ts";

export interface Reader {
  /** True from the first byte that was asked for and not there. */
  readonly truncated: boolean;
  u8(): number;
  u16(): number;
  u32(): number;
  /** As many bytes as asked for: a view of the input, or zeros when it is too short. */
  bytes(count: number): Uint8Array;
  mac(): MacAddress;
  ipv4(): Ipv4Address;
  /** A view of everything that was not read yet. */
  rest(): Uint8Array;
}

export function createReader(input: Uint8Array): Reader {
  let at = 0;
  let truncated = false;
  const take = (count: number): Uint8Array => {
    const part = input.subarray(at, at + count);
    at += part.length;
    if (part.length === count) return part;
    truncated = true;
    return new Uint8Array(count);
  };
  const number = (size: number): number => take(size).reduce((sum, byte) => sum * 256 + byte, 0);
  return {
    get truncated() {
      return truncated;
    },
    u8: () => number(1),
    u16: () => number(2),
    u32: () => number(4),
    bytes: take,
    mac: () => macFromBytes(take(6)),
    ipv4: () => ipv4FromBytes(take(4)),
    rest: () => take(input.length - at),
  };
}

/**
 * A header with what is wrong around it. Codecs refuse whatever has a fault; the reader of logged frames shows as much as there is,
 * because frames are logged cut short and because a lie in one field must not hide the others.
 */
export type Reading<T> =
  | { readonly value: T; readonly fault: Rejection | undefined }
  | { readonly value: undefined; readonly fault: Rejection };

export function unreadable(fault: Rejection): Reading<never> {
  return { value: undefined, fault };
}

export function strict<T>({ value, fault }: Reading<T>): Decoded<T> {
  if (fault !== undefined) return { ok: false, why: fault };
  return { ok: true, value };
}
