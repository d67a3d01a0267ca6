/** The agent on a memory kernel: what every test of it starts with. */
import { type Agent, startAgent } from "../../src/agent/agent.ts";
import type { AgentParts } from "../../src/agent/core.ts";
import { memoryDatagrams } from "../../src/kernel/datagrams-memory.ts";
import { memoryFrames } from "../../src/kernel/frames-memory.ts";
import { memoryRoutes } from "../../src/kernel/routes-memory.ts";
import { memorySysctls } from "../../src/kernel/sysctls.ts";
import { type PortPrefix, parsePortPrefix } from "../../src/model/names.ts";
import { hostIdOf } from "./names.ts";

function prefix(): PortPrefix {
  const name = parsePortPrefix("vif");
  if (name === undefined) throw new TypeError("prefix");
  return name;
}

export const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

/** Time stands still. */
export const clock = { now: () => 1_700_000_000_000 };
export const hostId = hostIdOf("h1");
export const portPrefixes = [prefix()];
export const EPOCH = "boot/1";

/** @param own what the test looks at, or stands in the way of */
export function startMemoryAgent(
  own: Pick<AgentParts, "nft" | "links" | "store"> & Partial<AgentParts>,
): Promise<Agent> {
  return startAgent({
    frames: memoryFrames(),
    datagrams: memoryDatagrams([]),
    routing: { routes: memoryRoutes(), sysctls: memorySysctls() },
    clock,
    log: silent,
    host: hostId,
    epoch: EPOCH,
    portPrefixes,
    version: "test",
    kernel: {
      release: "test",
      nft: "test",
      shape: "port-chains",
      policy: "bridge-netfilter",
      capabilities: [{ name: "inet-nat", has: "yes", needed: false, policy: false, says: "" }],
    },
    storeKind: "memory",
    auditEvery: 3_600_000,
    ...own,
  });
}
