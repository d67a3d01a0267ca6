/**
 * The site's security groups as the kernel asks for them: every address has a class (one distinct set of groups), and what a class may open, or have opened, towards
 * anybody, towards another class and towards a range of addresses is one numbered set of services.
 */
import { ipBlockText } from "../model/ip-block.ts";
import { type Ipv4Prefix, prefix4Bounds } from "../model/ipv4.ts";
import { type Ipv6Prefix, prefix6Bounds } from "../model/ipv6.ts";
import type { ObjectName } from "../model/names.ts";
import type { GroupRule, Service } from "../model/policy.ts";
import type { IpBlock, NetworkSpec } from "../model/resources.ts";
import { stableNumbers } from "../ruleset/element-bytes.ts";
import type { ClassMember, PolicyFacts, RangeRule, SideFacts } from "../ruleset/policy-elements.ts";
import { isEmptySet, type ServiceSet, serviceSetOf, serviceSetText } from "../ruleset/service-set.ts";
import type { SiteView } from "./desired.ts";
import { areOpen, groupsOf, policyOf } from "./policy.ts";
import { nicsOf, type SiteNic, sourcesOf } from "./sources.ts";

type Side = "ingress" | "egress";

const EVERYTHING_TO_ANYBODY: readonly GroupRule[] = [{ service: { kind: "any" }, peer: { kind: "any" } }];

/** The rules of all groups of a class together. */
function rulesOf(groups: readonly ObjectName[], side: Side, site: SiteView): readonly GroupRule[] {
  const { ingress, egress } = policyOf(groups, site.groups);
  if (side === "ingress") return ingress.map(({ rule }) => rule);
  return egress.kind === "everything" ? EVERYTHING_TO_ANYBODY : egress.rules.map(({ rule }) => rule);
}

interface PolicyClass {
  readonly groups: readonly ObjectName[];
  /** Whose prefixes "the own network" means; empty where no rule says so. */
  readonly networks: readonly ObjectName[];
}

interface Holder {
  readonly what: IpBlock;
  readonly groups: readonly ObjectName[];
  readonly networks: readonly ObjectName[];
  readonly isKnown: boolean;
}

/** Groups that some rule names as the other end. */
function namedGroups(site: SiteView): ReadonlySet<ObjectName> {
  const named = new Set<ObjectName>();
  for (const { ingress, egress } of site.groups.values())
    for (const { peer } of [...ingress, ...(egress ?? [])]) if (peer.kind === "group") named.add(peer.group);
  return named;
}

/** Whether the rules must know who carries these groups: open NICs that no rule speaks of need no class. Asked once for all who carry the same ones. */
function createKnownAsker(site: SiteView): (groups: readonly ObjectName[], network: NetworkSpec) => boolean {
  const named = namedGroups(site);
  const known = new Map<string, boolean>();
  return (groups, { wiring }) => {
    if (wiring.kind === "nat") return true;
    const text = groups.join(",");
    const answer = known.get(text) ?? (!areOpen(groups, site.groups) || groups.some((group) => named.has(group)));
    known.set(text, answer);
    return answer;
  };
}

const union = (a: readonly ObjectName[], b: readonly ObjectName[]): readonly ObjectName[] => [...new Set([...a, ...b])];

/** An address that several NICs may have counts with the groups of all of them. */
function holders(site: SiteView): readonly Holder[] {
  const isKnownWith = createKnownAsker(site);
  const found = new Map<string, Holder>();
  for (const guest of site.guests.values()) {
    for (const nic of nicsOf(guest)) {
      const spec = site.networks.get(nic.identity.network);
      if (spec === undefined) continue;
      const groups = groupsOf(nic.spec, spec);
      const own = { groups, networks: [nic.identity.network], isKnown: isKnownWith(groups, spec) };
      for (const { what } of [...sourcesOf(nic, spec), ...publicSources(nic)]) holdToo(found, { what, ...own });
    }
  }
  return [...found.values()].filter((holder) => holder.isKnown);
}

/** By which other hosts know it: there a group means its members' public addresses. */
const publicSources = ({ spec: { public4 } }: SiteNic): readonly { readonly what: IpBlock }[] =>
  public4 === undefined ? [] : [{ what: { kind: "address4", address: public4 } }];

function holdToo(found: Map<string, Holder>, own: Holder): void {
  const text = ipBlockText(own.what);
  const before = found.get(text);
  if (before === undefined) found.set(text, own);
  else
    found.set(text, {
      what: own.what,
      groups: union(before.groups, own.groups),
      networks: union(before.networks, own.networks),
      isKnown: before.isKnown || own.isKnown,
    });
}

