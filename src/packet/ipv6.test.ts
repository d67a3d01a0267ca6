/** IPv6: the fixed header, chains of extension headers that end somewhere, and addresses as people write them. */
import { expect, test } from "vitest";
import { codecTable, hexBytes } from "../../test/codec-laws.ts";
import { ipv6FromBytes } from "../model/ipv6.ts";
import { type Ipv6Packet, ipv6Codec, readIcmp6, walkHeaders } from "./ipv6.ts";

const [one, two] = ["fe80 0000 0000 0000 0000 00ff fe00 000a", "ff02 0000 0000 0000 0000 0000 0000 0001"];
const packet: Ipv6Packet = {
  trafficClass: 0,
  flowLabel: 0,
  nextHeader: 58,
  hopLimit: 255,
  source: hexBytes(one),
  destination: hexBytes(two),
  payload: hexBytes("aabb"),
};

codecTable(ipv6Codec, {
  same: [
    ["a packet", `60000000 0002 3a ff ${one} ${two} aabb`, packet],
    [
      "class and label",
      `6fff ffff 0000 3b 00 ${one} ${two}`,
      { ...packet, trafficClass: 255, flowLabel: 0xfffff, nextHeader: 59, hopLimit: 0, payload: hexBytes("") },
    ],
  ],
  refused: [
    ["nothing", "", "truncated"],
    ["version 4", `40000000 0002 3a ff ${one} ${two} aabb`, "unsupported"],
    ["a cut header", `60000000 0000 3a ff ${one} ${two.slice(0, -2)}`, "truncated"],
    ["less than the payload length", `60000000 0003 3a ff ${one} ${two} aabb`, "truncated"],
    ["more than the payload length", `60000000 0001 3a ff ${one} ${two} aabb`, "trailing-bytes"],
  ],
});

const options = "00 0102 0000 0000";

test.each([
  ["no extension", 58, "8700", [], "upper", 58, 0],
  ["hop-by-hop", 0, `3a ${options} 8700`, [0], "upper", 58, 8],
  ["a long destination header", 60, `06 01 ${"00".repeat(14)} aa`, [60], "upper", 6, 16],
  ["authentication counts words", 51, `11 04 ${"00".repeat(22)} aa`, [51], "upper", 17, 24],
  ["no next header", 59, "aabb", [], "nothing", 59, 0],
  ["hop-by-hop, then nothing", 0, `3b ${options}`, [0], "nothing", 59, 8],
  ["a first fragment", 44, "3a 00 0001 00000000 8700", [44], "upper", 58, 8],
  ["a later fragment", 44, "3a 00 0008 00000000 aabb", [44], "later-fragment", 58, 8],
  [
    "a later fragment whose content would be a header",
    44,
    `3c 00 0008 00000000 3a ${options}`,
    [44],
    "later-fragment",
    60,
    8,
  ],
  ["an extension that is not there", 0, "", [], "truncated", 0, 0],
  ["an extension of one octet", 0, "3a", [], "truncated", 0, 0],
  ["an extension that reaches over the end", 0, `3a ff ${"00".repeat(100)}`, [], "truncated", 0, 0],
  [
    "more headers than anybody needs",
    60,
    `3c ${options}`.repeat(20),
    [60, 60, 60, 60, 60, 60, 60, 60],
    "too-many",
    60,
    64,
  ],
  ["ESP hides the rest", 50, "00000001", [], "upper", 50, 0],
] as const)("chain: %s", (_name, nextHeader, hex, types, end, protocol, at) => {
  const chain = walkHeaders({ ...packet, nextHeader, payload: hexBytes(hex) });
  expect(chain).toMatchObject({ end, protocol, at });
  expect(chain.headers.map(({ type }) => type)).toEqual(types);
});

test("fragment fields", () => {
  const payload = hexBytes("3a 00 05a9 00000000 aabb");
  expect(walkHeaders({ ...packet, nextHeader: 44, payload }).fragment).toEqual({ offset: 1448, more: true });
});

test("ICMPv6: neighbour discovery has a target, and it must be whole", () => {
  const target = hexBytes(one);
  expect(readIcmp6(hexBytes(`87 00 0000 00000000 ${one}`))).toEqual({
    value: { type: 135, code: 0, target },
    fault: undefined,
  });
  expect(readIcmp6(hexBytes("80 00 0000 00000000"))).toEqual({
    value: { type: 128, code: 0, target: undefined },
    fault: undefined,
  });
  expect(readIcmp6(hexBytes("87 00 0000 00000000 fe80"))).toEqual({ value: undefined, fault: "truncated" });
  expect(readIcmp6(hexBytes("80 00"))).toEqual({ value: undefined, fault: "truncated" });
});

test.each([
  ["0000 0000 0000 0000 0000 0000 0000 0000", "::"],
  ["0000 0000 0000 0000 0000 0000 0000 0001", "::1"],
  ["fe80 0000 0000 0000 0000 0000 0000 0000", "fe80::"],
  ["2001 0db8 0000 0000 0001 0000 0000 0001", "2001:db8::1:0:0:1"],
  ["2001 0db8 0000 0001 0001 0001 0001 0001", "2001:db8:0:1:1:1:1:1"],
  ["2001 0000 0000 0001 0000 0000 0000 0001", "2001:0:0:1::1"],
  ["0000 0000 0001 0002 0003 0004 0005 0006", "::1:2:3:4:5:6"],
  ["0001 0002 0003 0004 0005 0006 0000 0000", "1:2:3:4:5:6::"],
  ["0000 0001 0002 0003 0004 0005 0006 0000", "0:1:2:3:4:5:6:0"],
])("RFC 5952: %s is %s", (hex, text) => {
  expect(ipv6FromBytes(hexBytes(hex))).toBe(text);
});
