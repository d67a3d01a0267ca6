/** From a question about a flow to its answer: who the ends are, with which addresses, and how each of them rules. */

import { GuardError } from "../model/errors.ts";
import type { IpAddress } from "../model/ip-block.ts";
import { isIpv6, parseIp } from "../model/ip-block.ts";
import { isLinkLocal6, isMulticast6 } from "../model/ipv6.ts";
import { nearest } from "../model/nearest.ts";
import type { FlowAnswer, FlowEndView, FlowQuestion, FlowView } from "../model/operations.ts";
import type { Resource } from "../model/resources.ts";
import { type IcmpKind, openingTypes, protocolOf } from "../model/services.ts";
import { parseNic } from "./explain-question.ts";
import type { Random } from "./identity.ts";
import type { FlowService } from "./policy.ts";
import { addressEnd, type EndRuling, type Flow, type FlowEnd, judgeFlow, nicEnd } from "./policy-flow.ts";
import { type Member, type Members, mainAddresses, siteMembers } from "./policy-members.ts";
import { endSentence, flowServiceText, ruleText } from "./policy-words.ts";
import { freshSite } from "./site.ts";

/** An end as it was asked for: a guest's NICs, any of which may be meant, or an address. */
type AskedEnd =
  | { readonly kind: "nics"; readonly nics: readonly Member[]; readonly isNamed: boolean }
  | { readonly kind: "address"; readonly address: IpAddress };

const invalid = (says: string): GuardError => new GuardError("PHRASE_INVALID", says);

const isGroupAddress = (address: IpAddress): boolean =>
  isIpv6(address) ? isMulticast6(address) : /^(?:22[4-9]|23\d|255)\./.test(address);

function askedEnd(members: Members, text: string): AskedEnd {
  const address = parseIp(text.replace(/^\[(.*)\]$/, "$1"));
  if (address !== undefined) {
    if (!isGroupAddress(address)) return { kind: "address", address };
    throw invalid(
      `${address} is no single machine's: what is sent to it is not the groups' to judge but the network's 'multicast'`,
    );
  }
  const named = parseNic(text);
  const nics = named === undefined ? undefined : members.ofGuest(named.guest);
  if (nics === undefined)
    throw new GuardError("NOT_FOUND", `'${text}' is neither a guest nor an address`, { fields: { target: text } });
  if (named?.nic === undefined) return { kind: "nics", nics, isNamed: false };
  const nic = nics.find((one) => one.nic === named.nic);
  if (nic !== undefined) return { kind: "nics", nics: [nic], isNamed: true };
  throw new GuardError("NOT_FOUND", `guest '${named.guest}' has no NIC ${named.nic}: it has ${nics.length}`, {
    fields: { guest: named.guest, nic: named.nic },
  });
}

function portOf(kind: "tcp" | "udp", text: string | undefined): FlowService {
  const port = /^\d{1,5}$/.test(text ?? "") ? Number(text) : 0;
  if (port >= 1 && port <= 65_535) return { kind, port };
  throw invalid(
    text === undefined
      ? `${kind} needs the port the flow is opened to: such as db1:443/${kind}`
      : `'${text}' is not a port 1-65535`,
  );
}

function typeOf(kind: IcmpKind, text = "echo-request"): FlowService {
  const known: readonly (readonly [string, number])[] = Object.entries(openingTypes[kind]);
  const found = known.find(([name, number]) => name === text || String(number) === text);
  if (found !== undefined) return { kind, type: found[1], code: 0 };
  const words = known.map(([name, number]) => `${name} (${number})`);
  throw invalid(`'${text}' is no type of ${kind} that opens a flow; there is: ${words.join(", ")}`);
}

