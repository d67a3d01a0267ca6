/** Labs of brouted guests: in the bridge of their host for what is sent to them, behind its routing for what they send. */
import { connect } from "../../src/api/client.ts";
import { attachGuest, startAgent } from "../../src/lab/guarded.ts";
import { type Lab, raiseLab } from "../../src/lab/raise.ts";
import type { LabAgent } from "../../src/lab/state.ts";
import { type GuestBox, globalOf, type HostBox, type LabOptions, llOf } from "../../src/lab/topology.ts";
import { BROUTED_GATEWAY6 } from "../../src/model/wiring.ts";
import { applyText, type SiteExtras, siteText } from "./guarded-lab.ts";
import type { RoutedLab } from "./routed-lab.ts";

/** By hand, as DHCP and the router advertisement would: the network's prefix and gateway, and of IPv6 the address alone. */
export async function addressBrouted(lab: Lab, guest: GuestBox): Promise<void> {
  const four = [
    `address replace ${guest.address}/24 dev eth0`,
    "link set eth0 up",
    `route replace default via ${lab.topology.gateway.address} dev eth0`,
  ];
  const six = [
    "address flush dev eth0",
    `address add ${llOf(guest)}/64 dev eth0 nodad`,
    `address add ${globalOf(guest)}/128 dev eth0 nodad`,
    `route replace default via ${BROUTED_GATEWAY6} dev eth0`,
  ];
  for (const [family, lines] of [
    ["-4", four],
    ["-6", six],
  ] as const)
    await lab.must(guest.box, ["ip", family, "-batch", "-"], { stdin: `${lines.join("\n")}\n` });
}

/** Nothing is left when it fails. Both hosts are told the same site; each has the ports of its own guests. */
export async function raiseBroutedLab(
  options: Pick<LabOptions, "name" | "guests" | "hosts">,
  extras: SiteExtras = {},
): Promise<RoutedLab> {
  const lab = await raiseLab({ ...options, nic: "veth", wiring: "brouted" });
  try {
    const agents = new Map<HostBox, LabAgent>();
    for (const { box } of lab.topology.hosts) {
      const agent = await startAgent(lab, [], box);
      agents.set(box, agent);
      await applyText({ client: connect(agent.socket) }, siteText(lab.topology, extras));
    }
    const agentAt = (host: HostBox): LabAgent => {
      const agent = agents.get(host);
      if (agent === undefined) throw new TypeError(`no agent at ${host}`);
      return agent;
    };
    const guests: GuestBox[] = [];
    for (const guest of lab.topology.guests) {
      const own = { ...guest, mac: await attachGuest(lab, agentAt(guest.on), guest) };
      await addressBrouted(lab, own);
      guests.push(own);
    }
    const agent = agentAt("host");
    return { lab, agent, client: connect(agent.socket), guests, agentAt };
  } catch (cause) {
    await lab.down();
    throw cause;
  }
}

/** No answer within a second: the control beside it shows that one comes in a hundredth of that. */
export async function isSilent(lab: Lab, box: string, address: string): Promise<boolean> {
  const argv = ["ping", "-n", "-c", "3", "-i", "0.2", "-w", "1", address];
  return !(await lab.exec(box, argv)).stdout.includes("bytes from");
}
