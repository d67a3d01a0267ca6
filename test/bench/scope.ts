/** What one agent of a fleet holds of its site, and hears of it: all of it, as on a single host, and only what its ports need. */
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { type Mirror, startMirror } from "../../src/agent/mirror.ts";
import type { Scope } from "../../src/agent/scope.ts";
import { type Ipv4Address, parseIpv4 } from "../../src/model/ipv4.ts";
import { parseMac } from "../../src/model/mac.ts";
import { type ObjectName, parseHostId, parseObjectName } from "../../src/model/names.ts";
import type { Guest } from "../../src/model/resources.ts";
import { toJson } from "../../src/plan/json.ts";
import { memberRecords } from "../../src/plan/members.ts";
import { memoryStore } from "../../src/store/memory.ts";
import type { Change, Json, Key, Place, Snapshot, Store, Write } from "../../src/store/store.ts";
import type { BenchRow } from "./row.ts";

const PORTS = 50;
/** Of one group; rules of each name one other. */
const CARRIERS = 100;
const RENEWALS = 1_000;
const clock = { now: () => Date.now() };

function made<T>(value: T | undefined, text: string): T {
  if (value === undefined) throw new TypeError(text);
  return value;
}
const nameOf = (text: string): ObjectName => made(parseObjectName(text), text);
const host = made(parseHostId("h0"), "h0");
const put = (key: Key, value: unknown): Write => ({ op: "put", key, value: toJson(value) });

/** The n-th guest's, one after the other in networks of that many. */
function placeOf(n: number, perNetwork: number): { readonly network: ObjectName; readonly address: Ipv4Address } {
  const [octet, rest] = [Math.floor(n / perNetwork), (n % perNetwork) + 10];
  const address = `10.${octet}.${Math.floor(rest / 250)}.${(rest % 250) + 1}`;
  return { network: nameOf(`lan${octet}`), address: made(parseIpv4(address), address) };
}

function guestOf(n: number, guests: number, perNetwork: number): Guest {
  const { network, address } = placeOf(n, perNetwork);
  const octets = [n >> 16, (n >> 8) & 255, n & 255].map((octet) => octet.toString(16).padStart(2, "0"));
  const mac = made(parseMac(`fe:00:0a:${octets.join(":")}`), "mac");
  const groups = [nameOf(`g${n % (guests / CARRIERS)}`)];
  const nic = { network, addresses: [], allowedPairs: [], roles: [], unchecked: [], rates: {}, groups };
  return { name: nameOf(`guest-${n}`), spec: { nics: [nic] }, nics: [{ network, mac, addresses4: [address] }] };
}

const lease = ({ name, nics: [nic] }: Guest, expiresAt: number): Write =>
  put(`lease/${nic?.network}/${nic?.addresses4[0]}`, {
    network: nic?.network,
    address: nic?.addresses4[0],
    guest: name,
    nic: 0,
    mac: nic?.mac,
    state: "bound",
    expiresAt,
  });

/** All that stands in a store of one guest with a port, fifty of them on each host. */
function guestWrites(guest: Guest, n: number): readonly Write[] {
  const { name, nics } = guest;
  const [at, port] = [`h${Math.floor(n / PORTS)}`, `vif${n % PORTS}.0`];
  const own = { guest: name, nic: 0 };
  return [
    put(`guest/${name}`, guest),
    ...[...memberRecords(guest)].map(([key, record]) => put(key, record)),
    put(`address/${nics[0]?.network}/${nics[0]?.addresses4[0]}`, own),
    put(`mac/${nics[0]?.mac}`, own),
    put(`claim/${name}/0`, { fence: 1, holder: { host: at, port } }),
    put(`attachment/${at}/${port}`, { port, ifindex: 2 + (n % PORTS), epoch: "boot/1", ...own, fence: 1, since: 1 }),
    lease(guest, 1),
  ];
}

const network = (octet: number): Json => ({
  prefix4: `10.${octet}.0.0/16`,
  gateway4: `10.${octet}.0.1`,
  range4: [],
  hostServices: [],
  multicast: [],
  suppression: false,
  mode: "enforce",
  rates: {},
  groups: [],
  connections: 8192,
  wiring: { kind: "bridged", bridge: `br${octet}` },
  addressing: {
    kind: "managed",
    leaseSeconds: 3600,
    macScheme: "ip",
    dns: [],
    dns6: [],
    ntp: [],
    search: [],
    routes: [],
  },
});

