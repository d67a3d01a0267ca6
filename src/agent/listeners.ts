/** Where the agent answers, and the log of what was changed by whom. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { GuardError } from "../model/errors.ts";
import type { HostId } from "../model/names.ts";
import type { Operations } from "../model/operations.ts";
import { openAudit } from "../server/audit.ts";
import { type Listen, type RunningServer, startServer } from "../server/http.ts";
import { createTokens } from "../server/tokens.ts";
import type { Log } from "./core.ts";
import type { AgentOptions, NetworkSettings } from "./options.ts";

/** @throws USAGE */
export function fileText(option: string, file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new GuardError("USAGE", `${option}: ${why}`, { fields: { file }, cause });
  }
}

/** @throws USAGE */
function tlsListen({ listen, cert, key, tokens }: NetworkSettings): Listen {
  const [, bracketed, plain, digits = ""] = listen.match(/^(?:\[([^\]]+)\]|([^:[\]]*)):(\d{1,5})$/) ?? [];
  const host = bracketed ?? plain;
  const port = Number(digits);
  if (host === undefined || host === "" || port > 65_535)
    throw new GuardError("USAGE", `--listen ${JSON.stringify(listen)} is not like 10.0.0.7:7443 or [2001:db8::7]:7443`);
  const pems = { cert: fileText("--tls-cert", cert), key: fileText("--tls-key", key) };
  return { kind: "tls", host, port, ...pems, tokens: createTokens(tokens) };
}

/** @throws USAGE, AGENT_RUNNING; then nothing listens */
export async function startListeners(
  { socket, stateDirectory, network }: Pick<AgentOptions, "socket" | "stateDirectory" | "network">,
  { operations, version, log, host }: { operations: Operations; version: string; log: Log; host: HostId },
): Promise<{ close(): Promise<void> }> {
  const listens: Listen[] = [{ kind: "unix", path: socket }];
  if (network !== undefined) listens.push(tlsListen(network));
  const audit = openAudit(join(stateDirectory, "audit.jsonl"));
  const servers: RunningServer[] = [];
  async function close(): Promise<void> {
    for (const server of servers) await server.close();
    audit.close();
  }
  try {
    for (const listen of listens)
      servers.push(
        await startServer({
          operations,
          listen,
          version,
          log,
          audit: (entry) => audit.write({ at: new Date().toISOString(), host, ...entry }),
        }),
      );
  } catch (cause) {
    await close();
    throw cause;
  }
  return { close };
}
