/** What the kernel should hold for this host, and the smallest transaction that gets it there from what it holds. */

import type { BridgePortFlags, FdbEntry, Link } from "../kernel/links.ts";
import type { Element, HeldElement, HeldPortChain, NftChange, PortChain, SetRef } from "../kernel/nft.ts";
import { bytesText } from "../model/bytes.ts";
import type { MacAddress } from "../model/mac.ts";
import type { InterfaceName } from "../model/names.ts";
import { HOST_PORT_MAC } from "../model/wiring.ts";
import { type Brouter, brouterElements } from "../ruleset/brouted-elements.ts";
import type { PlacedElement } from "../ruleset/element-bytes.ts";
import { macsOf, type NetworkFacts, networkElements, type PortBinding, portElements } from "../ruleset/elements.ts";
import { entryChains } from "../ruleset/guard.ts";
import {
  type JudgedBridge,
  judgedBridgeElements,
  type PolicyFacts,
  policyElements,
} from "../ruleset/policy-elements.ts";
import type { PolicyFamily } from "../ruleset/policy-sets.ts";
import { onLinkElements } from "../ruleset/way-elements.ts";
import type { Announced } from "./announcement.ts";
import type { RoutedWish } from "./routed.ts";

/** One attached port as it should be. */
export interface PortWish {
  readonly port: InterfaceName;
  readonly binding: PortBinding;
  /** ifindex of the bridge of its network; 0 for a port that is in none. */
  readonly bridge: number;
  /** Whether multicast is for it at all: neighbour solicitations of IPv6, or groups the network allows. */
  readonly hearsGroups: boolean;
  /** What a routed port needs besides. */
  readonly routed?: RoutedWish;
  /** What a brouted port needs of its bridge besides. */
  readonly brouted?: RoutedWish;
  /** What the LAN of a bridge is told when the port opens. */
  readonly announced?: Announced;
  /** Another host still answers for the NIC: rules in, link down, in no bridge and without a route. */
  readonly waits?: true;
  /** Its bridge, or the routed port itself, when what passes there must be judged or kept out of connection tracking. */
  readonly judged?: JudgedBridge;
}

/** What the host is to know so that it routes for the port, in a bridge or in none. */
export const routingOf = (wish: Pick<PortWish, "routed" | "brouted"> | undefined): RoutedWish | undefined =>
  wish?.routed ?? wish?.brouted;

export interface HostWish {
  readonly ports: readonly PortWish[];
  readonly networks: readonly NetworkFacts[];
  /** Security groups of the site, and in which families they are judged here. */
  readonly policy: { readonly families: readonly PolicyFamily[]; readonly facts: PolicyFacts };
}

/** What was read back: the sets the agent fills, and the chains of single ports. */
export interface HeldGuard {
  readonly sets: readonly { readonly set: SetRef; readonly elements: readonly HeldElement[] }[];
  readonly chains: readonly HeldPortChain[];
}

/** Every chain of a single port begins so; `/` stands in no other name of ours. */
export const portChainPrefix = { ingress: "in/", egress: "out/" } as const;

export function portChains(table: string, port: InterfaceName, binding?: PortBinding): readonly PortChain[] {
  return (["ingress", "egress"] as const).map((hook) => ({
    family: "netdev",
    table,
    chain: portChainPrefix[hook] + port,
    hook,
    device: port,
    priority: 0,
    target: hook === "ingress" && binding?.learns === true ? entryChains.learner : entryChains[hook],
  }));
}

/** True when the held chain judges exactly what it should. */
export function isPortChain(wanted: PortChain, held: HeldPortChain | undefined): boolean {
  return (
    held !== undefined &&
    held.chain === wanted.chain &&
    held.hook === wanted.hook &&
    held.policy === "drop" &&
    held.target === wanted.target &&
    held.devices.length === 1 &&
    held.devices[0] === wanted.device
  );
}

