/** The responder at work: whole frames in and out, durable before said, one port's noise no other port's trouble. */
import { describe, expect, test } from "vitest";
import { answer4 } from "../addressing/dhcp4-frames.ts";
import type { LeaseChange, PortOffer } from "../addressing/responder.ts";
import { type MemoryFrames, memoryFrames } from "../kernel/frames-memory.ts";
import { type Ipv4Address, ipv4FromNumber, ipv4ToBytes, parseIpv4, parsePrefix4 } from "../model/ipv4.ts";
import { BROADCAST_MAC, type MacAddress, macFromBytes, macToBytes, parseMac } from "../model/mac.ts";
import { dhcp4Codec } from "../packet/dhcp4.ts";
import type { Dhcp4Message, DhcpType } from "../packet/dhcp4-message.ts";
import { dhcp4Options as known, readOption } from "../packet/dhcp4-options.ts";
import type { Verdict } from "./conflicts.ts";
import {
  type DhcpService,
  type DhcpServiceParts,
  type LeaseEntry,
  type ServedPort,
  startDhcpService,
} from "./dhcp-service.ts";

function must<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError("not there");
  return value;
}
const ip = (text: string): Ipv4Address => must(parseIpv4(text));
const ANY = ip("0.0.0.0");
const ALL = ip("255.255.255.255");
const GATEWAY = ip("10.0.0.1");
const SERVER_MAC: MacAddress = must(parseMac("fe:ff:ff:ff:ff:fe"));
const GROUP = 7067;
const NOW = 1_700_000_000_000;

interface Port extends ServedPort {
  readonly offer: PortOffer;
  readonly ifindex: number;
}

/** Port 7 has 10.0.0.7, and so on. */
function portOf(ifindex: number, change: Partial<PortOffer> = {}): Port {
  const offer: PortOffer = {
    mac: macFromBytes(Uint8Array.of(0xfe, 0, 10, 0, ifindex >> 8, ifindex & 255)),
    address: ipv4FromNumber(0x0a_00_00_00 + ifindex),
    prefix: must(parsePrefix4("10.0.0.0/16")),
    gateway: GATEWAY,
    serverId: GATEWAY,
    leaseSeconds: 600,
    dns: [ip("192.0.2.53")],
    ntp: [],
    search: [],
    routes: [],
    ...change,
  };
  return { ifindex, offer, answer: (frame, lease, now) => answer4(frame, offer, SERVER_MAC, lease, now) };
}

/** One's complement sum over 16-bit words, written from RFC 1071 and not from the code under test. */
function checksum(bytes: Uint8Array): number {
  let total = 0;
  for (let i = 0; i < bytes.length; i += 1) total += (bytes[i] ?? 0) << (i % 2 === 0 ? 8 : 0);
  while (total >> 16 !== 0) total = (total & 0xffff) + (total >> 16);
  return ~total & 0xffff;
}
const u16 = (value: number): readonly number[] => [(value >> 8) & 255, value & 255];

interface Wire {
  readonly from?: Ipv4Address;
  readonly to?: Ipv4Address;
  readonly udpChecksum?: "right" | "none" | "partial" | "wrong";
  readonly destinationPort?: number;
}

function frameOf(message: Dhcp4Message, wire: Wire = {}): Uint8Array {
  const { from = ANY, to = ALL, udpChecksum = "right", destinationPort = 67 } = wire;
  const payload = dhcp4Codec.encode(message);
  const udp = [...u16(68), ...u16(destinationPort), ...u16(8 + payload.length), 0, 0, ...payload];
  const pseudo = [...ipv4ToBytes(from), ...ipv4ToBytes(to), 0, 17, ...u16(udp.length)];
  const right = checksum(Uint8Array.from([...pseudo, ...udp])) || 0xffff;
  const partial = ~checksum(Uint8Array.from(pseudo)) & 0xffff;
  udp.splice(6, 2, ...u16({ right, none: 0, partial, wrong: right ^ 0x0101 }[udpChecksum]));
  const header = [0x45, 0, ...u16(20 + udp.length), 0, 1, 0, 0, 64, 17, 0, 0, ...ipv4ToBytes(from), ...ipv4ToBytes(to)];
  header.splice(10, 2, ...u16(checksum(Uint8Array.from(header))));
  return Uint8Array.from([...macToBytes(BROADCAST_MAC), ...macToBytes(message.chaddr), 8, 0, ...header, ...udp]);
}

