/** Asks an agent: HTTP over its unix socket, or over TLS with a token. Failures come back as the errors they were. */
import { type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import { type ErrorCode, type ErrorFields, errorCatalogue, GuardError } from "../model/errors.ts";
import type {
  ChangeView,
  CoolingView,
  DropCount,
  DropEvent,
  ExplainAnswer,
  FlowAnswer,
  ForgottenView,
  HostView,
  LeaseView,
  MatrixView,
  ObjectView,
  Operations,
  PortView,
  RouteView,
  StatusView,
} from "../model/operations.ts";
import type { Kind } from "../model/resources.ts";
import type { StateLine } from "../model/state.ts";
import type { WatchEvent } from "../model/watch.ts";
import { fillPath, type Route, type RouteId, routes } from "./routes.ts";

/** The agent's operations as a caller sees them; sites travel as text, because the agent checks them itself. */
export interface Client extends Omit<Operations, "apply"> {
  apply(
    files: readonly { readonly path: string; readonly text: string }[],
    options: { readonly dryRun: boolean },
  ): Promise<readonly ChangeView[]>;
}

interface Call {
  readonly params?: Readonly<Record<string, string>>;
  readonly query?: Readonly<Record<string, string | undefined>>;
  readonly body?: unknown;
  readonly signal?: AbortSignal;
}

export const defaultSocket = "/run/vifguard/agent.sock";

/** An agent somewhere else. */
export interface RemoteAgent {
  /** `https://`, host and port. */
  readonly url: string;
  readonly token: string;
  /** Authority of the agent's certificate, as PEM; those of the system without it. */
  readonly ca?: string;
}

/** A socket of this host, by its path, or an agent somewhere else. */
export type AgentPlace = string | RemoteAgent;

const placeText = (place: AgentPlace): string => (typeof place === "string" ? place : place.url);

function unreachable(place: AgentPlace, cause: Error): GuardError {
  const missing = "code" in cause && (cause.code === "ENOENT" || cause.code === "ECONNREFUSED");
  const why = missing ? "nothing listens there" : cause.message;
  const socket = placeText(place);
  return new GuardError("AGENT_UNREACHABLE", `no agent at '${socket}': ${why}`, { fields: { socket }, cause });
}

type Send = (
  headers: Readonly<Record<string, string | number>>,
  reply: (message: IncomingMessage) => void,
) => ReturnType<typeof requestHttp>;

function sender(place: AgentPlace, route: Route, call: Call): Send {
  const how = {
    method: route.method,
    path: pathOf(route, call),
    ...(call.signal === undefined ? {} : { signal: call.signal }),
  };
  if (typeof place === "string") return (headers, reply) => requestHttp({ ...how, socketPath: place, headers }, reply);
  const { hostname, port } = new URL(place.url);
  const authorization = `Bearer ${place.token}`;
  const trust = place.ca === undefined ? {} : { ca: place.ca };
  // A literal IPv6 address stands in brackets in a URL, and nowhere else.
  const host = hostname.replace(/^\[(.*)\]$/, "$1");
  return (headers, reply) =>
    requestHttps({ ...how, ...trust, host, port, headers: { ...headers, authorization } }, reply);
}

function pathOf(route: Route, call: Call): string {
  const query = new URLSearchParams(
    Object.entries(call.query ?? {}).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])),
  ).toString();
  return fillPath(route.path, call.params ?? {}) + (query === "" ? "" : `?${query}`);
}

function open(place: AgentPlace, route: Route, call: Call): Promise<IncomingMessage> {
  const text = call.body === undefined ? undefined : JSON.stringify(call.body);
  const headers =
    text === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(text) };
  const send = sender(place, route, call);
  return new Promise((resolve, reject) => {
    const sent = send(headers, resolve);
    sent.on("error", (cause) => reject(unreachable(place, cause)));
    sent.end(text);
  });
}

async function textOf(reply: IncomingMessage): Promise<string> {
  reply.setEncoding("utf8");
  let text = "";
  for await (const part of reply) text += part;
  return text;
}

