/** The line: what operators read, word for word, and what a guest may not make them read. */
import { expect, test } from "vitest";
import { hexBytes, ip4Of, macOf } from "../../test/codec-laws.ts";
import { dhcp4Codec } from "./dhcp4.ts";
import type { Dhcp4Message } from "./dhcp4-message.ts";
import { buildArp, buildUdp4, decodeFrame } from "./frame.ts";
import { escapeBytes, summarise } from "./summary.ts";

const a = macOf("02:00:00:00:00:01");
const LINK = "020000000002 020000000001";
const link = "02:00:00:00:00:01 > 02:00:00:00:00:02";
const IP = "0a000001 0a000002";
const SIX = `fe80${"00".repeat(13)}01 ff02${"00".repeat(13)}01`;

const arp = (operation: number, sha: string, spa: string, tpa: string) =>
  buildArp(
    { operation, senderMac: macOf(sha), senderIp: ip4Of(spa), targetMac: a, targetIp: ip4Of(tpa) },
    { source: a, destination: macOf("ff:ff:ff:ff:ff:ff") },
  );
const FROM_A = "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff";

test.each([
  [
    arp(1, "02:00:00:00:00:09", "10.0.0.5", "10.0.0.1"),
    `${FROM_A} ARP request who-has 10.0.0.1 tell 10.0.0.5 (sha 02:00:00:00:00:09)`,
  ],
  [arp(1, a, "10.0.0.5", "10.0.0.1"), `${FROM_A} ARP request who-has 10.0.0.1 tell 10.0.0.5`],
  [arp(1, a, "0.0.0.0", "10.0.0.1"), `${FROM_A} ARP request who-has 10.0.0.1 tell 0.0.0.0 (probe)`],
  [arp(1, a, "10.0.0.1", "10.0.0.1"), `${FROM_A} ARP request who-has 10.0.0.1 tell 10.0.0.1 (gratuitous)`],
  [arp(2, "02:00:00:00:00:09", "10.0.0.1", "10.0.0.5"), `${FROM_A} ARP reply 10.0.0.1 is-at 02:00:00:00:00:09`],
  [arp(3, a, "10.0.0.1", "10.0.0.5"), `${FROM_A} ARP operation 3 10.0.0.1 > 10.0.0.5`],
])("%#: ARP", (bytes, line) => {
  expect(summarise(decodeFrame(bytes))).toBe(line);
});

