/** Who holds which address and which MAC, and what cools down: what the store says, with what a plan gives back and takes laid over it. */
import type { Cooling } from "../model/cool-down.ts";
import type { Ipv4Address } from "../model/ipv4.ts";
import type { Ipv6Address } from "../model/ipv6.ts";
import type { ObjectName } from "../model/names.ts";
import type { Key } from "../store/store.ts";

/** A NIC of a guest, by its place in the guest's spec. */
export interface Claim {
  readonly guest: ObjectName;
  readonly nic: number;
}

/** The NIC that had it last. */
export interface CoolingClaim extends Claim {
  readonly cooling: Cooling;
}

/** What becomes of an address or a MAC by a plan. */
export type Fate =
  | { readonly kind: "held"; readonly claim: Claim }
  | { readonly kind: "cools"; readonly claim: Claim; readonly seconds: number }
  | { readonly kind: "free" };

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
  /** Who gave it up in an earlier plan; undefined when somebody has it again. */
  cooling(what: string): CoolingClaim | undefined;
  /** Given up by this plan, to cool down unless somebody names it. */
  isLeft(what: string): boolean;
  /** What a guest gave up in earlier plans and nobody has again. */
  formerly(guest: ObjectName): readonly (readonly [string, CoolingClaim])[];
  /** All that cools down or will. */
  cold(): Iterable<string>;
  claim(what: string, claim: Claim): void;
  /** Without effect when somebody else holds it. @param coolDown in seconds */
  release(what: string, claim: Claim, coolDown: number): void;
  all(): Iterable<readonly [string, Claim]>;
  /** What is otherwise than before. */
  changed(): readonly (readonly [string, Fate])[];
}

function byGuest(cooling: ReadonlyMap<string, CoolingClaim>): ReadonlyMap<string, (readonly [string, CoolingClaim])[]> {
  const found = new Map<string, (readonly [string, CoolingClaim])[]>();
  for (const entry of cooling) {
    const list = found.get(entry[1].guest);
    if (list === undefined) found.set(entry[1].guest, [entry]);
    else list.push(entry);
  }
  return found;
}

export function createClaims(
  held: ReadonlyMap<string, Claim>,
  cooling: ReadonlyMap<string, CoolingClaim> = new Map(),
): Claims {
  const laid = new Map<string, Fate>();
  let former: ReturnType<typeof byGuest> | undefined;
  const isSame = (what: string, fate: Fate): boolean =>
    fate.kind === "held" ? sameClaim(held.get(what), fate.claim) : !held.has(what);
  const holder = (what: string): Claim | undefined => {
    const fate = laid.get(what);
    if (fate === undefined) return held.get(what);
    return fate.kind === "held" ? fate.claim : undefined;
  };
  const isLeft = (what: string): boolean => laid.get(what)?.kind === "cools";
  return {
    holder,
    cooling: (what) => (laid.has(what) ? undefined : cooling.get(what)),
    isLeft,
    formerly: (guest) => {
      former ??= byGuest(cooling);
      return (former.get(guest) ?? []).filter(([what]) => !laid.has(what));
    },
    cold: function* () {
      for (const what of cooling.keys()) if (!laid.has(what)) yield what;
      for (const what of laid.keys()) if (isLeft(what)) yield what;
    },
    claim: (what, claim) => {
      laid.set(what, { kind: "held", claim });
    },
    release: (what, claim, seconds) => {
      if (!sameClaim(holder(what), claim)) return;
      laid.set(what, seconds > 0 ? { kind: "cools", claim, seconds } : { kind: "free" });
    },
    all: function* () {
      for (const [what, claim] of held) if (!laid.has(what)) yield [what, claim];
      for (const [what, fate] of laid) if (fate.kind === "held") yield [what, fate.claim];
    },
    changed: () => [...laid].filter(([what, fate]) => !isSame(what, fate)),
  };
}