interface Received {
  readonly ifindex: number;
  readonly to: MacAddress;
  readonly from: MacAddress;
  readonly source: readonly number[];
  readonly destination: readonly number[];
  readonly message: Dhcp4Message;
  readonly type: DhcpType | undefined;
}

function received({ ifindex, bytes }: { readonly ifindex: number; readonly bytes: Uint8Array }): Received {
  const ip4 = bytes.subarray(14);
  expect([...bytes.subarray(12, 16)]).toEqual([8, 0, 0x45, 0]);
  expect(checksum(ip4.subarray(0, 20))).toBe(0);
  const udp = ip4.subarray(20);
  const lengths = [(ip4[2] ?? 0) * 256 + (ip4[3] ?? 0), (udp[4] ?? 0) * 256 + (udp[5] ?? 0)];
  expect(lengths).toEqual([ip4.length, udp.length]);
  expect([...udp.subarray(0, 4)]).toEqual([0, 67, 0, 68]);
  const pseudo = [...ip4.subarray(12, 20), 0, 17, ...u16(udp.length)];
  expect(checksum(Uint8Array.from([...pseudo, ...udp]))).toBe(0);
  const read = dhcp4Codec.decode(udp.subarray(8));
  if (!read.ok) throw new TypeError(read.why);
  return {
    ifindex,
    to: macFromBytes(bytes),
    from: macFromBytes(bytes, 6),
    source: [...ip4.subarray(12, 16)],
    destination: [...ip4.subarray(16, 20)],
    message: read.value,
    type: readOption(read.value.options, known.type),
  };
}

let xid = 0;
function ask(port: Port, type: DhcpType, fields: Partial<Dhcp4Message> = {}): Dhcp4Message {
  const { mac, address, serverId } = port.offer;
  const options = new Map([[known.type.number, known.type.value.encode(type)]]);
  if (type === "request" && fields.ciaddr === undefined)
    options.set(known.requestedAddress.number, known.requestedAddress.value.encode(address));
  if (type === "decline") options.set(known.requestedAddress.number, ipv4ToBytes(address));
  if (type === "release" || type === "decline") options.set(known.serverId.number, ipv4ToBytes(serverId));
  xid += 1;
  const empty = { ciaddr: ANY, yiaddr: ANY, siaddr: ANY, giaddr: ANY, sname: "", file: "" };
  return { op: "request", hops: 0, xid, secs: 0, broadcast: false, chaddr: mac, ...empty, options, ...fields };
}

interface Stage {
  readonly frames: MemoryFrames;
  readonly service: DhcpService;
  readonly ports: Map<number, Port>;
  readonly leases: Map<string, LeaseChange>;
  readonly commits: (readonly LeaseEntry<Port>[])[];
  /** Ends the commit that is under way. */
  settle(outcome: "durable" | "failed"): Promise<void>;
  /** One batch, each frame on the port of that index. */
  hear(...batch: readonly (readonly [Port, Uint8Array | Dhcp4Message])[]): void;
  sent(): readonly Received[];
}

const stage = (...indexes: readonly number[]): Stage => checkedStage(undefined, ...indexes);

