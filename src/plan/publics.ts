/**
 * Who has which public address of nat networks: a whole one NIC alone, single ports several, and a network's own (`masquerade`). One record for each address holds all of
 * them, so that two writers who give away the same address, or the same port of it, meet at its key.
 */
import { coolDownOf } from "../model/cool-down.ts";
import { GuardError } from "../model/errors.ts";
import { type Ipv4Address, prefix4Contains } from "../model/ipv4.ts";
import type { ObjectName } from "../model/names.ts";
import type { Guest, GuestSpec, NetworkSpec, PublicHolder, Resource } from "../model/resources.ts";
import { portRangeText } from "../model/services.ts";
import { addressOn, type Claims } from "./claims.ts";

/** What a plan leaves and takes of public addresses, laid over what is held. */
export interface Publics {
  holders(address: Ipv4Address): readonly PublicHolder[];
  /** Forgets what the guest, or the network, had. */
  release(owner: { readonly guest: ObjectName } | { readonly network: ObjectName }): void;
  takeGuest(guest: ObjectName, spec: GuestSpec): void;
  takeNetwork(network: ObjectName, spec: NetworkSpec): void;
  all(): readonly (readonly [Ipv4Address, readonly PublicHolder[]])[];
  /** Held otherwise than before. */
  changed(): readonly (readonly [Ipv4Address, readonly PublicHolder[]])[];
}

function* holdingsOf(guest: ObjectName, { nics }: GuestSpec): Iterable<readonly [Ipv4Address, PublicHolder]> {
  for (const [nic, { public4, services = [] }] of nics.entries()) {
    if (public4 !== undefined) yield [public4, { kind: "whole", guest, nic }];
    for (const { public4: address, protocol, ports } of services)
      for (const { first, last } of ports) yield [address, { kind: "service", guest, nic, protocol, first, last }];
  }
}

const isOf = (
  holder: PublicHolder,
  owner: { readonly guest: ObjectName } | { readonly network: ObjectName },
): boolean =>
  "guest" in owner
    ? holder.kind !== "masquerade" && holder.guest === owner.guest
    : holder.kind === "masquerade" && holder.network === owner.network;

export function createPublics(held: ReadonlyMap<Ipv4Address, readonly PublicHolder[]>): Publics {
  const laid = new Map<Ipv4Address, readonly PublicHolder[]>();
  const holders = (address: Ipv4Address): readonly PublicHolder[] => laid.get(address) ?? held.get(address) ?? [];
  const take = (address: Ipv4Address, holder: PublicHolder): void =>
    void laid.set(address, [...holders(address), holder]);
  return {
    holders,
    release: (owner) => {
      for (const address of new Set([...held.keys(), ...laid.keys()])) {
        const left = holders(address).filter((holder) => !isOf(holder, owner));
        if (left.length < holders(address).length) laid.set(address, left);
      }
    },
    takeGuest: (guest, spec) => {
      for (const [address, holder] of holdingsOf(guest, spec)) take(address, holder);
    },
    takeNetwork: (network, { wiring }) => {
      if (wiring.kind === "nat" && typeof wiring.masquerade !== "boolean")
        take(wiring.masquerade, { kind: "masquerade", network });
    },
    all: () => [...new Map([...held, ...laid])],
    changed: () => [...laid].filter(([address, now]) => textOf(now) !== textOf(held.get(address) ?? [])),
  };
}

/** In whatever order they came to have it. */
const textOf = (holders: readonly PublicHolder[]): string =>
  holders
    .map((holder) => JSON.stringify(holder))
    .sort()
    .join();

function holderText(holder: PublicHolder): string {
  switch (holder.kind) {
    case "masquerade":
      return `network '${holder.network}', whose guests leave by it`;
    case "service":
      return `NIC ${holder.nic} of guest '${holder.guest}' (${holder.protocol} ${portRangeText(holder)})`;
    default:
      return `NIC ${holder.nic} of guest '${holder.guest}'`;
  }
}

/** A whole address is one NIC's; ports are one NIC's each; a network may leave by an address of which it or others offer ports. */
function exclude(a: PublicHolder, b: PublicHolder): boolean {
  if (a.kind === "whole" || b.kind === "whole") return true;
  if (a.kind === "masquerade" || b.kind === "masquerade") return false;
  return a.protocol === b.protocol && a.first <= b.last && b.first <= a.last;
}

