/** Flows the kernel knows, judged by the same numbers that its rules look up: which of them security groups do not allow any more. */
import { bytesText } from "../model/bytes.ts";
import { blockHolds, type IpAddress, ipToBytes } from "../model/ip-block.ts";
import type { IpBlock } from "../model/resources.ts";
import type { PolicyFacts, RangeRule, SideFacts } from "../ruleset/policy-elements.ts";
import { EPHEMERAL } from "../ruleset/policy-parts.ts";
import { holdsService, type ServiceSet } from "../ruleset/service-set.ts";
import type { HostWish } from "./host.ts";

/** A connection by what it was opened with. */
export interface OpenedFlow {
  readonly from: IpAddress;
  readonly to: IpAddress;
  readonly protocol: number;
  /** Port, or type and code of ICMP as one number; undefined for protocols that have neither. */
  readonly service: number | undefined;
  /** The address it was opened to, where the host led it to another. */
  readonly dialled?: IpAddress;
}

/** Single addresses at once, prefixes one after the other: few NICs have them. */
function finder<T>(
  entries: readonly { readonly what: IpBlock; readonly value: T }[],
): (address: IpAddress) => T | undefined {
  const single = new Map<string, T>();
  const wide: { readonly what: IpBlock; readonly value: T }[] = [];
  for (const { what, value } of entries) {
    if ("address" in what) single.set(what.address, value);
    else wide.push({ what, value });
  }
  return (address) => single.get(address) ?? wide.find(({ what }) => blockHolds(what, address))?.value;
}

function between({ first, last }: RangeRule, bytes: Uint8Array): boolean {
  const [from, text, to] = [bytesText(first), bytesText(bytes), bytesText(last)];
  return first.length === bytes.length && from <= text && text <= to;
}

interface Rules {
  readonly any: ReadonlyMap<number, number>;
  readonly pairs: ReadonlyMap<string, number>;
  readonly ranges: ReadonlyMap<number, readonly RangeRule[]>;
}

function rulesOf({ any, pairs, ranges }: SideFacts): Rules {
  const byClass = new Map<number, RangeRule[]>();
  for (const range of ranges) byClass.set(range.judged, [...(byClass.get(range.judged) ?? []), range]);
  return {
    any: new Map(any.map(({ judged, services }) => [judged, services])),
    pairs: new Map(pairs.map(({ judged, peer, services }) => [`${judged}/${peer}`, services])),
    ranges: byClass,
  };
}

/** Whether the groups of both ends allow the flow, as far as the ends are judged. */
export function createFlowJudge(
  facts: PolicyFacts,
): (flow: OpenedFlow, judged: { readonly out: boolean; readonly in: boolean }) => boolean {
  const classOf = finder(facts.members.map(({ what, policyClass }) => ({ what, value: policyClass })));
  const sets = new Map<number, ServiceSet>(facts.services.map(({ number, set }) => [number, set]));
  const sides = { out: rulesOf(facts.out), in: rulesOf(facts.in) };

  function allows({ any, pairs, ranges }: Rules, own: IpAddress, other: IpAddress, flow: OpenedFlow): boolean {
    const holds = (services: number | undefined): boolean => {
      const set = services === undefined ? undefined : sets.get(services);
      return set !== undefined && holdsService(set, flow.protocol, flow.service);
    };
    const judged = classOf(own) ?? 0;
    if (holds(pairs.get(`${judged}/${classOf(other) ?? 0}`)) || holds(any.get(judged))) return true;
    return inRange(ranges.get(judged), other, holds);
  }

  function inRange(
    ranges: readonly RangeRule[] = [],
    other: IpAddress,
    holds: (services: number | undefined) => boolean,
  ): boolean {
    const bytes = ipToBytes(other);
    return holds(ranges.find((range) => between(range, bytes))?.services);
  }

  /** A prefix that a guest may use holds the public address it uses, too. */
  function allowsDialled({ ranges }: Rules, own: IpAddress, flow: OpenedFlow): boolean {
    const holds = (services: number | undefined): boolean => {
      const set = services === undefined ? undefined : sets.get(services);
      return set !== undefined && holdsService(set, flow.protocol, flow.service);
    };
    return flow.dialled !== undefined && inRange(ranges.get(classOf(own) ?? 0), flow.dialled, holds);
  }

  return (flow, judged) =>
    (!judged.out || allows(sides.out, flow.from, flow.to, flow) || allowsDialled(sides.out, flow.from, flow)) &&
    (!judged.in || allows(sides.in, flow.to, flow.from, flow));
}

/** A flow as connection tracking tells it: of ICMP the type and code stand where others have their port. */
export interface TrackedFlow {
  readonly from: IpAddress;
  readonly to: IpAddress;
  readonly protocol: number;
  readonly fromPort: number;
  readonly toPort: number;
  readonly reply?: Pick<TrackedFlow, "from" | "to" | "fromPort" | "toPort">;
}

/** As the rules judge it: opened to whoever answers, and to the port that does. */
function behindTranslation({ to, toPort, protocol, reply }: TrackedFlow): {
  readonly to: IpAddress;
  readonly toPort: number;
  readonly dialled?: IpAddress;
} {
  if (reply === undefined || reply.from === to) return { to, toPort };
  return { to: reply.from, toPort: WITH_PORTS.includes(protocol) ? reply.fromPort : toPort, dialled: to };
}

/** Tells of flows of NICs that are judged no more, as far as the other end is not either: they go on untracked, and what is known of them goes stale. */
export function leftBy(
  opened: readonly IpBlock[],
  { ports }: Pick<HostWish, "ports">,
): (flow: Pick<TrackedFlow, "from" | "to">) => boolean {
  const isJudged = judgedAddresses(ports, () => true);
  const isOpened = (address: IpAddress): boolean => opened.some((block) => blockHolds(block, address));
  return ({ from, to }) => (isOpened(from) && isJudged(to) !== true) || (isOpened(to) && isJudged(from) !== true);
}

const judgedAddresses = (
  ports: HostWish["ports"],
  which: (port: HostWish["ports"][number]) => boolean,
): ((address: IpAddress) => true | undefined) =>
  finder(
    ports
      .filter((port) => port.binding.policy !== undefined && which(port))
      .flatMap(({ binding }) => binding.sources.map(({ what }) => ({ what, value: true as const }))),
  );

const TCP = 6;
const WITH_PORTS: readonly number[] = [6, 17];
const WITH_SERVICE: readonly number[] = [1, 6, 17, 58];

/** Tells of flows of this host's stateful NICs that the wish does not allow; those of observed NICs are let be. */
export function revokedBy({ ports, policy }: Pick<HostWish, "ports" | "policy">): (flow: TrackedFlow) => boolean {
  const isJudged = judgedAddresses(ports, ({ binding }) => !binding.observed);
  const allowed = createFlowJudge(policy.facts);
  return (flow) => {
    const { from, protocol, fromPort } = flow;
    const { to, toPort, ...translated } = behindTranslation(flow);
    const judged = { out: isJudged(from) === true, in: isJudged(to) === true };
    if (!judged.out && !judged.in) return false;
    const service = WITH_SERVICE.includes(protocol) ? toPort : undefined;
    if (allowed({ from, to, protocol, service, ...translated }, judged)) return false;
    // It may have been seen first on its way back (ruleset/policy.ts): then it is allowed the other way round.
    const mayBeTurned = protocol === TCP && fromPort < EPHEMERAL;
    return (
      !mayBeTurned || !allowed({ from: to, to: from, protocol, service: fromPort }, { out: judged.in, in: judged.out })
    );
  };
}
