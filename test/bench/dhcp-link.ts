/**
 * DHCP servers on a link, in one run: the agent's responder, each guest behind a port of its own; Kea and dnsmasq, all guests behind one veth. The clients are
 * the same program (dhcp-load.c) for all three. perfdhcp says beside it what it makes of Kea and dnsmasq; to vifguard it cannot speak, as it plays a relay
 * (giaddr is set, hops is 1), which a guest must not be.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { env, execPath } from "node:process";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { type Client, connect } from "../../src/api/client.ts";
import { exec, must, type Running, start } from "../../src/lab/exec.ts";
import { bridgesFor, siteOf } from "./frame-cost.ts";
import type { BenchRow } from "./row.ts";

const SUITE = "dhcp-link";
/** All of them boot at once. */
const GUESTS = Number(env["BENCH_GUESTS"] ?? 4000);
/** Who asks again and again, and how many of them at a time. */
const ASKING = Math.min(512, GUESTS);
const WINDOW = "64";
const SECONDS = "4";
const ROUNDS = 5;

interface Load {
  readonly exchanges: number;
  readonly seconds: number;
  readonly p50: number;
  readonly p99: number;
  readonly again: number;
  readonly refused: number;
}

interface Place {
  readonly directory: string;
  readonly program: string;
  /** Where the clients are, and where the server is. */
  readonly crowd: string;
  readonly host: string;
}

interface Guest {
  readonly device: string;
  readonly mac: string;
}

function listOf({ directory }: Place, name: string, guests: readonly Guest[]): string {
  const file = join(directory, name);
  writeFileSync(file, guests.map(({ device, mac }) => `${device} ${mac}\n`).join(""));
  return file;
}

async function load(place: Place, list: string, seconds: string): Promise<Load> {
  const text = await must([place.program, list, seconds, WINDOW], { netns: place.crowd, timeoutMs: 150_000 });
  const [exchanges = 0, took = 0, p50 = 0, p99 = 0, again = 0, refused = 0] = text.trim().split(" ").map(Number);
  return { exchanges, seconds: took, p50, p99, again, refused };
}

async function addBox(netns: string): Promise<void> {
  await must(["ip", "netns", "add", netns]);
  for (const name of ["default", "all"])
    await must(["sysctl", "-qw", `net.ipv6.conf.${name}.disable_ipv6=1`], { netns });
  await must(["ip", "-n", netns, "link", "set", "lo", "up"]);
}

const batch = (netns: string, lines: readonly string[]): Promise<string> =>
  must(["ip", "-n", netns, "-batch", "-"], { stdin: `${lines.join("\n")}\n`, timeoutMs: 300_000 });

async function addPorts({ host, crowd }: Place, count: number): Promise<void> {
  const all = Array.from({ length: count }, (_, n) => n);
  await batch(
    host,
    bridgesFor(count).flatMap((name) => [`link add ${name} type bridge`, `link set ${name} up`]),
  );
  await batch(
    host,
    all.map((n) => `link add vif${n}.0 type veth peer name c${n} netns ${crowd}`),
  );
  await batch(
    crowd,
    all.map((n) => `link set c${n} up`),
  );
}

async function attachAll(client: Client, count: number): Promise<readonly Guest[]> {
  const site = siteOf(count).replaceAll("  addressing:", "  rates: { dhcp: 10000000 }\n  addressing:");
  await client.apply([{ path: "bench", text: site }], { dryRun: false });
  const guests: Guest[] = [];
  for (let n = 0; n < count; n += 1) {
    const { mac } = await client.attach({ port: `vif${n}.0`, guest: `b${n}` });
    guests.push({ device: `c${n}`, mac });
  }
  return guests;
}

async function untilTrue(what: () => Promise<boolean>, says: string): Promise<void> {
  const deadline = performance.now() + 20_000;
  while (!(await what())) {
    if (performance.now() > deadline) throw new Error(says);
    await sleep(100);
  }
}

const logOf = ({ directory }: Place): number => openSync(join(directory, "log"), "a");

interface Server {
  readonly name: string;
  readonly guests: readonly Guest[];
  readonly running: Running;
  /** How many leases it wrote at once, in the mean; only ours says. */
  readonly leasesPerCommit?: () => Promise<number>;
}

