/** Operations over a small fixed site, for tests of what stands between the agent and its callers. */
import { loadSite } from "../../src/config/load.ts";
import { GuardError } from "../../src/model/errors.ts";
import type {
  CoolingView,
  DropEvent,
  ExplanationView,
  HostView,
  LeaseView,
  ObjectView,
  Operations,
  PortView,
  StatusView,
} from "../../src/model/operations.ts";
import type { Direction } from "../../src/model/reasons.ts";
import type { StateHead } from "../../src/model/state.ts";
import type { WatchEvent } from "../../src/model/watch.ts";
import { policyMatrix } from "../../src/plan/policy-matrix.ts";
import { siteMembers } from "../../src/plan/policy-members.ts";
import { explainFlow } from "../../src/plan/policy-question.ts";
import { freshSite } from "../../src/plan/site.ts";
import { stateLines } from "../../src/store/state-file.ts";

const SINCE = 1_700_000_000_000;

const port: PortView = {
  port: "vif1.0",
  ifindex: 4,
  guest: "web1",
  nic: 0,
  network: "lan0",
  mac: "fe:00:cb:00:71:0a",
  addresses4: ["203.0.113.10"],
  addresses6: ["2001:db8::10"],
  mode: "enforce",
  unchecked: [],
  state: "applied",
  since: SINCE,
};
const stateHead: StateHead = {
  vifguard: "state",
  format: 4,
  version: "0.0.0",
  host: "h1",
  revision: 1,
  at: new Date(SINCE).toISOString(),
};
const watchEvent: WatchEvent = {
  at: SINCE,
  revision: 2,
  action: "delete",
  kind: "port",
  name: "h1/vif1.0",
  text: "port h1/vif1.0 detached",
};
const guest: ObjectView = {
  kind: "guest",
  name: "web1",
  spec: { nics: [{ network: "lan0" }] },
  status: {
    nics: [
      {
        network: "lan0",
        mac: port.mac,
        addresses4: port.addresses4,
        port: "vif1.0",
        state: "applied",
        lease: null,
      },
    ],
    policy: [{ nic: 0, groups: ["web"], rules: ["in: tcp 80 from anyone (group web)", "out: everything"] }],
  },
};
const cooling: CoolingView = { what: "lan0/203.0.113.11", guest: "old1", nic: 0, until: "2026-01-01T00:10:00.000Z" };
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
  observed: false,
  frame: "ARP who-has \u001b[31m red",
};

const explanation = (frame: string, direction: Direction): ExplanationView => ({
  verdict: frame.startsWith("ping") ? "pass" : "drop",
  sentence: frame.startsWith("ping")
    ? "passes: 203.0.113.10 is an address of web1/0"
    : "dropped: arp-sender – 203.0.113.1 is not an address of web1/0 (203.0.113.10)",
  direction,
  ...(frame.startsWith("ping")
    ? {}
    : { line: { reason: "arp-sender", section: 2, says: "ARP sender is not its own" } as const }),
  observed: false,
  waived: [],
  chains: ["from_guest"],
  frame,
  hex: "00",
});

/** The policy is pure: what is asked of it is answered in earnest. */
const members = siteMembers(
  freshSite(
    loadSite(
      `kind: network
name: lan0
spec:
  prefix4: 203.0.113.0/24
  gateway4: 203.0.113.1
  range4: [203.0.113.10-203.0.113.99]
  wiring: { kind: bridged, bridge: br0 }
  addressing: { kind: managed, macScheme: ip }
---
kind: group
name: web
spec: { ingress: [{ protocol: tcp, ports: [80], from: any }] }
---
kind: group
name: db
spec: { ingress: [{ protocol: tcp, ports: [5432], from: { group: web } }], egress: [] }
---
kind: guest
name: web1
spec: { nics: [{ network: lan0, groups: [web] }] }
---
kind: guest
name: db1
spec: { nics: [{ network: lan0, groups: [db] }] }
`,
      "site.yaml",
    ),
    (count) => new Uint8Array(count),
  ),
);

