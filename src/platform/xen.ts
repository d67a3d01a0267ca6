/**
 * The hotplug script of libxl: `online type_if=vif` and `offline` for every vif, `add` and `remove type_if=tap` for the emulated card of an HVM guest.
 * What the backend's keys say is dom-0's word; the frontend's keys are the guest's own and are never read.
 */
import { GuardError } from "../model/errors.ts";
import { isGuarded, parseInterfaceName } from "../model/names.ts";
import { detachQuietly, type Hook, strange, wordAt } from "./hook.ts";
import { findLink, ip, must } from "./links.ts";
import { nicByMac, nicsOfGuest, type SiteNic } from "./site.ts";

/** One key; undefined when it is not there. */
async function read({ host }: Hook, path: string): Promise<string | undefined> {
  const { status, stdout } = await host.run(["xenstore-read", path]);
  // The value may end in spaces; the newline is xenstore-read's.
  return status === 0 ? stdout.replace(/\n$/, "") : undefined;
}

async function mustRead(hook: Hook, path: string): Promise<string> {
  const value = await read(hook, path);
  if (value !== undefined && value !== "") return value;
  throw new GuardError("NOT_FOUND", `xenstore has no ${path}`, { fields: { path } });
}

async function write({ host }: Hook, pairs: Readonly<Record<string, string>>): Promise<void> {
  await must(host, ["xenstore-write", ...Object.entries(pairs).flat()]);
}

const backendOf = (hook: Hook): string => hook.env["XENBUS_PATH"] ?? "";

/** The operator's word in the domain's configuration is its name; it is dom-0's to write. */
async function nicOf(hook: Hook): Promise<SiteNic> {
  const backend = backendOf(hook);
  const mac = await mustRead(hook, `${backend}/mac`);
  const domid = await mustRead(hook, `${backend}/frontend-id`);
  if (!/^\d+$/.test(domid))
    throw new GuardError("USAGE", `frontend-id ${JSON.stringify(domid)} is not a domain's number`);
  // libxl calls a domain that is being migrated here so until it runs.
  const guest = (await mustRead(hook, `/local/domain/${domid}/name`)).replace(/--incoming$/, "");
  return nicByMac(await nicsOfGuest(hook.client, guest), guest, mac);
}

/** `vifname` of the configuration is the interface's new name. */
async function portOf(hook: Hook, vif: string): Promise<string> {
  const wanted = (await read(hook, `${backendOf(hook)}/vifname`)) ?? "";
  return wanted === "" ? vif : wanted;
}

/** The tap of the emulated card, as libxl and its own scripts name it. */
const emulated = (port: string): string => `${port}-emu`;

async function rename({ host }: Hook, vif: string, port: string): Promise<void> {
  if (port === vif || (await findLink(host, vif)) === undefined) return;
  await ip(host, ["link", "set", "dev", vif, "down"]);
  await ip(host, ["link", "set", "dev", vif, "name", port]);
}

/** Before it is renamed: what the agent would refuse must not lose its guarded name. */
async function checkName({ client }: Hook, port: string): Promise<void> {
  const { portPrefixes } = await client.status();
  if (parseInterfaceName(port) === undefined)
    throw new GuardError(
      "PORT_NAME",
      `by its vifname the interface would be called "${port}", which is no name for one`,
    );
  if (!isGuarded(port, portPrefixes))
    throw new GuardError("PORT_NAME", `vifname "${port}" does not begin with ${portPrefixes.join(", ")}`);
}

async function setMtu(hook: Hook, port: string): Promise<void> {
  const mtu = await read(hook, `${backendOf(hook)}/mtu`);
  if (mtu !== undefined && /^\d{2,5}$/.test(mtu)) await ip(hook.host, ["link", "set", "dev", port, "mtu", mtu]);
}

async function online(hook: Hook, vif: string): Promise<void> {
  const port = await portOf(hook, vif);
  await checkName(hook, port);
  const { guest, nic } = await nicOf(hook);
  await rename(hook, vif, port);
  await setMtu(hook, port);
  await hook.client.attach({ port, guest, nic });
  await write(hook, { [`${backendOf(hook)}/hotplug-status`]: "connected" });
}

/** Told after the vif's `online`, while the domain is paused: from here on the emulated card serves until the guest has connected its driver. */
async function add(hook: Hook, vif: string): Promise<void> {
  const standsInFor = await portOf(hook, vif);
  const port = emulated(standsInFor);
  await checkName(hook, port);
  const { guest, nic } = await nicOf(hook);
  await rename(hook, emulated(vif), port);
  await setMtu(hook, port);
  await hook.client.attach({ port, guest, nic, standsInFor });
}

/** xl prints hotplug-error; without it the operator sees only that a script failed. */
async function tell(hook: Hook, error: unknown): Promise<void> {
  const says = error instanceof GuardError ? `${error.message} (${error.code})` : String(error);
  const backend = backendOf(hook);
  await write(hook, { [`${backend}/hotplug-error`]: `vifguard: ${says}`, [`${backend}/hotplug-status`]: "error" });
}

/** A start fails, and xl destroys the domain, when this throws. The end of a domain may be told twice, or when all is gone already. */
export async function xenHook(hook: Hook): Promise<void> {
  const [command, kind] = [wordAt(hook, 0), wordAt(hook, 1)];
  const vif = hook.env["vif"] ?? "";
  if (backendOf(hook) === "" || parseInterfaceName(vif) === undefined) throw strange("libxl", hook);
  const isTap = kind === "type_if=tap";
  const [begin, end] = isTap ? (["add", "remove"] as const) : (["online", "offline"] as const);
  if (command === end) {
    const port = await portOf(hook, vif);
    return detachQuietly(hook, isTap ? emulated(port) : port);
  }
  if (command !== begin) throw strange("libxl", hook);
  try {
    await (isTap ? add(hook, vif) : online(hook, vif));
  } catch (error) {
    await tell(hook, error).catch(() => undefined);
    throw error;
  }
}
