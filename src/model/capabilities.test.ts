/** Which kernels get a guard, and what is said to those that do not. */
import { describe, expect, test } from "vitest";
import {
  type Capability,
  type CapabilitySpec,
  capabilities,
  capabilityCatalogue,
  capabilityViews,
  type Finding,
  type Findings,
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
  const found = { must: "refused", readBack: "refused", may: "port-chains" } as const;
  // Not sure: shut, unless each attach makes sure.
  const unsure = { must: "refused", readBack: "port-chains", may: "port-chains" } as const;

  test.each([
    ["yes", "port-chains"],
    ["no", found[need]],
    ["untested", unsure[need]],
  ] as const)("%s: %s", (has, expected) => {
    const findings = withFinding(name, { has });
    expect(refusal(findings) === undefined ? shapeOf(findings) : "refused").toBe(expected);
  });
});

const needed = capabilities.filter((name) => capabilityCatalogue[name].need !== "may");
test.each(needed)("the refusal for want of %s names it, says why it is needed and what brings it", (name) => {
  const error = refusal(withFinding(name, { has: "no", words: "nft: Operation not supported" }));
  const { why, from }: CapabilitySpec = capabilityCatalogue[name];
  expect(error?.code).toBe("KERNEL_UNSUPPORTED");
  expect(error?.fields).toEqual({ capability: name });
  for (const part of [name, why, from, "nft: Operation not supported"]) expect(error?.message).toContain(part);
  expect(error?.hint).toMatch(/kernel\.md/);
});

test("a capability that is taken away is missing, whatever was found; nothing can be added", () => {
  const views = capabilityViews(without(everything, ["netdev-egress", "prefix-devices"]));
  expect(views.filter(({ has }) => has !== "yes").map(({ name, needed }) => [name, needed])).toEqual([
    ["netdev-egress", true],
    ["prefix-devices", false],
  ]);
  expect(refusal(without(everything, ["netdev-egress"]))?.message).toContain("--without");
});
