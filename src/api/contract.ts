/** What travels on every endpoint: schemas for what is asked and answered, with an example each. Server, OpenAPI and reference derive from it. */
import { z } from "zod";
import { policyShapes } from "../model/capabilities.ts";
import { hostStates } from "../model/hosts.ts";
import { moveKinds } from "../model/operations.ts";
import { reasonTable } from "../model/reasons.ts";
import { kinds } from "../model/resources.ts";
import type { RouteId } from "./routes.ts";
import { stateLine, watchEvent, watchQuery } from "./state-contract.ts";

const kind = z.enum(kinds);
const time = z.number().describe("milliseconds since 1970");
const hostState = z.enum(hostStates);
const direction = z.enum(["from-guest", "to-guest"]);
const reason = z.string().refine((text) => text in reasonTable, "one of the drop reasons");

const object = z.object({ kind, name: z.string(), spec: z.unknown(), status: z.unknown() });
const change = z.object({
  action: z.enum(["create", "update", "delete", "unchanged"]),
  kind,
  name: z.string(),
  sentences: z.array(z.string()),
});
const port = z.object({
  port: z.string(),
  ifindex: z.number(),
  guest: z.string(),
  nic: z.number(),
  network: z.string(),
  mac: z.string(),
  addresses4: z.array(z.string()),
  addresses6: z.array(z.string()),
  learns: z.enum(["relay", "snoop"]).optional().describe("its addresses are another DHCP server's to give"),
  mode: z.enum(["enforce", "observe"]),
  unchecked: z.array(z.string()),
  state: z.enum(["applied", "pending", "prepared", "failed", "moved", "standby"]),
  why: z.string().optional(),
  since: time,
});
const condition = z.object({
  code: z.string(),
  severity: z.enum(["info", "warning", "error"]),
  text: z.string(),
  since: time,
});
const setting = z.object({
  device: z.string(),
  setting: z.string().describe("below /proc/sys"),
  value: z.number(),
  was: z.number().describe("what it is put back to when no port needs it any more"),
  why: z.string(),
});
const counts = z.record(z.string(), z.number());
const status = z.object({
  host: z.string(),
  version: z.string(),
  startedAt: time,
  healthy: z.boolean(),
  conditions: z.array(condition),
  portPrefixes: z.array(z.string()),
  ports: z.array(port),
  unbound: z.array(z.string()),
  learning: z.object({
    questions: z.number(),
    answers: z.number(),
    bound: z.number(),
    ended: z.number(),
    lost: z.number(),
    silent: z.record(z.string(), z.number()),
    refused: z.record(z.string(), z.number()),
  }),
  settings: z.array(setting),
  kernel: z.object({
    release: z.string(),
    nft: z.string(),
    guard: z.string(),
    shape: z.string(),
    policy: z.enum(policyShapes),
    capabilities: z.array(
      z.object({
        name: z.string(),
        has: z.enum(["yes", "no", "untested"]),
        needed: z.boolean(),
        policy: z.boolean(),
        says: z.string(),
      }),
    ),
  }),
  store: z.object({ kind: z.string(), revision: z.number() }),
  hosts: z.record(hostState, z.number()).describe("how many hosts of the fleet are in which state"),
  dhcp: z
    .object({
      received: z.number(),
      offers: z.number(),
      acks: z.number(),
      naks: z.number(),
      notes: z.number().describe("RELEASE and DECLINE"),
      silent: counts.describe("by the reason that no answer was due"),
      malformed: counts.describe("frames that hold no DHCP message"),
      dropped: counts.describe("answers that were due and not given"),
      commits: z.number(),
      journalFailures: z.number(),
      lost: z.number(),
    })
    .describe("messages to the responder since the agent started"),
});
const dropCount = z.object({
  port: z.string(),
  guest: z.string().optional(),
  direction,
  reason,
  packets: z.number(),
  bytes: z.number(),
  observed: z.boolean(),
});
const dropEvent = z.object({
  at: time,
  port: z.string(),
  guest: z.string().optional(),
  direction,
  reason,
  observed: z.boolean(),
  frame: z.string(),
});
const lease = z.object({
  network: z.string(),
  address: z.string(),
  guest: z.string(),
  nic: z.number(),
  mac: z.string(),
  state: z.enum(["bound", "released", "declined", "expired"]),
  expiresAt: time,
  hostname: z.string().optional(),
  learned: z.object({ by: z.enum(["relay", "snoop"]), server: z.string() }).optional(),
});
const cooling = z.object({
  what: z.string().describe("network/address, or a MAC"),
  guest: z.string().describe("who had it last"),
  nic: z.number(),
  until: z.string().describe("about when it is free"),
});
const routeView = z.object({
  prefix: z.string().describe("with its length"),
  network: z.string(),
  guest: z.string(),
  nic: z.number(),
  host: z.string().optional().describe("where the guest is attached"),
  port: z.string().optional().describe("of this host: the kernel has the route"),
  via: z.string().optional().describe("this host's address towards the LAN"),
});
const hostPort = z.object({ port: z.string(), guest: z.string(), nic: z.number() });
const hostView = z.object({
  name: z.string(),
  state: hostState,
  isDraining: z.boolean().describe("also of one that is silent"),
  since: time.optional().describe("since when it is so, as far as the agent that is asked knows"),
  version: z.string().optional().describe("of its agent, when it was heard last"),
  address: z.string().optional(),
  ports: z.number(),
  attached: z.array(hostPort).optional().describe("of a host that is draining, or was asked for by name"),
});
const explanation = z.object({
  verdict: z.enum(["pass", "answered", "drop"]),
  sentence: z.string(),
  direction,
  line: z.object({ reason, section: z.number(), says: z.string() }).optional(),
  object: z.object({ what: z.string(), set: z.string(), key: z.string(), holds: z.boolean() }).optional(),
  observed: z.boolean(),
  waived: z.array(reason),
  answeredBy: z.enum(["dhcp", "neighbours", "leases"]).optional(),
  chains: z.array(z.string()),
  frame: z.string(),
  hex: z.string(),
});
const flowEnd = z.object({
  end: z.enum(["from", "to"]),
  nics: z.array(z.string()).describe("all that may have the address; none when it is no guest's"),
  address: z.string(),
  verdict: z.enum(["allowed", "dropped", "not-judged"]),
  observed: z.boolean(),
  reason: reason.optional(),
  group: z.string().optional().describe("the group that allows"),
  rule: z.string().optional().describe("its rule; without one it names no egress"),
  sentence: z.string(),
});
const flow = z.object({
  verdict: z.enum(["pass", "drop"]),
  sentence: z.string(),
  service: z.string(),
  ends: z.array(flowEnd),
});
const matrixClass = z.object({
  name: z.string(),
  network: z.string().optional(),
  groups: z.array(z.string()),
  nics: z.array(z.string()).describe("NICs that the policy cannot tell apart; none for everybody who is no guest"),
});
const dropFilter = z.strictObject({ guest: z.string().optional(), port: z.string().optional() });
const objectPath = z.object({ kind, name: z.string() });
const none = z.object({});

