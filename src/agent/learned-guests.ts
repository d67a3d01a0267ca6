/** Guests with the addresses that other DHCP servers gave them, as everything that looks at guests sees them. The store keeps the two apart. */
import { isIpv6 } from "../model/ip-block.ts";
import type { ObjectName } from "../model/names.ts";
import type { DhcpLease, Guest, NicIdentity } from "../model/resources.ts";

export interface LearnedGuests {
  readonly guests: ReadonlyMap<ObjectName, Guest>;
  leases(guest: ObjectName): readonly DhcpLease[];
  /** The guest as it would be with them. */
  withLearned(guest: Guest, leases?: readonly DhcpLease[]): Guest;
  /** undefined: it is deleted. */
  setGuest(name: ObjectName, guest: Guest | undefined): void;
  /** @param what `network/address` @returns whether it changed what a guest has */
  setLease(what: string, lease: DhcpLease | undefined): boolean;
}

/** A record under a former MAC or network of the NIC gives it nothing. */
function addressesOf(nic: NicIdentity, n: number, leases: readonly DhcpLease[]): NicIdentity {
  if (nic.addresses6 === undefined) return nic;
  const own = leases.filter(
    (lease) => lease.state === "bound" && lease.nic === n && lease.mac === nic.mac && lease.network === nic.network,
  );
  const addresses = own.map(({ address }) => address);
  return {
    ...nic,
    addresses4: addresses.flatMap((address) => (isIpv6(address) ? [] : [address])),
    addresses6: addresses.filter(isIpv6),
  };
}

const withAll = (guest: Guest, leases: readonly DhcpLease[]): Guest =>
  leases.length === 0 ? guest : { ...guest, nics: guest.nics.map((nic, n) => addressesOf(nic, n, leases)) };

/** @param changed told of every guest that is not as it was */
export function createLearnedGuests(changed: (name: ObjectName) => void = () => undefined): LearnedGuests {
  const declared = new Map<ObjectName, Guest>();
  const guests = new Map<ObjectName, Guest>();
  const leases = new Map<ObjectName, Map<string, DhcpLease>>();
  const holders = new Map<string, ObjectName>();

  function take(name: ObjectName): void {
    const guest = declared.get(name);
    if (guest === undefined) guests.delete(name);
    else guests.set(name, withAll(guest, leasesOf(name)));
    changed(name);
  }

  function leasesOf(name: ObjectName): readonly DhcpLease[] {
    return [...(leases.get(name)?.values() ?? [])];
  }

  function heldAs(what: string): DhcpLease | undefined {
    const name = holders.get(what);
    return name === undefined ? undefined : leases.get(name)?.get(what);
  }

  function forget(what: string): ObjectName | undefined {
    const name = holders.get(what);
    if (name === undefined) return undefined;
    holders.delete(what);
    const own = leases.get(name);
    own?.delete(what);
    if (own?.size === 0) leases.delete(name);
    return name;
  }

  return {
    guests,
    leases: leasesOf,
    withLearned: (guest, own = leasesOf(guest.name)) => withAll(guest, own),
    setGuest: (name, guest) => {
      if (guest === undefined) declared.delete(name);
      else declared.set(name, guest);
      take(name);
    },
    setLease: (what, lease) => {
      const next = lease?.learned === undefined ? undefined : lease;
      const before = heldAs(what);
      const former = forget(what);
      if (next !== undefined) {
        holders.set(what, next.guest);
        leases.set(next.guest, (leases.get(next.guest) ?? new Map<string, DhcpLease>()).set(what, next));
      }
      if (isSame(before, next)) return false;
      for (const name of new Set([former, next?.guest])) if (name !== undefined) take(name);
      return true;
    },
  };
}

/** A renewal gives nobody another address. */
function isSame(a: DhcpLease | undefined, b: DhcpLease | undefined): boolean {
  return a?.guest === b?.guest && a?.nic === b?.nic && a?.mac === b?.mac && a?.state === b?.state;
}
