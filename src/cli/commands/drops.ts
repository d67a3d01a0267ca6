/** Who was stopped, how often and why. */
import type { DropCount, DropEvent } from "../../model/operations.ts";
import { clientFor } from "../agent-client.ts";
import type { Command, Input, Io } from "../command.ts";
import { type Column, clean, formatOf, show, table } from "../output.ts";

const columns: readonly Column<DropCount>[] = [
  { title: "PORT", text: (row) => row.port },
  { title: "GUEST", text: (row) => row.guest ?? "-" },
  { title: "DIRECTION", text: (row) => row.direction },
  { title: "REASON", text: (row) => row.reason },
  { title: "NOW", text: (row) => (row.observed ? "OBSERVED" : "dropped") },
  { title: "PACKETS", right: true, text: (row) => String(row.packets) },
  { title: "BYTES", right: true, text: (row) => String(row.bytes) },
];

function line({ at, port, guest, direction, reason, frame, observed }: DropEvent): string {
  return `${new Date(at).toISOString()} ${port} ${guest ?? "-"} ${direction} ${reason}${observed ? " (observed, let by)" : ""}: ${frame}`;
}

async function follow(input: Input, io: Io, filter: { guest?: string; port?: string }): Promise<number> {
  const asJson = formatOf(input) === "json";
  for await (const event of clientFor(input, io).followDrops(filter, io.signal)) {
    io.out(asJson ? `${JSON.stringify(event)}\n` : `${clean(line(event))}\n`);
  }
  return io.signal.aborted ? 130 : 0;
}

export const dropsCommand: Command = {
  name: "drops",
  summary: "dropped frames by port and reason, or a decoded sample as they come",
  details:
    "The counters are the kernel's and exact. The sample is limited to 5 frames a second and port, so that no guest can flood it. What each reason means: docs/reference/drop-reasons.md.",
  arguments: [],
  options: {
    follow: { type: "boolean", text: "show frames as they are dropped, until interrupted" },
    guest: { type: "string", value: "NAME", text: "only of this guest" },
    port: { type: "string", value: "PORT", text: "only of this port" },
  },
  examples: ["vifguard drops", "vifguard drops --follow --guest web1"],
  run: async (input, io) => {
    const guest = input.option("guest");
    const port = input.option("port");
    const filter = { ...(guest === undefined ? {} : { guest }), ...(port === undefined ? {} : { port }) };
    if (input.flag("follow")) return follow(input, io, filter);
    const format = formatOf(input);
    const rows = await clientFor(input, io).drops(filter);
    await show(io, format, rows, () => table(rows, columns, "nothing was dropped"));
    return 0;
  },
};
