/**
 * A LAN of two hosts that route and two routers, each with a machine beyond it: the lab's gateway speaks by BIRD, its neighbour by FRR, so that both are tried
 * at once. One guest has a NIC at either host, and addresses that no router finds without being told.
 */
import { chownSync, existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Client, connect } from "../../src/api/client.ts";
import { announcedSite } from "../../src/export/announced.ts";
import { renderBird } from "../../src/export/bird.ts";
import { renderFrr } from "../../src/export/frr.ts";
import { plainWord } from "../../src/export/site.ts";
import type { RoutingProtocol, Speaker, SpeakerSide } from "../../src/export/speaker.ts";
import { must, type Running } from "../../src/lab/exec.ts";
import { startAgent } from "../../src/lab/guarded.ts";
import { type Lab, raiseLab } from "../../src/lab/raise.ts";
import type { LabAgent } from "../../src/lab/state.ts";
import { type GuestBox, globalOf, type HostBox, llOf } from "../../src/lab/topology.ts";
import { parseInterfaceName } from "../../src/model/names.ts";
import { PORT_GATEWAY4, PORT_GATEWAY6 } from "../../src/model/wiring.ts";
import { siteOf } from "./export-site.ts";
import { applyText, eventually, guestAt, siteText } from "./guarded-lab.ts";

export const daemons = ["bird", "frr"] as const;
export type Daemon = (typeof daemons)[number];
export type SpeakingBox = HostBox | "gw" | "neighbour";

/** Which box is the router of a daemon, and who is beyond it. */
export const routerOf: Readonly<Record<Daemon, "gw" | "neighbour">> = { bird: "gw", frr: "neighbour" };
export const beyond = {
  bird: { box: "guest4", net4: "198.51.100", net6: "2001:db8:98:" },
  frr: { box: "guest5", net4: "198.18.0", net6: "2001:db8:99:" },
} as const;

/** Of the guest: single addresses, and what is behind it. */
export function announcedOf(guest: GuestBox, daemon: Daemon, protocol: RoutingProtocol): readonly string[] {
  const behind = ["192.0.2.16/28", "2001:db8:78::/64"];
  // There FRR names the guest as the way, which the router knows only by what it is told of the guest itself.
  const told = daemon === "frr" && protocol === "ospf" ? behind.slice(1) : behind;
  return [guest.address, "192.0.2.77", globalOf(guest), "2001:db8:77::77", ...told];
}

export interface AnnouncingLab {
  readonly lab: Lab;
  readonly guest: GuestBox;
  readonly site: string;
  agentAt(host: HostBox): LabAgent;
  clientAt(host: HostBox): Client;
  /** Attaches the guest's NIC at this host, and gives it its addresses there. */
  plug(host: HostBox): Promise<void>;
  unplug(host: HostBox): Promise<void>;
  /** The addresses by which a router's table names the host, of the route to exactly this; undefined without one. */
  viaOf(router: string, prefix: string): Promise<readonly string[] | undefined>;
  /** Until every route of the guest leads to that host, or to none; milliseconds. @throws Error with the tables */
  settled(daemon: Daemon, protocol: RoutingProtocol, host: HostBox | undefined): Promise<number>;
  down(): Promise<void>;
}

const ports: Readonly<Record<HostBox, { readonly port: string; readonly device: string }>> = {
  host: { port: "vif1.0", device: "eth0" },
  host2: { port: "vif9.0", device: "eth1" },
  host3: { port: "vif10.0", device: "eth2" },
};

async function batch(lab: Lab, box: string, lines: readonly string[]): Promise<void> {
  await lab.must(box, ["ip", "-batch", "-"], { stdin: `${lines.join("\n")}\n` });
}

