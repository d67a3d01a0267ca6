/** TCP headers: data offset, flags and options. */
import { codecTable, hexBytes } from "../../test/codec-laws.ts";
import { type TcpSegment, tcpCodec } from "./tcp.ts";

const syn: TcpSegment = {
  sourcePort: 0xc001,
  destinationPort: 22,
  sequence: 0xfffffffe,
  acknowledgement: 0,
  flags: 2,
  window: 0x4000,
  checksum: 0x1234,
  urgent: 0,
  options: hexBytes("020405b4"),
  payload: hexBytes(""),
};

codecTable(tcpCodec, {
  same: [
    ["SYN with the segment size", "c001 0016 fffffffe 00000000 6002 4000 1234 0000 020405b4", syn],
    [
      "data, and every flag there is",
      "c001 0016 fffffffe 00000000 5fff 4000 1234 0001 aa",
      { ...syn, flags: 0xfff, urgent: 1, options: hexBytes(""), payload: hexBytes("aa") },
    ],
  ],
  refused: [
    ["a tiny fragment of eight octets", "c001 0016 fffffffe", "truncated"],
    ["a header of four words", "c001 0016 fffffffe 00000000 4002 4000 1234 0000", "bad-length"],
    ["options behind the end", "c001 0016 fffffffe 00000000 6002 4000 1234 0000 0204", "truncated"],
  ],
});
