/** The contract over HTTP: on a unix socket, where whoever may open it is the operator, and over TLS for those who have a token. */
import { chmodSync, mkdirSync, unlinkSync } from "node:fs";
import { connect } from "node:net";
import { dirname } from "node:path";
import { Readable } from "node:stream";
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import type { z } from "zod";
import { contract } from "../api/contract.ts";
import { openapi } from "../api/openapi.ts";
import { type RouteId, routeIds, routes } from "../api/routes.ts";
import { loadSite } from "../config/load.ts";
import { allows, type Caller } from "../model/access.ts";
import { GuardError } from "../model/errors.ts";
import type { ChangeView, Operations } from "../model/operations.ts";
import type { AuditEntry } from "./audit.ts";
import { metricsText } from "./metrics.ts";
import { problemOf } from "./problem.ts";
import type { Tokens } from "./tokens.ts";

export type Listen =
  | { readonly kind: "unix"; readonly path: string }
  | {
      readonly kind: "tls";
      readonly host: string;
      readonly port: number;
      /** PEM. */
      readonly cert: string;
      readonly key: string;
      readonly tokens: Tokens;
    };

export interface ServerParts {
  readonly operations: Operations;
  readonly listen: Listen;
  readonly version: string;
  readonly log: { error(fields: object, message: string): void };
  /** Told of every change that was asked for. */
  readonly audit?: (entry: Omit<AuditEntry, "at" | "host">) => void;
}

export interface RunningServer {
  /** Where it listens; 0 on a socket. */
  readonly port: number;
  /** Ends streams and waits for what is under way. */
  close(): Promise<void>;
}

/** 65 536 guests are about 10 MB of text. */
const BODY_LIMIT = 64 << 20;

interface Asked<Id extends RouteId> {
  readonly params: z.output<(typeof contract)[Id]["params"]>;
  readonly query: z.output<(typeof contract)[Id]["query"]>;
  readonly body: z.output<(typeof contract)[Id]["body"]>;
  /** Aborted when the caller hangs up or the server closes. */
  readonly signal: AbortSignal;
}

type Handlers = { readonly [Id in RouteId]: (asked: Asked<Id>) => unknown };

/** Fields that were not given are left out, not undefined. */
function given<T extends object>(fields: T): { [K in keyof T]?: NonNullable<T[K]> } {
  const kept: { [K in keyof T]?: NonNullable<T[K]> } = {};
  for (const key in fields) {
    const value = fields[key];
    if (value !== undefined && value !== null) kept[key] = value;
  }
  return kept;
}

function handlersOf(operations: Operations, version: string): Handlers {
  return {
    apply: ({ body }) => {
      const resources = body.files.flatMap(({ path, text }) => [...loadSite(text, path)]);
      return operations.apply(resources, { dryRun: body.dryRun });
    },
    listObjects: ({ params }) => operations.list(params.kind),
    getObject: ({ params }) => operations.get(params.kind, params.name),
    removeObject: ({ params }) => operations.remove(params.kind, params.name),
    attach: ({ body: { port, guest, nic, move, standsInFor } }) =>
      operations.attach({ port, guest, ...given({ nic, move, standsInFor }) }),
    detach: ({ params }) => operations.detach(params.port),
    status: () => operations.status(),
    drops: ({ query }) => operations.drops(given(query)),
    followDrops: ({ query, signal }) => operations.followDrops(given(query), signal),
    leases: ({ query }) => operations.leases(given(query)),
    releaseLease: ({ params }) => operations.releaseLease(params.network, params.address),
    cooling: () => operations.cooling(),
    endCooling: ({ params }) => operations.endCooling(params.what),
    routes: () => operations.routes(),
    hosts: ({ query }) => operations.hosts(given(query)),
    drainHost: ({ params, body }) => operations.drainHost(params.name, body),
    forgetHost: ({ params, body }) => operations.forgetHost(params.name, body),
    explain: ({ body: { target, direction, phrase, frames } }) =>
      operations.explain({ target, direction, ...given({ phrase, frames }) }),
    explainFlow: ({ body }) => operations.explainFlow(body),
    policyMatrix: ({ query }) => operations.policyMatrix(given(query)),
    exportState: () => operations.exportState(),
    watch: ({ query, signal }) => operations.watch(query.kinds ?? [], signal),
    metrics: async () => {
      const [status, drops] = await Promise.all([operations.status(), operations.drops({})]);
      const [leases, networks] = await Promise.all([
        operations.leases({}, { here: true }),
        operations.list("network", { here: true }),
      ]);
      return metricsText({ status, drops, leases, networks });
    },
    openapi: () => openapi(version),
  };
}

