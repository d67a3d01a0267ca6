/** What every hook is given and answers. Adapters are thin: the platform's call into attach and detach, and the outcome in the platform's words. */
import type { Client } from "../api/client.ts";
import { GuardError } from "../model/errors.ts";
import type { Host } from "./host.ts";

export interface Hook {
  readonly words: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly client: Client;
  readonly host: Host;
  /** Read only by those who are given something there. */
  readonly stdin: () => Promise<string>;
  /** For the platform's log. */
  readonly say: (text: string) => void;
}

export const wordAt = (hook: Hook, index: number): string => hook.words[index] ?? "";

/** @throws USAGE: the platform calls it otherwise than this adapter knows */
export function strange(platform: string, hook: Hook): GuardError {
  return new GuardError("USAGE", `this is not how ${platform} calls its hook: ${JSON.stringify(hook.words)}`);
}

/** A number of VIFGUARD_NIC; undefined when it is not set. @throws USAGE */
export function nicOf(env: Hook["env"]): number | undefined {
  const text = env["VIFGUARD_NIC"] ?? "";
  if (text === "") return undefined;
  if (!/^\d{1,3}$/.test(text)) throw new GuardError("USAGE", `VIFGUARD_NIC ${JSON.stringify(text)} is not a number`);
  return Number(text);
}

/**
 * For what is called when a NIC goes away: without an agent there is nobody to tell, and an interface that is gone is forgotten by itself.
 * Another failure is told.
 */
export async function detachQuietly({ client, say }: Pick<Hook, "client" | "say">, port: string): Promise<void> {
  try {
    await client.detach(port);
  } catch (cause) {
    if (!(cause instanceof GuardError && cause.code === "AGENT_UNREACHABLE")) throw cause;
    say(`${cause.message}; '${port}' is forgotten when an agent runs again`);
  }
}