const taken = (address: Ipv4Address, by: string, wantedFor: string): GuardError =>
  new GuardError("ADDRESS_TAKEN", `public address ${address}, wanted for ${wantedFor}, is held by ${by}`, {
    fields: { address, holder: by },
  });

/** The site as it will be; the plan's `WantedSite` fits. */
interface Outside {
  readonly publics: Publics;
  readonly networks: ReadonlyMap<ObjectName, NetworkSpec>;
  readonly addresses: Pick<Claims, "holder" | "cooling">;
}

/** Whether an address of that network could be a public one, too. */
export function mayMeetPublics({ networks }: Pick<Outside, "networks">, network: ObjectName): boolean {
  return (
    networks.get(network)?.wiring.kind !== "nat" && [...networks.values()].some(({ wiring }) => wiring.kind === "nat")
  );
}

/** Who has it as an ordinary address, on whatever network, or gave it up lately. */
function ordinaryHolder(
  { networks, addresses }: Outside,
  address: Ipv4Address,
  holder: PublicHolder,
): string | undefined {
  for (const [name, spec] of networks) {
    const what = addressOn(name, address);
    const claim = addresses.holder(what);
    if (claim !== undefined) return `NIC ${claim.nic} of guest '${claim.guest}' on network '${name}'`;
    const cold = coolDownOf(spec) === 0 ? undefined : addresses.cooling(what);
    const isOwn = holder.kind !== "masquerade" && holder.guest === cold?.guest;
    if (cold !== undefined && !isOwn)
      return `nobody since guest '${cold.guest}' gave it up, and cools down until ${cold.cooling.until} ('vifguard cooling end ${what}')`;
  }
  return undefined;
}

function assertOne(site: Outside, address: Ipv4Address, holders: readonly PublicHolder[]): void {
  for (const [n, holder] of holders.entries()) {
    const other = holders.slice(0, n).find((earlier) => exclude(earlier, holder));
    if (other !== undefined) throw taken(address, holderText(other), holderText(holder));
  }
  const [first] = holders;
  if (first === undefined) return;
  const by = gatewayWith(site.networks, address) ?? ordinaryHolder(site, address, first);
  if (by !== undefined) throw taken(address, by, holderText(first));
}

/** @throws ADDRESS_TAKEN naming both; IN_USE when a network gives up translating for guests that want it */
export function assertPublics(site: Outside, changed: readonly Resource[], guests: readonly Guest[]): void {
  const networks = changed.filter((resource) => resource.kind === "network");
  // What changes of a network may meet what is held already.
  const suspect = networks.length > 0 ? site.publics.all() : site.publics.changed();
  for (const [address, holders] of suspect) assertOne(site, address, holders);
  for (const { name, spec } of networks) if (spec.wiring.kind !== "nat") assertUntranslated(name, guests);
}

function assertUntranslated(network: ObjectName, guests: readonly Guest[]): void {
  const users = guests.filter(({ spec: { nics } }) =>
    nics.some((nic) => nic.network === network && (nic.public4 !== undefined || nic.services !== undefined)),
  );
  if (users.length === 0) return;
  const names = users.slice(0, 8).map((guest) => `'${guest.name}'`);
  throw new GuardError(
    "IN_USE",
    `network '${network}' must stay of wiring nat: guests have public addresses (${names.join(", ")})`,
    {
      fields: { network, guests: users.length },
    },
  );
}

/** A private prefix is no place for a public address, whichever network's it is. */
function gatewayWith(networks: ReadonlyMap<ObjectName, NetworkSpec>, address: Ipv4Address): string | undefined {
  for (const [name, { gateway4, prefix4, wiring }] of networks) {
    if (gateway4 === address) return `the gateway of network '${name}'`;
    if (wiring.kind === "nat" && prefix4Contains(prefix4, address))
      return `network '${name}', whose private prefix4 ${prefix4} it lies in`;
  }
  return undefined;
}

/** As others are told that want it as an ordinary address. */
export function publicHolderText(publics: Publics, address: Ipv4Address): string | undefined {
  const [first] = publics.holders(address);
  return first === undefined ? undefined : `${holderText(first)} as its public address`;
}
