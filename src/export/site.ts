/** What another DHCP server has to know of a site: networks with what they tell their guests, and one reservation for every NIC. */
import { routesOf } from "../addressing/parameters4.ts";
import { isLearned } from "../model/addressing.ts";
import type { Brand } from "../model/brand.ts";
import { GuardError } from "../model/errors.ts";
import { type Ipv4Address, type Ipv4Prefix, ipv4FromNumber, ipv4ToNumber, prefix4Bounds } from "../model/ipv4.ts";
import type { Ipv6Address, Ipv6Prefix } from "../model/ipv6.ts";
import type { MacAddress } from "../model/mac.ts";
import type { InterfaceName, ObjectName } from "../model/names.ts";
import type { Guest, ManagedAddressing, NetworkSpec, NicSpec } from "../model/resources.ts";
import { dhcp4Options } from "../packet/dhcp4-options.ts";
import type { SiteView } from "../plan/desired.ts";
import { address6Of, nicsOf } from "../plan/sources.ts";

/** Text without quotes, spaces, commas, braces and the like: it means itself in every format that is written here. */
export type PlainWord = Brand<string, "PlainWord">;
const PLAIN = /^[A-Za-z0-9_][A-Za-z0-9_.-]{0,252}$/;

/** Who there is; what groups allow is no DHCP server's matter. */
export type ExportedSite = Pick<SiteView, "networks" | "guests">;

/** One NIC and what it is given. */
export interface Reservation {
  readonly guest: ObjectName;
  readonly nic: number;
  readonly mac: MacAddress;
  readonly address: Ipv4Address;
  readonly address6?: Ipv6Address;
  readonly hostname: PlainWord;
}

export interface ServedNetwork {
  readonly name: ObjectName;
  /** Where the server hears it; unknown when only relays speak for it. */
  readonly interface?: InterfaceName;
  readonly prefix: Ipv4Prefix;
  readonly gateway: Ipv4Address;
  /** Absent where the prefix has none (RFC 3021). */
  readonly broadcast?: Ipv4Address;
  readonly prefix6?: Ipv6Prefix;
  readonly leaseSeconds: number;
  readonly dns: readonly Ipv4Address[];
  readonly dns6: readonly Ipv6Address[];
  readonly ntp: readonly Ipv4Address[];
  readonly domain?: PlainWord;
  readonly search: readonly PlainWord[];
  /** As the responder does: the domain alone where nothing is to be searched. */
  readonly search6: readonly PlainWord[];
  readonly mtu?: number;
  /** Value of option 121 (RFC 3442), the default route included; empty when there is no route besides. */
  readonly routes: Uint8Array;
  /** By address. */
  readonly reservations: readonly Reservation[];
}

/** Networks on one wire: a server must know that, or it answers for the wrong one. */
export interface ServedLink {
  readonly bridge: InterfaceName;
  readonly networks: readonly ServedNetwork[];
}

export const notExportable = (says: string, fields: Readonly<Record<string, string | number>> = {}): GuardError =>
  new GuardError("NOT_EXPORTABLE", says, { fields });

/** @throws NOT_EXPORTABLE */
export function plainWord(text: string, what: string): PlainWord {
  if (PLAIN.test(text)) return text as PlainWord;
  throw notExportable(`${what} ${JSON.stringify(text)} cannot be written into a server's configuration`);
}

/** Not all servers split what is longer over several options (RFC 3396). */
const LONGEST_OPTION = 255;

function assertShort(network: ObjectName, what: string, octets: number): void {
  if (octets <= LONGEST_OPTION) return;
  const says = `network '${network}': ${what} take ${octets} octets, and one option has ${LONGEST_OPTION} at most`;
  throw notExportable(says, { network, octets });
}

/** One whose addresses are ours to tell somebody. */
type DecidedNetwork = NetworkSpec & { readonly addressing: ManagedAddressing };

