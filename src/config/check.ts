/** What the objects of a site must fulfil together, among themselves and with what exists already. */
import { isLearned } from "../model/addressing.ts";
import { ipBlockText } from "../model/ip-block.ts";
import type { Ipv4Address } from "../model/ipv4.ts";
import { type Ipv6Address, type Ipv6Prefix, prefix6Contains } from "../model/ipv6.ts";
import type { ObjectName } from "../model/names.ts";
import { suggestion } from "../model/nearest.ts";
import type { GroupRule, GroupSpec } from "../model/policy.ts";
import type { GuestSpec, IpBlock, NetworkSpec, NicSpec, Resource, Wiring } from "../model/resources.ts";
import { linkLength, notRightHand4, notRightHand6 } from "../model/transport.ts";
import { wireOf } from "../model/wiring.ts";
import { nicTellFaults } from "./dhcp-rules.ts";
import { type Fault, type FieldPath, type Locate, placeText, siteInvalid } from "./faults.ts";
import { natNicFaults } from "./nat.ts";
import { notAHost, objectFaults, rangesMeet, rangeText } from "./rules.ts";
import { poolOf, sharedPoolFaults } from "./transport.ts";

/** What the store holds; the plan's `HeldSite` fits. */
export interface ExistingSite {
  readonly networks: ReadonlyMap<ObjectName, NetworkSpec>;
  readonly groups: ReadonlyMap<ObjectName, GroupSpec>;
}

type Named<Spec> = { readonly name: ObjectName; readonly spec: Spec };
type Found = { readonly field: FieldPath; readonly says: string };

/** Where a fixed value was seen first. */
interface Use {
  readonly guest: ObjectName;
  readonly nic: number;
}

interface Bench {
  readonly networks: ReadonlyMap<ObjectName, NetworkSpec>;
  readonly groups: ReadonlyMap<ObjectName, GroupSpec>;
  /** Networks by the wire they share: there one address is one machine, whatever the network's name. */
  readonly byWire: ReadonlyMap<string, readonly Named<NetworkSpec>[]>;
  readonly fixed: Map<string, Use>;
  readonly locate: Locate;
  suggest(word: string, among: "networks" | "groups"): string;
}

function overlay<Spec>(
  held: ReadonlyMap<ObjectName, Spec>,
  wanted: readonly Named<Spec>[],
): ReadonlyMap<ObjectName, Spec> {
  const all = new Map(held);
  for (const { name, spec } of wanted) all.set(name, spec);
  return all;
}

function groupByWire(networks: ReadonlyMap<ObjectName, NetworkSpec>): Bench["byWire"] {
  const groups = new Map<string, Named<NetworkSpec>[]>();
  for (const [name, spec] of networks) {
    const list = groups.get(wireOf(spec.wiring));
    if (list === undefined) groups.set(wireOf(spec.wiring), [{ name, spec }]);
    else list.push({ name, spec });
  }
  return groups;
}

function createBench(resources: readonly Resource[], existing: ExistingSite, locate: Locate): Bench {
  const networks = overlay(
    existing.networks,
    resources.filter((resource) => resource.kind === "network"),
  );
  const groups = overlay(
    existing.groups,
    resources.filter((resource) => resource.kind === "group"),
  );
  // A file with one wrong name in thousands of guests asks for the same word again and again.
  const known = new Map<string, string>();
  const suggest: Bench["suggest"] = (word, among) => {
    const key = `${among}/${word}`;
    const text = known.get(key) ?? suggestion(word, (among === "networks" ? networks : groups).keys());
    known.set(key, text);
    return text;
  };
  return { networks, groups, byWire: groupByWire(networks), fixed: new Map(), locate, suggest };
}

function* networkFaults(bench: Bench, { name, spec }: Named<NetworkSpec>): Iterable<Found> {
  const where = "bridge" in spec.wiring ? `on the same bridge '${spec.wiring.bridge}'` : "routed by the same host";
  for (const other of bench.byWire.get(wireOf(spec.wiring)) ?? []) {
    if (other.name === name) continue;
    for (const [n, range] of spec.range4.entries()) {
      const met = other.spec.range4.find((theirs) => rangesMeet(range, theirs));
      if (met === undefined) continue;
      const says = `${rangeText(range)} overlaps ${rangeText(met)} of network '${other.name}' ${where}`;
      yield { field: ["spec", "range4", n], says };
    }
  }
  yield* sharedPoolFaults({ name, spec }, bench.byWire.get(wireOf(spec.wiring)) ?? []);
  yield* memberFaults(bench, spec.groups, ["spec", "groups"]);
}

