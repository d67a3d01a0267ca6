/** What guests hold of a network, and that the network as it will be leaves them: their addresses, what their MACs spell, who decides. */
import { unspellable } from "../addressing/net-mac.ts";
import { isLearned, macSchemeOf } from "../model/addressing.ts";
import { GuardError } from "../model/errors.ts";
import { type Ipv4Address, parseIpv4 } from "../model/ipv4.ts";
import type { ObjectName } from "../model/names.ts";
import type { Guest, NetworkSpec } from "../model/resources.ts";
import { someOf } from "../model/some-of.ts";
import { subnetOf } from "../model/transport.ts";
import { addressOn, type Claim } from "./claims.ts";
import { isTold, misleads, unassignable } from "./identity.ts";
import { prefixText } from "./sentences.ts";
import { invalid, type WantedSite } from "./wanted.ts";

interface Holding {
  readonly address: Ipv4Address;
  readonly claim: Claim;
}

/** Who was given addresses in the networks that change; what an operator named besides may lie anywhere. */
export function holdings(
  site: WantedSite,
  networks: ReadonlySet<string>,
  guests: ReadonlyMap<string, Guest>,
): ReadonlyMap<string, readonly Holding[]> {
  const found = new Map<string, Holding[]>();
  if (networks.size === 0) return found;
  for (const [what, claim] of site.addresses.all()) {
    const slash = what.indexOf("/");
    const [network, address] = [what.slice(0, slash), parseIpv4(what.slice(slash + 1))];
    if (!networks.has(network) || address === undefined) continue;
    if (guests.get(claim.guest)?.nics[claim.nic]?.addresses4.includes(address) === false) continue;
    const list = found.get(network);
    if (list === undefined) found.set(network, [{ address, claim }]);
    else list.push({ address, claim });
  }
  return found;
}

const holdingText = ({ address, claim }: Holding): string => `${claim.guest} (${address})`;

function networkInUse(name: ObjectName, why: string, users: readonly Holding[]): GuardError {
  return new GuardError("IN_USE", `network '${name}' cannot be so: ${why} of ${someOf(users.map(holdingText))}`, {
    fields: { network: name, guests: new Set(users.map(({ claim }) => claim.guest)).size },
  });
}

/** Addresses that guests hold must still be theirs to hold, and nobody else's on the wire. */
export function assertHoldings(site: WantedSite, name: ObjectName, spec: NetworkSpec, held: readonly Holding[]): void {
  const lost = held.filter(({ address }) => unassignable(site, name, spec, address) !== undefined);
  if (lost.length > 0) throw networkInUse(name, `${prefixText(spec)} has no place for the addresses`, lost);
  for (const sibling of site.siblings(name)) {
    const shared = held.filter(({ address }) => site.addresses.holder(addressOn(sibling.name, address)) !== undefined);
    if (shared.length > 0)
      throw networkInUse(name, `network '${sibling.name}' on the same bridge has the addresses`, shared);
    const gateway = site.addresses.holder(addressOn(sibling.name, spec.gateway4));
    if (gateway !== undefined)
      throw networkInUse(name, "its gateway is the address", [{ address: spec.gateway4, claim: gateway }]);
  }
  const holder = spec.gatewayMac === undefined ? undefined : site.macs.holder(spec.gatewayMac);
  if (holder === undefined) return;
  throw new GuardError(
    "MAC_TAKEN",
    `gatewayMac ${spec.gatewayMac} of network '${name}' is held by guest '${holder.guest}'`,
    {
      fields: { network: name, guest: holder.guest },
    },
  );
}

/** With `macScheme: net` MACs spell the network too: they must be able to, and those that were given must go on telling the truth. */
export function assertSpelled(
  name: ObjectName,
  spec: NetworkSpec,
  held: readonly Holding[],
  guests: ReadonlyMap<string, Guest>,
): void {
  const { prefix, gateway } = subnetOf(spec, spec.gateway4);
  const why = macSchemeOf(spec.addressing) === "net" ? unspellable(prefix, gateway) : undefined;
  const field = spec.addressing.kind === "mac" ? "kind" : "macScheme";
  if (why !== undefined) throw invalid("network", name, `spec.addressing.${field}: ${why}`);
  const misled = held.filter(({ address, claim: { guest, nic } }) => {
    const found = guests.get(guest);
    const mac = found?.spec.nics[nic]?.mac === undefined ? found?.nics[nic]?.mac : undefined;
    return mac !== undefined && misleads(mac, spec, address);
  });
  if (misled.length > 0) throw networkInUse(name, "another prefix or gateway stands in the MACs", misled);
  const untold = held.filter(({ address, claim: { guest, nic } }) => {
    const mac = guests.get(guest)?.nics[nic]?.mac;
    return mac !== undefined && !isTold(mac, spec, address);
  });
  if (untold.length > 0)
    throw networkInUse(name, "its guests would read their MACs, and none of the network stands in those", untold);
}

/** Who decides the addresses cannot change under a guest: it would have none, or one that nobody knows of. */
export function assertSameDecider(name: ObjectName, spec: NetworkSpec, guests: Iterable<Guest>): void {
  const learns = isLearned(spec.addressing);
  const users = [...guests].filter(({ nics }) =>
    nics.some(({ network, addresses6 }) => network === name && (addresses6 !== undefined) !== learns),
  );
  if (users.length === 0) return;
  const says = `network '${name}' cannot be so while it has guests: their addresses were ${learns ? "decided here" : "given by another DHCP server"}; delete and apply again ${someOf(users.map((guest) => guest.name))}`;
  throw new GuardError("IN_USE", says, { fields: { network: name, guests: users.length } });
}
