/** What a real Xen and its domains told while ./selftest-platforms ran xen-dom0.sh in dom-0. */
import { readFileSync } from "node:fs";
import { beforeAll, expect, test } from "vitest";
import { guestLines } from "./inside.ts";

let steps: ReadonlyMap<string, string>;
beforeAll(() => {
  const path = process.env["VIFGUARD_XEN_CONSOLE"];
  if (path === undefined) throw new TypeError("run it by ./selftest-platforms");
  const parts = readFileSync(path, "utf8")
    .replaceAll("\r", "")
    .split(/^STEP /m)
    .slice(1);
  steps = new Map(parts.map((part) => [part.slice(0, part.indexOf("\n")), part.slice(part.indexOf("\n") + 1)]));
});
const told = (step: string): string => steps.get(step) ?? `nothing was told of '${step}'`;
const said = (address: string): readonly string[] => [`address ${address}/24`, "ping passed", "lie failed", "done"];

test("two domains at once: each is attached before it runs, gets its address, speaks, and cannot lie", () => {
  expect(told("create u1")).toContain("status 0\n");
  expect(told("create u2")).toContain("status 0\n");
  expect(told("ports")).toBe("applied u1\napplied u2\n");
  expect(guestLines(told("console u1"))).toEqual(said("203.0.113.10"));
  expect(guestLines(told("console u2"))).toEqual(said("203.0.113.11"));
  expect(told("reached")).toBe("status 0\n");
});

test("a domain that powers itself off, and one that is destroyed, leave nothing", () => {
  expect(told("after poweroff")).toBe("applied u1\n");
  expect(told("destroy")).toContain("status 0\n");
  expect(told("after destroy")).toBe("");
});

test("what cannot be guarded does not start, and xl says why", () => {
  expect(told("wrong mac")).toContain("MAC fe:00:cb:00:71:0a is none of guest 'u2'");
  expect(told("wrong mac")).toContain("status 3\n");
  expect(told("no agent")).toContain("no agent at '/run/vifguard/agent.sock'");
  expect(told("no agent")).toMatch(/status 3\n$/);
  expect(told("end")).not.toContain("nothing was told");
});