/** A journal that waits to be told how it went. */
function checkedStage(check: DhcpServiceParts<Port>["check"], ...indexes: readonly number[]): Stage {
  const frames = memoryFrames();
  const ports = new Map(indexes.map((ifindex) => [ifindex, portOf(ifindex)]));
  const leases = new Map<string, LeaseChange>();
  const commits: (readonly LeaseEntry<Port>[])[] = [];
  let finish: ((outcome: "durable" | "failed") => void) | undefined;
  let seen = 0;
  const service = startDhcpService<Port>({
    frames,
    group: GROUP,
    portOf: (ifindex, family) => (family === "ip4" ? ports.get(ifindex) : undefined),
    leases: { get: (port) => leases.get(port.offer.address) },
    journal: {
      append: (entries) => {
        commits.push(entries);
        return new Promise((resolve, reject) => {
          finish = (outcome) => {
            if (outcome === "failed") return reject(new Error("disk full"));
            for (const { port, change } of entries) leases.set(port.offer.address, change);
            resolve();
          };
        });
      },
    },
    clock: { now: () => NOW },
    ...(check === undefined ? {} : { check }),
  });
  return {
    frames,
    service,
    ports,
    leases,
    commits,
    settle: async (outcome) => {
      must(finish)(outcome);
      finish = undefined;
      await new Promise((resolve) => setImmediate(resolve));
    },
    hear: (...batch) =>
      frames.log(
        GROUP,
        batch.map(([{ ifindex }, what]) => ({
          inIfindex: ifindex,
          outIfindex: 0,
          mark: 0,
          bytes: what instanceof Uint8Array ? what : frameOf(what),
        })),
      ),
    sent: () => {
      const news = frames.sent.slice(seen).map(received);
      seen = frames.sent.length;
      return news;
    },
  };
}

const typesOf = (replies: readonly Received[]) => replies.map(({ ifindex, type }) => [ifindex, type]);
const bound: LeaseChange = { state: "bound", expiresAt: NOW + 600_000 };

describe("an exchange", () => {
  test("OFFER at once, ACK when it is durable, each on its own port and to its own guest", async () => {
    const { hear, sent, settle, service, commits, ports } = stage(7, 8);
    const [seven, eight] = [must(ports.get(7)), must(ports.get(8))];
    hear([seven, ask(seven, "discover")], [eight, ask(eight, "discover")]);
    const offers = sent();
    expect(typesOf(offers)).toEqual([
      [7, "offer"],
      [8, "offer"],
    ]);
    expect(offers[0]).toMatchObject({
      to: seven.offer.mac,
      from: SERVER_MAC,
      source: [10, 0, 0, 1],
      destination: [10, 0, 0, 7],
      message: { yiaddr: seven.offer.address, chaddr: seven.offer.mac },
    });
    expect(commits).toEqual([]);

    hear([seven, ask(seven, "request")], [eight, ask(eight, "request")]);
    expect(sent()).toEqual([]);
    expect(commits).toEqual([
      [
        { port: seven, change: bound },
        { port: eight, change: bound },
      ],
    ]);
    await settle("durable");
    expect(typesOf(sent())).toEqual([
      [7, "ack"],
      [8, "ack"],
    ]);
    expect(service.counts()).toMatchObject({ received: 4, offers: 2, acks: 2, naks: 0, commits: 1, dropped: {} });
  });

  test("where a reply goes (RFC 2131 section 4.1)", async () => {
    const { hear, sent, settle, ports } = stage(7);
    const seven = must(ports.get(7));
    const everyone = { to: BROADCAST_MAC, destination: [255, 255, 255, 255] };
    const alone = { to: seven.offer.mac, destination: [10, 0, 0, 7] };
    hear([seven, ask(seven, "discover", { broadcast: true })]);
    expect(sent()[0]).toMatchObject({ type: "offer", ...everyone });
    hear([seven, ask(seven, "request", { ciaddr: ip("10.0.0.99") })]);
    expect(sent()[0]).toMatchObject({ type: "nak", ...everyone });
    hear([seven, frameOf(ask(seven, "inform", { ciaddr: seven.offer.address }), { from: seven.offer.address })]);
    expect(sent()[0]).toMatchObject({ type: "ack", ...alone, message: { yiaddr: ANY } });
    hear([seven, frameOf(ask(seven, "request", { ciaddr: seven.offer.address, broadcast: true }), { to: GATEWAY })]);
    await settle("durable");
    expect(sent()[0]).toMatchObject({ type: "ack", ...alone });
  });

  test("RELEASE and DECLINE are made durable and not answered", async () => {
    const { hear, sent, settle, service, ports, leases } = stage(7);
    const seven = must(ports.get(7));
    leases.set(seven.offer.address, bound);
    hear([seven, ask(seven, "release", { ciaddr: seven.offer.address })]);
    await settle("durable");
    expect(leases.get(seven.offer.address)).toEqual({ state: "released", expiresAt: NOW });
    hear([seven, ask(seven, "decline")]);
    await settle("durable");
    expect(leases.get(seven.offer.address)?.state).toBe("declined");
    expect([sent(), service.counts().notes]).toEqual([[], 2]);
  });
});

