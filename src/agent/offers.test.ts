/** From a site file to what a client reads: the network's words, a class of clients, one NIC, in both families. */
import { describe, expect, test } from "vitest";
import { respond } from "../addressing/respond.ts";
import { respond6 } from "../addressing/respond6.ts";
import { checkSite } from "../config/check.ts";
import { loadSite } from "../config/load.ts";
import { ipv4FromNumber } from "../model/ipv4.ts";
import { dhcp4Codec, encodeDhcp4 } from "../packet/dhcp4.ts";
import type { Dhcp4Message } from "../packet/dhcp4-message.ts";
import { dhcp4Options as known, readOption } from "../packet/dhcp4-options.ts";
import { dhcp6Codes as codes, type Dhcp6Message, type Dhcp6Option, dhcp6Types } from "../packet/dhcp6.ts";
import { freshSite } from "../plan/site.ts";
import { portOffer, portOffer6 } from "./offers.ts";

const ANY = ipv4FromNumber(0);
const octets = (text: string): Uint8Array => new TextEncoder().encode(text);
const textOf = (bytes: Uint8Array | undefined): string | undefined => bytes && new TextDecoder().decode(bytes);

const SITE = `kind: network
name: lan0
spec:
  prefix4: 203.0.113.0/24
  gateway4: 203.0.113.1
  range4: [203.0.113.10-203.0.113.99]
  prefix6: 2001:db8:66::/64
  wiring: { kind: bridged, bridge: br0 }
  addressing:
    kind: managed
    macScheme: ip
    dns: [203.0.113.2]
    dns6: ["2001:db8:66::2"]
    ntp: [203.0.113.3]
    ntp6: ["2001:db8:66::3"]
    domain: example.net
    boot: { server: 203.0.113.5 }
    options:
      - { code: 150, addresses: [203.0.113.5, 203.0.113.6] }
      - { code: 252, text: "http://wpad.example.net/wpad.dat", always: true }
      - { code: 43, options: [{ code: 6, hex: "03" }, { code: 1, addresses: [203.0.113.5] }] }
    options6: [{ code: 22, addresses: ["2001:db8:66::4"] }]
    classes:
      - { name: ipxe, when: { userClass: iPXE }, tell: { boot: { file: "http://203.0.113.5/boot.ipxe", url: "http://[2001:db8:66::5]/boot.ipxe" } } }
      - { name: efi, when: { vendorClass: PXEClient, arch: [7, 9] }, tell: { boot: { file: ipxe.efi, url: "tftp://[2001:db8:66::5]/ipxe.efi" } } }
      - { name: bios, when: { vendorClass: PXEClient }, tell: { boot: { file: undionly.kpxe } } }
      - { name: http, when: { vendorClass: HTTPClient }, tell: { boot: { file: "http://203.0.113.5/ipxe.efi" } } }
---
kind: guest
name: plain
spec: { nics: [{ network: lan0 }] }
---
kind: guest
name: own
spec:
  hostname: www
  nics:
    - network: lan0
      tell:
        hostname: www-0
        dns: [192.0.2.53]
        dns6: ["2001:db8::53"]
        ntp: []
        domain: example.org
        mtu: 1400
        boot: { file: own.kpxe }
        options: [{ code: 252, text: "http://own/wpad.dat" }, { code: 224, hex: "de:ad" }]
`;

function offersOf(name: string, text = SITE) {
  const resources = loadSite(text, "test");
  checkSite(resources, { networks: new Map(), groups: new Map() });
  const site = freshSite(resources, (count) => new Uint8Array(count));
  const guest = [...site.guests.values()].find((one) => one.name === name);
  const [nic] = guest?.nics ?? [];
  const network = nic === undefined ? undefined : site.networks.get(nic.network);
  if (guest === undefined || nic === undefined || network === undefined) throw new TypeError(name);
  const [spec] = guest.spec.nics;
  return { ip4: portOffer(guest, nic, spec, network), ip6: portOffer6(guest, nic, spec, network) };
}

type Entry = readonly [number, Uint8Array];

