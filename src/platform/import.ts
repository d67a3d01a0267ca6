/** A site file out of what a platform already runs: names, MACs and addresses stay as they are. */
import { GuardError } from "../model/errors.ts";
import { parseIp } from "../model/ip-block.ts";
import { parseIpv4 } from "../model/ipv4.ts";
import { parseMac } from "../model/mac.ts";
import { parseObjectName } from "../model/names.ts";
import { parseDomain } from "./libvirt-domain.ts";
import { parseXenConfig } from "./xen-config.ts";

export interface FoundNic {
  readonly mac: string | undefined;
  /** Bridge or network of the platform. */
  readonly wire: string;
  readonly addresses: readonly string[];
}

export interface FoundGuest {
  /** Where it was found, for messages. */
  readonly source: string;
  readonly name: string;
  readonly nics: readonly FoundNic[];
}

/** Which network of the site a bridge of the platform is; an empty name leaves its NICs out. */
export interface WireMap {
  readonly named: ReadonlyMap<string, string>;
  readonly otherwise: string | undefined;
}

const notA = (what: string, source: string): GuardError =>
  new GuardError("USAGE", `'${source}' is not ${what}`, { fields: { file: source } });

/** @throws USAGE */
export function libvirtGuest(source: string, text: string): FoundGuest {
  const domain = parseDomain(text);
  if (domain === undefined) throw notA("the XML of a domain: 'virsh dumpxml DOMAIN' prints it", source);
  const nics = domain.nics.map(({ mac, bridge, network, addresses }) => ({
    mac,
    wire: bridge ?? network ?? "",
    addresses,
  }));
  return { source, name: domain.guest ?? domain.name, nics };
}

/** @throws USAGE */
export function xenGuest(source: string, text: string): FoundGuest {
  const domain = parseXenConfig(text);
  if (domain === undefined) throw notA("a domain configuration of xl: it has no name", source);
  // libxl's own default.
  const nics = domain.vifs.map(({ mac, bridge = "xenbr0", addresses }) => ({ mac, wire: bridge, addresses }));
  return { source, name: domain.name, nics };
}

function networkOf({ source }: FoundGuest, { wire }: FoundNic, { named, otherwise }: WireMap): string {
  const network = named.get(wire) ?? otherwise;
  if (network !== undefined) return network;
  throw new GuardError(
    "USAGE",
    `'${source}' has a NIC in '${wire}': which network is that? --map ${wire}=NAME, --map ${wire}= to leave it out, or --network NAME for all`,
  );
}

function nicText({ source }: FoundGuest, { mac, addresses }: FoundNic, network: string): string {
  const known = mac === undefined ? undefined : parseMac(mac);
  if (mac !== undefined && known === undefined) throw notA(`readable: MAC '${mac}'`, source);
  const wrong = addresses.find((address) => parseIp(address) === undefined);
  if (wrong !== undefined) throw notA(`readable: address '${wrong}'`, source);
  const first = addresses.find((address) => parseIpv4(address) !== undefined);
  const more = addresses.filter((address) => address !== first);
  return [
    `network: ${network}`,
    ...(known === undefined ? [] : [`mac: "${known}"`]),
    ...(first === undefined ? [] : [`address4: ${first}`]),
    ...(more.length === 0 ? [] : [`addresses: [${more.map((address) => `"${address}"`).join(", ")}]`]),
  ].join(", ");
}

function nameOf({ source, name }: FoundGuest): string {
  const text = name.toLowerCase().replaceAll("_", "-");
  if (parseObjectName(text) !== undefined) return text;
  throw new GuardError("USAGE", `'${source}': '${name}' cannot name a guest: small letters, digits, '.' and '-'`);
}

function documentOf(guest: FoundGuest, wires: WireMap): string {
  const nics = guest.nics.flatMap((nic) => {
    const network = networkOf(guest, nic, wires);
    return network === "" ? [] : [`    - { ${nicText(guest, nic, network)} }`];
  });
  const name = nameOf(guest);
  const renamed = name === guest.name ? [] : [`# ${JSON.stringify(guest.name)} on the platform`];
  const lines = [...renamed, "kind: guest", `name: ${JSON.stringify(name)}`, "spec:"];
  return [...lines, ...(nics.length === 0 ? ["  nics: []"] : ["  nics:", ...nics])].join("\n");
}

/** Guests only: what a network is, no platform knows. @throws USAGE */
export function importedSite(guests: readonly FoundGuest[], wires: WireMap): string {
  const names = new Map<string, string>();
  for (const guest of guests) {
    const other = names.get(nameOf(guest));
    if (other !== undefined)
      throw new GuardError("USAGE", `'${other}' and '${guest.source}' both are guest '${nameOf(guest)}'`);
    names.set(nameOf(guest), guest.source);
  }
  return `${guests.map((guest) => documentOf(guest, wires)).join("\n---\n")}\n`;
}
