/** Settings of interfaces: the memory double and the kernel give the same answers. */
import { describe, expect, test } from "vitest";
import { memorySysctls, openSysctls, type Sysctls } from "../../src/kernel/sysctls.ts";
import { GuardError } from "../../src/model/errors.ts";
import { parseInterfaceName } from "../../src/model/names.ts";
import { settingNames, settingTable } from "../../src/model/settings.ts";
import { ipBatch, ownNamespace } from "../support/namespace.ts";

ownNamespace("sysctls");

const FORWARDING = "ipv4/conf/vif1.0/forwarding";

function memoryWorld(): Sysctls {
  const sysctls = memorySysctls();
  sysctls.define(FORWARDING, 0);
  return sysctls;
}

function kernelWorld(): Sysctls {
  ipBatch(["link add vif1.0 type veth peer name guest"]);
  return openSysctls();
}

describe.each([
  ["memory", memoryWorld],
  ["kernel", kernelWorld],
])("settings (%s)", (_, open) => {
  test("are read and written; what is not there is undefined, and refuses", () => {
    const sysctls = open();
    expect(sysctls.read(FORWARDING)).toBe(0);
    sysctls.write(FORWARDING, 1);
    expect(sysctls.read(FORWARDING)).toBe(1);
    sysctls.write(FORWARDING, 0);
    expect(sysctls.read("ipv4/conf/vif9.9/forwarding")).toBeUndefined();
    expect(() => sysctls.write("ipv4/conf/vif9.9/forwarding", 1)).toThrow(GuardError);
  });
});

test("every setting that routing needs is a number here, and stays between 0 and 65 535", () => {
  const [name, sysctls] = [parseInterfaceName("vif1.0"), openSysctls()];
  if (name === undefined) throw new TypeError("name");
  const found = settingNames.map((setting) => [setting, sysctls.read(settingTable[setting].path(name))] as const);
  // Linux 6.17 and newer; before it is the switch of all interfaces.
  const present = found.filter(([setting, value]) => setting !== "forwarding6" || value !== undefined);
  for (const [setting, value] of present) {
    expect(value, setting).toBeGreaterThanOrEqual(0);
    expect(value, setting).toBeLessThan(65_536);
  }
  expect(new Set(settingNames.map((setting) => settingTable[setting].code)).size).toBe(settingNames.length);
});
