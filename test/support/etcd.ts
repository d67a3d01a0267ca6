/** Real etcd: members on loopback with ports of their own, their files in a directory that goes with them. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { patience } from "../../src/lab/patience.ts";

export interface EtcdMember {
  readonly name: string;
  readonly url: string;
  kill(signal: "SIGKILL" | "SIGSTOP" | "SIGCONT"): void;
  start(): void;
}

export interface EtcdCluster {
  readonly members: readonly EtcdMember[];
  readonly endpoints: readonly string[];
  readonly directory: string;
  /** `etcdctl`, with what it printed. */
  ctl(...argv: string[]): string;
  /** Until a member answers and has a leader. */
  ready(): Promise<void>;
  down(): void;
}

export interface EtcdTls {
  readonly ca: string;
  readonly cert: string;
  readonly key: string;
}

export interface ClusterOptions {
  readonly members: number;
  /** Files of the servers' certificate; clients must have one of the same authority. */
  readonly tls?: EtcdTls;
  /** What etcdctl shows. */
  readonly clientTls?: EtcdTls;
}

/** What docs/fleet.md asks of every member. */
export const ETCD_LIMITS = ["--max-txn-ops", "100000", "--max-request-bytes", "33554432"];

async function freePorts(count: number): Promise<readonly number[]> {
  const servers = Array.from({ length: count }, () => createServer());
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve) => {
          server.listen(0, "127.0.0.1", () => {
            const address = server.address();
            resolve(typeof address === "object" && address !== null ? address.port : 0);
          });
        }),
    ),
  );
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

export async function startEtcd({ members: count, tls, clientTls }: ClusterOptions): Promise<EtcdCluster> {
  const directory = mkdtempSync(join(tmpdir(), "vifguard-etcd-"));
  const ports = await freePorts(2 * count);
  const scheme = tls === undefined ? "http" : "https";
  const names = Array.from({ length: count }, (_, n) => `e${n}`);
  const peer = (n: number): string => `http://127.0.0.1:${ports[2 * n]}`;
  const url = (n: number): string => `${scheme}://127.0.0.1:${ports[2 * n + 1]}`;
  const cluster = names.map((name, n) => `${name}=${peer(n)}`).join(",");
  const secure =
    tls === undefined
      ? []
      : ["--cert-file", tls.cert, "--key-file", tls.key, "--trusted-ca-file", tls.ca, "--client-cert-auth"];
  const running = new Map<string, ChildProcess>();

  function start(name: string, n: number): void {
    const log = openSync(join(directory, `${name}.log`), "a");
    const urls = ["--listen-peer-urls", peer(n), "--initial-advertise-peer-urls", peer(n)];
    const client = ["--listen-client-urls", url(n), "--advertise-client-urls", url(n)];
    const known = ["--initial-cluster", cluster, "--heartbeat-interval", "50", "--election-timeout", "500"];
    const argv = ["--name", name, "--data-dir", join(directory, name), ...urls, ...client, ...known, ...ETCD_LIMITS];
    const child = spawn("etcd", [...argv, ...secure, "--log-level", "warn"], { stdio: ["ignore", log, log] });
    running.set(name, child);
  }
  for (const [n, name] of names.entries()) start(name, n);

  function ctl(...argv: string[]): string {
    const secrets =
      clientTls === undefined ? [] : ["--cacert", clientTls.ca, "--cert", clientTls.cert, "--key", clientTls.key];
    const all = ["--endpoints", names.map((_, n) => url(n)).join(","), "--command-timeout=3s", ...secrets, ...argv];
    const env = { ...process.env, ETCDCTL_API: "3" };
    return execFileSync("etcdctl", all, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"], env });
  }
  async function ready(): Promise<void> {
    for (const until = Date.now() + patience(15_000); ; await sleep(100)) {
      try {
        ctl("get", "ready");
        return;
      } catch (cause) {
        if (Date.now() > until) throw cause;
      }
    }
  }
  return {
    directory,
    endpoints: names.map((_, n) => url(n)),
    members: names.map((name, n) => ({
      name,
      url: url(n),
      kill: (signal) => running.get(name)?.kill(signal),
      start: () => start(name, n),
    })),
    ctl,
    ready,
    down: () => {
      for (const child of running.values()) child.kill("SIGKILL");
      rmSync(directory, { recursive: true, force: true });
    },
  };
}

export interface Pki {
  readonly server: EtcdTls;
  readonly client: EtcdTls;
  remove(): void;
}

/** An authority, and one certificate of it for servers on loopback (and at these addresses) and one for clients. */
export function makePki(addresses: readonly string[] = []): Pki {
  const directory = mkdtempSync(join(tmpdir(), "vifguard-pki-"));
  const file = (name: string): string => join(directory, name);
  const openssl = (...argv: string[]): void => {
    execFileSync("openssl", argv, { stdio: ["ignore", "ignore", "pipe"] });
  };
  const key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  openssl("req", "-x509", ...key, "-keyout", file("ca.key"), "-out", file("ca.pem"), "-days", "2", "-subj", "/CN=ca");
  const issue = (name: string): EtcdTls => {
    const names = `subjectAltName=${["127.0.0.1", ...addresses].map((address) => `IP:${address}`).join(",")},DNS:localhost`;
    const made = ["-keyout", file(`${name}.key`), "-out", file(`${name}.csr`), "-subj", `/CN=${name}`];
    openssl("req", ...key, ...made, "-addext", names);
    writeFileSync(file(`${name}.ext`), `${names}\n`);
    const from = ["-in", file(`${name}.csr`), "-CA", file("ca.pem"), "-CAkey", file("ca.key"), "-CAcreateserial"];
    openssl("x509", "-req", ...from, "-out", file(`${name}.pem`), "-days", "2", "-extfile", file(`${name}.ext`));
    return { ca: file("ca.pem"), cert: file(`${name}.pem`), key: file(`${name}.key`) };
  };
  return {
    server: issue("server"),
    client: issue("client"),
    remove: () => rmSync(directory, { recursive: true, force: true }),
  };
}
