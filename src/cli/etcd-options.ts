/** How a command finds the fleet's etcd. */
import { defaultEtcdRoot, type EtcdSettings } from "../agent/options.ts";
import { GuardError } from "../model/errors.ts";
import type { Input, OptionSpec } from "./command.ts";

export const etcdOptions = {
  etcd: {
    type: "string",
    value: "URL",
    multiple: true,
    text: "a member of the fleet's etcd, such as https://10.0.0.5:2379; name them all (docs/fleet.md). The state directory then holds a copy.",
  },
  "etcd-root": {
    type: "string",
    value: "PREFIX",
    default: defaultEtcdRoot,
    text: "beginning of every key, the same on all hosts of the fleet",
  },
  "etcd-ca": { type: "string", value: "FILE", text: "certificate of the authority of etcd's members (PEM)" },
  "etcd-cert": { type: "string", value: "FILE", text: "certificate of this host for etcd (PEM)" },
  "etcd-key": { type: "string", value: "FILE", text: "key of that certificate (PEM)" },
  "etcd-user": { type: "string", value: "NAME", text: "user of etcd, where it asks for one" },
  "etcd-password-file": { type: "string", value: "FILE", text: "the user's password, alone in a file" },
} as const satisfies Record<string, OptionSpec>;

/** @throws USAGE */
export function etcdSettings(input: Input): EtcdSettings | undefined {
  const endpoints = input.options("etcd");
  const more = {
    ca: input.option("etcd-ca"),
    cert: input.option("etcd-cert"),
    key: input.option("etcd-key"),
    user: input.option("etcd-user"),
    passwordFile: input.option("etcd-password-file"),
  };
  const given = Object.fromEntries(Object.entries(more).filter(([, value]) => value !== undefined));
  if (endpoints.length > 0) return { endpoints, root: input.option("etcd-root") ?? defaultEtcdRoot, ...given };
  if (Object.keys(given).length > 0) throw new GuardError("USAGE", "etcd's options go with --etcd URL");
  return undefined;
}
