/** The daemon. */
import { defaultPortPrefixes, logLevels, type NetworkSettings } from "../../agent/options.ts";
import { GuardError } from "../../model/errors.ts";
import type { Command, Input } from "../command.ts";
import { etcdOptions, etcdSettings } from "../etcd-options.ts";
import { packageVersion } from "../version.ts";
import { defaultTokenFile } from "./token.ts";

export const agentCommand: Command = {
  name: "agent",
  summary: "the daemon of this host",
  details: "Runs in the foreground until SIGTERM or SIGINT. Ending it, in whatever way, leaves every rule where it is.",
  arguments: [],
  options: {
    "state-dir": { type: "string", value: "DIR", default: "/var/lib/vifguard", text: "where the store is kept" },
    ...etcdOptions,
    listen: {
      type: "string",
      value: "ADDRESS:PORT",
      text: "answer over TLS there, too, for those who have a token (docs/fleet.md)",
    },
    "tls-cert": { type: "string", value: "FILE", text: "certificate for --listen (PEM)" },
    "tls-key": { type: "string", value: "FILE", text: "key of that certificate (PEM)" },
    tokens: { type: "string", value: "FILE", default: defaultTokenFile, text: "who may ask there" },
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
    "vifguard agent --etcd https://e1:2379 --etcd https://e2:2379 --etcd https://e3:2379 --etcd-ca ca.pem --etcd-cert host.pem --etcd-key host.key",
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
      etcd: etcdSettings(input),
      network: networkSettings(input),
    };
    await runAgent(options, packageVersion());
    return 0;
  },
};

function networkSettings(input: Input): NetworkSettings | undefined {
  const [listen, cert, key] = [input.option("listen"), input.option("tls-cert"), input.option("tls-key")];
  if (listen === undefined && cert === undefined && key === undefined) return undefined;
  if (listen === undefined || cert === undefined || key === undefined)
    throw new GuardError("USAGE", "--listen, --tls-cert and --tls-key go together");
  return { listen, cert, key, tokens: input.option("tokens") ?? defaultTokenFile };
}
