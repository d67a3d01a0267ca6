/**
 * The file of those who may ask the agent over the network: a line each, `NAME ROLE sha256:HEX`. It holds digests alone, so who reads it can ask nothing: a token has
 * 256 random bits, and a plain digest of that many cannot be searched.
 */
import { type AccessRole, type Caller, parseAccessRole } from "./access.ts";
import { GuardError } from "./errors.ts";
import { parseObjectName } from "./names.ts";

export interface TokenLine extends Caller {
  /** SHA-256 of the token, 64 digits. */
  readonly digest: string;
}

function parseLine(line: string): TokenLine | undefined {
  const [name = "", role = "", secret = "", ...more] = line.trim().split(/\s+/);
  const digest = secret.match(/^sha256:([0-9a-f]{64})$/)?.[1];
  const known = parseAccessRole(role);
  if (parseObjectName(name) === undefined || known === undefined || digest === undefined || more.length > 0)
    return undefined;
  return { name, role: known, digest };
}

/** @throws USAGE that names the line */
export function parseTokens(text: string, path: string): readonly TokenLine[] {
  return text.split("\n").flatMap((line, n) => {
    if (line.trim() === "" || line.trimStart().startsWith("#")) return [];
    const parsed = parseLine(line);
    if (parsed !== undefined) return [parsed];
    throw new GuardError("USAGE", `${path}:${n + 1} is not 'NAME ROLE sha256:DIGEST'`, {
      fields: { path, line: n + 1 },
    });
  });
}

export function tokenLine(name: string, role: AccessRole, digest: string): string {
  return `${name} ${role} sha256:${digest}\n`;
}
