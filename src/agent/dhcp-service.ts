/**
 * The DHCP responder at work: frames the guard logged, in; replies on the same port, out, and nothing promised that is not durable.
 * Who asks is known by the port a frame came in on. Changes of all ports go to the journal together, one commit at a time;
 * while one is under way the next one gathers.
 */
import type { FrameAnswer } from "../addressing/frame-answer.ts";
import { DECLINE_QUARANTINE_MS, leaseChange } from "../addressing/respond.ts";
import type { LeaseChange } from "../addressing/responder.ts";
import type { Frames, LoggedFrame, OutgoingFrame } from "../kernel/frames.ts";
import type { Clock } from "../model/clock.ts";
import type { Ipv4Address } from "../model/ipv4.ts";
import type { Ipv6Address } from "../model/ipv6.ts";
import type { MacAddress } from "../model/mac.ts";
import { unreachable } from "../model/never.ts";
import type { DhcpCounts } from "../model/operations.ts";
import type { Rejection } from "../packet/codec.ts";
import type { Verdict } from "./conflicts.ts";

export type IpFamily = "ip4" | "ip6";

/** Whatever the caller knows of a port in one family, as long as it says whom a promise is for and can answer. */
export interface ServedPort {
  readonly offer: { readonly mac: MacAddress; readonly address: Ipv4Address | Ipv6Address };
  answer(frame: Uint8Array, lease: LeaseChange | undefined, now: number): FrameAnswer;
}

export interface LeaseEntry<P extends ServedPort> {
  readonly port: P;
  readonly change: LeaseChange;
}

export interface LeaseJournal<P extends ServedPort> {
  /**
   * One commit; at most one entry per interface index and family, and never called again before it has settled.
   * When it resolves, the entries are durable and `leases.get` shows them; when it rejects, none of them counts.
   */
  append(entries: readonly LeaseEntry<P>[]): Promise<void>;
}

export interface DhcpServiceParts<P extends ServedPort> {
  readonly frames: Frames;
  /** NFLOG group of the guard's DHCP rule. */
  readonly group: number;
  /** undefined when the port has no address of that family to offer, or is not attached (any more). */
  readonly portOf: (ifindex: number, family: IpFamily) => P | undefined;
  /** In memory: asked once per message. */
  readonly leases: { get(port: P): LeaseChange | undefined };
  readonly journal: LeaseJournal<P>;
  readonly clock: Clock;
  /** Asked before an address is promised anew; undefined where nothing needs to be asked. A port waits for its own answer alone. */
  readonly check?: (port: P, ifindex: number) => Promise<Verdict> | undefined;
}

/**
 * `share`: more of one port than its share. `full`: too much is waiting. `no-port`: no offer for it. While an ACK waited for the journal:
 * `port-changed`, `given-back` (the guest released or declined already) and `journal` (it failed). `conflict`: somebody else has the address.
 * `checking`: it is being found out whether somebody has.
 */
export type DhcpDrop =
  | "share"
  | "full"
  | "no-port"
  | "port-changed"
  | "given-back"
  | "journal"
  | "conflict"
  | "checking";

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
  readonly family: IpFamily;
  readonly port: P;
  readonly change: LeaseChange;
  readonly reply?: Uint8Array;
  /** The message counts as this, whatever becomes of the change. */
  readonly drop?: DhcpDrop;
}

type Asked<P> = Pick<Waiting<P>, "ifindex" | "family" | "port">;
type Reply = Extract<FrameAnswer, { readonly kind: "reply" }>;

/** By port and family: each has its own promises. */
type Gathering<P> = Map<string, Waiting<P>[]>;

const placeOf = ({ ifindex, family }: { readonly ifindex: number; readonly family: IpFamily }): string =>
  `${ifindex}/${family}`;

const familyOf = (frame: Uint8Array): IpFamily => (frame[12] === 0x86 && frame[13] === 0xdd ? "ip6" : "ip4");