function* ruleFaults(
  bench: Bench,
  rules: readonly GroupRule[],
  field: FieldPath,
  peer: "from" | "to",
): Iterable<Found> {
  for (const [n, rule] of rules.entries()) {
    if (rule.peer.kind !== "group" || bench.groups.has(rule.peer.group)) continue;
    yield { field: [...field, n, peer, "group"], says: noGroup(bench, rule.peer.group) };
  }
}

const noGroup = (bench: Bench, name: ObjectName): string =>
  `there is no group '${name}'${bench.suggest(name, "groups")}`;

function* groupFaults(bench: Bench, { spec }: Named<GroupSpec>): Iterable<Found> {
  yield* ruleFaults(bench, spec.ingress, ["spec", "ingress"], "from");
  yield* ruleFaults(bench, spec.egress ?? [], ["spec", "egress"], "to");
}

function* memberFaults(bench: Bench, groups: readonly ObjectName[], field: FieldPath): Iterable<Found> {
  for (const [n, group] of groups.entries())
    if (!bench.groups.has(group)) yield { field: [...field, n], says: noGroup(bench, group) };
}

function notForGuests(bench: Bench, network: NetworkSpec, address: Ipv4Address): string | undefined {
  const length = linkLength(network.wiring);
  if (length !== undefined) return notRightHand4(network.prefix4, length, address);
  const why = notAHost(network.prefix4, address);
  if (why !== undefined) return why;
  const owner = bench.byWire.get(wireOf(network.wiring))?.find(({ spec }) => spec.gateway4 === address);
  return owner === undefined ? undefined : `${address} is the gateway of network '${owner.name}'`;
}

/** What is said when somebody before has the same fixed value. */
function again(bench: Bench, key: string, use: Use, field: "mac" | "address4"): string | undefined {
  const first = bench.fixed.get(key);
  if (first === undefined) {
    bench.fixed.set(key, use);
    return undefined;
  }
  const at = bench.locate({ kind: "guest", name: first.guest }, ["spec", "nics", first.nic, field]);
  return `NIC ${first.nic} of guest '${first.guest}' has the same${at === undefined ? "" : ` (${placeText(at)})`}`;
}

function* decidedElsewhere(nic: NicSpec, { addressing }: NetworkSpec, { nic: n }: Use): Iterable<Found> {
  const says = `the DHCP servers of network '${nic.network}' decide (${addressing.kind}): reserve it there`;
  for (const name of ["address4", "address6"] as const)
    if (isLearned(addressing) && nic[name] !== undefined) yield { field: ["spec", "nics", n, name], says };
}

function* addressFaults(bench: Bench, nic: NicSpec, network: NetworkSpec, use: Use): Iterable<Found> {
  const { address4 } = nic;
  if (address4 === undefined) return;
  const field = ["spec", "nics", use.nic, "address4"];
  const why = notForGuests(bench, network, address4);
  if (why !== undefined) yield { field, says: why };
  const twice = again(bench, `${wireOf(network.wiring)}/${address4}`, use, "address4");
  if (twice !== undefined) yield { field, says: `${address4}: ${twice}` };
}

/** Why the NIC cannot have IPv6 as it says. */
function* address6Faults(
  nic: NicSpec,
  { prefix6, wiring, addressing }: NetworkSpec,
  field: FieldPath,
): Iterable<Found> {
  const { address6, network } = nic;
  if (prefix6 === undefined) {
    const more = [...nic.addresses, ...nic.allowedPairs.map(({ what }) => what)];
    if (address6 !== undefined || more.some(isBlock6))
      yield { field, says: `names IPv6 addresses, and network '${network}' has no prefix6` };
    return;
  }
  const isLink = linkLength(wiring) !== undefined;
  if (address6 === undefined && !prefix6.endsWith("/64") && !isLink && !isLearned(addressing))
    yield {
      field,
      says: `needs its address6: only a /64 has room for the identifier of its MAC, and ${prefix6} is none`,
    };
  const why = address6 === undefined ? undefined : notForGuests6(prefix6, isLink, address6);
  if (why !== undefined) yield { field: [...field, "address6"], says: why };
}

function notForGuests6(prefix6: Ipv6Prefix, isLink: boolean, address: Ipv6Address): string | undefined {
  if (isLink) return notRightHand6(prefix6, address);
  return prefix6Contains(prefix6, address) ? undefined : `${address} is outside prefix6 ${prefix6}`;
}

/** What a NIC names besides its own address is no end of anybody's link. */
function* pooledFaults(bench: Bench, nic: NicSpec, network: NetworkSpec, field: FieldPath): Iterable<Found> {
  const wire = bench.byWire.get(wireOf(network.wiring)) ?? [];
  for (const [n, block] of nic.addresses.entries()) {
    const pool = poolOf(block, wire);
    const says = `${ipBlockText(block)} lies in the pool of network '${pool}', which is cut into links and nothing else`;
    if (pool !== undefined) yield { field: [...field, "addresses", n], says };
  }
}

