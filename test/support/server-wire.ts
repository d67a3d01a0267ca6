/** A wire with a DHCP server of somebody else's and real clients on it: what each client was told, word by word. */
import { chmodSync, closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { exec, must, type Running, start } from "../../src/lab/exec.ts";
import { patience } from "../../src/lab/patience.ts";

/** The server's interface: a bridge with the clients behind it. */
export const SERVER_INTERFACE = "s0";
export const clients4 = ["dhclient", "udhcpc", "dhcpcd"] as const;
export const clients6 = ["dhclient", "dhcpcd"] as const;
export type Client4 = (typeof clients4)[number];
export type Client6 = (typeof clients6)[number];

/** What the client's script found in its environment. */
export type Told = Readonly<Record<string, string | undefined>>;

export interface Wire {
  readonly directory: string;
  /** @returns undefined when the client was told nothing in that time */
  ask4(client: number, program: Client4, milliseconds?: number): Promise<Told | undefined>;
  ask6(client: number, program: Client6, milliseconds?: number): Promise<Told | undefined>;
  /** @param ready what it says when it answers @returns how to stop it */
  serve(argv: readonly string[], ready: RegExp): Promise<() => Promise<void>>;
  down(): Promise<void>;
}

const link = (netns: string, ...words: readonly string[]): Promise<string> => must(["ip", "-n", netns, ...words]);

async function addBox(netns: string): Promise<void> {
  await must(["ip", "netns", "add", netns]);
  // Nothing here is a duplicate, and every second of looking for one would be waited for.
  await must(["sysctl", "-qw", "net.ipv6.conf.default.accept_dad=0"], { netns });
  await link(netns, "link", "set", "lo", "up");
}

async function addServer(netns: string, addresses: readonly string[]): Promise<void> {
  await addBox(netns);
  await link(netns, "link", "add", SERVER_INTERFACE, "type", "bridge", "mcast_snooping", "0");
  await link(netns, "link", "set", SERVER_INTERFACE, "up");
  for (const address of addresses) await link(netns, "address", "add", address, "dev", SERVER_INTERFACE);
}

async function addClient(server: string, netns: string, port: string, mac: string): Promise<void> {
  await addBox(netns);
  await link(server, "link", "add", port, "type", "veth", "peer", "name", "eth0", "address", mac, "netns", netns);
  await link(server, "link", "set", port, "master", SERVER_INTERFACE, "up");
  await link(netns, "link", "set", "eth0", "up");
}

// What a client sets by itself is not the matter here: it only has to be able to send, and to say what it was told.
const script = (dump: string): string => `#!/bin/sh
case "\${1:-}\${reason:-}" in
  PREINIT* | deconfig) ip link set "\${interface:-eth0}" up ;;
  bound | renew | BOUND* | REBOOT*) env >"${dump}.part" && mv "${dump}.part" "${dump}" ;;
esac
`;

const DHCLIENT = `option classless-routes code 121 = array of unsigned integer 8;
request subnet-mask, broadcast-address, routers, domain-name, domain-name-servers, domain-search, host-name, interface-mtu,
  ntp-servers, classless-routes;
also request dhcp6.name-servers, dhcp6.domain-search;
`;
const DHCPCD = `option classless_static_routes, domain_name_servers, domain_name, domain_search, host_name, interface_mtu, ntp_servers
option broadcast_address, dhcp6_name_servers, dhcp6_domain_search
noipv6rs
ia_na
slaac hwaddr
duid ll
`;
// It keeps its state where only one eth0 of the machine fits; 'ip netns exec' has given us mounts of our own.
const DHCPCD_HOME = 'mount -t tmpfs tmpfs /var/lib/dhcpcd && mount -t tmpfs tmpfs /run && exec dhcpcd "$@"';

/** Where a client of one question keeps its things. */
interface Home {
  readonly path: string;
  readonly script: string;
}

function dhclient({ path, script: own }: Home, family: "-4" | "-6"): readonly string[] {
  writeFileSync(`${path}/conf`, DHCLIENT);
  const files = ["-cf", `${path}/conf`, "-sf", own, "-lf", `${path}/leases`, "-pf", `${path}/pid`];
  // DUID-LL, as dhcpcd is told: to a server the next client is then the same machine (RFC 8415 section 11).
  const duid = family === "-6" ? ["-D", "LL"] : [];
  return ["dhclient", family, "-1", "-d", ...duid, ...files, "eth0"];
}

function dhcpcd({ path, script: own }: Home, family: "-4" | "-6"): readonly string[] {
  writeFileSync(`${path}/conf`, DHCPCD);
  const quiet = family === "-4" ? ["-L", "-A"] : [];
  return ["sh", "-c", DHCPCD_HOME, "sh", family, "-1", "-B", ...quiet, "-f", `${path}/conf`, "-c", own, "eth0"];
}

const UDHCPC_WISHES = ["search", "staticroutes", "mtu", "ntpsrv", "broadcast", "hostname"].flatMap((word) => [
  "-O",
  word,
]);
const udhcpc = ({ script: own }: Home): readonly string[] => [
  "udhcpc",
  "-i",
  "eth0",
  "-f",
  "-q",
  "-n",
  "-t",
  "20",
  "-T",
  "1",
  "-s",
  own,
  ...UDHCPC_WISHES,
];

function argv4(program: Client4, home: Home): readonly string[] {
  if (program === "udhcpc") return udhcpc(home);
  return program === "dhclient" ? dhclient(home, "-4") : dhcpcd(home, "-4");
}

const argv6 = (program: Client6, home: Home): readonly string[] =>
  program === "dhclient" ? dhclient(home, "-6") : dhcpcd(home, "-6");

function read(file: string): string | undefined {
  try {
    return readFileSync(file, "utf8");
  } catch {
    return undefined;
  }
}

const environment = (text: string): Told =>
  Object.fromEntries(
    text.split("\n").map((line) => [line.slice(0, line.indexOf("=")), line.slice(line.indexOf("=") + 1)]),
  );

const POLL_MS = 25;
const ASK_MS = 15_000;

/** The client runs until it was told something, and is ended then: what it would do with that is its own matter. */
async function ask(
  netns: string,
  directory: string,
  argvOf: (home: Home) => readonly string[],
  milliseconds: number,
): Promise<Told | undefined> {
  const path = mkdtempSync(join(directory, "client-"));
  const dump = join(path, "told");
  const home = { path, script: join(path, "script") };
  writeFileSync(home.script, script(dump));
  chmodSync(home.script, 0o700);
  await link(netns, "address", "flush", "dev", "eth0", "scope", "global");
  const log = openSync(join(path, "log"), "a");
  const client = await start(argvOf(home), { netns }, log);
  const deadline = performance.now() + patience(milliseconds);
  while (read(dump) === undefined && performance.now() < deadline) await sleep(POLL_MS);
  await client.stop("SIGKILL");
  closeSync(log);
  const text = read(dump);
  return text === undefined ? undefined : environment(text);
}

const SERVE_MS = 20_000;

async function serve(netns: string, directory: string, argv: readonly string[], ready: RegExp): Promise<Running> {
  const path = join(mkdtempSync(join(directory, "server-")), "log");
  const log = openSync(path, "a");
  // Kea's lock and pid files go where the machine's own would be otherwise.
  const env = { KEA_PIDFILE_DIR: directory, KEA_LOCKFILE_DIR: directory };
  const server = await start(argv, { netns, env }, log);
  closeSync(log);
  let isOver = false;
  void server.ended.then(() => {
    isOver = true;
  });
  const deadline = performance.now() + patience(SERVE_MS);
  while (!ready.test(read(path) ?? "")) {
    if (isOver || performance.now() > deadline) {
      await server.stop("SIGKILL");
      throw new Error(`${argv.join(" ")} does not serve: ${read(path)?.slice(-2000)}`);
    }
    await sleep(POLL_MS);
  }
  return server;
}

/** @param addresses of the server, with their prefix lengths @param macs one client each */
export async function raiseWire(name: string, addresses: readonly string[], macs: readonly string[]): Promise<Wire> {
  const directory = mkdtempSync(join(tmpdir(), "vifguard-wire-"));
  const server = `vgt-${name}-s`;
  const boxes = macs.map((_, n) => `vgt-${name}-c${n}`);
  const running: Running[] = [];
  const down = async (): Promise<void> => {
    await Promise.all(running.map((each) => each.stop()));
    for (const netns of [...boxes, server]) await exec(["ip", "netns", "del", netns]);
    rmSync(directory, { recursive: true, force: true });
  };
  try {
    await addServer(server, addresses);
    for (const [n, mac] of macs.entries()) await addClient(server, boxes[n] ?? "", `p${n}`, mac);
  } catch (cause) {
    await down();
    throw cause;
  }
  return {
    directory,
    ask4: (client, program, milliseconds = ASK_MS) =>
      ask(boxes[client] ?? "", directory, (home) => argv4(program, home), milliseconds),
    ask6: (client, program, milliseconds = ASK_MS) =>
      ask(boxes[client] ?? "", directory, (home) => argv6(program, home), milliseconds),
    serve: async (argv, ready) => {
      const started = await serve(server, directory, argv, ready);
      running.push(started);
      return async () => void (await started.stop());
    },
    down,
  };
}
