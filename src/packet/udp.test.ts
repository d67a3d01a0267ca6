/** UDP: the length must agree with the bytes; the checksum is somebody else's to judge. */
import { expect, test } from "vitest";
import { codecTable, hexBytes, ip4Of } from "../../test/codec-laws.ts";
import { checksum, pseudoHeader4 } from "./checksum.ts";
import { readUdp, udp4Checksum, udpCodec } from "./udp.ts";

codecTable(udpCodec, {
  same: [
    [
      "DHCP ports",
      "0044 0043 000a 1234 aabb",
      { sourcePort: 68, destinationPort: 67, checksum: 0x1234, payload: hexBytes("aabb") },
    ],
    [
      "no payload",
      "ffff 0001 0008 0000",
      { sourcePort: 65535, destinationPort: 1, checksum: 0, payload: hexBytes("") },
    ],
  ],
  refused: [
    ["seven octets", "0044 0043 0008 00", "truncated"],
    ["a length below the header", "0044 0043 0007 0000", "bad-length"],
    ["a length of zero", "0044 0043 0000 0000 aa", "bad-length"],
    ["less than the length", "0044 0043 000a 0000 aa", "truncated"],
    ["more than the length", "0044 0043 0008 0000 aa", "trailing-bytes"],
  ],
});

test("a false length does not hide the payload", () => {
  expect(readUdp(hexBytes("0044 0043 0000 0000 aa"))).toMatchObject({ value: { payload: hexBytes("aa") } });
});

test("the checksum over the pseudo header sums up to zero, and never says 'none'", () => {
  const [source, destination] = [ip4Of("10.0.0.1"), ip4Of("10.0.0.2")];
  const datagram = { sourcePort: 68, destinationPort: 67, checksum: 0, payload: hexBytes("aabbcc") };
  const bytes = udpCodec.encode({ ...datagram, checksum: udp4Checksum(source, destination, datagram) });
  expect(checksum(pseudoHeader4(source, destination, 17, bytes.length), bytes)).toBe(0);
  const short = { ...datagram, payload: hexBytes("0000") };
  const zero = udp4Checksum(source, destination, short);
  const filled = Uint8Array.of(zero >>> 8, zero & 255);
  expect(udp4Checksum(source, destination, { ...short, payload: filled })).toBe(0xffff);
});
