/** What is found on the kernel that runs: it is what the guard really gets, and nothing of the search stays or was ever in force. */
import { existsSync } from "node:fs";
import { release } from "node:os";
import { expect, test } from "vitest";
import { probeCapabilities } from "../../src/kernel/capabilities.ts";
import { openNft } from "../../src/kernel/nft-netlink.ts";
import {
  capabilities,
  capabilityCatalogue,
  policyNeeds,
  policyShapeOf,
  shapeOf,
} from "../../src/model/capabilities.ts";
import { parsePortPrefix } from "../../src/model/names.ts";
import { familiesOf } from "../../src/ruleset/policy-sets.ts";
import { buildSkeleton } from "../../src/ruleset/skeleton.ts";
import { command, ownNamespace } from "../support/namespace.ts";

ownNamespace("probe");
const [major = 0, minor = 0] = release().split(".").map(Number);
const isFrom = (wanted: string): boolean => {
  const [a = 0, b = 0] = wanted.split(".").map(Number);
  return major > a || (major === a && minor >= b);
};
const prefixes = ["vif"].flatMap((text) => parsePortPrefix(text) ?? []);

test("this kernel has what the guard needs, and takes the guard", async () => {
  const found = await probeCapabilities();
  for (const name of capabilities)
    if (["must", "readBack"].includes(capabilityCatalogue[name].need))
      expect(found[name], name).toEqual({ has: "yes" });
  expect(shapeOf(found)).toBe("port-chains");
  const nft = openNft();
  const { body, hooks, table } = buildSkeleton(prefixes, familiesOf(policyShapeOf(await probeCapabilities())));
  await nft.load(body + hooks);
  expect(nft.tables("netdev")).toEqual([table]);
  nft.close();
  command("nft", "flush", "ruleset");
});

test("what depends on the kernel's version is found as that version has it", async () => {
  const found = await probeCapabilities();
  expect(found["prefix-devices"].has).toBe(isFrom("6.17") ? "yes" : "no");
  const state = "table bridge t {\n chain c {\n ct state established accept\n }\n}\n";
  const takes = command(
    "sh",
    "-c",
    `printf '${state}' > /run/vgt-ct.$$; nft -c -f /run/vgt-ct.$$ 2>&1 && echo taken; rm /run/vgt-ct.$$`,
  );
  expect(found["bridge-conntrack"].has).toBe(takes.includes("taken") ? "yes" : "no");
});

test("what policy wants is found as it is", async () => {
  const found = await probeCapabilities();
  expect(found["bridge-netfilter"]).toEqual(
    existsSync("/proc/sys/net/bridge") ? { has: "yes" } : { has: "no", words: "br_netfilter is not loaded" },
  );
  // Loaded for good here, where the search only offers it.
  const takes = (rules: string): "yes" | "no" => {
    const taken = command("sh", "-c", `nft '${rules}' 2>&1 && echo taken; nft flush ruleset`);
    return taken.includes("taken") ? "yes" : "no";
  };
  const judged =
    "table inet t {\n chain c { type filter hook forward priority 0;\n ct zone 7 ct original ip saddr 192.0.2.1 accept\n }\n}";
  expect(found["inet-conntrack"].has).toBe(takes(judged));
  const limited = "table inet t {\n set s { typeof ct zone; ct count over 8\n }\n}";
  expect(found["connection-limits"].has).toBe(takes(limited));
  const shape = policyShapeOf(found);
  for (const name of policyNeeds[shape]) expect(found[name], name).toEqual({ has: "yes" });
  expect(shape).not.toBe("none");
});

test("nothing of the search stays, and nobody at the rules hears of it", async () => {
  command("nft", "add", "table", "netdev", "theirs");
  const before = [command("nft", "list", "ruleset"), command("ip", "-br", "link")];
  const nft = openNft();
  let heard = 0;
  const watch = nft.watch(() => {
    heard += 1;
  });
  await probeCapabilities();
  expect([command("nft", "list", "ruleset"), command("ip", "-br", "link")]).toEqual(before);
  expect(heard).toBe(0);
  command("nft", "add", "table", "netdev", "more");
  // Control: a change that lasts is heard.
  await expect.poll(() => heard).toBeGreaterThan(0);
  watch.close();
  nft.close();
});
