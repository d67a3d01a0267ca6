/** Labs whose hosts route: no bridge, guests behind the guard of one host or of two, addressed as the network gives it. */
import { type Client, connect } from "../../src/api/client.ts";
import { attachGuest, startAgent } from "../../src/lab/guarded.ts";
import { addressGuest6, type Lab, raiseLab } from "../../src/lab/raise.ts";
import type { LabAgent } from "../../src/lab/state.ts";
import { type GuestBox, globalOf, type HostBox, type LabOptions, llOf, type Topology } from "../../src/lab/topology.ts";
import { link4At } from "../../src/model/transport.ts";
import { PORT_GATEWAY4, PORT_GATEWAY6 } from "../../src/model/wiring.ts";
import { applyText, type SiteExtras, siteText } from "./guarded-lab.ts";

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