async function buildBeyond(lab: Lab): Promise<void> {
  for (const daemon of ["bird", "frr"] as const) {
    const [router, { box, net4, net6 }] = [routerOf[daemon], beyond[daemon]];
    await lab.must(router, ["sysctl", "-qw", "net.ipv4.ip_forward=1", "net.ipv6.conf.all.forwarding=1"]);
    await batch(lab, router, [
      `link add far0 type veth peer name far1 netns ${lab.netns(box)}`,
      `address add ${net4}.1/24 dev far0`,
      `address add ${net6}:1/64 dev far0 nodad`,
      "link set far0 up",
    ]);
    await batch(
      lab,
      box,
      [
        `address add ${net4}.2/24 dev far1`,
        `address add ${net6}:2/64 dev far1 nodad`,
        "link set far1 up",
        `route add default via ${net4}.1`,
        `-6 route add default via ${net6}:1`,
      ].filter((line) => !line.startsWith("-6")),
    );
    await lab.must(box, ["ip", "-6", "route", "add", "default", "via", `${net6}:1`]);
  }
  const { neighbour, hosts } = lab.topology;
  for (const { box } of hosts) {
    await lab.must(box, ["ip", "route", "add", `${beyond.frr.net4}.0/24`, "via", neighbour.address]);
    await lab.must(box, ["ip", "-6", "route", "add", `${beyond.frr.net6}:/64`, "via", globalOf(neighbour)]);
  }
}

function addressLines(guest: GuestBox, device: string): readonly string[] {
  return [
    `address replace ${guest.address}/32 dev ${device}`,
    `address replace 192.0.2.77/32 dev ${device}`,
    `address replace 192.0.2.17/32 dev ${device}`,
    `address replace ${llOf(guest)}/64 dev ${device} nodad`,
    `address replace ${globalOf(guest)}/128 dev ${device} nodad`,
    `address replace 2001:db8:77::77/128 dev ${device} nodad`,
    `address replace 2001:db8:78::1/128 dev ${device} nodad`,
    `route replace ${PORT_GATEWAY4} dev ${device} scope link`,
    `route replace default via ${PORT_GATEWAY4} dev ${device}`,
  ];
}

/** Nothing is left when it fails. */
export async function raiseAnnouncingLab(name: string): Promise<AnnouncingLab> {
  const lab = await raiseLab({ name, guests: 5, hosts: 2, nic: "veth", wiring: "routed" });
  try {
    return await announcing(lab);
  } catch (cause) {
    await lab.down();
    throw cause;
  }
}

async function announcing(lab: Lab): Promise<AnnouncingLab> {
  const guest = guestAt(lab.topology.guests, 0);
  const site = siteText(lab.topology, {
    nics: { guest1: 'addresses: [192.0.2.77, 192.0.2.16/28, "2001:db8:77::77", "2001:db8:78::/64"]' },
  });
  await buildBeyond(lab);
  await lab.must("host2", [
    "ip",
    "link",
    "add",
    "vif9.0",
    "type",
    "veth",
    "peer",
    "name",
    "eth1",
    "netns",
    lab.netns(guest.box),
  ]);
  const agents = new Map<HostBox, LabAgent>();
  await Promise.all(
    lab.topology.hosts.map(async ({ box }) => {
      const agent = await startAgent(lab, [], box);
      agents.set(box, agent);
      await applyText({ client: connect(agent.socket) }, site);
    }),
  );
  const agentAt = (host: HostBox): LabAgent => {
    const agent = agents.get(host);
    if (agent === undefined) throw new TypeError(host);
    return agent;
  };
  const clientAt = (host: HostBox): Client => connect(agentAt(host).socket);

  async function plug(host: HostBox): Promise<void> {
    const { port, device } = ports[host];
    const { mac } = await clientAt(host).attach({ port, guest: guest.box });
    await batch(lab, guest.box, [
      `link set ${device} address ${mac}`,
      `link set ${device} up`,
      ...addressLines(guest, device),
    ]);
    await lab.must(guest.box, ["ip", "-6", "route", "replace", "default", "via", PORT_GATEWAY6, "dev", device]);
  }

  async function unplug(host: HostBox): Promise<void> {
    const { port, device } = ports[host];
    await clientAt(host).detach(port);
    await batch(lab, guest.box, [`link set ${device} down`, `address flush dev ${device}`]);
  }

  async function viaOf(router: string, prefix: string): Promise<readonly string[] | undefined> {
    const family = prefix.includes(":") ? "-6" : "-4";
    const shown = await lab.must(router, ["ip", family, "route", "show", "exact", prefix]);
    return shown.trim() === "" ? undefined : [...shown.matchAll(/via (\S+)/g)].map(([, via = ""]) => via);
  }

  const namesOf = (host: HostBox): readonly string[] => {
    const own = lab.topology.hosts.find(({ box }) => box === host);
    return own === undefined ? [] : [own.address, own.address6, llOf(own)];
  };

  async function settled(daemon: Daemon, protocol: RoutingProtocol, host: HostBox | undefined): Promise<number> {
    const begun = performance.now();
    const names = host === undefined ? [] : namesOf(host);
    const tables = (): Promise<readonly (readonly string[] | undefined)[]> =>
      Promise.all(announcedOf(guest, daemon, protocol).map((prefix) => viaOf(routerOf[daemon], prefix)));
    const isThere = async (): Promise<boolean> =>
      (await tables()).every((via) =>
        host === undefined ? via === undefined : via !== undefined && via.length === 1 && names.includes(via[0] ?? ""),
      );
    if (!(await eventually(isThere, 30_000)))
      throw new Error(`${daemon}: routes do not lead to ${host}: ${JSON.stringify(await tables())}`);
    return performance.now() - begun;
  }

  return { lab, guest, site, agentAt, clientAt, plug, unplug, viaOf, settled, down: () => lab.down() };
}

