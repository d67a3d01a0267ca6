/** LLC: one control octet or two, depending on its lowest bits; and SNAP behind it. */
import { codecTable, hexBytes } from "../../test/codec-laws.ts";
import { llcCodec, snapCodec } from "./llc.ts";

const none = hexBytes("");

codecTable(llcCodec, {
  same: [
    ["spanning tree", "42 42 03 00", { dsap: 0x42, ssap: 0x42, control: 3, sequence: 0, payload: hexBytes("00") }],
    [
      "information has two control octets",
      "04 04 02 05 aa",
      { dsap: 4, ssap: 4, control: 2, sequence: 5, payload: hexBytes("aa") },
    ],
    ["so has supervision", "04 05 01 06", { dsap: 4, ssap: 5, control: 1, sequence: 6, payload: none }],
    ["XID", "00 01 bf 81", { dsap: 0, ssap: 1, control: 0xbf, sequence: 0, payload: hexBytes("81") }],
  ],
  refused: [
    ["nothing", "", "truncated"],
    ["no control", "42 42", "truncated"],
    ["one control octet of two", "04 04 02", "truncated"],
  ],
});

codecTable(snapCodec, {
  same: [
    ["an EtherType (RFC 1042)", "000000 0806 aa", { oui: 0, protocol: 0x0806, payload: hexBytes("aa") }],
    ["Cisco discovery", "00000c 2000", { oui: 0x00000c, protocol: 0x2000, payload: none }],
    ["every bit", "ffffff ffff", { oui: 0xffffff, protocol: 0xffff, payload: none }],
  ],
  refused: [["half a protocol", "000000 08", "truncated"]],
});
