/** What the agent does for its callers; the API carries exactly this. Values are plain JSON. */

import type { CapabilityView, PolicyShape } from "./capabilities.ts";
import type { HostState } from "./hosts.ts";
import type { Direction, Reason } from "./reasons.ts";
import type { Kind, Resource } from "./resources.ts";
import type { StateLine } from "./state.ts";
import type { WatchEvent, WatchKind } from "./watch.ts";

/** One object as the API shows it: what was asked for and what is. */
export interface ObjectView {
  readonly kind: Kind;
  readonly name: string;
  readonly spec: unknown;
  readonly status: unknown;
}

/** One line of a plan: what would change or has changed, as a sentence. */
export interface ChangeView {
  readonly action: "create" | "update" | "delete" | "unchanged";
  readonly kind: Kind;
  readonly name: string;
  /** Such as "guest web1: assign 203.0.113.10 (fe:00:cb:00:71:0a) on lan0". */
  readonly sentences: readonly string[];
}

export interface PortView {
  readonly port: string;
  readonly ifindex: number;
  readonly guest: string;
  readonly nic: number;
  readonly network: string;
  readonly mac: string;
  readonly addresses4: readonly string[];
  readonly addresses6: readonly string[];
  /** Its addresses are another DHCP server's to give. */
  readonly learns?: "relay" | "snoop";
  /** observe: what should be dropped is counted and let by. */
  readonly mode: "enforce" | "observe";
  /** Lines of the contract that the operator switched off for this NIC. */
  readonly unchecked: readonly string[];
  /**
   * applied: the kernel holds what it should, read back. failed: the port is shut, `why` says so. prepared: it is shut until it is asked to take its NIC.
   * moved: it is shut because another port has its NIC now. standby: it is shut because the other of its NIC's two ports serves.
   */
  readonly state: "applied" | "pending" | "prepared" | "failed" | "moved" | "standby";
  readonly why?: string;
  readonly since: number;
}

export interface ConditionView {
  readonly code: string;
  readonly severity: "info" | "warning" | "error";
  readonly text: string;
  readonly since: number;
}

export interface StatusView {
  readonly host: string;
  readonly version: string;
  readonly startedAt: number;
  /** True when no condition of severity error stands. */
  readonly healthy: boolean;
  readonly conditions: readonly ConditionView[];
  readonly portPrefixes: readonly string[];
  readonly ports: readonly PortView[];
  /** Interfaces with a guarded prefix and no binding: closed. */
  readonly unbound: readonly string[];
  readonly learning: LearningView;
  /** What vifguard changed of the host's interfaces so that it routes for its guests. */
  readonly settings: readonly SettingView[];
  readonly kernel: {
    readonly release: string;
    readonly nft: string;
    readonly guard: string;
    /** How the guard is built on this kernel. */
    readonly shape: string;
    /** How groups that need connection state are enforced on it. */
    readonly policy: PolicyShape;
    readonly capabilities: readonly CapabilityView[];
  };
  readonly store: { readonly kind: string; readonly revision: number };
  /** How many hosts of the fleet are in which state, this one among them. */
  readonly hosts: Readonly<Record<HostState, number>>;
  readonly dhcp: DhcpCounts;
}

/** Of this host's responder, both families, since the agent started. Every message received ends in exactly one of offers to dropped. */
export interface DhcpCounts {
  readonly received: number;
  readonly offers: number;
  readonly acks: number;
  readonly naks: number;
  /** RELEASE and DECLINE that were made durable; those of DHCPv6 are answered. */
  readonly notes: number;
  /** By the reason that no answer was due. */
  readonly silent: Readonly<Record<string, number>>;
  /** Frames that hold no DHCP message, by what is wrong with them. */
  readonly malformed: Readonly<Record<string, number>>;
  /** Answers that were due and not given, by reason. */
  readonly dropped: Readonly<Record<string, number>>;
  readonly commits: number;
  readonly journalFailures: number;
  /** How often the kernel could not hand over everything. */
  readonly lost: number;
}

export interface DropCount {
  readonly port: string;
  readonly guest: string | undefined;
  readonly direction: Direction;
  readonly reason: Reason;
  readonly packets: number;
  readonly bytes: number;
  /** The port is only observed now: such frames are let by. */
  readonly observed: boolean;
}

/** A sampled dropped frame. */
export interface DropEvent {
  readonly at: number;
  readonly port: string;
  readonly guest: string | undefined;
  readonly direction: Direction;
  readonly reason: Reason;
  /** It was let by: the port is only observed. */
  readonly observed: boolean;
  /** One line: the decoded frame. */
  readonly frame: string;
}

/** A setting of one interface that vifguard changed; it is put back when no port needs it any more. */
export interface SettingView {
  readonly device: string;
  /** Below /proc/sys, such as `net/ipv4/conf/eth0/forwarding`. */
  readonly setting: string;
  readonly value: number;
  readonly was: number;
  readonly why: string;
}

