/** Answers for others, byte by byte; checksums are made here from RFC 1071 and not by the code under test. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { parseIpv4 } from "../model/ipv4.ts";
import { type Ipv6Address, ipv6ToBytes, parseIpv6, parsePrefix6 } from "../model/ipv6.ts";
import { macToBytes, parseMac } from "../model/mac.ts";
import { advertisement, answerNeighbour, type OwnerOf, RESPONDER_MAC, type RouterOffer } from "./neighbour-answers.ts";

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError("not there");
  return value;
}
const ip6 = (text: string): Ipv6Address => must(parseIpv6(text));
const ASKER = must(parseMac("02:00:00:00:00:01"));
const OWNER = must(parseMac("02:00:00:00:00:02"));
const OWNED4 = must(parseIpv4("10.0.0.2"));
const OWNED6 = ip6("2001:db8::2");
const ASKER6 = ip6("fe80::1:1");
const ownerOf: OwnerOf = (address) => (address === OWNED4 || address === OWNED6 ? OWNER : undefined);
const router: RouterOffer = {
  prefix: must(parsePrefix6("2001:db8::/64")),
  gateway: ip6("fe80::1"),
  mtu: 1400,
  dns: [ip6("2001:db8::53")],
};
const answer = (frame: Uint8Array, offer: RouterOffer | undefined = router) =>
  answerNeighbour(frame, ownerOf, offer, RESPONDER_MAC);

const arp = (operation: number, target: readonly number[]): Uint8Array =>
  Uint8Array.of(
    ...[255, 255, 255, 255, 255, 255, ...macToBytes(ASKER), 8, 6, 0, 1, 8, 0, 6, 4, 0, operation],
    ...[...macToBytes(ASKER), 10, 0, 0, 1, 0, 0, 0, 0, 0, 0, ...target],
  );

const icmp6 = (source: Ipv6Address, message: readonly number[]): Uint8Array =>
  Uint8Array.of(
    ...[0x33, 0x33, 0xff, 0, 0, 2, ...macToBytes(ASKER), 0x86, 0xdd, 0x60, 0, 0, 0, 0, message.length, 58, 255],
    ...ipv6ToBytes(source),
    ...ipv6ToBytes(ip6("ff02::1:ff00:2")),
    ...message,
  );
const solicitation = (target: Ipv6Address): readonly number[] => [135, 0, 0, 0, 0, 0, 0, 0, ...ipv6ToBytes(target)];
const ROUTER_SOLICITATION = [133, 0, 0, 0, 0, 0, 0, 0];

/** 0 when the checksum of an ICMPv6 message in a frame is true. */
function residue(frame: Uint8Array): number {
  const message = frame.subarray(54);
  const bytes = [...frame.subarray(22, 54), 0, 0, 0, message.length, 0, 0, 0, 58, ...message];
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) sum += (bytes[i] ?? 0) * 256 + (bytes[i + 1] ?? 0);
  while (sum > 0xffff) sum = (sum & 0xffff) + (sum >> 16);
  return ~sum & 0xffff;
}

