/** Man pages: everything of the tables is in them, and no text of theirs is taken for a request to roff. */
import { expect, test } from "vitest";
import { describeConfig } from "../config/describe.ts";
import { errorCatalogue } from "../model/errors.ts";
import { commands } from "./commands.ts";
import { manPages } from "./man.ts";

const pages = manPages();
/** As a reader sees it, but for the filling of lines. */
const shown = (name: string): string =>
  (pages[name] ?? "")
    .replaceAll(/\\f[BIR]/g, "")
    .replaceAll("\\-", "-")
    .replaceAll("\\&", "")
    .replaceAll("\\e", "\\");

test.each(Object.entries(pages))("%s asks roff for nothing but what pages are made of", (_, text) => {
  const requests = new Set([...text.matchAll(/^[.'](\S*)/gm)].map(([, request]) => request));
  for (const request of requests) expect(["TH", "SH", "SS", "PP", "TP", "EX", "EE"]).toContain(request);
  expect(text).toMatch(/^\.TH VIFGUARD\S* [158] "" "vifguard \d/);
  // A backslash that is none of these would swallow what follows it.
  expect(text.replaceAll(/\\(?:f[BIR]|-|&|e)/g, "")).not.toContain("\\");
  expect(text.endsWith("\n")).toBe(true);
});

test.each(commands)("vifguard(1) has $name with its options, arguments and examples", (command) => {
  const page = shown("vifguard.1");
  expect(page).toContain(`.SS vifguard ${command.name}`);
  for (const name of Object.keys(command.options)) expect(page).toContain(`--${name}`);
  for (const example of command.examples) expect(page).toContain(example.replaceAll("…", "..."));
  for (const line of (command.details ?? "").split("\n")) expect(page).toContain(line.replaceAll("…", "..."));
});

test("vifguard.yaml(5) has every field, and the statuses of vifguard(1) every error", () => {
  for (const { path } of describeConfig()) expect(shown("vifguard.yaml.5")).toContain(`\n${path} (`);
  for (const code of Object.keys(errorCatalogue)) expect(shown("vifguard.1")).toContain(code);
  expect(shown("vifguard-agent.8")).toContain("--port-prefix");
});
