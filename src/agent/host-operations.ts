/** Hosts of the fleet as an operator asks for them: who is there, who is to take nothing new, and who is not coming back. */
import { GuardError } from "../model/errors.ts";
import type { HostRecord } from "../model/hosts.ts";
import { keys } from "../model/keys.ts";
import { type HostId, parseHostId } from "../model/names.ts";
import type { ForgottenView, HostPort, HostView } from "../model/operations.ts";
import type { Attachment } from "../model/resources.ts";
import { forgotten } from "../plan/host-names.ts";
import { decodeRecord, encodeRecord } from "../store/collections.ts";
import type { Entry, Transaction, Write } from "../store/store.ts";
import { joined } from "../store/transactions.ts";
import type { Core } from "./core.ts";

/** So many that etcd takes them with the limits it is started with, and a host that comes back in between has lost no more. */
const PORTS_A_TRANSACTION = 32;

function notFound(name: string): GuardError {
  return new GuardError("NOT_FOUND", `no host '${name}' is known ('vifguard host list')`, { fields: { host: name } });
}

/** @throws NOT_FOUND */
function hostNamed(text: string): HostId {
  const name = parseHostId(text);
  if (name === undefined) throw notFound(text);
  return name;
}

interface Placed {
  readonly host: HostId;
  readonly attachment: Attachment;
  readonly entry: Entry;
}

/** As the store has it: an agent follows the ports of its own host. */
async function placed(core: Core, name?: HostId): Promise<readonly Placed[]> {
  const { entries } = await core.siteStore.read(name === undefined ? "attachment/" : `attachment/${name}/`);
  return [...entries.values()].flatMap((entry) => {
    const record = decodeRecord(entry.key, entry.value);
    return record.kind === "attachment" ? [{ host: record.host, attachment: record.value, entry }] : [];
  });
}

const portOf = ({ port, guest, nic }: Attachment): HostPort => ({ port, guest, nic });

function sinceOf({ hosts, startedAt, parts }: Core, name: HostId): number | undefined {
  const { book } = hosts;
  if (book === undefined) return name === parts.host ? startedAt : undefined;
  switch (hosts.stateOf(name)) {
    case "up":
      return book.alive.get(name)?.value.since;
    case "draining":
      return book.hosts.get(name)?.value.draining;
    case "silent":
      return book.silentSince(name);
    default:
      return undefined;
  }
}

/** @param isWhole with its ports one by one, also of one that is not draining */
function viewOf(core: Core, name: HostId, ports: readonly Placed[], isWhole: boolean): HostView {
  const { hosts, parts } = core;
  const [record, alive] = [hosts.book?.hosts.get(name)?.value, hosts.book?.alive.get(name)?.value];
  const known = alive ?? record ?? (hosts.book === undefined ? { version: parts.version } : undefined);
  const since = sinceOf(core, name);
  const isLeaving = record?.draining !== undefined;
  return {
    name,
    state: hosts.stateOf(name),
    isDraining: isLeaving,
    ...(since === undefined ? {} : { since }),
    ...(known === undefined ? {} : { version: known.version }),
    ...(alive?.address === undefined ? {} : { address: alive.address }),
    ports: ports.length,
    ...(isLeaving || isWhole ? { attached: ports.map(({ attachment }) => portOf(attachment)) } : {}),
  };
}

export async function listHosts(core: Core, filter: { readonly name?: string }): Promise<readonly HostView[]> {
  const only = filter.name === undefined ? undefined : hostNamed(filter.name);
  const { book } = core.hosts;
  const byHost = new Map<HostId, Placed[]>();
  for (const one of await placed(core, only)) byHost.set(one.host, [...(byHost.get(one.host) ?? []), one]);
  const known = book === undefined ? [core.parts.host] : [...book.hosts.keys(), ...book.alive.keys()];
  const names = [...new Set([...known, ...byHost.keys()])].filter((name) => only === undefined || name === only);
  if (only !== undefined && names.length === 0) throw notFound(only);
  return names.sort().map((name) => viewOf(core, name, byHost.get(name) ?? [], only !== undefined));
}

