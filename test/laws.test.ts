/** Every codec of src/packet with values to try the laws on. A codec that is not in the table fails here. */
import { readdirSync } from "node:fs";
import fc, { type Arbitrary } from "fast-check";
import { expect, test } from "vitest";
import { ipv4FromNumber } from "../src/model/ipv4.ts";
import { ipv6FromBytes } from "../src/model/ipv6.ts";
import { macFromBytes } from "../src/model/mac.ts";
import { arpCodec } from "../src/packet/arp.ts";
import type { Codec } from "../src/packet/codec.ts";
import { dhcp4Codec } from "../src/packet/dhcp4.ts";
import type { Dhcp4Message } from "../src/packet/dhcp4-message.ts";
import { relayInfoCodec } from "../src/packet/dhcp4-relay.ts";
import { dhcp6Codec, dhcp6Types } from "../src/packet/dhcp6.ts";
import { dhcp6RelayCodec } from "../src/packet/dhcp6-relay.ts";
import { ethernetCodec } from "../src/packet/ethernet.ts";
import { icmp4Codec } from "../src/packet/icmp4.ts";
import { igmpCodec } from "../src/packet/igmp.ts";
import { ipv4Codec } from "../src/packet/ipv4.ts";
import { ipv6Codec } from "../src/packet/ipv6.ts";
import { type LlcPacket, llcCodec, snapCodec } from "../src/packet/llc.ts";
import { type Bpdu, stpCodec } from "../src/packet/stp.ts";
import { tcpCodec } from "../src/packet/tcp.ts";
import { udpCodec } from "../src/packet/udp.ts";
import { vlanCodec } from "../src/packet/vlan.ts";
import { codecLaws } from "./codec-laws.ts";

const bits = (count: number) => fc.integer({ min: 0, max: 2 ** count - 1 });
const [octet, u16, u32] = [bits(8), bits(16), bits(32)];
const mac = fc.uint8Array({ minLength: 6, maxLength: 6 }).map((bytes) => macFromBytes(bytes));
const ip4 = u32.map(ipv4FromNumber);
const ip6 = fc.uint8Array({ minLength: 16, maxLength: 16 });
const payload = fc.uint8Array({ maxLength: 200 });
/** Options of IPv4 and TCP: up to ten words. */
const words = bits(4).chain((n) => {
  const length = Math.min(n, 10) * 4;
  return fc.uint8Array({ minLength: length, maxLength: length });
});

const llc: Arbitrary<LlcPacket> = fc
  .record({ dsap: octet, ssap: octet, control: octet, sequence: octet, payload })
  .map((packet) => ((packet.control & 3) === 3 ? { ...packet, sequence: 0 } : packet));

const bridge = fc.record({ priority: u16, mac });
const bpdu: Arbitrary<Bpdu> = fc.oneof(
  fc.record({ bpdu: fc.constant("topology-change" as const), version: octet }),
  fc.record({
    bpdu: fc.constantFrom("config" as const, "rapid" as const),
    version: octet,
    flags: octet,
    root: bridge,
    cost: u32,
    bridge,
    port: u16,
    messageAge: u16,
    maxAge: u16,
    helloTime: u16,
    forwardDelay: u16,
    more: payload,
  }),
);

/** One character per octet, none of them zero. */
const fixedText = (size: number) =>
  fc.array(fc.integer({ min: 1, max: 255 }), { maxLength: size }).map((codes) => String.fromCharCode(...codes));
const written = fc.integer({ min: 1, max: 254 }).filter((number) => number !== 52);
const dhcp4: Arbitrary<Dhcp4Message> = fc.record({
  op: fc.constantFrom("request" as const, "reply" as const),
  xid: u32,
  secs: u16,
  broadcast: fc.boolean(),
  hops: octet,
  ciaddr: ip4,
  yiaddr: ip4,
  siaddr: ip4,
  giaddr: ip4,
  chaddr: mac,
  sname: fixedText(64),
  file: fixedText(128),
  options: fc
    .array(fc.tuple(written, fc.uint8Array({ maxLength: 300 })), { maxLength: 8 })
    .map((list) => new Map(list)),
});

