/** DHCPv6 as a table: every message of a client, right and wrong; and that whatever is asked, only the port's address is ever given. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Ipv6Address, ipv6FromBytes, ipv6ToBytes, parseIpv6 } from "../model/ipv6.ts";
import { parseMac } from "../model/mac.ts";
import {
  type Dhcp6Message,
  type Dhcp6Option,
  dhcp6Codec,
  dhcp6Codes,
  dhcp6Status,
  dhcp6Types,
  readDhcp6Options,
  writeDhcp6Options,
} from "../packet/dhcp6.ts";
import { DECLINE_QUARANTINE_MS } from "./respond.ts";
import { type Answer6, respond6, silences6 } from "./respond6.ts";
import type { LeaseChange, PortOffer6 } from "./responder.ts";

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError("not there");
  return value;
}
const ip = (text: string): Ipv6Address => must(parseIpv6(text));
const NOW = 1_700_000_000_000;
const OWN = ip("2001:db8::7");
const OTHER = ip("2001:db8::8");
const SERVER_ID = Uint8Array.of(0, 3, 0, 1, 0xfe, 0xff, 0xff, 0xff, 0xff, 0xfe);
const CLIENT_ID = Uint8Array.of(0, 3, 0, 1, 2, 0, 0, 0, 0, 7);
const offer: PortOffer6 = {
  mac: must(parseMac("02:00:00:00:00:07")),
  address: OWN,
  serverId: SERVER_ID,
  leaseSeconds: 3600,
  dns: [ip("2001:db8::53")],
  search: ["example.net"],
};
const bound: LeaseChange = { state: "bound", expiresAt: NOW + 1000 };

const option = (code: number, ...body: readonly number[]): Dhcp6Option => ({ code, body: Uint8Array.from(body) });
const client: Dhcp6Option = { code: dhcp6Codes.clientId, body: CLIENT_ID };
const server: Dhcp6Option = { code: dhcp6Codes.serverId, body: SERVER_ID };
const address = (named: Ipv6Address): Dhcp6Option => ({
  code: dhcp6Codes.iaAddress,
  body: Uint8Array.of(...ipv6ToBytes(named), 0, 0, 0, 9, 0, 0, 0, 9),
});
const na = (id: number, ...inside: readonly Dhcp6Option[]): Dhcp6Option =>
  option(dhcp6Codes.iaNa, 0, 0, 0, id, 0, 0, 0, 0, 0, 0, 0, 0, ...writeDhcp6Options(inside));
const pd = (id: number): Dhcp6Option => option(dhcp6Codes.iaPd, 0, 0, 0, id, 0, 0, 0, 0, 0, 0, 0, 0);

type Name = keyof typeof dhcp6Types;
const ask = (name: Name, ...options: readonly Dhcp6Option[]): Dhcp6Message => ({
  type: dhcp6Types[name],
  transactionId: 0x123456,
  options,
});
const answer = (message: Dhcp6Message, lease?: LeaseChange): Answer6 => respond6(message, offer, lease, NOW);

function replyOf(given: Answer6): Dhcp6Message {
  if (given.kind !== "reply") throw new TypeError(given.why);
  return given.reply;
}

const optionsIn = (bytes: Uint8Array): readonly Dhcp6Option[] => {
  const read = readDhcp6Options(bytes);
  if (!read.ok) throw new TypeError(read.why);
  return read.value;
};
const bodyOf = (message: Dhcp6Message, code: number): Uint8Array | undefined =>
  message.options.find((given) => given.code === code)?.body;
const status = (options: readonly Dhcp6Option[]): number | undefined =>
  options.find(({ code }) => code === dhcp6Codes.statusCode)?.body[1];

/** IAID, addresses with their valid lifetime, and status of every association in a reply. */
function associations(message: Dhcp6Message) {
  return message.options
    .filter(({ code }) => code === dhcp6Codes.iaNa || code === dhcp6Codes.iaPd)
    .map(({ body }) => {
      const inside = optionsIn(body.subarray(12));
      const given = inside.filter(({ code }) => code === dhcp6Codes.iaAddress);
      const addresses = given.map(({ body: held }) => [
        ipv6FromBytes(held),
        new DataView(held.buffer, held.byteOffset).getUint32(20),
      ]);
      return { id: body[3], addresses, status: status(inside) };
    });
}