function optionRoutes(name: ObjectName, { prefix4, gateway4, addressing }: DecidedNetwork): Uint8Array {
  const { routes } = addressing;
  if (routes.length === 0) return new Uint8Array();
  const all = routesOf({ prefix: prefix4, gateway: gateway4, routes });
  const bytes = dhcp4Options.classlessRoutes.value.encode(all);
  assertShort(name, "its routes", bytes.length);
  return bytes;
}

function searchOf(name: ObjectName, list: readonly string[]): readonly PlainWord[] {
  // Uncompressed: one length octet a label and the root (RFC 1035 section 3.1); option 119 may be shorter, the one of DHCPv6 is not.
  assertShort(
    name,
    "its search domains",
    list.reduce((sum, domain) => sum + domain.length + 2, 0),
  );
  return list.map((domain) => plainWord(domain, `search domain of network '${name}'`));
}

function reservationsOf(network: ObjectName, spec: NetworkSpec, guests: readonly Guest[]): readonly Reservation[] {
  const found: Reservation[] = [];
  for (const guest of guests) {
    const hostname = plainWord(guest.spec.hostname ?? guest.name, `host name of guest '${guest.name}'`);
    for (const [n, nic] of nicsOf(guest).entries()) {
      const [address] = nic.identity.addresses4;
      if (nic.identity.network !== network || address === undefined) continue;
      const address6 = address6Of(nic, spec);
      const own = { guest: guest.name, nic: n, mac: nic.identity.mac, address, hostname };
      found.push(address6 === undefined ? own : { ...own, address6 });
    }
  }
  return found.sort((a, b) => ipv4ToNumber(a.address) - ipv4ToNumber(b.address));
}

function guestsByNetwork(guests: Iterable<Guest>): ReadonlyMap<ObjectName, readonly Guest[]> {
  const found = new Map<ObjectName, Guest[]>();
  for (const guest of guests) {
    for (const network of new Set(guest.nics.map((nic) => nic.network))) {
      const list = found.get(network);
      if (list === undefined) found.set(network, [guest]);
      else list.push(guest);
    }
  }
  return found;
}

function servedNetwork(
  name: ObjectName,
  spec: DecidedNetwork,
  reservations: readonly Reservation[],
  heard: InterfaceName | undefined,
): ServedNetwork {
  const { prefix4, gateway4, prefix6, addressing } = spec;
  const { leaseSeconds, dns, dns6, ntp, mtu } = addressing;
  const { last, length } = prefix4Bounds(prefix4);
  const domain =
    addressing.domain === undefined ? undefined : plainWord(addressing.domain, `domain of network '${name}'`);
  const search = searchOf(name, addressing.search);
  return {
    name,
    ...(heard === undefined ? {} : { interface: heard }),
    prefix: prefix4,
    gateway: gateway4,
    ...(length > 30 ? {} : { broadcast: ipv4FromNumber(last) }),
    ...(prefix6 === undefined ? {} : { prefix6 }),
    leaseSeconds,
    dns,
    dns6,
    ntp,
    ...(domain === undefined ? {} : { domain }),
    search,
    search6: search.length > 0 || domain === undefined ? search : [domain],
    ...(mtu === undefined ? {} : { mtu }),
    routes: optionRoutes(name, spec),
    reservations,
  };
}

/** What is exported, and where the server hears it: by network, and under "" for all others. */
export interface Wanted {
  /** All networks when there is none. */
  readonly networks: readonly string[];
  readonly interfaces: ReadonlyMap<string, InterfaceName>;
}

/** Why no server would ever hear the guests of a network. */
function unasked(name: ObjectName, { wiring, addressing }: NetworkSpec): string | undefined {
  if (isLearned(addressing)) return `addresses of network '${name}' are another DHCP server's to decide`;
  if (wiring.kind !== "bridged") return `network '${name}' is routed: what its guests ask does not leave their ports`;
  return addressing.kind === "managed"
    ? undefined
    : `network '${name}' is 'kind: ${addressing.kind}': its guests ask nobody`;
}

