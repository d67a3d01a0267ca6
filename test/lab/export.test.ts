/**
 * What is exported for somebody else's DHCP server, by that server: its own checker takes the file, and real clients get exactly what the
 * site says of them, whatever they call themselves; a machine that is no guest gets nothing.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { renderDhcpd4, renderDhcpd6 } from "../../src/export/dhcpd.ts";
import { renderDnsmasq } from "../../src/export/dnsmasq.ts";
import { renderKea4, renderKea6 } from "../../src/export/kea.ts";
import { type ServedLink, servedLinks } from "../../src/export/site.ts";
import { exec } from "../../src/lab/exec.ts";
import { patience } from "../../src/lab/patience.ts";
import { type InterfaceName, parseInterfaceName } from "../../src/model/names.ts";
import { bigSite, siteOf, smallSite } from "../support/export-site.ts";
import {
  type Client4,
  clients4,
  clients6,
  raiseWire,
  SERVER_INTERFACE,
  type Told,
  type Wire,
} from "../support/server-wire.ts";

interface ServedFile {
  readonly name: string;
  readonly render: (links: readonly ServedLink[]) => string;
  readonly check: (file: string) => readonly string[];
  readonly serve: (file: string) => readonly string[];
  readonly ready: RegExp;
}

interface Server {
  readonly name: string;
  readonly files: readonly ServedFile[];
}

function dhcpd(family: "4" | "6", render: ServedFile["render"]): ServedFile {
  const account = ["-user", "root", "-group", "root"];
  return {
    name: `dhcpd -${family}`,
    render,
    check: (file) => ["dhcpd", `-${family}`, "-t", "-q", "-cf", file],
    serve: (file) => {
      writeFileSync(`${file}.leases`, "");
      const files = ["-cf", file, "-lf", `${file}.leases`, "-pf", `${file}.pid`];
      return ["dhcpd", `-${family}`, "-d", "-f", ...account, ...files, SERVER_INTERFACE];
    },
    ready: /Server starting service/,
  };
}

/** Its leases are where the file says, which is where the machine's own would be: it gets another place there. */
const KEA_HOME = 'mount -t tmpfs tmpfs /var/lib && mkdir /var/lib/kea && exec "$@"';

const kea = (family: "4" | "6", render: ServedFile["render"]): ServedFile => ({
  name: `kea-dhcp${family}`,
  render,
  check: (file) => [`kea-dhcp${family}`, "-t", file],
  serve: (file) => ["sh", "-c", KEA_HOME, "sh", `kea-dhcp${family}`, "-c", file],
  ready: new RegExp(`DHCP${family}_STARTED`),
});

const dnsmasq: ServedFile = {
  name: "dnsmasq",
  render: renderDnsmasq,
  check: (file) => ["dnsmasq", "--test", "-C", file],
  serve: (file) => {
    const files = [`--pid-file=${file}.pid`, `--dhcp-leasefile=${file}.leases`, "--log-facility=-"];
    return ["dnsmasq", "--keep-in-foreground", "-C", file, "--user=root", ...files];
  },
  ready: /DHCPv6, static leases only/,
};

const servers: readonly Server[] = [
  { name: "ISC dhcpd", files: [dhcpd("4", renderDhcpd4), dhcpd("6", renderDhcpd6)] },
  { name: "Kea", files: [kea("4", renderKea4), kea("6", renderKea6)] },
  { name: "dnsmasq", files: [dnsmasq] },
];

function onServer(): ReadonlyMap<string, InterfaceName> {
  const name = parseInterfaceName(SERVER_INTERFACE);
  if (name === undefined) throw new TypeError(SERVER_INTERFACE);
  return new Map([["", name]]);
}

const directory = mkdtempSync(join(tmpdir(), "vifguard-export-"));
afterAll(() => rmSync(directory, { recursive: true }));

