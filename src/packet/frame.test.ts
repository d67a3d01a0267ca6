/** Whole frames: what is inside what, how far reading gets in broken ones, and that it always ends. */
import { readdirSync, readFileSync } from "node:fs";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { hexBytes, ip4Of, macOf } from "../../test/codec-laws.ts";
import { buildArp, buildUdp4, decodeFrame, type Frame, type Layer } from "./frame.ts";
import { summarise } from "./summary.ts";
import { udp4Checksum } from "./udp.ts";

const [a, b] = [macOf("02:00:00:00:00:01"), macOf("02:00:00:00:00:02")];
const [ipA, ipB] = [ip4Of("10.0.0.1"), ip4Of("10.0.0.2")];
const MACS = "020000000002 020000000001";
const ARP = "0806 0001 0800 06 04 0001 020000000001 0a000001 000000000000 0a000002";
const request = { operation: 1, senderMac: a, senderIp: ipA, targetMac: macOf("00:00:00:00:00:00"), targetIp: ipB };

const kinds = (frame: Frame): string => frame.layers.map(({ kind }) => kind).join(" ");
const read = (hex: string): Frame => decodeFrame(hexBytes(hex));
const last = (frame: Frame): Layer | undefined => frame.layers.at(-1);

test.each([
  ["ARP", ARP, "ethernet arp"],
  ["ARP with padding", `${ARP} ${"00".repeat(18)}`, "ethernet arp"],
  ["a tag", `8100 0007 ${ARP}`, "ethernet vlan arp"],
  ["two tags", `88a8 0007 8100 0008 ${ARP}`, "ethernet vlan vlan arp"],
  ["old double tags", `9100 0007 9200 0008 ${ARP}`, "ethernet vlan vlan arp"],
  ["ARP in SNAP", `0024 aa aa 03 000000 ${ARP}`, "ethernet llc snap arp"],
  ["a tag in SNAP", `0028 aa aa 03 000000 8100 0007 ${ARP}`, "ethernet llc snap vlan arp"],
  ["SNAP in a tag", `8100 0007 0024 aa aa 03 000000 ${ARP}`, "ethernet vlan llc snap arp"],
  ["SNAP of a vendor", "000a aa aa 03 00000c 2000 aabb", "ethernet llc snap"],
  ["a topology change", "0007 42 42 03 0000 00 80 0000", "ethernet llc stp"],
  ["no tag of spanning tree: a supervisory frame", "0007 42 42 01 0000 00 80", "ethernet llc"],
  ["LLC without payload", "0003 f0 f1 03", "ethernet llc"],
])("%s", (_name, hex, expected) => {
  expect(kinds(read(`${MACS} ${hex}`))).toBe(expected);
});

test.each([
  ["nothing", "", "Ethernet", "truncated"],
  ["half a header", MACS, "Ethernet", "truncated"],
  ["half a tag", `${MACS} 8100 0007`, "VLAN tag", "truncated"],
  ["tags without end", `${MACS} ${"8100 0007 ".repeat(40)}`, "nested tags", "unsupported"],
  ["LLC cut by its own length", `${MACS} 0002 42 42 03 0000 00 80`, "802.2 LLC", "truncated"],
  ["half a SNAP header", `${MACS} 0005 aa aa 03 0000`, "SNAP", "truncated"],
  ["a cut BPDU", `${MACS} 0006 42 42 03 0000 00`, "STP BPDU", "truncated"],
  ["cut ARP", `${MACS} ${ARP.slice(0, -2)}`, "ARP", "truncated"],
  [
    "ARP of another hardware",
    `${MACS} 0806 0006 0800 08 04 0001`,
    "ARP hardware 6 protocol 0x0800 lengths 8/4",
    "unsupported",
  ],
  ["IPv4 of version 6", `${MACS} 0800 60`, "IPv4", "unsupported"],
  ["cut IPv4", `${MACS} 0800 4500`, "IPv4", "truncated"],
  ["cut IPv6", `${MACS} 86dd 6000`, "IPv6", "truncated"],
  ["LLDP", `${MACS} 88cc 0207`, "LLDP", "unsupported"],
  ["a type nobody knows", `${MACS} 1234 00`, "EtherType 0x1234", "unsupported"],
])("%s ends in the reason", (_name, hex, what, why) => {
  expect(last(read(hex))).toMatchObject({ kind: "unread", what, why });
});

