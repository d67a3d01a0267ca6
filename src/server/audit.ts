/** The log of changes: who asked for what, and what became of it, one JSON object a line, in a file that is only written at its end. */
import { chmodSync, closeSync, mkdirSync, openSync, renameSync, statSync, writeSync } from "node:fs";
import { dirname } from "node:path";

export interface AuditEntry {
  /** RFC 3339. */
  readonly at: string;
  readonly host: string;
  /** The token's name; `socket` for whoever opened the agent's own socket. */
  readonly who: string;
  /** Address of the caller, or nothing. */
  readonly from?: string;
  /** The endpoint. */
  readonly what: string;
  /** Path parameters and the body, without the texts of site files. */
  readonly on: unknown;
  /** `ok`, or the code of the error. */
  readonly outcome: string;
  /** What was changed, in sentences. */
  readonly changes?: readonly string[];
}

export interface Audit {
  /** @throws what the disk says */
  write(entry: AuditEntry): void;
  close(): void;
}

/** Then the file is put aside, once: what is kept is bounded. */
const LARGEST = 32 << 20;

export function openAudit(path: string): Audit {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  let file = openSync(path, "a", 0o600);
  chmodSync(path, 0o600);
  /** Somebody else's rotation is as good: the file is then gone. */
  function turn(): void {
    const size = statSync(path, { throwIfNoEntry: false })?.size;
    if (size !== undefined && size <= LARGEST) return;
    closeSync(file);
    if (size !== undefined) renameSync(path, `${path}.1`);
    file = openSync(path, "a", 0o600);
  }
  return {
    write: (entry) => {
      turn();
      writeSync(file, `${JSON.stringify(entry)}\n`);
    },
    close: () => closeSync(file),
  };
}