function serviceOf(protocol: string, detail: string | undefined): FlowService {
  const kind = protocolOf(protocol);
  if (kind === undefined) {
    const meant = nearest(protocol, ["tcp", "udp", "icmp", "icmpv6"]);
    const near = meant === undefined ? "" : `; did you mean '${meant}'?`;
    throw invalid(`'${protocol}' is not tcp, udp, icmp, icmpv6 or a protocol number${near}`);
  }
  if (kind === "tcp" || kind === "udp") return portOf(kind, detail);
  if (typeof kind === "string") return typeOf(kind, detail);
  if (detail === undefined) return { kind: "protocol", number: kind };
  throw invalid(`protocol ${kind} has no ports: leave ':${detail}' out`);
}

/** `db1:5432/tcp`, `db1/1:5432/tcp`, `db1/icmp`, `[2001:db8::7]:443/tcp`: the protocol is behind the last slash. */
function splitTarget(text: string): { readonly end: string; readonly service: FlowService } {
  const slash = text.lastIndexOf("/");
  const [whole, protocol] = [text.slice(0, slash), text.slice(slash + 1)];
  if (slash < 1) throw invalid(`'${text}' does not say what is opened: such as ${text}:443/tcp or ${text}/icmp`);
  // An IPv6 address without brackets has no port behind it.
  if (parseIp(whole) !== undefined) return { end: whole, service: serviceOf(protocol, undefined) };
  const [, end = "", detail] = /^(\[[^\]]*\]|[^:]*)(?::(.*))?$/.exec(whole) ?? [];
  if (end === "") throw invalid(`'${whole}' is neither a guest nor an address; IPv6 with a port stands in brackets`);
  return { end, service: serviceOf(protocol, detail) };
}

const sameFamily = (a: IpAddress, b: IpAddress): boolean => isIpv6(a) === isIpv6(b);
const familyName = (address: IpAddress): string => (isIpv6(address) ? "IPv6" : "IPv4");

/** What the NIC speaks with to the address. */
function addressTowards(nic: Member, other: IpAddress): IpAddress {
  const own = nic.sources.flatMap(({ what }) => ("address" in what ? [what.address] : []));
  const linkLocal = isIpv6(other) && isLinkLocal6(other);
  const found = linkLocal
    ? own.find((address) => isIpv6(address) && isLinkLocal6(address))
    : mainAddresses(nic).find((address) => sameFamily(address, other));
  if (found !== undefined) return found;
  throw invalid(`${nic.name} has no ${familyName(other)} address to speak to ${other} with`);
}

/** Of two guests the NICs on a common network, of others the first. */
function pairOf(from: readonly Member[], to: readonly Member[]): readonly [Member, Member] {
  const pairs = from.flatMap((a) => to.map((b) => [a, b] as const));
  const pair = pairs.find(([a, b]) => a.network === b.network && a !== b) ?? pairs[0];
  if (pair === undefined) throw invalid("a guest at one end has no NIC");
  if (pair[0] !== pair[1]) return pair;
  throw invalid(`both ends are ${pair[0].name}: such a flow never leaves the guest`);
}

interface Settled {
  readonly ends: readonly (readonly [FlowEnd, FlowEnd])[];
  readonly notes: readonly string[];
}

const several = (address: IpAddress): string =>
  `${address} is several machines, on bridges of their own: name the guest to have it judged`;

function settleAddress(members: Members, address: IpAddress, seenFrom: readonly Member[]): FlowEnd {
  return addressEnd(members, address, seenFrom) ?? { address, nics: [] };
}

function chosen(end: AskedEnd, { guest, name }: Member): readonly string[] {
  if (end.kind === "address" || end.isNamed || end.nics.length === 1) return [];
  return [`${guest} has several NICs: ${name} is taken; name another as ${guest}/N`];
}

