/** How many guests a host's DHCP responder can serve: whole exchanges with a durable journal, and the pure part alone. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { answer4 } from "../../src/addressing/dhcp4-frames.ts";
import { RESPONDER_MAC as SERVER_MAC } from "../../src/addressing/neighbour-answers.ts";
import { respond } from "../../src/addressing/respond.ts";
import type { LeaseChange, PortOffer } from "../../src/addressing/responder.ts";
import { type LeaseJournal, type ServedPort, startDhcpService } from "../../src/agent/dhcp-service.ts";
import type { Frames, LoggedFrame, OutgoingFrame } from "../../src/kernel/frames.ts";
import { type Ipv4Address, ipv4FromNumber, ipv4ToBytes, parsePrefix4 } from "../../src/model/ipv4.ts";
import { BROADCAST_MAC, macFromBytes, macToBytes } from "../../src/model/mac.ts";
import { dhcp4Codec } from "../../src/packet/dhcp4.ts";
import { type Dhcp4Message, type DhcpType, dhcpTypes } from "../../src/packet/dhcp4-message.ts";
import { dhcp4Options as known } from "../../src/packet/dhcp4-options.ts";
import { openEmbeddedStore } from "../../src/store/embedded.ts";
import type { BenchRow } from "./row.ts";

const SUITE = "dhcp";
const GROUP = 1;
const CLIENTS = 512;
const EXCHANGES = 40_000;
/** What one read of the log socket hands over at most. */
const BATCH = 64;
const ANY = ipv4FromNumber(0);
const SERVER = ipv4FromNumber(0x0a_00_00_01);
const PEERS = "frames in memory: BENCH=dhcp-link is the comparison with Kea and dnsmasq";
const clock = { now: Date.now };

interface BenchPort extends ServedPort {
  readonly offer: PortOffer;
}

function portOf(ifindex: number): BenchPort {
  const prefix = parsePrefix4("10.0.0.0/16");
  if (prefix === undefined) throw new TypeError("prefix");
  const offer: PortOffer = {
    mac: macFromBytes(Uint8Array.of(0xfe, 0, 10, 0, ifindex >> 8, ifindex & 255)),
    address: ipv4FromNumber(0x0a_00_00_00 + ifindex),
    prefix,
    gateway: SERVER,
    serverId: SERVER,
    leaseSeconds: 3600,
    dns: [SERVER],
    ntp: [],
    hostname: `guest${ifindex}`,
    domain: "example.net",
    search: ["example.net"],
    routes: [],
  };
  return { offer, answer: (frame, lease, now) => answer4(frame, offer, SERVER_MAC, lease, now) };
}

/** As udhcpc and dhclient ask. */
function messageOf({ offer }: BenchPort, type: DhcpType): Dhcp4Message {
  const mac = macToBytes(offer.mac);
  const options = new Map<number, Uint8Array>([
    [known.type.number, known.type.value.encode(type)],
    [known.clientId.number, Uint8Array.of(1, ...mac)],
    [known.parameterList.number, Uint8Array.of(1, 3, 6, 12, 15, 26, 28, 42, 119, 121)],
    [known.maxSize.number, known.maxSize.value.encode(1500)],
  ]);
  if (type === "request") {
    options.set(known.requestedAddress.number, ipv4ToBytes(offer.address));
    options.set(known.serverId.number, ipv4ToBytes(offer.serverId));
  }
  const empty = { ciaddr: ANY, yiaddr: ANY, siaddr: ANY, giaddr: ANY, sname: "", file: "" };
  return { op: "request", hops: 0, xid: 7, secs: 0, broadcast: false, chaddr: offer.mac, ...empty, options };
}

/** UDP without a checksum would be cheaper to read: the sum is made as a guest makes it. */
function frameOf(message: Dhcp4Message): Uint8Array {
  const payload = dhcp4Codec.encode(message);
  const frame = new Uint8Array(42 + payload.length);
  const view = new DataView(frame.buffer);
  frame.set(macToBytes(BROADCAST_MAC), 0);
  frame.set(macToBytes(message.chaddr), 6);
  view.setUint32(12, 0x08_00_45_00);
  view.setUint16(16, 28 + payload.length);
  view.setUint16(22, 64 * 256 + 17);
  view.setUint32(30, 0xffffffff);
  view.setUint16(24, checksum(view, 14, 34, 0));
  view.setUint16(34, 68);
  view.setUint16(36, 67);
  view.setUint16(38, 8 + payload.length);
  frame.set(payload, 42);
  view.setUint16(40, checksum(view, 34, frame.length, 2 * 0xffff + 17 + 8 + payload.length));
  return frame;
}

