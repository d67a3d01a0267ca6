/** The contract as an OpenAPI 3.1 document. */
import { z } from "zod";
import { errorCatalogue } from "../model/errors.ts";
import { contract, type Exchange, problemSchema } from "./contract.ts";
import { type Route, type RouteId, routeIds, routes } from "./routes.ts";

const schemaOf = (schema: z.ZodType, io: "input" | "output"): unknown => {
  const { $schema: _, ...rest } = z.toJSONSchema(schema, { io, unrepresentable: "any" });
  return rest;
};

function parameters(exchange: Exchange, route: Route): readonly object[] {
  const inPath = [...route.path.matchAll(/:(\w+)/g)].map(([, name]) => ({
    name,
    in: "path",
    required: true,
    schema: { type: "string" },
  }));
  const query = exchange.query instanceof z.ZodObject ? Object.keys(exchange.query.shape) : [];
  return [...inPath, ...query.map((name) => ({ name, in: "query", required: false, schema: { type: "string" } }))];
}

function responses(exchange: Exchange, route: Route): object {
  const whole = route.text === true ? "text/plain" : "application/json";
  const type = route.stream === true ? "application/x-ndjson" : whole;
  const problem = { content: { "application/problem+json": { schema: schemaOf(problemSchema, "output") } } };
  const byStatus = new Map<number, string[]>();
  for (const code of [...route.errors, "INTERNAL"] as const) {
    const { http } = errorCatalogue[code];
    byStatus.set(http, [...(byStatus.get(http) ?? []), code]);
  }
  return {
    200: { description: "done", content: { [type]: { schema: schemaOf(exchange.reply, "output") } } },
    ...Object.fromEntries(
      [...byStatus].map(([status, codes]) => [status, { description: codes.join(", "), ...problem }]),
    ),
  };
}

function operation(id: RouteId): object {
  const route: Route = routes[id];
  const exchange: Exchange = contract[id];
  const example: Exchange["example"] = exchange.example;
  const body =
    route.method === "POST"
      ? {
          requestBody: {
            required: true,
            content: { "application/json": { schema: schemaOf(exchange.body, "input"), example: example.body } },
          },
        }
      : {};
  return {
    operationId: id,
    summary: route.summary,
    "x-permission": route.permission,
    parameters: parameters(exchange, route),
    ...body,
    responses: responses(exchange, route),
  };
}

export function openapi(version: string): Record<string, unknown> {
  const paths: Record<string, Record<string, unknown>> = {};
  for (const id of routeIds) {
    const path = routes[id].path.replace(/:(\w+)/g, "{$1}");
    paths[path] = { ...paths[path], [routes[id].method.toLowerCase()]: operation(id) };
  }
  return { openapi: "3.1.0", info: { title: "vifguard", version, description: "The agent of one host." }, paths };
}
