/** ICMP: echo and whatever else has a type and a code. */
import { expect, test } from "vitest";
import { codecTable, hexBytes } from "../../test/codec-laws.ts";
import { echoOf, icmp4Codec } from "./icmp4.ts";

const echo = { type: 8, code: 0, rest: 0x1a2b_0001, payload: hexBytes("61") };

codecTable(icmp4Codec, {
  same: [
    ["echo request", "08 00 7cd3 1a2b 0001 61", { ...echo, payload: hexBytes("61") }],
    ["redirect", "05 01 f0fd 0a000001", { type: 5, code: 1, rest: 0x0a00_0001, payload: hexBytes("") }],
    ["all zeros but the sum", "00 00 ffff 00000000", { type: 0, code: 0, rest: 0, payload: hexBytes("") }],
  ],
  refused: [
    ["seven octets", "08 00 7bd3 1a2b 00", "truncated"],
    ["a false checksum", "08 00 7bd4 1a2b 0001 61", "bad-checksum"],
    ["all zeros", "00 00 0000 00000000", "bad-checksum"],
  ],
});

test("an echo has an identifier and a sequence, nothing else has", () => {
  expect(echoOf(echo)).toEqual({ id: 0x1a2b, sequence: 1 });
  expect(echoOf({ ...echo, type: 0, rest: 0xffff_fffe })).toEqual({ id: 0xffff, sequence: 0xfffe });
  expect(echoOf({ ...echo, type: 3 })).toBeUndefined();
});
