/** A sign of life for what takes longer than two seconds; only where a person looks. */
import type { Io } from "./command.ts";

const QUIET = 2000;
const STEP = 500;

export async function withProgress<T>(io: Io, what: string, work: Promise<T>): Promise<T> {
  if (!io.isTerminal) return work;
  const started = performance.now();
  const timer = setInterval(() => {
    const seconds = (performance.now() - started) / 1000;
    if (seconds * 1000 >= QUIET) io.err(`\r${what} … ${seconds.toFixed(0)} s`);
  }, STEP);
  try {
    return await work;
  } finally {
    clearInterval(timer);
    if (performance.now() - started >= QUIET) io.err("\r\x1b[K");
  }
}