function checked<S extends z.ZodType>(schema: S, value: unknown, where: string): z.output<S> {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  throw new GuardError(
    "USAGE",
    `${where}${issue === undefined ? "" : `${issue.path.map((part) => `.${String(part)}`).join("")}: ${issue.message}`}`,
  );
}

async function* jsonLines(values: AsyncIterable<unknown>): AsyncGenerator<string> {
  for await (const value of values) yield `${JSON.stringify(value)}\n`;
}

/** @throws UNAUTHENTICATED, FORBIDDEN */
function admitted(listen: Listen, id: RouteId, request: FastifyRequest): Caller {
  if (listen.kind === "unix") return { name: "socket", role: "operator" };
  const caller = listen.tokens.callerOf(request.headers.authorization);
  const { permission, summary } = routes[id];
  if (allows(caller.role, permission)) return caller;
  const says = `token '${caller.name}' has the role '${caller.role}', which may not: ${summary}`;
  throw new GuardError("FORBIDDEN", says, { fields: { name: caller.name, role: caller.role } });
}

/** What was asked, without the texts of site files. */
function askedOf(params: unknown, body: unknown): unknown {
  const { files, ...rest } = { files: undefined, ...Object(params), ...Object(body) };
  if (!Array.isArray(files)) return rest;
  return { ...rest, files: files.map((file: unknown) => String(Object(file).path)) };
}

const isChange = (value: unknown): value is ChangeView =>
  typeof value === "object" && value !== null && "sentences" in value && Array.isArray(value.sentences);

async function audited<T>(
  { audit = () => undefined, listen, log }: ServerParts,
  { id, request, caller }: { readonly id: RouteId; readonly request: FastifyRequest; readonly caller: Caller },
  act: () => Promise<T>,
): Promise<T> {
  if (routes[id].permission === "read") return act();
  const from = listen.kind === "unix" ? {} : { from: request.ip };
  const entry = { who: caller.name, ...from, what: id, on: askedOf(request.params, request.body) };
  const tell = (rest: Pick<AuditEntry, "outcome" | "changes">): void => {
    try {
      audit({ ...entry, ...rest });
    } catch (error) {
      log.error({ err: error, ...entry, ...rest }, "the audit log cannot be written");
    }
  };
  try {
    const value = await act();
    const values: readonly unknown[] = Array.isArray(value) ? value : [value];
    const changes = values.filter(isChange).flatMap(({ sentences }) => sentences);
    tell({ outcome: "ok", ...(changes.length === 0 ? {} : { changes }) });
    return value;
  } catch (error) {
    tell({ outcome: asGuardError(error).code });
    throw error;
  }
}

