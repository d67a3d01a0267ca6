/** The DHCP server of one port, section by section of RFC 2131, and what it never says whatever it is told. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Ipv4Address, type Ipv4Prefix, ipv4FromNumber, parseIpv4, parsePrefix4 } from "../model/ipv4.ts";
import { type MacAddress, macFromBytes, parseMac } from "../model/mac.ts";
import { dhcp4Codec, dhcp4Size } from "../packet/dhcp4.ts";
import type { Dhcp4Message, DhcpType } from "../packet/dhcp4-message.ts";
import { type DhcpOption, dhcp4Options as known, readOption } from "../packet/dhcp4-options.ts";
import { DECLINE_QUARANTINE_MS, respond, type SilenceReason, silences } from "./respond.ts";
import type { Answer, LeaseChange, PortOffer, Respond } from "./responder.ts";

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError("not there");
  return value;
}
const ip = (text: string): Ipv4Address => must(parseIpv4(text));
const net = (text: string): Ipv4Prefix => must(parsePrefix4(text));
const mac = (text: string): MacAddress => must(parseMac(text));

const NOW = 1_700_000_000_000;
const ANY = ip("0.0.0.0");
const OURS = ip("203.0.113.10");
const OTHER = ip("203.0.113.11");
const SERVER = ip("203.0.113.1");

const offer: PortOffer = {
  mac: mac("fe:00:cb:00:71:0a"),
  address: OURS,
  prefix: net("203.0.113.0/24"),
  gateway: SERVER,
  serverId: SERVER,
  leaseSeconds: 3600,
  dns: [ip("192.0.2.53"), ip("192.0.2.54")],
  ntp: [ip("192.0.2.123")],
  hostname: "web1",
  domain: "example.net",
  search: ["example.net", "example.org"],
  mtu: 1450,
  routes: [{ to: net("198.51.100.0/24"), via: ip("203.0.113.2") }],
};

type Entry = readonly [number, Uint8Array];
function opt<T>({ number, value }: DhcpOption<T>, content: T): Entry {
  return [number, value.encode(content)];
}
const list = (...options: readonly DhcpOption<unknown>[]): Entry =>
  opt(
    known.parameterList,
    options.map(({ number }) => number),
  );
const requested = (address: Ipv4Address): Entry => opt(known.requestedAddress, address);
const server = (address: Ipv4Address = SERVER): Entry => opt(known.serverId, address);

function ask(type: DhcpType, options: readonly Entry[] = [], fields: Partial<Dhcp4Message> = {}): Dhcp4Message {
  return {
    op: "request",
    hops: 0,
    xid: 0xdead_beef,
    secs: 3,
    broadcast: false,
    ciaddr: ANY,
    yiaddr: ANY,
    siaddr: ANY,
    giaddr: ANY,
    chaddr: offer.mac,
    sname: "",
    file: "",
    options: new Map([opt(known.type, type), ...options]),
    ...fields,
  };
}

const bound: LeaseChange = { state: "bound", expiresAt: NOW + 60_000, hostname: "mine" };
const declined: LeaseChange = { state: "declined", expiresAt: NOW + 1 };

function answer(message: Dhcp4Message, lease?: LeaseChange, port: PortOffer = offer): Answer {
  return respond(message, port, lease, NOW);
}

function replied(message: Dhcp4Message, lease?: LeaseChange, port: PortOffer = offer) {
  const given = answer(message, lease, port);
  if (given.kind !== "reply") throw new TypeError(`${given.kind}: ${JSON.stringify(given)}`);
  return { ...given, type: readOption(given.reply.options, known.type), options: given.reply.options };
}

const numbers = (options: ReadonlyMap<number, Uint8Array>) => [...options.keys()];
const silent = (why: SilenceReason): Answer => ({ kind: "silence", why });
const boundFor = (seconds: number): LeaseChange => ({ state: "bound", expiresAt: NOW + seconds * 1000 });

test("it is a Respond", () => {
  const seam: Respond = respond;
  expect(seam(ask("discover"), offer, undefined, NOW).kind).toBe("reply");
});

describe("what no message may be", () => {
  test.each<[SilenceReason, Dhcp4Message]>([
    ["not-a-request", ask("discover", [], { op: "reply" })],
    ["foreign-chaddr", ask("discover", [], { chaddr: mac("fe:00:cb:00:71:0b") })],
    ["relayed", ask("discover", [], { giaddr: ip("203.0.113.99") })],
    ["relayed", ask("discover", [], { hops: 1 })],
    ["relay-option", ask("discover", [opt(known.relayAgent, Uint8Array.of(1, 1, 7))])],
    ["relay-option", ask("discover", [opt(known.relayAgent, new Uint8Array(0))])],
    ["no-type", { ...ask("discover"), options: new Map() }],
    ["no-type", { ...ask("discover"), options: new Map([[53, Uint8Array.of(13)]]) }],
    ["server-type", ask("offer")],
    ["server-type", ask("ack")],
    ["server-type", ask("nak")],
    ["bad-option", ask("request", [[50, Uint8Array.of(1, 2, 3)], server()])],
    ["bad-option", ask("request", [[54, new Uint8Array(8)], requested(OURS)])],
    ["bad-option", ask("discover", [opt(known.clientId, new Uint8Array(256))])],
  ])("%s: silence", (why, message) => {
    expect(answer(ask("discover")).kind).toBe("reply");
    expect(answer(message)).toEqual(silent(why));
    expect(silences[why].says).not.toBe("");
  });
});

describe("DISCOVER (RFC 2131 section 4.3.1)", () => {
  test("is offered the port's address for the lease time, and nothing needs to be durable yet", () => {
    const { type, reply, change, options } = replied(ask("discover"));
    expect(type).toBe("offer");
    expect(change).toBeUndefined();
    expect(reply).toMatchObject({
      op: "reply",
      hops: 0,
      xid: 0xdead_beef,
      secs: 0,
      ciaddr: ANY,
      yiaddr: OURS,
      siaddr: ANY,
      giaddr: ANY,
      chaddr: offer.mac,
      sname: "",
      file: "",
    });
    expect(readOption(options, known.leaseTime)).toBe(3600);
    expect(readOption(options, known.serverId)).toBe(SERVER);
  });

  test.each([
    ["another address", requested(OTHER)],
    ["another lease time", opt(known.leaseTime, 0xffffffff)],
    ["another subnet (RFC 3011)", opt(known.subnetSelection, ip("10.0.0.0"))],
  ])("a wish for %s changes nothing", (_name, wish) => {
    expect(replied(ask("discover", [wish]))).toEqual(replied(ask("discover")));
  });

  test("a `ciaddr` in it is not believed", () => {
    expect(replied(ask("discover", [], { ciaddr: OTHER })).reply.ciaddr).toBe(ANY);
  });

  test("with rapid commit it is acknowledged at once, option included, and durable first (RFC 4039)", () => {
    const { type, change, options, reply, deliverTo } = replied(
      ask("discover", [opt(known.rapidCommit, true)], { ciaddr: OTHER }),
    );
    expect([type, reply.ciaddr, reply.yiaddr, deliverTo]).toEqual(["ack", ANY, OURS, "unicast"]);
    expect(options.has(known.rapidCommit.number)).toBe(true);
    expect(change).toEqual(boundFor(3600));
    expect(replied(ask("discover")).options.has(known.rapidCommit.number)).toBe(false);
  });
});

describe("REQUEST (RFC 2131 section 4.3.2)", () => {
  const cases: readonly [string, readonly Entry[], Partial<Dhcp4Message>, "ack" | "nak" | SilenceReason][] = [
    ["SELECTING us", [server(), requested(OURS)], {}, "ack"],
    ["SELECTING us with another's address", [server(), requested(OTHER)], {}, "nak"],
    ["SELECTING another server", [server(OTHER), requested(OURS)], {}, "other-server"],
    ["SELECTING another server, another address", [server(OTHER), requested(OTHER)], {}, "other-server"],
    ["SELECTING us and no address", [server()], {}, "no-address"],
    ["INIT-REBOOT, ours", [requested(OURS)], {}, "ack"],
    ["INIT-REBOOT, other", [requested(OTHER)], {}, "nak"],
    ["INIT-REBOOT on another network", [requested(ip("192.168.1.7"))], {}, "nak"],
    ["RENEWING, ours", [], { ciaddr: OURS }, "ack"],
    ["RENEWING, other", [], { ciaddr: OTHER }, "nak"],
    ["REBINDING, ours", [], { ciaddr: OURS, broadcast: true }, "ack"],
    ["RENEWING with our server identifier, which it must not have", [server()], { ciaddr: OURS }, "ack"],
    ["RENEWING and naming another", [requested(OTHER)], { ciaddr: OURS }, "nak"],
    ["naming no address at all", [], {}, "no-address"],
    ["asking for 0.0.0.0", [requested(ANY)], {}, "no-address"],
  ];

  test.each(cases)("%s: %4$s", (_name, options, fields, outcome) => {
    const given = answer(ask("request", options, fields));
    if (outcome !== "ack" && outcome !== "nak") {
      expect(given).toEqual(silent(outcome));
      return;
    }
    const { type, change, reply } = replied(ask("request", options, fields));
    expect(type).toBe(outcome);
    expect(reply.yiaddr).toBe(outcome === "ack" ? OURS : ANY);
    expect(change).toEqual(outcome === "ack" ? boundFor(3600) : undefined);
  });

  test.each<[string, LeaseChange | undefined]>([
    ["no lease", undefined],
    ["a bound lease", bound],
    ["an expired one", { state: "bound", expiresAt: NOW - 1 }],
    ["a released one", { state: "released", expiresAt: NOW - 1 }],
  ])("every ACK says until when, with %s", (_name, lease) => {
    expect(replied(ask("request", [requested(OURS)]), lease).change).toMatchObject(boundFor(3600));
  });

  test("an ACK repeats `ciaddr` (table 3)", () => {
    expect(replied(ask("request", [], { ciaddr: OURS })).reply.ciaddr).toBe(OURS);
    expect(replied(ask("request", [requested(OURS)])).reply.ciaddr).toBe(ANY);
  });

  test("a NAK has type, server, client identifier and words, and nothing else (table 3)", () => {
    const id = opt(known.clientId, Uint8Array.of(1, 2, 3));
    const { options, reply } = replied(ask("request", [requested(OTHER), id, list(known.router)], { secs: 9 }));
    expect(numbers(options)).toEqual([53, 54, 61, 56]);
    expect([reply.ciaddr, reply.yiaddr, reply.siaddr]).toEqual([ANY, ANY, ANY]);
    expect(readOption(options, known.message)).toMatch(/not the address/);
  });
});

describe("INFORM (RFC 2131 section 4.3.5)", () => {
  test("is told the parameters, without address, times or anything to keep", () => {
    const { type, reply, change, options, deliverTo } = replied(ask("inform", [], { ciaddr: OURS, broadcast: true }));
    expect([type, change, deliverTo]).toEqual(["ack", undefined, "unicast"]);
    expect([reply.ciaddr, reply.yiaddr]).toEqual([OURS, ANY]);
    expect(readOption(options, known.router)).toEqual([SERVER]);
    for (const { number } of [known.leaseTime, known.renewalTime, known.rebindingTime])
      expect(options.has(number)).toBe(false);
  });

  test("not even when it asks for times", () => {
    const asks = list(known.leaseTime, known.renewalTime, known.rebindingTime);
    expect(numbers(replied(ask("inform", [asks], { ciaddr: OURS })).options)).toEqual([53, 54, 1]);
  });

  test.each<[SilenceReason, Ipv4Address]>([
    ["other-address", OTHER],
    ["no-address", ANY],
  ])("%s: silence", (why, ciaddr) => {
    expect(answer(ask("inform", [], { ciaddr }))).toEqual(silent(why));
  });
});

describe("RELEASE (RFC 2131 section 4.3.4)", () => {
  const release = ask("release", [server()], { ciaddr: OURS });
  test("is noted, and the name the guest gave is kept", () => {
    expect(answer(release, bound)).toEqual({
      kind: "note",
      change: { state: "released", expiresAt: NOW, hostname: "mine" },
    });
  });

  test.each<[string, SilenceReason, Dhcp4Message, LeaseChange | undefined]>([
    ["to another server", "other-server", ask("release", [server(OTHER)], { ciaddr: OURS }), bound],
    ["of another address", "other-address", ask("release", [server()], { ciaddr: OTHER }), bound],
    ["of nothing", "no-lease", release, undefined],
    ["again", "no-lease", release, { state: "released", expiresAt: NOW - 5 }],
    ["after declining", "no-lease", release, declined],
  ])("%s: silence, %s", (_name, why, message, lease) => {
    expect(answer(message, lease)).toEqual(silent(why));
  });

  test("is noted from a client that names no server, as systemd-networkd does", () => {
    expect(answer(ask("release", [], { ciaddr: OURS }), bound)).toMatchObject({
      kind: "note",
      change: { state: "released" },
    });
  });

  test("the address is offered again at once: it is nobody else's", () => {
    expect(replied(ask("discover"), { state: "released", expiresAt: NOW }).reply.yiaddr).toBe(OURS);
  });
});

describe("DECLINE (RFC 2131 section 4.3.3)", () => {
  const decline = ask("decline", [server(), requested(OURS)]);
  test("puts the address into quarantine", () => {
    expect(answer(decline, bound)).toEqual({
      kind: "note",
      change: { state: "declined", expiresAt: NOW + DECLINE_QUARANTINE_MS, hostname: "mine" },
    });
  });

  test.each<[string, SilenceReason, Dhcp4Message, LeaseChange | undefined]>([
    ["to another server", "other-server", ask("decline", [server(OTHER), requested(OURS)]), bound],
    ["to no server", "other-server", ask("decline", [requested(OURS)]), bound],
    ["another's address", "other-address", ask("decline", [server(), requested(OTHER)]), bound],
    ["no address", "other-address", ask("decline", [server()]), bound],
    ["again, so that it cannot be prolonged", "quarantine", decline, declined],
  ])("%s: silence, %s", (_name, why, message, lease) => {
    expect(answer(message, lease)).toEqual(silent(why));
  });

  test("in quarantine nothing is offered and requests are refused; afterwards it is the guest's again", () => {
    const over: LeaseChange = { ...declined, expiresAt: NOW };
    for (const message of [ask("discover"), ask("discover", [opt(known.rapidCommit, true)])]) {
      expect(answer(message, declined)).toEqual(silent("quarantine"));
      expect(replied(message, over).reply.yiaddr).toBe(OURS);
    }
    for (const fields of [{ ciaddr: OURS }, {}]) {
      expect(replied(ask("request", [requested(OURS)], fields), declined).type).toBe("nak");
      expect(replied(ask("request", [requested(OURS)], fields), over).type).toBe("ack");
    }
  });
});

describe("delivery (RFC 2131 section 4.1)", () => {
  const nak = ask("request", [requested(OTHER)]);
  test.each<[string, Dhcp4Message, "broadcast" | "unicast"]>([
    ["OFFER", ask("discover"), "unicast"],
    ["OFFER, broadcast flag", ask("discover", [], { broadcast: true }), "broadcast"],
    ["ACK", ask("request", [requested(OURS)]), "unicast"],
    ["ACK, broadcast flag", ask("request", [requested(OURS)], { broadcast: true }), "broadcast"],
    ["ACK to ciaddr", ask("request", [], { ciaddr: OURS }), "unicast"],
    ["ACK to ciaddr, whatever the flag", ask("request", [], { ciaddr: OURS, broadcast: true }), "unicast"],
    ["NAK, always", nak, "broadcast"],
    ["NAK to one that has an address", ask("request", [], { ciaddr: OTHER }), "broadcast"],
  ])("%s: %3$s", (_name, message, deliverTo) => {
    expect(replied(message).deliverTo).toBe(deliverTo);
  });

  test("the flag is given back (table 3)", () => {
    for (const broadcast of [true, false]) {
      expect(replied({ ...nak, broadcast }).reply.broadcast).toBe(broadcast);
      expect(replied(ask("discover", [], { broadcast })).reply.broadcast).toBe(broadcast);
    }
  });
});

describe("parameters", () => {
  const all = [
    known.domainSearch,
    known.ntp,
    known.broadcast,
    known.mtu,
    known.rebindingTime,
    known.renewalTime,
    known.domain,
    known.hostname,
    known.dns,
    known.router,
    known.classlessRoutes,
  ] as const;

  test("without a list all of them, with the values of the offer", () => {
    const { options } = replied(ask("discover"));
    expect(new Set(numbers(options))).toEqual(new Set([53, 54, 51, 1, ...all.map(({ number }) => number)]));
    expect(readOption(options, known.subnetMask)).toBe("255.255.255.0");
    expect(readOption(options, known.router)).toEqual([SERVER]);
    expect(readOption(options, known.dns)).toEqual(offer.dns);
    expect(readOption(options, known.ntp)).toEqual(offer.ntp);
    expect(readOption(options, known.hostname)).toBe("web1");
    expect(readOption(options, known.domain)).toBe("example.net");
    expect(readOption(options, known.mtu)).toBe(1450);
    expect(readOption(options, known.broadcast)).toBe("203.0.113.255");
    expect(readOption(options, known.domainSearch)).toEqual(offer.search);
  });

  test("with a list what it names, in its order, the mask first (RFC 2132 sections 9.8 and 3.3)", () => {
    const asks = list(known.dns, known.router, known.subnetMask, known.vendor, known.dns);
    expect(numbers(replied(ask("discover", [asks])).options)).toEqual([53, 54, 51, 1, 6, 3]);
    expect(numbers(replied(ask("request", [asks, requested(OURS)])).options)).toEqual([53, 54, 51, 1, 6, 3]);
    expect(numbers(replied(ask("discover", [list(...all)])).options).slice(4)).toEqual(all.map(({ number }) => number));
  });

  test("nothing that the offer does not have", () => {
    const { mtu: _mtu, hostname: _hostname, domain: _domain, ...rest } = offer;
    const bare: PortOffer = { ...rest, dns: [], ntp: [], search: [], routes: [] };
    expect(new Set(numbers(replied(ask("discover"), undefined, bare).options))).toEqual(
      new Set([53, 54, 51, 1, 121, 3, 28, 58, 59]),
    );
  });

  test("T1 and T2 are half and seven eighths (section 4.4.5), and infinity has none", () => {
    const { options } = replied(ask("discover"));
    expect(readOption(options, known.renewalTime)).toBe(1800);
    expect(readOption(options, known.rebindingTime)).toBe(3150);
    const forever = replied(ask("discover"), undefined, { ...offer, leaseSeconds: 0xffffffff });
    expect(readOption(forever.options, known.leaseTime)).toBe(0xffffffff);
    expect(forever.options.has(known.renewalTime.number)).toBe(false);
  });

  test("the client identifier comes back as it went (RFC 6842)", () => {
    const id = Uint8Array.of(255, 0, 1, 2, 3);
    for (const message of [
      ask("discover", [opt(known.clientId, id)]),
      ask("inform", [opt(known.clientId, id)], { ciaddr: OURS }),
    ])
      expect(replied(message).options.get(known.clientId.number)).toEqual(id);
    expect(replied(ask("discover")).options.has(known.clientId.number)).toBe(false);
  });

  describe("classless routes (RFC 3442)", () => {
    const asks = ask("discover", [list(known.classlessRoutes, known.router)]);
    const everywhere = { to: net("0.0.0.0/0"), via: SERVER };

    test("have the default route among them, since the client then ignores the router option", () => {
      const { options } = replied(asks);
      expect(readOption(options, known.classlessRoutes)).toEqual([...offer.routes, everywhere]);
      expect(readOption(options, known.router)).toEqual([SERVER]);
    });

    test("keep a default route of the operator's own", () => {
      const own = { to: net("0.0.0.0/0"), via: OTHER };
      const { options } = replied(asks, undefined, { ...offer, routes: [own] });
      expect(readOption(options, known.classlessRoutes)).toEqual([own]);
    });

    test("make a gateway outside the prefix reachable first", () => {
      const routed: PortOffer = { ...offer, prefix: net("203.0.113.10/32"), gateway: ip("169.254.1.1"), routes: [] };
      const { options } = replied(asks, undefined, routed);
      expect(readOption(options, known.classlessRoutes)).toEqual([
        { to: net("169.254.1.1/32"), via: ANY },
        { to: net("0.0.0.0/0"), via: ip("169.254.1.1") },
      ]);
    });
  });

  test.each(["203.0.113.10/31", "203.0.113.10/32"])("%s has no broadcast address (RFC 3021)", (prefix) => {
    const { options } = replied(ask("discover"), undefined, { ...offer, prefix: net(prefix) });
    expect(options.has(known.broadcast.number)).toBe(false);
    expect(replied(ask("discover")).options.has(known.broadcast.number)).toBe(true);
  });
});

describe("message size (RFC 2132 section 9.10)", () => {
  const wordy: PortOffer = {
    ...offer,
    search: Array.from({ length: 20 }, (_, i) => `search${i}.example.net`),
    routes: Array.from({ length: 60 }, (_, i) => ({ to: net(`10.${i}.0.0/16`), via: SERVER })),
  };
  const sizeOf = (message: Dhcp4Message, port: PortOffer) => dhcp4Size(replied(message, undefined, port).options);
  const most = (size: number): Entry => opt(known.maxSize, size);

  test("576 octets of datagram when nothing is said, or less", () => {
    for (const options of [[], [most(100)], [most(576)]])
      expect(sizeOf(ask("discover", options), wordy)).toBeLessThanOrEqual(548);
    expect(replied(ask("discover"), undefined, wordy).options.has(known.domainSearch.number)).toBe(false);
  });

  test("more when the client says so, and never more than the link", () => {
    const full = replied(ask("discover", [most(1500)]), undefined, wordy);
    expect(full.options.has(known.domainSearch.number)).toBe(true);
    expect(readOption(full.options, known.classlessRoutes)).toHaveLength(61);
    const huge: PortOffer = {
      ...wordy,
      search: Array.from({ length: 60 }, (_, i) => `a-long-search-name-${i}.example.net`),
    };
    expect(sizeOf(ask("discover", [most(0xffff)]), huge)).toBeLessThanOrEqual(1450 - 28);
  });

  test("what is dearest stays: mask, router, lease time, and the identifier of the client", () => {
    const id = opt(known.clientId, new Uint8Array(255));
    const { options } = replied(ask("discover", [id]), undefined, {
      ...wordy,
      dns: Array.from({ length: 60 }, () => SERVER),
    });
    expect(dhcp4Size(options)).toBeLessThanOrEqual(548);
    for (const number of [53, 54, 51, 61, 1, 3]) expect(options.has(number)).toBe(true);
  });
});

describe("the guest's name for itself", () => {
  const named = (name: Uint8Array, lease?: LeaseChange) =>
    replied(ask("request", [requested(OURS), [known.hostname.number, name]]), lease);
  const ascii = (text: string) => Uint8Array.from(text, (char) => char.charCodeAt(0));

  test.each(["a", "web-1", "Laptop7", "x".repeat(63)])("%s is remembered, and never handed out", (name) => {
    const { change, options } = named(ascii(name));
    expect(change).toEqual({ ...boundFor(3600), hostname: name });
    expect(readOption(options, known.hostname)).toBe("web1");
  });

  test.each(["", "-a", "a-", "a.b", "a b", "x".repeat(64), "<script>", "\u001b[2J", "a\nb", "é"])(
    "%j is not",
    (name) => {
      expect(named(ascii(name)).change).toEqual(boundFor(3600));
      expect(named(ascii(name), bound).change?.hostname).toBe("mine");
    },
  );

  test("silence about it keeps the old one", () => {
    expect(replied(ask("request", [requested(OURS)]), bound).change?.hostname).toBe("mine");
  });
});

describe("whatever comes in", () => {
  const address = fc.oneof(fc.constantFrom(ANY, OURS, OTHER, SERVER), fc.nat(0xffffffff).map(ipv4FromNumber));
  const mostly = <T>(usual: T, other: fc.Arbitrary<T>): fc.Arbitrary<T> =>
    fc.oneof({ weight: 19, arbitrary: fc.constant(usual) }, { weight: 1, arbitrary: other });
  const value = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    address.map((one) => known.serverId.value.encode(one)),
  );
  const optionNumber = fc.oneof(fc.constantFrom(12, 50, 51, 54, 55, 57, 61, 80, 121), fc.integer({ min: 1, max: 254 }));
  const message: fc.Arbitrary<Dhcp4Message> = fc
    .record({
      op: mostly<Dhcp4Message["op"]>("request", fc.constant("reply")),
      hops: mostly(0, fc.nat(255)),
      xid: fc.nat(0xffffffff),
      secs: fc.nat(0xffff),
      broadcast: fc.boolean(),
      ciaddr: address,
      yiaddr: address,
      siaddr: address,
      giaddr: mostly(ANY, address),
      chaddr: mostly(
        offer.mac,
        fc.uint8Array({ minLength: 6, maxLength: 6 }).map((bytes) => macFromBytes(bytes)),
      ),
      sname: fc.string(),
      file: fc.string(),
      type: fc.nat(9),
      likely: fc.subarray<Entry>([server(), requested(OURS), requested(OTHER), opt(known.rapidCommit, true)]),
      entries: fc.array(fc.tuple(optionNumber, value), { maxLength: 4 }),
    })
    .map(({ type, likely, entries, ...fields }) => ({
      ...fields,
      options: new Map<number, Uint8Array>([...entries, ...likely, [53, Uint8Array.of(type)]]),
    }));
  const lease: fc.Arbitrary<LeaseChange | undefined> = fc.option(
    fc.record({
      state: fc.constantFrom("bound", "released", "declined"),
      expiresAt: fc.integer({ min: NOW - 100_000, max: NOW + 100_000 }),
    }),
    { nil: undefined },
  );

  test("a reply is the port's own: its address or none, its MAC, no relay, never too long, and an address only in OFFER and ACK", () => {
    // The positive control: every outcome was met.
    const seen = new Set<string>();
    fc.assert(
      fc.property(message, lease, (one, held) => {
        const given = respond(one, offer, held, NOW);
        if (given.kind !== "reply") {
          seen.add(given.kind);
          return;
        }
        const { reply } = given;
        expect([ANY, OURS]).toContain(reply.yiaddr);
        expect([ANY, OURS]).toContain(reply.ciaddr);
        expect(reply.chaddr).toBe(offer.mac);
        expect([reply.giaddr, reply.siaddr, reply.op, reply.xid]).toEqual([ANY, ANY, "reply", one.xid]);
        expect(dhcp4Size(reply.options)).toBeLessThanOrEqual(1450 - 28);
        expect(dhcp4Codec.decode(dhcp4Codec.encode(reply))).toEqual({ ok: true, value: reply });
        const type = must(readOption(reply.options, known.type));
        seen.add(type);
        if (reply.yiaddr === OURS && type === "ack") expect(given.change?.state).toBe("bound");
        else expect(given.change).toBeUndefined();
        if (type === "nak") expect([reply.yiaddr, given.deliverTo]).toEqual([ANY, "broadcast"]);
      }),
      { numRuns: 3000 },
    );
    expect([...seen].sort()).toEqual(["ack", "nak", "note", "offer", "silence"]);
  });

  test("a message for another client is never answered", () => {
    fc.assert(
      fc.property(message, lease, (one, held) => {
        const foreign = { ...one, chaddr: mac("02:00:00:00:00:01") };
        expect(respond(foreign, offer, held, NOW).kind).toBe("silence");
      }),
    );
  });
});
