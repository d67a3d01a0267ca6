/** Labs for adapters: an agent with its site in the host box, guests that are not attached yet, and the hooks as they are shipped. */
import { dirname, resolve } from "node:path";
import { execPath } from "node:process";
import { fileURLToPath } from "node:url";
import { type Client, connect } from "../../src/api/client.ts";
import { builtFile } from "../../src/lab/built.ts";
import type { Finished } from "../../src/lab/exec.ts";
import { startAgent } from "../../src/lab/guarded.ts";
import { type Lab, raiseLab } from "../../src/lab/raise.ts";
import type { LabAgent } from "../../src/lab/state.ts";
import { applyText, siteText } from "./guarded-lab.ts";

const hooks = resolve(dirname(fileURLToPath(import.meta.url)), "../../hooks");
export const hookFile = (name: string): string => `${hooks}/${name}`;

export interface PlatformLab {
  readonly lab: Lab;
  readonly agent: LabAgent;
  readonly client: Client;
  readonly hookEnvironment: Readonly<Record<string, string>>;
  /** Runs a shipped hook in the host box, as the platform would. */
  hook(
    name: string,
    words: readonly string[],
    options?: { env?: Record<string, string>; stdin?: string },
  ): Promise<Finished>;
}

/** Where hooks find the program and the agent, as /etc/default/vifguard would say. */
export function hookEnvironment(socket: string): Record<string, string> {
  return { VIFGUARD: `${execPath} ${builtFile("main.js")}`, VIFGUARD_SOCKET: socket };
}

/** Nothing is left when it fails. */
export async function raisePlatformLab(
  what: string,
  guests: number,
  prefixes: readonly string[] = [],
): Promise<PlatformLab> {
  const lab = await raiseLab({ name: `${what}${process.pid.toString(36)}`, guests, nic: "veth" });
  try {
    const agent = await startAgent(
      lab,
      prefixes.flatMap((prefix) => ["--port-prefix", prefix]),
    );
    const client = connect(agent.socket);
    await applyText({ client }, siteText(lab.topology));
    return {
      lab,
      agent,
      client,
      hookEnvironment: hookEnvironment(agent.socket),
      hook: (name, words, { env = {}, stdin = "" } = {}) =>
        lab.exec("host", [hookFile(name), ...words], { env: { ...hookEnvironment(agent.socket), ...env }, stdin }),
    };
  } catch (cause) {
    await lab.down();
    throw cause;
  }
}

/** Interfaces of a box by name. */
export async function linkNames(lab: Lab, box: string): Promise<readonly string[]> {
  const list: unknown = JSON.parse(await lab.must(box, ["ip", "-j", "link", "show"]));
  return Array.isArray(list) ? list.map((link: { readonly ifname: string }) => link.ifname) : [];
}

/** Two seconds at most: most of these are to go unanswered. */
export async function pings(lab: Lab, box: string, address: string, ...more: readonly string[]): Promise<boolean> {
  return (await lab.exec(box, ["ping", "-n", "-c", "2", "-i", "0.2", "-W", "1", ...more, address])).status === 0;
}