async function startAgent(place: Place, name: string, count: number, state: string): Promise<Server> {
  await addPorts(place, count);
  const socket = join(place.directory, "sock");
  const argv = ["agent", "--state-dir", state, "--socket", socket];
  const running = await start([execPath, "dist/main.js", ...argv], { netns: place.host }, logOf(place));
  const client = connect(socket);
  await untilTrue(
    async () =>
      client.status().then(
        () => true,
        () => false,
      ),
    "the agent does not answer",
  );
  const leasesPerCommit = async (): Promise<number> => {
    const { acks, commits } = (await client.status()).dhcp;
    return acks / Math.max(1, commits);
  };
  return { name, guests: await attachAll(client, count), running, leasesPerCommit };
}

const startVifguard = (place: Place): Promise<Server> =>
  startAgent(place, "vifguard", GUESTS, join(place.directory, "state"));

/** Kea's memfile is not waited for until it is on the disk; this is ours without that wait. */
const startUnsynced = (place: Place): Promise<Server> =>
  startAgent(place, "vifguard, store in memory", ASKING, join("/dev/shm", place.host));

/** 02:00:00:00:hh:ll, all behind one interface. */
const strangers: readonly Guest[] = Array.from({ length: GUESTS }, (_, n) => ({
  device: "k0",
  mac: `02:00:00:00:${(n >> 8).toString(16).padStart(2, "0")}:${(n & 255).toString(16).padStart(2, "0")}`,
}));

async function addLink({ host, crowd }: Place): Promise<void> {
  await must(["ip", "-n", host, "link", "add", "s0", "type", "veth", "peer", "name", "k0", "netns", crowd]);
  await batch(host, ["address add 10.200.0.1/16 dev s0", "link set s0 up"]);
  await batch(crowd, ["address add 10.200.255.254/16 dev k0", "link set k0 up"]);
}

/** Without `cache-threshold` every lease is written to its file, whenever it was given before. */
async function startKea(place: Place): Promise<Server> {
  const home = join(place.directory, "kea");
  mkdirSync(home);
  const conf = join(home, "conf");
  const dhcp4 = {
    "interfaces-config": { interfaces: ["s0"] },
    "lease-database": { type: "memfile", persist: true, name: join(home, "leases"), "lfc-interval": 0 },
    "valid-lifetime": 3600,
    subnet4: [{ id: 1, subnet: "10.200.0.0/16", pools: [{ pool: "10.200.1.0 - 10.200.250.0" }] }],
    "option-data": [{ name: "routers", data: "10.200.0.1" }],
    loggers: [{ name: "kea-dhcp4", severity: "WARN", output_options: [{ output: join(home, "log") }] }],
  };
  writeFileSync(conf, JSON.stringify({ Dhcp4: dhcp4 }));
  const paths = { KEA_PIDFILE_DIR: home, KEA_LOCKFILE_DIR: home };
  const running = await start(["kea-dhcp4", "-c", conf], { netns: place.host, env: paths }, logOf(place));
  return { name: "Kea", guests: strangers, running };
}

async function startDnsmasq(place: Place): Promise<Server> {
  const range = "10.200.1.0,10.200.250.0,1h";
  const leases = join(place.directory, "dnsmasq-leases");
  const words = [
    "--keep-in-foreground",
    "--conf-file=/dev/null",
    "--port=0",
    "--interface=s0",
    "--no-ping",
    "--user=root",
  ];
  const own = [
    `--dhcp-range=${range}`,
    "--dhcp-lease-max=70000",
    `--dhcp-leasefile=${leases}`,
    "--quiet-dhcp",
    "--pid-file=",
  ];
  const running = await start(["dnsmasq", ...words, ...own], { netns: place.host }, logOf(place));
  return { name: "dnsmasq", guests: strangers, running };
}

const median = (values: readonly number[]): number => [...values].sort((a, b) => a - b)[values.length >> 1] ?? 0;

function row(server: string, name: string, value: number, unit: string, note: string): BenchRow {
  return { suite: SUITE, name: `${server}: ${name}`, value: Number(value.toFixed(unit === "1/s" ? 0 : 2)), unit, note };
}

/** A server with what was measured of it. */
interface Candidate extends Server {
  readonly place: Place;
  readonly asking: string;
  readonly boot: Load;
  readonly runs: Load[];
}

async function candidate(place: Place, server: Server): Promise<Candidate> {
  const asking = listOf(place, `${server.name}-asking`, server.guests.slice(0, ASKING));
  await untilTrue(async () => (await load(place, asking, "1")).exchanges > 0, `${server.name} answers nobody`);
  const boot = await load(place, listOf(place, `${server.name}-all`, server.guests), "0");
  return { ...server, place, asking, boot, runs: [] };
}