const keyText = (bytes: Uint8Array | undefined): string => (bytes === undefined ? "" : bytesText(bytes));
export const setText = (set: { family: string; set: string }): string => `${set.family}/${set.set}`;
const elementText = (element: Element): string => `${keyText(element.key)}|${keyText(element.keyEnd)}`;

/** Elements by set, each once, even where two wishes name the same (a gateway of two networks). */
export function bySet(placed: Iterable<PlacedElement>): ReadonlyMap<string, ReadonlyMap<string, Element>> {
  const sets = new Map<string, Map<string, Element>>();
  for (const { family, set, ...element } of placed) {
    const text = setText({ family, set });
    const known = sets.get(text) ?? new Map<string, Element>();
    sets.set(text, known.set(elementText(element), element));
  }
  return sets;
}

function* wishedElements(wish: HostWish): Iterable<PlacedElement> {
  const { families, facts } = wish.policy;
  for (const network of wish.networks) yield* networkElements(network);
  yield* onLinkElements(wish.networks);
  yield* policyElements(families, facts);
  for (const bridge of judgedBridges(wish)) yield* judgedBridgeElements(bridge);
  for (const bridge of broutersOf(wish)) yield* brouterElements(bridge);
  for (const port of wish.ports) yield* portElements(port.binding);
}

/** Bridges by which the host routes for guests, each once. */
export function broutersOf({ ports }: Pick<HostWish, "ports">): readonly Brouter[] {
  const found = ports.flatMap(({ binding: { brouter } }) => (brouter === undefined ? [] : [brouter]));
  return [...new Map(found.map((brouter) => [brouter.ifindex, brouter])).values()];
}

/** What one port needs of its bridge, the others need not take away. */
export function judgedBridges({ ports }: Pick<HostWish, "ports">): readonly JudgedBridge[] {
  const bridges = new Map<string, JudgedBridge>();
  for (const { judged } of ports) {
    if (judged === undefined) continue;
    const families = new Set([...(bridges.get(judged.name)?.families ?? []), ...judged.families]);
    bridges.set(judged.name, { ...judged, families: [...families].sort() });
  }
  return [...bridges.values()];
}

/**
 * NICs that were not judged before may go on with what they had begun: their flows are known from the middle on, for the minute that these elements stand.
 * @param changes of the same transaction
 */
export function midstreamChanges(changes: readonly NftChange[]): readonly NftChange[] {
  // One whose share only changes is taken out and put back in the same transaction.
  const judgedBefore = new Set(
    changes.flatMap((change) =>
      change.op === "delete-elements" && change.set.set === "flows"
        ? change.elements.map(({ key }) => keyText(key))
        : [],
    ),
  );
  return changes.flatMap((change): NftChange[] => {
    if (change.op !== "add-elements" || change.set.set !== "flows") return [];
    const elements = change.elements.filter(({ key }) => !judgedBefore.has(keyText(key))).map(({ key }) => ({ key }));
    return elements.length === 0 ? [] : [{ op: "add-elements", set: { ...change.set, set: "midstream" }, elements }];
  });
}

export function setChanges(
  set: SetRef,
  wanted: ReadonlyMap<string, Element>,
  held: readonly HeldElement[],
): NftChange[] {
  const missing = new Map(wanted);
  const extra: Element[] = [];
  for (const element of held) {
    const text = elementText(element);
    const wish = missing.get(text);
    if (wish !== undefined && sameMeaning(wish, element)) missing.delete(text);
    else extra.push(bareElement(element));
  }
  const changes: NftChange[] = [];
  if (extra.length > 0) changes.push({ op: "delete-elements", set, elements: extra });
  if (missing.size > 0) changes.push({ op: "add-elements", set, elements: [...missing.values()] });
  return changes;
}

/** Same data, same share and as many connections; the keys are known to be the same. */
export function sameMeaning(wanted: Element, held: Element): boolean {
  const [a, b] = [wanted.limit, held.limit];
  return (
    keyText(wanted.data) === keyText(held.data) &&
    a?.unit === b?.unit &&
    a?.perSecond === b?.perSecond &&
    a?.burst === b?.burst &&
    wanted.connections === held.connections
  );
}

