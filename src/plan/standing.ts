/**
 * What the kernel was last read back to hold, in the words in which it was wished: so a change of the site costs what it changes, not what there is.
 * A memory, never a proof: whatever might have changed behind it (an event, the timer, a start, a refusal) has everything read instead.
 */
import type { NftChange, SetRef } from "../kernel/nft.ts";
import { ipBlockText } from "../model/ip-block.ts";
import type { InterfaceName } from "../model/names.ts";
import { type Brouter, brouterElements } from "../ruleset/brouted-elements.ts";
import type { PlacedElement } from "../ruleset/element-bytes.ts";
import { type NetworkFacts, networkElements, type PortBinding, portElements } from "../ruleset/elements.ts";
import {
  type ClassMember,
  type JudgedBridge,
  judgedBridgeElements,
  type PolicyFacts,
  policyElements,
} from "../ruleset/policy-elements.ts";
import { onLinkElements } from "../ruleset/way-elements.ts";
import { broutersOf, bySet, type HostWish, judgedBridges, type PortWish, setChanges, setText } from "./host.ts";

export interface Standing {
  readonly ports: ReadonlyMap<InterfaceName, PortWish>;
  readonly networks: ReadonlyMap<number, NetworkFacts>;
  readonly policy: HostWish["policy"];
  /** Known to the rules, with a judged port or not: those of the last one are left to the next pass. */
  readonly bridges: readonly JudgedBridge[];
  /** The same of bridges of brouted ports. */
  readonly brouters: readonly Brouter[];
}

export function standingOf(wish: HostWish): Standing {
  return {
    ports: new Map(wish.ports.map((port) => [port.port, port])),
    networks: new Map(wish.networks.map((network) => [network.network, network])),
    policy: wish.policy,
    bridges: judgedBridges(wish),
    brouters: broutersOf(wish),
  };
}

/** Of an address that others may have too one element stands for all: which, only a look at everything tells. */
const isShared = ({ binding }: PortWish): boolean => binding.sources.some(({ shared }) => shared === true);

/** After the port alone was read back; undefined when it cannot be said what stands. */
export function withPort(standing: Standing, port: PortWish): Standing | undefined {
  if (isShared(port)) return undefined;
  const { judged } = port;
  const { brouter } = port.binding;
  const others = standing.bridges.filter(({ name }) => name !== judged?.name);
  return {
    ...standing,
    ports: new Map([...standing.ports, [port.port, port]]),
    bridges: judged === undefined ? standing.bridges : [...others, judged],
    brouters:
      brouter === undefined
        ? standing.brouters
        : [...standing.brouters.filter(({ ifindex }) => ifindex !== brouter.ifindex), brouter],
  };
}

/** After every trace of the port was removed. */
export function withoutPort(standing: Standing, name: InterfaceName, wish: PortWish | undefined): Standing | undefined {
  const known = standing.ports.get(name);
  if (known === undefined) return standing;
  if (wish === undefined || isShared(known) || isShared(wish)) return undefined;
  return { ...standing, ports: new Map([...standing.ports].filter(([port]) => port !== name)) };
}