async function filled(guests: number, perNetwork: number): Promise<Store> {
  const store = memoryStore(clock);
  const networks = Array.from({ length: Math.ceil(guests / perNetwork) }, (_, n) => put(`network/lan${n}`, network(n)));
  const groups = Array.from({ length: guests / CARRIERS }, (_, n) =>
    put(`group/g${n}`, {
      ingress: [
        {
          service: { kind: "tcp", ports: [{ first: 5432, last: 5432 }] },
          peer: { kind: "group", group: `g${(n + 1) % (guests / CARRIERS)}` },
        },
      ],
    }),
  );
  await store.commit({ expect: [], writes: [...networks, ...groups] });
  for (let n = 0; n < guests; n += 500) {
    const batch = Array.from({ length: Math.min(500, guests - n) }, (_, i) =>
      guestWrites(guestOf(n + i, guests, perNetwork), n + i),
    );
    await store.commit({ expect: [], writes: batch.flat() });
  }
  return store;
}

/** As over a network: values of its own, and counted. */
function remote(store: Store) {
  const told = { keys: 0 };
  const copy = <T>(value: T): T => JSON.parse(JSON.stringify(value));
  async function* watch(place: Place, after: number, signal: AbortSignal): AsyncGenerator<Change> {
    for await (const change of store.watch(place, after, signal)) {
      told.keys += change.changes.length;
      yield copy(change);
    }
  }
  const read = async (place: Place): Promise<Snapshot> => {
    const { revision, entries } = await store.read(place);
    return { revision, entries: new Map([...entries].map(([key, entry]) => [copy(key), copy(entry)])) };
  };
  return { told, store: { ...store, watch, read } };
}

/** Megabytes, with nothing left that nobody needs. */
function heap(): number {
  setFlagsFromString("--expose-gc");
  const collect: unknown = runInNewContext("gc");
  if (typeof collect === "function") for (let i = 0; i < 3; i += 1) collect();
  return process.memoryUsage().heapUsed / 1e6;
}

interface Held {
  readonly keys: number;
  readonly megabytes: number;
  /** Of a thousand renewals all over the site. */
  readonly heard: number;
}

async function measured(store: Store, guests: readonly Guest[], scope: Scope): Promise<Held> {
  const seen = remote(store);
  const before = heap();
  const mirror: Mirror = await startMirror(seen.store, host, undefined, { scope });
  const megabytes = heap() - before;
  const step = Math.max(1, Math.floor(guests.length / RENEWALS));
  for (let n = 0; n < RENEWALS; n += 1) {
    const guest = guests[n * step];
    if (guest !== undefined) await store.commit({ expect: [], writes: [lease(guest, 2)] });
  }
  await new Promise((resolve) => setTimeout(resolve, 200));
  const keys = mirror.size;
  await mirror.stop();
  // What was let go must not count for the next.
  await new Promise((resolve) => setTimeout(resolve, 200));
  return { keys, megabytes, heard: seen.told.keys };
}

export async function benchScope(): Promise<readonly BenchRow[]> {
  const rows: BenchRow[] = [];
  for (const [guests, perNetwork] of [
    [10_000, 500],
    [50_000, 500],
    [50_000, 50_000],
  ] as const) {
    const store = await filled(guests, perNetwork);
    const all = Array.from({ length: guests }, (_, n) => guestOf(n, guests, perNetwork));
    for (const scope of ["site", "host"] as const) {
      const { keys, megabytes, heard } = await measured(store, all, scope);
      const note = `${guests} guests, ${perNetwork} a network, ${PORTS} here; ${scope === "site" ? "the whole site" : "what its ports need"}`;
      const row = (name: string, value: number, unit: string): BenchRow => ({
        suite: "scope",
        name,
        value: Math.round(value * 10) / 10,
        unit,
        note,
      });
      rows.push(row("keys held", keys, "keys"), row("heap", megabytes, "MB"));
      rows.push(row(`told of ${RENEWALS} renewals of the site`, heard, "keys"));
    }
    await store.close();
  }
  return rows;
}
