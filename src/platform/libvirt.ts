/**
 * libvirt's hook for the drivers qemu and lxc: `DOMAIN OPERATION SUB-OPERATION EXTRA`, the domain's XML on standard input. A NIC belongs to a guest
 * by its MAC, or the metadata names the guest. NICs that are nobody's are left alone: with a guarded name they stay shut.
 */
import { GuardError } from "../model/errors.ts";
import { detachQuietly, type Hook, strange, wordAt } from "./hook.ts";
import { type Domain, type DomainNic, parseDomain } from "./libvirt-domain.ts";
import { allNics, nicByMac, nicsOfGuest, type SiteNic } from "./site.ts";

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

async function attachAll(hook: Hook, domain: Domain): Promise<void> {
  for (const { nic, domainNic } of await claimsOf(hook, domain)) {
    // In a domain of the driver lxc the port has no name before "started".
    if (domainNic.port === undefined) continue;
    await hook.client.attach({ port: domainNic.port, guest: nic.guest, nic: nic.nic });
  }
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
  return leniently(hook, () => attachAll(hook, domain));
}

/** By operation; what is not here (migrate, restore, …) gets no answer, which leaves the domain's XML as it is. */
const operations: Readonly<Record<string, (hook: Hook, domain: Domain) => Promise<unknown>>> = {
  // Before anything is made: a wrong MAC, an unknown guest or a missing agent is told here.
  prepare: claimsOf,
  // The tap is there, QEMU is not yet.
  start: attachAll,
  started,
  reconnect: (hook, domain) => leniently(hook, () => attachAll(hook, domain)),
  attach: (hook, domain) => leniently(hook, () => attachAll(hook, domain)),
  stopped: (hook, domain) => leniently(hook, () => detachNamed(hook, domain)),
  release: (hook, domain) => leniently(hook, () => detachNamed(hook, domain)),
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
