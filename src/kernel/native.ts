/** The addon: sockets as numbers, bytes in and out. Loaded by path, so that an install without scripts works. */
import { existsSync } from "node:fs";
import { createRequire } from "node:module";
import { arch } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { GuardError } from "../model/errors.ts";

export interface Native {
  /** Packet protocols in host order. Throws with `errno`. */
  open(domain: number, type: number, protocol: number): number;
  close(fd: number): void;
  /** Answers the port id. */
  bindNetlink(fd: number): number;
  /** The rest answer a negative errno instead of throwing. */
  setOption(fd: number, level: number, name: number, value: number): number;
  send(fd: number, bytes: Uint8Array, length: number): number;
  receive(fd: number, bytes: Uint8Array, wait: 0 | 1): number;
  receiveMany(fd: number, bytes: Uint8Array, slot: number, lengths: Uint32Array): number;
  sendFrames(fd: number, bytes: Uint8Array, table: Uint32Array, count: number): number;
  enterNamespace(path: string): void;
  startWatching(ready: (fd: number, error: number) => void): void;
  arm(fd: number, how: 0 | 1 | 2): void;
  keepAlive(on: boolean): void;
}

function isMusl(): boolean {
  const header: unknown = process.report?.getReport();
  return !JSON.stringify(header ?? "").includes("glibcVersionRuntime");
}

function load(): Native {
  const root = join(dirname(fileURLToPath(import.meta.url)), "..", "..");
  const path = join(root, "prebuilds", `linux-${arch()}-${isMusl() ? "musl" : "glibc"}`, "vifguard.node");
  if (!existsSync(path)) {
    throw new GuardError(
      "KERNEL_UNSUPPORTED",
      `the addon for this machine is not there: ${path}; build it with 'npm run build:native'`,
    );
  }
  return createRequire(import.meta.url)(path);
}

let loaded: Native | undefined;

/** @throws KERNEL_UNSUPPORTED when there is no binary for this machine */
export function native(): Native {
  loaded ??= load();
  return loaded;
}

const listeners = new Map<number, (error: number) => void>();
let watching = false;

/**
 * Calls back whenever the socket can be read, with 0, or with a negative errno that the socket had to report (-105 ENOBUFS, -100 ENETDOWN).
 * The callback must read until -EAGAIN.
 */
export function watchSocket(fd: number, ready: (error: number) => void): { close(): void } {
  const addon = native();
  if (!watching) {
    addon.startWatching((readable, error) => {
      listeners.get(readable)?.(error);
      if (listeners.has(readable)) addon.arm(readable, 1);
    });
    watching = true;
  }
  listeners.set(fd, ready);
  addon.arm(fd, 0);
  return {
    close: () => {
      if (listeners.delete(fd)) addon.arm(fd, 2);
    },
  };
}
