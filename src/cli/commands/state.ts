/** The whole state of a site: into a file, out of it into another store, and what is said after a backup of another kind was put back. */
import type { ImportView } from "../../model/state.ts";
import { clientFor } from "../agent-client.ts";
import type { Command, Input, Io } from "../command.ts";
import { etcdOptions, etcdSettings } from "../etcd-options.ts";
import { clean, formatOf, show } from "../output.ts";
import { withProgress } from "../progress.ts";

const storeOptions = {
  "state-dir": {
    type: "string",
    value: "DIR",
    default: "/var/lib/vifguard",
    text: "the store of this host, while its agent is stopped; not asked for with --etcd",
  },
  ...etcdOptions,
} as const;

const placeOf = (input: Input) => ({
  stateDirectory: input.option("state-dir") ?? "/var/lib/vifguard",
  etcd: etcdSettings(input),
});

/** A line of text, and how much may be held back before it is handed on. */
const BATCH = 1 << 16;

const exportCommand: Command = {
  name: "export state",
  summary: "everything that the store holds, for a backup or for another store",
  details:
    "Prints one line of JSON an entry, all of one revision, with an end by which 'vifguard import state' knows that nothing is missing. May be asked of any agent at any time; while a fleet's etcd is away it is refused, because a host knows only a part.",
  arguments: [],
  options: {},
  examples: [
    "vifguard export state > site.state",
    "vifguard export state --server https://host-7:7443 --token-file reader.token | gzip > site.state.gz",
  ],
  run: async (input, io) => {
    let text = "";
    for await (const line of clientFor(input, io).exportState()) {
      text += `${JSON.stringify(line)}\n`;
      if (text.length < BATCH) continue;
      io.out(text);
      text = "";
    }
    io.out(text);
    return 0;
  },
};

function viewText({ counts, sentences, entries, dryRun }: ImportView): string {
  const kinds = Object.entries(counts).map(([kind, { put, deleted }]) => `${kind} +${put} -${deleted}`);
  const changed = kinds.length === 0 ? "no difference" : kinds.join(", ");
  const end = `${dryRun ? "would hold" : "holds"} ${entries} entries (${changed})`;
  return [...sentences, end].map((line) => `${clean(line)}\n`).join("");
}

const importCommand: Command = {
  name: "import state",
  summary: "put what 'export state' wrote into an empty store, or in the place of another state",
  details:
    "The file is read and checked whole before anything is written. While it is written agents keep what they have and change nothing; cut short, run it again. With --replace networks, groups and guests become what the file says, all others are deleted, and where guests are attached stays as it is now. docs/backup.md has the whole of it.",
  arguments: [{ name: "FILE", text: "what 'vifguard export state' wrote; - reads standard input", required: true }],
  options: {
    ...storeOptions,
    replace: { type: "boolean", text: "in the place of what the store holds: look with --dry-run first" },
    "dry-run": { type: "boolean", text: "only tell what would change" },
  },
  examples: [
    "vifguard import state site.state --etcd https://10.0.0.5:2379 --etcd-ca ca.pem --etcd-cert host.pem --etcd-key host.key",
    "vifguard import state site.state --replace --dry-run",
  ],
  run: async (input, io) => {
    const format = formatOf(input);
    const how = { replace: input.flag("replace"), dryRun: input.flag("dry-run") };
    const { importFile } = await import("../../agent/import-state.ts");
    const path = input.argument("FILE");
    const view = await withProgress(io, "importing", importFile(placeOf(input), path, how));
    await show(io, format, view, () => viewText(view));
    return 0;
  },
};

const restoredCommand: Command = {
  name: "restored",
  summary: "say that the store was put back from a backup, so that every host makes sure of its ports",
  details:
    "After 'etcdctl snapshot restore', or after a copy of the state directory was put back, and before anything else is changed. Ports that are open go on under a new number; no port is opened by what the backup says.",
  arguments: [],
  options: storeOptions,
  examples: ["vifguard restored --etcd https://10.0.0.5:2379", "vifguard restored --state-dir /var/lib/vifguard"],
  run: async (input: Input, io: Io) => {
    const { tellRestored } = await import("../../agent/import-state.ts");
    await tellRestored(placeOf(input), "a backup");
    io.out("said; every host makes sure of its ports ('vifguard status' there)\n");
    return 0;
  },
};

export const stateCommands: readonly Command[] = [exportCommand, importCommand, restoredCommand];