/** The element as a deletion names it: its key, no data. */
export function bareElement(element: Element): Element {
  return element.keyEnd === undefined ? { key: element.key } : { key: element.key, keyEnd: element.keyEnd };
}

function chainChanges(table: string, wish: HostWish, held: readonly HeldPortChain[]): NftChange[] {
  const heldByName = new Map(held.map((chain) => [chain.chain, chain]));
  const changes: NftChange[] = [];
  const additions: NftChange[] = [];
  for (const port of wish.ports) {
    for (const chain of portChains(table, port.port, port.binding)) {
      const present = heldByName.get(chain.chain);
      if (!isPortChain(chain, present)) additions.push({ op: "add-port-chain", chain });
      else heldByName.delete(chain.chain);
    }
  }
  for (const chain of heldByName.keys())
    changes.push({ op: "delete-port-chain", chain: { family: "netdev", table, chain } });
  return [...changes, ...additions];
}

/**
 * A bridge is known to the rules before it hands over its first frame, and as long as it does: otherwise flows of open NICs would be tracked from the middle on,
 * by whichever packet comes first.
 */
export function aroundBridges(changes: readonly NftChange[]): {
  readonly before: readonly NftChange[];
  readonly main: readonly NftChange[];
  readonly after: readonly NftChange[];
} {
  const isOf = (change: NftChange, op: "add-elements" | "delete-elements"): boolean =>
    change.op === op && (change.set.set === "bridges" || change.set.set === "bridge_macs");
  const before = changes.filter((change) => isOf(change, "add-elements"));
  const after = changes.filter((change) => isOf(change, "delete-elements"));
  return { before, main: changes.filter((change) => !before.includes(change) && !after.includes(change)), after };
}

/** What flows are judged and led by: a class that changed, a rule or a public address that is no more. */
const JUDGED_BY = /^(?:class|out_|in_|service|protocols|public4|leaves4|masqueraded4|itself4)/;

export function mayRevoke(change: NftChange): boolean {
  return change.op === "delete-elements" && change.set.family !== "netdev" && JUDGED_BY.test(change.set.set);
}

/** The whole difference; empty when the kernel already holds the wish. */
export function guardChanges(table: string, wish: HostWish, held: HeldGuard): readonly NftChange[] {
  const wanted = bySet(wishedElements(wish));
  const changes: NftChange[] = chainChanges(table, wish, held.chains);
  for (const { set, elements } of held.sets) {
    changes.push(...setChanges(set, wanted.get(setText(set)) ?? new Map(), elements));
  }
  return changes;
}

export interface ElementGroup {
  readonly set: SetRef;
  readonly elements: readonly Element[];
}

/** The elements of one port, grouped as a transaction wants them. */
export function portElementGroups(table: string, binding: PortBinding): readonly ElementGroup[] {
  return elementGroups(table, portElements(binding));
}

/** What must stand before the port opens, though it is not its own: others may need it when the port is gone. */
export function sharedElementGroups(table: string, { judged, binding }: PortWish): readonly ElementGroup[] {
  return elementGroups(table, [
    ...(judged === undefined ? [] : judgedBridgeElements(judged)),
    ...(binding.brouter === undefined ? [] : brouterElements(binding.brouter)),
  ]);
}

function elementGroups(table: string, placed: readonly PlacedElement[]): readonly ElementGroup[] {
  const groups: { set: SetRef; elements: Element[] }[] = [];
  for (const { family, set, ...element } of placed) {
    const group = groups.find((g) => g.set.family === family && g.set.set === set);
    if (group === undefined) groups.push({ set: { family, table, set }, elements: [element] });
    else group.elements.push(element);
  }
  return groups;
}

/**
 * Port settings of a bridged guest port: the second, independent layer (contract section 1.2). A port that may speak with another MAC, which
 * moves between guests, must let the bridge learn where it is; one that is only observed must not be stopped by the bridge either.
 */
