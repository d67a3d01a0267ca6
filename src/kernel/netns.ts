/** Moves this thread, its sockets to come and the programs it starts into a network namespace: for the lab and for tests. */
import { closeSync, openSync } from "node:fs";
import { native } from "./native.ts";

/** @param name as `ip netns` knows it. Throws when there is none such. */
export function enterNamespace(name: string): void {
  native().enterNamespace(`/run/netns/${name}`);
}

/** What is opened meanwhile stays in that namespace; nothing else may run until it returns, and it returns to where it was. */
export function inNamespace<T>(name: string, action: () => T): T {
  // Of the main thread, where JavaScript runs; the descriptor holds it though nobody names it.
  const own = openSync("/proc/self/ns/net", "r");
  try {
    enterNamespace(name);
    return action();
  } finally {
    native().enterNamespace(`/proc/self/fd/${own}`);
    closeSync(own);
  }
}