describe("an exchange", () => {
  test("SOLICIT is answered with the address at once and nothing is promised", () => {
    const given = answer(ask("solicit", client, na(1)));
    const reply = replyOf(given);
    expect(reply).toMatchObject({ type: dhcp6Types.advertise, transactionId: 0x123456 });
    expect(given).not.toHaveProperty("change");
    expect(bodyOf(reply, dhcp6Codes.clientId)).toEqual(CLIENT_ID);
    expect(bodyOf(reply, dhcp6Codes.serverId)).toEqual(SERVER_ID);
    expect(bodyOf(reply, dhcp6Codes.preference)).toEqual(Uint8Array.of(255));
    expect(associations(reply)).toEqual([{ id: 1, addresses: [[OWN, 3600]], status: undefined }]);
  });

  test.each<[Name, readonly Dhcp6Option[]]>([
    ["request", [client, server, na(1)]],
    ["renew", [client, server, na(1, address(OWN))]],
    ["rebind", [client, na(1, address(OWN))]],
    ["solicit", [client, option(dhcp6Codes.rapidCommit), na(1)]],
  ])("%s binds", (name, options) => {
    const given = answer(ask(name, ...options));
    expect(given).toMatchObject({ kind: "reply", change: { state: "bound", expiresAt: NOW + 3_600_000 } });
    expect(replyOf(given).type).toBe(dhcp6Types.reply);
    expect(associations(replyOf(given))).toEqual([{ id: 1, addresses: [[OWN, 3600]], status: undefined }]);
    expect(bodyOf(replyOf(given), dhcp6Codes.rapidCommit) !== undefined).toBe(name === "solicit");
  });

  test("half of the lease to T1, four fifths to T2; for ever is for ever", () => {
    const times = (leaseSeconds: number): readonly number[] => {
      const given = respond6(ask("request", client, server, na(1)), { ...offer, leaseSeconds }, undefined, NOW);
      const body = must(bodyOf(replyOf(given), dhcp6Codes.iaNa));
      const view = new DataView(body.buffer, body.byteOffset);
      return [view.getUint32(4), view.getUint32(8)];
    };
    expect(times(3600)).toEqual([1800, 2880]);
    expect(times(0xffff_ffff)).toEqual([0xffff_ffff, 0xffff_ffff]);
  });

  test("a second association, temporary addresses and prefixes are denied", () => {
    const reply = replyOf(
      answer(ask("request", client, server, pd(3), na(1), na(2), option(dhcp6Codes.iaTa, 0, 0, 0, 4))),
    );
    expect(associations(reply)).toEqual([
      { id: 3, addresses: [], status: dhcp6Status.noPrefixes },
      { id: 1, addresses: [[OWN, 3600]], status: undefined },
      { id: 2, addresses: [], status: dhcp6Status.noAddresses },
    ]);
    const temporary = must(bodyOf(reply, dhcp6Codes.iaTa));
    expect(status(optionsIn(temporary.subarray(4)))).toBe(dhcp6Status.noAddresses);
  });

  test("prefixes alone bind nothing", () => {
    expect(answer(ask("request", client, server, pd(3)))).not.toHaveProperty("change");
  });

  test("an address that is not the port's is taken back", () => {
    const reply = replyOf(answer(ask("rebind", client, na(1, address(OTHER), address(OWN)))));
    expect(associations(reply)[0]?.addresses).toEqual([
      [OWN, 3600],
      [OTHER, 0],
    ]);
  });

  test.each([
    [[na(1, address(OWN))], dhcp6Status.success],
    [[na(1, address(OTHER))], dhcp6Status.notOnLink],
    [[na(1, address(OWN), address(OTHER))], dhcp6Status.notOnLink],
  ])("CONFIRM of %j", (options, code) => {
    expect(status(replyOf(answer(ask("confirm", client, ...options))).options)).toBe(code);
  });

  test("RELEASE and DECLINE are noted and answered; of another's address they are not noted", () => {
    expect(answer(ask("release", client, server, na(1, address(OWN))), bound)).toMatchObject({
      change: { state: "released", expiresAt: NOW },
    });
    expect(answer(ask("decline", client, server, na(1, address(OWN))), bound)).toMatchObject({
      change: { state: "declined", expiresAt: NOW + DECLINE_QUARANTINE_MS },
    });
    for (const name of ["release", "decline"] as const) {
      const given = answer(ask(name, client, server, na(1, address(OTHER))), bound);
      expect(given).not.toHaveProperty("change");
      expect(associations(replyOf(given))).toEqual([{ id: 1, addresses: [], status: dhcp6Status.noBinding }]);
    }
    expect(answer(ask("release", client, server, na(1, address(OWN)))), "never leased").not.toHaveProperty("change");
  });

  test("a declined address is given again after a while", () => {
    const declined: LeaseChange = { state: "declined", expiresAt: NOW + 1 };
    expect(answer(ask("solicit", client, na(1)), declined)).toEqual({ kind: "silence", why: "quarantine" });
    const refused = answer(ask("request", client, server, na(1)), declined);
    expect(associations(replyOf(refused))).toEqual([{ id: 1, addresses: [], status: dhcp6Status.noAddresses }]);
    expect(refused).not.toHaveProperty("change");
    const after = respond6(ask("solicit", client, na(1)), offer, declined, NOW + 2);
    expect(associations(replyOf(after))[0]?.addresses).toEqual([[OWN, 3600]]);
  });

  test("stateless clients get what they ask for, with or without a name", () => {
    const whole = replyOf(answer(ask("informationRequest")));
    expect(bodyOf(whole, dhcp6Codes.dnsServers)).toEqual(ipv6ToBytes(ip("2001:db8::53")));
    expect(bodyOf(whole, dhcp6Codes.domainList)).toEqual(
      Uint8Array.of(7, ...new TextEncoder().encode("example"), 3, ...new TextEncoder().encode("net"), 0),
    );
    expect(associations(whole)).toEqual([]);
    const some = replyOf(answer(ask("informationRequest", client, option(dhcp6Codes.optionRequest, 0, 23))));
    expect(some.options.map(({ code }) => code)).toEqual([
      dhcp6Codes.clientId,
      dhcp6Codes.serverId,
      dhcp6Codes.dnsServers,
    ]);
  });
});

