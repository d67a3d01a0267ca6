/** Somebody else's DHCP servers in a box of the lab, each with addresses of its own to give, so that a lease tells who gave it. */
import { mkdtempSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import type { Running } from "../../src/lab/exec.ts";
import { patience } from "../../src/lab/patience.ts";
import type { Lab } from "../../src/lab/raise.ts";
import { type Box, globalOf } from "../../src/lab/topology.ts";

export const servers4 = ["kea", "dhcpd", "dnsmasq"] as const;
export type Server4 = (typeof servers4)[number];
export const servers6 = ["kea", "dhcpd", "dnsmasq"] as const;

/** Ten addresses from the first on; the same last part in hexadecimal digits for IPv6. */
export const firstOf: Readonly<Record<Server4, number>> = { kea: 50, dhcpd: 60, dnsmasq: 70 };

export interface ServerWish {
  readonly box: Box;
  readonly leaseSeconds?: number;
  /** Instead of ten of its own. */
  readonly pool?: readonly [string, string];
}

interface Program {
  readonly argv: readonly string[];
  readonly ready: RegExp;
}

const net = (last: number | string): string => `203.0.113.${last}`;
const poolOf = (name: Server4, { pool }: ServerWish): readonly [string, string] =>
  pool ?? [net(firstOf[name]), net(firstOf[name] + 9)];
const pool6Of = (name: Server4): readonly [string, string] => [
  `2001:db8:66::${firstOf[name]}00`,
  `2001:db8:66::${firstOf[name]}ff`,
];

const logger = (name: string): object => ({
  name,
  severity: "INFO",
  output_options: [{ output: "stdout", flush: true }],
});

// Leases in memory alone: the machine's own files stay as they are.
function kea4(directory: string, wish: ServerWish): Program {
  const [first, last] = poolOf("kea", wish);
  const file = join(directory, "kea4.json");
  const Dhcp4 = {
    "interfaces-config": { interfaces: ["eth0"], "dhcp-socket-type": "raw" },
    "lease-database": { type: "memfile", persist: false },
    "valid-lifetime": wish.leaseSeconds ?? 3600,
    subnet4: [
      {
        id: 1,
        subnet: "203.0.113.0/24",
        pools: [{ pool: `${first} - ${last}` }],
        "option-data": [{ name: "routers", data: "203.0.113.1" }],
      },
    ],
    loggers: [logger("kea-dhcp4")],
  };
  writeFileSync(file, JSON.stringify({ Dhcp4 }));
  return { argv: ["kea-dhcp4", "-c", file], ready: /DHCP4_STARTED/ };
}

function kea6(lab: Lab, directory: string, wish: ServerWish): Program {
  const [first, last] = pool6Of("kea");
  const file = join(directory, "kea6.json");
  const own = globalOf(lab.topology.neighbour);
  const Dhcp6 = {
    // Multicast of the link, and the address that relay agents send to.
    "interfaces-config": { interfaces: ["eth0", `eth0/${own}`] },
    "lease-database": { type: "memfile", persist: false },
    "server-id": { type: "LL", persist: false },
    "valid-lifetime": wish.leaseSeconds ?? 3600,
    "preferred-lifetime": wish.leaseSeconds ?? 3600,
    subnet6: [{ id: 1, subnet: "2001:db8:66::/64", interface: "eth0", pools: [{ pool: `${first} - ${last}` }] }],
    loggers: [logger("kea-dhcp6")],
  };
  writeFileSync(file, JSON.stringify({ Dhcp6 }));
  return { argv: ["kea-dhcp6", "-c", file], ready: /DHCP6_STARTED/ };
}

function dhcpd(directory: string, family: "4" | "6", text: string): Program {
  const file = join(directory, `dhcpd${family}.conf`);
  writeFileSync(file, text);
  writeFileSync(`${file}.leases`, "");
  const account = ["-user", "root", "-group", "root"];
  const files = ["-cf", file, "-lf", `${file}.leases`, "-pf", `${file}.pid`];
  return { argv: ["dhcpd", `-${family}`, "-d", "-f", ...account, ...files, "eth0"], ready: /Server starting service/ };
}

function dhcpd4(directory: string, wish: ServerWish): Program {
  const [first, last] = poolOf("dhcpd", wish);
  const seconds = wish.leaseSeconds ?? 3600;
  return dhcpd(
    directory,
    "4",
    `authoritative; default-lease-time ${seconds}; max-lease-time ${seconds}; ping-check false;
subnet 203.0.113.0 netmask 255.255.255.0 { range ${first} ${last}; option routers 203.0.113.1; }
`,
  );
}

function dhcpd6(directory: string, wish: ServerWish): Program {
  const [first, last] = pool6Of("dhcpd");
  const seconds = wish.leaseSeconds ?? 3600;
  return dhcpd(
    directory,
    "6",
    `authoritative; default-lease-time ${seconds}; preferred-lifetime ${seconds};
subnet6 2001:db8:66::/64 { range6 ${first} ${last}; }
`,
  );
}

function dnsmasq(directory: string, wish: ServerWish): Program {
  const [first, last] = poolOf("dnsmasq", wish);
  const [first6, last6] = pool6Of("dnsmasq");
  const seconds = wish.leaseSeconds ?? 3600;
  const files = [`--pid-file=${directory}/dnsmasq.pid`, `--dhcp-leasefile=${directory}/dnsmasq.leases`];
  const ranges = [
    `--dhcp-range=${first},${last},255.255.255.0,${seconds}`,
    `--dhcp-range=${first6},${last6},64,${seconds}`,
    "--dhcp-option=option:router,203.0.113.1",
  ];
  const quiet = ["--port=0", "--no-resolv", "--no-hosts", "--no-ping", "--dhcp-authoritative", "--log-facility=-"];
  return {
    argv: [
      "dnsmasq",
      "-k",
      "-C",
      "/dev/null",
      "-i",
      "eth0",
      "--bind-interfaces",
      "--user=root",
      ...files,
      ...ranges,
      ...quiet,
    ],
    ready: /DHCPv6, IP range/,
  };
}

function programs(lab: Lab, directory: string, name: Server4, wish: ServerWish): readonly Program[] {
  switch (name) {
    case "kea":
      return [kea4(directory, wish), kea6(lab, directory, wish)];
    case "dhcpd":
      return [dhcpd4(directory, wish), dhcpd6(directory, wish)];
    default:
      return [dnsmasq(directory, wish)];
  }
}

const SERVE_MS = 15_000;

async function serving(lab: Lab, box: Box, directory: string, { argv, ready }: Program): Promise<Running> {
  const log = `${directory}/${argv[0]}${argv[1]}.log`;
  // Kea's lock and pid files go where the machine's own would be otherwise.
  const env = [`KEA_PIDFILE_DIR=${directory}`, `KEA_LOCKFILE_DIR=${directory}`];
  const server = await lab.start(box, ["env", ...env, ...argv], log.slice(lab.directory.length + 1));
  const deadline = performance.now() + patience(SERVE_MS);
  while (!ready.test(readFileSync(log, "utf8"))) {
    if (performance.now() > deadline) {
      await server.stop("SIGKILL");
      throw new Error(`${argv.join(" ")} does not serve: ${readFileSync(log, "utf8").slice(-2000)}`);
    }
    await sleep(25);
  }
  return server;
}

export interface Served {
  stop(): Promise<void>;
}

/** Both families; returns when they answer. */
export async function serveDhcp(lab: Lab, name: Server4, wish: ServerWish): Promise<Served> {
  const directory = mkdtempSync(join(lab.directory, `${name}-`));
  const running = await Promise.all(
    programs(lab, directory, name, wish).map((program) => serving(lab, wish.box, directory, program)),
  );
  return {
    stop: async () => {
      await Promise.all(running.map((server) => server.stop("SIGKILL")));
    },
  };
}