/** IPv6 of a NIC, and whatever else it names of addresses that are its alone. */
function* moreAddressFaults(bench: Bench, nic: NicSpec, network: NetworkSpec, use: Use): Iterable<Found> {
  const field = ["spec", "nics", use.nic];
  const { gateway6 } = network;
  yield* address6Faults(nic, network, field);
  yield* pooledFaults(bench, nic, network, field);
  const named: readonly (readonly [FieldPath, string])[] = [
    ...(nic.address6 === undefined ? [] : [[[...field, "address6"], nic.address6] as const]),
    ...nic.addresses.flatMap((block, n) =>
      "address" in block ? [[[...field, "addresses", n], block.address] as const] : [],
    ),
  ];
  for (const [at, address] of named) {
    if (address === gateway6 || address === network.gateway4) yield { field: at, says: `${address} is the gateway` };
    const twice = again(bench, `${wireOf(network.wiring)}/${address}`, use, "address4");
    if (twice !== undefined) yield { field: at, says: `${address}: ${twice}` };
  }
}

const isBlock6 = ({ kind }: IpBlock): boolean => kind === "address6" || kind === "prefix6";

function* macFaults(bench: Bench, { mac }: NicSpec, network: NetworkSpec | undefined, use: Use): Iterable<Found> {
  if (mac === undefined) return;
  const field = ["spec", "nics", use.nic, "mac"];
  if (mac === network?.gatewayMac) yield { field, says: `${mac} is the gateway's MAC` };
  const twice = again(bench, mac, use, "mac");
  if (twice !== undefined) yield { field, says: `${mac}: ${twice}` };
}

/** What needs a link that guests share. */
function* routedNicFaults({ allowedPairs, roles }: NicSpec, kind: Wiring["kind"], field: FieldPath): Iterable<Found> {
  const why = `a ${kind} network has no link that guests share`;
  if (allowedPairs.length > 0)
    yield { field: [...field, "allowedPairs"], says: `${why}: an address is one NIC's ('addresses')` };
  if (roles.length > 0) yield { field: [...field, "roles"], says: `${why}, so nobody would hear the role ${roles[0]}` };
}

function* nicFaults(bench: Bench, nic: NicSpec, use: Use): Iterable<Found> {
  const field = ["spec", "nics", use.nic];
  const network = bench.networks.get(nic.network);
  if (network === undefined) {
    const says = `there is no network '${nic.network}'${bench.suggest(nic.network, "networks")}`;
    yield { field: [...field, "network"], says };
  } else {
    yield* decidedElsewhere(nic, network, use);
    yield* addressFaults(bench, nic, network, use);
    yield* moreAddressFaults(bench, nic, network, use);
  }
  yield* macFaults(bench, nic, network, use);
  if (network !== undefined && network.wiring.kind !== "bridged")
    yield* routedNicFaults(nic, network.wiring.kind, field);
  if (network !== undefined) yield* natNicFaults(nic, network, field);
  yield* memberFaults(bench, nic.groups, [...field, "groups"]);
  yield* nicTellFaults(nic.tell, network, [...field, "tell"]);
}

function* guestFaults(bench: Bench, { name, spec }: Named<GuestSpec>): Iterable<Found> {
  for (const [n, nic] of spec.nics.entries()) yield* nicFaults(bench, nic, { guest: name, nic: n });
}

function* togetherFaults(bench: Bench, resource: Resource): Iterable<Found> {
  switch (resource.kind) {
    case "network":
      return yield* networkFaults(bench, resource);
    case "group":
      return yield* groupFaults(bench, resource);
    default:
      return yield* guestFaults(bench, resource);
  }
}

/**
 * References, addresses and MACs that the file itself gets wrong. Addresses and MACs that somebody else already holds are the
 * plan's to refuse (ADDRESS_TAKEN, MAC_TAKEN): it knows what is given back in the same change.
 * @param locate of `readSite`; without it the faults name objects and fields, but no line
 * @throws SITE_INVALID with all faults
 */
export function checkSite(
  resources: readonly Resource[],
  existing: ExistingSite,
  locate: Locate = () => undefined,
): void {
  const bench = createBench(resources, existing, locate);
  const faults: Fault[] = [];
  for (const resource of resources) {
    const object = `${resource.kind} ${resource.name}`;
    for (const { field, says } of [...objectFaults(resource), ...togetherFaults(bench, resource)])
      faults.push({ at: locate(resource, field), object, field, says });
  }
  if (faults.length > 0) throw siteInvalid(faults);
}
