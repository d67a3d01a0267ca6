/** Who holds which address and which MAC: what the store says, with what a plan gives back and takes laid over it. */
import type { Ipv4Address } from "../model/ipv4.ts";
import type { Ipv6Address } from "../model/ipv6.ts";
import type { ObjectName } from "../model/names.ts";
import type { Key } from "../store/store.ts";

/** A NIC of a guest, by its place in the guest's spec. */
export interface Claim {
  readonly guest: ObjectName;
  readonly nic: number;
}

/** The layout of the site in the store. Names, addresses and MACs contain no slash. */
export const siteKeys = {
  network: (name: string): Key => `network/${name}`,
  group: (name: string): Key => `group/${name}`,
  guest: (name: string): Key => `guest/${name}`,
  /** @param what `network/address` */
  address: (what: string): Key => `address/${what}`,
  public: (address: string): Key => `public/${address}`,
  mac: (what: string): Key => `mac/${what}`,
  /** Which host may answer for a NIC. */
  nicClaim: (guest: string, nic: number): Key => `claim/${guest}/${nic}`,
} as const;

/** How an address is named among the claims of all networks. */
export function addressOn(network: ObjectName, address: Ipv4Address | Ipv6Address): string {
  return `${network}/${address}`;
}

export function sameClaim(a: Claim | undefined, b: Claim | undefined): boolean {
  return a?.guest === b?.guest && a?.nic === b?.nic;
}

export interface Claims {
  holder(what: string): Claim | undefined;
  claim(what: string, claim: Claim): void;
  /** Without effect when somebody else holds it. */
  release(what: string, claim: Claim): void;
  all(): Iterable<readonly [string, Claim]>;
  /** What is held by another than before; undefined: by nobody any more. */
  changed(): readonly (readonly [string, Claim | undefined])[];
}

export function createClaims(held: ReadonlyMap<string, Claim>): Claims {
  const laid = new Map<string, Claim | undefined>();
  const holder = (what: string): Claim | undefined => (laid.has(what) ? laid.get(what) : held.get(what));
  return {
    holder,
    claim: (what, claim) => {
      laid.set(what, claim);
    },
    release: (what, claim) => {
      if (sameClaim(holder(what), claim)) laid.set(what, undefined);
    },
    all: function* () {
      for (const [what, claim] of held) if (!laid.has(what)) yield [what, claim];
      for (const [what, claim] of laid) if (claim !== undefined) yield [what, claim];
    },
    changed: () => [...laid].filter(([what, claim]) => !sameClaim(held.get(what), claim)),
  };
}
