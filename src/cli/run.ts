/** From words to an exit status: finds the command, runs it, and tells what went wrong so that somebody can mend it. */
import { errorCatalogue, GuardError } from "../model/errors.ts";
import { commandHelp, findCommand, type Io, parseInput, programHelp } from "./command.ts";
import { commands } from "./commands.ts";
import { clean } from "./output.ts";
import { packageVersion } from "./version.ts";

function systemError(error: unknown): GuardError {
  const text = error instanceof Error ? error.message : String(error);
  const isFile = error instanceof Error && "code" in error && "path" in error;
  return new GuardError(isFile ? "USAGE" : "INTERNAL", text, { cause: error });
}

function tell(io: Io, words: readonly string[], error: GuardError): void {
  if (words.includes("json") || words.includes("--json")) {
    io.err(`${JSON.stringify({ code: error.code, detail: error.message, hint: error.hint, fields: error.fields })}\n`);
    return;
  }
  const lines = error.message.split("\n").map(clean).join("\n");
  io.err(`error: ${lines}\n  hint: ${error.hint}\n  code: ${error.code}\n`);
  if (error.code === "INTERNAL" && error.cause instanceof Error) io.err(`${error.cause.stack ?? ""}\n`);
}

async function dispatch(words: readonly string[], io: Io): Promise<number> {
  const [first, ...others] = words;
  if (first === undefined || first === "--help" || first === "-h" || (first === "help" && others.length === 0)) {
    io.out(programHelp(commands));
    return first === undefined ? 2 : 0;
  }
  if (first === "--version" || first === "-V") {
    io.out(`${packageVersion()}\n`);
    return 0;
  }
  const { command, rest } = findCommand(commands, first === "help" ? others : words);
  const input = parseInput(command, first === "help" ? ["--help"] : rest);
  if (input.flag("help")) {
    io.out(commandHelp(command));
    return 0;
  }
  return command.run(input, io);
}

export async function run(words: readonly string[], io: Io): Promise<number> {
  try {
    return await dispatch(words, io);
  } catch (cause) {
    if (io.signal.aborted) return 130;
    const error = cause instanceof GuardError ? cause : systemError(cause);
    tell(io, words, error);
    return errorCatalogue[error.code].exit;
  }
}
