/** ARP for IPv4 over Ethernet and nothing else, whole and without a tail. */
import { codecTable, ip4Of, macOf } from "../../test/codec-laws.ts";
import { arpCodec } from "./arp.ts";

const senderMac = macOf("02:00:00:00:00:01");
const targetMac = macOf("02:00:00:00:00:02");
const [senderIp, targetIp] = [ip4Of("10.0.0.1"), ip4Of("10.0.0.2")];
const addresses = "020000000001 0a000001 020000000002 0a000002";

codecTable(arpCodec, {
  same: [
    ["request", `0001 0800 06 04 0001 ${addresses}`, { operation: 1, senderMac, senderIp, targetMac, targetIp }],
    ["reply", `0001 0800 06 04 0002 ${addresses}`, { operation: 2, senderMac, senderIp, targetMac, targetIp }],
    [
      "an operation we have no name for",
      `0001 0800 06 04 0909 ${addresses}`,
      { operation: 0x909, senderMac, senderIp, targetMac, targetIp },
    ],
  ],
  refused: [
    ["nothing", "", "truncated"],
    ["five octets", "0001 0800 06", "truncated"],
    ["a cut last octet", `0001 0800 06 04 0001 ${addresses.slice(0, -2)}`, "truncated"],
    ["hardware that is not Ethernet", `0006 0800 06 04 0001 ${addresses}`, "unsupported"],
    ["a protocol that is not IPv4", `0001 86dd 06 04 0001 ${addresses}`, "unsupported"],
    ["hardware addresses of eight octets", `0001 0800 08 04 0001 ${addresses} 00000000`, "unsupported"],
    ["protocol addresses of no octets", `0001 0800 06 00 0001 ${addresses}`, "unsupported"],
    ["padding", `0001 0800 06 04 0001 ${addresses} 00`, "trailing-bytes"],
  ],
});