describe("built frames are whole", () => {
  test("ARP goes where it belongs, or where a liar wants it", () => {
    expect(buildArp(request)).toEqual(hexBytes(`ffffffffffff 020000000001 ${ARP}`));
    expect(last(decodeFrame(buildArp(request)))).toMatchObject({ ...request, fault: undefined });
    const reply = { ...request, operation: 2, targetMac: b };
    expect(decodeFrame(buildArp(reply)).layers[0]).toMatchObject({ source: a, destination: b });
    const link = { source: b, destination: a };
    expect(decodeFrame(buildArp(reply, link)).layers[0]).toMatchObject(link);
  });

  test("UDP has true lengths and checksums", () => {
    const payload = hexBytes("aabbcc");
    const bytes = buildUdp4({ mac: a, address: ipA, port: 5000 }, { mac: b, address: ipB, port: 53 }, payload);
    const frame = decodeFrame(bytes);
    expect(kinds(frame)).toBe("ethernet ipv4 udp");
    const udp = last(frame);
    expect(udp).toMatchObject({ sourcePort: 5000, destinationPort: 53, payload, fault: undefined });
    expect(udp?.kind === "udp" && udp4Checksum(ipA, ipB, udp) === udp.checksum).toBe(true);
  });
});

const dhcpEnds = [
  { mac: a, address: ip4Of("0.0.0.0"), port: 68 },
  { mac: b, address: ip4Of("255.255.255.255"), port: 67 },
] as const;

test("what is cut short is shown as far as it goes", () => {
  const head = hexBytes(`01 01 06 00 00001a2b ${"00".repeat(20)} 020000000009`);
  const frame = decodeFrame(buildUdp4(...dhcpEnds, head));
  expect(last(frame)).toMatchObject({ what: "DHCP request xid 1a2b chaddr 02:00:00:00:00:09", why: "truncated" });
  const long = buildUdp4({ ...dhcpEnds[0], port: 9 }, { ...dhcpEnds[1], port: 9 }, new Uint8Array(500));
  const cut = decodeFrame(long.subarray(0, 256));
  expect(cut.layers.map((layer) => layer.kind !== "unread" && layer.fault)).toEqual([
    undefined,
    "truncated",
    undefined,
  ]);
});

test("a lie in the IPv4 header does not hide who sent it", () => {
  const lie = buildUdp4(...dhcpEnds, hexBytes("aa"));
  lie[24] = (lie[24] ?? 0) ^ 255;
  expect(decodeFrame(lie).layers[1]).toMatchObject({ kind: "ipv4", source: "0.0.0.0", fault: "bad-checksum" });
});

test("a UDP length that disagrees with IPv4 is a fault", () => {
  const lie = buildUdp4({ ...dhcpEnds[0], port: 9 }, { ...dhcpEnds[1], port: 9 }, hexBytes("aabb"));
  lie[39] = 9;
  expect(last(decodeFrame(lie))).toMatchObject({ kind: "udp", fault: "trailing-bytes", payload: hexBytes("aa") });
});

describe("hostile frames", () => {
  const folder = new URL("../../test/packets/", import.meta.url);
  const captures = readdirSync(folder)
    .filter((file) => file.endsWith(".hex"))
    .map((file) => hexBytes(readFileSync(new URL(file, folder), "utf8").replace(/^#.*/, "")));
  const capture = fc.constantFrom(...captures);

  /** Layers lie one inside the other, and the line is printable. */
  function expectSane(bytes: Uint8Array): void {
    const { layers, length } = decodeFrame(bytes);
    expect(length).toBe(bytes.length);
    expect(layers.length).toBeGreaterThan(0);
    expect(layers.length).toBeLessThan(16);
    const line = summarise({ layers, length });
    expect(line).toMatch(/^[ -~]+$/);
    expect(line.length).toBeLessThan(1000);
  }

  test("any bytes", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        expectSane(bytes);
      }),
      { numRuns: 500 },
    );
  });

  test("captures with changed octets", () => {
    const changes = fc.array(fc.tuple(fc.nat(), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 6 });
    fc.assert(
      fc.property(capture, changes, (original, list) => {
        const bytes = original.slice();
        for (const [where, octet] of list) bytes[where % bytes.length] = octet;
        expectSane(bytes);
      }),
      { numRuns: 2000 },
    );
  });

  test("captures cut anywhere", () => {
    for (const bytes of captures)
      for (let i = 0; i < Math.min(bytes.length, 400); i += 1) expectSane(bytes.subarray(0, i));
  });
});