describe("group commit", () => {
  test("while one commit is under way everything else gathers into the next", async () => {
    const { hear, sent, settle, service, commits, ports } = stage(1, 2, 3, 4);
    const all = [...ports.values()];
    for (const port of all) hear([port, ask(port, "request")]);
    expect(commits.map((entries) => entries.length)).toEqual([1]);
    await settle("durable");
    expect(typesOf(sent())).toEqual([[1, "ack"]]);
    expect(commits.map((entries) => entries.length)).toEqual([1, 3]);
    await settle("durable");
    expect(typesOf(sent())).toEqual([
      [2, "ack"],
      [3, "ack"],
      [4, "ack"],
    ]);
    await service.settled();
    hear([must(all[0]), ask(must(all[0]), "request")]);
    expect(commits).toHaveLength(3);
  });

  test("OFFER, NAK and INFORM do not wait for a commit under way", async () => {
    const { hear, sent, settle, ports } = stage(7, 8, 9);
    const [seven, eight, nine] = [must(ports.get(7)), must(ports.get(8)), must(ports.get(9))];
    hear([seven, ask(seven, "request")]);
    hear(
      [eight, ask(eight, "discover")],
      [nine, ask(nine, "request", { ciaddr: GATEWAY })],
      [nine, ask(nine, "inform", { ciaddr: nine.offer.address })],
    );
    expect(typesOf(sent())).toEqual([
      [8, "offer"],
      [9, "nak"],
      [9, "ack"],
    ]);
    await settle("durable");
    expect(typesOf(sent())).toEqual([[7, "ack"]]);
  });

  test("when the journal fails nothing that needed it is sent, and the next one may succeed", async () => {
    const { hear, sent, settle, service, ports, leases } = stage(7, 8);
    const [seven, eight] = [must(ports.get(7)), must(ports.get(8))];
    hear([seven, ask(seven, "request")], [eight, ask(eight, "discover")]);
    await settle("failed");
    expect(typesOf(sent())).toEqual([[8, "offer"]]);
    expect(leases.size).toBe(0);
    expect(service.counts()).toMatchObject({ acks: 0, commits: 0, journalFailures: 1, dropped: { journal: 1 } });
    hear([seven, ask(seven, "request")]);
    await settle("durable");
    expect(typesOf(sent())).toEqual([[7, "ack"]]);
  });

  test("a journal that throws instead of rejecting is a failure like any other", async () => {
    const frames = memoryFrames();
    const seven = portOf(7);
    const service = startDhcpService<Port>({
      frames,
      group: GROUP,
      portOf: () => seven,
      leases: new Map<Port, LeaseChange>(),
      journal: {
        append: () => {
          throw new Error("closed");
        },
      },
      clock: { now: () => NOW },
    });
    frames.log(GROUP, [{ inIfindex: 7, outIfindex: 0, mark: 0, bytes: frameOf(ask(seven, "request")) }]);
    await service.settled();
    expect(service.counts()).toMatchObject({ acks: 0, journalFailures: 1 });
  });

  test("what waits for the journal counts already: declined is declined at once, and one port has one last word", async () => {
    const { hear, sent, settle, service, commits, ports, leases } = stage(6, 7);
    const [six, seven] = [must(ports.get(6)), must(ports.get(7))];
    leases.set(seven.offer.address, bound);
    hear([six, ask(six, "request")]);
    hear([seven, ask(seven, "request")], [seven, ask(seven, "decline")], [seven, ask(seven, "discover")]);
    expect(service.counts().silent).toEqual({ quarantine: 1 });
    await settle("durable");
    expect(commits[1]?.map(({ change }) => change.state)).toEqual(["declined"]);
    await settle("durable");
    // The ACK of what was given back before it was durable is not sent.
    expect(typesOf(sent())).toEqual([[6, "ack"]]);
    expect(service.counts()).toMatchObject({ notes: 1, dropped: { "given-back": 1 } });
  });

  test.each<[string, Port | undefined]>([
    ["detached", undefined],
    ["given another address", portOf(7, { address: ip("10.0.9.9") })],
    ["attached to another guest", portOf(7, { mac: SERVER_MAC })],
  ])("a port that was %s meanwhile gets no promise of before", async (_name, now) => {
    const { hear, sent, settle, service, ports } = stage(7, 8);
    const [seven, eight] = [must(ports.get(7)), must(ports.get(8))];
    hear([seven, ask(seven, "request")], [eight, ask(eight, "request")]);
    if (now === undefined) ports.delete(7);
    else ports.set(7, now);
    ports.set(8, portOf(8, { dns: [] }));
    await settle("durable");
    expect(typesOf(sent())).toEqual([[8, "ack"]]);
    expect(service.counts().dropped).toEqual({ "port-changed": 1 });
  });

  test("stop hears nothing more, and says what was promised before", async () => {
    const { hear, sent, settle, service, ports } = stage(7);
    const seven = must(ports.get(7));
    hear([seven, ask(seven, "request")]);
    const stopped = service.stop();
    hear([seven, ask(seven, "discover")]);
    await settle("durable");
    await stopped;
    expect(typesOf(sent())).toEqual([[7, "ack"]]);
  });
});