/** A codec with its values; the type of the values is the row's own affair. */
interface Row {
  readonly codec: object;
  laws(): void;
}

function row<T>(codec: Codec<T>, values: Arbitrary<T>): Row {
  return { codec, laws: () => codecLaws(codec, values) };
}

const table: readonly Row[] = [
  row(ethernetCodec, fc.record({ destination: mac, source: mac, type: u16, payload })),
  row(vlanCodec, fc.record({ priority: bits(3), dropEligible: fc.boolean(), id: bits(12), type: u16, payload })),
  row(llcCodec, llc),
  row(snapCodec, fc.record({ oui: bits(24), protocol: u16, payload })),
  row(stpCodec, bpdu),
  row(arpCodec, fc.record({ operation: u16, senderMac: mac, senderIp: ip4, targetMac: mac, targetIp: ip4 })),
  row(
    ipv4Codec,
    fc.record({
      tos: octet,
      id: u16,
      flags: bits(3),
      offset: bits(13).map((eights) => eights * 8),
      ttl: octet,
      protocol: octet,
      source: ip4,
      destination: ip4,
      options: words,
      payload,
    }),
  ),
  row(icmp4Codec, fc.record({ type: octet, code: octet, rest: u32, payload })),
  row(igmpCodec, fc.record({ type: octet, maxResponse: octet, group: ip4, more: payload })),
  row(udpCodec, fc.record({ sourcePort: u16, destinationPort: u16, checksum: u16, payload })),
  row(
    tcpCodec,
    fc.record({
      sourcePort: u16,
      destinationPort: u16,
      sequence: u32,
      acknowledgement: u32,
      flags: bits(12),
      window: u16,
      checksum: u16,
      urgent: u16,
      options: words,
      payload,
    }),
  ),
  row(
    ipv6Codec,
    fc.record({
      trafficClass: octet,
      flowLabel: bits(20),
      nextHeader: octet,
      hopLimit: octet,
      source: ip6,
      destination: ip6,
      payload,
    }),
  ),
  row(dhcp4Codec, dhcp4),
  row(
    dhcp6Codec,
    fc.record({
      type: octet.filter((type) => type !== dhcp6Types.relayForward && type !== dhcp6Types.relayReply),
      transactionId: bits(24),
      options: fc.array(fc.record({ code: u16, body: payload }), { maxLength: 8 }),
    }),
  ),
  row(relayInfoCodec, fc.array(fc.record({ code: octet, body: payload }), { maxLength: 8 })),
  row(
    dhcp6RelayCodec,
    fc.record({
      type: fc.constantFrom(dhcp6Types.relayForward, dhcp6Types.relayReply),
      hops: octet,
      link: ip6.map((bytes) => ipv6FromBytes(bytes)),
      peer: ip6.map((bytes) => ipv6FromBytes(bytes)),
      options: fc.array(fc.record({ code: u16, body: payload }), { maxLength: 8 }),
    }),
  ),
];

for (const { laws } of table) laws();

const folder = new URL("../src/packet/", import.meta.url);
const sources = readdirSync(folder).filter((name) => name.endsWith(".ts") && !name.endsWith(".test.ts"));

test("every exported codec stands in the table", async () => {
  const known = new Set(table.map(({ codec }) => codec));
  const found: string[] = [];
  for (const source of sources) {
    const exported = Object.entries<unknown>(await import(new URL(source, folder).href));
    for (const [name, value] of exported.filter(([name]) => name.endsWith("Codec"))) {
      found.push(name);
      expect(known, `${source} exports ${name}`).toContain(value);
    }
  }
  expect(found.length, "the walk found them").toBe(table.length);
});
