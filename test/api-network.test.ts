/** The API over TLS: who may ask, for what, and what is written down of it. */
import { createHash } from "node:crypto";
import { appendFileSync, chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type Client, connect } from "../src/api/client.ts";
import { type AccessRole, accessRoleNames, allows, type Permission } from "../src/model/access.ts";
import { tokenLine } from "../src/model/token-file.ts";
import { type AuditEntry, openAudit } from "../src/server/audit.ts";
import { type RunningServer, startServer } from "../src/server/http.ts";
import { createTokens } from "../src/server/tokens.ts";
import { codeOf } from "./store.contract.ts";
import { makePki, type Pki } from "./support/etcd.ts";
import { memoryOperations } from "./support/memory-operations.ts";

const directory = mkdtempSync(join(tmpdir(), "vifguard-api-"));
const operations = memoryOperations();
const group = "kind: group\nname: web\nspec: { ingress: [] }\n";
const silent = { error: () => undefined };
afterAll(() => rmSync(directory, { recursive: true }));

describe("over TLS, with tokens", () => {
  let pki: Pki;
  let far: RunningServer;
  const entries: Omit<AuditEntry, "at" | "host">[] = [];
  const tokens = join(directory, "tokens");
  const made = new Map<string, string>();
  const agentOf = (token: string, ca = readFileSync(pki.client.ca, "utf8")) =>
    connect({ url: `https://127.0.0.1:${far.port}`, token, ca });
  const byRole = (role: AccessRole) => agentOf(made.get(role) ?? "");

  beforeAll(async () => {
    pki = makePki();
    for (const role of accessRoleNames) {
      const token = `vg_${role}`;
      made.set(role, token);
      appendFileSync(tokens, tokenLine(`the-${role}`, role, createHash("sha256").update(token).digest("hex")), {
        mode: 0o600,
      });
    }
    const [cert, key] = [readFileSync(pki.server.cert, "utf8"), readFileSync(pki.server.key, "utf8")];
    far = await startServer({
      operations,
      listen: { kind: "tls", host: "127.0.0.1", port: 0, cert, key, tokens: createTokens(tokens) },
      version: "0.0.0",
      log: silent,
      audit: (entry) => entries.push(entry),
    });
  });
  afterAll(async () => {
    await far?.close();
    pki?.remove();
  });

  const questions = {
    read: (client: Client) => client.status(),
    attach: (client: Client) => client.detach("vif1.0"),
    operate: (client: Client) => client.apply([{ path: "site.yaml", text: group }], { dryRun: true }),
  } as const satisfies Readonly<Record<Permission, (client: Client) => Promise<unknown>>>;
  const permissions = ["read", "attach", "operate"] as const;
  const table = accessRoleNames.flatMap((role) => permissions.map((permission) => [role, permission] as const));

  test.each(table)("%s: %s", async (role, permission) => {
    const code = await codeOf(() => questions[permission](byRole(role)));
    expect(code).toBe(allows(role, permission) ? "no error" : "FORBIDDEN");
  });

  test("a reader watches and takes the whole state; nobody without a token does", async () => {
    async function taken(client: Client): Promise<readonly number[]> {
      const end = new AbortController();
      const [lines, events] = [[] as unknown[], [] as unknown[]];
      for await (const line of client.exportState()) lines.push(line);
      for await (const event of client.watch(["port"], end.signal)) {
        events.push(event);
        if (events.length === 2) end.abort();
      }
      return [lines.length, events.length];
    }
    expect(await taken(byRole("reader"))).toEqual([3, 2]);
    expect(await codeOf(() => taken(agentOf("vg_guess")))).toBe("UNAUTHENTICATED");
  });

  test("nobody without a token, with another one or a crooked one, is told anything, nor is what they send read", async () => {
    for (const token of ["vg_guess", "", "vg_reader extra", "x".repeat(300)])
      expect(await codeOf(() => agentOf(token).status()), token).toBe("UNAUTHENTICATED");
    const huge = [{ path: "a", text: "x".repeat(1 << 20) }];
    expect(await codeOf(() => agentOf("vg_guess").apply(huge, { dryRun: false }))).toMatch(
      /UNAUTHENTICATED|AGENT_UNREACHABLE/,
    );
    expect(await codeOf(() => byRole("reader").status()), "control").toBe("no error");
  });

  test("an agent with a certificate of somebody else is not asked, and a plain connection gets nothing", async () => {
    const stranger = makePki();
    const ca = readFileSync(stranger.client.ca, "utf8");
    expect(await codeOf(() => agentOf("vg_reader", ca).status())).toBe("AGENT_UNREACHABLE");
    stranger.remove();
    await expect(fetch(`http://127.0.0.1:${far.port}/v1/status`)).rejects.toThrow();
  });

  test("a token that is taken out of the file opens nothing any more; a file that others can read, or that is none, lets nobody in", async () => {
    const before = readFileSync(tokens, "utf8");
    expect(await codeOf(() => byRole("operator").status()), "control").toBe("no error");
    writeFileSync(tokens, before.replace(/^the-operator .*\n/m, ""));
    expect(await codeOf(() => byRole("operator").status())).toBe("UNAUTHENTICATED");
    expect(await codeOf(() => byRole("reader").status()), "control").toBe("no error");
    writeFileSync(tokens, `${before}crooked line\n`);
    await expect(byRole("reader").status()).rejects.toThrow(/cannot read its tokens/);
    writeFileSync(tokens, before);
    chmodSync(tokens, 0o644);
    expect(() => createTokens(tokens)).toThrow(/chmod 600/);
    chmodSync(tokens, 0o600);
    expect(await codeOf(() => byRole("reader").status())).toBe("no error");
  });

  test("every change that was asked for stands in the audit log, with who and what became of it; looking does not", async () => {
    entries.length = 0;
    await byRole("operator").apply([{ path: "site.yaml", text: group }], {
      dryRun: false,
    });
    await codeOf(() => byRole("host").attach({ port: "vif7.0", guest: "web1" }));
    await byRole("reader").status();
    expect(entries).toEqual([
      expect.objectContaining({
        who: "the-operator",
        from: "127.0.0.1",
        what: "apply",
        on: expect.objectContaining({ files: ["site.yaml"] }),
        outcome: "ok",
      }),
      expect.objectContaining({
        who: "the-host",
        what: "attach",
        on: { port: "vif7.0", guest: "web1" },
        outcome: "PORT_MISSING",
      }),
    ]);
    expect(JSON.stringify(entries)).not.toContain("ingress");
  });

  test("the audit log is root's alone, grows at its end, and is put aside when it is large", () => {
    const file = join(directory, "log", "audit.jsonl");
    const entry = {
      at: "2026-01-01T00:00:00Z",
      host: "h1",
      who: "socket",
      what: "detach",
      on: { port: "vif1.0" },
      outcome: "ok",
    };
    const log = openAudit(file);
    log.write(entry);
    log.write(entry);
    expect(readFileSync(file, "utf8")).toBe(`${JSON.stringify(entry)}\n`.repeat(2));
    expect(statSync(file).mode & 0o777).toBe(0o600);
    appendFileSync(file, "x".repeat(33 << 20));
    log.write(entry);
    expect(statSync(`${file}.1`).size).toBeGreaterThan(33 << 20);
    rmSync(file);
    log.write(entry);
    expect(readFileSync(file, "utf8"), "also when somebody else turns it").toBe(`${JSON.stringify(entry)}\n`);
    log.close();
  });
});