/** Whether rules of these groups speak of the own network; asked once for all who carry the same ones. */
function createOwnAsker(site: SiteView): (names: readonly ObjectName[]) => boolean {
  const known = new Map<string, boolean>();
  return (names) => {
    const text = names.join(",");
    const answer =
      known.get(text) ??
      (["ingress", "egress"] as const).some((side) =>
        rulesOf(names, side, site).some(({ peer }) => peer.kind === "network"),
      );
    known.set(text, answer);
    return answer;
  };
}

function classOf({ groups, networks }: Holder, speaksOfOwn: (names: readonly ObjectName[]) => boolean): PolicyClass {
  const names = [...new Set(groups)].sort();
  return { groups: names, networks: speaksOfOwn(names) ? [...new Set(networks)].sort() : [] };
}

const classText = ({ groups, networks }: PolicyClass): string => `${groups.join(",")}@${networks.join(",")}`;

/** Numbers of sets of services, handed out while rules are gathered. 1 is everything. */
interface Catalogue {
  note(services: readonly Service[]): string | undefined;
  numbered(): ReadonlyMap<string, { readonly number: number; readonly set: ServiceSet }>;
}

function createCatalogue(): Catalogue {
  const sets = new Map<string, ServiceSet>();
  return {
    note: (services) => {
      const set = serviceSetOf(services);
      if (isEmptySet(set)) return undefined;
      const text = serviceSetText(set);
      sets.set(text, set);
      return text;
    },
    numbered: () => {
      const numbers = stableNumbers([...sets.keys()]);
      return new Map(
        [...sets].map(([text, set]) => [text, { set, number: set.everything ? 1 : (numbers.get(text) ?? 0) }]),
      );
    },
  };
}

/** A range of addresses of one family, as numbers. */
interface Stretch {
  readonly family: 4 | 6;
  readonly first: bigint;
  readonly last: bigint;
  readonly service: Service;
}

const toNumber = (bytes: Uint8Array): bigint => bytes.reduce((sum, byte) => sum * 256n + BigInt(byte), 0n);

function toBytes(value: bigint, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  let rest = value;
  for (let at = length - 1; at >= 0; at -= 1) {
    bytes[at] = Number(rest & 255n);
    rest >>= 8n;
  }
  return bytes;
}

function stretch4(prefix: Ipv4Prefix, service: Service): Stretch {
  const { first, last } = prefix4Bounds(prefix);
  return { family: 4, first: BigInt(first), last: BigInt(last), service };
}

function stretch6(prefix: Ipv6Prefix, service: Service): Stretch {
  const { first, last } = prefix6Bounds(prefix);
  return { family: 6, first: toNumber(first), last: toNumber(last), service };
}

/** fe80::/10: every network has them (RFC 4291 section 2.5.6). */
const linkLocal = (service: Service): Stretch => ({
  family: 6,
  first: 0xfe80n << 112n,
  last: (0xfec0n << 112n) - 1n,
  service,
});

function stretchesOf({ service, peer }: GroupRule, networks: readonly NetworkSpec[]): readonly Stretch[] {
  if (peer.kind === "prefix4") return [stretch4(peer.prefix, service)];
  if (peer.kind === "prefix6") return [stretch6(peer.prefix, service)];
  if (peer.kind !== "network") return [];
  return networks.flatMap(({ prefix4, prefix6 }) => [
    stretch4(prefix4, service),
    ...(prefix6 === undefined ? [] : [stretch6(prefix6, service), linkLocal(service)]),
  ]);
}

interface Segment {
  readonly family: 4 | 6;
  readonly first: bigint;
  readonly last: bigint;
  readonly services: readonly Service[];
}

/** Prefixes that meet are cut at each other's edges: the kernel's maps of ranges take no overlap, and rules add up. */
function segmentsOf(stretches: readonly Stretch[], family: 4 | 6): readonly Segment[] {
  const own = stretches.filter((stretch) => stretch.family === family);
  const edges = [...new Set(own.flatMap(({ first, last }) => [first, last + 1n]))].sort((a, b) => (a < b ? -1 : 1));
  return edges.slice(0, -1).flatMap((first, n) => {
    const last = (edges[n + 1] ?? first) - 1n;
    const services = own.filter((stretch) => stretch.first <= first && last <= stretch.last).map((s) => s.service);
    return services.length === 0 ? [] : [{ family, first, last, services }];
  });
}

/** Rules of one side while sets of services are still known by their texts. */
interface Draft {
  readonly any: { readonly judged: string; readonly services: string }[];
  readonly pairs: { readonly judged: string; readonly peer: string; readonly services: string }[];
  readonly ranges: (Omit<RangeRule, "judged" | "services"> & { readonly judged: string; readonly services: string })[];
}

