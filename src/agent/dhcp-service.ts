/**
 * The DHCP responder at work: frames the guard logged, in; replies on the same port, out, and nothing promised that is not durable.
 * Who asks is known by the port a frame came in on. Changes of all ports go to the journal together, one commit at a time;
 * while one is under way the next one gathers.
 */
import { respond } from "../addressing/respond.ts";
import type { Answer, LeaseChange, PortOffer } from "../addressing/responder.ts";
import type { Frames, LoggedFrame, OutgoingFrame } from "../kernel/frames.ts";
import type { Clock } from "../model/clock.ts";
import { type Ipv4Address, ipv4ToNumber } from "../model/ipv4.ts";
import { BROADCAST_MAC, type MacAddress, macToBytes } from "../model/mac.ts";
import { unreachable } from "../model/never.ts";
import type { Decoded, Rejection } from "../packet/codec.ts";
import { dhcp4Codec } from "../packet/dhcp4.ts";
import type { Dhcp4Message } from "../packet/dhcp4-message.ts";
import { dhcp4Options, readOption } from "../packet/dhcp4-options.ts";

/** Whatever the caller knows of a port, as long as there is an offer in it. */
export interface ServedPort {
  readonly offer: PortOffer;
}

export interface LeaseEntry<P extends ServedPort> {
  readonly port: P;
  readonly change: LeaseChange;
}

export interface LeaseJournal<P extends ServedPort> {
  /**
   * One commit; at most one entry per interface index, and never called again before it has settled.
   * When it resolves, the entries are durable and `leases.get` shows them; when it rejects, none of them counts.
   */
  append(entries: readonly LeaseEntry<P>[]): Promise<void>;
}

export interface DhcpServiceParts<P extends ServedPort> {
  readonly frames: Frames;
  /** NFLOG group of the guard's DHCP rule. */
  readonly group: number;
  /** undefined when the port has no address to offer, or is not attached (any more). */
  readonly portOf: (ifindex: number) => P | undefined;
  /** In memory: asked once per message. */
  readonly leases: { get(port: P): LeaseChange | undefined };
  readonly journal: LeaseJournal<P>;
  readonly clock: Clock;
  /** Ethernet source of every reply: locally administered and not the port's own MAC, which a guest could meet elsewhere. */
  readonly serverMac: MacAddress;
}

/**
 * `share`: more of one port than its share. `full`: too much is waiting. `no-port`: no offer for it. While an ACK waited for the journal:
 * `port-changed`, `given-back` (the guest released or declined already) and `journal` (it failed).
 */
export type DhcpDrop = "share" | "full" | "no-port" | "port-changed" | "given-back" | "journal";

/** Since the start. Every frame received ends in exactly one of them, as far as replies are concerned: offers to dropped. */
export interface DhcpCounts {
  readonly received: number;
  readonly offers: number;
  readonly acks: number;
  readonly naks: number;
  /** RELEASE and DECLINE that were made durable. */
  readonly notes: number;
  /** By `SilenceReason`. */
  readonly silent: Readonly<Record<string, number>>;
  /** Frames that hold no DHCP message, by `Rejection`. */
  readonly malformed: Readonly<Record<string, number>>;
  /** By `DhcpDrop`. */
  readonly dropped: Readonly<Record<string, number>>;
  readonly commits: number;
  readonly journalFailures: number;
  /** How often the kernel could not hand over everything. */
  readonly lost: number;
}

export interface DhcpService {
  counts(): DhcpCounts;
  /** Resolves when nothing waits for the journal. */
  settled(): Promise<void>;
  /** Hears nothing more, and resolves when what was heard is done. */
  stop(): Promise<void>;
}

/** Frames of one port in one batch, and answers of one port waiting for the journal: one exchange takes two, a guest that resends some more. */
const PORT_SHARE = 8;
/** Answers waiting for the journal in all. */
const WAITING_MOST = 16_384;

