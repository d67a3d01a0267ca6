/** Who this host is among others, as far as its machine can tell. */
import { randomUUID } from "node:crypto";
import { readFileSync, renameSync, writeFileSync } from "node:fs";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { GuardError } from "../model/errors.ts";
import type { HostIdentity } from "../model/hosts.ts";
import { isGuarded } from "../model/names.ts";

const INSTANCE = "instance";
const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

/** @throws STORE_UNAVAILABLE */
export function keepInstance(stateDirectory: string, instance: string): void {
  const path = join(stateDirectory, INSTANCE);
  const draft = `${path}.new-${process.pid}`;
  try {
    // Whole or not at all.
    writeFileSync(draft, `${instance}\n`, { mode: 0o600 });
    renameSync(draft, path);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new GuardError("STORE_UNAVAILABLE", `'${path}' cannot be written: ${why}`, { fields: { path }, cause });
  }
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return undefined;
  }
}

/** Made at the first start. @throws STORE_UNAVAILABLE */
export function identityOf(stateDirectory: string, epoch: string): HostIdentity {
  const kept = textOf(join(stateDirectory, INSTANCE));
  const instance = kept !== undefined && UUID.test(kept) ? kept : randomUUID();
  if (instance !== kept) keepInstance(stateDirectory, instance);
  return { instance, machine: textOf("/etc/machine-id") ?? "", epoch };
}

/** Where an operator finds this machine: the first address that is neither loopback, link-local nor on a guest's port. */
export function addressOfHost(portPrefixes: readonly string[]): string | undefined {
  return Object.entries(networkInterfaces())
    .filter(([name]) => !isGuarded(name, portPrefixes))
    .flatMap(([, addresses]) => addresses ?? [])
    .find(({ internal, address }) => !internal && !/^(?:169\.254\.|fe[89ab])/i.test(address))?.address;
}
