/** Runs a platform's real programs in the host box of a lab, with folders and control groups of their own, so that nothing of the machine is touched. */
import { dirname, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import type { Finished } from "../../src/lab/exec.ts";
import type { PlatformLab } from "../support/platform-lab.ts";

const helper = resolve(dirname(fileURLToPath(import.meta.url)), "private.sh");

export interface Inside {
  /** Empty at first but for what the machine has in them, and gone afterwards. */
  readonly folders: readonly string[];
  readonly script: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly timeoutMs?: number;
}

export function inside(
  platform: PlatformLab,
  { folders, script, env = {}, timeoutMs = 60_000 }: Inside,
): Promise<Finished> {
  const argv = ["unshare", "--mount", "--propagation", "private", helper, ...folders, "--", "bash", "-c", script];
  return platform.lab.exec("host", argv, { env: { ...platform.hookEnvironment, ...env }, timeoutMs });
}

/** What a guest that was booted said on its console. */
export const guestLines = (console: string): readonly string[] =>
  console.split("\n").flatMap((line) => /GUEST: (.*?)\r?$/.exec(line)?.[1] ?? []);

/** Kernel and initramfs that ./selftest-platforms made. @throws TypeError */
export function guestFiles(): { readonly kernel: string; readonly initrd: string } {
  const { VIFGUARD_GUEST_KERNEL: kernel, VIFGUARD_GUEST_INITRD: initrd } = process.env;
  if (kernel === undefined || initrd === undefined) throw new TypeError("run it by ./selftest-platforms");
  return { kernel, initrd };
}
