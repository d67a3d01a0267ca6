/**
 * Ports whose addresses other DHCP servers give. What such a guest asks is taken off its port and sent on in its name: by the relay agent to the servers, or over
 * the bridge to the LAN. What a server answers comes here before the guest hears it, so that an address is durable and enforced first (I8).
 */

import { messageIn4, replyFrame4 } from "../addressing/dhcp4-frames.ts";
import { messageIn6, serverFrame6 } from "../addressing/dhcp6-frames.ts";
import { createExchanges, type Exchanges } from "../addressing/exchanges.ts";
import { answer4, question4, type Refusal, type Verdict } from "../addressing/learn4.ts";
import { answered6, question6 } from "../addressing/learn6.ts";
import { RESPONDER_MAC } from "../addressing/neighbour-answers.ts";
import type { LoggedFrame } from "../kernel/frames.ts";
import { isLearned } from "../model/addressing.ts";
import { type IpAddress, isIpv6 } from "../model/ip-block.ts";
import { ipv6FromBytes, linkLocalOf } from "../model/ipv6.ts";
import { parseInterfaceName } from "../model/names.ts";
import { unreachable } from "../model/never.ts";
import type { LearningView } from "../model/operations.ts";
import type { Attachment } from "../model/resources.ts";
import type { Dhcp4Message } from "../packet/dhcp4-message.ts";
import { dhcp4Options, readOption } from "../packet/dhcp4-options.ts";
import type { Dhcp6Message } from "../packet/dhcp6.ts";
import type { Gift, Learner } from "./bindings.ts";
import { refusalOf } from "./bindings.ts";
import type { Core } from "./core.ts";
import { createLearnQueue, type Family } from "./learn-queue.ts";
import { createLearnTally } from "./learn-tally.ts";
import { createRelay } from "./relay.ts";
import { createSnoop } from "./snoop.ts";

export interface Learning {
  isLearner(frame: Pick<LoggedFrame, "inIfindex">): boolean;
  /** What guests ask. */
  hear(batch: readonly LoggedFrame[]): void;
  /** Takes away what is over; part of every pass, before anything is wished. */
  sweep(): Promise<void>;
  /** Tells the kernel whose lease stands until when; part of every pass, behind the rules. */
  sync(): void;
  forget(attachment: Attachment): void;
  view(): LearningView;
  stop(): Promise<void>;
}

/** What is remembered of a port between a question and its answer. */
interface Talk {
  readonly exchanges: Exchanges;
  /** Addresses it was offered and may refuse (DECLINE). */
  readonly offered: Set<IpAddress>;
}

