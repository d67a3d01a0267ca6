/** Labs whose guests get their addresses from somebody else's DHCP server on the LAN. */
import { type Client, connect } from "../../src/api/client.ts";
import { attachGuest, startAgent, wiringLines } from "../../src/lab/guarded.ts";
import { type Lab, raiseLab } from "../../src/lab/raise.ts";
import type { LabAgent } from "../../src/lab/state.ts";
import { type GuestBox, globalOf, type LabOptions, llOf, type Topology } from "../../src/lab/topology.ts";
import { applyText } from "./guarded-lab.ts";

export interface LearnedLab {
  readonly lab: Lab;
  readonly agent: LabAgent;
  readonly client: Client;
  readonly guests: readonly GuestBox[];
}

/** How the network finds its servers, which are where the lab's neighbour is. */
export function addressingText({ neighbour }: Topology, kind: "relay" | "snoop"): string {
  return kind === "relay"
    ? `{ kind: relay, servers: [${neighbour.address}], servers6: ["${globalOf(neighbour)}"] }`
    : `{ kind: snoop, servers: [{ address: ${neighbour.address}, mac: "${neighbour.mac}" }], servers6: ["${llOf(neighbour)}"] }`;
}

export function learnedSite(topology: Topology, addressing: string): string {
  const { prefix4, prefix6, gateway, guests } = topology;
  const network = [
    "kind: network",
    "name: lan0",
    "spec:",
    `  prefix4: ${prefix4}`,
    `  gateway4: ${gateway.address}`,
    "  range4: [203.0.113.40-203.0.113.99]",
    `  prefix6: ${prefix6}`,
    ...wiringLines(topology, "prefix"),
    `  addressing: ${addressing}`,
    "  groups: [open]",
    "---",
    "kind: group",
    "name: open",
    "spec: { ingress: [{ protocol: any, from: any }] }",
  ];
  const declared = guests.flatMap(({ box, mac }) => [
    "---",
    "kind: guest",
    `name: ${box}`,
    `spec: { nics: [{ network: lan0, mac: "${mac}" }] }`,
  ]);
  return `${[...network, ...declared].join("\n")}\n`;
}

/** Nothing is left when it fails. */
export async function raiseLearnedLab(
  options: Pick<LabOptions, "name" | "guests" | "wiring">,
  kind: "relay" | "snoop",
  addressing?: string,
): Promise<LearnedLab> {
  const lab = await raiseLab({ ...options, nic: "veth" });
  try {
    const agent = await startAgent(lab);
    const client = connect(agent.socket);
    await applyText({ client }, learnedSite(lab.topology, addressing ?? addressingText(lab.topology, kind)));
    const guests: GuestBox[] = [];
    for (const guest of lab.topology.guests) guests.push({ ...guest, mac: await attachGuest(lab, agent, guest) });
    return { lab, agent, client, guests };
  } catch (cause) {
    await lab.down();
    throw cause;
  }
}
