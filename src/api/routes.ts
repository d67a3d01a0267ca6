/** Every endpoint, once: where it is and what it is for. The schemas are in `contract.ts`; a client needs only this. */
import type { Permission } from "../model/access.ts";
import type { ErrorCode } from "../model/errors.ts";

export interface Route {
  readonly method: "GET" | "POST" | "DELETE";
  /** Path parameters begin with a colon. */
  readonly path: string;
  readonly permission: Permission;
  readonly summary: string;
  /** Besides INTERNAL, which any of them can answer. */
  readonly errors: readonly ErrorCode[];
  /** Answers one JSON value a line until the caller hangs up. */
  readonly stream?: true;
  /** Answers text, not JSON. */
  readonly text?: true;
}

export const routes = {
  apply: {
    method: "POST",
    path: "/v1/apply",
    permission: "operate",
    summary: "Make the site what these files say, all of it or nothing; with dryRun only tell what would change",
    errors: [
      "SITE_INVALID",
      "IN_USE",
      "CONFLICT",
      "ADDRESS_TAKEN",
      "MAC_TAKEN",
      "COOLING_DOWN",
      "POOL_EXHAUSTED",
      "STORE_UNAVAILABLE",
    ],
  },
  listObjects: {
    method: "GET",
    path: "/v1/objects/:kind",
    permission: "read",
    summary: "All objects of a kind, with what they are now",
    errors: ["USAGE"],
  },
  getObject: {
    method: "GET",
    path: "/v1/objects/:kind/:name",
    permission: "read",
    summary: "One object",
    errors: ["USAGE", "NOT_FOUND"],
  },
  removeObject: {
    method: "DELETE",
    path: "/v1/objects/:kind/:name",
    permission: "operate",
    summary: "Remove an object that nothing uses any more",
    errors: ["USAGE", "NOT_FOUND", "IN_USE", "CONFLICT", "STORE_UNAVAILABLE"],
  },
  attach: {
    method: "POST",
    path: "/v1/attachments",
    permission: "attach",
    summary: "Give a port to a NIC of a guest; answers when the rules were read back and the link is up",
    errors: [
      "USAGE",
      "NOT_FOUND",
      "PORT_MISSING",
      "PORT_NAME",
      "PORT_TAKEN",
      "NIC_TAKEN",
      "MOVE_WAITING",
      "HOST_DRAINING",
      "HOST_TWIN",
      "CONFLICT",
      "BRIDGE_MISSING",
      "NFT_REFUSED",
      "KERNEL_REFUSED",
      "VERIFY_FAILED",
      "STORE_UNAVAILABLE",
    ],
  },
  detach: {
    method: "DELETE",
    path: "/v1/attachments/:port",
    permission: "attach",
    summary: "Take a port back and remove every trace of it",
    errors: ["PORT_NAME", "NFT_REFUSED", "KERNEL_REFUSED", "STORE_UNAVAILABLE"],
  },
  status: {
    method: "GET",
    path: "/v1/status",
    permission: "read",
    summary: "Conditions, ports, what is enforced and what is not",
    errors: [],
  },
  drops: {
    method: "GET",
    path: "/v1/drops",
    permission: "read",
    summary: "Dropped frames by port, direction and reason",
    errors: ["USAGE"],
  },
  followDrops: {
    method: "GET",
    path: "/v1/drops/follow",
    permission: "read",
    summary: "A sample of the frames that are dropped from now on, decoded",
    errors: ["USAGE"],
    stream: true,
  },
  leases: {
    method: "GET",
    path: "/v1/leases",
    permission: "read",
    summary: "DHCP leases",
    errors: ["USAGE"],
  },
  releaseLease: {
    method: "DELETE",
    path: "/v1/leases/:network/:address",
    permission: "operate",
    summary: "End a lease; the address stays the guest's",
    errors: ["NOT_FOUND", "STORE_UNAVAILABLE"],
  },
  cooling: {
    method: "GET",
    path: "/v1/cooling",
    permission: "read",
    summary: "Addresses and MACs that guests gave up and nobody else is given yet",
    errors: [],
  },
  endCooling: {
    method: "DELETE",
    path: "/v1/cooling/:what",
    permission: "operate",
    summary: "Free what cools down now, with the MACs that spell it",
    errors: ["NOT_FOUND", "CONFLICT", "STORE_UNAVAILABLE"],
  },
  hosts: {
    method: "GET",
    path: "/v1/hosts",
    permission: "read",
    summary: "Hosts of the fleet: which are heard, and how many ports each has",
    errors: ["USAGE", "NOT_FOUND", "STORE_UNAVAILABLE"],
  },
  drainHost: {
    method: "POST",
    path: "/v1/hosts/:name/drain",
    permission: "operate",
    summary: "Attach nothing new on a host; what is there stays",
    errors: ["USAGE", "NOT_FOUND", "CONFLICT", "STORE_UNAVAILABLE"],
  },
  forgetHost: {
    method: "POST",
    path: "/v1/hosts/:name/forget",
    permission: "operate",
    summary: "Free the name of a host that is silent, with force also the NICs of one that is off for certain",
    errors: ["USAGE", "NOT_FOUND", "HOST_UP", "HOST_HOLDS", "CONFLICT", "STORE_UNAVAILABLE"],
  },
  routes: {
    method: "GET",
    path: "/v1/routes",
    permission: "read",
    summary: "Where the guests of routed networks are: what the LAN's routers should know",
    errors: ["KERNEL_REFUSED"],
  },
  explain: {
    method: "POST",
    path: "/v1/explain",
    permission: "read",
    summary: "What would become of frames at a port, by which line of the guard and why; nothing is sent",
    errors: ["USAGE", "PHRASE_INVALID", "NOT_FOUND"],
  },
  explainFlow: {
    method: "POST",
    path: "/v1/policy/flow",
    permission: "read",
    summary: "Whether the security groups of both ends let a flow be opened, by which rule, or what is missing",
    errors: ["USAGE", "PHRASE_INVALID", "NOT_FOUND"],
  },
  policyMatrix: {
    method: "GET",
    path: "/v1/policy/matrix",
    permission: "read",
    summary: "Who may open flows to whom, on what",
    errors: ["USAGE", "NOT_FOUND"],
  },
  exportState: {
    method: "GET",
    path: "/v1/state",
    permission: "read",
    summary: "Everything that the store holds at one revision: a head, one line an entry, and an end with a checksum",
    errors: ["STORE_UNAVAILABLE"],
    stream: true,
  },
  watch: {
    method: "GET",
    path: "/v1/watch",
    permission: "read",
    summary: "Changes of the site, of what is attached where, and of leases, as they come",
    errors: ["USAGE"],
    stream: true,
  },
  metrics: {
    method: "GET",
    path: "/v1/metrics",
    permission: "read",
    summary: "Health, ports, drops, leases and pools for a monitoring system, in the text format of Prometheus",
    errors: [],
    text: true,
  },
  openapi: {
    method: "GET",
    path: "/v1/openapi.json",
    permission: "read",
    summary: "This interface as an OpenAPI document",
    errors: [],
  },
} as const satisfies Record<string, Route>;

export type RouteId = keyof typeof routes;
export const routeIds: readonly RouteId[] = Object.keys(routes).filter((id): id is RouteId => id in routes);

/** The path with its parameters filled in. */
export function fillPath(path: string, params: Readonly<Record<string, string>>): string {
  return path.replace(/:(\w+)/g, (_, name: string) => encodeURIComponent(params[name] ?? ""));
}