/** Something to make durable, and what to send afterwards. */
interface Waiting<P> {
  readonly ifindex: number;
  readonly port: P;
  readonly change: LeaseChange;
  readonly reply?: Uint8Array;
}

type Gathering<P> = Map<number, Waiting<P>[]>;

export function startDhcpService<P extends ServedPort>(parts: DhcpServiceParts<P>): DhcpService {
  const { frames, group, portOf, leases, journal, clock, serverMac } = parts;
  const tally = createTally();
  let gathering: Gathering<P> = new Map();
  let committing: Gathering<P> = new Map();
  let waiting = 0;
  let draining: Promise<void> | undefined;

  function hear(batch: readonly LoggedFrame[]): void {
    const replies: OutgoingFrame[] = [];
    const heard = new Map<number, number>();
    for (const { inIfindex, bytes } of batch) {
      tally.add("received");
      const before = heard.get(inIfindex) ?? 0;
      heard.set(inIfindex, before + 1);
      if (before >= PORT_SHARE) tally.add("dropped", "share");
      else hearOne(inIfindex, bytes, replies);
    }
    if (replies.length > 0) frames.send(replies);
    if (gathering.size > 0) draining ??= drain();
  }

  function hearOne(ifindex: number, bytes: Uint8Array, replies: OutgoingFrame[]): void {
    const port = portOf(ifindex);
    if (port === undefined) {
      tally.add("dropped", "no-port");
      return;
    }
    const message = decodeFrame(bytes);
    if (!message.ok) {
      tally.add("malformed", message.why);
      return;
    }
    const answer = respond(message.value, port.offer, latest(ifindex, port) ?? leases.get(port), clock.now());
    switch (answer.kind) {
      case "silence":
        tally.add("silent", answer.why);
        break;
      case "note":
        wait({ ifindex, port, change: answer.change });
        break;
      case "reply": {
        const reply = encodeFrame(answer, serverMac, port.offer.serverId);
        if (answer.change !== undefined) wait({ ifindex, port, change: answer.change, reply });
        else {
          tally.add(counterOf(answer.reply));
          replies.push({ ifindex, bytes: reply });
        }
        break;
      }
      default:
        unreachable(answer);
    }
  }

  /** What was promised last on this port, though the store does not know it yet. */
  function latest(ifindex: number, port: P): LeaseChange | undefined {
    const last = (gathering.get(ifindex) ?? committing.get(ifindex))?.at(-1);
    return last !== undefined && isStill(port, last.port) ? last.change : undefined;
  }

  function wait(entry: Waiting<P>): void {
    const mine = gathering.get(entry.ifindex) ?? [];
    if (mine.length + (committing.get(entry.ifindex)?.length ?? 0) >= PORT_SHARE) tally.add("dropped", "share");
    else if (waiting >= WAITING_MOST) tally.add("dropped", "full");
    else {
      waiting += 1;
      mine.push(entry);
      gathering.set(entry.ifindex, mine);
    }
  }

  async function drain(): Promise<void> {
    while (gathering.size > 0) {
      committing = gathering;
      gathering = new Map();
      const batch = [...committing.values()];
      const count = batch.reduce((total, mine) => total + mine.length, 0);
      const isDurable = await commit(batch);
      committing = new Map();
      waiting -= count;
      if (isDurable) release(batch);
      else tally.add("dropped", "journal", count);
    }
    draining = undefined;
  }

  async function commit(batch: readonly Waiting<P>[][]): Promise<boolean> {
    try {
      // Only the last word of a port needs to last.
      await journal.append(batch.flatMap((mine) => mine.slice(-1).map(({ port, change }) => ({ port, change }))));
      tally.add("commits");
      return true;
    } catch {
      // The journal is the caller's, who knows why it failed and tells the operator; the guest asks again.
      tally.add("journalFailures");
      return false;
    }
  }

  function release(batch: readonly Waiting<P>[][]): void {
    const replies: OutgoingFrame[] = [];
    for (const mine of batch) {
      const isGivenBack = mine.at(-1)?.reply === undefined;
      for (const entry of mine) replies.push(...replyTo(entry, isGivenBack));
    }
    if (replies.length > 0) frames.send(replies);
  }

  function replyTo({ ifindex, port, reply }: Waiting<P>, isGivenBack: boolean): readonly OutgoingFrame[] {
    if (reply === undefined) tally.add("notes");
    else if (isGivenBack) tally.add("dropped", "given-back");
    else if (!isStill(portOf(ifindex), port)) tally.add("dropped", "port-changed");
    else {
      tally.add("acks");
      return [{ ifindex, bytes: reply }];
    }
    return [];
  }

  async function settled(): Promise<void> {
    while (draining !== undefined) await draining;
  }

  const subscription = frames.subscribe(group, hear, () => tally.add("lost"));
  return {
    counts: tally.counts,
    settled,
    stop: async () => {
      subscription.close();
      await settled();
    },
  };
}

