/** Moves this thread, its sockets to come and the programs it starts into a network namespace: for the lab and for tests. */
import { native } from "./native.ts";

/** @param name as `ip netns` knows it. Throws when there is none such. */
export function enterNamespace(name: string): void {
  native().enterNamespace(`/run/netns/${name}`);
}