function settle(members: Members, from: AskedEnd, to: AskedEnd): Settled {
  if (from.kind === "address")
    return to.kind === "address"
      ? settleAddresses(members, from.address, to.address)
      : settleOne(members, to, from.address, "to");
  if (to.kind === "address") return settleOne(members, from, to.address, "from");
  const [a, b] = pairOf(from.nics, to.nics);
  const ends = mainAddresses(a).flatMap((address) =>
    mainAddresses(b)
      .filter((other) => sameFamily(address, other))
      .map((other) => [nicEnd(members, a, address), nicEnd(members, b, other)] as const),
  );
  return { ends, notes: [...chosen(from, a), ...chosen(to, b)] };
}

type AskedNics = Extract<AskedEnd, { readonly kind: "nics" }>;

/** A guest at one end, an address at the other. */
function settleOne(members: Members, asked: AskedNics, address: IpAddress, side: "from" | "to"): Settled {
  const nic = nearestNic(members, asked.nics, address);
  const end = nicEnd(members, nic, addressTowards(nic, address));
  const other = settleAddress(members, address, end.nics);
  return { ends: [side === "from" ? [end, other] : [other, end]], notes: chosen(asked, nic) };
}

/** The NIC whose network the address is in, else the first. */
function nearestNic(members: Members, nics: readonly Member[], address: IpAddress): Member {
  const holders = members.holders(address);
  const nic = nics.find((one) => holders.some(({ network }) => network === one.network)) ?? nics[0];
  if (nic === undefined) throw invalid("a guest at one end has no NIC");
  if (holders.includes(nic)) throw invalid(`both ends are ${nic.name}: such a flow never leaves the guest`);
  return nic;
}

function settleAddresses(members: Members, from: IpAddress, to: IpAddress): Settled {
  if (!sameFamily(from, to))
    throw invalid(`${from} is ${familyName(from)} and ${to} is ${familyName(to)}: no flow has both`);
  const target = settleAddress(members, to, []);
  const source = settleAddress(members, from, target.nics);
  return { ends: [[source, target.nics.length > 0 ? target : settleAddress(members, to, source.nics)]], notes: [] };
}

const endName = ({ address, nics }: FlowEnd): string => nics.map(({ name }) => name).join(" and ") || address;

function isObserved({ nics }: FlowEnd): boolean {
  return nics.length > 0 && nics.every(({ spec, networkSpec }) => (spec.mode ?? networkSpec.mode) === "observe");
}

function endView(ruling: EndRuling, side: "egress" | "ingress", flow: Flow): FlowEndView {
  const [own, other] = side === "egress" ? [flow.from, flow.to] : [flow.to, flow.from];
  const by = ruling.kind === "allowed" ? ruling.by : undefined;
  return {
    end: side === "egress" ? "from" : "to",
    nics: own.nics.map(({ name }) => name),
    address: own.address,
    verdict: ruling.kind,
    observed: ruling.kind === "dropped" && isObserved(own),
    ...(ruling.kind === "dropped" ? { reason: ruling.reason } : {}),
    ...(by?.group === undefined ? {} : { group: by.group }),
    ...(by === undefined || "everything" in by ? {} : { rule: ruleText(by.rule, side === "egress" ? "to" : "from") }),
    sentence: endSentence(ruling, side, flowServiceText(flow.service), endName(other)),
  };
}

function flowSentence({ from, to, service }: Flow, ends: readonly FlowEndView[]): string {
  const stopping = ends.find(({ verdict, observed }) => verdict === "dropped" && !observed);
  const watched = ends.find(({ observed }) => observed);
  const why = ({ reason, nics, address, sentence }: FlowEndView): string =>
    `${reason} – ${nics.join(" and ") || address}: ${sentence}`;
  if (stopping !== undefined) return `dropped: ${why(stopping)}`;
  if (watched !== undefined) return `passes, because the NIC is only observed; otherwise dropped: ${why(watched)}`;
  const may = `${endName(from)} may open ${flowServiceText(service)} to ${endName(to)}`;
  return ends.every(({ verdict }) => verdict === "not-judged")
    ? "not judged: neither end is a guest of this site"
    : `passes: ${may}`;
}

