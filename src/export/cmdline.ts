/** What a guest without DHCP is told on its kernel command line: the kernel's own `ip=`, and the words the shipped guest script reads. */
import { isLearned } from "../model/addressing.ts";
import { GuardError } from "../model/errors.ts";
import { netmask4, prefix4Bounds } from "../model/ipv4.ts";
import { type Ipv6Address, prefix6Bounds } from "../model/ipv6.ts";
import { type InterfaceName, parseInterfaceName } from "../model/names.ts";
import { unreachable } from "../model/never.ts";
import type { Guest, NetworkSpec } from "../model/resources.ts";
import { LINK6_LENGTH, linkLength, subnetOf } from "../model/transport.ts";
import { BROUTED_GATEWAY6, isRouted, PORT_GATEWAY6 } from "../model/wiring.ts";
import { address6Of, nicsOf, type SiteNic } from "../plan/sources.ts";
import { type ExportedSite, notExportable, plainWord } from "./site.ts";

export const bootKinds = ["kernel", "xen", "qemu"] as const;
/** `kernel`: the bare words. `xen`: a line of an xl domain configuration. `qemu`: an option in a shell. */
export type BootKind = (typeof bootKinds)[number];

/** COMMAND_LINE_SIZE of x86 and arm64, with the closing zero; the kernel cuts off what is longer without a word. */
const LONGEST_LINE = 2047;

export interface CmdlineWish {
  readonly guest: string;
  /** Only this NIC. */
  readonly nic?: number;
  /** Its name inside the guest; eth and its number without it. */
  readonly interface?: InterfaceName;
}

interface BootNic {
  readonly name: InterfaceName;
  readonly nic: SiteNic;
}

function nameOf(nic: number): InterfaceName {
  const name = parseInterfaceName(`eth${nic}`);
  if (name === undefined) throw new GuardError("INTERNAL", `NIC ${nic} has no name`);
  return name;
}

function bootNics(guest: Guest, { nic, interface: name }: CmdlineWish): readonly BootNic[] {
  const all = nicsOf(guest).map((found, n) => ({ name: nameOf(n), nic: found, n }));
  const chosen = nic === undefined ? all : all.filter(({ n }) => n === nic);
  if (chosen.length === 0)
    throw new GuardError("NOT_FOUND", `guest '${guest.name}' has no NIC ${nic}: it has ${all.length}`, {
      fields: { guest: guest.name, nic: nic ?? 0 },
    });
  if (name === undefined) return chosen;
  if (chosen.length > 1)
    throw new GuardError("USAGE", `guest '${guest.name}' has ${chosen.length} NICs: --interface needs --nic`);
  return chosen.map((one) => ({ ...one, name }));
}

/** Where the host routes, it is the router itself. */
function routerOf({ wiring, gateway6 }: NetworkSpec): Ipv6Address | undefined {
  if (wiring.kind === "bridged") return gateway6;
  return wiring.kind === "brouted" ? BROUTED_GATEWAY6 : PORT_GATEWAY6;
}

/** `address/length,gateway` for each family; IPv6 without a gateway where the router is unknown. */
function ownWords(site: ExportedSite, { name, nic }: BootNic): readonly string[] {
  const network = site.networks.get(nic.identity.network);
  const [address] = nic.identity.addresses4;
  if (network === undefined || address === undefined) return [];
  const { prefix6, wiring } = network;
  const gateway6 = routerOf(network);
  const { prefix, gateway } = subnetOf(network, address);
  const words = [`vifguard.${name}=${address}/${prefix4Bounds(prefix).length},${gateway}`];
  const address6 = address6Of(nic, network);
  if (prefix6 === undefined || address6 === undefined) return words;
  const router = gateway6 === undefined ? "" : `,${gateway6}`;
  const length6 = linkLength(wiring) === undefined ? prefix6Bounds(prefix6).length : LINK6_LENGTH;
  return [...words, `vifguard.${name}=${address6}/${length6}${router}`];
}

/**
 * Documentation/admin-guide/nfs/nfsroot.rst: ip=client:server:gateway:netmask:hostname:device:autoconf:dns0:dns1:ntp0.
 * One NIC only and IPv4 only: the kernel knows no more.
 */
function kernelWord(site: ExportedSite, guest: Guest, { name, nic }: BootNic): readonly string[] {
  const network = site.networks.get(nic.identity.network);
  const [address] = nic.identity.addresses4;
  if (network === undefined || address === undefined) return [];
  const { addressing } = network;
  const { prefix, gateway } = subnetOf(network, address);
  const hostname = plainWord(guest.spec.hostname ?? guest.name, `host name of guest '${guest.name}'`);
  const { dns, ntp } = isLearned(addressing) ? { dns: [], ntp: [] } : addressing;
  const [dns0 = "", dns1 = ""] = dns;
  const [ntp0 = ""] = ntp;
  const fields = [address, "", gateway, netmask4(prefix), hostname, name, "off", dns0, dns1, ntp0];
  return [`ip=${fields.join(":").replace(/:+$/, "")}`];
}

/** The kernel takes only a gateway inside the prefix (ic_setup_routes). */
const isAlone = (network: NetworkSpec | undefined): boolean =>
  network !== undefined && isRouted(network.wiring) && network.wiring.gives === "address";

/** @throws NOT_FOUND, USAGE, NOT_EXPORTABLE */
export function cmdlineWords(site: ExportedSite, wish: CmdlineWish): readonly string[] {
  const guest = [...site.guests.values()].find(({ name }) => name === wish.guest);
  if (guest === undefined)
    throw new GuardError("NOT_FOUND", `guest '${wish.guest}' does not exist`, { fields: { guest: wish.guest } });
  const nics = bootNics(guest, wish);
  const learned = nics.find(({ nic }) => nic.identity.addresses6 !== undefined)?.nic.identity.network;
  if (learned !== undefined)
    throw notExportable(`addresses of network '${learned}' are another DHCP server's to decide`, { network: learned });
  const alone = nics.find(({ nic }) => isAlone(site.networks.get(nic.identity.network)))?.nic.identity.network;
  if (alone !== undefined)
    throw notExportable(
      `guests of network '${alone}' are given their address alone, with a gateway outside of it, for which the kernel has no word: write 'gives: prefix'`,
      { network: alone },
    );
  const words = [
    ...nics.slice(0, 1).flatMap((first) => kernelWord(site, guest, first)),
    ...nics.flatMap((each) => ownWords(site, each)),
  ];
  const length = words.join(" ").length;
  if (length <= LONGEST_LINE) return words;
  const says = `guest '${guest.name}' would need ${length} characters, and a kernel command line has ${LONGEST_LINE}`;
  throw notExportable(says, { guest: guest.name, length });
}

/** No word has a quote or a blank in it: they are made of addresses and plain words. */
export function renderCmdline(words: readonly string[], kind: BootKind): string {
  const line = words.join(" ");
  switch (kind) {
    case "kernel":
      return `${line}\n`;
    case "xen":
      return `extra = "${line}"\n`;
    case "qemu":
      return `-append '${line}'\n`;
    default:
      return unreachable(kind);
  }
}
