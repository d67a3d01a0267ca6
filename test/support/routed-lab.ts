/** Labs whose hosts route: no bridge, guests behind the guard of one host or of two, addressed as the network gives it. */
import { expect } from "vitest";
import { type Client, connect } from "../../src/api/client.ts";
import { inNamespace } from "../../src/kernel/netns.ts";
import { openSysctls } from "../../src/kernel/sysctls.ts";
import { attachGuest, countsOf, startAgent } from "../../src/lab/guarded.ts";
import { addressGuest6, type Lab, raiseLab } from "../../src/lab/raise.ts";
import type { LabAgent } from "../../src/lab/state.ts";
import { type GuestBox, globalOf, type HostBox, type LabOptions, llOf, type Topology } from "../../src/lab/topology.ts";
import { type Bench, openBench } from "../../src/lab/trial.ts";
import { parseInterfaceName } from "../../src/model/names.ts";
import { settingNames, settingTable } from "../../src/model/settings.ts";
import { link4At } from "../../src/model/transport.ts";
import { PORT_GATEWAY4, PORT_GATEWAY6 } from "../../src/model/wiring.ts";
import { applyText, guestAt, type SiteExtras, siteText } from "./guarded-lab.ts";

export interface RoutedLab {
  readonly lab: Lab;
  /** Of `host`. */
  readonly agent: LabAgent;
  readonly client: Client;
  readonly guests: readonly GuestBox[];
  agentAt(host: HostBox): LabAgent;
}

/** By hand, as DHCP would: its address alone and the port's gateway, or the network's prefix and gateway. */
export async function addressRouted(lab: Lab, guest: GuestBox, gives: "address" | "prefix"): Promise<void> {
  const { gateway4 } = lab.topology.guests4;
  const lines =
    gives === "address"
      ? [
          `address replace ${guest.address}/32 dev eth0`,
          "link set eth0 up",
          `route replace ${PORT_GATEWAY4} dev eth0 scope link`,
          `route replace default via ${PORT_GATEWAY4} dev eth0`,
        ]
      : [
          `address replace ${guest.address}/24 dev eth0`,
          "link set eth0 up",
          `route replace default via ${gateway4} dev eth0`,
        ];
  await lab.must(guest.box, ["ip", "-4", "-batch", "-"], { stdin: `${lines.join("\n")}\n` });
  if (gives === "prefix") return addressGuest6(lab, guest);
  const six = [
    "address flush dev eth0",
    `address add ${llOf(guest)}/64 dev eth0 nodad`,
    `address add ${globalOf(guest)}/128 dev eth0 nodad`,
    `route replace default via ${PORT_GATEWAY6} dev eth0`,
  ];
  await lab.must(guest.box, ["ip", "-6", "-batch", "-"], { stdin: `${six.join("\n")}\n` });
}

/** By hand, as DHCP would: the right-hand end of its link, and the left-hand one as its gateway. */
async function addressLink(lab: Lab, guest: GuestBox): Promise<void> {
  const four = [
    `address replace ${guest.address}/31 dev eth0`,
    "link set eth0 up",
    `route replace default via ${link4At(guest.address, 31).left} dev eth0`,
  ];
  await lab.must(guest.box, ["ip", "-4", "-batch", "-"], { stdin: `${four.join("\n")}\n` });
  const six = [
    "address flush dev eth0",
    `address add ${llOf(guest)}/64 dev eth0 nodad`,
    `address add ${globalOf(guest)}/127 dev eth0 nodad`,
    `route replace default via ${PORT_GATEWAY6} dev eth0`,
  ];
  await lab.must(guest.box, ["ip", "-6", "-batch", "-"], { stdin: `${six.join("\n")}\n` });
}

/** As the lab's wiring has it. */
export function addressGuest(lab: Lab, guest: GuestBox, gives: "address" | "prefix" = "address"): Promise<void> {
  return lab.topology.wiring === "transport" ? addressLink(lab, guest) : addressRouted(lab, guest, gives);
}

/** What the hosts are told, and how a guest is addressed. */
export interface HostedSite {
  readonly text: (topology: Topology) => string;
  readonly address: (lab: Lab, guest: GuestBox) => Promise<void>;
}