/** Interface indexes are used again, and an operator may give a guest another address while its promise is being written. */
function isStill(now: ServedPort | undefined, then: ServedPort): boolean {
  return now !== undefined && now.offer.mac === then.offer.mac && now.offer.address === then.offer.address;
}

type Total = "received" | "offers" | "acks" | "naks" | "notes" | "commits" | "journalFailures" | "lost";
type Split = "silent" | "malformed" | "dropped";

function createTally() {
  const totals: Record<Total, number> = {
    received: 0,
    offers: 0,
    acks: 0,
    naks: 0,
    notes: 0,
    commits: 0,
    journalFailures: 0,
    lost: 0,
  };
  const splits = {
    silent: new Map<string, number>(),
    malformed: new Map<string, number>(),
    dropped: new Map<string, number>(),
  };
  function add(total: Total): void;
  function add(split: "silent", why: string): void;
  function add(split: "malformed", why: Rejection): void;
  function add(split: "dropped", why: DhcpDrop, count?: number): void;
  function add(name: Total | Split, why = "", count = 1): void {
    if (name === "silent" || name === "malformed" || name === "dropped")
      splits[name].set(why, (splits[name].get(why) ?? 0) + count);
    else totals[name] += count;
  }
  const counts = (): DhcpCounts => ({
    ...totals,
    silent: Object.fromEntries(splits.silent),
    malformed: Object.fromEntries(splits.malformed),
    dropped: Object.fromEntries(splits.dropped),
  });
  return { add, counts };
}

/** A reply that needs no journal. */
function counterOf(reply: Dhcp4Message): "offers" | "acks" | "naks" {
  switch (readOption(reply.options, dhcp4Options.type)) {
    case "nak":
      return "naks";
    case "offer":
      return "offers";
    default:
      return "acks";
  }
}

const ETHERNET = 14;
const IPV4 = 20;
const UDP = 8;
const EVERYONE = 0xffffffff;

const rejected = (why: Rejection): Decoded<never> => ({ ok: false, why });

/** The guard lets through exactly this shape; it is checked again because a frame may be cut, and a guard may be old. */
function decodeFrame(bytes: Uint8Array): Decoded<Dhcp4Message> {
  if (bytes.length < ETHERNET + IPV4 + UDP) return rejected("truncated");
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  // IPv4, a header without options, UDP, no fragment, to the server port.
  const isShape =
    view.getUint16(12) === 0x08_00 &&
    view.getUint8(ETHERNET) === 0x45 &&
    (view.getUint16(ETHERNET + 6) & 0x3f_ff) === 0 &&
    view.getUint8(ETHERNET + 9) === 17 &&
    view.getUint16(ETHERNET + IPV4 + 2) === 67;
  if (!isShape) return rejected("unsupported");
  const end = ETHERNET + view.getUint16(ETHERNET + 2);
  const udpLength = view.getUint16(ETHERNET + IPV4 + 4);
  if (end > bytes.length) return rejected("truncated");
  if (udpLength < UDP || ETHERNET + IPV4 + udpLength > end) return rejected("bad-length");
  if (fold(sum(bytes, ETHERNET, ETHERNET + IPV4)) !== 0xffff) return rejected("bad-checksum");
  const udp = bytes.subarray(ETHERNET + IPV4, ETHERNET + IPV4 + udpLength);
  if (!isUdpSum(udp, pseudoSum(bytes, udpLength))) return rejected("bad-checksum");
  return dhcp4Codec.decode(udp.subarray(UDP));
}

