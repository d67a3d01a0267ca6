/** VLAN tags: priority, drop eligibility and id share sixteen bits. */
import { codecTable, hexBytes } from "../../test/codec-laws.ts";
import { vlanCodec } from "./vlan.ts";

const none = hexBytes("");

codecTable(vlanCodec, {
  same: [
    ["id alone", "0007 0806", { priority: 0, dropEligible: false, id: 7, type: 0x0806, payload: none }],
    [
      "priority alone",
      "a000 0800 aa",
      { priority: 5, dropEligible: false, id: 0, type: 0x0800, payload: hexBytes("aa") },
    ],
    ["every bit", "ffff 8100", { priority: 7, dropEligible: true, id: 4095, type: 0x8100, payload: none }],
    ["drop eligible", "1001 88a8", { priority: 0, dropEligible: true, id: 1, type: 0x88a8, payload: none }],
  ],
  refused: [
    ["nothing", "", "truncated"],
    ["a tag without the next type", "0007", "truncated"],
    ["half a type", "0007 08", "truncated"],
  ],
});
