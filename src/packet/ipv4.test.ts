/** IPv4 headers: what is sent is summed, what arrives is verified, and lengths must agree with the bytes. */
import { expect, test } from "vitest";
import { codecTable, hexBytes, ip4Of } from "../../test/codec-laws.ts";
import { type Ipv4Packet, ipv4Codec, isFragment, readIpv4 } from "./ipv4.ts";

const plain: Ipv4Packet = {
  tos: 0,
  id: 0,
  flags: 2,
  offset: 0,
  ttl: 64,
  protocol: 17,
  source: ip4Of("192.168.0.1"),
  destination: ip4Of("192.168.0.199"),
  options: hexBytes(""),
  payload: hexBytes(""),
};

codecTable(ipv4Codec, {
  same: [
    // The header everybody learns the checksum from: b861 with a length of 0x73.
    [
      "a header with its checksum",
      `4500 0073 0000 4000 4011 b861 c0a80001 c0a800c7 ${"00".repeat(95)}`,
      { ...plain, payload: new Uint8Array(95) },
    ],
    ["no payload", "4500 0014 0000 4000 4011 b8c0 c0a80001 c0a800c7", plain],
    [
      "router alert (RFC 2113)",
      "4600 0018 0000 4000 4002 23c7 c0a80001 c0a800c7 94040000",
      { ...plain, protocol: 2, options: hexBytes("94040000") },
    ],
    [
      "a middle fragment",
      "45b8 0016 1a2b 20b9 4011 bd22 c0a80001 c0a800c7 aabb",
      { ...plain, tos: 0xb8, id: 0x1a2b, flags: 1, offset: 1480, payload: hexBytes("aabb") },
    ],
    ["the reserved flag", "4500 0014 0000 8000 4011 78c0 c0a80001 c0a800c7", { ...plain, flags: 4 }],
  ],
  refused: [
    ["nothing", "", "truncated"],
    ["nineteen octets", "4500 0014 0000 4000 4011 b8c0 c0a80001 c0a800", "truncated"],
    ["version 6", "6500 0014 0000 4000 4011 98c0 c0a80001 c0a800c7", "unsupported"],
    ["a header of four words", "4400 0014 0000 4000 4011 b9c0 c0a80001 c0a800c7", "bad-length"],
    ["options behind the end", "4600 0014 0000 4000 4011 b7c0 c0a80001 c0a800c7", "truncated"],
    ["a total length below the header", "4500 0013 0000 4000 4011 b8c1 c0a80001 c0a800c7", "bad-length"],
    ["a false checksum", "4500 0014 0000 4000 4011 b8c1 c0a80001 c0a800c7", "bad-checksum"],
    ["less than the total length", "4500 0016 0000 4000 4011 b8be c0a80001 c0a800c7 aa", "truncated"],
    ["more than the total length", "4500 0014 0000 4000 4011 b8c0 c0a80001 c0a800c7 00", "trailing-bytes"],
  ],
});

test("a fault in the header does not hide the header", () => {
  const { value, fault } = readIpv4(hexBytes("4500 0016 0000 4000 4011 0000 c0a80001 c0a800c7 aa"));
  expect([value?.source, value?.payload, fault]).toEqual(["192.168.0.1", hexBytes("aa"), "bad-checksum"]);
});

test("a fragment has an offset or more to come", () => {
  expect(isFragment(plain)).toBe(false);
  expect(isFragment({ ...plain, flags: 1 })).toBe(true);
  expect(isFragment({ ...plain, offset: 8 })).toBe(true);
});
