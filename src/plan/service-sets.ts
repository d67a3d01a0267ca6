/** Services as sets: what two lists have in common, and a list without what it says twice. */
import type { PortRange, Service } from "../model/policy.ts";
import { joinedPorts } from "../ruleset/service-set.ts";

type Ported = Extract<Service, { readonly ports: unknown }>;
type Icmp = Extract<Service, { readonly type?: number }>;

function commonPorts(a: readonly PortRange[], b: readonly PortRange[]): readonly PortRange[] {
  return a.flatMap((x) =>
    b.flatMap((y) => {
      const [first, last] = [Math.max(x.first, y.first), Math.min(x.last, y.last)];
      return first <= last ? [{ first, last }] : [];
    }),
  );
}

function commonPorted(a: Ported, b: Ported): Ported | undefined {
  if (a.ports.length === 0) return b;
  if (b.ports.length === 0) return a;
  const ports = commonPorts(a.ports, b.ports);
  return ports.length === 0 ? undefined : { kind: a.kind, ports };
}

const contradict = (a: number | undefined, b: number | undefined): boolean =>
  a !== undefined && b !== undefined && a !== b;

const isPorted = (service: Service): service is Ported => service.kind === "tcp" || service.kind === "udp";
const isIcmp = (service: Service): service is Icmp => service.kind === "icmp" || service.kind === "icmpv6";

/** What both are; undefined when there is no such thing. */
export function commonService(a: Service, b: Service): Service | undefined {
  if (a.kind === "any") return b;
  if (b.kind === "any") return a;
  if (a.kind !== b.kind) return undefined;
  if (isPorted(a) && isPorted(b)) return commonPorted(a, b);
  if (isIcmp(a) && isIcmp(b))
    return contradict(a.type, b.type) || contradict(a.code, b.code) ? undefined : { ...a, ...b };
  return a.kind === "protocol" && b.kind === "protocol" && a.number === b.number ? a : undefined;
}

function simplePorted(kind: "tcp" | "udp", services: readonly Service[]): readonly Service[] {
  const own = services.filter(isPorted).filter((service) => service.kind === kind);
  if (own.length === 0) return [];
  const isAll = own.some(({ ports }) => ports.length === 0);
  return [{ kind, ports: isAll ? [] : joinedPorts(own.flatMap(({ ports }) => ports)) }];
}

const isWithin = (inner: Icmp, outer: Icmp): boolean =>
  inner.kind === outer.kind &&
  (outer.type === undefined || (outer.type === inner.type && (outer.code === undefined || outer.code === inner.code)));

const unique = <T>(items: readonly T[]): readonly T[] => [
  ...new Map(items.map((item) => [JSON.stringify(item), item])).values(),
];

function simpleIcmp(services: readonly Service[]): readonly Service[] {
  const own = unique(services.filter(isIcmp));
  return own.filter((one) => !own.some((other) => other !== one && isWithin(one, other)));
}

/** The same services, each thing said once. */
export function simpleServices(services: readonly Service[]): readonly Service[] {
  if (services.some(({ kind }) => kind === "any")) return [{ kind: "any" }];
  const numbered = unique(services.filter(({ kind }) => kind === "protocol"));
  return [...simplePorted("tcp", services), ...simplePorted("udp", services), ...simpleIcmp(services), ...numbered];
}
