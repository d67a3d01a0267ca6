/** The API as it is declared, over a real socket: every endpoint with its example, every error as a problem document. */
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { request } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { connect } from "../src/api/client.ts";
import { contract, type Exchange, problemSchema } from "../src/api/contract.ts";
import { fillPath, type Route, type RouteId, routeIds, routes } from "../src/api/routes.ts";
import { errorCatalogue, GuardError } from "../src/model/errors.ts";
import { type RunningServer, startServer } from "../src/server/http.ts";
import { memoryOperations } from "./support/memory-operations.ts";

const directory = mkdtempSync(join(tmpdir(), "vifguard-api-"));
const path = join(directory, "agent.sock");
const operations = memoryOperations();
const silent = { error: () => undefined };
let server: RunningServer;
beforeAll(async () => {
  server = await startServer({ operations, listen: { kind: "unix", path }, version: "0.0.0", log: silent });
});
afterAll(async () => {
  await server.close();
  rmSync(directory, { recursive: true });
});

interface Reply {
  readonly status: number;
  readonly type: string;
  readonly body: unknown;
}

const bodyOf = (type: string, text: string): unknown => (type.startsWith("text/plain") ? text : JSON.parse(text));

/** With `lines`, answers after so many of them and hangs up. */
function ask(method: string, url: string, body?: unknown, lines?: number): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const headers = body === undefined ? {} : { "content-type": "application/json" };
    const sent = request({ socketPath: path, method, path: url, headers }, (reply) => {
      let text = "";
      const done = (): void =>
        resolve({
          status: reply.statusCode ?? 0,
          type: reply.headers["content-type"] ?? "",
          body: bodyOf(reply.headers["content-type"] ?? "", lines === undefined ? text : (text.split("\n")[0] ?? "")),
        });
      reply.setEncoding("utf8").on("data", (part: string) => {
        text += part;
        if (lines !== undefined && text.split("\n").length > lines) {
          done();
          sent.destroy();
        }
      });
      reply.on("end", done);
    });
    sent.on("error", (error) => (lines === undefined ? reject(error) : undefined));
    sent.end(body === undefined ? undefined : JSON.stringify(body));
  });
}

function urlOf(id: RouteId): string {
  const exchange: Exchange = contract[id];
  const query = new URLSearchParams(exchange.example.query ?? {}).toString();
  return fillPath(routes[id].path, exchange.example.params ?? {}) + (query === "" ? "" : `?${query}`);
}

test("there are endpoints", () => {
  expect(routeIds.length).toBeGreaterThan(10);
});

test.each(routeIds)("%s answers its example with what it declares", async (id) => {
  const route: Route = routes[id];
  const exchange: Exchange = contract[id];
  if (route.method === "POST") expect(exchange.example.body, "an example").toBeDefined();
  const reply = await ask(route.method, urlOf(id), exchange.example.body, route.stream === true ? 2 : undefined);
  expect(reply.status).toBe(200);
  expect(exchange.reply.safeParse(reply.body).error).toBeUndefined();
});