const own = (text: string) => {
  const name = parseInterfaceName(text);
  if (name === undefined) throw new TypeError(text);
  return name;
};

const secret = plainWord("hosts-and-routers", "the word");

export interface SpeakerWish {
  readonly protocol: RoutingProtocol;
  readonly exact?: boolean;
  /** What a test has its routers say besides. */
  readonly offering?: (text: string) => string;
}

/** The text that is exported for this box. */
export function speakerText(
  { lab, site }: Pick<AnnouncingLab, "lab" | "site">,
  daemon: Daemon,
  box: SpeakingBox,
  wish: SpeakerWish,
): string {
  const { topology } = lab;
  const { protocol, exact = false } = wish;
  const side: SpeakerSide = box === "host" || box === "host2" ? "host" : "router";
  const router = routerOf[daemon] === "gw" ? topology.gateway : topology.neighbour;
  const self = [...topology.hosts, { ...router, box: routerOf[daemon] }].find((one) => one.box === box);
  const peers =
    side === "host"
      ? [router.address, globalOf(router)]
      : topology.hosts.flatMap(({ address, address6 }) => [address, address6]);
  const [as, peerAs] = side === "host" ? [65001, 65000] : [65000, 65001];
  const speaker: Speaker = {
    side,
    protocol,
    announced: announcedSite(siteOf(site), { networks: [], exact }),
    interfaces: [own("eth0")],
    hello: protocol === "rip" ? 5 : 1,
    limit: 1000,
    ...(self === undefined ? {} : { routerId: self.address }),
    ...(protocol === "bgp" ? { bgp: { as, peerAs, addresses: peers, ttlSecurity: true, secret } } : {}),
  };
  return daemon === "bird" ? renderBird(speaker) : renderFrr(speaker);
}

export interface RunningSpeaker {
  /** Takes another configuration, as an operator would have it taken. */
  reload(text: string): Promise<void>;
  /** What its own command line answers. */
  ask(...words: readonly string[]): Promise<string>;
  stop(): Promise<void>;
}

/** A daemon in a box, from a file. */
export async function startBird(lab: Lab, box: string, text: string): Promise<RunningSpeaker> {
  const at = (end: string): string => `${lab.directory}/${box}.${end}`;
  await writeFile(at("bird.conf"), text);
  const files = ["-c", at("bird.conf"), "-s", at("bird.ctl"), "-P", at("bird.pid")];
  const running = await lab.start(box, ["bird", "-f", ...files], `${box}.bird.log`);
  const ask = (...words: readonly string[]): Promise<string> => must(["birdc", "-s", at("bird.ctl"), ...words]);
  return {
    ask,
    reload: async (next) => {
      await writeFile(at("bird.conf"), next);
      await ask("configure");
    },
    stop: async () => void (await running.stop()),
  };
}

const FRR = "/usr/lib/frr";
const frrDaemons: Readonly<Record<RoutingProtocol, readonly string[]>> = {
  bgp: ["bgpd"],
  ospf: ["ospfd", "ospf6d"],
  rip: ["ripd", "ripngd"],
};

async function idsOf(account: string): Promise<readonly [number, number]> {
  const [uid, gid] = await Promise.all(["-u", "-g"].map((flag) => must(["id", flag, account])));
  return [Number(uid), Number(gid)];
}