const hosts: readonly HostView[] = [
  { name: "h1", state: "up", isDraining: false, since: SINCE, version: "0.0.0", address: "192.0.2.1", ports: 1 },
  { name: "h2", state: "silent", isDraining: true, version: "0.0.0", ports: 1 },
];

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
  learning: { questions: 0, answers: 0, bound: 0, ended: 0, lost: 0, silent: {}, refused: {} },
  settings: [
    {
      device: "eth0",
      setting: "net/ipv4/conf/eth0/forwarding",
      value: 1,
      was: 0,
      why: "what comes in here is routed on",
    },
  ],
  kernel: {
    release: "6.1",
    nft: "nftables v1.0.6",
    guard: "netdev",
    shape: "port-chains",
    policy: "bridge-netfilter",
    capabilities: [
      { name: "netdev-egress", has: "yes", needed: true, policy: false, says: "chains where frames leave by a port" },
      { name: "port-lock", has: "untested", needed: true, policy: false, says: "bridge ports that are locked" },
      { name: "prefix-devices", has: "no", needed: false, policy: false, says: "chains by beginning of name" },
      { name: "bridge-conntrack", has: "no", needed: false, policy: true, says: "connection tracking in the bridge" },
    ],
  },
  store: { kind: "memory", revision: 7 },
  hosts: { up: 2, draining: 0, silent: 1, unknown: 0 },
  dhcp: {
    received: 9,
    offers: 2,
    acks: 2,
    naks: 1,
    notes: 0,
    silent: { unserved: 3 },
    malformed: { truncated: 1 },
    dropped: {},
    commits: 1,
    journalFailures: 0,
    lost: 0,
  },
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
      {
        port: "vif1.0",
        guest: "web1",
        direction: "from-guest",
        reason: "arp-sender",
        packets: 3,
        bytes: 84,
        observed: false,
      },
    ],
    followDrops: async function* (_filter, signal) {
      yield dropEvent;
      yield dropEvent;
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    },
    exportState: async function* () {
      yield* stateLines(stateHead, [{ key: "network/lan0", value: { prefix4: "203.0.113.0/24" }, revision: 1 }]);
    },
    watch: async function* (_kinds, signal) {
      yield watchEvent;
      yield watchEvent;
      await new Promise((resolve) => signal.addEventListener("abort", resolve));
    },
    leases: async () => [lease],
    releaseLease: async (network, address) => {
      if (address !== lease.address) throw missing("lease", `${network}/${address}`);
      return { ...lease, state: "released" };
    },
    cooling: async () => [cooling],
    endCooling: async (what) => {
      if (what !== cooling.what) throw missing("cooling", what);
      return [cooling];
    },
    routes: async () => [
      {
        prefix: "203.0.113.10/32",
        network: "lan1",
        guest: "web1",
        nic: 1,
        host: "h1",
        port: "vif1.1",
        via: "203.0.113.3",
      },
    ],
    hosts: async ({ name }) => hosts.filter((one) => name === undefined || one.name === name),
    drainHost: async (name, { undo }) => {
      calls.push(`drain ${name} ${undo}`);
      const [host] = hosts.filter((one) => one.name === name);
      if (host === undefined) throw missing("host", name);
      return {
        ...host,
        state: undo ? "up" : "draining",
        isDraining: !undo,
        attached: [{ port: "vif1.0", guest: "web1", nic: 0 }],
      };
    },
    forgetHost: async (name, { force }) => {
      calls.push(`forget ${name} ${force}`);
      if (name !== "h2") throw new GuardError("HOST_UP", `host '${name}' is heard: its ports are its own to release`);
      return { name, released: force ? [{ port: "vif3.0", guest: "db1", nic: 0 }] : [] };
    },
    explainFlow: async (question) => explainFlow(members, question),
    policyMatrix: async (filter) => policyMatrix(members, filter),
    explain: async ({ target, direction, phrase, frames }) => {
      if (target !== "web1" && target !== "vif1.0") throw missing("guest", target);
      const asked = phrase === undefined ? (frames ?? []) : [phrase];
      return {
        nic: "web1/0",
        port: "vif1.0",
        network: "lan0",
        notes: [],
        frames: asked.map((frame) => explanation(frame, direction)),
      };
    },
  };
}
