/** A process of simulated hosts: its part comes first, then calls by name, and their answers go back as JSON. */
import { createHosts, type Hosts, type Part } from "./hosts.ts";

export interface Call {
  readonly id: number;
  readonly name: keyof Hosts;
  readonly args: readonly unknown[];
}

export interface Answer {
  readonly id: number;
  readonly result?: unknown;
  readonly error?: string;
}

type Method = (...args: readonly unknown[]) => Promise<unknown>;

let hosts: Hosts | undefined;

async function answerTo({ id, name, args }: Call): Promise<Answer> {
  try {
    const method: Method = Reflect.get(hosts ?? {}, name);
    return { id, result: await method(...args) };
  } catch (error) {
    return { id, error: error instanceof Error ? (error.stack ?? error.message) : String(error) };
  }
}

process.on("message", (text) => {
  const said: Call | { readonly part: Part } = JSON.parse(String(text));
  if ("part" in said) hosts = createHosts(said.part);
  else void answerTo(said).then((answer) => process.send?.(JSON.stringify(answer)));
});
