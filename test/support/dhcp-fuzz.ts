/** The DHCP codecs and responders of both families under a fuzzer: what must hold of whatever a guest sends. */
import { readdirSync, readFileSync } from "node:fs";
import { answer4 } from "../../src/addressing/dhcp4-frames.ts";
import { answer6 } from "../../src/addressing/dhcp6-frames.ts";
import { RESPONDER_MAC } from "../../src/addressing/neighbour-answers.ts";
import { respond } from "../../src/addressing/respond.ts";
import { respond6 } from "../../src/addressing/respond6.ts";
import type { LeaseChange, PortOffer, PortOffer6 } from "../../src/addressing/responder.ts";
import { portOffer, portOffer6 } from "../../src/agent/offers.ts";
import { loadSite } from "../../src/config/load.ts";
import { macToBytes } from "../../src/model/mac.ts";
import { fold, sum } from "../../src/packet/checksum.ts";
import { dhcp4Codec, encodeDhcp4 } from "../../src/packet/dhcp4.ts";
import { type DhcpOption, dhcp4Options, readOption } from "../../src/packet/dhcp4-options.ts";
import { dhcp6Codes as codes, dhcp6Codec, writeDhcp6Options } from "../../src/packet/dhcp6.ts";
import { udp6Frame } from "../../src/packet/frame6.ts";
import { createWriter } from "../../src/packet/writer.ts";
import { freshSite } from "../../src/plan/site.ts";
import { hexBytes } from "../codec-laws.ts";
import type { FuzzTarget } from "./fuzz.ts";

const NOW = 1_700_000_000_000;
const ANY = "0.0.0.0";

/** The MAC of the captured clients, so that their messages are seeds as they are. */
const SITE = `kind: network
name: lan0
spec:
  prefix4: 192.0.2.0/24
  gateway4: 192.0.2.1
  prefix6: 2001:db8:66::/64
  wiring: { kind: bridged, bridge: br0 }
  addressing:
    kind: managed
    dns: [192.0.2.2]
    dns6: ["2001:db8:66::2"]
    ntp6: ["2001:db8:66::3"]
    domain: example.net
    search: [example.net, example.org]
    mtu: 1400
    options: [{ code: 224, hex: "${"ab".repeat(300)}" }, { code: 225, hex: "${"cd".repeat(100)}", always: true }]
    classes: [{ name: ipxe, when: { userClass: iPXE }, tell: { boot: { file: boot.ipxe, url: "http://x/y" } } },
              { name: rom, when: { vendorClass: PXEClient, arch: [0, 7] }, tell: { boot: { server: 192.0.2.9, file: "${"f".repeat(200)}" } } }]
---
kind: guest
name: web1
spec: { nics: [{ network: lan0, mac: "02:00:00:00:00:0a", address4: 192.0.2.10 }] }
`;

function offers(): { readonly ip4: PortOffer; readonly ip6: PortOffer6 } {
  const site = freshSite(loadSite(SITE, "fuzz"), (count) => new Uint8Array(count));
  for (const guest of site.guests.values()) {
    const [nic] = guest.nics;
    const network = nic === undefined ? undefined : site.networks.get(nic.network);
    if (nic === undefined || network === undefined) continue;
    const ip4 = portOffer(guest, nic, guest.spec.nics[0], network);
    const ip6 = portOffer6(guest, nic, guest.spec.nics[0], network);
    if (ip4 !== undefined && ip6 !== undefined) return { ip4, ip6 };
  }
  throw new TypeError("no offers");
}

const { ip4, ip6 } = offers();
const leases: readonly (LeaseChange | undefined)[] = [
  undefined,
  { state: "bound", expiresAt: NOW + 1 },
  { state: "declined", expiresAt: NOW + 1 },
];

function must(holds: boolean, says: string): void {
  if (!holds) throw new Error(says);
}

function checkReply4(bytes: Uint8Array, lease: LeaseChange | undefined): void {
  const asked = dhcp4Codec.decode(bytes);
  if (!asked.ok) return;
  const answer = respond(asked.value, ip4, lease, NOW);
  if (answer.kind !== "reply") return;
  const written = encodeDhcp4(answer.reply, answer.room);
  must(written.length <= Math.max(300, answer.room), `${written.length} octets for a client that takes ${answer.room}`);
  const read = dhcp4Codec.decode(written);
  if (!read.ok) throw new Error(`what was written cannot be read: ${read.why}`);
  const { yiaddr, ciaddr, chaddr, xid, giaddr, options } = read.value;
  must(
    [yiaddr, ciaddr].every((one) => one === ANY || one === ip4.address),
    "another address than the port's",
  );
  must(chaddr === ip4.mac && xid === asked.value.xid && giaddr === ANY, "another client, exchange or relay");
  must(readOption(options, dhcp4Options.serverId) === ip4.serverId, "another server");
  for (const [number, value] of answer.reply.options)
    must(options.get(number)?.length === value.length, `option ${number} was lost on the wire`);
}

function checkReply6(bytes: Uint8Array, lease: LeaseChange | undefined): void {
  const asked = dhcp6Codec.decode(bytes);
  if (!asked.ok) return;
  const answer = respond6(asked.value, ip6, lease, NOW);
  if (answer.kind !== "reply") return;
  const written = dhcp6Codec.encode(answer.reply);
  const read = dhcp6Codec.decode(written);
  if (!read.ok) throw new Error(`what was written cannot be read: ${read.why}`);
  must(read.value.transactionId === asked.value.transactionId, "another exchange");
  must(written.length <= 1500 - 48, `${written.length} octets`);
}

