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

test("an HVM guest speaks by its emulated card until its driver is connected, by one of the two at a time, and cannot lie by either", () => {
  expect(told("hvm create")).toContain("status 0\n");
  expect(told("hvm ports")).toMatch(/^h1 vif standby\nh1 vif-emu applied\n/);
  expect(told("hvm emulated")).toMatch(/^h1 vif standby\nh1 vif-emu applied\n/);
  expect(told("hvm driver")).toMatch(/^h1 vif applied\nh1 vif-emu standby\n/m);
  expect(told("hvm again")).toMatch(/^h1 vif standby\nh1 vif-emu applied\n/);
  expect(guestLines(told("hvm console h1"))).toEqual([
    "emulated address 203.0.113.12/24",
    "emulated ping passed",
    "emulated lie failed",
    "emulated gives way",
    "driver address 203.0.113.12/24",
    "driver ping passed",
    "driver lie failed",
    "one speaks",
    "emulated again",
    "done",
  ]);
});

test("one that unplugs its emulated card speaks by its driver, and begins with the emulated one again when it reboots", () => {
  expect(guestLines(told("hvm console h2")).slice(0, 4)).toEqual([
    "driver address 203.0.113.13/24",
    "driver ping passed",
    "driver lie failed",
    "done",
  ]);
  expect(told("hvm rebooted")).toContain("h2 vif standby\nh2 vif-emu applied\n");
});

test("two HVM guests that end leave nothing, and one whose emulated card cannot be guarded does not start", () => {
  expect(told("hvm crash")).toBe("status 0\nstatus 0\n");
  expect(told("hvm after")).toBe("");
  expect(told("hvm name")).toContain('would be called "vif-frontends1-emu"');
  expect(told("hvm name")).toMatch(/status 3\n$/);
});

test("what cannot be guarded does not start, and xl says why", () => {
  expect(told("wrong mac")).toContain("MAC fe:00:cb:00:71:0a is none of guest 'u2'");
  expect(told("wrong mac")).toContain("status 3\n");
  expect(told("no agent")).toContain("no agent at '/run/vifguard/agent.sock'");
  expect(told("no agent")).toMatch(/status 3\n$/);
  expect(told("end")).not.toContain("nothing was told");
});
