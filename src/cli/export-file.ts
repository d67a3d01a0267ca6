/** Of every command whose text is for a file: to standard output, to a file that is replaced as a whole, or kept as the site changes. */
import { GuardError } from "../model/errors.ts";
import type { Input, Io, OptionSpec } from "./command.ts";
import { keepFile, replaceFile } from "./kept-file.ts";
import { withProgress } from "./progress.ts";
import { siteFileOption } from "./site-source.ts";

export const fileOptions = {
  file: siteFileOption,
  output: {
    type: "string",
    short: "o",
    value: "FILE",
    text: "write to this file, replaced as a whole (default: standard output)",
  },
  watch: { type: "boolean", text: "go on, and write the file anew when the site changes; needs -o" },
  reload: {
    type: "string",
    value: "COMMAND",
    text: "with --watch: run after every change; split at blanks, no shell",
  },
  interval: {
    type: "string",
    value: "SECONDS",
    default: "5",
    text: "with --watch: how often to look",
  },
} as const satisfies Record<string, OptionSpec>;

export interface Exported {
  /** The same text twice: nothing was written in between. */
  stamp(): Promise<string>;
  text(): Promise<string>;
  /** Of a file that is new. */
  readonly mode?: number;
}

function secondsOf(input: Input): number {
  const text = input.option("interval") ?? "";
  const seconds = Number(text);
  if (/^\d+(?:\.\d+)?$/.test(text) && seconds >= 0.1 && seconds <= 86_400) return seconds;
  throw new GuardError("USAGE", `--interval: '${text}' is not a number of seconds from 0.1 to 86400`);
}

function reloadOf(input: Input): readonly string[] {
  return (input.option("reload") ?? "").split(/\s+/).filter((word) => word !== "");
}

/** Reads the site again only when something was written. */
function changes({ stamp, text }: Exported): () => Promise<string | undefined> {
  let seen: string | undefined;
  return async () => {
    const now = await stamp();
    if (now === seen) return undefined;
    const fresh = await text();
    seen = now;
    return fresh;
  };
}

interface Target {
  readonly path: string | undefined;
  readonly watches: boolean;
  readonly reload: readonly string[];
}

/** @throws USAGE */
function targetOf(input: Input): Target {
  const [path, watches, reload] = [input.option("output"), input.flag("watch"), reloadOf(input)];
  if (watches && path === undefined) throw new GuardError("USAGE", "--watch needs a file to write: -o FILE");
  if (watches && input.options("file").includes("-"))
    throw new GuardError("USAGE", "--watch cannot read standard input again: name a file");
  if (reload.length > 0 && !watches) throw new GuardError("USAGE", "--reload goes with --watch");
  return { path, watches, reload };
}

/** What was typed is judged before the agent is asked for anything. @throws USAGE */
export async function exportFile(input: Input, io: Io, open: () => Exported): Promise<number> {
  const { path, watches, reload } = targetOf(input);
  const exported = open();
  const { mode } = exported;
  if (watches && path !== undefined) {
    const own = { path, next: changes(exported), reload, intervalMs: 1000 * secondsOf(input) };
    await keepFile(mode === undefined ? own : { ...own, mode }, io);
    return io.signal.aborted ? 130 : 0;
  }
  const text = await withProgress(io, "exporting", exported.text());
  if (path === undefined) io.out(text);
  else io.err(`${path}: ${(await replaceFile(path, text, mode)) ? "written" : "unchanged"}\n`);
  return 0;
}
