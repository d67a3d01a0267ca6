/** What a port inside (wiring `nat`) needs besides a routed one: how its NIC is seen outside, and a host that answers for the public addresses. */
import type { RouteItem } from "../kernel/routes.ts";
import { GuardError } from "../model/errors.ts";
import type { IpAddress } from "../model/ip-block.ts";
import { type Ipv4Address, ipv4ToBytes } from "../model/ipv4.ts";
import type { ObjectName } from "../model/names.ts";
import type { Attachment, Masquerade, NicSpec, Wiring } from "../model/resources.ts";
import { forwardsOf } from "../model/translation.ts";
import type { NetworkFacts, Source } from "../ruleset/elements.ts";
import { LOOPBACK } from "../ruleset/nat.ts";
import type { Translation } from "../ruleset/nat-elements.ts";
import { PROTOCOL } from "../ruleset/parts.ts";
import type { SiteView } from "./desired.ts";
import type { HostWish } from "./host.ts";
import type { TrackedFlow } from "./policy-flows.ts";

export type NatWiring = Extract<Wiring, { readonly kind: "nat" }>;

function leavesBy(public4: Ipv4Address | undefined, masquerade: Masquerade): Translation["leavesBy"] {
  if (public4 !== undefined) return public4;
  if (masquerade === false) return undefined;
  return masquerade === true ? "uplink" : masquerade;
}

/** What the LAN holds of a network inside is not its IPv4 prefix; what else it holds, the host's uplink says. */
export const insideFacts = (facts: NetworkFacts): NetworkFacts => ({
  ...facts,
  routed: { ...facts.routed, isInside: true },
});

/** Where nothing is translated the rules know nothing of an inside. */
export function untranslatedFacts({ routed, ...facts }: NetworkFacts): NetworkFacts {
  const { isInside: _, ...rest } = routed ?? {};
  return { ...facts, routed: rest };
}

export function translationOf(
  { public4, services = [] }: Pick<NicSpec, "public4" | "services">,
  sources: readonly Source[],
  { masquerade }: NatWiring,
): Translation {
  const insides = sources.flatMap(({ what }) => (what.kind === "address4" ? [what.address] : []));
  const by = leavesBy(public4, masquerade);
  return {
    insides,
    forwards: forwardsOf(services),
    ...(public4 === undefined ? {} : { public4 }),
    ...(by === undefined ? {} : { leavesBy: by }),
  };
}

/** Every address by which something of the NIC is seen outside, but the uplink's own. */
export function publicAddresses({ public4, forwards, leavesBy: by }: Translation): readonly Ipv4Address[] {
  const named = [public4, by === "uplink" ? undefined : by, ...forwards.map(({ public4: address }) => address)];
  return [...new Set(named.filter((address) => address !== undefined))];
}

/** Those that other guests may have as well, as long as they are on the same host. */
export const sharedAddresses = (translation: Translation): readonly Ipv4Address[] =>
  publicAddresses(translation).filter((address) => address !== translation.public4);

/** Which of its shared addresses a NIC that is attached elsewhere has, too. */
export function sharedWith(
  { guests, networks }: SiteView,
  translation: Translation,
  { guest, nic }: Pick<Attachment, "guest" | "nic">,
): Ipv4Address | undefined {
  const spec = guests.get(guest)?.spec.nics[nic];
  const wiring = spec === undefined ? undefined : networks.get(spec.network)?.wiring;
  if (spec === undefined || wiring?.kind !== "nat") return undefined;
  const theirs = publicAddresses(translationOf(spec, [], wiring));
  return sharedAddresses(translation).find((address) => theirs.includes(address));
}

/**
 * The kernel answers ARP by a proxy entry only for what it would route elsewhere (arp_process()), and a public address is of the LAN. The route to the loopback device
 * makes it elsewhere, and is where what no rule translates ends.
 */
export function publicItems(translation: Translation, uplink: number): readonly RouteItem[] {
  return publicAddresses(translation).flatMap((text): RouteItem[] => {
    const address = ipv4ToBytes(text);
    return [
      { kind: "route", ifindex: LOOPBACK, address, length: 32 },
      { kind: "proxy", ifindex: uplink, address },
    ];
  });
}

/** @throws ADDRESS_TAKEN when the host itself has one of them */
export function assertNotHosts(
  translation: Translation,
  network: ObjectName,
  isOwn: (address: Uint8Array) => boolean,
): void {
  const address = publicAddresses(translation).find((one) => isOwn(ipv4ToBytes(one)));
  if (address === undefined) return;
  throw new GuardError("ADDRESS_TAKEN", `public address ${address} of network '${network}' is this host's own`, {
    fields: { address, network },
  });
}

/** Of what is outside: the guest behind it, with its port where only that is offered. */
interface Led {
  readonly whole: ReadonlyMap<IpAddress, IpAddress>;
  readonly ports: ReadonlyMap<string, string>;
  readonly leaves: ReadonlyMap<IpAddress, Translation["leavesBy"]>;
}

function ledBy(ports: HostWish["ports"]): Led {
  const [whole, byPort, leaves] = [
    new Map<IpAddress, IpAddress>(),
    new Map<string, string>(),
    new Map<IpAddress, Translation["leavesBy"]>(),
  ];
  for (const { nat } of ports.map(({ binding }) => binding)) {
    if (nat === undefined) continue;
    for (const inside of nat.insides) leaves.set(inside, nat.leavesBy);
    const [first] = nat.insides;
    if (nat.public4 !== undefined && first !== undefined) whole.set(nat.public4, first);
    for (const { public4, protocol, port, to } of nat.forwards)
      byPort.set(`${public4} ${PROTOCOL[protocol]} ${port}`, `${first} ${to}`);
  }
  return { whole, ports: byPort, leaves };
}

/** Tells of flows of this host's guests inside that would be led otherwise if they were opened now: the kernel goes on translating them as it began. */
export function misledBy({ ports }: Pick<HostWish, "ports">): (flow: TrackedFlow) => boolean {
  const { whole, ports: byPort, leaves } = ledBy(ports);
  return ({ from, to, protocol, toPort, reply }) => {
    if (reply === undefined) return false;
    const isLed = reply.from !== to && leaves.has(reply.from);
    const here = `${reply.from} ${reply.fromPort}`;
    if (isLed && whole.get(to) !== reply.from && byPort.get(`${to} ${protocol} ${toPort}`) !== here) return true;
    const by = leaves.get(from);
    const isToItself = reply.from === from;
    return reply.to !== from && leaves.has(from) && by !== "uplink" && by !== reply.to && !isToItself;
  };
}