describe("fair share", () => {
  test("a flood of one port in a batch costs it its own frames only", async () => {
    const { hear, sent, settle, service, ports } = stage(7, 8);
    const [bad, good] = [must(ports.get(7)), must(ports.get(8))];
    const flood = Array.from({ length: 500 }, () => [bad, ask(bad, "request")] as const);
    hear(...flood, [good, ask(good, "request")]);
    await settle("durable");
    const replies = sent();
    expect(replies.filter(({ ifindex }) => ifindex === 7)).toHaveLength(8);
    expect(replies.filter(({ ifindex }) => ifindex === 8)).toHaveLength(1);
    expect(service.counts()).toMatchObject({ received: 501, acks: 9, dropped: { share: 492 } });
  });

  test("while the journal is slow a port waits with its share and no more, over many batches", async () => {
    const { hear, sent, settle, service, ports, commits } = stage(6, 7, 8);
    const [slow, bad, good] = [must(ports.get(6)), must(ports.get(7)), must(ports.get(8))];
    hear([slow, ask(slow, "request")]);
    for (let i = 0; i < 100; i += 1) hear([bad, ask(bad, "request")]);
    hear([good, ask(good, "request")]);
    await settle("durable");
    expect(commits[1]).toHaveLength(2);
    await settle("durable");
    expect(sent().filter(({ ifindex }) => ifindex === 8)).toHaveLength(1);
    expect(service.counts().dropped).toEqual({ share: 92 });
    hear([bad, ask(bad, "request")]);
    await settle("durable");
    expect(typesOf(sent())).toEqual([[7, "ack"]]);
  });

  test("all that waits is bounded, and empties again", async () => {
    const indexes = Array.from({ length: 2100 }, (_, i) => i + 10);
    const { hear, settle, service, ports } = stage(...indexes);
    const first = must(ports.get(10));
    hear([first, ask(first, "request")]);
    const frames = [...ports.values()].map((port) => [port, frameOf(ask(port, "request"))] as const);
    for (let i = 0; i < 8; i += 1) hear(...frames);
    expect(service.counts().dropped["full"]).toBeGreaterThan(0);
    await settle("durable");
    await settle("durable");
    expect(service.counts().acks).toBe(16_384);
    hear(must(frames[5]));
    await settle("durable");
    expect(service.counts().acks).toBe(16_385);
  });
});

