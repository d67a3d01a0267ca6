/** Asks an agent: HTTP over its unix socket. Failures come back as the errors they were. */
import { type IncomingMessage, request } from "node:http";
import { type ErrorCode, type ErrorFields, errorCatalogue, GuardError } from "../model/errors.ts";
import type {
  ChangeView,
  DropCount,
  DropEvent,
  ExplainAnswer,
  FlowAnswer,
  LeaseView,
  MatrixView,
  ObjectView,
  Operations,
  PortView,
  StatusView,
} from "../model/operations.ts";
import type { Kind } from "../model/resources.ts";
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

function unreachable(socket: string, cause: Error): GuardError {
  const missing = "code" in cause && (cause.code === "ENOENT" || cause.code === "ECONNREFUSED");
  const why = missing ? "nothing listens there" : cause.message;
  return new GuardError("AGENT_UNREACHABLE", `no agent at '${socket}': ${why}`, { fields: { socket }, cause });
}

function pathOf(route: Route, call: Call): string {
  const query = new URLSearchParams(
    Object.entries(call.query ?? {}).flatMap(([key, value]) => (value === undefined ? [] : [[key, value]])),
  ).toString();
  return fillPath(route.path, call.params ?? {}) + (query === "" ? "" : `?${query}`);
}

function open(socket: string, route: Route, call: Call): Promise<IncomingMessage> {
  const text = call.body === undefined ? undefined : JSON.stringify(call.body);
  const headers =
    text === undefined ? {} : { "content-type": "application/json", "content-length": Buffer.byteLength(text) };
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        socketPath: socket,
        method: route.method,
        path: pathOf(route, call),
        headers,
        ...(call.signal === undefined ? {} : { signal: call.signal }),
      },
      resolve,
    );
    sent.on("error", (cause) => reject(unreachable(socket, cause)));
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
export function connect(socket: string): Client {
  async function ask<T>(id: RouteId, call: Call = {}): Promise<T> {
    const reply = await open(socket, routes[id], call);
    const text = await textOf(reply);
    const status = reply.statusCode ?? 0;
    if (status !== 200) throw problemOf(text, status);
    return JSON.parse(text);
  }

  async function* follow(
    filter: { readonly guest?: string; readonly port?: string },
    signal: AbortSignal,
  ): AsyncGenerator<DropEvent> {
    const reply = await open(socket, routes.followDrops, { query: filter, signal });
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
    followDrops: follow,
    leases: (query) => ask<readonly LeaseView[]>("leases", { query }),
    explain: (body) => ask<ExplainAnswer>("explain", { body }),
    explainFlow: (body) => ask<FlowAnswer>("explainFlow", { body }),
    policyMatrix: (query) => ask<MatrixView>("policyMatrix", { query }),
    releaseLease: (network, address) => ask<LeaseView>("releaseLease", { params: { network, address } }),
  };
}