/** What comes back, as it is read from the wire. */
function told4(name: string, wishes: readonly number[], more: readonly Entry[] = [], text = SITE) {
  const offer = offersOf(name, text).ip4;
  if (offer === undefined) throw new TypeError("no offer");
  const list: readonly Entry[] = wishes.length === 0 ? [] : [[known.parameterList.number, Uint8Array.from(wishes)]];
  const message: Dhcp4Message = {
    op: "request",
    hops: 0,
    xid: 7,
    secs: 0,
    broadcast: false,
    ciaddr: ANY,
    yiaddr: ANY,
    siaddr: ANY,
    giaddr: ANY,
    chaddr: offer.mac,
    sname: "",
    file: "",
    options: new Map<number, Uint8Array>([[53, Uint8Array.of(1)], ...list, ...more]),
  };
  const answer = respond(message, offer, undefined, 0);
  if (answer.kind !== "reply") throw new TypeError(answer.kind);
  const bytes = encodeDhcp4(answer.reply, answer.room);
  expect(bytes.length).toBeLessThanOrEqual(Math.max(300, answer.room));
  const read = dhcp4Codec.decode(bytes);
  if (!read.ok) throw new TypeError(read.why);
  return { ...read.value, bytes };
}

const PXE: Entry = [60, octets("PXEClient:Arch:00000:UNDI:002001")];
const arch = (number: number): Entry => [93, Uint8Array.of(0, number)];

