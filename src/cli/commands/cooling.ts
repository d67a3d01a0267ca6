/** Addresses and MACs that guests gave up and that nobody else is given yet. */
import type { CoolingView } from "../../model/operations.ts";
import { clientFor } from "../agent-client.ts";
import type { Command } from "../command.ts";
import { type Column, clean, formatOf, show, table } from "../output.ts";

const columns: readonly Column<CoolingView>[] = [
  { title: "WHAT", text: ({ what }) => what },
  { title: "GUEST", text: ({ guest }) => guest },
  { title: "NIC", text: ({ nic }) => String(nic) },
  { title: "UNTIL", text: ({ until }) => until },
];

const coolingListCommand: Command = {
  name: "cooling list",
  summary: "addresses and MACs that guests gave up and that are nobody else's yet, whose they were, and until when",
  arguments: [],
  options: {},
  examples: ["vifguard cooling list", "vifguard cooling list -o json"],
  run: async (input, io) => {
    const format = formatOf(input);
    const rows = await clientFor(input, io).cooling();
    await show(io, format, rows, () => table(rows, columns, "nothing cools down"));
    return 0;
  },
};

const coolingEndCommand: Command = {
  name: "cooling end",
  summary:
    "free what cools down now, with the MACs that spell it: only when no host can still hold it for its former guest",
  arguments: [{ name: "WHAT", text: "NETWORK/ADDRESS or a MAC, as 'cooling list' shows it", required: true }],
  options: {},
  examples: ["vifguard cooling end lan0/203.0.113.10", "vifguard cooling end fe:00:cb:00:71:0a"],
  run: async (input, io) => {
    const format = formatOf(input);
    const ended = await clientFor(input, io).endCooling(input.argument("WHAT"));
    const line = ({ what, guest }: CoolingView): string => `${clean(what)}, last of ${clean(guest)}: free\n`;
    await show(io, format, ended, () => ended.map(line).join(""));
    return 0;
  },
};

export const coolingCommands: readonly Command[] = [coolingListCommand, coolingEndCommand];
