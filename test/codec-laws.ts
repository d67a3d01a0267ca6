/** The laws every codec obeys: what was written is read back, hostile bytes never throw, and what is accepted is stable. And tables of bytes. */
import fc, { type Arbitrary } from "fast-check";
import { describe, expect, test } from "vitest";
import { type Ipv4Address, parseIpv4 } from "../src/model/ipv4.ts";
import { type MacAddress, parseMac } from "../src/model/mac.ts";
import type { Codec, Rejection } from "../src/packet/codec.ts";

const RUNS = { numRuns: 200 };

export function codecLaws<T>(codec: Codec<T>, values: Arbitrary<T>): void {
  /** Reads, and when that is accepted demands that writing and reading again changes nothing. */
  function expectStable(bytes: Uint8Array): void {
    const first = codec.decode(bytes);
    if (first.ok) expect(codec.decode(codec.encode(first.value))).toEqual(first);
  }

  describe(codec.name, () => {
    test("decode undoes encode", () => {
      fc.assert(
        fc.property(values, (value) => {
          expect(codec.decode(codec.encode(value))).toEqual({ ok: true, value });
        }),
        RUNS,
      );
    });

    test("any bytes are read or refused, and what is accepted is stable", () => {
      fc.assert(
        fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
          expectStable(bytes);
        }),
        RUNS,
      );
    });

    test("a flipped bit is read or refused, and what is accepted is stable", () => {
      fc.assert(
        fc.property(values, fc.nat(), (value, where) => {
          const bytes = codec.encode(value);
          const bit = where % (bytes.length * 8);
          bytes[bit >> 3] = (bytes[bit >> 3] ?? 0) ^ (1 << (bit & 7));
          expectStable(bytes);
        }),
        RUNS,
      );
    });

    test("a cut is read or refused, and what is accepted is stable", () => {
      fc.assert(
        fc.property(values, fc.nat(), (value, where) => {
          const bytes = codec.encode(value);
          expectStable(bytes.subarray(0, where % (bytes.length + 1)));
        }),
        RUNS,
      );
    });
  });
}

export interface CodecTable<T> {
  /** Name, bytes in hex with any spaces, value: both directions must hold. */
  readonly same: readonly (readonly [name: string, hex: string, value: T])[];
  /** Name, bytes in hex, reason. */
  readonly refused: readonly (readonly [name: string, hex: string, why: Rejection])[];
}

export function codecTable<T>(codec: Codec<T>, { same, refused }: CodecTable<T>): void {
  test.each(same)(`${codec.name}: %s`, (_name, hex, value) => {
    expect(codec.decode(hexBytes(hex))).toEqual({ ok: true, value });
    expect(codec.encode(value)).toEqual(hexBytes(hex));
  });

  test.each(refused)(`${codec.name} refuses %s`, (_name, hex, why) => {
    expect(codec.decode(hexBytes(hex))).toEqual({ ok: false, why });
  });
}

export function hexBytes(hex: string): Uint8Array {
  const digits = hex.replace(/\s/g, "");
  if (!/^(?:[0-9a-f]{2})*$/.test(digits)) throw new TypeError(`not whole bytes: ${hex}`);
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

export function macOf(text: string): MacAddress {
  const mac = parseMac(text);
  if (mac === undefined) throw new TypeError(`not a MAC address: ${text}`);
  return mac;
}

export function ip4Of(text: string): Ipv4Address {
  const address = parseIpv4(text);
  if (address === undefined) throw new TypeError(`not an IPv4 address: ${text}`);
  return address;
}