describe("frames", () => {
  const seven = portOf(7);
  const good = frameOf(ask(seven, "discover"));
  const patched = (at: number, ...bytes: readonly number[]): Uint8Array => {
    const copy = good.slice();
    copy.set(bytes, at);
    return copy;
  };
  /** With a header that adds up. */
  const header = (at: number, ...bytes: readonly number[]): Uint8Array => {
    const copy = patched(at, ...bytes);
    copy.set([0, 0], 24);
    copy.set(u16(checksum(copy.subarray(14, 34))), 24);
    return copy;
  };

  test.each<[string, Uint8Array]>([
    ["as it should be", good],
    ["no UDP checksum (RFC 768)", frameOf(ask(seven, "discover"), { udpChecksum: "none" })],
    ["a checksum left to the card", frameOf(ask(seven, "discover"), { udpChecksum: "partial" })],
    ["padding of the link behind it", Uint8Array.from([...good, 0, 0, 0, 0])],
    ["in a buffer of others", new Uint8Array([9, 9, 9, ...good]).subarray(3)],
  ])("%s: answered", (_name, bytes) => {
    const { hear, sent } = stage(7);
    hear([seven, bytes]);
    expect(typesOf(sent())).toEqual([[7, "offer"]]);
  });

  test.each<[string, string, Uint8Array]>([
    ["nothing", "truncated", new Uint8Array(0)],
    ["cut in the UDP header", "truncated", good.subarray(0, 40)],
    ["cut by the snaplen", "truncated", good.subarray(0, 300)],
    ["a VLAN tag", "unsupported", patched(12, 0x81, 0)],
    ["IP options", "unsupported", header(14, 0x46)],
    ["IPv6 in an IPv4 frame", "unsupported", patched(14, 0x65)],
    ["a first fragment", "unsupported", header(20, 0x20, 0)],
    ["a later fragment", "unsupported", header(20, 0, 1)],
    ["TCP", "unsupported", header(23, 6)],
    ["to another port", "unsupported", frameOf(ask(seven, "discover"), { destinationPort: 68 })],
    ["an IP length beyond the frame", "truncated", header(16, 0xff, 0xff)],
    ["an IP length of nothing", "bad-length", header(16, 0, 0)],
    ["a UDP length beyond the datagram", "bad-length", patched(38, 0xff, 0xff)],
    ["a UDP length of nothing", "bad-length", patched(38, 0, 0)],
    ["a header that does not add up", "bad-checksum", patched(22, 63)],
    ["a wrong UDP checksum", "bad-checksum", frameOf(ask(seven, "discover"), { udpChecksum: "wrong" })],
    ["no DHCP cookie", "unsupported", patched(40, 0, 0, ...good.subarray(42, 42 + 236), 1, 2, 3, 4)],
  ])("%s: %s", (_name, why, bytes) => {
    const { hear, sent, service } = stage(7);
    hear([seven, bytes], [seven, good]);
    expect(service.counts()).toMatchObject({ malformed: { [why]: 1 }, offers: 1 });
    expect(typesOf(sent())).toEqual([[7, "offer"]]);
  });

  test("no byte changed or cut makes it throw, or answer anywhere but on that port", () => {
    const { hear, sent, service } = stage(7);
    for (let at = 0; at < good.length; at += 1) {
      for (const byte of [0, 1, 0x7f, 0xff]) hear([seven, patched(at, byte)]);
      hear([seven, good.subarray(0, at)]);
    }
    expect(service.counts().received).toBe(good.length * 5);
    expect(new Set(sent().map(({ ifindex, message }) => `${ifindex} ${message.chaddr}`))).toEqual(
      new Set([`7 ${seven.offer.mac}`]),
    );
  });

  test("who asks is the port: a foreign MAC in the message and a port without offer get nothing", () => {
    const { hear, sent, service } = stage(7);
    const stranger = portOf(9);
    hear([stranger, ask(stranger, "discover")], [seven, ask(stranger, "discover")], [seven, good]);
    expect(typesOf(sent())).toEqual([[7, "offer"]]);
    expect(service.counts()).toMatchObject({ silent: { "foreign-chaddr": 1 }, dropped: { "no-port": 1 } });
  });

  test("what the kernel lost is counted", () => {
    const frames = memoryFrames();
    let lose: (() => void) | undefined;
    const service = startDhcpService<Port>({
      frames: {
        ...frames,
        subscribe: (group, hear, lost) => {
          lose = lost;
          return frames.subscribe(group, hear, lost);
        },
      },
      group: GROUP,
      portOf: () => undefined,
      leases: new Map<Port, LeaseChange>(),
      journal: { append: async () => undefined },
      clock: { now: () => NOW },
    });
    must(lose)();
    expect(service.counts().lost).toBe(1);
  });
});