/**
 * By name, so that the same site is always the same text.
 * @throws NOT_FOUND, NOT_EXPORTABLE
 */
export function servedLinks(site: ExportedSite, { networks: names, interfaces }: Wanted): readonly ServedLink[] {
  const known = [...site.networks].filter(([name]) => names.length === 0 || names.includes(name));
  const bridged = known.flatMap(([name, spec]) => {
    const { addressing, wiring } = spec;
    return wiring.kind === "bridged" && addressing.kind === "managed"
      ? [{ name, spec: { ...spec, addressing }, wiring }]
      : [];
  });
  const asked = [...names, ...interfaces.keys()].filter((name) => name !== "");
  const missing = asked.find((name) => !known.some(([found]) => found === name));
  if (missing !== undefined)
    throw new GuardError("NOT_FOUND", `network '${missing}' does not exist`, { fields: { network: missing } });
  if (known.length === 0) throw new GuardError("NOT_FOUND", "there is no network");
  const unheard = known.find(([name, spec]) => unasked(name, spec) !== undefined && names.includes(name)) ?? known[0];
  if (unheard !== undefined && (bridged.length === 0 || names.includes(unheard[0]))) {
    const why = unasked(...unheard);
    if (why !== undefined) throw notExportable(why);
  }
  const guests = guestsByNetwork(site.guests.values());
  const links = new Map<InterfaceName, ServedNetwork[]>();
  for (const { name, spec, wiring } of bridged.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const reservations = reservationsOf(name, spec, guests.get(name) ?? []);
    const network = servedNetwork(name, spec, reservations, interfaces.get(name) ?? interfaces.get(""));
    const list = links.get(wiring.bridge);
    if (list === undefined) links.set(wiring.bridge, [network]);
    else list.push(network);
  }
  return [...links].map(([bridge, networks]) => ({ bridge, networks }));
}

export const networksOf = (links: readonly ServedLink[]): readonly ServedNetwork[] =>
  links.flatMap(({ networks }) => networks);

/** Where the server listens; empty when nothing was said about it. */
export const interfacesOf = (links: readonly ServedLink[]): readonly InterfaceName[] => [
  ...new Set(networksOf(links).flatMap((network) => network.interface ?? [])),
];

/** Those with IPv6. @throws NOT_EXPORTABLE when there is none */
export function links6(links: readonly ServedLink[]): readonly ServedLink[] {
  const found = links
    .map(({ bridge, networks }) => ({ bridge, networks: networks.filter(({ prefix6 }) => prefix6 !== undefined) }))
    .filter(({ networks }) => networks.length > 0);
  if (found.length === 0) throw notExportable("none of the networks has a prefix6");
  return found;
}

/** Who it is, for comments. */
export const nicText = ({ guest, nic }: Reservation): string => `${guest} NIC ${nic}`;

/** The first line of what is written. */
export const origin = (format: string): string =>
  `Written by 'vifguard export ${format}' from the site; it is written anew when the site changes.`;

/** Which NICs' MACs matter for what is wanted. */
export type MacMatters = (
  network: NetworkSpec,
  nic: NicSpec,
  names: { readonly network: string; readonly guest: string },
) => boolean;

/** NICs whose MAC is not in the site file but drawn when the file is applied: what is read from a file alone cannot name it. */
export function undecidedMacs({ networks, guests }: ExportedSite, matters: MacMatters): readonly string[] {
  return [...guests.values()].flatMap((guest) =>
    nicsOf(guest).flatMap(({ spec, identity: { network: name } }, n) => {
      const network = networks.get(name);
      if (network === undefined || isLearned(network.addressing) || network.addressing.macScheme !== "random")
        return [];
      if (spec.mac !== undefined) return [];
      const names = { network: name, guest: guest.name };
      return matters(network, spec, names) ? [`NIC ${n} of guest '${guest.name}'`] : [];
    }),
  );
}
