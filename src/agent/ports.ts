/** What became of every attached port, and the views an operator sees of them. */
import type { Link, Links } from "../kernel/links.ts";
import type { GuardError } from "../model/errors.ts";
import type { ConditionCode } from "../model/health.ts";
import { type InterfaceName, isGuarded, type PortPrefix } from "../model/names.ts";
import type { PortView } from "../model/operations.ts";
import type { Attachment, LearnedAddressing, NicIdentity } from "../model/resources.ts";
import { someOf } from "../model/some-of.ts";
import type { PortWish } from "../plan/host.ts";
import type { Conditions } from "./conditions.ts";

export interface PortState {
  readonly attachment: Attachment;
  readonly state: PortView["state"];
  /** What the kernel was last asked to hold; undefined while nothing could be asked. */
  readonly wish: PortWish | undefined;
  readonly error?: GuardError;
  /** Of a port that let go: what goes to the next with the NIC. */
  readonly knows?: readonly string[];
}

export interface Ports {
  get(port: InterfaceName): PortState | undefined;
  byIndex(ifindex: number): PortState | undefined;
  set(state: PortState): void;
  delete(port: InterfaceName): void;
  /** The port that serves while nobody is connected at this one. */
  standInOf(port: InterfaceName): PortState | undefined;
  standIns(): readonly PortState[];
  /** Resolves at the next change of the port, or after so many milliseconds. */
  next(port: InterfaceName, milliseconds: number): Promise<void>;
  list(): readonly PortState[];
}

export function createPorts(): Ports {
  const byName = new Map<InterfaceName, PortState>();
  const indexes = new Map<number, InterfaceName>();
  const standIns = new Map<InterfaceName, InterfaceName>();
  const waiting = new Map<InterfaceName, Set<() => void>>();
  const tell = (port: InterfaceName): void => {
    for (const wake of waiting.get(port) ?? []) wake();
  };
  return {
    get: (port) => byName.get(port),
    byIndex: (ifindex) => {
      const name = indexes.get(ifindex);
      return name === undefined ? undefined : byName.get(name);
    },
    set: (state) => {
      const { port, ifindex, standsInFor } = state.attachment;
      if (standsInFor !== undefined) standIns.set(standsInFor, port);
      const known = byName.get(port);
      if (known !== undefined && known.attachment.ifindex !== ifindex) indexes.delete(known.attachment.ifindex);
      byName.set(port, state);
      indexes.set(ifindex, port);
      tell(port);
    },
    delete: (port) => {
      const known = byName.get(port);
      if (known !== undefined) indexes.delete(known.attachment.ifindex);
      const { standsInFor } = known?.attachment ?? {};
      if (standsInFor !== undefined && standIns.get(standsInFor) === port) standIns.delete(standsInFor);
      byName.delete(port);
      tell(port);
    },
    standInOf: (port) => {
      const name = standIns.get(port);
      return name === undefined ? undefined : byName.get(name);
    },
    standIns: () => [...standIns.values()].flatMap((name) => byName.get(name) ?? []),
    next: (port, milliseconds) =>
      new Promise((resolve) => {
        const wakes = waiting.get(port) ?? new Set();
        const wake = (): void => {
          clearTimeout(timer);
          wakes.delete(wake);
          if (wakes.size === 0) waiting.delete(port);
          resolve();
        };
        const timer = setTimeout(wake, milliseconds);
        waiting.set(port, wakes.add(wake));
      }),
    list: () => [...byName.values()],
  };
}

/** Of a port that is as it should be and not open. */
export const shutState = ({ prepared }: Attachment): PortState["state"] => (prepared === true ? "prepared" : "pending");

/** Of this life of the kernel, and still the interface it was. */
export const isLive = (
  { epoch, links }: { readonly epoch: string; readonly links: Pick<Links, "byIndex"> },
  attachment: Attachment,
): boolean => attachment.epoch === epoch && links.byIndex(attachment.ifindex)?.name === attachment.port;

/** What the site says of the port's NIC. */
export interface NicView {
  readonly identity: NicIdentity | undefined;
  readonly addresses6: readonly string[];
  readonly learns?: LearnedAddressing["kind"];
  /** Where the NIC is instead, or who must let go of it first. */
  readonly whereabouts?: string;
}

export function portView(state: PortState, { identity: nic, addresses6, learns, whereabouts }: NicView): PortView {
  const { port, ifindex, guest, nic: index, since } = state.attachment;
  const binding = state.wish?.binding;
  return {
    port,
    ifindex,
    guest,
    nic: index,
    network: nic?.network ?? "",
    mac: nic?.mac ?? "",
    addresses4: nic?.addresses4 ?? [],
    addresses6,
    ...(learns === undefined ? {} : { learns }),
    mode: binding?.observed === true ? "observe" : "enforce",
    unchecked: binding?.unchecked ?? [],
    state: state.state,
    ...(whereabouts === undefined ? {} : { why: whereabouts }),
    ...(state.error === undefined ? {} : { why: `${state.error.message} (${state.error.code})` }),
    since,
  };
}

/** Interfaces with a guarded name and no binding: shut by the birth tables. */
export function unboundPorts(links: readonly Link[], ports: Ports, prefixes: readonly PortPrefix[]): readonly string[] {
  return links
    .filter((link) => isGuarded(link.name, prefixes) && ports.byIndex(link.ifindex) === undefined)
    .map((link) => link.name)
    .sort();
}

/** Says what the operator has switched off, for as long as it is. */
export function tellExceptions(ports: Ports, conditions: Conditions): void {
  const states = ports.list().flatMap(({ attachment, wish }) => (wish === undefined ? [] : [{ attachment, wish }]));
  const observed = states.filter(({ wish }) => wish.binding.observed);
  const unchecked = states.filter(({ wish }) => wish.binding.unchecked.length > 0);
  const named: readonly (readonly [ConditionCode, readonly string[]])[] = [
    ["PORTS_OBSERVED", observed.map(({ attachment }) => `${attachment.port} (${attachment.guest})`)],
    [
      "LINES_UNCHECKED",
      unchecked.map(
        ({ attachment, wish }) => `${attachment.port} (${attachment.guest}): ${wish.binding.unchecked.join(" ")}`,
      ),
    ],
  ];
  for (const [code, names] of named) {
    if (names.length === 0) conditions.clear(code);
    else conditions.raise(code, someOf(names));
  }
}