const each =
  (check: (bytes: Uint8Array, lease: LeaseChange | undefined) => void) =>
  (bytes: Uint8Array): void => {
    for (const lease of leases) check(bytes, lease);
  };

/** The header checksum is made right and the UDP one left out, or nothing would come past them. */
function answerFrame4(bytes: Uint8Array): void {
  const frame = bytes.slice();
  if (frame.length >= 42) {
    frame.set([0, 0], 24);
    const check = ~fold(sum(frame, 14, 34)) & 0xffff;
    frame.set([check >> 8, check & 255], 24);
    frame.set([0, 0], 40);
  }
  answer4(frame, ip4, RESPONDER_MAC, undefined, NOW);
}

function answerFrame6(bytes: Uint8Array): void {
  const frame = bytes.slice();
  const payload = ((frame[18] ?? 0) << 8) | (frame[19] ?? 0);
  const udpLength = ((frame[58] ?? 0) << 8) | (frame[59] ?? 0);
  if (frame.length >= 62 && 54 + payload <= frame.length && udpLength >= 8 && udpLength <= payload) {
    frame.set([0, 0], 60);
    const check =
      ~fold(sum(frame, 22, 54) + udpLength + 17 + sum(frame.subarray(54, 54 + udpLength), 0, udpLength)) & 0xffff;
    frame.set([check >> 8, check & 255], 60);
  }
  answer6(frame, ip6, RESPONDER_MAC, undefined, NOW);
}

const allOptions: readonly DhcpOption<unknown>[] = Object.values(dhcp4Options);

/** The first octet says which option, the rest is its value; what is read must be written and read again as the same. */
function checkOption(bytes: Uint8Array): void {
  const { name, value } = allOptions[(bytes[0] ?? 0) % allOptions.length] ?? dhcp4Options.type;
  const read = value.decode(bytes.subarray(1));
  if (!read.ok) return;
  const again = value.decode(value.encode(read.value));
  must(again.ok && JSON.stringify(again.value) === JSON.stringify(read.value), `${name} is not stable`);
}

const folder = new URL("../packets/", import.meta.url);
const captured: readonly Uint8Array[] = readdirSync(folder)
  .filter((name) => /^dhcp-.*\.hex$/.test(name))
  .sort()
  .map((name) => hexBytes(readFileSync(new URL(name, folder), "utf8").split("\n").slice(1).join("")))
  // As this guest's own.
  .map((frame) => {
    frame.set(macToBytes(ip4.mac), 70);
    return frame;
  });

const text = (words: string): Uint8Array => new TextEncoder().encode(words);
const option = (code: number, body: Uint8Array) => ({ code, body });

const messages6: readonly Uint8Array[] = [1, 3, 4, 5, 6, 8, 9, 11].flatMap((type) => {
  const client = option(codes.clientId, Uint8Array.of(0, 3, 0, 1, ...macToBytes(ip6.mac)));
  const server = [1, 4, 6, 11].includes(type) ? [] : [option(codes.serverId, ip6.serverId)];
  const wishes = option(codes.optionRequest, Uint8Array.of(0, 23, 0, 24, 0, 31, 0, 39, 0, 56, 0, 59));
  const address = option(codes.iaAddress, new Uint8Array(24));
  const na = option(
    codes.iaNa,
    createWriter()
      .u32(1)
      .u32(0)
      .u32(0)
      .bytes(writeDhcp6Options([address]))
      .done(),
  );
  const pd = option(codes.iaPd, createWriter().u32(2).u32(0).u32(0).done());
  const said = [
    option(codes.userClass, createWriter().u16(4).bytes(text("iPXE")).done()),
    option(codes.clientFqdn, Uint8Array.of(1, 4, ...text("mine"), 0)),
    option(codes.clientArchitecture, Uint8Array.of(0, 7)),
  ];
  return [[], said, [option(codes.rapidCommit, new Uint8Array(0))]].map((more) =>
    dhcp6Codec.encode({ type, transactionId: 7, options: [client, ...server, wishes, na, pd, ...more] }),
  );
});

/** As a guest's frame has it. */
function frame6(payload: Uint8Array): Uint8Array {
  const ends = {
    destinationMac: RESPONDER_MAC,
    sourceMac: ip6.mac,
    source: new Uint8Array(16),
    destination: new Uint8Array(16),
  };
  return udp6Frame(ends, 546, 547, payload);
}

const loaders: readonly Uint8Array[] = captured.slice(0, 4).flatMap((frame) => {
  const read = dhcp4Codec.decode(frame.subarray(42));
  if (!read.ok) return [];
  const more: readonly (readonly [number, Uint8Array])[] = [
    [60, text("PXEClient:Arch:00007")],
    [77, text("iPXE")],
    [81, Uint8Array.of(5, 0, 0, 4, ...text("mine"), 0)],
    [93, Uint8Array.of(0, 7)],
  ];
  return [dhcp4Codec.encode({ ...read.value, options: new Map([...read.value.options, ...more]) })];
});

export const dhcpTargets: readonly FuzzTarget[] = [
  { name: "DHCPv4", seeds: [...captured.map((frame) => frame.subarray(42)), ...loaders], run: each(checkReply4) },
  { name: "DHCPv6", seeds: messages6, run: each(checkReply6) },
  { name: "DHCPv4 frames", seeds: captured, run: answerFrame4 },
  { name: "DHCPv6 frames", seeds: messages6.map(frame6), run: answerFrame6 },
  {
    name: "DHCPv4 options",
    seeds: allOptions.map((_, n) => Uint8Array.of(n, 1, 97, 0, 192, 0, 192, 0, 2, 1, 8, 10, 10, 0, 0, 1)),
    run: checkOption,
  },
];
