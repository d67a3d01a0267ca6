/** Hosts of a fleet as the store knows them: whose a host name is, and whether its agent is heard. */

/** Which machine an agent runs on, and in which of its lives. */
export interface HostIdentity {
  /** Made once and kept in the state directory of the agent. */
  readonly instance: string;
  /** The machine's own id (machine-id(5)). A copy of its disk has both. */
  readonly machine: string;
  /** Boot and network namespace: what a copy that was booted does not have. */
  readonly epoch: string;
}

/** Durable: whose the name is. */
export interface HostRecord extends HostIdentity {
  /** Of the agent that was heard last. */
  readonly version: string;
  /** Since when the name is this host's, in milliseconds since the Unix epoch. */
  readonly since: number;
  /** Since when it takes no new NICs. */
  readonly draining?: number;
}

/** Under a store lease, which the agent keeps alive: it is heard. */
export interface AliveRecord extends HostIdentity {
  /** Of one process. */
  readonly run: string;
  readonly version: string;
  /** Where the machine is found, as far as it knows. */
  readonly address?: string;
  readonly since: number;
}

export const hostStates = ["up", "draining", "silent", "unknown"] as const;
/**
 * `draining`: up, and takes no new NICs. `silent`: not heard; its ports go on as they were. `unknown`: it has ports and no record (its agent is older than
 * records of hosts), or the store that would know is away.
 */
export type HostState = (typeof hostStates)[number];

/** Beyond its lease a host is silent; three of its signs may be lost. */
export const heartbeat = { ttlSeconds: 15, everyMs: 5_000 } as const;
