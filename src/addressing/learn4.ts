/**
 * What a guest's own DHCPv4 exchange with a server elsewhere teaches: which of its messages may go on, and what an answer means for the port. No sockets, no clock.
 * Identity comes from the port: nobody speaks for another's lease, whatever client identifier he sends.
 */
import type { IpAddress } from "../model/ip-block.ts";
import { type Ipv4Address, ipv4FromNumber } from "../model/ipv4.ts";
import type { MacAddress } from "../model/mac.ts";
import { unreachable } from "../model/never.ts";
import type { Dhcp4Message } from "../packet/dhcp4-message.ts";
import { dhcp4Options as known, readOption } from "../packet/dhcp4-options.ts";
import type { Exchanges, Wants } from "./exchanges.ts";
import { type SilenceReason, whyNot } from "./respond.ts";

const ANY: Ipv4Address = ipv4FromNumber(0);

/** Who the port is. */
export interface Learner4 {
  readonly mac: MacAddress;
  /** What it has a lease of. */
  readonly address: Ipv4Address | undefined;
  /** What it was offered and not given yet. */
  readonly offered: ReadonlySet<IpAddress>;
}

export type Question =
  | { readonly kind: "silence"; readonly why: SilenceReason }
  /** `ends`: the guest gives its address back with it. */
  | { readonly kind: "forward"; readonly wants: readonly Wants[]; readonly ends?: "released" | "declined" };

const silence = (why: SilenceReason): Question => ({ kind: "silence", why });
const forward = (...wants: readonly Wants[]): Question => ({ kind: "forward", wants });

const giveBack = (ends: "released" | "declined"): Question => ({ kind: "forward", wants: [], ends });

/** Whether a message of the guest may go to the servers. */
export function question4(message: Dhcp4Message, port: Learner4): Question {
  const refusal = whyNot(message, port);
  if (refusal !== undefined) return silence(refusal);
  const type = readOption(message.options, known.type);
  const isOwn = port.address !== undefined && message.ciaddr === port.address;
  switch (type) {
    case "discover":
      return readOption(message.options, known.rapidCommit) === undefined
        ? forward("offer")
        : forward("offer", "final");
    case "request":
      return isOwn || message.ciaddr === ANY ? forward("final") : silence("other-address");
    case "inform":
      return isOwn ? forward("facts") : silence("other-address");
    case "release":
      return isOwn ? giveBack("released") : silence("other-address");
    case "decline":
      return declined(message, port);
    case "offer":
    case "ack":
    case "nak":
      return silence("server-type");
    case undefined:
      return silence("no-type");
    default:
      return unreachable(type);
  }
}

/** Only of what this port was given or offered: with somebody else's client identifier it would take his address from him. */
function declined({ options }: Dhcp4Message, { address, offered }: Learner4): Question {
  const named = readOption(options, known.requestedAddress);
  if (named === undefined) return silence("no-address");
  if (named === address) return giveBack("declined");
  return offered.has(named) ? forward() : silence("other-address");
}

/** Why an answer of a server is dropped; `says` is for people. */
export const refusals = {
  malformed: "no whole DHCP message",
  "other-server": "not from a server of the network",
  "other-port": "for another port",
  "not-asked": "answers no open question of the guest, comes too late or a second time",
  "no-lease-time": "gives an address without saying for how long",
  "out-of-range": "gives an address outside the network's range",
  gateway: "gives the gateway's address",
  "host-address": "gives an address of this host",
  taken: "gives an address that somebody else has",
  journal: "gives an address that could not be written down or enforced",
  full: "more than the port's share",
} as const satisfies Record<string, string>;
export type Refusal = keyof typeof refusals;

export type Verdict<A> =
  | { readonly kind: "refused"; readonly why: Refusal }
  | { readonly kind: "pass" }
  | { readonly kind: "offer"; readonly address: A }
  /** To be durable and enforced before the guest hears of it. */
  | { readonly kind: "bind"; readonly address: A; readonly seconds: number }
  | { readonly kind: "end" };

const refused = (why: Refusal): { readonly kind: "refused"; readonly why: Refusal } => ({ kind: "refused", why });

/** What an answer of an authorised server means for the port. A final one answers its question. */
export function answer4(
  message: Dhcp4Message,
  { mac }: Pick<Learner4, "mac">,
  exchanges: Exchanges,
  now: number,
): Verdict<Ipv4Address> {
  const { op, chaddr, xid, yiaddr, options } = message;
  if (op !== "reply") return refused("malformed");
  if (chaddr !== mac) return refused("other-port");
  const type = readOption(options, known.type);
  const awaits = (answer: Wants): boolean => exchanges.awaits(xid, answer, now);
  if (type === "offer") return awaits("offer") ? { kind: "offer", address: yiaddr } : refused("not-asked");
  if (type === "ack" && yiaddr === ANY) return awaits("facts") ? { kind: "pass" } : refused("not-asked");
  if ((type !== "ack" && type !== "nak") || !awaits("final")) return refused("not-asked");
  exchanges.answered(xid);
  if (type === "nak") return { kind: "end" };
  const seconds = readOption(options, known.leaseTime);
  return seconds === undefined || seconds === 0 ? refused("no-lease-time") : { kind: "bind", address: yiaddr, seconds };
}
