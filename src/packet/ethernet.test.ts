/** Ethernet headers: types and lengths are the same field. */
import { codecTable, hexBytes, macOf } from "../../test/codec-laws.ts";
import { ethernetCodec } from "./ethernet.ts";

const destination = macOf("ff:ff:ff:ff:ff:ff");
const source = macOf("02:00:00:00:00:01");

codecTable(ethernetCodec, {
  same: [
    [
      "Ethernet II",
      "ffffffffffff 020000000001 0806 aabb",
      { destination, source, type: 0x0806, payload: hexBytes("aabb") },
    ],
    ["802.3", "ffffffffffff 020000000001 0002 aabb", { destination, source, type: 2, payload: hexBytes("aabb") }],
    ["a header alone", "ffffffffffff 020000000001 0800", { destination, source, type: 0x0800, payload: hexBytes("") }],
  ],
  refused: [
    ["nothing", "", "truncated"],
    ["half a type", "ffffffffffff 020000000001 08", "truncated"],
  ],
});
