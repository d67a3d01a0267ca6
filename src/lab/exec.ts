/** Child processes, in a network namespace or not: arguments as arrays, never a shell, always a time limit. */
import { type ChildProcess, type StdioOptions, spawn } from "node:child_process";
import { once } from "node:events";
import type { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { GuardError } from "../model/errors.ts";
import { patience } from "./patience.ts";

export interface ExecOptions {
  /** Name under /run/netns; without it the process runs where we are. */
  readonly netns?: string;
  readonly stdin?: string;
  /** On a usual machine; a slow one gets more. */
  readonly timeoutMs?: number;
  readonly env?: Readonly<Record<string, string>>;
}

export interface Finished {
  /** 128 + signal number is not imitated: a killed process has status -1. */
  readonly status: number;
  readonly stdout: string;
  readonly stderr: string;
  readonly timedOut: boolean;
}

/** A process that goes on until it is stopped. */
export interface Running {
  readonly pid: number;
  /** Its exit status (-1 when killed), once it has ended and its output is read. */
  readonly ended: Promise<number>;
  /** Signals the whole process group; SIGKILL follows after two seconds. Safe to call again. */
  stop(signal?: NodeJS.Signals): Promise<number>;
}

/** The same, with its outputs for us to read. */
export interface Piped extends Running {
  readonly stdout: Readable;
  readonly stderr: Readable;
}

// An empty environment loses PATH, and on Debian root's PATH may lack sbin under su.
const TOOL_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const DEFAULT_TIMEOUT_MS = 15_000;
const limitOf = ({ timeoutMs = DEFAULT_TIMEOUT_MS }: ExecOptions): number => patience(timeoutMs);
const MAX_OUTPUT = 16 * 1024 * 1024;
const KILL_AFTER_MS = patience(2_000);

/** The command as it is really run, for messages and for `spawn`. */
export function commandLine(argv: readonly string[], netns?: string): readonly string[] {
  return netns === undefined ? argv : ["ip", "netns", "exec", netns, ...argv];
}

// Own process group: Ctrl-C reaches only us, and we end our children in our order.
function launch(argv: readonly string[], options: ExecOptions, stdio: StdioOptions, detached = true): ChildProcess {
  const [program, ...rest] = commandLine(argv, options.netns);
  if (program === undefined) throw new TypeError("empty command");
  const env = { ...process.env, PATH: TOOL_PATH, LC_ALL: "C", ...options.env };
  return spawn(program, rest, { stdio, detached, env });
}

function signalGroup(child: ChildProcess, signal: NodeJS.Signals): void {
  if (child.pid === undefined) return;
  try {
    process.kill(-child.pid, signal);
  } catch {
    // ESRCH: it ended by itself.
  }
}

function failed(argv: readonly string[], options: ExecOptions, text: string, cause?: unknown): GuardError {
  const line = commandLine(argv, options.netns).join(" ");
  return new GuardError("COMMAND_FAILED", `'${line}': ${text}`, { fields: { command: line }, cause });
}

function collect(stream: Readable | null): () => string {
  let text = "";
  stream?.setEncoding("utf8");
  stream?.on("data", (part: string) => {
    if (text.length < MAX_OUTPUT) text += part;
  });
  return () => text;
}

// A daemon that the program leaves behind may hold the pipes open: do not wait for it longer than this.
const DRAIN_MS = patience(250);

/** Runs to the end and answers whatever the status is. @throws COMMAND_FAILED when it cannot be started */
export async function exec(argv: readonly string[], options: ExecOptions = {}): Promise<Finished> {
  const child = launch(argv, options, ["pipe", "pipe", "pipe"]);
  const stdout = collect(child.stdout);
  const stderr = collect(child.stderr);
  let timedOut = false;
  const timer = setTimeout(() => {
    timedOut = true;
    signalGroup(child, "SIGKILL");
  }, limitOf(options));
  const closed = new Promise((resolve) => child.once("close", resolve));
  try {
    const exited = once(child, "exit");
    child.stdin?.on("error", () => undefined);
    child.stdin?.end(options.stdin ?? "");
    const [status] = await exited;
    await Promise.race([closed, sleep(DRAIN_MS, undefined, { ref: false })]);
    return { status: typeof status === "number" ? status : -1, stdout: stdout(), stderr: stderr(), timedOut };
  } catch (cause) {
    throw failed(argv, options, cause instanceof Error ? cause.message : String(cause), cause);
  } finally {
    clearTimeout(timer);
    child.stdout?.destroy();
    child.stderr?.destroy();
  }
}

/** Runs to the end; its standard output. @throws COMMAND_FAILED with what it said, when the status is not 0 */
export async function must(argv: readonly string[], options: ExecOptions = {}): Promise<string> {
  const done = await exec(argv, options);
  if (done.timedOut) throw failed(argv, options, `no end after ${limitOf(options)} ms`);
  if (done.status !== 0)
    throw failed(argv, options, `status ${done.status}: ${(done.stderr || done.stdout).trim().slice(-2000)}`);
  return done.stdout;
}

async function running(child: ChildProcess, argv: readonly string[], options: ExecOptions): Promise<Running> {
  const ended = new Promise<number>((resolve) => child.once("close", (status) => resolve(status ?? -1)));
  try {
    await once(child, "spawn");
  } catch (cause) {
    throw failed(argv, options, cause instanceof Error ? cause.message : String(cause), cause);
  }
  // What is left running must not keep us: `lab up` ends while its agent goes on.
  child.unref();
  const stop = async (signal: NodeJS.Signals = "SIGTERM"): Promise<number> => {
    child.ref();
    signalGroup(child, signal);
    const timer = setTimeout(() => signalGroup(child, "SIGKILL"), KILL_AFTER_MS);
    const status = await ended;
    clearTimeout(timer);
    return status;
  };
  return { pid: child.pid ?? 0, ended, stop };
}

/** @param log file descriptor that takes both outputs @throws COMMAND_FAILED when it cannot be started */
export function start(argv: readonly string[], options: ExecOptions, log: number): Promise<Running> {
  return running(launch(argv, options, ["ignore", log, log]), argv, options);
}

/** @throws COMMAND_FAILED when it cannot be started */
export async function startPiped(argv: readonly string[], options: ExecOptions = {}): Promise<Piped> {
  const child = launch(argv, options, ["ignore", "pipe", "pipe"]);
  const { stdout, stderr } = child;
  if (stdout === null || stderr === null) throw new TypeError("spawned without pipes");
  return { ...(await running(child, argv, options)), stdout, stderr };
}

/** With our terminal: for shells and for output that is meant for the user. Answers the exit status. */
export async function interact(argv: readonly string[], options: ExecOptions = {}): Promise<number> {
  const child = launch(argv, options, "inherit", false);
  // Ctrl-C belongs to the program in front; we wait for it.
  const ignore = (): void => undefined;
  process.on("SIGINT", ignore);
  try {
    const [status] = await once(child, "exit");
    return typeof status === "number" ? status : 1;
  } catch (cause) {
    throw failed(argv, options, cause instanceof Error ? cause.message : String(cause), cause);
  } finally {
    process.off("SIGINT", ignore);
  }
}
