/** QEMU started by hand: `-netdev tap,script=…,downscript=…` names the tap and nothing else, so the guest comes from the environment or the tap's name. */
import { GuardError } from "../model/errors.ts";
import { parseObjectName } from "../model/names.ts";
import { detachQuietly, type Hook, nicOf, strange, wordAt } from "./hook.ts";

const NAMED_PREFIX = "tap-";

/** `tap-web1` is a port of web1, unless VIFGUARD_GUEST says whose it is. @throws USAGE */
export function guestOfTap(tap: string, env: Hook["env"]): string {
  const guest = env["VIFGUARD_GUEST"] || (tap.startsWith(NAMED_PREFIX) ? tap.slice(NAMED_PREFIX.length) : "");
  if (parseObjectName(guest) !== undefined) return guest;
  throw new GuardError(
    "USAGE",
    `whose port is '${tap}'? Start QEMU with VIFGUARD_GUEST=NAME in its environment, or name the tap ${NAMED_PREFIX}NAME`,
    { fields: { port: tap } },
  );
}

/** QEMU does not start when this fails. */
export async function qemuUp(hook: Hook): Promise<void> {
  const tap = wordAt(hook, 0);
  if (hook.words.length !== 1) throw strange("QEMU", hook);
  const nic = nicOf(hook.env);
  const guest = guestOfTap(tap, hook.env);
  await hook.client.attach({ port: tap, guest, ...(nic === undefined ? {} : { nic }) });
}

export async function qemuDown(hook: Hook): Promise<void> {
  if (hook.words.length !== 1) throw strange("QEMU", hook);
  await detachQuietly(hook, wordAt(hook, 0));
}
