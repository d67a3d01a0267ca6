/** BPDUs of STP and RSTP; what MSTP adds is kept unread. */
import { codecTable, hexBytes, macOf } from "../../test/codec-laws.ts";
import { type ConfigurationBpdu, stpCodec } from "./stp.ts";

const fields = "8000 02000000000c 00000004 8000 02000000000d 8001 0100 1400 0200 0f00";
const config: ConfigurationBpdu = {
  bpdu: "config",
  version: 0,
  flags: 0x81,
  root: { priority: 0x8000, mac: macOf("02:00:00:00:00:0c") },
  cost: 4,
  bridge: { priority: 0x8000, mac: macOf("02:00:00:00:00:0d") },
  port: 0x8001,
  messageAge: 256,
  maxAge: 20 * 256,
  helloTime: 2 * 256,
  forwardDelay: 15 * 256,
  more: hexBytes(""),
};

codecTable(stpCodec, {
  same: [
    ["configuration", `0000 00 00 81 ${fields}`, config],
    ["rapid", `0000 02 02 81 ${fields} 00`, { ...config, bpdu: "rapid", version: 2, more: hexBytes("00") }],
    ["topology change", "0000 00 80", { bpdu: "topology-change", version: 0 }],
  ],
  refused: [
    ["three octets", "0000 00", "truncated"],
    ["another protocol", `0001 00 00 81 ${fields}`, "unsupported"],
    ["a type nobody defined", `0000 00 01 81 ${fields}`, "unsupported"],
    ["a cut configuration", `0000 00 00 81 ${fields.slice(0, -2)}`, "truncated"],
    ["a topology change with a tail", "0000 00 80 00", "trailing-bytes"],
  ],
});
