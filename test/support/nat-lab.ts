/** Labs whose hosts translate: guests with private addresses, public ones on the LAN, on one host or on two. */
import type { Box, GuestBox, LabOptions, Topology } from "../../src/lab/topology.ts";
import { addressRouted, type RoutedLab, raiseHosts } from "./routed-lab.ts";

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

export function raiseNatLab(
  options: Pick<LabOptions, "name" | "guests" | "hosts">,
  extras: (topology: Topology) => NatExtras = () => ({}),
): Promise<RoutedLab> {
  return raiseHosts(
    { ...options, wiring: "nat" },
    {
      text: (topology) => natSite(topology, extras(topology)),
      address: (lab, guest) => addressRouted(lab, guest, extras(lab.topology).gives ?? "address"),
    },
  );
}
