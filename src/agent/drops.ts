/** Who was stopped, how often and why: counters read from the kernel, and a decoded sample of the frames. */
import type { Frames, LoggedFrame } from "../kernel/frames.ts";
import type { Nft } from "../kernel/nft.ts";
import type { Clock } from "../model/clock.ts";
import type { DropCount, DropEvent } from "../model/operations.ts";
import { type Direction, type Reason, reasonFromCode } from "../model/reasons.ts";
import { decodeFrame } from "../packet/frame.ts";
import { summarise } from "../packet/summary.ts";
import { portOfMark } from "../ruleset/brouted-elements.ts";
import { hostU32At } from "../ruleset/element-bytes.ts";
import { logGroups } from "../ruleset/parts.ts";
import { readTag } from "../ruleset/policy-elements.ts";
import type { PolicyTag } from "../ruleset/policy-parts.ts";
import { createFanOut } from "./fan-out.ts";

/** Whose port an interface index is, as far as anybody knows. */
export type PortLookup = (ifindex: number) => {
  readonly port: string;
  readonly guest: string | undefined;
  readonly observed: boolean;
};

export interface Drops {
  counts(): readonly DropCount[];
  follow(signal: AbortSignal): AsyncIterable<DropEvent>;
  close(): void;
}

export interface DropsParts {
  readonly nft: Nft;
  readonly frames: Frames;
  readonly table: string;
  readonly clock: Clock;
  readonly portOf: PortLookup;
  /** Told of every sampled frame; the kernel has limited them to 5/s a port and 200/s in all. */
  readonly sampled: (event: DropEvent) => void;
}

/** Counted by port alone, each set for one reason. */
const portSets = [
  ...(["bridge", "inet", "arp"] as const).flatMap((family) => [
    { family, set: "closed_from", direction: "from-guest", reason: "unbound" } as const,
    { family, set: "closed_to", direction: "to-guest", reason: "unbound" } as const,
  ]),
  { family: "bridge", set: "host_from", direction: "from-guest", reason: "host" } as const,
  { family: "inet", set: "astray_from", direction: "from-guest", reason: "astray" } as const,
  { family: "inet", set: "asked_from", direction: "from-guest", reason: "rate-arp" } as const,
  { family: "inet", set: "astray_to", direction: "to-guest", reason: "astray" } as const,
  { family: "inet", set: "untranslated_from", direction: "from-guest", reason: "untranslated" } as const,
  { family: "inet", set: "untranslated_to", direction: "to-guest", reason: "untranslated" } as const,
  { family: "bridge", set: "unrouted_from", direction: "from-guest", reason: "astray" } as const,
  { family: "bridge", set: "unjudged_from", direction: "from-guest", reason: "conn-state" } as const,
  { family: "bridge", set: "unjudged_to", direction: "to-guest", reason: "conn-state" } as const,
];

/** What the service policy refuses, in the words of the contract. */
const policyLines: Readonly<Record<PolicyTag, { readonly direction: Direction; readonly reason: Reason }>> = {
  "policy-egress": { direction: "from-guest", reason: "policy-egress" },
  "policy-ingress": { direction: "to-guest", reason: "policy-ingress" },
  "limit-from": { direction: "from-guest", reason: "conn-limit" },
  "limit-to": { direction: "to-guest", reason: "conn-limit" },
  "rate-from": { direction: "from-guest", reason: "rate-syn" },
  "stray-from": { direction: "from-guest", reason: "conn-state" },
  "stray-to": { direction: "to-guest", reason: "conn-state" },
};

export function startDrops(parts: DropsParts): Drops {
  const { nft, frames, table, clock, portOf, sampled } = parts;
  const followers = createFanOut<DropEvent>(1000);

  function count(
    ifindex: number,
    direction: Direction,
    reason: Reason,
    held: { packets: bigint; bytes: bigint },
  ): DropCount {
    return { ...portOf(ifindex), direction, reason, packets: Number(held.packets), bytes: Number(held.bytes) };
  }

  function guardCounts(set: string, direction: Direction): DropCount[] {
    return (nft.elements({ family: "netdev", table, set }) ?? []).flatMap((element) => {
      const reason = reasonFromCode(hostU32At(element.key, 4));
      return reason === undefined ? [] : [count(hostU32At(element.key, 0), direction, reason, element)];
    });
  }

  function policyCounts(): DropCount[] {
    return (["inet", "bridge"] as const).flatMap((family) =>
      (nft.elements({ family, table, set: "policy_drops" }) ?? []).flatMap((element) => {
        const { tag, ifindex } = readTag(hostU32At(element.key, 0));
        if (tag === undefined) return [];
        const { direction, reason } = policyLines[tag];
        return [count(ifindex, direction, reason, element)];
      }),
    );
  }

  function portCounts(): DropCount[] {
    return portSets.flatMap(({ family, set, direction, reason }) =>
      (nft.elements({ family, table, set }) ?? []).map((element) =>
        count(hostU32At(element.key, 0), direction, reason, element),
      ),
    );
  }

  function broutedCounts(): DropCount[] {
    return (nft.elements({ family: "inet", table, set: "brouted_astray" }) ?? []).map((element) =>
      count(portOfMark(hostU32At(element.key, 0)), "from-guest", "astray", element),
    );
  }

  function sample(frame: LoggedFrame, direction: Direction): void {
    const reason = reasonFromCode(frame.mark);
    if (reason !== undefined)
      tell(frame, direction, reason, direction === "from-guest" ? frame.inIfindex : frame.outIfindex);
  }

  function samplePolicy(frame: LoggedFrame): void {
    const { tag, ifindex } = readTag(frame.mark);
    if (tag !== undefined) tell(frame, policyLines[tag].direction, policyLines[tag].reason, ifindex);
  }

  function tell(frame: LoggedFrame, direction: Direction, reason: Reason, ifindex: number): void {
    const event: DropEvent = {
      at: clock.now(),
      ...portOf(ifindex),
      direction,
      reason,
      frame: summarise(decodeFrame(frame.bytes)),
    };
    sampled(event);
    followers.publish(event);
  }

  const listen = (group: number, take: (frame: LoggedFrame) => void): { close(): void } =>
    frames.subscribe(
      group,
      (batch) => {
        for (const frame of batch) take(frame);
      },
      // Samples that were lost are only samples; the counters have them.
      () => undefined,
    );
  const subscriptions = [
    listen(logGroups.dropsFromGuest, (frame) => sample(frame, "from-guest")),
    listen(logGroups.dropsToGuest, (frame) => sample(frame, "to-guest")),
    listen(logGroups.policy, samplePolicy),
  ];

  return {
    counts: () =>
      merge([
        ...guardCounts("drops_from", "from-guest"),
        ...guardCounts("drops_to", "to-guest"),
        ...policyCounts(),
        ...portCounts(),
        ...broutedCounts(),
      ]),
    follow: (signal) => followers.follow(signal),
    close: () => {
      for (const subscription of subscriptions) subscription.close();
    },
  };
}

/** The same port and reason may be counted in several families; an operator wants one line. */
function merge(counts: readonly DropCount[]): readonly DropCount[] {
  const lines = new Map<string, DropCount>();
  for (const line of counts) {
    const key = `${line.port}/${line.direction}/${line.reason}`;
    const known = lines.get(key);
    lines.set(
      key,
      known === undefined ? line : { ...known, packets: known.packets + line.packets, bytes: known.bytes + line.bytes },
    );
  }
  return [...lines.values()].sort((a, b) => a.port.localeCompare(b.port) || b.packets - a.packets);
}
