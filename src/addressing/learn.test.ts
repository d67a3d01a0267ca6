/** What of an exchange with somebody else's DHCP server counts, in both families, and what a relay agent adds and takes off. */
import { describe, expect, test } from "vitest";
import { type Ipv4Address, ipv4ToBytes, parseIpv4 } from "../model/ipv4.ts";
import { type Ipv6Address, ipv6ToBytes, parseIpv6 } from "../model/ipv6.ts";
import { type MacAddress, parseMac } from "../model/mac.ts";
import type { Dhcp4Message, DhcpType } from "../packet/dhcp4-message.ts";
import { dhcp4Options as known } from "../packet/dhcp4-options.ts";
import { relayInfoCodec } from "../packet/dhcp4-relay.ts";
import { dhcp6Codes as codes, type Dhcp6Message, dhcp6Types as types, writeDhcp6Options } from "../packet/dhcp6.ts";
import { type Dhcp6RelayMessage, dhcp6RelayCodes } from "../packet/dhcp6-relay.ts";
import { createWriter } from "../packet/writer.ts";
import { createExchanges } from "./exchanges.ts";
import { answer4, question4 } from "./learn4.ts";
import { answered6, question6 } from "./learn6.ts";
import { fromServer, type RelayPlace, toServer } from "./relay4.ts";
import { interfaceIdOf, relayForward, relayReplied } from "./relay6.ts";

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError("not there");
  return value;
}
const ip = (text: string): Ipv4Address => must(parseIpv4(text));
const ip6 = (text: string): Ipv6Address => must(parseIpv6(text));
const MAC: MacAddress = must(parseMac("02:00:00:00:00:07"));
const OTHER: MacAddress = must(parseMac("02:00:00:00:00:08"));
const ANY = ip("0.0.0.0");
const OWN = ip("10.0.0.7");
const STRANGE = ip("10.0.0.8");
const NOW = 1_700_000_000_000;

function message(
  type: DhcpType | undefined,
  fields: Partial<Dhcp4Message> = {},
  requested?: Ipv4Address,
): Dhcp4Message {
  const options = new Map<number, Uint8Array>();
  if (type !== undefined) options.set(known.type.number, known.type.value.encode(type));
  if (requested !== undefined) options.set(known.requestedAddress.number, ipv4ToBytes(requested));
  const empty = { hops: 0, secs: 0, broadcast: false, ciaddr: ANY, yiaddr: ANY, siaddr: ANY, giaddr: ANY };
  return { op: "request", xid: 1, chaddr: MAC, sname: "", file: "", options, ...empty, ...fields };
}

describe("open questions", () => {
  test("are answered within half a minute, finally once, and offered to by several servers", () => {
    const exchanges = createExchanges();
    exchanges.asked(1, ["offer"], NOW);
    expect([exchanges.awaits(1, "offer", NOW), exchanges.awaits(1, "offer", NOW + 30_000)]).toEqual([true, true]);
    expect([exchanges.awaits(1, "offer", NOW + 30_001), exchanges.awaits(1, "offer", NOW - 1)]).toEqual([false, false]);
    expect([exchanges.awaits(1, "final", NOW), exchanges.awaits(2, "offer", NOW)]).toEqual([false, false]);
    exchanges.asked(1, ["final"], NOW);
    expect([exchanges.awaits(1, "offer", NOW), exchanges.awaits(1, "final", NOW)]).toEqual([true, true]);
    exchanges.answered(1);
    expect([exchanges.awaits(1, "offer", NOW), exchanges.awaits(1, "final", NOW)]).toEqual([true, false]);
    exchanges.asked(1, ["final"], NOW);
    expect(exchanges.awaits(1, "final", NOW), "asked again").toBe(true);
  });

  test("are sixteen at most: a guest that asks without end forgets its own", () => {
    const exchanges = createExchanges();
    for (let id = 0; id < 1000; id += 1) exchanges.asked(id, ["offer"], NOW);
    const open = Array.from({ length: 1000 }, (_, id) => exchanges.awaits(id, "offer", NOW)).filter(Boolean);
    expect(open).toHaveLength(16);
    expect(exchanges.awaits(999, "offer", NOW)).toBe(true);
  });
});

