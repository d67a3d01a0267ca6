/** Labs whose hosts translate: guests with private addresses, public ones on the LAN, on one host or on two. */
import { connect } from "../../src/api/client.ts";
import { attachGuest, startAgent } from "../../src/lab/guarded.ts";
import { raiseLab } from "../../src/lab/raise.ts";
import type { LabAgent } from "../../src/lab/state.ts";
import type { Box, GuestBox, HostBox, LabOptions, Topology } from "../../src/lab/topology.ts";
import { applyText } from "./guarded-lab.ts";
import { addressRouted, type RoutedLab } from "./routed-lab.ts";

export interface NatExtras {
  readonly gives?: "address" | "prefix";
  /** As in the site file; nothing leaves without a public address when left out. */
  readonly masquerade?: string;
  readonly network?: readonly string[];
  /** In place of the one group that lets everything in. */
  readonly groups?: readonly string[];
  /** By guest, fields of its NIC in flow style; without any it has its own public address. */
  readonly nics?: Readonly<Partial<Record<Box, string>>>;
}

/** By which the LAN knows the guest, when it has it. @throws TypeError */
export function publicOf({ box, public4 }: GuestBox): string {
  if (public4 === undefined) throw new TypeError(`${box} has no public address`);
  return public4;
}

export function natSite({ guests4, prefix6, guests }: Topology, extras: NatExtras = {}): string {
  const { gives = "address", masquerade = "false" } = extras;
  const network = [
    "kind: network",
    "name: inside",
    "spec:",
    `  prefix4: ${guests4.prefix4}`,
    `  gateway4: ${guests4.gateway4}`,
    `  prefix6: ${prefix6}`,
    `  wiring: { kind: nat, uplink: eth0, gives: ${gives}, masquerade: ${masquerade} }`,
    "  addressing: { kind: managed, macScheme: ip }",
    ...(extras.groups === undefined ? ["  groups: [open]"] : []),
    ...(extras.network ?? []).map((line) => `  ${line}`),
    ...(extras.groups ?? ["kind: group\nname: open\nspec: { ingress: [{ protocol: any, from: any }] }"]).flatMap(
      (text) => ["---", text],
    ),
  ];
  const declared = guests.flatMap((guest) => {
    const more = extras.nics?.[guest.box] ?? `public4: ${publicOf(guest)}`;
    const nic = `network: inside, address4: ${guest.address}${more === "" ? "" : `, ${more}`}`;
    return ["---", "kind: guest", `name: ${guest.box}`, `spec: { nics: [{ ${nic} }] }`];
  });
  return `${[...network, ...declared].join("\n")}\n`;
}

/** Nothing is left when it fails. Both hosts are told the same site. */
export async function raiseNatLab(
  options: Pick<LabOptions, "name" | "guests" | "hosts">,
  extras: (topology: Topology) => NatExtras = () => ({}),
): Promise<RoutedLab> {
  const lab = await raiseLab({ ...options, nic: "veth", wiring: "nat" });
  try {
    const own = extras(lab.topology);
    const agents = new Map<HostBox, LabAgent>();
    for (const { box } of lab.topology.hosts) {
      const agent = await startAgent(lab, [], box);
      agents.set(box, agent);
      await applyText({ client: connect(agent.socket) }, natSite(lab.topology, own));
    }
    const agentAt = (host: HostBox): LabAgent => {
      const agent = agents.get(host);
      if (agent === undefined) throw new TypeError(`no agent at ${host}`);
      return agent;
    };
    const guests: GuestBox[] = [];
    for (const guest of lab.topology.guests) {
      const attached = { ...guest, mac: await attachGuest(lab, agentAt(guest.on), guest) };
      await addressRouted(lab, attached, own.gives ?? "address");
      guests.push(attached);
    }
    const agent = agentAt("host");
    return { lab, agent, client: connect(agent.socket), guests, agentAt };
  } catch (cause) {
    await lab.down();
    throw cause;
  }
}
