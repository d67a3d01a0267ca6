/**
 * What a guest gave up is nobody else's until its cool-down is over: the host that had the guest may be cut off and answer for it still. The guest itself has
 * its own back at once. An address that one guest leaves and another one names in the same plan goes from hand to hand: both were told of it together.
 */
import { spelledIpv4 } from "../addressing/mac-scheme.ts";
import { assignable } from "../addressing/pool.ts";
import { coolDownOf } from "../model/cool-down.ts";
import { GuardError } from "../model/errors.ts";
import { type Ipv4Address, ipv4ToNumber, parseIpv4 } from "../model/ipv4.ts";
import { type MacAddress, parseMac } from "../model/mac.ts";
import type { ObjectName } from "../model/names.ts";
import type { NetworkSpec } from "../model/resources.ts";
import { addressOn, type Claim, type Claims, type CoolingClaim } from "./claims.ts";
import type { WantedSite } from "./wanted.ts";

/** Who gave it up, when that keeps the guest from having it. */
function coolsFor(
  claims: Claims,
  what: string,
  guest: ObjectName,
  network: NetworkSpec | undefined,
): CoolingClaim | undefined {
  // An operator who switched it off does not wait for what was given up before.
  const cooling = coolDownOf(network) === 0 ? undefined : claims.cooling(what);
  return cooling?.guest === guest ? undefined : cooling;
}

/** True when it must not be assigned to the guest, though nobody holds it. */
export function isCold(claims: Claims, what: string, guest: ObjectName, network: NetworkSpec | undefined): boolean {
  return claims.isLeft(what) || coolsFor(claims, what, guest, network) !== undefined;
}

/** For what is named or follows from what is named. @throws COOLING_DOWN */
export function assertWarm(
  claims: Claims,
  what: string,
  { guest, nic }: Claim,
  network: NetworkSpec | undefined,
): void {
  const found = coolsFor(claims, what, guest, network);
  if (found === undefined) return;
  const [first = "", second] = what.split("/");
  const thing = second === undefined ? `MAC ${first}` : `${second} on network '${first}'`;
  const { until } = found.cooling;
  const says = `${thing}, wanted for NIC ${nic} of guest '${guest}', was given up by guest '${found.guest}' and cools down until ${until}`;
  const end = `'vifguard cooling end ${what}' frees it now`;
  throw new GuardError("COOLING_DOWN", `${says}; ${end}`, { fields: { guest, former: found.guest, until } });
}

const partOf = (what: string, network: ObjectName): string | undefined =>
  what.startsWith(`${network}/`) ? what.slice(network.length + 1) : undefined;

/** That of the same NIC first. */
const ownFirst = (found: ReturnType<Claims["formerly"]>, nic: number): ReturnType<Claims["formerly"]> => [
  ...found.filter(([, claim]) => claim.nic === nic),
  ...found.filter(([, claim]) => claim.nic !== nic),
];

/** An address of the pool that the guest gave up and can have again. */
export function ownAddress(
  site: WantedSite,
  { guest, nic }: Claim,
  name: ObjectName,
  network: NetworkSpec,
  taken: (address: Ipv4Address) => boolean,
): Ipv4Address | undefined {
  const former = site.addresses.formerly(guest);
  if (former.length === 0) return undefined;
  const { has } = assignable({ name, ...network });
  return ownFirst(former, nic)
    .flatMap(([what]) => parseIpv4(partOf(what, name) ?? "") ?? [])
    .find((address) => has(address) && address !== network.gateway4 && !taken(address));
}

/** A MAC that the guest's NIC gave up and that spells no address. */
export function ownMac(site: WantedSite, { guest, nic }: Claim): MacAddress | undefined {
  return site.macs
    .formerly(guest)
    .filter(([, claim]) => claim.nic === nic)
    .flatMap(([what]) => parseMac(what) ?? [])
    .find((mac) => spelledIpv4(mac) === undefined && !site.gatewayMacs.has(mac));
}

/** How many of the pool nobody holds and nobody can be given yet, on the wire of these networks. */
export function coldIn(
  site: Pick<WantedSite, "addresses">,
  name: ObjectName,
  network: NetworkSpec,
  wire: readonly ObjectName[],
): number {
  const { has } = assignable({ name, ...network });
  const numbers = new Set<number>();
  for (const what of site.addresses.cold()) {
    const address = wire.map((one) => parseIpv4(partOf(what, one) ?? "")).find((found) => found !== undefined);
    const isHeld = address !== undefined && wire.some((one) => site.addresses.holder(addressOn(one, address)));
    if (address !== undefined && has(address) && !isHeld) numbers.add(ipv4ToNumber(address));
  }
  return numbers.size;
}
