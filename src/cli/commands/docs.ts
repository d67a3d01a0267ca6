/** The reference pages and the man pages, written from the tables they describe. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { GuardError } from "../../model/errors.ts";
import type { Command } from "../command.ts";

/** Answers the names of those that were stale. */
async function write(directory: string, pages: Readonly<Record<string, string>>, check: boolean): Promise<string[]> {
  const stale: string[] = [];
  await mkdir(directory, { recursive: true });
  for (const [name, text] of Object.entries(pages)) {
    const file = `${directory}/${name}`;
    const held = await readFile(file, "utf8").catch(() => "");
    if (held === text) continue;
    stale.push(name);
    if (!check) await writeFile(file, text);
  }
  return stale;
}

export const docsCommand: Command = {
  name: "docs",
  summary: "write docs/reference from the tables of this version (for developers), or the man pages",
  arguments: [],
  options: {
    check: { type: "boolean", text: "write nothing; fail when a page is stale" },
    directory: { type: "string", value: "DIR", default: "docs/reference", text: "where the pages are" },
    man: { type: "boolean", text: "man pages instead: vifguard(1), vifguard.yaml(5), vifguard-agent(8)" },
  },
  examples: ["vifguard docs", "vifguard docs --check", "vifguard docs --man --directory man"],
  run: async (input, io) => {
    const directory = input.option("directory") ?? "docs/reference";
    const isMan = input.flag("man");
    const pages = isMan ? (await import("../man.ts")).manPages() : (await import("../reference.ts")).referencePages();
    const stale = await write(directory, pages, input.flag("check"));
    if (input.flag("check") && stale.length > 0)
      throw new GuardError("USAGE", `stale in ${directory}: ${stale.join(", ")}: run 'vifguard docs'`);
    io.out(`${stale.length === 0 ? "all pages are current" : `wrote ${stale.join(", ")}`}\n`);
    return 0;
  },
};
