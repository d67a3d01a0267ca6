/** The Internet checksum: the example of its RFC, parts of odd length, and the two zeros. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { hexBytes, ip4Of } from "../../test/codec-laws.ts";
import { checksum, pseudoHeader4 } from "./checksum.ts";

test.each([
  ["RFC 1071 section 3", "0001 f203 f4f5 f6f7", 0x220d],
  ["an odd octet is a high one", "01", 0xfeff],
  ["nothing", "", 0xffff],
  ["all zeros", "0000 0000", 0xffff],
  ["all ones is the other zero", "ffff", 0],
])("%s", (_name, hex, sum) => {
  expect(checksum(hexBytes(hex))).toBe(sum);
});

test("parts are summed as if they were one", () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ maxLength: 9 }), { maxLength: 6 }), (parts) => {
      expect(checksum(...parts)).toBe(checksum(Uint8Array.from(parts.flatMap((part) => [...part]))));
    }),
  );
});

test("with its checksum inside the sum is zero, and one flipped bit is seen", () => {
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 2, maxLength: 40 }), fc.nat(), (bytes, where) => {
      const even = bytes.length % 2 === 0 ? bytes : bytes.subarray(1);
      const sum = checksum(even);
      const whole = Uint8Array.of(...even, sum >>> 8, sum & 255);
      expect(checksum(whole)).toBe(0);
      const bit = where % (whole.length * 8);
      whole[bit >> 3] = (whole[bit >> 3] ?? 0) ^ (1 << (bit & 7));
      expect(checksum(whole)).not.toBe(0);
    }),
  );
});

test("a megabyte does not overflow the sum", () => {
  expect(checksum(new Uint8Array(1 << 20).fill(255))).toBe(0);
});

test("the pseudo header of IPv4 (RFC 768)", () => {
  const header = pseudoHeader4(ip4Of("10.0.0.1"), ip4Of("10.0.0.2"), 17, 0x0102);
  expect(header).toEqual(hexBytes("0a000001 0a000002 00 11 0102"));
});
