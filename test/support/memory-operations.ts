/** Operations over a small fixed site, for tests of what stands between the agent and its callers. */
import { GuardError } from "../../src/model/errors.ts";
import type { DropEvent, LeaseView, ObjectView, Operations, PortView, StatusView } from "../../src/model/operations.ts";

const SINCE = 1_700_000_000_000;

const port: PortView = {
  port: "vif1.0",
  ifindex: 4,
  guest: "web1",
  nic: 0,
  network: "lan0",
  mac: "fe:00:cb:00:71:0a",
  addresses4: ["203.0.113.10"],
  state: "applied",
  since: SINCE,
};
const guest: ObjectView = {
  kind: "guest",
  name: "web1",
  spec: { nics: [{ network: "lan0" }] },
  status: {
    nics: [
      { network: "lan0", mac: port.mac, addresses4: port.addresses4, port: "vif1.0", state: "applied", lease: null },
    ],
  },
};
const lease: LeaseView = {
  network: "lan0",
  address: "203.0.113.10",
  guest: "web1",
  nic: 0,
  mac: port.mac,
  state: "bound",
  expiresAt: SINCE + 3_600_000,
  hostname: "web1",
};
const dropEvent: DropEvent = {
  at: SINCE,
  port: "vif1.0",
  guest: "web1",
  direction: "from-guest",
  reason: "arp-sender",
  frame: "ARP who-has \u001b[31m red",
};

const status: StatusView = {
  host: "h1",
  version: "0.0.0",
  startedAt: SINCE,
  healthy: false,
  conditions: [
    { code: "PORT_FAILED", severity: "error", text: "ports that stay shut: vif2.0: no bridge", since: SINCE },
  ],
  portPrefixes: ["vif"],
  ports: [port],
  unbound: ["vif9.0"],
  kernel: { release: "6.1", nft: "nftables v1.0.6", guard: "netdev" },
  store: { kind: "memory", revision: 7 },
};

export function memoryOperations(): Operations & { readonly calls: string[] } {
  const calls: string[] = [];
  const missing = (kind: string, name: string): GuardError =>
    new GuardError("NOT_FOUND", `${kind} '${name}' does not exist`, { fields: { kind, name } });
  return {
    calls,
    apply: async (resources, { dryRun }) => {
      calls.push(`apply ${resources.length} ${dryRun}`);
      return resources.map(({ kind, name }) => ({
        action: "create",
        kind,
        name,
        sentences: [`${kind} ${name}: create`],
      }));
    },
    list: async (kind) => (kind === "guest" ? [guest] : []),
    get: async (kind, name) => {
      if (kind === "guest" && name === "web1") return guest;
      throw missing(kind, name);
    },
    remove: async (kind, name) => {
      if (name !== "web1") throw missing(kind, name);
      return { action: "delete", kind, name, sentences: [`${kind} ${name}: delete`] };
    },
    attach: async (request) => {
      calls.push(`attach ${JSON.stringify(request)}`);
      if (request.port !== "vif1.0")
        throw new GuardError("PORT_MISSING", `interface '${request.port}' does not exist`, {
          fields: { port: request.port },
        });
      return port;
    },
    detach: async (name) => ({ detached: name === "vif1.0" }),
    status: async () => status,
    drops: async () => [
      { port: "vif1.0", guest: "web1", direction: "from-guest", reason: "arp-sender", packets: 3, bytes: 84 },
    ],
    followDrops: async function* (_filter, signal) {
      yield dropEvent;
      yield dropEvent;
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    },
    leases: async () => [lease],
    releaseLease: async (network, address) => {
      if (address !== lease.address) throw missing("lease", `${network}/${address}`);
      return { ...lease, state: "released" };
    },
  };
}
