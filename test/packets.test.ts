/**
 * Frames that real clients and kernels sent, one per file in test/packets. Each is read to its end, summed up in one line
 * (summaries.txt; UPDATE_GOLDEN=1 writes it anew) and written back byte for byte.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { arpCodec } from "../src/packet/arp.ts";
import { dhcp4Codec } from "../src/packet/dhcp4.ts";
import { ethernetCodec } from "../src/packet/ethernet.ts";
import { decodeFrame, type Layer } from "../src/packet/frame.ts";
import { icmp4Codec } from "../src/packet/icmp4.ts";
import { igmpCodec } from "../src/packet/igmp.ts";
import { ipv4Codec, isFragment } from "../src/packet/ipv4.ts";
import { ipv6Codec } from "../src/packet/ipv6.ts";
import { llcCodec, snapCodec } from "../src/packet/llc.ts";
import { stpCodec } from "../src/packet/stp.ts";
import { summarise } from "../src/packet/summary.ts";
import { tcpCodec } from "../src/packet/tcp.ts";
import { udp4Checksum, udpCodec } from "../src/packet/udp.ts";
import { vlanCodec } from "../src/packet/vlan.ts";
import { hexBytes } from "./codec-laws.ts";

const folder = new URL("packets/", import.meta.url);
const golden = new URL("summaries.txt", folder);

interface Capture {
  readonly name: string;
  readonly comment: string;
  readonly bytes: Uint8Array;
}

function readCapture(file: string): Capture {
  const [comment = "", ...lines] = readFileSync(new URL(file, folder), "utf8").split("\n");
  return { name: file.slice(0, -".hex".length), comment, bytes: hexBytes(lines.join("")) };
}

const captures = readdirSync(folder)
  .filter((file) => file.endsWith(".hex"))
  .sort()
  .map(readCapture);

/** The layer written anew; undefined for layers that are only read. */
function encodeLayer(layer: Layer): Uint8Array | undefined {
  switch (layer.kind) {
    case "ethernet":
      return ethernetCodec.encode(layer);
    case "vlan":
      return vlanCodec.encode(layer);
    case "llc":
      return llcCodec.encode(layer);
    case "snap":
      return snapCodec.encode(layer);
    case "stp":
      return stpCodec.encode(layer);
    case "arp":
      return arpCodec.encode(layer);
    case "ipv4":
      return ipv4Codec.encode(layer);
    case "icmp4":
      return icmp4Codec.encode(layer);
    case "igmp":
      return igmpCodec.encode(layer);
    case "udp":
      return udpCodec.encode(layer);
    case "tcp":
      return tcpCodec.encode(layer);
    case "ipv6":
      return ipv6Codec.encode(layer);
    case "dhcp4":
      return dhcp4Codec.encode(layer);
    default:
      return undefined;
  }
}

/** Then the checksum inside covers more than is here, and cannot be written from it. */
function isCutByFragments(layer: Layer): boolean {
  return layer.kind === "ipv4" && isFragment(layer);
}

const hexOf = (bytes: Uint8Array): string => Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");

test("there are captures, and each says whose it is", () => {
  expect(captures.length).toBeGreaterThan(40);
  for (const { name, comment } of captures) expect(comment, name).toMatch(/^# \S.*\d.*, \S/);
});

test("each capture has its line in summaries.txt", () => {
  const lines = captures.map(({ name, bytes }) => `${name}: ${summarise(decodeFrame(bytes))}\n`);
  if (process.env["UPDATE_GOLDEN"] === "1") writeFileSync(golden, lines.join(""));
  expect(readFileSync(golden, "utf8")).toBe(lines.join(""));
});

test.each(captures)("$name is read without a fault and written back as it was", ({ bytes }) => {
  const { layers } = decodeFrame(bytes);
  expect(layers.length).toBeGreaterThan(1);
  for (const layer of layers) {
    if (layer.kind === "unread") {
      expect(layer.why, layer.what).toBe("unsupported");
      continue;
    }
    expect(layer.fault, layer.kind).toBeUndefined();
    const again = encodeLayer(layer);
    if (again === undefined || (layer.kind === "icmp4" && layers.some(isCutByFragments))) continue;
    // Behind the last layer there may be padding, and behind the options of DHCP zeros in any number.
    const size = Math.min(again.length, layer.bytes.length);
    expect(hexOf(again.subarray(0, size)), layer.kind).toBe(hexOf(layer.bytes.subarray(0, size)));
    expect(hexOf(again.subarray(size)) + hexOf(layer.bytes.subarray(size)), `${layer.kind}: padding`).toMatch(/^0*$/);
  }
});

test("every checksum over a pseudo header is true, but one that was left to the device", () => {
  const wrong = captures.filter(({ bytes }) => {
    const { layers } = decodeFrame(bytes);
    const ipv4 = layers.find((layer) => layer.kind === "ipv4");
    const udp = layers.find((layer) => layer.kind === "udp");
    if (ipv4 === undefined || udp === undefined || udp.checksum === 0) return false;
    return udp4Checksum(ipv4.source, ipv4.destination, udp) !== udp.checksum;
  });
  expect(wrong.map(({ name }) => name)).toEqual(["udp-checksum-offloaded-linux"]);
});

test("the fragments of a ping are one echo with a true checksum", () => {
  const parts = captures
    .filter(({ name }) => /^icmp-fragment-(?:first|last)-ping$/.test(name))
    .flatMap(({ bytes }) => decodeFrame(bytes).layers.flatMap((layer) => (layer.kind === "ipv4" ? [layer] : [])));
  const whole = Uint8Array.from(parts.flatMap(({ payload }) => [...payload]));
  expect(parts.map(({ offset }) => offset)).toEqual([0, 1480]);
  expect(icmp4Codec.decode(whole)).toMatchObject({ ok: true, value: { type: 8, code: 0 } });
});
