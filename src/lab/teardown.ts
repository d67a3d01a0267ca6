/** Takes a lab down from what is found, not from what is remembered: half a lab, or none, is fine. */
import { setTimeout as sleep } from "node:timers/promises";
import { exec, must } from "./exec.ts";
import { patience } from "./patience.ts";
import { forget, namespaces } from "./state.ts";
import type { LabName } from "./topology.ts";

const TERM_MS = patience(2_000);
const POLL_MS = 20;

async function pidsIn(netns: string): Promise<readonly number[]> {
  const { stdout } = await exec(["ip", "netns", "pids", netns]);
  return stdout
    .split("\n")
    .map(Number)
    .filter((pid) => pid > 0 && pid !== process.pid);
}

function signal(pids: readonly number[], name: NodeJS.Signals): void {
  for (const pid of pids) {
    try {
      process.kill(pid, name);
    } catch {
      // ESRCH: it ended by itself.
    }
  }
}

/** Ends every process of a namespace (agent, DHCP clients, pumps, sniffers, shells): one that stays would keep the namespace alive without a name. */
async function endProcesses(netns: string): Promise<void> {
  signal(await pidsIn(netns), "SIGTERM");
  const deadline = performance.now() + TERM_MS;
  for (;;) {
    const pids = await pidsIn(netns);
    if (pids.length === 0) return;
    if (performance.now() > deadline) signal(pids, "SIGKILL");
    if (performance.now() > deadline + TERM_MS) return;
    await sleep(POLL_MS);
  }
}

async function removeNamespace(name: LabName, netns: string): Promise<void> {
  await endProcesses(netns);
  const { status } = await exec(["ip", "netns", "delete", netns]);
  // Refused because somebody else took it down at the same moment: fine. Still there: say why.
  if (status !== 0 && (await namespaces(name)).includes(netns)) await must(["ip", "netns", "delete", netns]);
}

/** Idempotent. @returns the namespaces that were removed @throws COMMAND_FAILED */
export async function tearDown(name: LabName): Promise<readonly string[]> {
  const found = await namespaces(name);
  const results = await Promise.allSettled(found.map((netns) => removeNamespace(name, netns)));
  const refused = results.find((result) => result.status === "rejected");
  if (refused !== undefined) throw refused.reason;
  await forget(name);
  return found;
}
