/** Which field goes with which kind of addressing, and what is filled in. */
import { describe, expect, test } from "vitest";
import { loadSite } from "./load.ts";

const network = (addressing: string): string =>
  `kind: network\nname: n\nspec: { prefix4: 10.0.0.0/24, gateway4: 10.0.0.1, wiring: { kind: bridged, bridge: br0 }, addressing: ${addressing} }`;

function addressingOf(text: string): object {
  const [resource] = loadSite(network(text), "test");
  if (resource?.kind !== "network") throw new TypeError("no network");
  return resource.spec.addressing;
}

const TOLD = { dns: [], dns6: [], ntp: [], search: [], routes: [] };

test.each([
  ["{ kind: managed }", { kind: "managed", leaseSeconds: 3600, macScheme: "random", ...TOLD }],
  ["{ kind: static }", { kind: "static", macScheme: "random", ...TOLD }],
  ["{ kind: static, macScheme: ip }", { kind: "static", macScheme: "ip", ...TOLD }],
  ["{ kind: mac }", { kind: "mac", macScheme: "net", ...TOLD }],
  ["{ kind: mac, macScheme: net, dns: [10.0.0.2] }", { kind: "mac", macScheme: "net", ...TOLD, dns: ["10.0.0.2"] }],
])("%s", (text, value) => {
  expect(addressingOf(text)).toEqual(value);
});

describe("what goes with another kind is refused", () => {
  test.each([
    ["{ kind: static, leaseSeconds: 60 }", "leaseSeconds: goes with managed; leave it out"],
    ["{ kind: mac, leaseSeconds: 60 }", "leaseSeconds: goes with managed; leave it out"],
    ["{ kind: static, routes: [{ to: 10.1.0.0/16, via: 10.0.0.2 }] }", "routes: go with managed: nobody tells them"],
    ["{ kind: mac, macScheme: ip }", "macScheme: is net where guests read their MACs; leave it out"],
  ])("%s", (text, says) => {
    expect(() => addressingOf(text)).toThrow(`network n: spec.addressing.${says}`);
    expect(() => addressingOf(text.replace(/kind: \w+/, "kind: managed"))).not.toThrow();
  });
});