/**
 * Right, absent (RFC 768), or not yet made: a guest on a veth or virtio link leaves it to a card that is not there (CHECKSUM_PARTIAL),
 * and the field then holds the sum of the pseudo header alone.
 */
function isUdpSum(udp: Uint8Array, pseudo: number): boolean {
  const field = (udp[6] ?? 0) * 256 + (udp[7] ?? 0);
  return field === 0 || field === fold(pseudo) || fold(pseudo + sum(udp, 0, udp.length)) === 0xffff;
}

/** Unfolded one's complement sum (RFC 1071); a frame is too short to leave the exact range of numbers. */
function sum(bytes: Uint8Array, from: number, to: number): number {
  let total = 0;
  for (let i = from; i < to; i += 2) total += (bytes[i] ?? 0) * 256 + (i + 1 < to ? (bytes[i + 1] ?? 0) : 0);
  return total;
}

function fold(total: number): number {
  let folded = total;
  while (folded > 0xffff) folded = (folded & 0xffff) + Math.floor(folded / 0x1_00_00);
  return folded;
}

/** Source, destination, protocol and UDP length (RFC 768), addresses as they stand in the frame. */
function pseudoSum(frame: Uint8Array, udpLength: number): number {
  return sum(frame, ETHERNET + 12, ETHERNET + 20) + 17 + udpLength;
}

/** RFC 2131 section 4.1: to `ciaddr` if the client has its address, else to `yiaddr` though it cannot answer ARP for it yet, or to all. */
function encodeFrame(
  { reply, deliverTo }: Extract<Answer, { kind: "reply" }>,
  serverMac: MacAddress,
  serverId: Ipv4Address,
): Uint8Array {
  const message = dhcp4Codec.encode(reply);
  const own = ipv4ToNumber(reply.ciaddr) || ipv4ToNumber(reply.yiaddr);
  const isBroadcast = deliverTo === "broadcast";
  const frame = new Uint8Array(ETHERNET + IPV4 + UDP + message.length);
  const view = new DataView(frame.buffer);
  frame.set(macToBytes(isBroadcast ? BROADCAST_MAC : reply.chaddr), 0);
  frame.set(macToBytes(serverMac), 6);
  view.setUint32(12, 0x08_00_45_00);
  view.setUint16(ETHERNET + 2, IPV4 + UDP + message.length);
  // Never fragmented, so it needs no identification (RFC 6864).
  view.setUint32(ETHERNET + 4, 0x00_00_40_00);
  view.setUint16(ETHERNET + 8, 64 * 256 + 17);
  view.setUint32(ETHERNET + 12, ipv4ToNumber(serverId));
  view.setUint32(ETHERNET + 16, isBroadcast ? EVERYONE : own);
  view.setUint16(ETHERNET + 10, ~fold(sum(frame, ETHERNET, ETHERNET + IPV4)) & 0xffff);
  view.setUint32(ETHERNET + IPV4, 67 * 0x1_00_00 + 68);
  view.setUint16(ETHERNET + IPV4 + 4, UDP + message.length);
  frame.set(message, ETHERNET + IPV4 + UDP);
  const total = sum(frame, ETHERNET + IPV4, frame.length) + pseudoSum(frame, UDP + message.length);
  // A sum of zero is sent as its other form, zero being "none" (RFC 768).
  view.setUint16(ETHERNET + IPV4 + 6, ~fold(total) & 0xffff || 0xffff);
  return frame;
}
