/** Seam to the settings of interfaces under /proc/sys/net, of the network namespace this process is in. */
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { GuardError } from "../model/errors.ts";

export interface Sysctls {
  /** @param path below /proc/sys/net, such as `ipv4/conf/eth0/forwarding` @returns undefined when this kernel, or the interface, has no such setting */
  read(path: string): number | undefined;
  /** @throws KERNEL_REFUSED */
  write(path: string, value: number): void;
}

const ROOT = "/proc/sys/net";

export const openSysctls = (): Sysctls => ({
  read: (path) => (existsSync(`${ROOT}/${path}`) ? Number(readFileSync(`${ROOT}/${path}`, "utf8")) : undefined),
  write: (path, value) => {
    try {
      writeFileSync(`${ROOT}/${path}`, `${value}\n`);
    } catch (cause) {
      const says = cause instanceof Error ? cause.message : String(cause);
      throw new GuardError("KERNEL_REFUSED", `setting ${path} to ${value}: ${says}`, {
        fields: { path, value },
        cause,
      });
    }
  },
});

export interface MemorySysctls extends Sysctls {
  /** A setting that appears, as with a new interface. */
  define(path: string, value: number): void;
  /** And goes. */
  forget(path: string): void;
}

export function memorySysctls(): MemorySysctls {
  const values = new Map<string, number>();
  return {
    read: (path) => values.get(path),
    write: (path, value) => {
      if (!values.has(path)) throw new GuardError("KERNEL_REFUSED", `setting ${path} to ${value}: ENOENT`);
      values.set(path, value);
    },
    define: (path, value) => void values.set(path, value),
    forget: (path) => void values.delete(path),
  };
}
