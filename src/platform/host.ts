/** The machine as adapters see it: programs that end, and what is at a path. The only file of this layer that touches the process. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { access, rm, stat, writeFile } from "node:fs/promises";
import { createInterface } from "node:readline/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { GuardError } from "../model/errors.ts";

export interface Finished {
  /** -1 when it was killed. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Host {
  /** Runs to the end, whatever its status is; arguments as they are, never a shell. @throws COMMAND_FAILED when it cannot be started */
  run(argv: readonly string[], stdin?: string): Promise<Finished>;
  /** What a program prints, line by line until it ends, or until nobody wants more. @throws COMMAND_FAILED when it cannot be started */
  lines(argv: readonly string[]): AsyncIterable<string>;
  pause(milliseconds: number): Promise<void>;
  exists(path: string): Promise<boolean>;
  /** Leaves a note for a hook that is called later, gone with the boot when the path is below /run. */
  note(path: string): Promise<void>;
  /** Whether there is one, not older than so many milliseconds. */
  isNoted(path: string, within: number): Promise<boolean>;
  unnote(path: string): Promise<void>;
  /** SHA-256 in hexadecimal digits: names of bounded length for what has none. */
  digest(text: string): string;
}

/** Platforms give a hook tens of seconds (xl: 40); no single program we run needs more than a moment. */
const TIME_LIMIT_MS = 15_000;
/** Hypervisors start hooks with little in PATH. */
const SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

function environment(): NodeJS.ProcessEnv {
  const path = [process.env["PATH"], SYSTEM_PATH].filter(Boolean).join(":");
  return { ...process.env, PATH: path, LC_ALL: "C" };
}

const notStarted = (argv: readonly string[], cause: Error): GuardError =>
  new GuardError("COMMAND_FAILED", `'${argv.join(" ")}': ${cause.message}`, { cause });

async function* lines(argv: readonly string[]): AsyncGenerator<string> {
  const [program = "", ...rest] = argv;
  const child = spawn(program, rest, { env: environment(), stdio: ["ignore", "pipe", "inherit"] });
  child.on("error", (cause) => child.stdout.destroy(notStarted(argv, cause)));
  try {
    yield* createInterface({ input: child.stdout });
  } finally {
    child.kill();
  }
}

function run(argv: readonly string[], stdin = ""): Promise<Finished> {
  const [program = "", ...rest] = argv;
  return new Promise((resolve, reject) => {
    const child = spawn(program, rest, { env: environment(), timeout: TIME_LIMIT_MS });
    const [stdout, stderr]: [string[], string[]] = [[], []];
    child.stdout.setEncoding("utf8").on("data", (part: string) => void stdout.push(part));
    child.stderr.setEncoding("utf8").on("data", (part: string) => void stderr.push(part));
    child.on("error", (cause) => reject(notStarted(argv, cause)));
    child.on("close", (status) => resolve({ status: status ?? -1, stdout: stdout.join(""), stderr: stderr.join("") }));
    // A program that does not read what it is given is no fault.
    child.stdin.on("error", () => undefined);
    child.stdin.end(stdin);
  });
}

export function openHost(): Host {
  return {
    run,
    lines,
    pause: (milliseconds) => sleep(milliseconds),
    exists: (path) =>
      access(path).then(
        () => true,
        () => false,
      ),
    note: (path) => writeFile(path, "", { mode: 0o600 }),
    isNoted: (path, within) =>
      stat(path).then(
        ({ mtimeMs }) => Math.abs(Date.now() - mtimeMs) <= within,
        () => false,
      ),
    unnote: (path) => rm(path, { force: true }),
    digest: (text) => createHash("sha256").update(text).digest("hex"),
  };
}