async function rowsOf({ name, guests, boot, runs, leasesPerCommit }: Candidate): Promise<readonly BenchRow[]> {
  const lost = runs.reduce((sum, { again, refused }) => sum + again + refused, 0);
  const note = `${ASKING} guests, ${WINDOW} at a time, median of ${ROUNDS} runs of ${SECONDS} s in turn with the others, ${lost} questions asked again`;
  const written = leasesPerCommit === undefined ? "" : `, ${(await leasesPerCommit()).toFixed(1)} leases a commit`;
  const atOnce = `${boot.exchanges} of ${guests.length} have a lease, ${boot.again} questions asked again`;
  return [
    row(
      name,
      "4-way exchanges",
      median(runs.map(({ exchanges, seconds }) => exchanges / seconds)),
      "1/s",
      note + written,
    ),
    row(name, "exchange, median", median(runs.map(({ p50 }) => p50)) / 1000, "ms", note),
    row(name, "exchange, 99 %", median(runs.map(({ p99 }) => p99)) / 1000, "ms", note),
    row(name, `${guests.length} guests boot at once, until the last has its lease`, boot.seconds, "s", atOnce),
    row(name, `${guests.length} guests boot at once, 99 %`, boot.p99 / 1e6, "s", atOnce),
  ];
}

/** As many a second as come back of what is asked at this rate. */
async function perfdhcp(place: Place, name: string): Promise<readonly BenchRow[]> {
  if ((await exec(["which", "perfdhcp"])).status !== 0)
    return [row(name, "perfdhcp", 0, "1/s", "not measured: perfdhcp is not there (Debian: kea-admin)")];
  const argv = ["perfdhcp", "-4", "-r", "10000", "-R", String(ASKING), "-p", SECONDS, "-l", "k0"];
  const { stdout } = await exec(argv, { netns: place.crowd, timeoutMs: 60_000 });
  const rate = Number(/Rate: ([\d.]+) 4-way/.exec(stdout)?.[1] ?? 0);
  return [row(name, "4-way exchanges by perfdhcp", rate, "1/s", argv.join(" "))];
}

/** Rounds in turn, as other work on the machine comes and goes. */
async function compare(
  places: readonly (readonly [Place, (place: Place) => Promise<Server>])[],
  stop: Running[],
): Promise<readonly BenchRow[]> {
  const candidates: Candidate[] = [];
  for (const [place, begin] of places) {
    const server = await begin(place);
    stop.push(server.running);
    candidates.push(await candidate(place, server));
  }
  for (let round = 0; round < ROUNDS; round += 1)
    for (const { place, asking, runs } of candidates) runs.push(await load(place, asking, SECONDS));
  const others = candidates.filter(({ leasesPerCommit }) => leasesPerCommit === undefined);
  const beside: BenchRow[] = [];
  for (const { place, name } of others) beside.push(...(await perfdhcp(place, name)));
  return [...(await Promise.all(candidates.map(rowsOf))).flat(), ...beside];
}

export async function benchDhcpLink(): Promise<BenchRow[]> {
  const own = process.pid.toString(36);
  const directory = mkdtempSync(join(tmpdir(), "vifguard-bench-dhcp-"));
  const program = join(directory, "dhcp-load");
  execFileSync("gcc", ["-O2", "-o", program, fileURLToPath(new URL("dhcp-load.c", import.meta.url))]);
  const placeOf = (letter: string): Place => ({
    directory: join(directory, letter),
    program,
    crowd: `vgb-c${letter}${own}`,
    host: `vgb-h${letter}${own}`,
  });
  // Of their own, as Kea and dnsmasq look through all interfaces of their namespace: thousands of ports would slow them.
  const places = [
    [placeOf("v"), startVifguard],
    [placeOf("m"), startUnsynced],
    [placeOf("k"), startKea],
    [placeOf("d"), startDnsmasq],
  ] as const;
  const boxes = places.flatMap(([{ crowd, host }]) => [crowd, host]);
  const memory = join("/dev/shm", places[1][0].host);
  const stop: Running[] = [];
  try {
    for (const [place] of places) mkdirSync(place.directory);
    for (const box of boxes) await addBox(box);
    for (const [place] of places.slice(2)) await addLink(place);
    return [...(await compare(places, stop))];
  } finally {
    for (const running of stop) await running.stop("SIGKILL");
    for (const box of boxes) await exec(["ip", "netns", "del", box], { timeoutMs: 120_000 });
    for (const path of [directory, memory]) rmSync(path, { recursive: true, force: true });
  }
}
