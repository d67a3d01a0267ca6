#!/usr/bin/env node
/** The process: words in, exit status out. */
import { readFile } from "node:fs/promises";
import { arrayBuffer } from "node:stream/consumers";
import { run } from "./cli/run.ts";

const interrupted = new AbortController();
process.once("SIGINT", () => interrupted.abort());
// A reader that closes early (head) is no fault of ours.
process.stdout.on("error", () => process.exit(0));

const readBytes = async (path: string): Promise<Uint8Array> =>
  new Uint8Array(path === "-" ? await arrayBuffer(process.stdin) : await readFile(path));

process.exitCode = await run(process.argv.slice(2), {
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
  isTerminal: process.stderr.isTTY === true,
  env: process.env,
  readFile: async (path) => new TextDecoder().decode(await readBytes(path)),
  readBytes,
  signal: interrupted.signal,
});
