/** IGMP: one group up to version 2, records in version 3. */
import { expect, test } from "vitest";
import { codecTable, hexBytes, ip4Of } from "../../test/codec-laws.ts";
import { igmpCodec, igmpGroups } from "./igmp.ts";

const none = hexBytes("");
const report3 = { type: 0x22, maxResponse: 0, group: ip4Of("0.0.0.1"), more: hexBytes("04000000 ef010203") };

codecTable(igmpCodec, {
  same: [
    ["version 2 report", "16 00 f8fa ef010203", { type: 0x16, maxResponse: 0, group: ip4Of("239.1.2.3"), more: none }],
    ["general query", "11 64 ee9b 00000000", { type: 0x11, maxResponse: 100, group: ip4Of("0.0.0.0"), more: none }],
    ["version 3 report", "22 00 e8f9 00000001 04000000 ef010203", report3],
  ],
  refused: [
    ["seven octets", "16 00 f8fa ef0102", "truncated"],
    ["a false checksum", "16 00 f8f9 ef010203", "bad-checksum"],
  ],
});

test("groups of a message", () => {
  expect(igmpGroups({ ...report3, type: 0x16, group: ip4Of("239.1.2.3") })).toEqual(["239.1.2.3"]);
  expect(igmpGroups(report3)).toEqual(["239.1.2.3"]);
  const two = hexBytes("01000001 ef010203 0a000001  03010000 ef010204 00000000  02000000 ef0102");
  expect(igmpGroups({ ...report3, more: two }), "sources and auxiliary data are passed over").toEqual([
    "239.1.2.3",
    "239.1.2.4",
  ]);
});
