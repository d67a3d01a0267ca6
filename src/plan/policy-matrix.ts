/** Who may open flows to whom, on what: the policies of all NICs laid side by side. */
import { bytesText } from "../model/bytes.ts";
import { GuardError } from "../model/errors.ts";
import type { IpAddress } from "../model/ip-block.ts";
import { isIpv6 } from "../model/ip-block.ts";
import { type Ipv4Prefix, ipv4ToNumber, parsePrefix4, prefix4Bounds } from "../model/ipv4.ts";
import { type Ipv6Prefix, ipv6ToBytes, parsePrefix6, prefix6Bounds } from "../model/ipv6.ts";
import { parseObjectName } from "../model/names.ts";
import type { MatrixClass, MatrixView } from "../model/operations.ts";
import type { Service } from "../model/policy.ts";
import type { SiteView } from "./desired.ts";
import { type GivenRule, type PeerView, type Policy, peerMatches, policyOf } from "./policy.ts";
import { nicEnd } from "./policy-flow.ts";
import { groupsAt, type Member, type Members, mainAddresses } from "./policy-members.ts";
import { peerText, serviceText } from "./policy-words.ts";
import { commonService, simpleServices } from "./service-sets.ts";

/** Up to so many NICs each has its own row. */
const EACH = 12;
/** More rows and columns nobody could make sense of. */
const MOST = 128;
export const OTHERS = "others";

/** NICs that no rule of the site tells apart. */
interface Alike {
  readonly members: readonly Member[];
  readonly name: string;
}

type Test = (address: IpAddress) => boolean;

/** Read once: many NICs are asked. */
function within(prefix: Ipv4Prefix | Ipv6Prefix): Test {
  const six = parsePrefix6(prefix);
  if (six !== undefined) {
    const { first, last } = prefix6Bounds(six);
    const [from, to] = [bytesText(first), bytesText(last)];
    return (address) =>
      isIpv6(address) && from <= bytesText(ipv6ToBytes(address)) && bytesText(ipv6ToBytes(address)) <= to;
  }
  const four = parsePrefix4(prefix);
  if (four === undefined) return () => false;
  const { first, last } = prefix4Bounds(four);
  return (address) => !isIpv6(address) && first <= ipv4ToNumber(address) && ipv4ToNumber(address) <= last;
}

/** What rules can tell of an address: the prefixes they name, and those of the networks. */
function testsOf({ groups, networks }: SiteView): readonly Test[] {
  const rules = [...groups.values()].flatMap(({ ingress, egress = [] }) => [...ingress, ...egress]);
  const named = rules.flatMap(({ peer }) => ("prefix" in peer ? [peer.prefix] : []));
  const own = [...networks.values()].flatMap(({ prefix4, prefix6 }) =>
    prefix6 === undefined ? [prefix4] : [prefix4, prefix6],
  );
  return [...new Set([...named, ...own])].map(within);
}

const sorted = (names: Iterable<string>): readonly string[] => [...new Set(names)].sort();

/** Equal for NICs whose policy, as ruler and as ruled, is the same. */
function classKey(members: Members, tests: readonly Test[], member: Member): string {
  const addresses = mainAddresses(member);
  const inside = addresses.map((address) => tests.map((test) => Number(test(address))).join(""));
  const seen = sorted(addresses.flatMap((address) => [...groupsAt(members, address)]));
  return JSON.stringify([member.network, sorted(member.groups), seen, inside]);
}

function classesOf(members: Members, wanted: readonly Member[]): readonly Alike[] {
  if (wanted.length <= EACH) return wanted.map((member) => ({ members: [member], name: member.name }));
  const tests = testsOf(members.site);
  const byKey = new Map<string, Member[]>();
  for (const member of wanted) {
    const key = classKey(members, tests, member);
    const list = byKey.get(key);
    if (list === undefined) byKey.set(key, [member]);
    else list.push(member);
  }
  return [...byKey.values()].map((list) => {
    const more = list.length === 1 ? "" : ` +${list.length - 1}`;
    return { members: list, name: `${list[0]?.name}${more}` };
  });
}

/** How a NIC rules, and how it is looked at, when it speaks with an address of its own. */
interface Side {
  readonly policy: Policy;
  readonly networks: readonly Member["networkSpec"][];
  readonly view: PeerView;
}

function sidesOf(members: Members, member: Member): readonly Side[] {
  return mainAddresses(member).map((address) => {
    const { nics } = nicEnd(members, member, address);
    const groups = [...new Set(nics.flatMap((nic) => nic.groups))];
    return {
      policy: policyOf(groups, members.site.groups),
      networks: nics.map(({ networkSpec }) => networkSpec),
      view: { address, groups: groupsAt(members, address) },
    };
  });
}

