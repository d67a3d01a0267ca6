/** The constant ruleset, proved three ways: it is the reviewed text, the kernel takes it, and what the kernel lists loads to the same again. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { probeCapabilities } from "../../src/kernel/capabilities.ts";
import { patience } from "../../src/lab/patience.ts";
import { parsePortPrefix } from "../../src/model/names.ts";
import { buildSkeleton } from "../../src/ruleset/skeleton.ts";

const scratch = mkdtempSync(join(tmpdir(), "vifguard-golden-"));
afterAll(() => rmSync(scratch, { recursive: true }));

/** Runs a script of ours in a network namespace that ends with it. */
function inNamespace(script: string, ...args: string[]): string {
  return execFileSync("unshare", ["--net", "sh", "-euc", script, "sh", ...args], {
    encoding: "utf8",
    timeout: patience(30_000),
  });
}

const prefixes = (...names: string[]) => names.flatMap((name) => parsePortPrefix(name) ?? []);

const cases = [
  { name: "one-prefix-of-ports-is-closed-from-birth", prefixes: prefixes("vif"), families: ["inet"] },
  { name: "several-prefixes-of-ports-are-closed-from-birth", prefixes: prefixes("vnet", "vif", "tap"), families: [] },
  { name: "flows-are-judged-in-the-bridge", prefixes: prefixes("vif"), families: ["inet", "bridge"] },
] as const;

/** Not every kernel tracks connections in the bridge: what it says when it is asked, it must do. */
const canTrackInBridge = (await probeCapabilities())["bridge-conntrack"].has === "yes";

describe.each(cases)("$name", (golden) => {
  const skeleton = buildSkeleton(golden.prefixes, golden.families);
  const isTaken = canTrackInBridge || !skeleton.families.includes("bridge");

  test("is the text that was reviewed", async () => {
    expect(golden.prefixes.length).toBeGreaterThan(0);
    await expect(skeleton.body + skeleton.hooks).toMatchFileSnapshot(`${golden.name}.nft`);
  });

  test(isTaken ? "is taken by the kernel, and its listing is a fixpoint" : "is refused by this kernel", () => {
    const file = join(scratch, `${golden.name}.nft`);
    writeFileSync(file, skeleton.body + skeleton.hooks);
    if (!isTaken) {
      expect(() => inNamespace('nft -f "$1" 2>/dev/null', file)).toThrow();
      return;
    }
    // nft finds names for some raw offsets only when it reads its own listing, so the fixpoint is reached with the second.
    const script =
      'for n in 1 2 3; do nft flush ruleset; nft -f "$1"; nft -s list ruleset > "$1.$n"; cp "$1.$n" "$1"; done; cmp "$1.2" "$1.3"; cat "$1.1"';
    const listing = inNamespace(script, file);
    expect(listing).toContain(`table netdev ${skeleton.table}`);
    expect(listing.match(/^\tchain /gm)?.length).toBe(
      skeleton.tables.reduce((sum, table) => sum + table.chains.length, 0),
    );
  });

  test("a broken copy of it is refused (the kernel really looks)", () => {
    const file = join(scratch, `${golden.name}-broken.nft`);
    writeFileSync(file, skeleton.body.replace("goto from_arp_cast", "goto no_such_chain"));
    expect(() => inNamespace('nft -f "$1" 2>/dev/null', file)).toThrow();
  });
});

test("the same rules always carry the same table name, other rules another", () => {
  const [one, two] = cases;
  const tables = [one, two].map(({ prefixes: own }) => buildSkeleton(own, []).table);
  expect(buildSkeleton(prefixes("tap", "vif", "vnet"), []).table).toBe(tables[1]);
  expect(new Set([...tables, buildSkeleton(one.prefixes, ["inet"]).table]).size).toBe(3);
});
