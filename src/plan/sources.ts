/** Who a NIC may speak as: what the operator declared and what was decided for it. */
import { eui64Address, type Ipv6Address, linkLocalOf } from "../model/ipv6.ts";
import type { Guest, IpBlock, NetworkSpec, NicIdentity, NicSpec } from "../model/resources.ts";
import { linkLength, twinOf } from "../model/transport.ts";
import type { Source } from "../ruleset/elements.ts";

/** A NIC as the operator declared it, and who it came to be. */
export interface SiteNic {
  readonly spec: NicSpec;
  readonly identity: NicIdentity;
}

/** A guest is a value that nobody changes, and is asked about again with every change of another. */
const known = new WeakMap<Guest, readonly SiteNic[]>();

/** The NICs that have an identity, in order. */
export function nicsOf(guest: Guest): readonly SiteNic[] {
  const before = known.get(guest);
  if (before !== undefined) return before;
  const nics = guest.nics.flatMap((identity, n) => {
    const own = guest.spec.nics[n];
    return own === undefined ? [] : [{ spec: own, identity }];
  });
  known.set(guest, nics);
  return nics;
}

/** The NIC's own IPv6 address: as the operator says, the prefix with the interface identifier of the MAC, that of the link beside its IPv4 link, or what was learned; undefined without a prefix, or before that. */
export function address6Of(
  { spec, identity }: SiteNic,
  { prefix4, prefix6, wiring }: Pick<NetworkSpec, "prefix4" | "prefix6" | "wiring">,
): Ipv6Address | undefined {
  if (prefix6 === undefined) return undefined;
  if (identity.addresses6 !== undefined) return identity.addresses6[0];
  if (spec.address6 !== undefined) return spec.address6;
  const [length, address] = [linkLength(wiring), identity.addresses4[0]];
  if (length === undefined) return eui64Address(prefix6, identity.mac);
  return address === undefined ? undefined : twinOf({ prefix4, prefix6 }, length, address);
}

const spoken = new WeakMap<SiteNic, { readonly network: NetworkSpec; readonly sources: readonly Source[] }>();

/** Everything a NIC may speak as in its network; the same for the guard of its port and for what others may be told of it. */
export function sourcesOf(nic: SiteNic, network: NetworkSpec): readonly Source[] {
  const before = spoken.get(nic);
  if (before?.network === network) return before.sources;
  const sources = sourcesIn(nic, network);
  spoken.set(nic, { network, sources });
  return sources;
}

function sourcesIn(nic: SiteNic, network: NetworkSpec): readonly Source[] {
  const { spec, identity } = nic;
  const { mac, addresses4 } = identity;
  const own: IpBlock[] = addresses4.map((address) => ({ kind: "address4", address }));
  if (network.prefix6 !== undefined) own.push({ kind: "address6", address: linkLocalOf(mac) });
  const address6 = address6Of(nic, network);
  if (address6 !== undefined) own.push({ kind: "address6", address: address6 });
  const pairs = spec.allowedPairs.map((pair): Source => ({ what: pair.what, mac: pair.mac ?? mac, shared: true }));
  return [...[...own, ...spec.addresses].map((what): Source => ({ what, mac })), ...pairs];
}
