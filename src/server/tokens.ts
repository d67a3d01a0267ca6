/** Who a token belongs to, by the file as it is now: what was taken out of it opens nothing any more. */
import { createHash, timingSafeEqual } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import type { Caller } from "../model/access.ts";
import { GuardError } from "../model/errors.ts";
import { parseTokens, type TokenLine } from "../model/token-file.ts";

export interface Tokens {
  /** @throws UNAUTHENTICATED */
  callerOf(authorization: string | undefined): Caller;
}

const bytes = new TextEncoder();
const digestOf = (token: string): Uint8Array => bytes.encode(createHash("sha256").update(token).digest("hex"));

/** @throws USAGE when the file cannot be read, or others than its owner can */
function readTokens(path: string): readonly TokenLine[] {
  try {
    if ((statSync(path).mode & 0o077) !== 0)
      throw new GuardError("USAGE", `'${path}' must belong to root alone (chmod 600)`, { fields: { path } });
    return parseTokens(readFileSync(path, "utf8"), path);
  } catch (cause) {
    if (cause instanceof GuardError) throw cause;
    throw new GuardError("USAGE", `tokens: ${cause instanceof Error ? cause.message : String(cause)}`, { cause });
  }
}

const unknown = (): GuardError => new GuardError("UNAUTHENTICATED", "no token, or one that is not known here");

/** @throws USAGE when the file is not there or no token file */
export function createTokens(path: string): Tokens {
  let version = "";
  let lines: readonly TokenLine[] = [];
  function current(): readonly TokenLine[] {
    const { mtimeMs, size, ino } = statSync(path);
    const now = `${mtimeMs} ${size} ${ino}`;
    if (now !== version) lines = readTokens(path);
    version = now;
    return lines;
  }
  current();

  return {
    callerOf: (authorization) => {
      const token = authorization?.match(/^Bearer (\S{1,256})$/)?.[1];
      if (token === undefined) throw unknown();
      const digest = digestOf(token);
      const found = orNobody(current).find((line) => timingSafeEqual(bytes.encode(line.digest), digest));
      if (found === undefined) throw unknown();
      return { name: found.name, role: found.role };
    },
  };
}

/** A file that was spoiled lets nobody in, rather than those who were in it before; and tells a stranger nothing of itself. @throws UNAUTHENTICATED */
function orNobody(read: () => readonly TokenLine[]): readonly TokenLine[] {
  try {
    return read();
  } catch (cause) {
    throw new GuardError("UNAUTHENTICATED", "the agent cannot read its tokens", { cause });
  }
}
