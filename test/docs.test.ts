/** The documents say what the program does: generated pages are current, invariants and links hold, commands in the text exist. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { commands } from "../src/cli/commands.ts";
import { referencePages } from "../src/cli/reference.ts";
import { checkSite } from "../src/config/check.ts";
import { describeConfig } from "../src/config/describe.ts";
import { loadSite } from "../src/config/load.ts";
import { conditionCatalogue } from "../src/model/health.ts";
import { reasonTable } from "../src/model/reasons.ts";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const read = (name: string): string => readFileSync(join(root, name), "utf8");
const pages = [
  "README.md",
  "ARCHITECTURE.md",
  "CONTRIBUTING.md",
  "SECURITY.md",
  "CHANGELOG.md",
  "docs/operate.md",
  "docs/backup.md",
  "docs/fleet.md",
  "docs/faults.md",
  "docs/addressing.md",
  "docs/exports.md",
  "docs/install.md",
  "docs/policy.md",
  "docs/wirings.md",
  "docs/addressing-static.md",
  "docs/dhcp.md",
  "docs/announcing.md",
  "docs/scale.md",
  "docs/decisions.md",
  ...["cni", "libvirt", "lxc", "nspawn", "qemu", "xen"].map((name) => `docs/platforms/${name}.md`),
];

describe("reference pages", () => {
  test.each(Object.entries(referencePages()))("%s is current (npm run docs)", (name, text) => {
    expect(read(`docs/reference/${name}`)).toBe(text);
  });
  test("nothing else stands beside them", () => {
    expect(readdirSync(join(root, "docs/reference")).sort()).toEqual(Object.keys(referencePages()).sort());
  });
});

test.each(pages)("%s: every link leads somewhere", (page) => {
  for (const [, target = ""] of read(page).matchAll(/\]\(([^)#]+)(?:#[^)]*)?\)/g))
    expect(existsSync(join(root, dirname(page), target)), target).toBe(true);
});

test.each(pages)("%s: every vifguard command in it exists", (page) => {
  const names = commands.map(({ name }) => name);
  for (const [, first = "", second = ""] of read(page).matchAll(/`?vifguard ([a-z]+) ?([a-z]+)?/g)) {
    const isCommand =
      names.includes(first) ||
      names.includes(`${first} ${second}`) ||
      names.some((name) => name.startsWith(`${first} `));
    const isProse = !read(page).includes(`\`vifguard ${first}`) && !read(page).includes(`\nvifguard ${first}`);
    expect(isCommand || isProse, `vifguard ${first} ${second}`).toBe(true);
  }
});

test.each([
  ["README.md", ["network", "guest", "group"]],
  ["docs/wirings.md", ["network"]],
  ["docs/addressing-static.md", ["network", "guest", "guest"]],
  ["docs/dhcp.md", ["network", "guest"]],
  ["docs/policy.md", ["network", "group", "group", "group", "group", "guest", "guest"]],
])("the site file of %s is one that vifguard takes", (page, kinds) => {
  const yaml = /```yaml\n([\s\S]*?)```/.exec(read(page))?.[1] ?? "";
  const resources = loadSite(yaml, page);
  checkSite(resources, { networks: new Map(), groups: new Map() });
  expect(resources.map(({ kind }) => kind)).toEqual(kinds);
});

test("every site file of the page on addressings is one that vifguard takes, and every kind has one", () => {
  const files = [...read("docs/addressing.md").matchAll(/```yaml\n([\s\S]*?)```/g)].map(([, yaml = ""]) => yaml);
  const kinds = files.flatMap((yaml) => {
    const resources = loadSite(yaml, "docs/addressing.md");
    checkSite(resources, { networks: new Map(), groups: new Map() });
    return resources.flatMap((resource) => (resource.kind === "network" ? [resource.spec.addressing.kind] : []));
  });
  expect(kinds).toEqual(["managed", "relay", "snoop"]);
});

test("the page on security groups names every reason and field of theirs", () => {
  const page = read("docs/policy.md");
  for (const word of ["policy-egress", "policy-ingress", "conn-limit", "conn-state"]) {
    expect(Object.keys(reasonTable)).toContain(word);
    expect(page).toContain(`\`${word}\``);
  }
  for (const { path } of describeConfig().filter(({ path }) => path.startsWith("group.spec.")))
    expect(page, path).toContain(path.slice(path.lastIndexOf(".") + 1));
});

test("every drop reason that a rule can give stands in the table of the guard, and every condition an operator can look up in the errors page", () => {
  const guard = readdirSync(join(root, "src/ruleset"))
    .map((name) => read(`src/ruleset/${name}`))
    .join("");
  const given = Object.keys(reasonTable).filter((reason) => guard.includes(`"${reason}"`));
  expect(given.length).toBeGreaterThan(24);
  for (const reason of given) expect(read("ARCHITECTURE.md"), reason).toContain(`\`${reason}\``);
  for (const code of Object.keys(conditionCatalogue)) expect(read("docs/reference/errors.md")).toContain(code);
});

test("the invariants are numbered without a gap, and each is cited by a test or the code", () => {
  const numbers = [...read("ARCHITECTURE.md").matchAll(/^\| I(\d+) \|/gm)].map(([, n]) => Number(n));
  expect(numbers).toEqual(numbers.map((_, i) => i + 1));
  expect(numbers.length).toBeGreaterThan(8);
});