describe("whose address it is", () => {
  test("a router is told as one, or it would be taken for one no more (RFC 4861 section 7.2.5)", () => {
    const flagsFor = (gateway: Ipv6Address): number | undefined => {
      const said = answer(icmp6(ASKER6, solicitation(OWNED6)), { ...router, gateway });
      return said.ok && residue(said.value) === 0 ? said.value[58] : undefined;
    };
    expect([flagsFor(OWNED6), flagsFor(ip6("fe80::1"))]).toEqual([0xe0, 0x60]);
  });

  test("ARP is answered from the owner's MAC", () => {
    const said = answer(arp(1, [10, 0, 0, 2]));
    expect(said).toEqual({
      ok: true,
      value: Uint8Array.of(
        ...[...macToBytes(ASKER), ...macToBytes(OWNER), 8, 6, 0, 1, 8, 0, 6, 4, 0, 2],
        ...[...macToBytes(OWNER), 10, 0, 0, 2, ...macToBytes(ASKER), 10, 0, 0, 1],
      ),
    });
  });

  test("a solicitation is answered from the owner's MAC", () => {
    const said = answer(icmp6(ASKER6, solicitation(OWNED6)));
    if (!said.ok) throw new TypeError(said.why);
    expect(residue(said.value)).toBe(0);
    const bytes = said.value.slice();
    bytes.set([0, 0], 56);
    expect(bytes).toEqual(
      Uint8Array.of(
        ...[...macToBytes(ASKER), ...macToBytes(OWNER), 0x86, 0xdd, 0x60, 0, 0, 0, 0, 32, 58, 255],
        ...[...ipv6ToBytes(OWNED6), ...ipv6ToBytes(ASKER6), 136, 0, 0, 0, 0x60, 0, 0, 0],
        ...[...ipv6ToBytes(OWNED6), 2, 1, ...macToBytes(OWNER)],
      ),
    );
  });

  test.each([
    ["an owner nobody knows", arp(1, [10, 0, 0, 9])],
    ["a reply", arp(2, [10, 0, 0, 2])],
    ["a solicitation for nobody we know", icmp6(ASKER6, solicitation(ip6("2001:db8::9")))],
    ["an advertisement", icmp6(ASKER6, [136, ...solicitation(OWNED6).slice(1)])],
    ["an echo", icmp6(ASKER6, [128, 0, 0, 0, 0, 0, 0, 0])],
    ["another type of frame", Uint8Array.of(...new Array<number>(12).fill(1), 8, 0, 0x45)],
  ])("%s is not answered", (_, frame) => {
    expect(answer(frame)).toEqual({ ok: false, why: "unsupported" });
  });
});

describe("router advertisements", () => {
  test("to who asked: managed, on link and not autonomous, with MTU and DNS; no MAC unless it is pinned", () => {
    const said = answer(icmp6(ASKER6, ROUTER_SOLICITATION));
    if (!said.ok) throw new TypeError(said.why);
    expect(residue(said.value)).toBe(0);
    const message = said.value.subarray(54);
    expect([...said.value.subarray(0, 12)]).toEqual([...macToBytes(ASKER), ...macToBytes(RESPONDER_MAC)]);
    expect([...said.value.subarray(22, 38)]).toEqual([...ipv6ToBytes(ip6("fe80::1"))]);
    expect([...message.subarray(4, 8)]).toEqual([64, 0xc0, 0xff, 0xff]);
    expect([...message.subarray(16, 24)]).toEqual([5, 1, 0, 0, 0, 0, 1400 >> 8, 1400 & 255]);
    expect([...message.subarray(24, 28)]).toEqual([3, 4, 64, 0x80]);
    expect([...message.subarray(56, 58)]).toEqual([25, 3]);
    expect(message.length).toBe(16 + 8 + 32 + 24);
  });

  test("unasked, to all nodes on the port, from the gateway's own MAC where it is pinned", () => {
    const bytes = advertisement({ ...router, gatewayMac: OWNER }, RESPONDER_MAC, { mac: ASKER });
    expect([...bytes.subarray(0, 12)]).toEqual([...macToBytes(ASKER), ...macToBytes(OWNER)]);
    expect([...bytes.subarray(38, 54)]).toEqual([...ipv6ToBytes(ip6("ff02::1"))]);
    expect([...bytes.subarray(54 + 16, 54 + 24)]).toEqual([1, 1, ...macToBytes(OWNER)]);
    expect(residue(bytes)).toBe(0);
  });

  test("no router without a gateway, and no answer without a prefix", () => {
    const { gateway: _, ...alone } = router;
    const bytes = advertisement(alone, RESPONDER_MAC, { mac: ASKER });
    expect([...bytes.subarray(54 + 6, 54 + 8)]).toEqual([0, 0]);
    expect(residue(bytes)).toBe(0);
    expect(answerNeighbour(icmp6(ASKER6, ROUTER_SOLICITATION), ownerOf, undefined, RESPONDER_MAC).ok).toBe(false);
  });
});

test("any bytes are answered or refused", () => {
  fc.assert(fc.property(fc.uint8Array({ maxLength: 120 }), (bytes) => typeof answer(bytes).ok === "boolean"));
});