const everything: readonly Service[] = [{ kind: "any" }];

function servicesOf(rules: readonly GivenRule[], own: Side, other: Side): readonly Service[] {
  return rules.filter(({ rule }) => peerMatches(rule.peer, other.view, own.networks)).map(({ rule }) => rule.service);
}

/** Of one family. */
function between(from: Side, to: Side): readonly string[] {
  const { egress } = from.policy;
  const out = egress.kind === "everything" ? everything : servicesOf(egress.rules, from, to);
  const into = servicesOf(to.policy.ingress, to, from);
  const common = out.flatMap((a) => into.flatMap((b) => commonService(a, b) ?? []));
  const foreign = isIpv6(from.view.address) ? "icmp" : "icmpv6";
  return simpleServices(common.filter(({ kind }) => kind !== foreign)).map(serviceText);
}

const isOfOneFamily = (text: string): boolean => text.startsWith("icmp");

function cellOf(from: readonly Side[], to: readonly Side[]): readonly string[] {
  const families = from.flatMap((a) =>
    to
      .filter((b) => isIpv6(a.view.address) === isIpv6(b.view.address))
      .map((b) => ({ name: isIpv6(a.view.address) ? "IPv6" : "IPv4", texts: between(a, b) })),
  );
  const all = new Set(families.flatMap(({ texts }) => texts));
  return [...all].map((text) => {
    const having = families.filter(({ texts }) => texts.includes(text));
    const isWhole = having.length === families.length || isOfOneFamily(text);
    return isWhole ? text : `${text} (${having.map(({ name }) => name).join(", ")} only)`;
  });
}

/** What those who are no guests may open, or be opened to: every rule but those for groups. */
function outside(rules: readonly GivenRule[], word: "from" | "to"): readonly string[] {
  const own = rules.map(({ rule }) => rule);
  const free = simpleServices(own.filter(({ peer }) => peer.kind === "any").map(({ service }) => service));
  const rest = own
    .filter(({ peer }) => peer.kind !== "any" && peer.kind !== "group")
    .map(({ service, peer }) => `${serviceText(service)} ${word} ${peerText(peer)}`);
  return [...free.map(serviceText), ...new Set(rest)];
}

function outsideCells({ site }: Members, { name, members: [first] }: Alike): MatrixView["cells"] {
  const { ingress, egress } = policyOf(first?.groups ?? [], site.groups);
  const out = egress.kind === "everything" ? ["everything"] : outside(egress.rules, "to");
  return [
    { from: OTHERS, to: name, services: outside(ingress, "from") },
    { from: name, to: OTHERS, services: out },
  ];
}

function classView({ name, members }: Alike): MatrixClass {
  const [first] = members;
  const network = first === undefined ? {} : { network: first.network };
  return { name, ...network, groups: first?.groups ?? [], nics: members.map((member) => member.name) };
}

function wantedMembers(members: Members, network: string | undefined): readonly Member[] {
  if (network === undefined) return members.all;
  const name = parseObjectName(network);
  if (name === undefined || !members.site.networks.has(name))
    throw new GuardError("NOT_FOUND", `network '${network}' does not exist`, {
      fields: { kind: "network", name: network },
    });
  return members.all.filter((member) => member.network === name);
}

/** @throws NOT_FOUND; USAGE when there are more different policies than anybody could read */
export function policyMatrix(members: Members, { network }: { readonly network?: string }): MatrixView {
  const classes = classesOf(members, wantedMembers(members, network));
  if (classes.length > MOST)
    throw new GuardError(
      "USAGE",
      `${classes.length} different policies are more than the ${MOST} of a matrix: name one network, or ask 'vifguard explain --from … --to …'`,
    );
  const rows = classes.map((one) => ({
    ...one,
    sides: one.members.slice(0, 2).map((member) => sidesOf(members, member)),
  }));
  const inside = rows.flatMap((from) =>
    rows.flatMap((to) => {
      // Of a class with itself: one of its members to another.
      const [a, b] = [from.sides[0], from === to ? to.sides[1] : to.sides[0]];
      return a === undefined || b === undefined ? [] : [{ from: from.name, to: to.name, services: cellOf(a, b) }];
    }),
  );
  const cells = [...inside, ...classes.flatMap((one) => outsideCells(members, one))];
  const place = new Map([...classes.map(({ name }) => name), OTHERS].map((name, n) => [name, n] as const));
  const order = (from: string, to: string): number => (place.get(from) ?? 0) * place.size + (place.get(to) ?? 0);
  return {
    classes: [...classes.map(classView), { name: OTHERS, groups: [], nics: [] }],
    cells: cells
      .filter(({ services }) => services.length > 0)
      .sort((a, b) => order(a.from, a.to) - order(b.from, b.to)),
  };
}
