/** The store an agent works on: a file of its host, or the fleet's etcd with a copy of it in that file. */
import { join } from "node:path";
import type { Clock } from "../model/clock.ts";
import { GuardError } from "../model/errors.ts";
import { openEmbeddedStore } from "../store/embedded.ts";
import { openEtcdStore } from "../store/etcd.ts";
import { createCopy, openFleetStore } from "../store/fleet.ts";
import { createStoreHealth, type StoreHealth } from "../store/health.ts";
import { storeFormat } from "../store/migrate.ts";
import { restoreGate } from "../store/restore-gate.ts";
import { isFields } from "../store/shape.ts";
import type { Json, Store } from "../store/store.ts";
import { fileText } from "./listeners.ts";
import type { AgentOptions, EtcdSettings } from "./options.ts";
import { type RestoreParts, settleOwn, settleRestore } from "./restores.ts";
import type { Scope } from "./scope.ts";

export interface OpenedStore {
  readonly store: Store;
  /** The fleet's, without a copy on this host. */
  readonly siteStore?: Store;
  readonly scope: Scope;
  /** For `status`. */
  readonly kind: string;
  readonly health: StoreHealth;
  /** Of the copy on this host. */
  readonly copyHealth: StoreHealth;
  /** Whether the store knows all guests that are attached here. */
  readonly restoreHealth: StoreHealth;
  /** Resolves when the store was restored: what was read of it is worth nothing any more, and the agent starts anew. */
  readonly restored: Promise<void>;
}

export type StoreOwner = Omit<RestoreParts, "lost">;

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

/** The first fault of two that are told one by one. */
function joined(tell: (fault: string | undefined) => void) {
  const faults: (string | undefined)[] = [undefined, undefined];
  let told: string | undefined;
  return (n: 0 | 1) => (fault: string | undefined) => {
    faults[n] = fault;
    const now = faults[1] ?? faults[0];
    if (now !== told) tell(now);
    told = now;
  };
}

const never = new Promise<void>(() => undefined);

async function openOwn(options: AgentOptions, owner: StoreOwner): Promise<OpenedStore> {
  const { stateDirectory } = options;
  const [health, copyHealth, restoreHealth] = [createStoreHealth(), createStoreHealth(), createStoreHealth()];
  const store = await openEmbeddedStore({ directory: stateDirectory, clock: steadyClock });
  try {
    await settleOwn({ ...owner, lost: restoreHealth.tell }, store);
  } catch (cause) {
    await store.close();
    throw cause;
  }
  return {
    store,
    scope: "site",
    kind: `embedded (${stateDirectory})`,
    health,
    copyHealth,
    restoreHealth,
    restored: never,
  };
}

/** The fleet's etcd as it is. @throws USAGE */
export function openEtcd(
  etcd: EtcdSettings,
  client: string,
  more: Pick<Parameters<typeof openEtcdStore>[0], "health" | "wentBack"> = {},
): Store {
  return openEtcdStore({
    ...accessOf(etcd),
    root: etcd.root,
    client,
    format: storeFormat,
    patience: PATIENCE,
    ...more,
  });
}

/** @throws USAGE, AGENT_RUNNING, STORE_CORRUPT, STORE_UNAVAILABLE */
export async function openStore(options: AgentOptions, owner: StoreOwner): Promise<OpenedStore> {
  const { stateDirectory, etcd } = options;
  if (etcd === undefined) return openOwn(options, owner);
  const [health, copyHealth, restoreHealth] = [createStoreHealth(), createStoreHealth(), createStoreHealth()];
  const fault = joined(health.tell);
  // What was typed is wrong before anything is locked.
  const answering = (text: string | undefined): void => {
    if (text === undefined) gate.answered();
    fault(0)(text);
  };
  const remote = openEtcd(etcd, owner.host, { health: answering, wentBack: () => gate.end() });
  // Locked before anything is asked: two agents of one host would take each other's turns.
  const memory = await openEmbeddedStore({ directory: join(stateDirectory, "copy"), clock: steadyClock });
  const copy = createCopy(memory, storeFormat);
  const gate = restoreGate({
    remote,
    host: owner.host,
    isOpen: owner.isOpen,
    memory,
    before: copy,
    settle: (store, before, marked) => settleRestore({ ...owner, lost: restoreHealth.tell }, store, before, marked),
    health: fault(1),
  });
  const store = openFleetStore({
    remote: gate.store,
    copy: memory,
    health,
    mayKeep: isRenewal,
    format: storeFormat,
    copyFault: copyHealth.tell,
  });
  return {
    store,
    siteStore: gate.store,
    scope: "host",
    kind: `etcd (${etcd.endpoints.join(", ")}, below ${etcd.root}/)`,
    health,
    copyHealth,
    restoreHealth,
    restored: gate.restored,
  };
}
