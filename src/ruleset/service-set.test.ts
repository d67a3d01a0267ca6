/** Sets of services: one form for one meaning, and nothing wider or narrower than the rules it came from. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { Service } from "../model/policy.ts";
import { holdsService, isEmptySet, serviceSetOf, serviceSetText } from "./service-set.ts";

const range = fc
  .tuple(fc.integer({ min: 1, max: 40 }), fc.integer({ min: 0, max: 5 }))
  .map(([first, more]) => ({ first, last: first + more }));
const service: fc.Arbitrary<Service> = fc.oneof(
  { weight: 1, arbitrary: fc.constant<Service>({ kind: "any" }) },
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constantFrom("tcp" as const, "udp" as const),
      ports: fc.array(range, { maxLength: 3 }),
    }),
  },
  {
    weight: 2,
    arbitrary: fc.record({ kind: fc.constantFrom("icmp" as const, "icmpv6" as const), type: fc.constantFrom(8, 13) }),
  },
  {
    weight: 1,
    arbitrary: fc.record({ kind: fc.constant("icmp" as const), type: fc.constant(8), code: fc.constantFrom(0, 3) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant("protocol" as const), number: fc.constantFrom(47, 132) }) },
);

/** As the words of the site file say it. */
function allows(one: Service, protocol: number, port: number): boolean {
  switch (one.kind) {
    case "any":
      return true;
    case "tcp":
    case "udp":
      return (
        protocol === (one.kind === "tcp" ? 6 : 17) &&
        (one.ports.length === 0 || one.ports.some(({ first, last }) => first <= port && port <= last))
      );
    case "protocol":
      return one.number === protocol;
    default:
      return (
        protocol === (one.kind === "icmp" ? 1 : 58) &&
        (one.type === undefined || one.type === port >> 8) &&
        (one.code === undefined || one.code === (port & 255))
      );
  }
}

test("a set holds exactly what one of its services is", () => {
  const probe = fc.tuple(
    fc.constantFrom(1, 6, 17, 47, 58, 132),
    fc.oneof(fc.integer({ min: 0, max: 50 }), fc.constantFrom(0x0800, 0x0803, 0x08ff, 0x0d00)),
  );
  fc.assert(
    fc.property(fc.array(service, { maxLength: 6 }), probe, (services, [protocol, port]) => {
      const set = serviceSetOf(services);
      expect(holdsService(set, protocol, port)).toBe(services.some((one) => allows(one, protocol, port)));
    }),
    { numRuns: 2000 },
  );
});

test("ranges neither overlap nor touch, and order and repetition mean nothing", () => {
  fc.assert(
    fc.property(fc.array(service, { maxLength: 6 }), (services) => {
      const set = serviceSetOf(services);
      for (const [n, { protocol, first }] of set.ranges.entries()) {
        const before = set.ranges[n - 1];
        if (before?.protocol === protocol) expect(first).toBeGreaterThan(before.last + 1);
        expect(set.protocols).not.toContain(protocol);
      }
      expect(serviceSetText(serviceSetOf([...services, ...services].reverse()))).toBe(serviceSetText(set));
    }),
  );
});

test("no rule, no service", () => {
  expect(isEmptySet(serviceSetOf([]))).toBe(true);
  expect(isEmptySet(serviceSetOf([{ kind: "tcp", ports: [] }]))).toBe(false);
  expect(serviceSetText(serviceSetOf([{ kind: "tcp", ports: [{ first: 80, last: 80 }] }, { kind: "any" }]))).toBe("*");
});
