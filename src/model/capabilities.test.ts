/** Which kernels get a guard, and what is said to those that do not. */
import { describe, expect, test } from "vitest";
import {
  type Capability,
  type CapabilitySpec,
  canTranslate,
  capabilities,
  capabilityCatalogue,
  capabilityViews,
  type Finding,
  type Findings,
  policyNeeds,
  policyShapeOf,
  policyShapes,
  shapeOf,
  without,
} from "./capabilities.ts";
import { GuardError } from "./errors.ts";

const everything = Object.fromEntries(capabilities.map((name) => [name, { has: "yes" }])) as Findings;
const withFinding = (name: Capability, finding: Finding): Findings => ({ ...everything, [name]: finding });

function refusal(findings: Findings): GuardError | undefined {
  try {
    shapeOf(findings);
  } catch (error) {
    if (error instanceof GuardError) return error;
    throw error;
  }
  return undefined;
}

describe.each(capabilities)("%s", (name) => {
  const { need }: CapabilitySpec = capabilityCatalogue[name];
  const found = {
    must: "refused",
    readBack: "refused",
    policy: "port-chains",
    nat: "port-chains",
    may: "port-chains",
  } as const;
  // Not sure: shut, unless each attach makes sure.
  const unsure = {
    must: "refused",
    readBack: "port-chains",
    policy: "port-chains",
    nat: "port-chains",
    may: "port-chains",
  } as const;

  test.each([
    ["yes", "port-chains"],
    ["no", found[need]],
    ["untested", unsure[need]],
  ] as const)("%s: %s", (has, expected) => {
    const findings = withFinding(name, { has });
    expect(refusal(findings) === undefined ? shapeOf(findings) : "refused").toBe(expected);
  });
});

const needed = capabilities.filter((name) => ["must", "readBack"].includes(capabilityCatalogue[name].need));
test.each(needed)("the refusal for want of %s names it, says why it is needed and what brings it", (name) => {
  const error = refusal(withFinding(name, { has: "no", words: "nft: Operation not supported" }));
  const { why, from }: CapabilitySpec = capabilityCatalogue[name];
  expect(error?.code).toBe("KERNEL_UNSUPPORTED");
  expect(error?.fields).toEqual({ capability: name });
  for (const part of [name, why, from, "nft: Operation not supported"]) expect(error?.message).toContain(part);
  expect(error?.hint).toMatch(/kernel\.md/);
});

describe("policy with connection state", () => {
  const policyCapabilities = capabilities.filter((name) => capabilityCatalogue[name].need === "policy");

  test.each([
    ["everything", [], "bridge"],
    ["no tracking in the bridge", ["bridge-conntrack"], "bridge-netfilter"],
    ["a bridge that hands nothing over", ["bridge-netfilter"], "bridge"],
    // What the host routes to its guests is judged there, whatever the bridge can do.
    ["no tracking of what is routed", ["inet-conntrack"], "none"],
    ["a bridge that neither tracks nor hands over", ["bridge-conntrack", "bridge-netfilter"], "none"],
    ["no tracking at all", ["bridge-conntrack", "inet-conntrack"], "none"],
    ["no limits", ["connection-limits"], "none"],
  ] as const)("%s: %s are missing, %s", (_, missing, shape) => {
    expect(policyShapeOf(without(everything, missing))).toBe(shape);
    // It is no reason not to guard.
    expect(shapeOf(without(everything, missing))).toBe("port-chains");
  });

  test.each(policyCapabilities)("%s: not sure is not there", (name) => {
    const unsure = withFinding(name, { has: "untested" });
    expect(policyShapeOf(unsure)).toBe(policyShapeOf(without(everything, [name])));
  });

  test("what a shape wants is marked as wanted by policy, and nothing else is", () => {
    const wanted = new Set(policyShapes.flatMap((shape) => policyNeeds[shape]));
    expect([...wanted].sort()).toEqual([...policyCapabilities].sort());
  });
});

test("a capability that is taken away is missing, whatever was found; nothing can be added", () => {
  const views = capabilityViews(without(everything, ["netdev-egress", "prefix-devices", "bridge-conntrack"]));
  const gone = views.filter(({ has }) => has !== "yes");
  expect(gone.map((view) => [view.name, view.needed, view.policy])).toEqual([
    ["netdev-egress", true, false],
    ["prefix-devices", false, false],
    ["bridge-conntrack", false, true],
  ]);
  expect(refusal(without(everything, ["netdev-egress"]))?.message).toContain("--without");
});

test.each([
  ["everything", {}, true],
  ["no translation", { "inet-nat": { has: "no" } }, false],
  ["nobody could tell", { "inet-nat": { has: "untested" } }, false],
  ["nothing tracked", { "inet-conntrack": { has: "no" } }, false],
] as const)("addresses are translated where the kernel can translate and track: %s", (_, found, can) => {
  const findings: Findings = { ...everything, ...found };
  expect(canTranslate({ policy: policyShapeOf(findings), capabilities: capabilityViews(findings) })).toBe(can);
});
