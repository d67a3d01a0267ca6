/** The reference pages, written from the tables they describe. */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { GuardError } from "../../model/errors.ts";
import type { Command } from "../command.ts";

export const docsCommand: Command = {
  name: "docs",
  summary: "write docs/reference from the tables of this version (for developers)",
  arguments: [],
  options: {
    check: { type: "boolean", text: "write nothing; fail when a page is stale" },
    directory: { type: "string", value: "DIR", default: "docs/reference", text: "where the pages are" },
  },
  examples: ["vifguard docs", "vifguard docs --check"],
  run: async (input, io) => {
    const { referencePages } = await import("../reference.ts");
    const directory = input.option("directory") ?? "docs/reference";
    const stale: string[] = [];
    await mkdir(directory, { recursive: true });
    for (const [name, text] of Object.entries(referencePages())) {
      const file = `${directory}/${name}`;
      const held = await readFile(file, "utf8").catch(() => "");
      if (held === text) continue;
      stale.push(name);
      if (!input.flag("check")) await writeFile(file, text);
    }
    if (input.flag("check") && stale.length > 0)
      throw new GuardError("USAGE", `stale in ${directory}: ${stale.join(", ")}: run 'vifguard docs'`);
    io.out(`${stale.length === 0 ? "all pages are current" : `wrote ${stale.join(", ")}`}\n`);
    return 0;
  },
};
