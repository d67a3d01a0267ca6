/** Changes as they come. */
import { GuardError } from "../../model/errors.ts";
import { type WatchEvent, type WatchKind, watchKinds } from "../../model/watch.ts";
import { clientFor } from "../agent-client.ts";
import type { Command, Input, Io } from "../command.ts";
import { clean, formatOf } from "../output.ts";

/** @throws USAGE */
function kindsOf(input: Input): readonly WatchKind[] {
  return input.options("kind").map((word) => {
    const kind = watchKinds.find((one) => one === word);
    if (kind !== undefined) return kind;
    throw new GuardError("USAGE", `--kind '${word}' is not one of ${watchKinds.join(", ")}`);
  });
}

const lineOf = ({ at, text }: WatchEvent): string => `${new Date(at).toISOString()} ${clean(text)}`;

async function follow(input: Input, io: Io): Promise<number> {
  const isText = formatOf(input) === "table";
  for await (const event of clientFor(input, io).watch(kindsOf(input), io.signal))
    io.out(isText ? `${lineOf(event)}\n` : `${JSON.stringify(event)}\n`);
  if (io.signal.aborted) return 130;
  throw new GuardError("AGENT_UNREACHABLE", "the agent has ended the watch: it ends, or its store was restored");
}

export const watchCommand: Command = {
  name: "watch",
  summary: "changes of the site, of what is attached where, and of leases, as they come",
  details:
    "One line a change, until interrupted; with -o json one object a line, with the value as it stands now. Of a fleet any agent tells the changes of all hosts.",
  arguments: [],
  options: {
    kind: { type: "string", value: "KIND", multiple: true, text: `only of this kind: ${watchKinds.join(", ")}` },
  },
  examples: ["vifguard watch", "vifguard watch --kind port --kind claim -o json"],
  run: follow,
};