describe("what a guest may say to a server", () => {
  const port = { mac: MAC, address: OWN, offered: new Set([ip("10.0.0.9")]) };
  const forward = { kind: "forward" };

  test.each<readonly [string, Dhcp4Message, object]>([
    ["discover", message("discover"), { ...forward, wants: ["offer"] }],
    ["request from nothing", message("request", {}, STRANGE), { ...forward, wants: ["final"] }],
    ["renewal", message("request", { ciaddr: OWN }), { ...forward, wants: ["final"] }],
    ["inform", message("inform", { ciaddr: OWN }), { ...forward, wants: ["facts"] }],
    ["release", message("release", { ciaddr: OWN }), { ...forward, wants: [], ends: "released" }],
    ["decline of what it has", message("decline", {}, OWN), { ...forward, wants: [], ends: "declined" }],
    ["decline of what it was offered", message("decline", {}, ip("10.0.0.9")), { ...forward, wants: [] }],
    ["renewal of another's", message("request", { ciaddr: STRANGE }), { kind: "silence", why: "other-address" }],
    ["inform as another", message("inform", { ciaddr: STRANGE }), { kind: "silence", why: "other-address" }],
    ["release of another's", message("release", { ciaddr: STRANGE }), { kind: "silence", why: "other-address" }],
    ["decline of another's", message("decline", {}, STRANGE), { kind: "silence", why: "other-address" }],
    ["decline of nothing", message("decline"), { kind: "silence", why: "no-address" }],
    ["another's chaddr", message("discover", { chaddr: OTHER }), { kind: "silence", why: "foreign-chaddr" }],
    ["a relay agent of its own", message("discover", { giaddr: STRANGE }), { kind: "silence", why: "relayed" }],
    ["what servers say", message("ack"), { kind: "silence", why: "server-type" }],
    ["BOOTP", message(undefined), { kind: "silence", why: "no-type" }],
  ])("%s", (_, said, expected) => {
    expect(question4(said, port)).toEqual(expected);
  });

  test("rapid commit may be answered at once", () => {
    const said = message("discover");
    const options = new Map([...said.options, [known.rapidCommit.number, new Uint8Array()]]);
    expect(question4({ ...said, options }, port)).toEqual({ kind: "forward", wants: ["offer", "final"] });
  });
});

describe("what an answer means", () => {
  function answerTo(wants: "offer" | "final" | "facts", reply: Dhcp4Message, seconds?: number) {
    const exchanges = createExchanges();
    exchanges.asked(1, [wants], NOW);
    const options = new Map(reply.options);
    if (seconds !== undefined) options.set(known.leaseTime.number, known.leaseTime.value.encode(seconds));
    return answer4({ ...reply, op: "reply", options }, { mac: MAC }, exchanges, NOW);
  }

  test.each<readonly [string, object, object]>([
    ["offer", answerTo("offer", message("offer", { yiaddr: OWN })), { kind: "offer", address: OWN }],
    ["ACK", answerTo("final", message("ack", { yiaddr: OWN }), 60), { kind: "bind", address: OWN, seconds: 60 }],
    ["ACK to INFORM", answerTo("facts", message("ack")), { kind: "pass" }],
    ["NAK", answerTo("final", message("nak")), { kind: "end" }],
    [
      "ACK without a time",
      answerTo("final", message("ack", { yiaddr: OWN })),
      { kind: "refused", why: "no-lease-time" },
    ],
    [
      "ACK for no time",
      answerTo("final", message("ack", { yiaddr: OWN }), 0),
      { kind: "refused", why: "no-lease-time" },
    ],
    [
      "ACK to a DISCOVER",
      answerTo("offer", message("ack", { yiaddr: OWN }), 60),
      { kind: "refused", why: "not-asked" },
    ],
    [
      "ACK with an address to INFORM",
      answerTo("facts", message("ack", { yiaddr: OWN }), 60),
      { kind: "refused", why: "not-asked" },
    ],
    ["offer to a REQUEST", answerTo("final", message("offer", { yiaddr: OWN })), { kind: "refused", why: "not-asked" }],
    [
      "another's chaddr",
      answerTo("final", message("ack", { chaddr: OTHER, yiaddr: OWN }), 60),
      { kind: "refused", why: "other-port" },
    ],
    ["what clients say", answerTo("final", message("request", { yiaddr: OWN })), { kind: "refused", why: "not-asked" }],
  ])("%s", (_, verdict, expected) => {
    expect(verdict).toEqual(expected);
  });
});

