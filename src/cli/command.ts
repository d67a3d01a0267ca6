/** What a command is, and how its words are read: help, completion, the reference and the parser all come from these objects. */
import { parseArgs } from "node:util";
import { GuardError } from "../model/errors.ts";
import { nearest } from "../model/nearest.ts";

export interface OptionSpec {
  readonly type: "string" | "boolean";
  readonly short?: string;
  readonly multiple?: true;
  /** What stands for the value in help: `--file FILE`. */
  readonly value?: string;
  readonly default?: string;
  readonly text: string;
}

export interface ArgumentSpec {
  readonly name: string;
  readonly text: string;
  readonly required: boolean;
  /** Takes all that follows; only the last one can. */
  readonly rest?: true;
  /** For completion and for the check of what was typed. */
  readonly oneOf?: readonly string[];
}

/** Where a command reads and writes; the process in life, a recorder in tests. */
export interface Io {
  out(text: string): void;
  err(text: string): void;
  readonly isTerminal: boolean;
  readonly env: Readonly<Record<string, string | undefined>>;
  readFile(path: string): Promise<string>;
  readBytes(path: string): Promise<Uint8Array>;
  /** Aborted when the user interrupts. */
  readonly signal: AbortSignal;
}

export interface Input {
  argument(name: string): string;
  optionalArgument(name: string): string | undefined;
  rest(name: string): readonly string[];
  option(name: string): string | undefined;
  options(name: string): readonly string[];
  flag(name: string): boolean;
}

export interface Command {
  /** One word or two: `lease list`. */
  readonly name: string;
  readonly summary: string;
  /** More than the summary, for its own help page. */
  readonly details?: string;
  readonly arguments: readonly ArgumentSpec[];
  readonly options: Readonly<Record<string, OptionSpec>>;
  readonly examples: readonly string[];
  /** Answers the exit status. */
  run(input: Input, io: Io): Promise<number>;
}

export const globalOptions = {
  socket: {
    type: "string",
    value: "PATH",
    default: "/run/vifguard/agent.sock",
    text: "socket of the agent (or VIFGUARD_SOCKET)",
  },
  server: {
    type: "string",
    value: "URL",
    text: "an agent on another host, such as https://host-7:7443, instead of the socket (or VIFGUARD_SERVER)",
  },
  "token-file": { type: "string", value: "FILE", text: "file of the token for it (or VIFGUARD_TOKEN_FILE)" },
  ca: {
    type: "string",
    value: "FILE",
    text: "authority of its certificate, PEM (or VIFGUARD_CA); those of the system without it",
  },
  output: { type: "string", short: "o", value: "FORMAT", default: "table", text: "table, json or yaml" },
  help: { type: "boolean", short: "h", text: "what this command does and takes" },
} as const satisfies Record<string, OptionSpec>;

function allOptions(command: Command): Readonly<Record<string, OptionSpec>> {
  return { ...globalOptions, ...command.options };
}

const usageError = (command: Command, text: string): GuardError =>
  new GuardError("USAGE", `${text} ('vifguard ${command.name} --help' says what it takes)`);

/** parseArgs as Node has it says what it does not know; we add what was meant. */
function parseWords(
  command: Command,
  words: readonly string[],
): { values: Record<string, unknown>; positionals: readonly string[] } {
  const specs = allOptions(command);
  const options = Object.fromEntries(
    Object.entries(specs).map(([name, { type, short, multiple }]) => [
      name,
      { type, ...(short === undefined ? {} : { short }), ...(multiple === undefined ? {} : { multiple }) },
    ]),
  );
  try {
    const { values, positionals } = parseArgs({ args: [...words], options, allowPositionals: true, strict: true });
    return { values: { ...values }, positionals };
  } catch (cause) {
    const text = cause instanceof Error ? (cause.message.split(". ")[0] ?? "") : String(cause);
    const unknown = /Unknown option '--?([^']+)'/.exec(text)?.[1];
    const meant = unknown === undefined ? undefined : nearest(unknown, Object.keys(specs));
    throw usageError(command, `${text}${meant === undefined ? "" : `: did you mean '--${meant}'?`}`);
  }
}

