/** The agent a command talks to. */
import { type Client, connect, defaultSocket } from "../api/client.ts";
import type { Input, Io } from "./command.ts";

export function clientFor(input: Input, io: Io): Client {
  const asked = input.option("socket");
  // The default of --socket gives way to the environment, what was typed does not.
  return connect(asked === undefined || asked === defaultSocket ? (io.env["VIFGUARD_SOCKET"] ?? defaultSocket) : asked);
}
