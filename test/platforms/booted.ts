/** A system that was booted in the host box of a lab: a real systemd, this machine's programs, files of its own. For packages, units and what needs them. */
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { exec, type Finished } from "../../src/lab/exec.ts";
import { patience } from "../../src/lab/patience.ts";
import type { Lab } from "../../src/lab/raise.ts";

const script = resolve(dirname(fileURLToPath(import.meta.url)), "boot.sh");
const BOOT_MS = patience(60_000);

export interface System {
  /** Its / as a path of this machine, for what talks to a socket of it. */
  readonly root: string;
  /** Runs a shell script inside. */
  sh(text: string, timeoutMs?: number): Promise<Finished>;
  /** A power failure; what was written stays in its folder. */
  stop(): Promise<void>;
}

/** Not below /tmp or /run, which are the booted system's own. Goes with the lab's test. */
export const newFolder = (): Promise<string> => mkdtemp("/var/tmp/vifguard-system.");
export const removeFolder = (folder: string): Promise<void> => rm(folder, { recursive: true, force: true });

async function childOf(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/task/${pid}/children`, "utf8").catch(() => "");
  return Number(text.trim().split(" ")[0] ?? "");
}

/** `ip netns exec` becomes unshare, whose one child is process 1. */
async function processOne(pid: number): Promise<number> {
  for (const deadline = performance.now() + BOOT_MS; performance.now() < deadline; await sleep(50)) {
    const child = await childOf(pid);
    if (child > 0) return child;
  }
  throw new TypeError("the system did not boot: it has no process 1");
}

/** Answers when basic.target is reached. */
export async function bootSystem(lab: Lab, folder: string): Promise<System> {
  const namespaces = [
    "--mount",
    "--propagation",
    "private",
    "--pid",
    "--fork",
    "--kill-child",
    "--cgroup",
    "--ipc",
    "--uts",
  ];
  const running = await lab.start("host", ["unshare", ...namespaces, script, folder], "systemd.log");
  const pid = await processOne(running.pid);
  const sh = (text: string, timeoutMs = 60_000): Promise<Finished> =>
    exec(["nsenter", `--target=${pid}`, "--all", "--root", "--wdns=/", "--", "bash", "-c", text], { timeoutMs });
  const stop = async (): Promise<void> => {
    await running.stop("SIGKILL");
  };
  for (const deadline = performance.now() + BOOT_MS; performance.now() < deadline; await sleep(100)) {
    const { stdout } = await sh("systemctl is-active basic.target");
    if (stdout === "active\n") return { root: `/proc/${pid}/root`, sh, stop };
  }
  const log = await readFile(`${lab.directory}/systemd.log`, "utf8").catch(() => "");
  await stop();
  throw new TypeError(`the system did not boot: ${log.slice(-2000)}`);
}

/** The package of this tree, with the agent's options as an operator writes them beforehand; the agent is not started where guests' ports are. */
export async function installPackage(system: System, options: string): Promise<void> {
  const text = `set -e
rm -f /usr/sbin/policy-rc.d
echo 'VIFGUARD_AGENT_OPTIONS="${options}"' >/etc/default/vifguard
cd ${process.cwd()} && scripts/package-deb.sh /tmp >/dev/null
dpkg --force-confold -i /tmp/vifguard_*.deb`;
  const { status, stdout, stderr } = await system.sh(text, 120_000);
  if (status !== 0) throw new TypeError(`the package could not be installed: ${stdout}${stderr}`);
}