/** Nothing is left when it fails. All hosts are told the same site; each has the ports of its own guests. */
export async function raiseHosts(
  options: Pick<LabOptions, "name" | "guests" | "hosts" | "wiring">,
  { text, address }: HostedSite,
): Promise<RoutedLab> {
  const lab = await raiseLab({ ...options, nic: "veth" });
  try {
    const agents = new Map<HostBox, LabAgent>();
    for (const { box } of lab.topology.hosts) {
      const agent = await startAgent(lab, [], box);
      agents.set(box, agent);
      await applyText({ client: connect(agent.socket) }, text(lab.topology));
    }
    const agentAt = (host: HostBox): LabAgent => {
      const agent = agents.get(host);
      if (agent === undefined) throw new TypeError(`no agent at ${host}`);
      return agent;
    };
    const guests: GuestBox[] = [];
    for (const guest of lab.topology.guests) {
      const own = { ...guest, mac: await attachGuest(lab, agentAt(guest.on), guest) };
      await address(lab, own);
      guests.push(own);
    }
    const agent = agentAt("host");
    return { lab, agent, client: connect(agent.socket), guests, agentAt };
  } catch (cause) {
    await lab.down();
    throw cause;
  }
}

export function raiseRoutedLab(
  options: Pick<LabOptions, "name" | "guests" | "hosts"> & { readonly wiring?: "routed" | "transport" },
  extras: SiteExtras = {},
): Promise<RoutedLab> {
  return raiseHosts(
    { wiring: "routed", ...options },
    {
      text: (topology) => siteText(topology, extras),
      address: (lab, guest) => addressGuest(lab, guest, extras.gives),
    },
  );
}

/** Settings of a device of the host, by name. */
export function settingsOf(lab: Lab, device: string): Record<string, number | undefined> {
  const name = parseInterfaceName(device);
  if (name === undefined) throw new TypeError(device);
  return inNamespace(lab.netns("host"), () => {
    const sysctls = openSysctls();
    return Object.fromEntries(settingNames.map((setting) => [setting, sysctls.read(settingTable[setting].path(name))]));
  });
}

/** What the host knows for routing, of whoever put it there: the lines that are kept of it, in order. */
export async function routingOn(lab: Lab, keep: (line: string) => boolean): Promise<string> {
  const show =
    "ip route show proto 118; ip -6 route show proto 118; ip neigh show proxy; ip -6 neigh show proxy; ip neigh show; ip -6 neigh show; ip -o address show";
  const shown = await lab.must("host", ["sh", "-c", show]);
  return shown.split("\n").filter(keep).sort().join("\n");
}

/** A network of the host, 198.51.100.0/24, that is not the guests': the gateway's end has an interface there and no address. */
export async function addForeignNetwork(lab: Lab): Promise<void> {
  const onHost = (...argv: string[]): Promise<string> => lab.must("host", argv);
  await onHost("ip", "link", "add", "mgmt0", "type", "veth", "peer", "name", "mgmt1", "netns", lab.netns("gw"));
  await onHost("ip", "address", "add", "198.51.100.1/24", "dev", "mgmt0");
  await onHost("ip", "link", "set", "mgmt0", "up");
}

/** Lies of the first guest, with the second as their victim, on a host that has another network besides. */
export async function openLies({ lab, agent, guests }: RoutedLab, waitMs?: number): Promise<Bench> {
  const [self, victim] = [guestAt(guests, 0), guestAt(guests, 1)];
  await addForeignNetwork(lab);
  const counts = (): ReturnType<typeof countsOf> => countsOf(agent, self.port);
  return openBench(lab, {
    from: self.box,
    parties: { self, victim },
    counts,
    ...(waitMs === undefined ? {} : { waitMs }),
  });
}

/** The host knows its guests where they are for good, and on the first one's port nobody else. */
export async function expectKnownGuests({ lab, guests }: RoutedLab): Promise<void> {
  const known = await lab.must("host", ["ip", "neigh", "show"]);
  for (const { address, mac, port } of guests)
    expect(known).toContain(`${address} dev ${port} lladdr ${mac} PERMANENT`);
  const here = await lab.must("host", ["ip", "neigh", "show", "dev", guestAt(guests, 0).port]);
  const lines = here.trim().split("\n");
  expect(lines.length, here).toBe(3);
  for (const line of lines) expect(line).toContain("PERMANENT");
}
