#!/usr/bin/env node
/** The process: words in, exit status out. */
import { readFile } from "node:fs/promises";
import { run } from "./cli/run.ts";

const interrupted = new AbortController();
process.once("SIGINT", () => interrupted.abort());
// A reader that closes early (head) is no fault of ours.
process.stdout.on("error", () => process.exit(0));

async function standardInput(): Promise<string> {
  process.stdin.setEncoding("utf8");
  let text = "";
  for await (const part of process.stdin) text += part;
  return text;
}

process.exitCode = await run(process.argv.slice(2), {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  isTerminal: process.stderr.isTTY === true,
  env: process.env,
  readFile: (path) => (path === "-" ? standardInput() : readFile(path, "utf8")),
  signal: interrupted.signal,
});
