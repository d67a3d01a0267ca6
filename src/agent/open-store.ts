/** The store an agent works on: a file of its host, or the fleet's etcd with a copy of it in that file. */
import { join } from "node:path";
import type { Clock } from "../model/clock.ts";
import { GuardError } from "../model/errors.ts";
import type { HostId } from "../model/names.ts";
import { openEmbeddedStore } from "../store/embedded.ts";
import { openEtcdStore } from "../store/etcd.ts";
import { openFleetStore } from "../store/fleet.ts";
import { createStoreHealth, type StoreHealth } from "../store/health.ts";
import { storeFormat } from "../store/migrate.ts";
import { isFields } from "../store/shape.ts";
import type { Json, Store } from "../store/store.ts";
import { fileText } from "./listeners.ts";
import type { AgentOptions, EtcdSettings } from "./options.ts";

export interface OpenedStore {
  readonly store: Store;
  /** For `status`. */
  readonly kind: string;
  readonly health: StoreHealth;
  /** Of the copy on this host. */
  readonly copyHealth: StoreHealth;
}

/** How long a change waits for etcd before it is refused, in milliseconds; the election of a leader takes one or two seconds. */
const PATIENCE = 5_000;

/** @throws USAGE */
function assertEndpoint(text: string): void {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const isPlain = url !== undefined && url.pathname === "/" && url.search === "" && url.username === "";
  if (isPlain && (url.protocol === "http:" || url.protocol === "https:")) return;
  throw new GuardError("USAGE", `--etcd ${JSON.stringify(text)} is not like https://10.0.0.5:2379`);
}

/** Both or neither. @throws USAGE */
function together<A, B>(names: string, a: A | undefined, b: B | undefined): readonly [A, B] | undefined {
  if (a !== undefined && b !== undefined) return [a, b];
  if (a === undefined && b === undefined) return undefined;
  throw new GuardError("USAGE", `${names} go together`);
}

function accessOf({ endpoints, ca, cert, key, user, passwordFile }: EtcdSettings) {
  for (const endpoint of endpoints) assertEndpoint(endpoint);
  const own = together("--etcd-cert and --etcd-key", cert, key);
  const login = together("--etcd-user and --etcd-password-file", user, passwordFile);
  return {
    endpoints,
    tls: {
      ...(ca === undefined ? {} : { ca: fileText("--etcd-ca", ca) }),
      ...(own === undefined ? {} : { cert: fileText("--etcd-cert", own[0]), key: fileText("--etcd-key", own[1]) }),
    },
    ...(login === undefined
      ? {}
      : { user: { name: login[0], password: fileText("--etcd-password-file", login[1]).trimEnd() } }),
  };
}

/**
 * A lease that is renewed while etcd is away is durable here and handed over later: its address was decided before. One that would be new is not given,
 * because nobody could say whether its NIC is still this one's.
 */
export function isRenewal(before: Json | undefined, value: Json): boolean {
  if (!isFields(before) || !isFields(value)) return false;
  const same = ["network", "address", "guest", "nic", "mac"].every((field) => before[field] === value[field]);
  return same && before["state"] === "bound" && typeof value["expiresAt"] === "number";
}

/** Only goes on, whoever sets the host's time: the store's leases end when they should. */
const steadyClock: Clock = { now: () => performance.timeOrigin + performance.now() };

/** @throws USAGE, AGENT_RUNNING, STORE_CORRUPT, STORE_UNAVAILABLE */
export async function openStore(options: AgentOptions, host: HostId): Promise<OpenedStore> {
  const { stateDirectory, etcd } = options;
  const [health, copyHealth] = [createStoreHealth(), createStoreHealth()];
  if (etcd === undefined) {
    const store = await openEmbeddedStore({ directory: stateDirectory, clock: steadyClock });
    return { store, kind: `embedded (${stateDirectory})`, health, copyHealth };
  }
  const access = accessOf(etcd);
  // Locked before anything is asked: two agents of one host would take each other's turns.
  const copy = await openEmbeddedStore({ directory: join(stateDirectory, "copy"), clock: steadyClock });
  const remote = openEtcdStore({
    ...access,
    root: etcd.root,
    client: host,
    format: storeFormat,
    patience: PATIENCE,
    health: health.tell,
  });
  const store = openFleetStore({
    remote,
    copy,
    health,
    mayKeep: isRenewal,
    format: storeFormat,
    copyFault: copyHealth.tell,
  });
  return { store, kind: `etcd (${etcd.endpoints.join(", ")}, below ${etcd.root}/)`, health, copyHealth };
}
