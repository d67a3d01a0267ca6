/** Hosts in other processes: the same calls, by messages. */
import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import type { Hosts, Part } from "./hosts.ts";
import type { Answer, Call } from "./worker.ts";

export interface HostProcess extends Hosts {
  end(): void;
}

interface Waiting {
  readonly resolve: (answer: Answer) => void;
  readonly reject: (error: unknown) => void;
}

function createLine(child: ChildProcess) {
  const waiting = new Map<number, Waiting>();
  let next = 0;
  child.on("message", (text) => {
    const answer: Answer = JSON.parse(String(text));
    waiting.get(answer.id)?.resolve(answer);
    waiting.delete(answer.id);
  });
  child.on("exit", (status, signal) => {
    for (const { reject } of waiting.values()) reject(new Error(`a process of hosts ended: ${signal ?? status}`));
  });
  return (name: Call["name"], args: readonly unknown[]): Promise<Answer> => {
    next += 1;
    const call: Call = { id: next, name, args };
    child.send(JSON.stringify(call));
    return new Promise((resolve, reject) => waiting.set(call.id, { resolve, reject }));
  };
}

/** @param directory of the built code: Node 20 runs no TypeScript */
export function forkHosts(directory: string, part: Part): HostProcess {
  const child = fork(join(directory, "worker.js"), { execArgv: ["--expose-gc", "--max-old-space-size=12000"] });
  const line = createLine(child);
  child.send(JSON.stringify({ part }));
  async function ask(name: Call["name"], ...args: readonly unknown[]): Promise<string> {
    const { result, error } = await line(name, args);
    if (error !== undefined) throw new Error(error);
    return JSON.stringify(result ?? null);
  }
  return {
    start: async () => JSON.parse(await ask("start")),
    stop: async () => void (await ask("stop")),
    apply: async (text) => void (await ask("apply", text)),
    attach: async (host, guest, isMove) => void (await ask("attach", host, guest, isMove)),
    changedSince: async (time) => JSON.parse(await ask("changedSince", time)),
    settled: async () => void (await ask("settled")),
    cpu: async () => JSON.parse(await ask("cpu")),
    usage: async () => JSON.parse(await ask("usage")),
    applied: async () => JSON.parse(await ask("applied")),
    elements: async () => JSON.parse(await ask("elements")),
    end: () => child.kill("SIGKILL"),
  };
}