const servicesFor = (rules: readonly GroupRule[], matches: (rule: GroupRule) => boolean): readonly Service[] =>
  rules.filter(matches).map(({ service }) => service);

interface Classes {
  readonly all: ReadonlyMap<string, PolicyClass>;
  readonly carriers: ReturnType<typeof byGroup>;
}

function draftOf(side: Side, classes: Classes, site: SiteView, catalogue: Catalogue): Draft {
  const draft: Draft = { any: [], pairs: [], ranges: [] };
  for (const [judged, { groups, networks }] of classes.all) {
    const rules = rulesOf(groups, side, site);
    const toAnybody = catalogue.note(servicesFor(rules, ({ peer }) => peer.kind === "any"));
    if (toAnybody !== undefined) draft.any.push({ judged, services: toAnybody });
    if (toAnybody === "*") continue;
    draft.pairs.push(...pairsOf(judged, rules, classes, catalogue));
    const own = networks.flatMap((name) => site.networks.get(name) ?? []);
    const stretches = rules.flatMap((rule) => stretchesOf(rule, own));
    draft.ranges.push(...rangesOf(judged, stretches, catalogue));
  }
  return draft;
}

function rangesOf(judged: string, stretches: readonly Stretch[], catalogue: Catalogue): Draft["ranges"] {
  return ([4, 6] as const).flatMap((family) =>
    segmentsOf(stretches, family).flatMap(({ first, last, services }) => {
      const text = catalogue.note(services);
      const [from, to] = [first, last].map((edge) => toBytes(edge, family === 4 ? 4 : 16));
      if (text === undefined || from === undefined || to === undefined) return [];
      return [{ judged, family, first: from, last: to, services: text }];
    }),
  );
}

/** Texts of the classes that carry each group. */
function byGroup(classes: ReadonlyMap<string, PolicyClass>): ReadonlyMap<ObjectName, readonly string[]> {
  const found = new Map<ObjectName, string[]>();
  for (const [text, { groups }] of classes) {
    for (const group of groups) {
      const list = found.get(group);
      if (list === undefined) found.set(group, [text]);
      else list.push(text);
    }
  }
  return found;
}

function pairsOf(
  judged: string,
  rules: readonly GroupRule[],
  { all, carriers }: Classes,
  catalogue: Catalogue,
): Draft["pairs"] {
  const named = new Set(rules.flatMap(({ peer }) => (peer.kind === "group" ? peer.group : [])));
  const peers = new Set([...named].flatMap((group) => carriers.get(group) ?? []));
  return [...peers].flatMap((peer) => {
    const groups = all.get(peer)?.groups ?? [];
    const services = catalogue.note(
      servicesFor(
        rules,
        (rule) => rule.peer.kind === "any" || (rule.peer.kind === "group" && groups.includes(rule.peer.group)),
      ),
    );
    return services === undefined ? [] : [{ judged, peer, services }];
  });
}

export function policyFacts(site: SiteView): PolicyFacts {
  const speaksOfOwn = createOwnAsker(site);
  const held = holders(site).map((holder) => {
    const policyClass = classOf(holder, speaksOfOwn);
    return { what: holder.what, policyClass, text: classText(policyClass) };
  });
  const all = new Map(held.map(({ policyClass, text }) => [text, policyClass]));
  const classes = { all, carriers: byGroup(all) };
  const numbers = stableNumbers([...all.keys()]);
  const numberOf = (text: string): number => numbers.get(text) ?? 0;
  const members = held.map(({ what, text }): ClassMember => ({ what, policyClass: numberOf(text) }));
  const catalogue = createCatalogue();
  const drafts = { out: draftOf("egress", classes, site, catalogue), in: draftOf("ingress", classes, site, catalogue) };
  const numbered = catalogue.numbered();
  const finish = ({ any, pairs, ranges }: Draft): SideFacts => {
    const services = (text: string): number => numbered.get(text)?.number ?? 0;
    return {
      any: any.map((rule) => ({ judged: numberOf(rule.judged), services: services(rule.services) })),
      pairs: pairs.map((rule) => ({
        judged: numberOf(rule.judged),
        peer: numberOf(rule.peer),
        services: services(rule.services),
      })),
      ranges: ranges.map((rule) => ({ ...rule, judged: numberOf(rule.judged), services: services(rule.services) })),
    };
  };
  return { members, out: finish(drafts.out), in: finish(drafts.in), services: [...numbered.values()] };
}
