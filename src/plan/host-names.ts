/**
 * Whose a host name is (invariant I19), as a function of what the store says of it. Nothing here looks at a clock: whether a host is heard is the store lease's to
 * say, and whether a silent one is off is an operator's.
 */

import type { AliveRecord, HostIdentity, HostRecord } from "../model/hosts.ts";
import type { HostId } from "../model/names.ts";
import type { NicClaim } from "../model/resources.ts";

/** What stands under a name. */
export interface NameView {
  readonly record: HostRecord | undefined;
  readonly alive: AliveRecord | undefined;
  /** Whether ports are attached under it. */
  readonly holdsPorts: boolean;
}

/** `wait`: this machine before its last boot, or another that is a copy of it: the lease will tell. */
export type NameVerdict =
  | { readonly kind: "ours"; readonly instance: string }
  | { readonly kind: "wait"; readonly other: AliveRecord }
  | { readonly kind: "twin"; readonly other: HostRecord | AliveRecord; readonly isHeard: boolean };

type Own = HostIdentity & Pick<AliveRecord, "run">;

const sameHost = (a: HostIdentity, b: HostIdentity): boolean => a.instance === b.instance && a.machine === b.machine;
/** Whatever became of the state directory. */
const sameKernel = (a: HostIdentity, b: HostIdentity): boolean => a.machine === b.machine && a.epoch === b.epoch;

function whileHeard(own: Own, alive: AliveRecord, isStarting: boolean): NameVerdict {
  const ours: NameVerdict = { kind: "ours", instance: own.instance };
  if (alive.run === own.run) return ours;
  // The agent before this one is gone when this one starts; later nobody who is heard is this one.
  if (isStarting && sameHost(own, alive) && own.epoch === alive.epoch) return ours;
  if (isStarting && (sameHost(own, alive) || sameKernel(own, alive))) return { kind: "wait", other: alive };
  return { kind: "twin", other: alive, isHeard: true };
}

/** @param isStarting whether the agent has not had the name yet */
export function judgeName(own: Own, { record, alive, holdsPorts }: NameView, isStarting: boolean): NameVerdict {
  if (alive !== undefined) return whileHeard(own, alive, isStarting);
  if (record === undefined || sameHost(own, record)) return { kind: "ours", instance: own.instance };
  // A state directory that was lost: what runs in this kernel is this host's all the same.
  if (sameKernel(own, record)) return { kind: "ours", instance: record.instance };
  if (holdsPorts) return { kind: "twin", other: record, isHeard: false };
  return { kind: "ours", instance: own.instance };
}

/**
 * What an operator writes into the claim of a NIC whose host is to be forgotten: nothing opens any more under the number that host had. Undefined when the host
 * has no part in the claim.
 */
export function forgotten(claim: NicClaim | undefined, host: HostId): NicClaim | undefined {
  if (claim === undefined) return undefined;
  const { fence, holder, next } = claim;
  if (holder?.host === host)
    return next === undefined || next.host === host ? { fence: fence + 1 } : { fence: fence + 1, holder: next };
  if (next?.host !== host) return undefined;
  return holder === undefined ? { fence } : { fence, holder };
}