function checksum(view: DataView, from: number, to: number, start: number): number {
  let total = start;
  for (let i = from; i < to; i += 2) total += view.getUint8(i) * 256 + (i + 1 < to ? view.getUint8(i + 1) : 0);
  while (total > 0xffff) total = (total & 0xffff) + Math.floor(total / 0x1_00_00);
  return ~total & 0xffff;
}

interface Client {
  readonly port: BenchPort;
  readonly discover: LoggedFrame;
  readonly request: LoggedFrame;
  begun: number;
}

interface Crowd {
  readonly frames: Frames;
  /** Resolves when so many exchanges are done, with what each took in milliseconds. */
  run(exchanges: number): Promise<readonly number[]>;
}

/** Clients that ask the next question when the last one is answered, and are heard in batches as a log socket hands them over. */
function crowdOf(clients: readonly Client[]): Crowd {
  let hear: (batch: readonly LoggedFrame[]) => void = () => undefined;
  let waiting: LoggedFrame[] = [];
  let scheduled = false;
  let done: ((took: readonly number[]) => void) | undefined;
  let goal = 0;
  let left = 0;
  let took: number[] = [];

  function say(frame: LoggedFrame): void {
    waiting.push(frame);
    if (scheduled) return;
    scheduled = true;
    setImmediate(deliver);
  }

  function begin(client: Client): void {
    if (left === 0) return;
    left -= 1;
    client.begun = performance.now();
    say(client.discover);
  }

  function deliver(): void {
    scheduled = false;
    const all = waiting;
    waiting = [];
    for (let i = 0; i < all.length; i += BATCH) hear(all.slice(i, i + BATCH));
  }

  function answered({ ifindex, bytes }: OutgoingFrame): void {
    const client = clients[ifindex - FIRST_INDEX];
    if (client === undefined) throw new TypeError(`reply to port ${ifindex}`);
    // The message type is the first option.
    if (bytes[282 + 2] === dhcpTypes.offer) say(client.request);
    else {
      took.push(performance.now() - client.begun);
      if (took.length === goal) done?.(took);
      else begin(client);
    }
  }

  return {
    frames: {
      subscribe: (_group, frames) => {
        hear = frames;
        return { close: () => undefined };
      },
      send: (frames) => {
        for (const frame of frames) answered(frame);
        return frames.length;
      },
      close: () => undefined,
    },
    run: (exchanges) =>
      new Promise((resolve) => {
        goal = exchanges;
        took = [];
        done = resolve;
        left = exchanges;
        for (const client of clients) begin(client);
      }),
  };
}

const FIRST_INDEX = 100;

function clientsOf(count: number): readonly Client[] {
  return Array.from({ length: count }, (_, i) => {
    const inIfindex = FIRST_INDEX + i;
    const port = portOf(inIfindex);
    const logged = (type: DhcpType): LoggedFrame => ({
      inIfindex,
      outIfindex: 0,
      mark: 0,
      bytes: frameOf(messageOf(port, type)),
    });
    return { port, discover: logged("discover"), request: logged("request"), begun: 0 };
  });
}

interface Exchanges {
  readonly perSecond: number;
  readonly p50: number;
  readonly p99: number;
  readonly leasesPerCommit: number;
}

