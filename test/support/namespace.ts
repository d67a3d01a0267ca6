/** A network namespace for one test file: this process moves into it, and it is deleted afterwards whatever happens. */
import { execFileSync } from "node:child_process";
import { afterAll } from "vitest";
import { enterNamespace } from "../../src/kernel/netns.ts";
import { patience } from "../../src/lab/patience.ts";

export const command = (...argv: readonly [string, ...string[]]): string =>
  execFileSync(argv[0], argv.slice(1), { encoding: "utf8", timeout: patience(60_000) });

/** `ip -batch`: many links in one process. */
export function ipBatch(lines: readonly string[]): void {
  execFileSync("ip", ["-batch", "-"], { input: `${lines.join("\n")}\n`, timeout: patience(120_000) });
}

/** Call it once, at the top of the file, before any socket is opened. */
export function ownNamespace(what: string): string {
  const name = `vgt-${what}-${process.pid.toString(36)}`;
  command("ip", "netns", "add", name);
  afterAll(() => {
    command("ip", "netns", "del", name);
  });
  enterNamespace(name);
  return name;
}
