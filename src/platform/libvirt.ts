/**
 * libvirt's hook for the drivers qemu and lxc: `DOMAIN OPERATION SUB-OPERATION EXTRA`, the domain's XML on standard input. A NIC belongs to a guest
 * by its MAC, or the metadata names the guest. NICs that are nobody's are left alone: with a guarded name they stay shut.
 */
import { GuardError } from "../model/errors.ts";
import type { AttachRequest } from "../model/operations.ts";
import { detachQuietly, type Hook, strange, wordAt } from "./hook.ts";
import { type Domain, type DomainNic, parseDomain } from "./libvirt-domain.ts";
import { allNics, nicByMac, nicsOfGuest, type SiteNic } from "./site.ts";

/** A guest that libvirt announces starts here within moments; one that is started much later is a second one. */
const ANNOUNCED_MS = 60_000;

/** Beside the agent's socket. */
const noteOf = ({ env, host }: Hook, { name }: Domain): string =>
  `${(env["VIFGUARD_SOCKET"] ?? "/run/vifguard/").replace(/[^/]*$/, "")}incoming-${host.digest(name).slice(0, 16)}`;

interface Claim {
  readonly nic: SiteNic;
  readonly domainNic: DomainNic;
}

/** With these the host has an interface of the guest's NIC that a guard can stand at. */
const guardable: readonly string[] = ["bridge", "ethernet"];

/** @throws NOT_FOUND when the metadata names a guest and a NIC of the domain is none of its */
async function claimsOf({ client }: Hook, { guest, nics }: Domain): Promise<readonly Claim[]> {
  const known = guest === undefined ? await allNics(client) : await nicsOfGuest(client, guest);
  return nics.flatMap((domainNic) => {
    const found = known.find(({ mac }) => mac === domainNic.mac);
    if (found !== undefined) return [{ nic: found, domainNic }];
    // A second NIC in one of libvirt's own networks is the operator's business.
    if (guest === undefined || !guardable.includes(domainNic.type)) return [];
    return [{ nic: nicByMac(known, guest, domainNic.mac), domainNic }];
  });
}

/** Of a guest that comes from another host, which has its NIC until it runs here: shut, with its rules in. */
async function attachComing(hook: Hook, request: AttachRequest): Promise<void> {
  try {
    await hook.client.attach(request);
  } catch (cause) {
    if (!(cause instanceof GuardError && cause.code === "NIC_TAKEN")) throw cause;
    await hook.client.attach({ ...request, move: "prepare" });
  }
}

type Attach = (hook: Hook, request: AttachRequest) => Promise<unknown>;

const attachHere: Attach = ({ client }, request) => client.attach(request);

async function attachAll(hook: Hook, domain: Domain, attach = attachHere): Promise<void> {
  for (const { nic, domainNic } of await claimsOf(hook, domain)) {
    // In a domain of the driver lxc the port has no name before "started".
    if (domainNic.port !== undefined) await attach(hook, { port: domainNic.port, guest: nic.guest, nic: nic.nic });
  }
}

async function start(hook: Hook, domain: Domain): Promise<void> {
  const isComing = await hook.host.isNoted(noteOf(hook, domain), ANNOUNCED_MS);
  return attachAll(hook, domain, isComing ? attachComing : attachHere);
}

/** A guest that is on its way is "started" as soon as QEMU listens for it: its ports stay as they are until it is resumed. */
async function attachOthers(hook: Hook, domain: Domain): Promise<void> {
  const { ports } = await hook.client.status();
  const isPrepared = (port: string): boolean => ports.some((view) => view.port === port && view.state === "prepared");
  await attachAll(hook, domain, async (_, request) => {
    if (!isPrepared(request.port)) await attachHere(hook, request);
  });
}

/** The guest runs here: from now on it is this host's. */
async function resumed(hook: Hook, domain: Domain): Promise<void> {
  const { ports } = await hook.client.status();
  const isBehind = (port: string): boolean =>
    ports.some((view) => view.port === port && (view.state === "prepared" || view.state === "pending"));
  await attachAll(hook, domain, (_, request) =>
    attachHere(hook, isBehind(request.port) ? { ...request, move: "ask" } : request),
  );
}

async function migrate(hook: Hook, domain: Domain): Promise<void> {
  await claimsOf(hook, domain);
  await hook.host.note(noteOf(hook, domain));
}

async function release(hook: Hook, domain: Domain): Promise<void> {
  await hook.host.unnote(noteOf(hook, domain));
  await detachNamed(hook, domain);
}

/**
 * Taps that libvirt made are gone by now and forgotten by themselves; one that was made beforehand stays and must be shut. Only what the agent
 * has for this very NIC: libvirt calls this also for a domain whose start we refused because another one has the NIC.
 */
async function detachNamed(hook: Hook, { nics }: Domain): Promise<void> {
  if (nics.every(({ port }) => port === undefined)) return;
  const { ports } = await hook.client.status();
  for (const { port, mac } of nics) {
    if (port !== undefined && ports.some((view) => view.port === port && view.mac === mac))
      await detachQuietly(hook, port);
  }
}

/** A failure at these would make libvirt kill a domain that runs: it is only told, and the port keeps what it has. */
async function leniently(hook: Hook, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (cause) {
    hook.say(cause instanceof Error ? cause.message : String(cause));
  }
}

async function started(hook: Hook, domain: Domain): Promise<void> {
  if (domain.driver === "lxc") return attachAll(hook, domain);
  return leniently(hook, () => attachOthers(hook, domain));
}

/** By operation; what is not here (restore, …) gets no answer, and no other one is given, which leaves the domain's XML as it is. */
const operations: Readonly<Record<string, (hook: Hook, domain: Domain) => Promise<unknown>>> = {
  // On the host that the guest is to come to; it does not come when this fails.
  migrate,
  // Before anything is made: a wrong MAC, an unknown guest or a missing agent is told here.
  prepare: claimsOf,
  // The tap is there, QEMU is not yet.
  start,
  started,
  // Not libvirt's: by libvirt-watch, which hears that a guest was resumed.
  resumed: (hook, domain) => leniently(hook, () => resumed(hook, domain)),
  reconnect: (hook, domain) => leniently(hook, () => attachOthers(hook, domain)),
  attach: (hook, domain) => leniently(hook, () => attachOthers(hook, domain)),
  stopped: (hook, domain) => leniently(hook, () => detachNamed(hook, domain)),
  release: (hook, domain) => leniently(hook, () => release(hook, domain)),
};

/** libvirt does not start the domain when this fails at prepare or start, and shows what was said. */
export async function libvirtHook(hook: Hook): Promise<void> {
  const operation = wordAt(hook, 1);
  if (hook.words.length < 2) throw strange("libvirt", hook);
  const work = Object.hasOwn(operations, operation) ? operations[operation] : undefined;
  if (work === undefined) return;
  const domain = parseDomain(await hook.stdin());
  if (domain === undefined) throw new GuardError("USAGE", "standard input is not the XML of a domain");
  await work(hook, domain);
}