export interface Since {
  readonly changes: readonly NftChange[];
  /** Whose wish is another than before. */
  readonly ports: readonly PortWish[];
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null;

/** Same in every part; wishes are made anew from the site each time. Asked of every port in every pass. */
function isSame(a: unknown, b: unknown): boolean {
  if (a === b) return true;
  if (!isRecord(a) || !isRecord(b)) return false;
  const keys = Object.keys(a);
  if (keys.length !== Object.keys(b).length) return false;
  for (const key of keys) if (!isSame(a[key], b[key])) return false;
  return true;
}

/** Elements of one kind of part: those that stood, those that are to stand. */
function difference(table: string, before: Iterable<PlacedElement>, after: Iterable<PlacedElement>): NftChange[] {
  const [held, wanted] = [bySet(before), bySet(after)];
  const sets = new Map<string, Pick<PlacedElement, "family" | "set">>();
  for (const part of [before, after])
    for (const { family, set } of part) sets.set(setText({ family, set }), { family, set });
  return [...sets].flatMap(([text, { family, set }]) => {
    const ref: SetRef = { family, table, set };
    const standing = [...(held.get(text)?.values() ?? [])].map((element) => ({ ...element, packets: 0n, bytes: 0n }));
    return setChanges(ref, wanted.get(text) ?? new Map(), standing);
  });
}

/** Undefined when it takes a look at everything: other ports than those that stand, or addresses that are shared. */
export function changesSince(table: string, standing: Standing, wish: HostWish): Since | undefined {
  const isKnown = ({ port, binding }: PortWish): boolean => isOfSameChains(standing.ports.get(port)?.binding, binding);
  if (wish.ports.length !== standing.ports.size || !wish.ports.every(isKnown)) return undefined;
  const ports = wish.ports.filter((port) => !isSame(port, standing.ports.get(port.port)));
  const before = ports.flatMap(({ port }) => standing.ports.get(port) ?? []);
  if ([...ports, ...before].some(isShared)) return undefined;
  const changes = [
    ...networkChanges(table, standing, wish),
    ...policyChanges(table, standing, wish),
    ...difference(table, standing.brouters.flatMap(brouterElements), broutersOf(wish).flatMap(brouterElements)),
    ...difference(table, elementsOf(before), elementsOf(ports)),
  ];
  return { changes, ports };
}

/** One that learns its addresses has another ingress chain. */
const isOfSameChains = (before: PortBinding | undefined, { ifindex, learns }: PortBinding): boolean =>
  before?.ifindex === ifindex && before.learns === learns;

const elementsOf = (ports: readonly PortWish[]): readonly PlacedElement[] =>
  ports.flatMap(({ binding }) => portElements(binding));

function networkChanges(table: string, standing: Standing, { networks }: HostWish): NftChange[] {
  const wanted = new Map(networks.map((network) => [network.network, network]));
  const changed = [...new Set([...standing.networks.keys(), ...wanted.keys()])].filter(
    (number) => !isSame(standing.networks.get(number), wanted.get(number)),
  );
  const all = (from: ReadonlyMap<number, NetworkFacts>): readonly PlacedElement[] =>
    changed.flatMap((number) => {
      const facts = from.get(number);
      return facts === undefined ? [] : networkElements(facts);
    });
  if (changed.length === 0) return [];
  return [
    ...difference(table, all(standing.networks), all(wanted)),
    // Of networks that meet one stands for all.
    ...difference(table, onLinkElements([...standing.networks.values()]), onLinkElements(networks)),
  ];
}

/** Without the members that are the same in both: they are nearly all, and there are as many as addresses in the site. */
function apart(before: PolicyFacts, after: PolicyFacts): readonly [PolicyFacts, PolicyFacts] {
  const text = ({ what, policyClass }: ClassMember): string => `${ipBlockText(what)}=${policyClass}`;
  const rest = (one: PolicyFacts, other: PolicyFacts): PolicyFacts => {
    const known = new Set(other.members.map(text));
    return { ...one, members: one.members.filter((member) => !known.has(text(member))) };
  };
  return [rest(before, after), rest(after, before)];
}

function policyChanges(table: string, standing: Standing, wish: HostWish): NftChange[] {
  const { families, facts } = wish.policy;
  const all = (bridges: readonly JudgedBridge[]): readonly PlacedElement[] => bridges.flatMap(judgedBridgeElements);
  const bridges = difference(table, all(standing.bridges), all(judgedBridges(wish)));
  if (facts === standing.policy.facts) return bridges;
  const [was, is] = apart(standing.policy.facts, facts);
  const rules = difference(table, policyElements(families, was), policyElements(families, is));
  return [...bridges, ...rules];
}
