/** Site files that a command reads by itself, with or without an agent. */
import { randomFillSync } from "node:crypto";
import type { Resource } from "../model/resources.ts";
import type { Random } from "../plan/identity.ts";
import type { Io, OptionSpec } from "./command.ts";

/** As travels to an agent; `-` is standard input. */
export function readSiteTexts(
  paths: readonly string[],
  io: Io,
): Promise<readonly { readonly path: string; readonly text: string }[]> {
  return Promise.all(
    paths.map(async (path) => ({ path: path === "-" ? "standard input" : path, text: await io.readFile(path) })),
  );
}

/** The site that the files are, with nothing besides. @throws SITE_INVALID */
export async function readSite(paths: readonly string[], io: Io): Promise<readonly Resource[]> {
  // Only here: the site's reader takes ten times as long to load as everything a hook needs.
  const { checkSite } = await import("../config/check.ts");
  const { loadSite } = await import("../config/load.ts");
  const files = await readSiteTexts(paths, io);
  const resources = files.flatMap(({ path, text }) => [...loadSite(text, path)]);
  checkSite(resources, { networks: new Map(), groups: new Map() });
  return resources;
}

export const drawRandom: Random = (count) => randomFillSync(new Uint8Array(count));

export const offlineOption = {
  type: "string",
  short: "f",
  value: "FILE",
  multiple: true,
  text: "ask this site file, not the agent: needs neither agent nor root",
} as const satisfies OptionSpec;