describe("DHCPv4", () => {
  test("a client that asks is told options by number, one that does not only what is for all", () => {
    const asked = told4("plain", [150, 43, 252]).options;
    expect([...(asked.get(150) ?? [])]).toEqual([203, 0, 113, 5, 203, 0, 113, 6]);
    expect([...(asked.get(43) ?? [])]).toEqual([6, 1, 3, 1, 4, 203, 0, 113, 5]);
    const silent = told4("plain", [1]).options;
    expect([150, 43, 252].map((number) => silent.has(number))).toEqual([false, false, true]);
    expect(textOf(silent.get(252))).toBe("http://wpad.example.net/wpad.dat");
  });

  test.each<readonly [string, readonly Entry[], string, string | undefined]>([
    ["no boot loader", [], "", undefined],
    ["a ROM for BIOS", [PXE, arch(0)], "undionly.kpxe", "PXEClient"],
    ["a ROM for UEFI", [PXE, arch(7)], "ipxe.efi", "PXEClient"],
    [
      "iPXE, whatever it was loaded by",
      [PXE, arch(7), [77, octets("iPXE")]],
      "http://203.0.113.5/boot.ipxe",
      "PXEClient",
    ],
    [
      "a user class as RFC 3004 wants it",
      [[77, Uint8Array.of(4, ...octets("iPXE"))]],
      "http://203.0.113.5/boot.ipxe",
      undefined,
    ],
    ["a user class that only begins so", [[77, octets("iPXE2")]], "", undefined],
    [
      "HTTP boot of UEFI",
      [[60, octets("HTTPClient:Arch:00016")], arch(16)],
      "http://203.0.113.5/ipxe.efi",
      "HTTPClient",
    ],
    ["an architecture that is none", [PXE, [93, Uint8Array.of(7)]], "undionly.kpxe", "PXEClient"],
  ])("%s", (_name, more, file, echo) => {
    const { file: field, siaddr, options } = told4("plain", [66, 67], more);
    expect([field, siaddr, textOf(options.get(67)) ?? ""]).toEqual([file, "203.0.113.5", file]);
    expect(textOf(options.get(66))).toBe("203.0.113.5");
    expect(textOf(options.get(60))).toBe(echo);
  });

  test("a NIC's own words stand, whatever network and class say; options add up", () => {
    const { file, siaddr, options } = told4(
      "own",
      [6, 12, 15, 26, 42, 150, 224, 252],
      [PXE, [57, Uint8Array.of(5, 220)]],
    );
    expect([file, siaddr]).toEqual(["own.kpxe", "203.0.113.5"]);
    expect(readOption(options, known.dns)).toEqual(["192.0.2.53"]);
    expect(readOption(options, known.hostname)).toBe("www-0");
    expect(readOption(options, known.domain)).toBe("example.org");
    expect(readOption(options, known.mtu)).toBe(1400);
    expect(options.has(42), "no NTP server at all").toBe(false);
    expect([...(options.get(224) ?? [])]).toEqual([0xde, 0xad]);
    expect(textOf(options.get(252))).toBe("http://own/wpad.dat");
    expect(options.has(150), "of the network").toBe(true);
    expect(readOption(told4("plain", [12]).options, known.hostname), "control").toBe("plain");
  });

  test("a NAK tells nothing of it", () => {
    const offer = offersOf("plain").ip4;
    if (offer === undefined) throw new TypeError("no offer");
    const other = known.requestedAddress.value.encode(ipv4FromNumber(1));
    const asked = { ...told4("plain", []), op: "request" as const, yiaddr: ANY, siaddr: ANY, file: "" };
    const options = new Map([[53, Uint8Array.of(3)], [50, other], PXE, arch(7)]);
    const answer = respond({ ...asked, options }, offer, undefined, 0);
    if (answer.kind !== "reply") throw new TypeError(answer.kind);
    expect([...answer.reply.options.keys()]).toEqual([53, 54, 56]);
    expect([answer.reply.siaddr, answer.reply.file]).toEqual([ANY, ""]);
  });

  test.each<readonly [string, Uint8Array, readonly number[]]>([
    [
      "plain text, asks for an update",
      Uint8Array.of(1, 0, 0, ...octets("mine.example.com")),
      [0x08 | 2, 255, 255, ...octets("plain.example.net")],
    ],
    [
      "labels",
      Uint8Array.of(4, 0, 0, 4, ...octets("mine"), 0),
      [0x08 | 4, 255, 255, 5, ...octets("plain"), 7, ...octets("example"), 3, ...octets("net"), 0],
    ],
  ])("client FQDN (RFC 4702), %s: told the name that stands, and that nobody updates DNS", (_name, said, reply) => {
    expect([...(told4("plain", [], [[81, said]]).options.get(81) ?? [])]).toEqual(reply);
    expect(told4("plain", []).options.has(81), "only who says one is told one").toBe(false);
    const broken = told4("plain", [], [[81, Uint8Array.of(4)]]);
    expect(broken.options.has(81)).toBe(false);
  });

  test("what is longer than an option is split (RFC 3396), what is longer than the message goes into its fields (option 52), and what has no room is left out", () => {
    const long = SITE.replace('{ code: 224, hex: "de:ad" }', `{ code: 224, hex: "${"ab".repeat(300)}" }`);
    const wide = told4("own", [224], [[57, Uint8Array.of(5, 220)]], long);
    expect(wide.options.get(224)?.length).toBe(300);
    const pieces = [...wide.bytes.keys()].filter((at) => wide.bytes[at] === 224 && wide.bytes[at + 2] === 0xab);
    expect(pieces.map((at) => wide.bytes[at + 1])).toEqual([255, 45]);
    expect(told4("own", [224], [], long).options.has(224), "576 octets").toBe(false);

    const middle = SITE.replace("boot: { file: own.kpxe }", "boot: {}").replace(
      '{ code: 224, hex: "de:ad" }',
      `{ code: 224, hex: "${"ab".repeat(230)}" }, { code: 225, hex: "${"cd".repeat(100)}" }, { code: 226, hex: "${"ef".repeat(60)}" }`,
    );
    const spread = told4("own", [224, 225, 226], [], middle);
    expect([224, 225, 226].map((number) => spread.options.get(number)?.length)).toEqual([230, 100, 60]);
    const overload = spread.bytes.findIndex((byte, at) => at >= 240 && byte === 52 && spread.bytes[at + 1] === 1);
    expect(spread.bytes[overload + 2], "file and sname hold options").toBe(3);
  });
});

const word = (text: string): readonly number[] => [text.length >> 8, text.length & 255, ...octets(text)];

