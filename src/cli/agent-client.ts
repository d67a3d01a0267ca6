/** The agent a command talks to. */
import { readFileSync } from "node:fs";
import { type AgentPlace, type Client, connect, defaultSocket } from "../api/client.ts";
import { GuardError } from "../model/errors.ts";
import type { Input, Io } from "./command.ts";

/** @throws USAGE */
function remotePlace(url: string, input: Input, io: Io): AgentPlace {
  const given = URL.canParse(url) ? new URL(url) : undefined;
  if (given?.protocol !== "https:" || given.pathname !== "/")
    throw new GuardError("USAGE", `--server ${JSON.stringify(url)} is not like https://host-7:7443`);
  const tokenFile = input.option("token-file") ?? io.env["VIFGUARD_TOKEN_FILE"];
  if (tokenFile === undefined) throw new GuardError("USAGE", "--server needs --token-file, or VIFGUARD_TOKEN_FILE");
  const ca = input.option("ca") ?? io.env["VIFGUARD_CA"];
  return {
    url,
    token: readFileSync(tokenFile, "utf8").trim(),
    ...(ca === undefined ? {} : { ca: readFileSync(ca, "utf8") }),
  };
}

/** What was typed goes before the environment, and that before the default. @throws USAGE */
export function clientFor(input: Input, io: Io): Client {
  const asked = input.option("socket");
  const typed = asked === undefined || asked === defaultSocket ? undefined : asked;
  const server = input.option("server") ?? (typed === undefined ? io.env["VIFGUARD_SERVER"] : undefined);
  if (server !== undefined) return connect(remotePlace(server, input, io));
  return connect(typed ?? io.env["VIFGUARD_SOCKET"] ?? defaultSocket);
}
