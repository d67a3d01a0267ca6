/** Which parts of a fleet's store concern this host: its own attachments, and whatever the rules of their ports speak of. */
import { isLearned } from "../model/addressing.ts";
import type { HostId, ObjectName } from "../model/names.ts";
import type { GroupSpec } from "../model/policy.ts";
import type { Attachment, Guest, NetworkSpec, NicSpec } from "../model/resources.ts";
import { wireOf } from "../model/wiring.ts";
import { networksSharing } from "../plan/learned.ts";
import { groupsOf } from "../plan/policy.ts";
import { address6Of, nicsOf, type SiteNic } from "../plan/sources.ts";
import { peerGroups } from "../plan/wanted.ts";
import { LEVEL } from "../store/read-record.ts";
import type { Place } from "../store/store.ts";

/** How much of the site is held: all of it, where the store is this host's own and for whoever asks for it, or what concerns the host. */
export type Scope = "site" | "host";

export interface ScopeView {
  readonly host: HostId;
  readonly networks: ReadonlyMap<ObjectName, NetworkSpec>;
  readonly groups: ReadonlyMap<ObjectName, GroupSpec>;
  /** Known whole. */
  readonly guests: ReadonlyMap<ObjectName, Guest>;
  readonly attachments: ReadonlyMap<string, Attachment>;
  /** Guests that are about to be attached here. */
  readonly asked: ReadonlySet<ObjectName>;
}

/** From these on it is known what else is needed. */
export const basePlaces = (host: HostId): readonly Place[] => [
  { key: LEVEL },
  "network/",
  "group/",
  `attachment/${host}/`,
];

export const guestPlace = (guest: ObjectName): Place => ({ key: `guest/${guest}` });

function nicsHere({ guests, attachments, asked }: ScopeView): readonly SiteNic[] {
  const attached = [...attachments.values()].flatMap(({ guest, nic }) => {
    const found = guests.get(guest);
    return (asked.has(guest) || found === undefined ? undefined : nicsOf(found)[nic]) ?? [];
  });
  const coming = [...asked].flatMap((name) => {
    const found = guests.get(name);
    return found === undefined ? [] : nicsOf(found);
  });
  return [...attached, ...coming];
}

/** Groups that rules of these NICs name, by whose members they are judged. */
function namedBy({ networks, groups }: ScopeView, specs: readonly NicSpec[]): ReadonlySet<ObjectName> {
  const own = new Set(specs.flatMap((spec) => groupsOf(spec, networks.get(spec.network))));
  return new Set([...own].flatMap((group) => peerGroups(groups.get(group) ?? { ingress: [] })));
}

/** Of what vifguard gives out a lease has a key that is known; what another server gives may be any. */
function leasesOf(nic: SiteNic, spec: NetworkSpec | undefined): readonly Place[] {
  if (spec === undefined || isLearned(spec.addressing)) return [];
  const address6 = address6Of(nic, spec);
  const addresses = [...nic.identity.addresses4, ...(address6 === undefined ? [] : [address6])];
  return addresses.map((address) => ({ key: `lease/${nic.identity.network}/${address}` }));
}

/** An address that several may have is judged by the groups of them all, whichever network of the wire they are on. */
function sharersOf(nics: readonly SiteNic[], { networks }: ScopeView): readonly ObjectName[] {
  const wireOn = (name: ObjectName): string | undefined => {
    const spec = networks.get(name);
    return spec === undefined ? undefined : wireOf(spec.wiring);
  };
  const sharing = nics.filter(({ spec }) => spec.allowedPairs.length > 0);
  const wires = new Set(sharing.map(({ identity }) => wireOn(identity.network)));
  return [...networks.keys()].filter((name) => wires.has(wireOn(name)));
}

/** @param here networks that ports of this host are on, or share their addresses */
function networkPlaces(here: ReadonlySet<ObjectName>, { networks }: ScopeView): readonly Place[] {
  return [...here].flatMap((name) => {
    const spec = networks.get(name);
    const learned = spec !== undefined && isLearned(spec.addressing) ? [`lease/${name}/`] : [];
    return [`address/${name}/`, ...learned];
  });
}

export function hostPlaces(view: ScopeView): readonly Place[] {
  const { networks, attachments, asked } = view;
  const guests = new Set([...asked, ...[...attachments.values()].map(({ guest }) => guest)]);
  const nics = nicsHere(view);
  const own = new Set(nics.map(({ identity }) => identity.network));
  const here = new Set([...own].flatMap((name) => networksSharing(networks, name).map((one) => one.name)));
  for (const name of sharersOf(nics, view)) here.add(name);
  const named = namedBy(
    view,
    nics.map(({ spec }) => spec),
  );
  // Its NICs that name no group are found by it alone.
  const carrying = [...networks].filter(([, spec]) => spec.groups.some((group) => named.has(group)));
  return [
    ...basePlaces(view.host),
    ...[...guests].flatMap((guest) => [guestPlace(guest), `claim/${guest}/`]),
    ...nics.flatMap((nic) => leasesOf(nic, networks.get(nic.identity.network))),
    ...networkPlaces(here, view),
    ...[...new Set([...here, ...carrying.map(([name]) => name)])].map((name) => `member/${name}/`),
    ...[...named].map((group) => `carrier/${group}/`),
  ];
}