describe("a relay agent for IPv4", () => {
  const place: RelayPlace = { giaddr: ip("192.0.2.9"), circuitId: "vif1.0", remoteId: "h1", link: ip("10.0.0.1") };
  const sent = toServer(message("discover"), place);
  const reply = { ...message("offer"), op: "reply" as const, giaddr: place.giaddr };
  const echoed = (info: Uint8Array | undefined): Dhcp4Message => ({
    ...reply,
    options: new Map([...reply.options, ...(info === undefined ? [] : [[82, info] as const])]),
  });

  test("says where the guest is, last of all, and takes it off again", () => {
    expect(sent).toMatchObject({ hops: 1, giaddr: place.giaddr });
    expect([...sent.options.keys()].at(-1)).toBe(82);
    const back = fromServer(echoed(sent.options.get(82)), place);
    expect(back).toEqual({ ...reply, giaddr: ANY });
  });

  const info = (...list: readonly (readonly [number, string])[]): Uint8Array =>
    relayInfoCodec.encode(list.map(([code, text]) => ({ code, body: new TextEncoder().encode(text) })));

  test.each<readonly [string, Dhcp4Message]>([
    ["does not send it back", echoed(undefined)],
    ["names another port", echoed(info([1, "vif2.0"], [2, "h1"]))],
    ["names another host", echoed(info([1, "vif1.0"], [2, "h2"]))],
    ["names two ports", echoed(info([1, "vif1.0"], [1, "vif2.0"], [2, "h1"]))],
    ["cuts it", echoed(info([1, "vif1.0"], [2, "h1"]).subarray(0, 11))],
    ["means another relay", { ...echoed(sent.options.get(82)), giaddr: STRANGE }],
  ])("an answer that %s is for nobody here", (_, answer) => {
    expect(fromServer(answer, place)).toBeUndefined();
  });
});

const OWN6 = ip6("2001:db8::7");
const STRANGE6 = ip6("2001:db8::8");

const address6 = (address: Ipv6Address, seconds: number): Uint8Array =>
  createWriter().bytes(ipv6ToBytes(address)).u32(seconds).u32(seconds).done();
const association = (...given: readonly (readonly [Ipv6Address, number])[]) => ({
  code: codes.iaNa,
  body: createWriter()
    .u32(1)
    .u32(0)
    .u32(0)
    .bytes(
      writeDhcp6Options(
        given.map(([address, seconds]) => ({ code: codes.iaAddress, body: address6(address, seconds) })),
      ),
    )
    .done(),
});
const message6 = (type: number, ...options: Dhcp6Message["options"]): Dhcp6Message => ({
  type,
  transactionId: 5,
  options,
});

