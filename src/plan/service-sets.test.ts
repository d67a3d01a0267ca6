/** Common services and simple lists, held against the plain question whether one flow is meant. */
import fc from "fast-check";
import { expect, test } from "vitest";
import type { PortRange, Service } from "../model/policy.ts";
import { type FlowService, serviceMatches } from "./policy.ts";
import { commonService, simpleServices } from "./service-sets.ts";

const port = fc.integer({ min: 1, max: 12 });
const range: fc.Arbitrary<PortRange> = fc
  .tuple(port, port)
  .map(([a, b]) => ({ first: Math.min(a, b), last: Math.max(a, b) }));
const few = fc.integer({ min: 0, max: 2 });
const service: fc.Arbitrary<Service> = fc.oneof(
  fc.constant<Service>({ kind: "any" }),
  fc.record({ kind: fc.constantFrom("tcp", "udp"), ports: fc.array(range, { maxLength: 3 }) }),
  fc.record({ kind: fc.constantFrom("icmp", "icmpv6") }),
  fc.record({ kind: fc.constantFrom("icmp", "icmpv6"), type: few }),
  fc.record({ kind: fc.constantFrom("icmp", "icmpv6"), type: few, code: few }),
  fc.record({ kind: fc.constant("protocol"), number: few }),
);
const flow: fc.Arbitrary<FlowService> = fc.oneof(
  fc.record({ kind: fc.constantFrom("tcp", "udp"), port }),
  fc.record({ kind: fc.constantFrom("icmp", "icmpv6"), type: few, code: few }),
  fc.record({ kind: fc.constant("protocol"), number: few }),
);

test("what two services have in common is what both of them mean", () => {
  const seen = { common: 0, none: 0 };
  fc.assert(
    fc.property(service, service, flow, (a, b, one) => {
      const common = commonService(a, b);
      const both = serviceMatches(a, one) && serviceMatches(b, one);
      expect(common !== undefined && serviceMatches(common, one)).toBe(both);
      seen[both ? "common" : "none"] += 1;
    }),
    { numRuns: 3000 },
  );
  expect(seen.common, "control").toBeGreaterThan(100);
  expect(seen.none, "control").toBeGreaterThan(100);
});

test("a simple list means the same, and says nothing twice", () => {
  fc.assert(
    fc.property(fc.array(service, { maxLength: 6 }), flow, (services, one) => {
      const simple = simpleServices(services);
      const means = (list: readonly Service[]): boolean => list.some((own) => serviceMatches(own, one));
      expect(means(simple)).toBe(means(services));
      expect(simple.filter((own) => serviceMatches(own, one)).length).toBeLessThanOrEqual(1);
      expect(simpleServices(simple)).toEqual(simple);
    }),
    { numRuns: 3000 },
  );
});

test("ranges that touch are one", () => {
  const ports = [
    { first: 443, last: 443 },
    { first: 80, last: 80 },
    { first: 81, last: 90 },
  ];
  expect(simpleServices([{ kind: "tcp", ports }])).toEqual([
    {
      kind: "tcp",
      ports: [
        { first: 80, last: 90 },
        { first: 443, last: 443 },
      ],
    },
  ]);
});
