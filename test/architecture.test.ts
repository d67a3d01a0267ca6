/** The direction of dependencies, and the small rules every source file keeps. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const root = resolve(dirname(fileURLToPath(import.meta.url)), "..");
const source = join(root, "src");

/** What each layer may import besides itself. `types` are seams: interfaces only, never code. */
const layers: Record<
  string,
  {
    readonly imports: readonly string[];
    readonly types?: readonly string[];
    readonly pure: boolean;
    /** The one file of a pure layer that touches the process. */
    readonly shell?: string;
  }
> = {
  model: { imports: [], pure: true },
  packet: { imports: ["model"], pure: true },
  config: { imports: ["model"], pure: true },
  addressing: { imports: ["model", "packet"], pure: true },
  ruleset: { imports: ["model", "packet"], pure: true },
  plan: { imports: ["model", "packet", "addressing", "ruleset"], types: ["kernel", "store"], pure: true },
  export: { imports: ["model", "packet", "addressing", "ruleset", "plan"], pure: true },
  kernel: { imports: ["model"], pure: false },
  store: { imports: ["model"], types: ["addressing"], pure: false },
  agent: {
    imports: ["model", "packet", "config", "addressing", "ruleset", "plan", "kernel", "store", "server"],
    pure: false,
  },
  api: { imports: ["model"], pure: false },
  server: { imports: ["model", "api", "config"], pure: false },
  platform: { imports: ["model"], types: ["api"], pure: true, shell: "platform/host.ts" },
  lab: { imports: ["model", "packet", "kernel", "api"], pure: false },
  cli: {
    imports: ["model", "packet", "api", "config", "ruleset", "plan", "export", "platform", "lab", "agent"],
    pure: false,
  },
};

/** Packages a pure layer may use. */
const purePackages: Record<string, readonly string[]> = { config: ["zod", "yaml"] };

interface SourceFile {
  readonly path: string;
  readonly layer: string;
  readonly text: string;
}

function walk(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) =>
    entry.isDirectory() ? walk(join(folder, entry.name)) : entry.name.endsWith(".ts") ? [join(folder, entry.name)] : [],
  );
}

const files: readonly SourceFile[] = walk(source).map((path) => {
  const name = relative(source, path);
  return {
    path: name,
    layer: name.includes("/") ? name.slice(0, name.indexOf("/")) : "main",
    text: readFileSync(path, "utf8"),
  };
});
const production = files.filter(({ path }) => !path.endsWith(".test.ts"));

const importPattern = /^(?:import|export)(?<type> type)?[^;]*? from "(?<from>[^"]+)";|import\("(?<lazy>[^"]+)"\)/gm;

function imports(file: SourceFile): readonly { readonly from: string; readonly type: boolean }[] {
  return [...file.text.matchAll(importPattern)].map(({ groups }) => ({
    from: groups?.["from"] ?? groups?.["lazy"] ?? "",
    type: groups?.["type"] !== undefined,
  }));
}

test("the walk finds the sources", () => {
  expect(production.length).toBeGreaterThan(40);
  expect(new Set(production.map(({ layer }) => layer)).size).toBeGreaterThan(8);
});

test.each(production.filter(({ layer }) => layer !== "main"))("$path imports only downwards", (file) => {
  const layer = layers[file.layer];
  expect(layer, `folder '${file.layer}' stands in the layer table`).toBeDefined();
  for (const { from, type } of imports(file)) {
    if (!from.startsWith(".")) continue;
    const target = relative(source, resolve(dirname(join(source, file.path)), from)).split("/")[0] ?? "";
    const allowed = [file.layer, ...(layer?.imports ?? []), ...(type ? (layer?.types ?? []) : [])];
    expect(allowed, `${file.path} imports ${from}`).toContain(target);
    expect(from, `${file.path} names the file it needs`).toMatch(/\.ts$/);
  }
});

const pure = production.filter(({ path, layer }) => layers[layer]?.pure === true && layers[layer]?.shell !== path);
test.each(pure)("$path is pure", (file) => {
  for (const { from } of imports(file)) {
    if (from.startsWith(".")) continue;
    expect(purePackages[file.layer] ?? [], `${file.path} imports ${from}`).toContain(from);
  }
  const code = file.text.replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, "");
  expect(code, "time, chance and the process come in as arguments").not.toMatch(
    /\b(?:Date\.now|new Date\(|Math\.random|process\.|Buffer\.|setTimeout|setInterval|fetch)\b/,
  );
});

test.each(production)("$path opens with its purpose and keeps to the size budget", (file) => {
  expect(file.text.replace(/^#!.*\n/, "")).toMatch(/^\/\*\*/);
  expect(file.text.split("\n").length, "lines").toBeLessThanOrEqual(400);
  expect(file.text, "no non-null assertion, no ignored types").not.toMatch(/@ts-(?:ignore|nocheck|expect-error)/);
});