/** @throws NOT_FOUND, CONFLICT, STORE_UNAVAILABLE */
export async function drainHost(core: Core, text: string, { undo }: { readonly undo: boolean }): Promise<HostView> {
  const name = hostNamed(text);
  const [key, { book }] = [keys.host(name), core.hosts];
  const held = book?.hosts.get(name);
  if (book === undefined || held === undefined) throw notFound(text);
  if ((held.value.draining === undefined) !== undo) {
    const { draining: _, ...rest } = held.value;
    const value: HostRecord = undo ? rest : { ...rest, draining: core.parts.clock.now() };
    const record = encodeRecord({ kind: "host", host: name, value });
    const expect = [{ key, revision: held.revision }];
    const commit = await core.parts.store.commit({ expect, writes: [{ op: "put", ...record }] });
    if (!commit.ok)
      throw new GuardError("CONFLICT", `the record of host '${name}' was changed meanwhile`, { fields: { key } });
    book.note(key, record.value, commit.revision);
  }
  return viewOf(core, name, await placed(core, name), true);
}

/** What one port leaves: its record, and its part in the claim. What other DHCP servers gave its NIC ends with the leases. */
async function releaseOf(core: Core, { host, attachment, entry }: Placed): Promise<Transaction> {
  const { guest, nic } = attachment;
  const key = keys.claim(guest, nic);
  const held = (await core.siteStore.read({ key })).entries.get(key);
  const record = held === undefined ? undefined : decodeRecord(key, held.value);
  const claim = forgotten(record?.kind === "claim" ? record.value : undefined, host);
  const writes: Write[] = [{ op: "delete", key: entry.key }];
  if (claim !== undefined)
    writes.push({ op: "put", ...encodeRecord({ kind: "claim", what: `${guest}/${nic}`, guest, nic, value: claim }) });
  const expect = [
    { key: entry.key, revision: entry.revision },
    { key, revision: held?.revision ?? 0 },
  ];
  return { expect, writes };
}

function cameBack(name: HostId, released: number): GuardError {
  const text = `host '${name}' came back, or somebody changed what it holds, after ${released} of its ports were released`;
  return new GuardError("CONFLICT", text, { fields: { host: name, released } });
}

/** @throws HOST_UP, HOST_HOLDS, NOT_FOUND */
function assertForgettable(core: Core, name: HostId, ports: number, force: boolean): void {
  const state = core.hosts.stateOf(name);
  const isRecorded = core.hosts.book?.hosts.has(name) === true;
  if (!isRecorded && state === "unknown" && ports === 0) throw notFound(name);
  if (state === "up" || state === "draining" || name === core.parts.host)
    throw new GuardError("HOST_UP", `host '${name}' is heard: its ports are its own to release`, {
      fields: { host: name },
    });
  if (ports === 0 || force) return;
  const silence = core.hosts.silence(name) ?? "not known to be heard";
  const text = `host '${name}' is ${silence}, and ${ports} ${ports === 1 ? "port is" : "ports are"} attached there`;
  throw new GuardError("HOST_HOLDS", text, { fields: { host: name, ports } });
}

/**
 * Each transaction demands that the host is not heard, so one that comes back ends it. What it still holds in its kernel it shuts when it sees that the records are
 * gone (invariant I18). @throws HOST_UP, HOST_HOLDS, NOT_FOUND, CONFLICT, STORE_UNAVAILABLE
 */
export async function forgetHost(
  core: Core,
  text: string,
  { force }: { readonly force: boolean },
): Promise<ForgottenView> {
  const name = hostNamed(text);
  const { store, storeHealth, log } = core.parts;
  const away = storeHealth?.now();
  if (away !== undefined) throw new GuardError("STORE_UNAVAILABLE", `nobody knows who is heard: ${away}`);
  const ports = await placed(core, name);
  assertForgettable(core, name, ports.length, force);
  const unheard = { key: keys.alive(name), revision: 0 };
  let [released, revision] = [0, 0];
  async function commit(parts: readonly Transaction[]): Promise<void> {
    const done = await store.commit(joined([{ expect: [unheard], writes: [] }, ...parts]));
    if (!done.ok) throw cameBack(name, released);
    revision = done.revision;
  }
  for (let from = 0; from < ports.length; from += PORTS_A_TRANSACTION) {
    const some = ports.slice(from, from + PORTS_A_TRANSACTION);
    await commit(await Promise.all(some.map((one) => releaseOf(core, one))));
    released += some.length;
  }
  await commit([{ expect: [], writes: [{ op: "delete", key: keys.host(name) }] }]);
  // What concerns this host is told by its watches.
  if (core.parts.scope !== "host") await core.news(revision - 1);
  log.warn({ host: name, released }, "host forgotten");
  return { name, released: ports.map(({ attachment }) => portOf(attachment)) };
}
