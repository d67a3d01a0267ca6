/** Labs of brouted guests: in the bridge of their host for what is sent to them, behind its routing for what they send. */
import type { Lab } from "../../src/lab/raise.ts";
import { type GuestBox, globalOf, type LabOptions, llOf, type Topology } from "../../src/lab/topology.ts";
import { BROUTED_GATEWAY6 } from "../../src/model/wiring.ts";
import { type SiteExtras, siteText } from "./guarded-lab.ts";
import { type RoutedLab, raiseHosts } from "./routed-lab.ts";

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

export function raiseBroutedLab(
  options: Pick<LabOptions, "name" | "guests" | "hosts">,
  extras: SiteExtras = {},
): Promise<RoutedLab> {
  const site = { text: (topology: Topology) => siteText(topology, extras), address: addressBrouted };
  return raiseHosts({ ...options, wiring: "brouted" }, site);
}