test.each([
  ["8100 a000 1234 00", "vlan 0 802.1Q priority 5 EtherType 0x1234 length 1"],
  ["88a8 1007 8100 0008 88cc", "vlan 7 802.1ad drop-eligible vlan 8 802.1Q LLDP length 0"],
  ["9100 0007 8863", "vlan 7 0x9100 PPPoE discovery length 0"],
  ["0026 42 42 03", "802.3 length 38 LLC 42/42 [STP BPDU truncated] [cut short]"],
  ["000a aa aa 03 00000c 2000 aabb", "802.3 length 10 LLC aa/aa SNAP 0x00000c/0x2000"],
  [`0800 4500 001c 0000 0000 40 01 66df ${IP} 05 01 f0fd 0a000001`, "IPv4 10.0.0.1 > 10.0.0.2 ICMP redirect code 1"],
  [
    `0800 4500 001c 0000 0000 40 01 66df ${IP} 0d 00 0000 00000000`,
    "IPv4 10.0.0.1 > 10.0.0.2 ICMP type 13 code 0 [icmp4 bad-checksum]",
  ],
  [`0800 4500 0018 0000 0000 40 2f 66b5 ${IP} 00000800`, "IPv4 10.0.0.1 > 10.0.0.2 GRE length 4"],
  [
    `0800 4500 0018 0000 0000 40 fe 0000 ${IP} 00000000`,
    "IPv4 10.0.0.1 > 10.0.0.2 IP protocol 254 length 4 [ipv4 bad-checksum]",
  ],
  [
    `0800 4500 001c 0007 2000 40 06 46d3 ${IP} 0016 0017 00000000`,
    "IPv4 10.0.0.1 > 10.0.0.2 fragment 0x0007 octets 0-8+ [TCP truncated]",
  ],
  [
    `0800 4500 0028 0000 0000 40 06 66ce ${IP} 0016 c001 00000000 00000000 5000 0000 0000 0000`,
    "IPv4 10.0.0.1 > 10.0.0.2 TCP 22 > 49153 no flags",
  ],
  [`86dd 60000000 0008 3a ff ${SIX} 86 00 0000 00000000`, "IPv6 fe80::1 > ff02::1 ICMPv6 router advertisement"],
  [`86dd 60000000 0008 3a ff ${SIX} 99 02 0000 00000000`, "IPv6 fe80::1 > ff02::1 ICMPv6 type 153 code 2"],
  [`86dd 60000000 0009 2c ff ${SIX} 3c 00 0009 00000000 aa`, "IPv6 fe80::1 > ff02::1 fragment at 8+"],
  [`86dd 60000000 0000 3b ff ${SIX}`, "IPv6 fe80::1 > ff02::1 no payload"],
  [`86dd 60000000 0002 00 ff ${SIX} 3a ff`, "IPv6 fe80::1 > ff02::1 [chain truncated]"],
  [
    `86dd 60000000 0050 3c ff ${SIX} ${"3c 00 000000000000".repeat(10)}`,
    `IPv6 fe80::1 > ff02::1${" destination".repeat(8)} [chain too long]`,
  ],
])("%s", (hex, line) => {
  expect(summarise(decodeFrame(hexBytes(`${LINK} ${hex}`)))).toBe(`${link} ${line}`);
});

test("a frame without a header says so", () => {
  expect(summarise(decodeFrame(hexBytes("0200")))).toBe("[Ethernet truncated]");
});

const none = ip4Of("0.0.0.0");
const discover: Dhcp4Message = {
  op: "request",
  xid: 0x1a2b,
  secs: 0,
  broadcast: false,
  hops: 0,
  ciaddr: none,
  yiaddr: none,
  siaddr: none,
  giaddr: ip4Of("10.0.0.9"),
  chaddr: a,
  sname: "",
  file: "",
  options: new Map([
    [53, hexBytes("01")],
    [50, hexBytes("0a000005")],
  ]),
};
const dhcpLine = (message: Dhcp4Message): string => {
  const from = { mac: a, address: none, port: 68 };
  const to = { mac: macOf("02:00:00:00:00:02"), address: ip4Of("255.255.255.255"), port: 67 };
  return summarise(decodeFrame(buildUdp4(from, to, dhcp4Codec.encode(message))));
};
const before = `${link} IPv4 0.0.0.0 > 255.255.255.255 UDP 68 > 67 DHCP`;

test("DHCP says what a guest asks for", () => {
  const tail = "xid 1a2b chaddr 02:00:00:00:00:01";
  expect(dhcpLine(discover)).toBe(`${before} discover ${tail} requested 10.0.0.5 giaddr 10.0.0.9`);
  expect(dhcpLine({ ...discover, giaddr: none, options: new Map() })).toBe(`${before} request without a type ${tail}`);
});

test("a host name that is a terminal's command is shown, not obeyed", () => {
  const hostname = Uint8Array.of(0x1b, 0x5b, 0x32, 0x4a, 0x0a, 0x22, 0x5c, 0x9b, 0x00, 0x77);
  const line = dhcpLine({ ...discover, options: new Map([[12, hostname]]) });
  expect(line).toContain(String.raw`hostname "\x1b[2J\x0a\x22\x5c\x9b\x00w"`);
  expect(line).toMatch(/^[ -~]+$/);
});

test("long text is cut", () => {
  expect(escapeBytes(new Uint8Array(70).fill(0x61))).toBe(`${"a".repeat(64)}...`);
  expect(escapeBytes(hexBytes("6162"), 1)).toBe("a...");
});