export interface Exchange {
  readonly params: z.ZodType;
  readonly query: z.ZodType;
  readonly body: z.ZodType;
  readonly reply: z.ZodType;
  readonly example: {
    readonly params?: Record<string, string>;
    readonly query?: Record<string, string>;
    readonly body?: unknown;
  };
}

const nothing = { params: none, query: none, body: z.unknown() };

export const contract = {
  apply: {
    ...nothing,
    body: z.strictObject({
      files: z
        .array(z.strictObject({ path: z.string().max(4096), text: z.string() }))
        .min(1)
        .max(1000),
      dryRun: z.boolean().default(false),
    }),
    reply: z.array(change),
    example: {
      body: {
        files: [
          {
            path: "site.yaml",
            text: "kind: network\nname: lan0\nspec:\n  prefix4: 203.0.113.0/24\n  gateway4: 203.0.113.1\n  range4: [203.0.113.10-203.0.113.250]\n  wiring: { kind: bridged, bridge: br0 }\n",
          },
        ],
        dryRun: true,
      },
    },
  },
  listObjects: {
    ...nothing,
    params: z.object({ kind }),
    reply: z.array(object),
    example: { params: { kind: "guest" } },
  },
  getObject: { ...nothing, params: objectPath, reply: object, example: { params: { kind: "guest", name: "web1" } } },
  removeObject: { ...nothing, params: objectPath, reply: change, example: { params: { kind: "guest", name: "web1" } } },
  attach: {
    ...nothing,
    body: z.strictObject({
      port: z.string().max(64),
      guest: z.string().max(64),
      nic: z.int().min(0).max(255).optional(),
      move: z
        .enum(moveKinds)
        .optional()
        .describe(
          "put the rules in and wait, or take the NIC from the port that has it: once that lets go, or without waiting for it for ever",
        ),
      standsInFor: z
        .string()
        .max(64)
        .optional()
        .describe("a port of this host with the same NIC: this one serves while the guest is not connected there"),
    }),
    reply: port,
    example: { body: { port: "vif1.0", guest: "web1" } },
  },
  detach: {
    ...nothing,
    params: z.object({ port: z.string() }),
    reply: z.object({ detached: z.boolean() }),
    example: { params: { port: "vif1.0" } },
  },
  status: { ...nothing, reply: status, example: {} },
  drops: { ...nothing, query: dropFilter, reply: z.array(dropCount), example: { query: { guest: "web1" } } },
  followDrops: { ...nothing, query: dropFilter, reply: dropEvent, example: { query: { port: "vif1.0" } } },
  leases: {
    ...nothing,
    query: z.strictObject({ network: z.string().optional() }),
    reply: z.array(lease),
    example: { query: { network: "lan0" } },
  },
  releaseLease: {
    ...nothing,
    params: z.object({ network: z.string(), address: z.string() }),
    reply: lease,
    example: { params: { network: "lan0", address: "203.0.113.10" } },
  },
  cooling: { ...nothing, reply: z.array(cooling), example: {} },
  endCooling: {
    ...nothing,
    params: z.object({ what: z.string() }),
    reply: z.array(cooling),
    example: { params: { what: "lan0/203.0.113.11" } },
  },
  hosts: {
    ...nothing,
    query: z.strictObject({ name: z.string().max(64).optional() }),
    reply: z.array(hostView),
    example: { query: { name: "h1" } },
  },
  drainHost: {
    ...nothing,
    params: z.object({ name: z.string() }),
    body: z.strictObject({ undo: z.boolean().default(false) }),
    reply: hostView,
    example: { params: { name: "h1" }, body: { undo: false } },
  },
  forgetHost: {
    ...nothing,
    params: z.object({ name: z.string() }),
    body: z.strictObject({
      force: z
        .boolean()
        .default(false)
        .describe("though it has NICs, because it is off for certain: two hosts answer for one address if it is not"),
    }),
    reply: z.object({ name: z.string(), released: z.array(hostPort).describe("may be attached elsewhere now") }),
    example: { params: { name: "h2" }, body: { force: false } },
  },
  routes: { ...nothing, reply: z.array(routeView), example: {} },
  explain: {
    ...nothing,
    body: z.strictObject({
      target: z.string().max(128).describe("a port, or guest, or guest/NIC"),
      direction: direction.default("from-guest"),
      phrase: z.string().max(40_000).optional(),
      frames: z.array(z.string().max(140_000)).max(1000).optional().describe("whole frames in hexadecimal digits"),
    }),
    reply: z.object({
      nic: z.string().optional(),
      port: z.string().optional(),
      network: z.string().optional(),
      notes: z.array(z.string()).describe("what is not known, or was assumed"),
      frames: z.array(explanation),
    }),
    example: { body: { target: "web1", direction: "from-guest", phrase: "arp reply 203.0.113.1 is-at own" } },
  },
  explainFlow: {
    ...nothing,
    body: z.strictObject({
      from: z.string().max(128).describe("a guest, guest/NIC, or an address"),
      to: z
        .string()
        .max(160)
        .describe("the same with what is opened, such as db1:5432/tcp, db1/icmp, [2001:db8::7]:443/tcp"),
    }),
    reply: z.object({
      notes: z.array(z.string()).describe("what was assumed"),
      flows: z.array(flow).describe("one for each family that both ends have"),
    }),
    example: { body: { from: "web1", to: "db1:5432/tcp" } },
  },
  policyMatrix: {
    ...nothing,
    query: z.strictObject({ network: z.string().optional() }),
    reply: z.object({
      classes: z.array(matrixClass),
      cells: z
        .array(z.object({ from: z.string(), to: z.string(), services: z.array(z.string()) }))
        .describe("by the names of the classes; who may open nothing is left out"),
    }),
    example: { query: { network: "lan0" } },
  },
  exportState: { ...nothing, reply: stateLine, example: {} },
  watch: {
    ...nothing,
    query: watchQuery,
    reply: watchEvent,
    example: { query: { kinds: "guest,port" } },
  },
  metrics: { ...nothing, reply: z.string(), example: {} },
  openapi: { ...nothing, reply: z.record(z.string(), z.unknown()), example: {} },
} as const satisfies Record<RouteId, Exchange>;

/** RFC 9457, with our code and hint. */
export const problemSchema = z.object({
  type: z.string(),
  title: z.string(),
  status: z.number(),
  detail: z.string(),
  code: z.string(),
  hint: z.string(),
  fields: z.record(z.string(), z.union([z.string(), z.number()])),
});
