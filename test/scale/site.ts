/**
 * The site of a simulated fleet: networks of some thousand guests, tenants spread over the hosts of their network, and one group that a given number of guests
 * carry and that names another. Everything follows from a guest's number, so that nobody has to remember who is where.
 */
import { ipv4FromBytes } from "../../src/model/ipv4.ts";

export interface FleetSize {
  /** Hosts with an agent, numbered from 0. */
  readonly hosts: number;
  readonly perHost: number;
  /** In all; those beyond the simulated hosts are attached to hosts that are only in the store. */
  readonly guests: number;
  readonly perNetwork: number;
  readonly perTenant: number;
  /** How many carry the group `base`. */
  readonly members: number;
}

/** Of these, a /20 holds 4 094. */
export const NETWORK_MOST = 4_000;
const FIRST_ADDRESS = 10;

/** Guests beyond the fleet's, with no port: for those that come while it is measured. */
export const SPARE = 20;

export const networkOf = ({ perNetwork }: FleetSize, guest: number): number => Math.floor(guest / perNetwork);
export const hostOf = ({ perHost }: FleetSize, guest: number): number => Math.floor(guest / perHost);
export const guestName = (guest: number): string => `g${guest}`;
export const hostName = (host: number): string => `h${host}`;
export const portName = (guest: number): string => `vif${guest}.0`;

/** Base of a network: 10.0.0.0/20, 10.0.16.0/20 and so on. */
const baseOf = (network: number): number => (10 << 24) + network * 4096;

function addressText(value: number): string {
  return ipv4FromBytes(Uint8Array.of(value >>> 24, value >>> 16, value >>> 8, value));
}

export const addressOf = (size: FleetSize, guest: number): string =>
  addressText(baseOf(networkOf(size, guest)) + FIRST_ADDRESS + (guest % size.perNetwork));

/** Whether the guest carries `base`: every host has some who do. */
export const isMember = ({ guests, members }: FleetSize, guest: number): boolean =>
  guest % Math.max(1, Math.floor(guests / members)) === 0;

const isMonitor = (guest: number): boolean => guest % 5_000 === 1;

const tenantsPerNetwork = ({ perNetwork, perTenant }: FleetSize): number => Math.ceil(perNetwork / perTenant);

function tenantOf(size: FleetSize, guest: number): number {
  const tenants = tenantsPerNetwork(size);
  return networkOf(size, guest) * tenants + ((guest % size.perNetwork) % tenants);
}

export function groupsOf(size: FleetSize, guest: number): readonly string[] {
  const isWeb = Math.floor((guest % size.perNetwork) / tenantsPerNetwork(size)) % 2 === 0;
  const tenant = `${isWeb ? "web" : "db"}-${tenantOf(size, guest)}`;
  return [tenant, ...(isMember(size, guest) ? ["base"] : []), ...(isMonitor(guest) ? ["monitor"] : [])];
}

/** A document of the site file: YAML takes JSON. */
interface Written {
  readonly kind: string;
  readonly name: string;
  readonly spec: object;
}

const textOf = (all: readonly Written[]): string => all.map((one) => `---\n${JSON.stringify(one)}\n`).join("");

const tcp = (port: number, from: string | object): object => ({ protocol: "tcp", ports: [port], from });

function networkSpec(size: FleetSize, network: number): object {
  const base = baseOf(network);
  return {
    prefix4: `${addressText(base)}/20`,
    gateway4: addressText(base + 1),
    range4: [`${addressText(base + FIRST_ADDRESS)}-${addressText(base + FIRST_ADDRESS + size.perNetwork + 50)}`],
    wiring: { kind: "bridged", bridge: "br0", uplink: "eth0" },
    addressing: { kind: "managed", macScheme: "ip" },
  };
}

/** @param port of the rule by which collectors reach who carries `base` */
export const baseText = (port: number): string =>
  textOf([{ kind: "group", name: "base", spec: { ingress: [tcp(port, { group: "monitor" })] } }]);

/** Everything but the guests. */
export function frameText(size: FleetSize): string {
  const networks = Array.from({ length: networkOf(size, size.guests + SPARE - 1) + 1 }, (_, n) => n);
  const tenants = [...new Set(Array.from({ length: size.guests + SPARE }, (_, guest) => tenantOf(size, guest)))];
  const groups = tenants.flatMap((tenant): Written[] => [
    { kind: "group", name: `web-${tenant}`, spec: { ingress: [tcp(443, "any")] } },
    { kind: "group", name: `db-${tenant}`, spec: { ingress: [tcp(5432, { group: `web-${tenant}` })] } },
  ]);
  const monitor = { kind: "group", name: "monitor", spec: { ingress: [tcp(514, { group: "base" })] } };
  const all = networks.map((n): Written => ({ kind: "network", name: `n${n}`, spec: networkSpec(size, n) }));
  return textOf([...all, ...groups, monitor]) + baseText(9100);
}

/** @param more groups than it has by its number */
export function guestText(size: FleetSize, guests: readonly number[], more: readonly string[] = []): string {
  return textOf(
    guests.map((guest) => {
      const network = `n${networkOf(size, guest)}`;
      const nic = { network, address4: addressOf(size, guest), groups: [...groupsOf(size, guest), ...more] };
      return { kind: "guest", name: guestName(guest), spec: { nics: [nic] } };
    }),
  );
}