function addRoute<Id extends RouteId>(
  server: FastifyInstance,
  id: Id,
  handler: Handlers[Id],
  parts: ServerParts,
  closing: AbortSignal,
): void {
  const { params, query, body } = contract[id];
  const { method, path } = routes[id];
  const callers = new WeakMap<FastifyRequest, Caller>();
  server.route({
    method,
    url: path,
    // Before the body is read: nobody fills memory without a token.
    onRequest: async (request) => {
      callers.set(request, admitted(parts.listen, id, request));
    },
    handler: async (request: FastifyRequest, reply: FastifyReply) => {
      const gone = new AbortController();
      reply.raw.once("close", () => gone.abort());
      const caller = callers.get(request);
      if (caller === undefined) throw new GuardError("UNAUTHENTICATED", "nobody asked");
      const value = await audited(parts, { id, request, caller }, async () =>
        handler({
          params: checked(params, request.params, "path"),
          query: checked(query, request.query, "query"),
          body: checked(body, request.body, "body"),
          signal: AbortSignal.any([gone.signal, closing]),
        } as Asked<Id>),
      );
      if ("text" in routes[id]) return reply.type("text/plain; version=0.0.4; charset=utf-8").send(value);
      if (!("stream" in routes[id])) return value;
      return reply.type("application/x-ndjson").send(Readable.from(jsonLines(value as AsyncIterable<unknown>)));
    },
  });
}

function asGuardError(error: unknown): GuardError {
  if (error instanceof GuardError) return error;
  const status = error instanceof Error && "statusCode" in error ? Number(error.statusCode) : 500;
  const text = error instanceof Error ? error.message : String(error);
  return status < 500
    ? new GuardError("USAGE", text, { cause: error })
    : new GuardError("INTERNAL", text, { cause: error });
}

/** A socket file without a listener is left over from an agent that was killed. @throws AGENT_RUNNING */
async function clearSocket(path: string): Promise<void> {
  const answered = await new Promise<boolean>((resolve) => {
    const probe = connect(path, () => {
      probe.destroy();
      resolve(true);
    });
    probe.on("error", () => resolve(false));
  });
  if (answered)
    throw new GuardError("AGENT_RUNNING", `an agent already listens at '${path}'`, { fields: { socket: path } });
  try {
    unlinkSync(path);
  } catch {
    // There was none.
  }
}

async function listenOnSocket(server: FastifyInstance, path: string): Promise<void> {
  await clearSocket(path);
  mkdirSync(dirname(path), { recursive: true, mode: 0o755 });
  const mask = process.umask(0o177);
  await server.listen({ path }).finally(() => process.umask(mask));
  chmodSync(path, 0o600);
}

const placeOf = (listen: Listen): string => (listen.kind === "unix" ? listen.path : `${listen.host}:${listen.port}`);

function serverFor(listen: Listen): FastifyInstance {
  const options = { bodyLimit: BODY_LIMIT, forceCloseConnections: true };
  if (listen.kind === "unix") return fastify(options);
  const { cert, key } = listen;
  return fastify({ ...options, https: { cert, key, minVersion: "TLSv1.2" } }) as unknown as FastifyInstance;
}

/** @throws AGENT_RUNNING, USAGE when it cannot listen there */
export async function startServer(parts: ServerParts): Promise<RunningServer> {
  const { operations, listen, version, log } = parts;
  const closing = new AbortController();
  const handlers = handlersOf(operations, version);
  try {
    const server = serverFor(listen);
    for (const id of routeIds) addRoute(server, id, handlers[id] as never, parts, closing.signal);
    server.setNotFoundHandler((request) => {
      throw new GuardError("NOT_FOUND", `no endpoint ${request.method} ${request.url}`);
    });
    server.setErrorHandler((error, _request, reply) => {
      const guardError = asGuardError(error);
      if (guardError.code === "INTERNAL") log.error({ err: error }, "request failed");
      const problem = problemOf(guardError);
      void reply.status(problem.status).type("application/problem+json").send(problem);
    });
    if (listen.kind === "unix") await listenOnSocket(server, listen.path);
    else await server.listen({ host: listen.host, port: listen.port });
    const address = server.server.address();
    return {
      port: typeof address === "object" && address !== null ? address.port : 0,
      close: async () => {
        closing.abort();
        await server.close();
      },
    };
  } catch (cause) {
    if (cause instanceof GuardError) throw cause;
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new GuardError("USAGE", `cannot listen at '${placeOf(listen)}': ${why}`, { cause });
  }
}