/** DHCP on ports whose addresses are learned, since the agent started. */
export interface LearningView {
  readonly questions: number;
  readonly answers: number;
  /** Addresses that were given and renewed, and given back or taken. */
  readonly bound: number;
  readonly ended: number;
  /** How often the kernel could not hand over everything. */
  readonly lost: number;
  /** Questions of guests that went no further, by why. */
  readonly silent: Readonly<Record<string, number>>;
  /** Answers that no guest got, by why. */
  readonly refused: Readonly<Record<string, number>>;
}

export interface LeaseView {
  readonly network: string;
  readonly address: string;
  readonly guest: string;
  readonly nic: number;
  readonly mac: string;
  readonly state: "bound" | "released" | "declined" | "expired";
  readonly expiresAt: number;
  readonly hostname?: string;
  /** Given by another DHCP server, and how that is known. */
  readonly learned?: { readonly by: "relay" | "snoop"; readonly server: string };
}

/** What a guest gave up and nobody else is given yet. */
export interface CoolingView {
  /** `network/address`, or a MAC. */
  readonly what: string;
  /** Who had it last. */
  readonly guest: string;
  readonly nic: number;
  /** About when it is free, by the clock of the host where it was given up. */
  readonly until: string;
}

/** To addresses of a guest of a routed network, as the routers of the LAN should have it. */
export interface RouteView {
  /** With its length: `203.0.113.10/32`. */
  readonly prefix: string;
  readonly network: string;
  readonly guest: string;
  readonly nic: number;
  /** Where the guest is attached, if anywhere. */
  readonly host?: string;
  /** Of this host: the kernel has the route, to this port. */
  readonly port?: string;
  /** This host's address towards the LAN, in the family of the prefix. */
  readonly via?: string;
}

export interface HostPort {
  readonly port: string;
  readonly guest: string;
  readonly nic: number;
}

/** A host of the fleet. */
export interface HostView {
  readonly name: string;
  readonly state: HostState;
  /** Also of one that is silent. */
  readonly isDraining: boolean;
  /** Since when it is so, as far as this agent knows. */
  readonly since?: number;
  /** Of its agent, when it was heard last. */
  readonly version?: string;
  readonly address?: string;
  readonly ports: number;
  /** Those ports one by one: of a host that is draining, or was asked for by name. */
  readonly attached?: readonly HostPort[];
}

export interface ForgottenView {
  readonly name: string;
  /** What may be attached elsewhere now. */
  readonly released: readonly HostPort[];
}

/** A question about frames at one port: as a phrase, or byte by byte. */
export interface ExplainQuestion {
  /** A port, or `guest` or `guest/nic`. */
  readonly target: string;
  readonly direction: Direction;
  readonly phrase?: string;
  /** In hexadecimal digits. */
  readonly frames?: readonly string[];
}

/** What becomes of one frame, and why. */
export interface ExplanationView {
  /** answered: a responder of the host takes it off the wire and answers on the port. */
  readonly verdict: "pass" | "answered" | "drop";
  /** Such as "dropped: arp-sender – 10.0.0.1 is not an address of web1/0 (10.0.0.5)". */
  readonly sentence: string;
  readonly direction: Direction;
  /** The line of the contract that stops it; absent when none does. `section` is where in the contract it stands. */
  readonly line?: { readonly reason: Reason; readonly section: number; readonly says: string };
  /** What decided besides the frame itself: something of the NIC, the network or the host, that is there (`holds`) or missing. */
  readonly object?: { readonly what: string; readonly set: string; readonly key: string; readonly holds: boolean };
  /** The line would stop it, but the NIC is only observed. */
  readonly observed: boolean;
  /** Lines that would have stopped it and are switched off for this NIC. */
  readonly waived: readonly Reason[];
  readonly answeredBy?: "dhcp" | "neighbours" | "leases";
  /** Chains of the ruleset it went through; the last one decided. */
  readonly chains: readonly string[];
  /** One line: the decoded frame. */
  readonly frame: string;
  readonly hex: string;
}

export interface ExplainAnswer {
  /** Such as `web1/0`; absent when the port is nobody's. */
  readonly nic?: string;
  readonly port?: string;
  readonly network?: string;
  /** What is not known here, or was assumed. */
  readonly notes: readonly string[];
  readonly frames: readonly ExplanationView[];
}

/** May one flow be opened? Asked of the service policy of both ends, not of a frame. */
export interface FlowQuestion {
  /** `web1`, `web1/0` or an address. */
  readonly from: string;
  /** The same with what the flow is opened to: `db1:5432/tcp`, `db1/1/icmp`, `[2001:db8::7]:443/tcp`. */
  readonly to: string;
}