export function startDhcpService<P extends ServedPort>(parts: DhcpServiceParts<P>): DhcpService {
  const { frames, group, portOf, leases, journal, clock, check } = parts;
  const tally = createTally();
  let gathering: Gathering<P> = new Map();
  let committing: Gathering<P> = new Map();
  let waiting = 0;
  let draining: Promise<void> | undefined;
  const holding = new Set<Promise<void>>();

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
    const family = familyOf(bytes);
    const port = portOf(ifindex, family);
    if (port === undefined) {
      tally.add("dropped", "no-port");
      return;
    }
    const place = { ifindex, family };
    const lease = latest(place, port) ?? leases.get(port);
    const answer = port.answer(bytes, lease, clock.now());
    switch (answer.kind) {
      case "malformed":
        tally.add("malformed", answer.why);
        break;
      case "silence":
        tally.add("silent", answer.why);
        break;
      case "note":
        wait({ ...place, port, change: answer.change });
        break;
      case "reply": {
        const verdict = isPromisedAnew(answer, lease, clock.now()) ? check?.(port, ifindex) : undefined;
        if (verdict === undefined) reply({ ...place, port }, answer, replies);
        else hold(verdict, { ...place, port }, answer);
        break;
      }
      default:
        unreachable(answer);
    }
  }

  function reply(place: Asked<P>, answer: Reply, replies: OutgoingFrame[]): void {
    if (answer.change !== undefined) wait({ ...place, change: answer.change, reply: answer.frame });
    else {
      tally.add(answer.counter);
      replies.push({ ifindex: place.ifindex, bytes: answer.frame });
    }
  }

  /** The answer is given when the address is known to be free. */
  function hold(verdict: Promise<Verdict>, place: Asked<P>, answer: Reply): void {
    const done = verdict.then((found) => {
      holding.delete(done);
      const replies: OutgoingFrame[] = [];
      if (!isStill(portOf(place.ifindex, place.family), place.port)) tally.add("dropped", "port-changed");
      else if (found === "busy") tally.add("dropped", "checking");
      else if (found === "free") reply(place, answer, replies);
      else
        wait({
          ...place,
          change: leaseChange("declined", clock.now() + DECLINE_QUARANTINE_MS, undefined),
          drop: "conflict",
        });
      if (replies.length > 0) frames.send(replies);
      if (gathering.size > 0) draining ??= drain();
    });
    holding.add(done);
  }

  /** What was promised last on this port, though the store does not know it yet. */
  function latest(place: Pick<Waiting<P>, "ifindex" | "family">, port: P): LeaseChange | undefined {
    const key = placeOf(place);
    const last = (gathering.get(key) ?? committing.get(key))?.at(-1);
    return last !== undefined && isStill(port, last.port) ? last.change : undefined;
  }

  function wait(entry: Waiting<P>): void {
    const key = placeOf(entry);
    const mine = gathering.get(key) ?? [];
    if (mine.length + (committing.get(key)?.length ?? 0) >= PORT_SHARE) tally.add("dropped", "share");
    else if (waiting >= WAITING_MOST) tally.add("dropped", "full");
    else {
      waiting += 1;
      mine.push(entry);
      gathering.set(key, mine);
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
      const isGivenBack = mine.at(-1)?.change.state !== "bound";
      for (const entry of mine) replies.push(...replyTo(entry, isGivenBack));
    }
    if (replies.length > 0) frames.send(replies);
  }

  function replyTo(entry: Waiting<P>, isGivenBack: boolean): readonly OutgoingFrame[] {
    const { ifindex, family, port, change, reply, drop } = entry;
    if (drop !== undefined) {
      tally.add("dropped", drop);
      return [];
    }
    const isPromise = change.state === "bound";
    if (isPromise && isGivenBack) tally.add("dropped", "given-back");
    else if (isPromise && !isStill(portOf(ifindex, family), port)) tally.add("dropped", "port-changed");
    else {
      tally.add(isPromise ? "acks" : "notes");
      if (reply !== undefined) return [{ ifindex, bytes: reply }];
    }
    return [];
  }

  async function settled(): Promise<void> {
    while (draining !== undefined || holding.size > 0) {
      await Promise.all(holding);
      await draining;
    }
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

/** Offers and acknowledgements, unless the guest has the address by a lease that still runs. */
const isPromisedAnew = ({ counter }: Reply, lease: LeaseChange | undefined, now: number): boolean =>
  counter !== "naks" && !(lease?.state === "bound" && lease.expiresAt > now);

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
