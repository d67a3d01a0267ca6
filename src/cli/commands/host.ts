/** Hosts of the fleet: who is heard, who takes nothing new, who is not coming back. */
import type { HostPort, HostView } from "../../model/operations.ts";
import { clientFor } from "../agent-client.ts";
import type { Command } from "../command.ts";
import { type Column, clean, formatOf, show, span, table } from "../output.ts";

const stateText = ({ state, isDraining }: HostView): string =>
  isDraining && state !== "draining" ? `${state}, draining` : state;

/** Of a host that was silent before this agent looked nobody can say since when. */
const sinceText = ({ state, since }: HostView): string =>
  since === undefined ? (state === "silent" ? "before this agent" : "-") : span(Date.now() - since);

const columns: readonly Column<HostView>[] = [
  { title: "HOST", text: ({ name }) => name },
  { title: "STATE", text: stateText },
  { title: "SINCE", text: sinceText },
  { title: "VERSION", text: ({ version }) => version ?? "unknown" },
  { title: "PORTS", right: true, text: ({ ports }) => String(ports) },
  { title: "ADDRESS", text: ({ address }) => address ?? "-" },
];

const portColumns: readonly Column<HostPort & { readonly host: string }>[] = [
  { title: "HOST", text: ({ host }) => host },
  { title: "PORT", text: ({ port }) => port },
  { title: "GUEST", text: ({ guest }) => guest },
  { title: "NIC", text: ({ nic }) => String(nic) },
];

function hostsText(hosts: readonly HostView[]): string {
  const left = hosts.flatMap(({ name, attached = [] }) => attached.map((port) => ({ host: name, ...port })));
  const ports = left.length === 0 ? "" : `\n${table(left, portColumns, "")}`;
  return table(hosts, columns, "no hosts") + ports;
}

const hostListCommand: Command = {
  name: "host list",
  summary: "hosts of the fleet: which are heard, since when, and how many ports each has",
  details:
    "up: its agent is heard. draining: and takes no new NICs; the ports that are left there stand below. silent: not heard for 15 seconds or more; its ports go on as they were. " +
    "unknown: its agent is older than this list, or the store that would know is away. With a name, its ports one by one.",
  arguments: [{ name: "HOST", text: "only this host", required: false }],
  options: {},
  examples: ["vifguard host list", "vifguard host list web-07 -o json"],
  run: async (input, io) => {
    const format = formatOf(input);
    const name = input.optionalArgument("HOST");
    const hosts = await clientFor(input, io).hosts(name === undefined ? {} : { name });
    await show(io, format, hosts, () => hostsText(hosts));
    return 0;
  },
};

const hostDrainCommand: Command = {
  name: "host drain",
  summary: "attach nothing new on a host; what is there stays, and is listed",
  arguments: [{ name: "HOST", text: "the host", required: true }],
  options: { undo: { type: "boolean", text: "let it take NICs again" } },
  examples: ["vifguard host drain web-07", "vifguard host drain web-07 --undo"],
  run: async (input, io) => {
    const format = formatOf(input);
    const host = await clientFor(input, io).drainHost(input.argument("HOST"), { undo: input.flag("undo") });
    await show(io, format, host, () => hostsText([host]));
    return 0;
  },
};

const hostForgetCommand: Command = {
  name: "host forget",
  summary: "free the name of a host that is silent and does not come back, and with --force its NICs",
  details:
    "A host that is heard is refused, and so is one that is silent and has ports: it may only be cut off. One that comes back all the same shuts the ports it had before it does anything else.",
  arguments: [{ name: "HOST", text: "the host", required: true }],
  options: {
    force: {
      type: "boolean",
      text: "though it has ports: all of them are released. TWO HOSTS ANSWER FOR ONE ADDRESS if that host is not off",
    },
  },
  examples: ["vifguard host forget web-07", "vifguard host forget web-07 --force"],
  run: async (input, io) => {
    const format = formatOf(input);
    const done = await clientFor(input, io).forgetHost(input.argument("HOST"), { force: input.flag("force") });
    const ports = done.released.map((port) => ({ host: done.name, ...port }));
    await show(
      io,
      format,
      done,
      () => `${clean(done.name)}: forgotten\n${table(ports, portColumns, "no ports were released")}`,
    );
    return 0;
  },
};

export const hostCommands: readonly Command[] = [hostListCommand, hostDrainCommand, hostForgetCommand];
