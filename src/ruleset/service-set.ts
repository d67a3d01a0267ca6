/** What rules of security groups add up to for one pair of ends: a set of services, in one form however it was written. */
import type { PortRange, Service } from "../model/policy.ts";

/** Ports of one protocol, both ends included; of ICMP type and code as one number. */
export interface ServiceRange {
  readonly protocol: number;
  readonly first: number;
  readonly last: number;
}

export interface ServiceSet {
  readonly everything: boolean;
  /** Protocols with all their ports, rising. */
  readonly protocols: readonly number[];
  /** Neither overlapping nor touching one another, rising; none of a protocol that is in whole. */
  readonly ranges: readonly ServiceRange[];
}

const NUMBERS = { tcp: 6, udp: 17, icmp: 1, icmpv6: 58 } as const;
const LAST_CODE = 255;

type Part = number | ServiceRange;

function partsOf(service: Exclude<Service, { kind: "any" }>): readonly Part[] {
  switch (service.kind) {
    case "tcp":
    case "udp": {
      const protocol = NUMBERS[service.kind];
      return service.ports.length === 0 ? [protocol] : service.ports.map((range) => ({ protocol, ...range }));
    }
    case "icmp":
    case "icmpv6": {
      const protocol = NUMBERS[service.kind];
      const { type, code } = service;
      if (type === undefined) return [protocol];
      return [{ protocol, first: type * 256 + (code ?? 0), last: type * 256 + (code ?? LAST_CODE) }];
    }
    default:
      return [service.number];
  }
}

const rising = (numbers: Iterable<number>): readonly number[] => [...new Set(numbers)].sort((a, b) => a - b);

/** Rising, and those that overlap or touch made one: the kernel's sets of ranges take no overlap. */
export function joinedPorts(ports: readonly PortRange[]): readonly PortRange[] {
  const joined: PortRange[] = [];
  for (const { first, last } of [...ports].sort((a, b) => a.first - b.first)) {
    const before = joined.at(-1);
    if (before !== undefined && first <= before.last + 1)
      joined[joined.length - 1] = { first: before.first, last: Math.max(before.last, last) };
    else joined.push({ first, last });
  }
  return joined;
}

function joinedRanges(ranges: readonly ServiceRange[]): readonly ServiceRange[] {
  return rising(ranges.map(({ protocol }) => protocol)).flatMap((protocol) =>
    joinedPorts(ranges.filter((range) => range.protocol === protocol)).map((range) => ({ protocol, ...range })),
  );
}

export function serviceSetOf(services: readonly Service[]): ServiceSet {
  if (services.some(({ kind }) => kind === "any")) return { everything: true, protocols: [], ranges: [] };
  const parts = services.flatMap((service) => (service.kind === "any" ? [] : partsOf(service)));
  const whole = new Set(parts.filter((part) => typeof part === "number"));
  const ranges = parts.filter((part) => typeof part !== "number").filter(({ protocol }) => !whole.has(protocol));
  return { everything: false, protocols: rising(whole), ranges: joinedRanges(ranges) };
}

export const isEmptySet = ({ everything, protocols, ranges }: ServiceSet): boolean =>
  !everything && protocols.length === 0 && ranges.length === 0;

/** The same for the same services, whatever rules they came from. */
export function serviceSetText({ everything, protocols, ranges }: ServiceSet): string {
  if (everything) return "*";
  return [...protocols, ...ranges.map(({ protocol, first, last }) => `${protocol}:${first}-${last}`)].join(",");
}

/** @param service port, or type and code, that the flow was opened to; undefined for protocols that have neither */
export function holdsService(
  { everything, protocols, ranges }: ServiceSet,
  protocol: number,
  service?: number,
): boolean {
  if (everything || protocols.includes(protocol)) return true;
  return (
    service !== undefined &&
    ranges.some((range) => range.protocol === protocol && range.first <= service && service <= range.last)
  );
}
