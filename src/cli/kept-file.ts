/** A file that is kept as the site says: replaced whole or not at all, and who reads it is told only when it changed. */
import { open, readFile, realpath, rename, rm, stat } from "node:fs/promises";
import { dirname, join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { exec } from "../lab/exec.ts";
import { GuardError } from "../model/errors.ts";
import type { Io } from "./command.ts";
import { clean } from "./output.ts";

/** A server's account must read it; one that is there keeps its own. */
const MODE = 0o644;

/**
 * Readers see the old text or the new one, also after a crash. Answers whether it changed.
 * @param fresh mode of a file that is new
 */
export async function replaceFile(path: string, text: string, fresh = MODE): Promise<boolean> {
  const target = await realpath(path).catch(() => path);
  if ((await readFile(target, "utf8").catch(() => undefined)) === text) return false;
  const held = await stat(target).catch(() => undefined);
  const mode = held === undefined ? fresh : held.mode & 0o7777;
  const draft = join(dirname(target), `.${process.pid}-${performance.now().toString(36)}.vifguard`);
  try {
    const file = await open(draft, "wx", mode);
    try {
      await file.writeFile(text);
      const own = await file.stat();
      // Before the mode, of which a change of owner takes bits away. Who may not give a file away keeps it.
      if (held !== undefined && (held.uid !== own.uid || held.gid !== own.gid))
        await file.chown(held.uid, held.gid).catch(() => undefined);
      await file.chmod(mode);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(draft, target);
  } catch (cause) {
    await rm(draft, { force: true });
    throw cause;
  }
  return true;
}

export interface Watch {
  readonly path: string;
  /** Undefined: nothing was written since it was asked last, as far as can be told cheaply. */
  next(): Promise<string | undefined>;
  /** Program and arguments; none: nobody is told. */
  readonly reload: readonly string[];
  readonly intervalMs: number;
  /** Of a file that is new. */
  readonly mode?: number;
}

/** A server that reads 50 000 reservations takes its time. */
const RELOAD_LIMIT_MS = 120_000;
const LONGEST_PAUSE_MS = 60_000;

async function tell({ reload, path }: Watch, io: Io): Promise<boolean> {
  if (reload.length === 0) return true;
  const done = await exec(reload, { timeoutMs: RELOAD_LIMIT_MS }).catch((error: unknown) => ({
    status: -1,
    stderr: error instanceof Error ? error.message : String(error),
  }));
  const says = done.status === 0 ? "reloaded" : `'${reload.join(" ")}' failed (${done.status}): ${done.stderr.trim()}`;
  io.err(`${clean(`${path}: ${says}`)}\n`);
  return done.status === 0;
}

async function step(watch: Watch, io: Io, untold: boolean): Promise<boolean> {
  const text = await watch.next();
  const isNew = text !== undefined && (await replaceFile(watch.path, text, watch.mode));
  if (isNew) io.err(`${clean(watch.path)}: written\n`);
  return isNew || untold ? !(await tell(watch, io)) : false;
}

const mayPass = (error: unknown): error is GuardError => error instanceof GuardError && error.code !== "INTERNAL";

/**
 * Until the signal aborts. What fails at first is an error, so that a mistake is seen at once; later the file stays as it was and
 * everything is tried again, after pauses that grow to a minute.
 */
export async function keepFile(watch: Watch, io: Io): Promise<void> {
  let untold = await step(watch, io, false);
  let pause = watch.intervalMs;
  let said = "";
  while (!io.signal.aborted) {
    await sleep(pause, undefined, { signal: io.signal }).catch(() => undefined);
    if (io.signal.aborted) return;
    try {
      untold = await step(watch, io, untold);
      pause = untold ? Math.min(2 * pause, LONGEST_PAUSE_MS) : watch.intervalMs;
      said = "";
    } catch (error) {
      if (!mayPass(error)) throw error;
      if (said !== error.message) io.err(`${clean(`${watch.path}: left as it is: ${error.message}`)}\n`);
      said = error.message;
      pause = Math.min(2 * pause, LONGEST_PAUSE_MS);
    }
  }
}
