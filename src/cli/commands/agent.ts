/** The daemon. */
import { defaultPortPrefixes, logLevels } from "../../agent/options.ts";
import { GuardError } from "../../model/errors.ts";
import type { Command } from "../command.ts";
import { packageVersion } from "../version.ts";

export const agentCommand: Command = {
  name: "agent",
  summary: "the daemon of this host",
  details: "Runs in the foreground until SIGTERM or SIGINT. Ending it, in whatever way, leaves every rule where it is.",
  arguments: [],
  options: {
    "state-dir": { type: "string", value: "DIR", default: "/var/lib/vifguard", text: "where the store is kept" },
    host: { type: "string", value: "NAME", text: "the host's name in the store (default: its host name)" },
    "port-prefix": {
      type: "string",
      value: "PREFIX",
      multiple: true,
      text: `beginnings of guest port names (default ${defaultPortPrefixes.join(", ")})`,
    },
    "load-only": { type: "boolean", text: "only shut unbound ports, then end: for early boot" },
    without: {
      type: "string",
      value: "CAPABILITY",
      multiple: true,
      text: "act as if the kernel could not do this (docs/reference/kernel.md has the names): to see the refusal",
    },
    "log-level": { type: "string", value: "LEVEL", default: "info", text: logLevels.join(", ") },
  },
  examples: [
    "vifguard agent",
    "vifguard agent --load-only",
    "vifguard agent --port-prefix vif --port-prefix veth-guest",
  ],
  run: async (input) => {
    const logLevel = input.option("log-level") ?? "info";
    if (!logLevels.some((level) => level === logLevel))
      throw new GuardError("USAGE", `--log-level '${logLevel}' is not one of ${logLevels.join(", ")}`);
    const prefixes = input.options("port-prefix");
    const { runAgent } = await import("../../agent/run.ts");
    const options = {
      stateDirectory: input.option("state-dir") ?? "/var/lib/vifguard",
      socket: input.option("socket") ?? "/run/vifguard/agent.sock",
      host: input.option("host"),
      portPrefixes: prefixes.length > 0 ? prefixes : defaultPortPrefixes,
      loadOnly: input.flag("load-only"),
      without: input.options("without"),
      logLevel,
    };
    await runAgent(options, packageVersion());
    return 0;
  },
};
