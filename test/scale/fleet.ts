/** A simulated fleet: real etcd, a site written as an operator's `apply` does, attachments as their hosts left them, and agents in a few processes. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseInterfaceName, parseObjectName } from "../../src/model/names.ts";
import { encodeRecord } from "../../src/store/collections.ts";
import { openEtcdStore } from "../../src/store/etcd.ts";
import { storeFormat } from "../../src/store/migrate.ts";
import type { Store, Write } from "../../src/store/store.ts";
import { type EtcdCluster, startEtcd } from "../support/etcd.ts";
import { EPOCH } from "../support/memory-agent.ts";
import { hostIdOf } from "../support/names.ts";
import { FIRST_IFINDEX } from "./host.ts";
import { createHosts, type Hosts } from "./hosts.ts";
import { forkHosts } from "./processes.ts";
import { type FleetSize, frameText, guestName, guestText, hostName, hostOf, portName, SPARE } from "./site.ts";

export interface FleetRun {
  readonly size: FleetSize;
  readonly etcdMembers: number;
  readonly processes: number;
  /** Of the built code; without it everything is in this process. */
  readonly built?: string;
  /** For the copies of the agents: hundreds of disks are not one disk. */
  readonly state?: string;
}

export interface SimFleet {
  readonly run: FleetRun;
  readonly etcd: EtcdCluster;
  readonly parts: readonly Hosts[];
  /** The agent through which the site is changed. */
  readonly writer: Hosts;
  /** Writes beside all agents. */
  readonly store: Store;
  /** Milliseconds that the last full batch of guests took to apply. */
  readonly batch: number;
  partOf(host: number): Hosts;
  down(): Promise<void>;
}

export const ROOT = "scale";
export const BATCH = 1_000;

const numbers = (from: number, to: number): readonly number[] => Array.from({ length: to - from }, (_, n) => from + n);

function batches(all: readonly number[]): readonly (readonly number[])[] {
  return Array.from({ length: Math.ceil(all.length / BATCH) }, (_, n) => all.slice(n * BATCH, (n + 1) * BATCH));
}

/** @returns how long the last full batch took */
async function writeSite(writer: Hosts, size: FleetSize): Promise<number> {
  await writer.apply(frameText(size));
  let took = 0;
  for (const batch of batches(numbers(0, size.guests + SPARE))) {
    const text = guestText(size, batch);
    const begun = Date.now();
    await writer.apply(text);
    if (batch.length === BATCH || took === 0) took = Date.now() - begun;
  }
  return took;
}

/** What a host leaves in the store that has attached the guest: as if all agents were only to come back. */
function attachmentOf(size: FleetSize, guest: number): readonly Write[] {
  const [name, port] = [parseObjectName(guestName(guest)), parseInterfaceName(portName(guest))];
  if (name === undefined || port === undefined) throw new TypeError(`guest ${guest}`);
  const host = hostIdOf(hostName(hostOf(size, guest)));
  const ifindex = FIRST_IFINDEX + (guest % size.perHost);
  const value = { port, ifindex, epoch: EPOCH, guest: name, nic: 0, fence: 1, since: 0 };
  const claim = { fence: 1, holder: { host, port } };
  return [
    encodeRecord({ kind: "attachment", host, port, value }),
    encodeRecord({ kind: "claim", what: `${name}/0`, guest: name, nic: 0, value: claim }),
  ].map((record): Write => ({ op: "put", ...record }));
}

async function writeAttachments(store: Store, size: FleetSize): Promise<void> {
  for (const batch of batches(numbers(0, size.guests)))
    await store.commit({ expect: [], writes: batch.flatMap((guest) => attachmentOf(size, guest)) });
}

export async function raiseSimFleet(run: FleetRun): Promise<SimFleet> {
  const { size, processes, built } = run;
  const etcd = await startEtcd({ members: run.etcdMembers });
  const directory = mkdtempSync(join(run.state ?? tmpdir(), "vifguard-scale-"));
  const ends: (() => void)[] = [];
  const where = { size, endpoints: etcd.endpoints, root: ROOT, directory };
  function hostsOf(hosts: readonly number[]): Hosts {
    if (built === undefined) return createHosts({ ...where, hosts });
    const made = forkHosts(built, { ...where, hosts });
    ends.push(made.end);
    return made;
  }
  const at = { endpoints: etcd.endpoints, root: ROOT, client: "beside", format: storeFormat };
  const store = openEtcdStore({ ...at, patience: 30_000 });
  async function down(): Promise<void> {
    for (const end of ends) end();
    await store.close();
    etcd.down();
    rmSync(directory, { recursive: true, force: true });
  }
  try {
    await etcd.ready();
    const writer = hostsOf([]);
    await writer.start();
    const batch = await writeSite(writer, size);
    await writeAttachments(store, size);
    const all = numbers(0, size.hosts);
    const parts = numbers(0, processes).map((part) => hostsOf(all.filter((host) => host % processes === part)));
    const partOf = (host: number): Hosts => {
      const part = parts[host % processes];
      if (part === undefined) throw new TypeError(`no host ${host}`);
      return part;
    };
    return { run, etcd, parts, writer, store, batch, partOf, down };
  } catch (cause) {
    await down();
    throw cause;
  }
}
