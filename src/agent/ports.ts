/** What became of every attached port, and the views an operator sees of them. */
import type { Link } from "../kernel/links.ts";
import type { GuardError } from "../model/errors.ts";
import type { InterfaceName, PortPrefix } from "../model/names.ts";
import type { PortView } from "../model/operations.ts";
import type { Attachment, NicIdentity } from "../model/resources.ts";
import type { PortWish } from "../plan/host.ts";

export interface PortState {
  readonly attachment: Attachment;
  readonly state: PortView["state"];
  /** What the kernel was last asked to hold; undefined while nothing could be asked. */
  readonly wish: PortWish | undefined;
  readonly error?: GuardError;
}

export interface Ports {
  get(port: InterfaceName): PortState | undefined;
  byIndex(ifindex: number): PortState | undefined;
  set(state: PortState): void;
  delete(port: InterfaceName): void;
  list(): readonly PortState[];
}

export function createPorts(): Ports {
  const byName = new Map<InterfaceName, PortState>();
  const indexes = new Map<number, InterfaceName>();
  return {
    get: (port) => byName.get(port),
    byIndex: (ifindex) => {
      const name = indexes.get(ifindex);
      return name === undefined ? undefined : byName.get(name);
    },
    set: (state) => {
      const { port, ifindex } = state.attachment;
      const known = byName.get(port);
      if (known !== undefined && known.attachment.ifindex !== ifindex) indexes.delete(known.attachment.ifindex);
      byName.set(port, state);
      indexes.set(ifindex, port);
    },
    delete: (port) => {
      const known = byName.get(port);
      if (known !== undefined) indexes.delete(known.attachment.ifindex);
      byName.delete(port);
    },
    list: () => [...byName.values()],
  };
}

export function portView(state: PortState, nic: NicIdentity | undefined): PortView {
  const { port, ifindex, guest, nic: index, since } = state.attachment;
  return {
    port,
    ifindex,
    guest,
    nic: index,
    network: nic?.network ?? "",
    mac: nic?.mac ?? "",
    addresses4: nic?.addresses4 ?? [],
    state: state.state,
    ...(state.error === undefined ? {} : { why: `${state.error.message} (${state.error.code})` }),
    since,
  };
}

export function isGuarded(name: string, prefixes: readonly PortPrefix[]): boolean {
  return prefixes.some((prefix) => name.startsWith(prefix));
}

/** Interfaces with a guarded name and no binding: shut by the birth tables. */
export function unboundPorts(links: readonly Link[], ports: Ports, prefixes: readonly PortPrefix[]): readonly string[] {
  return links
    .filter((link) => isGuarded(link.name, prefixes) && ports.byIndex(link.ifindex) === undefined)
    .map((link) => link.name)
    .sort();
}