test("metrics are lines that a collector reads, each of a name that is declared, with what a label cannot hold escaped", async () => {
  const { type, body } = await ask("GET", "/v1/metrics");
  expect(type).toContain("text/plain; version=0.0.4");
  const lines = String(body).trimEnd().split("\n");
  const declared = new Set(lines.flatMap((line) => line.match(/^# TYPE (\S+) (?:counter|gauge)$/)?.[1] ?? []));
  const samples = lines.filter((line) => !line.startsWith("#"));
  const shape = /^([a-z_]+)(?:\{(?:[a-z_]+="(?:[^"\\\n]|\\["\\n])*",?)+\})? -?[0-9.e+]+$/;
  for (const line of samples) expect(declared, line).toContain(line.match(shape)?.[1]);
  for (const name of ["build_info", "healthy", "ports", "dropped_packets_total", "pool_free_addresses", "dhcp_total"])
    expect(declared).toContain(`vifguard_${name}`);
  expect(samples).toContain('vifguard_hosts{state="silent"} 1');
  expect(samples.length).toBeGreaterThan(10);
});

test.each(routeIds)("%s: the paths of its parameters and its example agree", (id) => {
  const exchange: Exchange = contract[id];
  const names = [...routes[id].path.matchAll(/:(\w+)/g)].map(([, name]) => name);
  expect(Object.keys(exchange.example.params ?? {}).sort()).toEqual([...names].sort());
});

describe("what cannot be done", () => {
  const cases = [
    ["an unknown object", "GET", "/v1/objects/guest/nobody", undefined, "NOT_FOUND"],
    ["an unknown kind", "GET", "/v1/objects/planet", undefined, "USAGE"],
    ["an unknown endpoint", "GET", "/v1/nothing", undefined, "NOT_FOUND"],
    ["a body that is not JSON", "POST", "/v1/attachments", "{", "USAGE"],
    [
      "a body with a field too many",
      "POST",
      "/v1/attachments",
      { port: "vif1.0", guest: "web1", force: true },
      "USAGE",
    ],
    ["a port that is not there", "POST", "/v1/attachments", { port: "vif7.0", guest: "web1" }, "PORT_MISSING"],
    [
      "a site with a fault",
      "POST",
      "/v1/apply",
      { files: [{ path: "s.yaml", text: "kind: network\nname: lan0\nspec: { prefx4: 1 }\n" }] },
      "SITE_INVALID",
    ],
  ] as const;
  test.each(cases)("%s is a problem document with code and hint", async (_, method, url, body, code) => {
    const reply = await ask(method, url, body);
    const problem = problemSchema.parse(reply.body);
    expect(reply.type).toContain("application/problem+json");
    expect(problem.code).toBe(code);
    expect(reply.status).toBe(errorCatalogue[code].http);
    expect(problem.hint.length).toBeGreaterThan(10);
  });

  test("nothing is applied when one of the files has a fault", async () => {
    const before = operations.calls.length;
    const good = "kind: group\nname: web\nspec: {}\n";
    await ask("POST", "/v1/apply", {
      files: [
        { path: "a", text: good },
        { path: "b", text: "kind: nonsense" },
      ],
    });
    expect(operations.calls.length).toBe(before);
    await ask("POST", "/v1/apply", { files: [{ path: "a", text: good }] });
    expect(operations.calls.length, "control").toBe(before + 1);
  });
});

describe("the client", () => {
  test("gets back values and errors as they were", async () => {
    const client = connect(path);
    expect((await client.attach({ port: "vif1.0", guest: "web1" })).mac).toBe("fe:00:cb:00:71:0a");
    const refused = await client.attach({ port: "vif7.0", guest: "web1" }).catch((error: unknown) => error);
    expect(refused).toMatchObject({ code: "PORT_MISSING", fields: { port: "vif7.0" } });
  });

  test("follows a stream until it is told to stop", async () => {
    const stop = new AbortController();
    const seen: string[] = [];
    for await (const { reason } of connect(path).followDrops({}, stop.signal)) {
      seen.push(reason);
      if (seen.length === 2) stop.abort();
    }
    expect(seen).toEqual(["arp-sender", "arp-sender"]);
  });

  test("says which socket nobody listens at", async () => {
    const error = await connect(join(directory, "none.sock"))
      .status()
      .catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(GuardError);
    expect(error).toMatchObject({ code: "AGENT_UNREACHABLE" });
    expect(String(error)).toContain("none.sock");
  });
});

describe("the socket", () => {
  test("is the operator's alone", () => {
    expect(statSync(path).mode & 0o777).toBe(0o600);
  });
  test("is not taken from an agent that listens, but from one that was killed", async () => {
    await expect(
      startServer({ operations, listen: { kind: "unix", path }, version: "0", log: silent }),
    ).rejects.toMatchObject({ code: "AGENT_RUNNING" });
    const left = join(directory, "left.sock");
    writeFileSync(left, "");
    const second = await startServer({ operations, listen: { kind: "unix", path: left }, version: "0", log: silent });
    expect((await connect(left).status()).host).toBe("h1");
    await second.close();
    expect(existsSync(left)).toBe(false);
  });
});
