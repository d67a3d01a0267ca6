/** The contract over HTTP on a unix socket: whoever may open the socket is the operator. */
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
import { GuardError } from "../model/errors.ts";
import type { Operations } from "../model/operations.ts";
import { problemOf } from "./problem.ts";

/** TCP with TLS and tokens joins this union with the fleet. */
export type Listen = { readonly kind: "unix"; readonly path: string };

export interface ServerParts {
  readonly operations: Operations;
  readonly listen: Listen;
  readonly version: string;
  readonly log: { error(fields: object, message: string): void };
}

export interface RunningServer {
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
    attach: ({ body: { port, guest, nic } }) => operations.attach({ port, guest, ...given({ nic }) }),
    detach: ({ params }) => operations.detach(params.port),
    status: () => operations.status(),
    drops: ({ query }) => operations.drops(given(query)),
    followDrops: ({ query, signal }) => operations.followDrops(given(query), signal),
    leases: ({ query }) => operations.leases(given(query)),
    releaseLease: ({ params }) => operations.releaseLease(params.network, params.address),
    explain: ({ body: { target, direction, phrase, frames } }) =>
      operations.explain({ target, direction, ...given({ phrase, frames }) }),
    explainFlow: ({ body }) => operations.explainFlow(body),
    policyMatrix: ({ query }) => operations.policyMatrix(given(query)),
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

function addRoute<Id extends RouteId>(
  server: FastifyInstance,
  id: Id,
  handler: Handlers[Id],
  closing: AbortSignal,
): void {
  const { params, query, body } = contract[id];
  const { method, path } = routes[id];
  server.route({
    method,
    url: path,
    handler: async (request: FastifyRequest, reply: FastifyReply) => {
      const gone = new AbortController();
      reply.raw.once("close", () => gone.abort());
      const value = await handler({
        params: checked(params, request.params, "path"),
        query: checked(query, request.query, "query"),
        body: checked(body, request.body, "body"),
        signal: AbortSignal.any([gone.signal, closing]),
      } as Asked<Id>);
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

/** @throws AGENT_RUNNING, USAGE when the socket cannot be made */
export async function startServer({ operations, listen, version, log }: ServerParts): Promise<RunningServer> {
  const server = fastify({ bodyLimit: BODY_LIMIT, forceCloseConnections: true });
  const closing = new AbortController();
  const handlers = handlersOf(operations, version);
  for (const id of routeIds) addRoute(server, id, handlers[id] as never, closing.signal);
  server.setNotFoundHandler((request) => {
    throw new GuardError("NOT_FOUND", `no endpoint ${request.method} ${request.url}`);
  });
  server.setErrorHandler((error, _request, reply) => {
    const guardError = asGuardError(error);
    if (guardError.code === "INTERNAL") log.error({ err: error }, "request failed");
    const problem = problemOf(guardError);
    void reply.status(problem.status).type("application/problem+json").send(problem);
  });
  await clearSocket(listen.path);
  try {
    mkdirSync(dirname(listen.path), { recursive: true, mode: 0o755 });
    const mask = process.umask(0o177);
    await server.listen({ path: listen.path }).finally(() => process.umask(mask));
    chmodSync(listen.path, 0o600);
  } catch (cause) {
    throw new GuardError(
      "USAGE",
      `cannot listen at '${listen.path}': ${cause instanceof Error ? cause.message : String(cause)}`,
      { cause },
    );
  }
  return {
    close: async () => {
      closing.abort();
      await server.close();
    },
  };
}
