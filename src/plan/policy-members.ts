/** Who is who in a site, as the service policy sees it: NICs with their groups, found by name, by group and by address. */
import { blockHolds, type IpAddress, isIpv6 } from "../model/ip-block.ts";
import type { ObjectName } from "../model/names.ts";
import type { IpBlock, NetworkSpec, NicSpec } from "../model/resources.ts";
import { forwardsOf } from "../model/translation.ts";
import type { Source } from "../ruleset/elements.ts";
import type { SiteView } from "./desired.ts";
import { groupsOf } from "./policy.ts";
import { nicsOf, sourcesOf } from "./sources.ts";

/** A NIC of a guest. */
export interface Member {
  /** Such as `web1/0`. */
  readonly name: string;
  readonly guest: ObjectName;
  readonly nic: number;
  readonly spec: NicSpec;
  readonly network: ObjectName;
  readonly networkSpec: NetworkSpec;
  readonly groups: readonly ObjectName[];
  readonly sources: readonly Source[];
}

export interface Members {
  readonly site: SiteView;
  readonly all: readonly Member[];
  /** The NICs of a guest, in order; undefined when there is no such guest. */
  ofGuest(guest: ObjectName): readonly Member[] | undefined;
  /** How many NICs carry the group. */
  countOf(group: ObjectName): number;
  /** Everybody who may have the address, on whatever network. */
  holders(address: IpAddress): readonly Member[];
  /** The NIC behind a port of a public address, and its own port. */
  led(address: IpAddress, protocol: "tcp" | "udp", port: number): Led | undefined;
  /** Whether only ports of it lead to anybody. */
  isShared(address: IpAddress): boolean;
}

export interface Led {
  readonly member: Member;
  readonly to: number;
}

function membersOf(site: SiteView): readonly Member[] {
  return [...site.guests.values()].flatMap((guest) =>
    nicsOf(guest).flatMap((nic, n): readonly Member[] => {
      const { network } = nic.identity;
      const networkSpec = site.networks.get(network);
      if (networkSpec === undefined) return [];
      const groups = groupsOf(nic.spec, networkSpec);
      const sources = sourcesOf(nic, networkSpec);
      return [
        {
          name: `${guest.name}/${n}`,
          guest: guest.name,
          nic: n,
          spec: nic.spec,
          network,
          networkSpec,
          groups,
          sources,
        },
      ];
    }),
  );
}

function put<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const list = map.get(key);
  if (list === undefined) map.set(key, [value]);
  else list.push(value);
}

export function siteMembers(site: SiteView): Members {
  const all = membersOf(site);
  const byGuest = new Map<ObjectName, Member[]>([...site.guests.keys()].map((guest) => [guest, []]));
  const byAddress = new Map<IpAddress, Member[]>();
  const prefixes: { readonly what: IpBlock; readonly member: Member }[] = [];
  const counts = new Map<ObjectName, number>();
  const led = new Map<string, Led>();
  const shared = new Set<IpAddress>();
  for (const member of all) {
    if (member.spec.public4 !== undefined) put(byAddress, member.spec.public4, member);
    for (const { public4, protocol, port, to } of forwardsOf(member.spec.services ?? [])) {
      led.set(`${public4}/${protocol}/${port}`, { member, to });
      shared.add(public4);
    }
    put(byGuest, member.guest, member);
    for (const group of member.groups) counts.set(group, (counts.get(group) ?? 0) + 1);
    for (const { what } of member.sources) {
      if ("address" in what) put(byAddress, what.address, member);
      else prefixes.push({ what, member });
    }
  }
  return {
    site,
    all,
    ofGuest: (guest) => byGuest.get(guest),
    led: (address, protocol, port) => led.get(`${address}/${protocol}/${port}`),
    isShared: (address) => shared.has(address),
    countOf: (group) => counts.get(group) ?? 0,
    holders: (address) => {
      const behind = prefixes.filter(({ what }) => blockHolds(what, address)).map(({ member }) => member);
      return [...new Set([...(byAddress.get(address) ?? []), ...behind])];
    },
  };
}

/** Carried by whoever may have the address. */
export function groupsAt(members: Members, address: IpAddress): ReadonlySet<ObjectName> {
  return new Set(members.holders(address).flatMap(({ groups }) => groups));
}

/** The addresses a NIC speaks with when nothing else is said: its first of each family that is its alone and no link's. */
export function mainAddresses({ sources }: Member): readonly IpAddress[] {
  const own = sources.flatMap(({ what, shared }) => ("address" in what && shared !== true ? [what.address] : []));
  const four = own.find((address) => !isIpv6(address));
  // Of IPv6 the link-local one comes first (`sourcesOf`).
  const six = own.filter(isIpv6)[1];
  return [...(four === undefined ? [] : [four]), ...(six === undefined ? [] : [six])];
}