/** Questions of one port in one batch. */
const PORT_SHARE = 8;
const OFFERS_KEPT = 8;
const HOST_LABEL = /^[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?$/;

const isIp6 = (frame: Uint8Array): boolean => frame[12] === 0x86 && frame[13] === 0xdd;

/** RFC 2131 section 4.1. */
function frame4(message: Dhcp4Message, server: IpAddress): Uint8Array {
  const isNak = readOption(message.options, dhcp4Options.type) === "nak";
  const isUnheard = message.broadcast && message.ciaddr === "0.0.0.0";
  const source = readOption(message.options, dhcp4Options.serverId) ?? (isIpv6(server) ? message.siaddr : server);
  return replyFrame4(
    { reply: message, deliverTo: isNak || isUnheard ? "broadcast" : "unicast" },
    RESPONDER_MAC,
    source,
  );
}

export function createLearning(core: Core): Learning {
  const { frames, clock, datagrams, host } = core.parts;
  const tally = createLearnTally(core.conditions);
  /** By interface index and family. */
  const talks = new Map<string, Talk>();
  const hostnames = new Map<number, string>();

  function learnerAt(ifindex: number): Learner | undefined {
    const attachment = core.ports.byIndex(ifindex)?.attachment;
    const identity =
      attachment === undefined ? undefined : core.mirror.guests.get(attachment.guest)?.nics[attachment.nic];
    const spec = identity === undefined ? undefined : core.mirror.networks.get(identity.network);
    if (attachment === undefined || identity === undefined || spec === undefined) return undefined;
    return isLearned(spec.addressing) ? { attachment, identity, spec } : undefined;
  }

  function learnerOn(port: string): Learner | undefined {
    const name = parseInterfaceName(port);
    const ifindex = name === undefined ? undefined : core.ports.get(name)?.attachment.ifindex;
    return ifindex === undefined ? undefined : learnerAt(ifindex);
  }

  const relay = createRelay({
    datagrams,
    host,
    clock,
    learnerOn,
    answered4: settle4,
    answered6: settle6,
    refused: tally.refused,
    trouble: (why) => {
      if (why === undefined) core.conditions.clear("RELAY_FAILED");
      else core.conditions.raise("RELAY_FAILED", why);
    },
  });
  const snoop = createSnoop({
    frames,
    learnerAt,
    bridgeOf: (ifindex) => core.ports.byIndex(ifindex)?.wish?.bridge ?? 0,
    answered4: settle4,
    answered6: settle6,
    refused: tally.refused,
    lost: () => tally.add("lost"),
  });
  const queue = createLearnQueue({
    core,
    tally,
    learnerAt,
    settled: ({ attachment }, family) => talks.get(`${attachment.ifindex}/${family}`)?.offered.clear(),
  });

  function talkOf({ attachment }: Learner, family: Family): Talk {
    const key = `${attachment.ifindex}/${family}`;
    const talk = talks.get(key) ?? { exchanges: createExchanges(), offered: new Set() };
    talks.set(key, talk);
    return talk;
  }

  function hear(batch: readonly LoggedFrame[]): void {
    const heard = new Map<number, number>();
    for (const { inIfindex, bytes } of batch) {
      const learner = learnerAt(inIfindex);
      if (learner === undefined) continue;
      const count = (heard.get(inIfindex) ?? 0) + 1;
      heard.set(inIfindex, count);
      tally.add("questions");
      const why = count > PORT_SHARE ? "share" : ask(learner, bytes);
      if (why !== undefined) tally.silent(why);
    }
  }

  /** @returns why it goes no further */
  const ask = (learner: Learner, frame: Uint8Array): string | undefined =>
    isIp6(frame) ? ask6(learner, frame) : ask4(learner, frame);

  function ask4(learner: Learner, frame: Uint8Array): string | undefined {
    const read = messageIn4(frame);
    if (!read.ok) return read.why;
    const message = read.value;
    const { exchanges, offered } = talkOf(learner, "ip4");
    const { mac, addresses4 } = learner.identity;
    const asked = question4(message, { mac, address: addresses4[0], offered });
    if (asked.kind === "silence") return asked.why;
    const said = readOption(message.options, dhcp4Options.hostname);
    if (said !== undefined && HOST_LABEL.test(said)) hostnames.set(learner.attachment.ifindex, said);
    exchanges.asked(message.xid, asked.wants, clock.now());
    if (learner.spec.addressing.kind === "relay") relay.ask4(learner, message);
    else snoop.ask(learner, frame);
    if (asked.ends !== undefined) queue.add({ learner, family: "ip4", gift: undefined });
    return undefined;
  }

  function ask6(learner: Learner, frame: Uint8Array): string | undefined {
    const read = messageIn6(frame);
    if (!read.ok) return read.why;
    const { message, address } = read.value;
    // The relay's answers name whom they are for, and that is who the port is.
    if (ipv6FromBytes(address) !== linkLocalOf(learner.identity.mac)) return "other-address";
    const { exchanges, offered } = talkOf(learner, "ip6");
    const asked = question6(message, { address: learner.identity.addresses6?.[0], offered });
    if (asked.kind === "silence") return asked.why;
    exchanges.asked(message.transactionId, asked.wants, clock.now());
    if (learner.spec.addressing.kind === "relay") relay.ask6(learner, message);
    else snoop.ask(learner, frame);
    if (asked.ends !== undefined) queue.add({ learner, family: "ip6", gift: undefined });
    return undefined;
  }

  function settle4(learner: Learner, message: Dhcp4Message, server: IpAddress, frame = frame4(message, server)): void {
    const { exchanges } = talkOf(learner, "ip4");
    settle(learner, "ip4", answer4(message, learner.identity, exchanges, clock.now()), server, frame);
  }

  function settle6(
    learner: Learner,
    message: Dhcp6Message,
    server: IpAddress,
    frame = serverFrame6(message, RESPONDER_MAC, learner.identity.mac),
  ): void {
    const { exchanges } = talkOf(learner, "ip6");
    settle(learner, "ip6", answered6(message, exchanges, clock.now()), server, frame);
  }

  function settle(
    learner: Learner,
    family: Family,
    verdict: Verdict<IpAddress>,
    server: IpAddress,
    frame: Uint8Array,
  ): void {
    tally.add("answers");
    switch (verdict.kind) {
      case "refused":
        tally.refused(verdict.why);
        break;
      case "pass":
        queue.deliver(learner, frame);
        break;
      case "offer":
        offer(learner, family, verdict.address, frame);
        break;
      case "end":
        queue.add({ learner, family, gift: undefined, frame });
        break;
      case "bind":
        queue.add({ learner, family, gift: giftOf(learner, family, verdict, server), frame });
        break;
      default:
        unreachable(verdict);
    }
  }

  function giftOf(
    { attachment, spec }: Learner,
    family: Family,
    { address, seconds }: Extract<Verdict<IpAddress>, { kind: "bind" }>,
    server: IpAddress,
  ): Gift {
    const hostname = family === "ip4" ? hostnames.get(attachment.ifindex) : undefined;
    const by = spec.addressing.kind === "relay" ? "relay" : "snoop";
    const gift = { address, expiresAt: clock.now() + seconds * 1000, from: { by, server } } as const;
    return hostname === undefined ? gift : { ...gift, hostname };
  }

  /** What cannot be had is not even offered: the guest would ask for it in vain, and could decline it in its holder's name. */
  function offer(learner: Learner, family: Family, address: IpAddress, frame: Uint8Array): void {
    const why: Refusal | undefined = refusalOf(core, learner, address);
    if (why !== undefined) {
      tally.refusedAddress(learner.attachment, address, why);
      return;
    }
    const { offered } = talkOf(learner, family);
    offered.add(address);
    const [oldest] = offered;
    if (offered.size > OFFERS_KEPT && oldest !== undefined) offered.delete(oldest);
    queue.deliver(learner, frame);
  }

  return {
    isLearner: ({ inIfindex }) => learnerAt(inIfindex) !== undefined,
    hear,
    sweep: queue.sweep,
    sync: queue.sync,
    forget: ({ ifindex, port }) => {
      for (const family of ["ip4", "ip6"]) talks.delete(`${ifindex}/${family}`);
      hostnames.delete(ifindex);
      tally.settled(port);
    },
    view: tally.view,
    stop: async () => {
      snoop.close();
      await queue.stop();
      await relay.settled();
      relay.close();
    },
  };
}