describe("the same for IPv6", () => {
  const port = { address: OWN6, offered: new Set([ip6("2001:db8::9")]) };

  test.each<readonly [string, Dhcp6Message, object]>([
    ["solicit", message6(types.solicit), { kind: "forward", wants: ["offer"] }],
    [
      "rapid solicit",
      message6(types.solicit, { code: codes.rapidCommit, body: new Uint8Array() }),
      { kind: "forward", wants: ["offer", "final"] },
    ],
    ["renew", message6(types.renew, association([OWN6, 60])), { kind: "forward", wants: ["final"] }],
    [
      "release",
      message6(types.release, association([OWN6, 0])),
      { kind: "forward", wants: ["facts"], ends: "released" },
    ],
    [
      "decline",
      message6(types.decline, association([OWN6, 0])),
      { kind: "forward", wants: ["facts"], ends: "declined" },
    ],
    [
      "decline of an offer",
      message6(types.decline, association([ip6("2001:db8::9"), 0])),
      { kind: "forward", wants: ["facts"] },
    ],
    [
      "release of another's",
      message6(types.release, association([STRANGE6, 0])),
      { kind: "silence", why: "other-address" },
    ],
    [
      "release of own and another's",
      message6(types.release, association([OWN6, 0]), association([STRANGE6, 0])),
      { kind: "silence", why: "other-address" },
    ],
    ["what servers say", message6(types.reply), { kind: "silence", why: "server-type" }],
    [
      "a cut association",
      message6(types.request, { code: codes.iaNa, body: new Uint8Array(5) }),
      { kind: "silence", why: "bad-option" },
    ],
  ])("%s", (_, said, expected) => {
    expect(question6(said, port)).toEqual(expected);
  });

  function answerTo(wants: "offer" | "final" | "facts", reply: Dhcp6Message) {
    const exchanges = createExchanges();
    exchanges.asked(5, [wants], NOW);
    return answered6(reply, exchanges, NOW);
  }
  const notOnLink = { code: codes.statusCode, body: Uint8Array.of(0, 4) };

  test.each<readonly [string, object, object]>([
    [
      "advertise",
      answerTo("offer", message6(types.advertise, association([OWN6, 60]))),
      { kind: "offer", address: OWN6 },
    ],
    ["advertise of nothing", answerTo("offer", message6(types.advertise, association())), { kind: "pass" }],
    [
      "reply",
      answerTo("final", message6(types.reply, association([STRANGE6, 0], [OWN6, 60]))),
      { kind: "bind", address: OWN6, seconds: 60 },
    ],
    ["reply with no lifetime left", answerTo("final", message6(types.reply, association([OWN6, 0]))), { kind: "end" }],
    ["reply about nothing", answerTo("final", message6(types.reply)), { kind: "pass" }],
    ["reply to confirm", answerTo("facts", message6(types.reply)), { kind: "pass" }],
    ["not on the link", answerTo("facts", message6(types.reply, notOnLink)), { kind: "end" }],
    [
      "reply to a solicit",
      answerTo("offer", message6(types.reply, association([OWN6, 60]))),
      { kind: "refused", why: "not-asked" },
    ],
    ["reconfigure", answerTo("final", message6(types.reconfigure)), { kind: "refused", why: "not-asked" }],
    [
      "a cut address",
      answerTo("final", message6(types.reply, { code: codes.iaNa, body: new Uint8Array(3) })),
      { kind: "refused", why: "malformed" },
    ],
  ])("%s", (_, verdict, expected) => {
    expect(verdict).toEqual(expected);
  });

  const place = { link: ip6("2001:db8::"), peer: ip6("fe80::7"), interfaceId: "vif1.0" };
  const forwarded = relayForward(message6(types.solicit), place);
  const replied: Dhcp6RelayMessage = { ...forwarded, type: types.relayReply };

  test("a relay agent wraps and unwraps, whole and for this port alone", () => {
    expect(forwarded).toMatchObject({ type: types.relayForward, hops: 0, link: place.link, peer: place.peer });
    expect(interfaceIdOf(replied)).toBe("vif1.0");
    expect(relayReplied(replied, place)).toEqual({ ok: true, value: message6(types.solicit) });
    expect(relayReplied(forwarded, place), "a question").toBeUndefined();
    expect(relayReplied({ ...replied, peer: ip6("fe80::8") }, place), "another guest").toBeUndefined();
    expect(relayReplied({ ...replied, link: OWN6 }, place), "another link").toBeUndefined();
    expect(relayReplied(replied, { ...place, interfaceId: "vif2.0" }), "another port").toBeUndefined();
    const empty = replied.options.filter(({ code }) => code !== dhcp6RelayCodes.relayMessage);
    expect(relayReplied({ ...replied, options: empty }, place)).toEqual({ ok: false, why: "truncated" });
  });
});
