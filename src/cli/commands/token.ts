/** Tokens of those who may ask the agent over the network. The file holds digests; a token is shown once. */
import { createHash, randomBytes } from "node:crypto";
import { chmodSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { type AccessRole, accessRoleNames, type Caller, parseAccessRole } from "../../model/access.ts";
import { GuardError } from "../../model/errors.ts";
import { parseObjectName } from "../../model/names.ts";
import { parseTokens, type TokenLine, tokenLine } from "../../model/token-file.ts";
import type { Command, Input, OptionSpec } from "../command.ts";
import { type Column, formatOf, show, table } from "../output.ts";

export const defaultTokenFile = "/etc/vifguard/tokens";

const file = {
  type: "string",
  value: "FILE",
  default: defaultTokenFile,
  text: "the agent's file of tokens",
} as const satisfies OptionSpec;

const pathOf = (input: Input): string => input.option("tokens") ?? defaultTokenFile;
const linesOf = (path: string): readonly TokenLine[] =>
  existsSync(path) ? parseTokens(readFileSync(path, "utf8"), path) : [];

/** Whole or not at all: the agent reads it at any moment. */
function write(path: string, text: string): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  const draft = `${path}.new-${process.pid}`;
  writeFileSync(draft, text, { mode: 0o600 });
  chmodSync(draft, 0o600);
  renameSync(draft, path);
}

/** @throws USAGE */
function roleOf(input: Input): AccessRole {
  const text = input.option("role") ?? "reader";
  const role = parseAccessRole(text);
  if (role !== undefined) return role;
  throw new GuardError("USAGE", `--role '${text}' is not one of ${accessRoleNames.join(", ")}`);
}

const createCommand: Command = {
  name: "token create",
  summary: "let somebody ask this agent over the network",
  details: "Prints the token, once: the file keeps its digest. The agent takes the file as it is at every request.",
  arguments: [{ name: "NAME", text: "whose token it is, as the audit log will say", required: true }],
  options: {
    role: {
      type: "string",
      value: "ROLE",
      default: "reader",
      text: `${accessRoleNames.join(", ")}: look; attach and detach too; everything`,
    },
    tokens: file,
  },
  examples: ["vifguard token create dashboard > dashboard.token", "vifguard token create alice --role operator"],
  run: async (input, io) => {
    const [name, role, path] = [input.argument("NAME"), roleOf(input), pathOf(input)];
    if (parseObjectName(name) === undefined) throw new GuardError("USAGE", `'${name}' cannot name a token`);
    if (linesOf(path).some((line) => line.name === name))
      throw new GuardError("CONFLICT", `there is a token '${name}' in '${path}'; revoke it first`, {
        fields: { name },
      });
    const token = `vg_${randomBytes(32).toString("base64url")}`;
    const digest = createHash("sha256").update(token).digest("hex");
    const before = existsSync(path) ? readFileSync(path, "utf8") : "";
    write(path, `${before}${before === "" || before.endsWith("\n") ? "" : "\n"}${tokenLine(name, role, digest)}`);
    io.out(`${token}\n`);
    return 0;
  },
};

const columns: readonly Column<Caller>[] = [
  { title: "NAME", text: ({ name }) => name },
  { title: "ROLE", text: ({ role }) => role },
];

const listCommand: Command = {
  name: "token list",
  summary: "who may ask this agent over the network",
  arguments: [],
  options: { tokens: file },
  examples: ["vifguard token list"],
  run: async (input, io) => {
    const rows = linesOf(pathOf(input)).map(({ name, role }) => ({ name, role }));
    await show(io, formatOf(input), rows, () => table(rows, columns, "no tokens"));
    return 0;
  },
};

const revokeCommand: Command = {
  name: "token revoke",
  summary: "take a token back; its next request is refused",
  arguments: [{ name: "NAME", text: "whose token", required: true }],
  options: { tokens: file },
  examples: ["vifguard token revoke alice"],
  run: async (input) => {
    const [name, path] = [input.argument("NAME"), pathOf(input)];
    if (!linesOf(path).some((line) => line.name === name))
      throw new GuardError("NOT_FOUND", `there is no token '${name}' in '${path}'`, { fields: { name } });
    const kept = readFileSync(path, "utf8")
      .split("\n")
      .filter((line) => line.trim().split(/\s+/)[0] !== name);
    write(path, kept.join("\n"));
    return 0;
  },
};

export const tokenCommands: readonly Command[] = [createCommand, listCommand, revokeCommand];