describe("an address that must be found free first", () => {
  function setUp() {
    const asked = new Map<number, (verdict: Verdict) => void>();
    const made = checkedStage(
      (_port, ifindex) => (ifindex === 8 ? undefined : new Promise((resolve) => asked.set(ifindex, resolve))),
      7,
      8,
    );
    const tell = async (verdict: Verdict): Promise<void> => {
      must(asked.get(7))(verdict);
      await new Promise((resolve) => setImmediate(resolve));
    };
    return { ...made, asked, tell, seven: must(made.ports.get(7)), eight: must(made.ports.get(8)) };
  }

  test("is offered when it is, and another port's guest does not wait for that", async () => {
    const { hear, sent, tell, seven, eight } = setUp();
    hear([seven, ask(seven, "discover")], [eight, ask(eight, "discover")]);
    expect(typesOf(sent())).toEqual([[8, "offer"]]);
    await tell("free");
    expect(typesOf(sent())).toEqual([[7, "offer"]]);
  });

  test("is not offered when somebody has it: in quarantine, durably, and counted once", async () => {
    const { hear, sent, tell, settle, seven, commits, service, leases } = setUp();
    hear([seven, ask(seven, "discover")]);
    await tell("taken");
    expect(commits.flat()).toEqual([{ port: seven, change: { state: "declined", expiresAt: NOW + 60_000 } }]);
    await settle("durable");
    hear([seven, ask(seven, "discover")]);
    expect(sent()).toEqual([]);
    expect(leases.get(seven.offer.address)?.state).toBe("declined");
    expect(service.counts()).toMatchObject({
      received: 2,
      offers: 0,
      notes: 0,
      dropped: { conflict: 1 },
      silent: { quarantine: 1 },
    });
  });

  test("nor while too much is asked, nor when the port is another's by then; a NAK and a running lease are not asked about", async () => {
    const { hear, sent, tell, settle, seven, ports, service, asked, leases } = setUp();
    hear([seven, ask(seven, "discover")]);
    await tell("busy");
    hear([seven, ask(seven, "discover")]);
    ports.set(7, portOf(7, { address: ip("10.0.0.99") }));
    await tell("free");
    expect(service.counts().dropped).toEqual({ checking: 1, "port-changed": 1 });
    ports.set(7, seven);
    asked.clear();
    hear([seven, ask(seven, "request", { ciaddr: ip("10.0.0.99") })]);
    leases.set(seven.offer.address, bound);
    hear([seven, ask(seven, "request")]);
    await settle("durable");
    expect([asked.size, typesOf(sent())]).toEqual([
      0,
      [
        [7, "nak"],
        [7, "ack"],
      ],
    ]);
  });
});