async function present(socket: string): Promise<void> {
  if (!(await eventually(async () => existsSync(socket)))) throw new Error(`${socket} does not appear`);
}

/** zebra and the daemons of the protocol; they run as their own account, which the lab's directory keeps out. Nothing is left when it fails. */
async function startFrr(lab: Lab, box: string, protocol: RoutingProtocol, text: string): Promise<RunningSpeaker> {
  const directory = mkdtempSync(join(tmpdir(), "vifguard-frr-"));
  const at = (name: string): string => join(directory, name);
  const started: Running[] = [];
  const stop = async (): Promise<void> => {
    await Promise.all(started.map((one) => one.stop()));
    rmSync(directory, { recursive: true, force: true });
  };
  const launch = async (daemon: string): Promise<void> => {
    const account = ["-u", "frr", "-g", "frr", "--vty_socket", directory];
    const files = ["-z", at("zserv"), "-i", at(`${daemon}.pid`), "-f", at("empty.conf")];
    started.push(await lab.start(box, [`${FRR}/${daemon}`, ...account, ...files], `${box}.${daemon}.log`));
  };
  const vtysh = (...words: readonly string[]): Promise<string> => must(["vtysh", "--vty_socket", directory, ...words]);
  const reload = async (next: string): Promise<void> => {
    writeFileSync(at("frr.conf"), next);
    await vtysh("-f", at("frr.conf"));
  };
  try {
    chownSync(directory, ...(await idsOf("frr")));
    writeFileSync(at("empty.conf"), "");
    await launch("zebra");
    await present(at("zserv"));
    await Promise.all(frrDaemons[protocol].map(launch));
    for (const name of ["zebra", ...frrDaemons[protocol]]) await present(at(`${name}.vty`));
    await reload(text);
  } catch (cause) {
    await stop();
    throw cause;
  }
  return { reload, stop, ask: (...words) => vtysh(...words.flatMap((word) => ["-c", word])) };
}

/** Of a guest that would be a router: everything BIRD can say, to the groups, to the routers and to the host. */
export function guestSpeakerText({ topology }: Lab, guest: GuestBox): string {
  const { gateway, neighbour, hosts } = topology;
  const peers = [gateway, neighbour, ...hosts].map(
    ({ address }, n) =>
      `protocol bgp peer${n} { local ${guest.address} as 65001; neighbor ${address} as 65000; multihop; connect delay time 1; connect retry time 1; error wait time 1, 1; ipv4 { import all; export all; }; }`,
  );
  const link = (words: string): string => `interface "eth0" { ${words} };`;
  return [
    `router id ${guest.address};`,
    "protocol device { scan time 10; }",
    "protocol static lie4 { ipv4; route 198.51.99.0/24 blackhole; }",
    "protocol static lie6 { ipv6; route 2001:db8:bad::/48 blackhole; }",
    `protocol ospf v2 ospf4 { ipv4 { export all; }; area 0 { ${link("hello 1; dead count 4;")} }; }`,
    `protocol ospf v3 ospf6 { ipv6 { export all; }; area 0 { ${link("hello 1; dead count 4;")} }; }`,
    `protocol rip rip4 { ipv4 { export all; }; ${link("version 2; update time 1;")} }`,
    `protocol rip ng rip6 { ipv6 { export all; }; ${link("update time 1;")} }`,
    ...peers,
  ].join("\n");
}

/** The daemon in every box that speaks it. */
export async function startSpeakers(
  announcing: Pick<AnnouncingLab, "lab" | "site">,
  daemon: Daemon,
  wish: SpeakerWish,
): Promise<ReadonlyMap<SpeakingBox, RunningSpeaker>> {
  const { lab } = announcing;
  const start = async (box: SpeakingBox): Promise<readonly [SpeakingBox, RunningSpeaker]> => {
    const exported = speakerText(announcing, daemon, box, wish);
    const text = box === routerOf[daemon] && wish.offering !== undefined ? wish.offering(exported) : exported;
    return [box, await (daemon === "bird" ? startBird(lab, box, text) : startFrr(lab, box, wish.protocol, text))];
  };
  return new Map(await Promise.all((["host", "host2", routerOf[daemon]] as const).map(start)));
}
