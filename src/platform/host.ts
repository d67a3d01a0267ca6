/** The machine as adapters see it: programs that end, and what is at a path. The only file of this layer that touches the process. */
import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { access } from "node:fs/promises";
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
  exists(path: string): Promise<boolean>;
  /** SHA-256 in hexadecimal digits: names of bounded length for what has none. */
  digest(text: string): string;
}

/** Platforms give a hook tens of seconds (xl: 40); no single program we run needs more than a moment. */
const TIME_LIMIT_MS = 15_000;
/** Hypervisors start hooks with little in PATH. */
const SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

function run(argv: readonly string[], stdin = ""): Promise<Finished> {
  const [program = "", ...rest] = argv;
  const path = [process.env["PATH"], SYSTEM_PATH].filter(Boolean).join(":");
  return new Promise((resolve, reject) => {
    const child = spawn(program, rest, { env: { ...process.env, PATH: path, LC_ALL: "C" }, timeout: TIME_LIMIT_MS });
    const [stdout, stderr]: [string[], string[]] = [[], []];
    child.stdout.setEncoding("utf8").on("data", (part: string) => void stdout.push(part));
    child.stderr.setEncoding("utf8").on("data", (part: string) => void stderr.push(part));
    child.on("error", (cause) =>
      reject(new GuardError("COMMAND_FAILED", `'${argv.join(" ")}': ${cause.message}`, { cause })),
    );
    child.on("close", (status) => resolve({ status: status ?? -1, stdout: stdout.join(""), stderr: stderr.join("") }));
    // A program that does not read what it is given is no fault.
    child.stdin.on("error", () => undefined);
    child.stdin.end(stdin);
  });
}

export function openHost(): Host {
  return {
    run,
    exists: (path) =>
      access(path).then(
        () => true,
        () => false,
      ),
    digest: (text) => createHash("sha256").update(text).digest("hex"),
  };
}