function told6(name: string, wishes: readonly number[], more: readonly Dhcp6Option[] = []) {
  const offer = offersOf(name).ip6;
  if (offer === undefined) throw new TypeError("no offer");
  const message: Dhcp6Message = {
    type: dhcp6Types.informationRequest,
    transactionId: 7,
    options: [
      { code: codes.optionRequest, body: Uint8Array.from(wishes.flatMap((code) => [code >> 8, code & 255])) },
      ...more,
    ],
  };
  const answer = respond6(message, offer, undefined, 0);
  if (answer.kind !== "reply") throw new TypeError(answer.kind);
  return new Map(answer.reply.options.map(({ code, body }) => [code, body]));
}

describe("DHCPv6", () => {
  const V6 = (last: number): number[] => [0x20, 1, 0x0d, 0xb8, 0, 0x66, ...Array.from({ length: 9 }, () => 0), last];

  test("clocks in both forms, options by number, and only what is asked for", () => {
    const told = told6("plain", [codes.ntpServer, codes.sntpServers, 22]);
    expect([...(told.get(codes.ntpServer) ?? [])]).toEqual([0, 1, 0, 16, ...V6(3)]);
    expect([...(told.get(codes.sntpServers) ?? [])]).toEqual(V6(3));
    expect([...(told.get(22) ?? [])]).toEqual(V6(4));
    expect([...told6("plain", [codes.dnsServers]).keys()]).toEqual([codes.serverId, codes.dnsServers]);
  });

  test("a boot file by class (RFC 5970)", () => {
    const vendor = { code: codes.vendorClass, body: Uint8Array.of(0, 0, 1, 0x57, ...word("PXEClient:Arch:00007")) };
    const efi = { code: codes.clientArchitecture, body: Uint8Array.of(0, 7) };
    const ipxe = { code: codes.userClass, body: Uint8Array.from(word("iPXE")) };
    const url = (...more: readonly Dhcp6Option[]) =>
      textOf(told6("plain", [codes.bootfileUrl], more).get(codes.bootfileUrl));
    expect(url(vendor, efi)).toBe("tftp://[2001:db8:66::5]/ipxe.efi");
    expect(url(vendor, efi, ipxe)).toBe("http://[2001:db8:66::5]/boot.ipxe");
    expect(url(vendor), "BIOS has none").toBeUndefined();
  });

  test("a NIC's own words, and its name to a client that says one and asks for one (RFC 4704)", () => {
    const told = told6(
      "own",
      [codes.dnsServers, codes.clientFqdn],
      [{ code: codes.clientFqdn, body: Uint8Array.of(1, 4, ...octets("mine")) }],
    );
    expect([...(told.get(codes.dnsServers) ?? [])].slice(-1)).toEqual([0x53]);
    expect([...(told.get(codes.clientFqdn) ?? [])]).toEqual([
      4 | 2,
      5,
      ...octets("www-0"),
      7,
      ...octets("example"),
      3,
      ...octets("org"),
      0,
    ]);
    expect(told6("own", [codes.clientFqdn]).has(codes.clientFqdn)).toBe(false);
  });

  test("no reply is longer than the smallest datagram of IPv6", () => {
    const crowd = Array.from({ length: 16 }, (_, n) => `${"x".repeat(60)}.${"y".repeat(60)}.s${n}.example.net`);
    const text = SITE.replace("domain: example.net", `domain: example.net\n    search: [${crowd.join(", ")}]`);
    const offer = offersOf("plain", text).ip6;
    if (offer === undefined) throw new TypeError("no offer");
    const message = { type: dhcp6Types.informationRequest, transactionId: 7, options: [] };
    const answer = respond6(message, offer, undefined, 0);
    if (answer.kind !== "reply") throw new TypeError(answer.kind);
    const size = answer.reply.options.reduce((sum, { body }) => sum + 4 + body.length, 4);
    expect(size).toBeLessThanOrEqual(1280 - 48);
    const present = answer.reply.options.map(({ code }) => code);
    expect(present).not.toContain(codes.domainList);
    expect(present, "what has room is told").toContain(codes.ntpServer);
  });
});
