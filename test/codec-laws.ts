/** The laws every codec obeys: what was written is read back, hostile bytes never throw, and what is accepted is stable. */
import fc, { type Arbitrary } from "fast-check";
import { describe, expect, test } from "vitest";
import type { Codec } from "../src/packet/codec.ts";

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