export function guestPortFlags({ binding, hearsGroups }: Pick<PortWish, "binding" | "hearsGroups">): BridgePortFlags {
  const isLoose = binding.observed || macsOf(binding).length > 1;
  return {
    learning: isLoose,
    locked: !isLoose,
    unicastFlood: binding.observed,
    multicastFlood: hearsGroups || binding.observed,
    // ARP requests reach the guest as broadcasts; its egress chain lets only those for its own addresses by.
    broadcastFlood: true,
  };
}

export type LinkStep =
  | { readonly op: "set-master"; readonly ifindex: number; readonly master: number }
  | { readonly op: "set-mac"; readonly ifindex: number; readonly mac: MacAddress }
  | { readonly op: "set-flags"; readonly ifindex: number; readonly flags: BridgePortFlags }
  | { readonly op: "add-fdb"; readonly entry: FdbEntry }
  | { readonly op: "delete-fdb"; readonly entry: FdbEntry }
  | { readonly op: "set-up"; readonly ifindex: number; readonly up: boolean };

function sameFlags(a: BridgePortFlags, b: BridgePortFlags): boolean {
  return (
    a.learning === b.learning &&
    a.locked === b.locked &&
    a.unicastFlood === b.unicastFlood &&
    a.multicastFlood === b.multicastFlood &&
    a.broadcastFlood === b.broadcastFlood
  );
}

function routedSteps(ifindex: number, link: Link): readonly LinkStep[] {
  const steps: LinkStep[] = [];
  if (link.master !== 0) steps.push({ op: "set-master", ifindex, master: 0 });
  if (link.mac !== HOST_PORT_MAC) steps.push({ op: "set-mac", ifindex, mac: HOST_PORT_MAC });
  if (!link.up) steps.push({ op: "set-up", ifindex, up: true });
  return steps;
}

/**
 * The wish of a port that is prepared, while another port still answers for its NIC. What the rules say of the NIC's addresses, and not of the port, is left out:
 * it may be the other port's on this very host, and elsewhere it would have guests look for the addresses here.
 */
export function waitingWish({ routed: _, brouted: __, ...wish }: PortWish): PortWish {
  return { ...wish, binding: { ...wish.binding, waits: true }, waits: true };
}

function waitingSteps(ifindex: number, link: Link): readonly LinkStep[] {
  const steps: LinkStep[] = [];
  if (link.up) steps.push({ op: "set-up", ifindex, up: false });
  if (link.master !== 0) steps.push({ op: "set-master", ifindex, master: 0 });
  return steps;
}

/** From the link as it is to the guarded, forwarding port; going up is always last. */
export function linkSteps(wish: PortWish, link: Link, fdb: readonly FdbEntry[]): readonly LinkStep[] {
  const { ifindex, mac } = wish.binding;
  if (wish.waits === true) return waitingSteps(ifindex, link);
  if (wish.routed !== undefined) return routedSteps(ifindex, link);
  const flags = guestPortFlags(wish);
  const steps: LinkStep[] = [];
  const moved = link.master !== wish.bridge;
  if (moved) steps.push({ op: "set-master", ifindex, master: wish.bridge });
  if (moved || link.bridgePort === undefined || !sameFlags(link.bridgePort, flags)) {
    steps.push({ op: "set-flags", ifindex, flags });
  }
  // Leaving a bridge forgets the entries of the port, so a moved port starts without any.
  const held = moved ? [] : fdb;
  // A port that learns is left its entries: the bridge forgets them by itself.
  for (const entry of held) if (entry.mac !== mac && flags.locked) steps.push({ op: "delete-fdb", entry });
  if (!held.some((entry) => entry.mac === mac && entry.isSticky))
    steps.push({ op: "add-fdb", entry: { ifindex, mac, isSticky: true } });
  if (!link.up) steps.push({ op: "set-up", ifindex, up: true });
  return steps;
}