function checkArguments(command: Command, words: readonly string[]): void {
  for (const [i, spec] of command.arguments.entries()) {
    const word = words[i];
    if (word === undefined && spec.required) throw usageError(command, `${spec.name} is missing`);
    if (word !== undefined && spec.oneOf !== undefined && !spec.oneOf.includes(word)) {
      const meant = nearest(word, spec.oneOf);
      throw usageError(
        command,
        `'${word}' is not one of ${spec.oneOf.join(", ")}${meant === undefined ? "" : `: did you mean '${meant}'?`}`,
      );
    }
  }
  const most = command.arguments.at(-1)?.rest === true ? Number.POSITIVE_INFINITY : command.arguments.length;
  if (words.length > most) throw usageError(command, `'${words[most]}' is one word too many`);
}

/** @throws USAGE */
export function parseInput(command: Command, words: readonly string[]): Input {
  const { values, positionals } = parseWords(command, words);
  if (values["help"] !== true) checkArguments(command, positionals);
  const specs = allOptions(command);
  const place = (name: string): number => command.arguments.findIndex((argument) => argument.name === name);
  const text = (name: string): string | undefined => {
    const value = values[name];
    return typeof value === "string" ? value : specs[name]?.default;
  };
  return {
    argument: (name) => positionals[place(name)] ?? "",
    optionalArgument: (name) => positionals[place(name)],
    rest: (name) => positionals.slice(place(name)),
    option: text,
    options: (name) => {
      const value = values[name];
      return Array.isArray(value) ? value.map(String) : [];
    },
    flag: (name) => values[name] === true,
  };
}

function synopsis(command: Command): string {
  const words = command.arguments.map(
    ({ name, required, rest }) => `${required ? name : `[${name}]`}${rest === true ? "…" : ""}`,
  );
  return ["vifguard", command.name, ...words, "[options]"].join(" ");
}

function optionText(name: string, spec: OptionSpec): string {
  const short = spec.short === undefined ? "    " : `-${spec.short}, `;
  return `${short}--${name}${spec.value === undefined ? "" : ` ${spec.value}`}`;
}

function twoColumns(rows: readonly (readonly [string, string])[]): string {
  const width = Math.max(...rows.map(([left]) => left.length));
  return rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}\n`).join("");
}

export function commandHelp(command: Command): string {
  const args = command.arguments.map(
    ({ name, text, oneOf }) => [name, oneOf === undefined ? text : `${text}: ${oneOf.join(", ")}`] as const,
  );
  const options = Object.entries(allOptions(command)).map(
    ([name, spec]) =>
      [
        optionText(name, spec),
        `${spec.text}${spec.default === undefined ? "" : ` (default ${spec.default})`}${spec.multiple === true ? "; may be repeated" : ""}`,
      ] as const,
  );
  return [
    `usage: ${synopsis(command)}\n\n${command.summary}\n`,
    command.details === undefined ? "" : `\n${command.details}\n`,
    args.length === 0 ? "" : `\narguments:\n${twoColumns(args)}`,
    `\noptions:\n${twoColumns(options)}`,
    command.examples.length === 0 ? "" : `\nexamples:\n${command.examples.map((example) => `  ${example}\n`).join("")}`,
  ].join("");
}

export function programHelp(commands: readonly Command[]): string {
  return [
    "vifguard: the guard at every virtual NIC of this host\n\nusage: vifguard COMMAND …\n\n",
    twoColumns(commands.map(({ name, summary }) => [name, summary])),
    "\n'vifguard COMMAND --help' says more.\n",
  ].join("");
}

/** The command the words begin with, and the words behind it. @throws USAGE */
export function findCommand(
  commands: readonly Command[],
  words: readonly string[],
): { readonly command: Command; readonly rest: readonly string[] } {
  for (const length of [2, 1]) {
    const name = words.slice(0, length).join(" ");
    const command = words.length >= length ? commands.find((candidate) => candidate.name === name) : undefined;
    if (command !== undefined) return { command, rest: words.slice(length) };
  }
  const [first = "", second = ""] = words;
  const group = commands.filter(({ name }) => name.startsWith(`${first} `));
  if (group.length > 0)
    throw new GuardError(
      "USAGE",
      `'vifguard ${first}' needs one more word: ${group.map(({ name }) => name.slice(first.length + 1)).join(", ")}`,
    );
  const meant =
    nearest(
      `${first} ${second}`.trim(),
      commands.map(({ name }) => name),
    ) ??
    nearest(
      first,
      commands.map(({ name }) => name),
    );
  throw new GuardError(
    "USAGE",
    `there is no command '${first}'${meant === undefined ? "" : `: did you mean '${meant}'?`} ('vifguard --help' lists them)`,
  );
}
