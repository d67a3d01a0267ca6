/**
 * Connections the kernel still knows though they may not be, or nobody is there any more: of revoked rules and detached NICs. That they are cut does not
 * depend on this (every packet is judged); what is left would only take room, and a guest that gets the address later must not inherit it.
 */

import type { Conntrack, Flow } from "../kernel/conntrack.ts";
import { blockHolds } from "../model/ip-block.ts";
import type { IpBlock } from "../model/resources.ts";
import type { HostWish } from "../plan/host.ts";
import { misledBy } from "../plan/nat.ts";
import { leftBy, revokedBy } from "../plan/policy-flows.ts";

export interface FlowSweeper {
  /** After rules changed. Returns how many were removed. */
  revoked(wish: HostWish): number;
  /** NICs are judged no more. */
  opened(sources: readonly IpBlock[], wish: HostWish): void;
  /** A NIC is gone: its flows go in a while, together with those of others that go now. */
  departed(sources: readonly IpBlock[]): void;
  stop(): void;
}

/** Many guests go at once when a host is emptied; the table of connections is read once for all of them. */
const GATHER_MS = 100;
/** The zone of everything that is not put into another one. */
const ZONE = 0;

export function createFlowSweeper(conntrack: Conntrack | undefined, failed: (error: unknown) => void): FlowSweeper {
  let gone: IpBlock[] = [];
  let timer: NodeJS.Timeout | undefined;

  function sweep(unwanted: (flow: Flow) => boolean): number {
    if (conntrack === undefined) return 0;
    let removed = 0;
    try {
      for (const flow of [...conntrack.flows(ZONE)].filter(unwanted)) if (conntrack.remove(flow)) removed += 1;
    } catch (error) {
      failed(error);
    }
    return removed;
  }

  function sweepGone(): void {
    const blocks = gone;
    gone = [];
    const isGone = (address: Flow["from"]): boolean => blocks.some((block) => blockHolds(block, address));
    sweep(({ from, to, reply }) => isGone(from) || isGone(to) || (reply !== undefined && isGone(reply.from)));
  }

  return {
    revoked: (wish) => {
      const [isRevoked, isMisled] = [revokedBy(wish), misledBy(wish)];
      return sweep((flow) => isRevoked(flow) || isMisled(flow));
    },
    opened: (sources, wish) => {
      if (sources.length > 0) sweep(leftBy(sources, wish));
    },
    departed: (sources) => {
      if (conntrack === undefined || sources.length === 0) return;
      gone.push(...sources);
      clearTimeout(timer);
      timer = setTimeout(sweepGone, GATHER_MS);
      timer.unref();
    },
    stop: () => {
      clearTimeout(timer);
      if (gone.length > 0) sweepGone();
    },
  };
}