describe("the servers' own checkers", () => {
  const files = servers.flatMap((server) => server.files);

  async function checked(file: ServedFile, text: string) {
    const path = join(directory, `${file.name.replaceAll(" ", "")}.conf`);
    writeFileSync(path, text);
    return exec(file.check(path), { timeoutMs: 60_000 });
  }

  test.each(files)("$name refuses a file that is broken (control)", async (file) => {
    const whole = file.render(servedLinks(bigSite(1), { networks: [], interfaces: new Map() }));
    const broken = whole.replace(/:0[0-9a-f]"?[;,]/, ":zz;");
    expect(broken).not.toBe(whole);
    expect((await checked(file, broken)).status).not.toBe(0);
  });

  test.each(files)("$name takes every network of the small site", async (file) => {
    const done = await checked(
      file,
      file.render(servedLinks(siteOf(smallSite), { networks: [], interfaces: new Map() })),
    );
    expect(done.status, done.stderr + done.stdout).toBe(0);
  });

  test.each(files.flatMap((file) => [1, 1000, 50_000].map((count) => ({ name: file.name, count, file }))))(
    "$name takes $count guests",
    async ({ file, count }) => {
      const done = await checked(
        file,
        file.render(servedLinks(bigSite(count), { networks: [], interfaces: new Map() })),
      );
      expect(done.status, done.stderr + done.stdout).toBe(0);
    },
    patience(90_000),
  );
});

const WEB1 = 0;
const ODD = 1;
const NAMED = 2;
const STRANGER = 3;
const macs = ["fe:00:cb:00:71:0a", "fe:00:c6:33:64:0a", "fe:00:cb:00:71:0b", "02:00:00:00:00:99"];
const addresses = ["203.0.113.2/24", "198.51.100.2/25", "2001:db8:66::2/64"];

/** The same words whichever client said them. */
function wordsOf(program: Client4, told: Told | undefined) {
  const of = (own: string, others: string): string | undefined => told?.[program === "udhcpc" ? own : `new_${others}`];
  return {
    address: of("ip", "ip_address"),
    mask: of("subnet", "subnet_mask"),
    router: of("router", "routers"),
    broadcast: of("broadcast", "broadcast_address"),
    dns: of("dns", "domain_name_servers"),
    ntp: of("ntpsrv", "ntp_servers"),
    domain: of("domain", "domain_name"),
    search: of("search", "domain_search")?.replaceAll(/\.(?= |$)/g, ""),
    mtu: of("mtu", "interface_mtu"),
    hostname: of("hostname", "host_name"),
    lease: of("lease", "dhcp_lease_time"),
    routes: program === "dhclient" ? told?.["new_classless_routes"] : of("staticroutes", "classless_static_routes"),
  };
}

const routes: Readonly<Record<Client4, string>> = {
  dhclient: "8 10 203 0 113 9 24 192 0 2 0 0 0 0 0 203 0 113 1",
  udhcpc: "10.0.0.0/8 203.0.113.9 192.0.2.0/24 0.0.0.0 0.0.0.0/0 203.0.113.1",
  dhcpcd: "10.0.0.0/8 203.0.113.9 192.0.2.0/24 0.0.0.0 0.0.0.0/0 203.0.113.1",
};

const web1 = (program: Client4) => ({
  address: "203.0.113.10",
  mask: "255.255.255.0",
  router: "203.0.113.1",
  broadcast: "203.0.113.255",
  dns: "203.0.113.2 203.0.113.3",
  ntp: "203.0.113.4",
  domain: "example.net",
  search: "example.net example.org",
  mtu: "1400",
  hostname: "web1",
  lease: "600",
  routes: routes[program],
});

describe.each(servers)("$name with the file that was exported", ({ name, files }) => {
  let wire: Wire;
  const stops: (() => Promise<void>)[] = [];
  beforeAll(async () => {
    wire = await raiseWire(`x${process.pid.toString(36)}${name.slice(0, 1)}`, addresses, macs);
    const links = servedLinks(siteOf(smallSite), { networks: ["lan0", "lan1"], interfaces: onServer() });
    for (const [n, file] of files.entries()) {
      const path = join(wire.directory, `served-${n}.conf`);
      writeFileSync(path, file.render(links));
      stops.push(await wire.serve(file.serve(path), file.ready));
    }
  });
  afterAll(async () => {
    for (const stop of stops) await stop();
    await wire?.down();
  });

  test.each(clients4)("%s gets its address and every word of its network", async (program) => {
    expect(wordsOf(program, await wire.ask4(WEB1, program))).toEqual(web1(program));
  });

  test("so do guests of another network on the same wire, and guests with names that look like something else", async () => {
    expect(wordsOf("udhcpc", await wire.ask4(ODD, "udhcpc"))).toMatchObject({
      address: "198.51.100.10",
      mask: "255.255.255.128",
      router: "198.51.100.1",
      broadcast: "198.51.100.127",
      lease: "1200",
      hostname: "10.0.0.5",
      dns: undefined,
      routes: undefined,
    });
    const named = { ...web1("udhcpc"), address: "203.0.113.11", hostname: "45m" };
    expect(wordsOf("udhcpc", await wire.ask4(NAMED, "udhcpc"))).toEqual(named);
  });

  test.each(clients6)("%s gets its IPv6 address and what there is to know besides", async (program) => {
    const told = await wire.ask6(WEB1, program);
    const address = told?.[program === "dhclient" ? "new_ip6_address" : "new_dhcp6_ia_na1_ia_addr1"];
    expect(address).toBe("2001:db8:66:0:fc00:cbff:fe00:710a");
    expect(told?.["new_dhcp6_name_servers"]).toBe("2001:db8:66::2");
    expect(told?.["new_dhcp6_domain_search"]?.replaceAll(/\.(?= |$)/g, "")).toBe("example.net example.org");
  });

  test("an address that is named, not made of the MAC, is given as it is named", async () => {
    expect((await wire.ask6(NAMED, "dhclient"))?.["new_ip6_address"]).toBe("2001:db8:66::d");
  });

  test("a machine that is no guest gets nothing; a guest that asks meanwhile does (control)", async () => {
    const [four, six] = await Promise.all([
      wire.ask4(STRANGER, "udhcpc", 3_000),
      wire.ask6(STRANGER, "dhclient", 3_000),
    ]);
    expect([four, six]).toEqual([undefined, undefined]);
    expect(wordsOf("udhcpc", await wire.ask4(WEB1, "udhcpc")).address).toBe("203.0.113.10");
    expect((await wire.ask6(WEB1, "dhclient"))?.["new_ip6_address"]).toBe("2001:db8:66:0:fc00:cbff:fe00:710a");
  });
});