export interface FlowEndView {
  readonly end: "from" | "to";
  /** All that may have the address, such as `web1/0`; empty when it is no guest's: nothing here judges it. */
  readonly nics: readonly string[];
  readonly address: string;
  readonly verdict: "allowed" | "dropped" | "not-judged";
  /** It would be dropped, but the NIC is only observed. */
  readonly observed: boolean;
  readonly reason?: Reason;
  /** What allows: the group, and its rule in the words of a site file; without a rule the group names no egress. */
  readonly group?: string;
  readonly rule?: string;
  readonly sentence: string;
}

export interface FlowView {
  readonly verdict: "pass" | "drop";
  readonly sentence: string;
  /** Such as `tcp 5432`. */
  readonly service: string;
  readonly ends: readonly FlowEndView[];
}

export interface FlowAnswer {
  readonly notes: readonly string[];
  /** One for each family that both ends have. */
  readonly flows: readonly FlowView[];
}

/** NICs that the policy cannot tell apart; `others` is everybody who is no guest. */
export interface MatrixClass {
  readonly name: string;
  readonly network?: string;
  readonly groups: readonly string[];
  readonly nics: readonly string[];
}

/** Who may open flows to whom, on what. */
export interface MatrixView {
  readonly classes: readonly MatrixClass[];
  /** Only of those who may open anything. */
  readonly cells: readonly { readonly from: string; readonly to: string; readonly services: readonly string[] }[];
}

export const moveKinds = ["prepare", "ask", "force"] as const;
/**
 * `prepare`: the rules go in and the port stays shut, nobody is asked. `ask`: the port that has the NIC lets go first. `force`: it is asked, and when it does not
 * answer the NIC is taken all the same.
 */
export type MoveKind = (typeof moveKinds)[number];

export interface AttachRequest {
  readonly port: string;
  readonly guest: string;
  readonly nic?: number;
  /** Without it a NIC that another port has is refused. */
  readonly move?: MoveKind;
  /** A port of this host that has the NIC, for which this one serves while the guest is not connected there: of the two one is open. */
  readonly standsInFor?: string;
}

/** All methods throw GuardError for what an operator can mend. */
export interface Operations {
  /** Validated resources; everything or nothing. With `dryRun` nothing is touched. */
  apply(resources: readonly Resource[], options: { readonly dryRun: boolean }): Promise<readonly ChangeView[]>;
  /** `here`: only what this host's ports have to do with. */
  list(kind: Kind, of?: { readonly here?: boolean }): Promise<readonly ObjectView[]>;
  get(kind: Kind, name: string): Promise<ObjectView>;
  remove(kind: Kind, name: string): Promise<ChangeView>;
  /** Without `nic`: the guest's first NIC that is not attached. Returns when the link is up and read back, or throws with the port shut. */
  attach(request: AttachRequest): Promise<PortView>;
  /** Detaching what is not attached is fine and answers false. */
  detach(port: string): Promise<{ readonly detached: boolean }>;
  status(): Promise<StatusView>;
  drops(filter: { readonly guest?: string; readonly port?: string }): Promise<readonly DropCount[]>;
  /** Sampled dropped frames from now on, until the signal aborts. */
  followDrops(
    filter: { readonly guest?: string; readonly port?: string },
    signal: AbortSignal,
  ): AsyncIterable<DropEvent>;
  leases(filter: { readonly network?: string }, of?: { readonly here?: boolean }): Promise<readonly LeaseView[]>;
  releaseLease(network: string, address: string): Promise<LeaseView>;
  cooling(): Promise<readonly CoolingView[]>;
  /** Frees one now, with the MACs of its former guest that spell it. */
  endCooling(what: string): Promise<readonly CoolingView[]>;
  /** Of every guest of a routed network, attached or not. */
  routes(): Promise<readonly RouteView[]>;
  /** Judged by the rules, with what the kernel holds now; nothing is sent. */
  explain(question: ExplainQuestion): Promise<ExplainAnswer>;
  /** Of the fleet. */
  hosts(filter: { readonly name?: string }): Promise<readonly HostView[]>;
  /** From then on nothing new is attached there; what is there stays. */
  drainHost(name: string, options: { readonly undo: boolean }): Promise<HostView>;
  /** Of one that is silent: its name and its NICs are free. `force`: though it has NICs, because it is off for certain. */
  forgetHost(name: string, options: { readonly force: boolean }): Promise<ForgottenView>;
  explainFlow(question: FlowQuestion): Promise<FlowAnswer>;
  /** Everything that the store holds, at one revision. */
  exportState(): AsyncIterable<StateLine>;
  /** Changes from now on, until the signal aborts; of all kinds when none is named. */
  watch(kinds: readonly WatchKind[], signal: AbortSignal): AsyncIterable<WatchEvent>;
  policyMatrix(filter: { readonly network?: string }): Promise<MatrixView>;
}
