/** The table of lies: from the outer frame inwards, then where frames go to. */
import { GuardError } from "../model/errors.ts";
import type { Attack } from "./attack.ts";
import { arpAttacks } from "./attacks-arp.ts";
import { dhcpAttacks } from "./attacks-dhcp.ts";
import { ethernetAttacks } from "./attacks-ethernet.ts";
import { ip4Attacks } from "./attacks-ip4.ts";
import { ip6Attacks } from "./attacks-ip6.ts";
import { macAttacks } from "./attacks-mac.ts";
import { ndAttacks } from "./attacks-nd.ts";
import { routingAttacks } from "./attacks-routing.ts";

export const attacks: readonly Attack[] = [
  ...ethernetAttacks,
  ...arpAttacks,
  ...ip4Attacks,
  ...dhcpAttacks,
  ...ip6Attacks,
  ...ndAttacks,
  ...macAttacks,
  ...routingAttacks,
];

/** The ten that the demonstration shows: one of every kind an operator asks for. */
export const demoLies = [
  "foreign-mac",
  "mac-flood",
  "vlan0-tag",
  "qinq",
  "llc-snap",
  "bpdu",
  "foreign-arp-sender",
  "foreign-ip",
  "rogue-dhcp-server",
  "foreign-chaddr",
] as const;

/** @throws NOT_FOUND */
export function attackNamed(name: string): Attack {
  const attack = attacks.find((candidate) => candidate.name === name);
  if (attack === undefined)
    throw new GuardError("NOT_FOUND", `no lie is called '${name}'; 'vifguard lab attack --list' shows them all`);
  return attack;
}