function flowView(members: Members, flow: Flow): FlowView {
  const { egress, ingress } = judgeFlow(members, flow);
  const ends = [endView(egress, "egress", flow), endView(ingress, "ingress", flow)];
  const isDropped = ends.some(({ verdict, observed }) => verdict === "dropped" && !observed);
  return {
    verdict: isDropped ? "drop" : "pass",
    sentence: flowSentence(flow, ends),
    service: flowServiceText(flow.service),
    ends,
  };
}

/** ICMP is IPv4's and ICMPv6 is IPv6's. */
function hasService({ kind }: FlowService, { address }: FlowEnd): boolean {
  return isIpv6(address) ? kind !== "icmp" : kind !== "icmpv6";
}

/** A port of a shared public address is its NIC's, as the groups judge it. */
function ledTo(
  members: Members,
  asked: AskedEnd,
  service: FlowService,
): { readonly asked: AskedEnd; readonly service: FlowService; readonly told: readonly string[] } {
  if (asked.kind === "nics" || !members.isShared(asked.address)) return { asked, service, told: [] };
  const { address } = asked;
  const led = "port" in service ? members.led(address, service.kind, service.port) : undefined;
  const what = `${flowServiceText(service)} of ${address}`;
  if (led === undefined || !("port" in service))
    return { asked, service, told: [`nobody offers ${what}: the host leads it nowhere, and it ends there`] };
  const behind = { kind: service.kind, port: led.to };
  return {
    asked: { kind: "nics", nics: [led.member], isNamed: true },
    service: behind,
    told: [`${what} leads to ${flowServiceText(behind)} of ${led.member.name}, which is what groups judge`],
  };
}

/** What no group refuses, and the host does. */
function outsideNotes(ends: Settled["ends"]): readonly string[] {
  return ends.flatMap(([from, to]) => {
    const [nic] = from.nics;
    const wiring = nic?.networkSpec.wiring;
    const isStuck = wiring?.kind === "nat" && wiring.masquerade === false && nic?.spec.public4 === undefined;
    return isStuck && to.nics.length === 0 && !isIpv6(to.address)
      ? [`${nic?.name} has no public address to leave by: outside its host it is dropped (untranslated)`]
      : [];
  });
}

/** @throws NOT_FOUND, PHRASE_INVALID */
export function explainFlow(members: Members, question: FlowQuestion): FlowAnswer {
  const target = splitTarget(question.to);
  const { asked, service, told } = ledTo(members, askedEnd(members, target.end), target.service);
  const { ends, notes } = settle(members, askedEnd(members, question.from), asked);
  const fitting = ends.filter(([from]) => hasService(service, from));
  const [first] = ends;
  if (fitting.length === 0) {
    const family = first === undefined ? "no family" : first.map(({ address }) => address).join(" and ");
    throw invalid(`the ends have no addresses in common that ${flowServiceText(service)} could use (${family})`);
  }
  const unsure = fitting.flat().filter(({ address, nics }) => nics.length === 0 && members.holders(address).length > 0);
  return {
    notes: [...notes, ...told, ...outsideNotes(fitting), ...unsure.map(({ address }) => several(address))],
    flows: fitting.map(([from, to]) => flowView(members, { from, to, service })),
  };
}

/** The same of a site file alone: policies are known whole, addresses that it does not name are guessed. @throws as `explainFlow` and `freshSite` */
export function explainFlowOffline(resources: readonly Resource[], question: FlowQuestion, random: Random): FlowAnswer {
  const members = siteMembers(freshSite(resources, random));
  const answer = explainFlow(members, question);
  const told = new Set(answer.flows.flatMap(({ ends }) => ends.flatMap(({ nics }) => nics)));
  const assigned = members.all
    .filter(({ name, spec }) => told.has(name) && spec.address4 === undefined)
    .map(({ name }) => `address of ${name}: as a host that holds nothing else would assign`);
  return { ...answer, notes: [...answer.notes, ...assigned] };
}