const isCode = (value: unknown): value is ErrorCode => typeof value === "string" && value in errorCatalogue;
const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;

function fieldsOf(value: unknown): ErrorFields {
  if (!isRecord(value)) return {};
  return Object.fromEntries(
    Object.entries(value).flatMap(([key, field]) =>
      typeof field === "string" || typeof field === "number" ? [[key, field]] : [],
    ),
  );
}

function problemOf(text: string, status: number): GuardError {
  const problem: unknown = parse(text);
  if (!isRecord(problem) || !isCode(problem["code"]))
    return new GuardError("INTERNAL", `the agent answered ${status}: ${text.slice(0, 500)}`);
  return new GuardError(problem["code"], String(problem["detail"]), { fields: fieldsOf(problem["fields"]) });
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

async function* lines(reply: IncomingMessage): AsyncGenerator<string> {
  reply.setEncoding("utf8");
  let rest = "";
  for await (const part of reply) {
    const whole = (rest + part).split("\n");
    rest = whole.pop() ?? "";
    yield* whole.filter((line) => line !== "");
  }
}

/** The agent of this version answers what its contract says; `T` is that contract's word for the reply. */
export function connect(place: AgentPlace): Client {
  async function ask<T>(id: RouteId, call: Call = {}): Promise<T> {
    const reply = await open(place, routes[id], call);
    const text = await textOf(reply);
    const status = reply.statusCode ?? 0;
    if (status !== 200) throw problemOf(text, status);
    return JSON.parse(text);
  }

  async function* follow<T>(
    id: RouteId,
    query: Readonly<Record<string, string | undefined>>,
    signal: AbortSignal,
  ): AsyncGenerator<T> {
    const reply = await open(place, routes[id], { query, signal });
    if (reply.statusCode !== 200) throw problemOf(await textOf(reply), reply.statusCode ?? 0);
    try {
      for await (const line of lines(reply)) yield JSON.parse(line);
    } catch (error) {
      if (!signal.aborted) throw error;
    }
  }

  return {
    apply: (files, { dryRun }) => ask<readonly ChangeView[]>("apply", { body: { files, dryRun } }),
    list: (kind: Kind) => ask<readonly ObjectView[]>("listObjects", { params: { kind } }),
    get: (kind, name) => ask<ObjectView>("getObject", { params: { kind, name } }),
    remove: (kind, name) => ask<ChangeView>("removeObject", { params: { kind, name } }),
    attach: (body) => ask<PortView>("attach", { body }),
    detach: (port) => ask<{ detached: boolean }>("detach", { params: { port } }),
    status: () => ask<StatusView>("status"),
    drops: (query) => ask<readonly DropCount[]>("drops", { query }),
    followDrops: (filter, signal) => follow<DropEvent>("followDrops", filter, signal),
    exportState: () => follow<StateLine>("exportState", {}, new AbortController().signal),
    watch: (kinds, signal) => follow<WatchEvent>("watch", kinds.length === 0 ? {} : { kinds: kinds.join() }, signal),
    leases: (query) => ask<readonly LeaseView[]>("leases", { query }),
    cooling: () => ask<readonly CoolingView[]>("cooling"),
    endCooling: (what) => ask<readonly CoolingView[]>("endCooling", { params: { what } }),
    routes: () => ask<readonly RouteView[]>("routes"),
    explain: (body) => ask<ExplainAnswer>("explain", { body }),
    explainFlow: (body) => ask<FlowAnswer>("explainFlow", { body }),
    policyMatrix: (query) => ask<MatrixView>("policyMatrix", { query }),
    hosts: (query) => ask<readonly HostView[]>("hosts", { query }),
    drainHost: (name, body) => ask<HostView>("drainHost", { params: { name }, body }),
    forgetHost: (name, body) => ask<ForgottenView>("forgetHost", { params: { name }, body }),
    releaseLease: (network, address) => ask<LeaseView>("releaseLease", { params: { network, address } }),
  };
}