describe("silence", () => {
  const foreign = option(dhcp6Codes.serverId, 0, 3, 0, 1, 9, 9, 9, 9, 9, 9);
  const cases: readonly (readonly [keyof typeof silences6, Dhcp6Message])[] = [
    ["server-type", ask("advertise", client, server)],
    ["server-type", ask("reply", client, server)],
    ["server-type", ask("reconfigure", client, server)],
    ["server-type", { type: 99, transactionId: 1, options: [client] }],
    ["no-client-id", ask("solicit", na(1))],
    ["no-client-id", ask("solicit", option(dhcp6Codes.clientId, 0, 3), na(1))],
    ["no-client-id", ask("solicit", option(dhcp6Codes.clientId, ...new Array<number>(131).fill(1)), na(1))],
    ["server-id", ask("solicit", client, server, na(1))],
    ["server-id", ask("rebind", client, server, na(1))],
    ["server-id", ask("confirm", client, server, na(1, address(OWN)))],
    ["no-server-id", ask("request", client, na(1))],
    ["no-server-id", ask("renew", client, na(1))],
    ["no-server-id", ask("release", client, na(1, address(OWN)))],
    ["no-server-id", ask("decline", client, na(1, address(OWN)))],
    ["other-server", ask("request", client, foreign, na(1))],
    ["other-server", ask("informationRequest", foreign)],
    ["bad-option", ask("solicit", client, option(dhcp6Codes.iaNa, 1, 2, 3))],
    ["bad-option", ask("solicit", client, na(1, option(dhcp6Codes.iaAddress, 1)))],
    ["bad-option", ask("solicit", client, ...Array.from({ length: 9 }, (_, i) => na(i)))],
    ["no-address", ask("confirm", client, na(1))],
  ];
  test.each(cases)("%s", (why, message) => {
    expect(answer(message)).toEqual({ kind: "silence", why });
  });

  test("every reason has its case", () => {
    const named = new Set<string>([...cases.map(([why]) => why), "quarantine"]);
    expect(Object.keys(silences6).filter((why) => !named.has(why))).toEqual([]);
  });
});

test("whatever is asked, only the port's own address is given, and a reply fits a frame", () => {
  const anyOption = fc.record({
    code: fc.constantFrom(1, 2, 3, 4, 6, 8, 14, 25),
    body: fc.uint8Array({ maxLength: 60 }),
  });
  const good = fc.constantFrom(client, server, na(1), na(2, address(OTHER)), na(3, address(OWN)), pd(4));
  const message = fc.record({
    type: fc.integer({ min: 0, max: 14 }),
    transactionId: fc.nat(0xff_ffff),
    options: fc.array(fc.oneof(good, anyOption), { maxLength: 12 }),
  });
  fc.assert(
    fc.property(message, (asked) => {
      const given = answer(asked, bound);
      if (given.kind !== "reply") return;
      const living = associations(given.reply).flatMap(({ addresses }) =>
        addresses.filter(([, seconds]) => seconds !== 0),
      );
      expect(living.every(([held]) => held === OWN)).toBe(true);
      expect(living.length).toBeLessThan(2);
      expect(dhcp6Codec.encode(given.reply).length).toBeLessThan(1280 - 48);
    }),
    { numRuns: 2000 },
  );
});