async function exchanges(append: LeaseJournal<BenchPort>["append"], total: number): Promise<Exchanges> {
  const clients = clientsOf(CLIENTS);
  const crowd = crowdOf(clients);
  const leases = new Map<BenchPort, LeaseChange>();
  const service = startDhcpService<BenchPort>({
    frames: crowd.frames,
    group: GROUP,
    portOf: (ifindex, family) => (family === "ip6" ? undefined : clients[ifindex - FIRST_INDEX]?.port),
    leases,
    journal: {
      append: async (entries) => {
        await append(entries);
        for (const { port, change } of entries) leases.set(port, change);
      },
    },
    clock,
  });
  await crowd.run(2 * CLIENTS);
  await service.settled();
  const before = service.counts();
  const start = performance.now();
  const took = [...(await crowd.run(total))].sort((a, b) => a - b);
  const seconds = (performance.now() - start) / 1000;
  await service.stop();
  const after = service.counts();
  const at = (share: number): number => took[Math.floor(took.length * share)] ?? 0;
  return {
    perSecond: total / seconds,
    p50: at(0.5),
    p99: at(0.99),
    leasesPerCommit: (after.acks - before.acks) / Math.max(1, after.commits - before.commits),
  };
}

async function throughStore(): Promise<readonly BenchRow[]> {
  const directory = await mkdtemp(join(tmpdir(), "vifguard-bench-dhcp-"));
  const store = await openEmbeddedStore({ directory, clock });
  try {
    const found = await exchanges(async (entries) => {
      const writes = entries.map(({ port: { offer }, change }) => leaseWrite(offer.address, offer.mac, change));
      const commit = await store.commit({ expect: [], writes });
      if (!commit.ok) throw new Error(`conflict at ${commit.conflict}`);
    }, EXCHANGES);
    const note = `${CLIENTS} clients at once, frames in memory, every lease on disk before its ACK, ${found.leasesPerCommit.toFixed(0)} leases per commit`;
    return [
      { suite: SUITE, name: "4-way exchanges", value: Math.round(found.perSecond), unit: "1/s", peer: PEERS, note },
      { suite: SUITE, name: "exchange, median", value: round(found.p50), unit: "ms", note },
      { suite: SUITE, name: "exchange, 99 %", value: round(found.p99), unit: "ms", note },
    ];
  } finally {
    await store.close();
    await rm(directory, { recursive: true, force: true });
  }
}

function leaseWrite(address: Ipv4Address, mac: string, change: LeaseChange) {
  const value = { network: "bench", address, guest: `guest-${address}`, nic: 0, mac, ...change };
  return { op: "put", key: `lease/bench/${address}`, value } as const;
}

const round = (value: number): number => Math.round(value * 100) / 100;

/** Microseconds of one call, in the best of five rounds. */
function cost(rounds: number, action: () => unknown): number {
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < 5; i += 1) {
    const start = performance.now();
    for (let j = 0; j < rounds; j += 1) action();
    best = Math.min(best, ((performance.now() - start) * 1000) / rounds);
  }
  return round(best);
}

function alone(): readonly BenchRow[] {
  const port = portOf(FIRST_INDEX);
  const message = messageOf(port, "request");
  const bytes = dhcp4Codec.encode(message);
  const answer = respond(message, port.offer, undefined, 0);
  if (answer.kind !== "reply") throw new TypeError(answer.kind);
  const whole = (): void => {
    const read = dhcp4Codec.decode(bytes);
    const given = read.ok ? respond(read.value, port.offer, undefined, 0) : undefined;
    if (given?.kind !== "reply") throw new TypeError("no reply");
    dhcp4Codec.encode(given.reply);
  };
  const row = (name: string, value: number): BenchRow => ({ suite: SUITE, name, value, unit: "µs" });
  return [
    row(
      "decode a REQUEST",
      cost(20_000, () => dhcp4Codec.decode(bytes)),
    ),
    row(
      "respond to it",
      cost(20_000, () => respond(message, port.offer, undefined, 0)),
    ),
    row(
      "encode the ACK",
      cost(20_000, () => dhcp4Codec.encode(answer.reply)),
    ),
    row("decode, respond, encode", cost(20_000, whole)),
  ];
}

export async function benchDhcp(): Promise<BenchRow[]> {
  const free = await exchanges(async () => undefined, EXCHANGES);
  return [
    ...alone(),
    {
      suite: SUITE,
      name: "4-way exchanges without a journal",
      value: Math.round(free.perSecond),
      unit: "1/s",
      note: `${CLIENTS} clients at once, frames in memory: the ceiling of the program itself`,
    },
    ...(await throughStore()),
  ];
}
