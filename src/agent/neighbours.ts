/**
 * ARP and neighbour discovery answered on the port (contract section 2, suppression), and router advertisements for networks with IPv6.
 * The guard keeps a question back only while this host says, again and again, that it is there to answer: an agent that ends leaves nobody unanswered.
 */

import { advertisement, answerNeighbour, RESPONDER_MAC, type RouterOffer } from "../addressing/neighbour-answers.ts";
import type { Frames, LoggedFrame, OutgoingFrame } from "../kernel/frames.ts";
import type { Nft } from "../kernel/nft.ts";
import { sameBytes } from "../model/bytes.ts";
import type { NicTell } from "../model/dhcp.ts";
import { isIpv6 } from "../model/ip-block.ts";
import type { Ipv4Address } from "../model/ipv4.ts";
import { type Ipv6Address, type Ipv6Prefix, prefix6Contains } from "../model/ipv6.ts";
import type { MacAddress } from "../model/mac.ts";
import type { ObjectName } from "../model/names.ts";
import type { NetworkSpec } from "../model/resources.ts";
import { link6At, linkLength } from "../model/transport.ts";
import { BROUTED_GATEWAY6, HOST_PORT_MAC, PORT_GATEWAY6 } from "../model/wiring.ts";
import { address6Of, nicsOf } from "../plan/sources.ts";
import { type NetworkFacts, suppressElement } from "../ruleset/elements.ts";
import { logGroups } from "../ruleset/parts.ts";
import type { Mirror } from "./mirror.ts";
import type { PortState, Ports } from "./ports.ts";

export interface Neighbours {
  /** Takes up what the site says now for this port. */
  refresh(state: PortState): void;
  forget(ifindex: number): void;
  stop(): void;
}

export interface NeighbourParts {
  readonly frames: Frames;
  readonly nft: Nft;
  readonly table: string;
  readonly mirror: Mirror;
  readonly ports: Ports;
  readonly facts: () => ReadonlyMap<ObjectName, NetworkFacts>;
  /** Something went wrong with the kernel; the questions then go out as if nobody answered them. */
  readonly failed: (error: unknown) => void;
}

/** A third of the time the guard believes it (2 s): one may be late, and one lost. */
const BEAT_MS = 600;
/** RFC 4861 section 6.2.1: the usual longest time between two advertisements nobody asked for. */
const ADVERTISE_MS = 600_000;

type Owners = ReadonlyMap<string, MacAddress>;

/** What others may be told of every network: not what several may have, which is wherever it was announced last. */
function ownersOf(facts: ReadonlyMap<ObjectName, NetworkFacts>): ReadonlyMap<ObjectName, Owners> {
  return new Map([...facts].map(([name, network]) => [name, ownersIn(network)]));
}

function ownersIn({ gateway4, gateway6, gatewayMac, members }: NetworkFacts): Owners {
  const owners = new Map<string, MacAddress>();
  for (const { what, mac, shared } of members) if ("address" in what && shared !== true) owners.set(what.address, mac);
  if (gatewayMac !== undefined) {
    owners.set(gateway4, gatewayMac);
    if (gateway6 !== undefined) owners.set(gateway6, gatewayMac);
  }
  return owners;
}

/** Where the host routes everybody of the prefix is where the host is, whether anybody knows them or not. */
function routerFor(spec: NetworkSpec | undefined, address: Ipv4Address | Ipv6Address): MacAddress | undefined {
  if (spec === undefined || spec.wiring.kind === "bridged" || spec.prefix6 === undefined || !isIpv6(address))
    return undefined;
  return prefix6Contains(spec.prefix6, address) ? HOST_PORT_MAC : undefined;
}

/** Where the host is the router: the guest's own link, or a prefix of which nothing is on the link. */
function routedLink(
  wiring: NetworkSpec["wiring"],
  prefix6: Ipv6Prefix,
  address6: Ipv6Address | undefined,
): Pick<RouterOffer, "prefix" | "offLink" | "gateway"> {
  const gateway = wiring.kind === "brouted" ? BROUTED_GATEWAY6 : PORT_GATEWAY6;
  if (linkLength(wiring) === undefined || address6 === undefined) return { prefix: prefix6, offLink: true, gateway };
  return { prefix: link6At(address6).prefix, gateway };
}

/** @param nic who asks */
function routerOffer(
  { prefix6, gateway6, gatewayMac, addressing, wiring }: NetworkSpec,
  nic: { readonly address6: Ipv6Address | undefined; readonly tell: NicTell | undefined },
): RouterOffer | undefined {
  // Whoever was configured by hand has its router from there too, and would lose it with the host's.
  if (prefix6 === undefined || addressing.kind === "static" || addressing.kind === "mac") return undefined;
  const own = addressing.kind === "managed" ? addressing : { mtu: undefined, dns6: [] };
  const { mtu, dns6: dns } = { ...own, ...nic.tell };
  if (wiring.kind !== "bridged") {
    const offer = { ...routedLink(wiring, prefix6, nic.address6), gatewayMac: HOST_PORT_MAC, dns };
    return mtu === undefined ? offer : { ...offer, mtu };
  }
  return {
    prefix: prefix6,
    ...(gateway6 === undefined ? {} : { gateway: gateway6 }),
    ...(gatewayMac === undefined ? {} : { gatewayMac }),
    ...(mtu === undefined ? {} : { mtu }),
    dns,
  };
}

export function startNeighbours(parts: NeighbourParts): Neighbours {
  const { frames, nft, table, mirror, ports, facts, failed } = parts;
  /** What was last advertised on each port. */
  const advertised = new Map<number, Uint8Array>();
  let owners: { readonly site: number; readonly of: ReadonlyMap<ObjectName, Owners> } | undefined;

  function ownerOf(network: ObjectName, address: Ipv4Address | Ipv6Address): MacAddress | undefined {
    if (owners?.site !== mirror.siteVersion) owners = { site: mirror.siteVersion, of: ownersOf(facts()) };
    return owners.of.get(network)?.get(address) ?? routerFor(mirror.networks.get(network), address);
  }

  /** The port's network, and the router it is told of. */
  function networkOf({ attachment }: PortState): readonly [ObjectName, RouterOffer | undefined] | undefined {
    const guest = mirror.guests.get(attachment.guest);
    const nic = guest === undefined ? undefined : nicsOf(guest)[attachment.nic];
    const spec = nic === undefined ? undefined : mirror.networks.get(nic.identity.network);
    if (nic === undefined || spec === undefined) return undefined;
    const { tell } = nic.spec;
    return [nic.identity.network, routerOffer(spec, { address6: address6Of(nic, spec), tell })];
  }

  function answer({ inIfindex, bytes }: LoggedFrame): readonly OutgoingFrame[] {
    const state = ports.byIndex(inIfindex);
    const network = state === undefined ? undefined : networkOf(state);
    if (network === undefined) return [];
    const [name, router] = network;
    const said = answerNeighbour(bytes, (address) => ownerOf(name, address), router, RESPONDER_MAC);
    return said.ok ? [{ ifindex: inIfindex, bytes: said.value }] : [];
  }

  function hear(batch: readonly LoggedFrame[]): void {
    const answers = batch.flatMap(answer);
    if (answers.length > 0) frames.send(answers);
  }

  /** What the port is to hear; nothing where somebody else advertises, or where nothing is touched. */
  function advertisementFor(state: PortState): Uint8Array | undefined {
    if (state.state !== "applied" || state.wish === undefined || state.wish.binding.observed) return undefined;
    const offer = networkOf(state)?.[1];
    return offer === undefined ? undefined : advertisement(offer, RESPONDER_MAC, { mac: state.wish.binding.mac });
  }

  function refresh(state: PortState): void {
    const { ifindex } = state.attachment;
    const bytes = advertisementFor(state);
    const before = advertised.get(ifindex);
    if (bytes === undefined) advertised.delete(ifindex);
    if (bytes === undefined || (before !== undefined && sameBytes(before, bytes))) return;
    advertised.set(ifindex, bytes);
    frames.send([{ ifindex, bytes }]);
  }

  function advertiseAll(): void {
    frames.send([...advertised].map(([ifindex, bytes]) => ({ ifindex, bytes })));
  }

  /** Networks whose questions are kept back, and which have a port here. */
  function suppressed(): readonly number[] {
    const present = new Set(ports.list().flatMap(({ wish }) => (wish === undefined ? [] : [wish.binding.network])));
    return [...facts()].flatMap(([name, { network }]) =>
      present.has(network) && mirror.networks.get(name)?.suppression === true ? [network] : [],
    );
  }

  const set = { family: "netdev", table, set: "suppress" } as const;
  const elementsOf = (networks: readonly number[]) =>
    networks.map((network) => ({ key: suppressElement(network).key }));
  let beating: readonly number[] = [];

  /** An element that is there keeps its time when it is added again: it must go first, and it cannot go when it is not there. */
  function beat(): void {
    const now = suppressed();
    const over = beating.filter((network) => !now.includes(network));
    const elements = elementsOf(now);
    try {
      if (over.length > 0) withdraw(over);
      if (now.length > 0)
        nft.commit([
          { op: "add-elements", set, elements },
          { op: "delete-elements", set, elements },
          { op: "add-elements", set, elements },
        ]);
      beating = now;
    } catch (error) {
      failed(error);
    }
  }

  function withdraw(networks: readonly number[]): void {
    const elements = elementsOf(networks);
    nft.commit([
      { op: "add-elements", set, elements },
      { op: "delete-elements", set, elements },
    ]);
  }

  const subscription = frames.subscribe(logGroups.neighbours, hear, () => undefined);
  const beats = setInterval(beat, BEAT_MS);
  const advertising = setInterval(advertiseAll, ADVERTISE_MS);
  beats.unref();
  advertising.unref();

  return {
    refresh,
    forget: (ifindex) => {
      advertised.delete(ifindex);
    },
    stop: () => {
      clearInterval(beats);
      clearInterval(advertising);
      try {
        if (beating.length > 0) withdraw(beating);
      } catch (error) {
        failed(error);
      }
      subscription.close();
    },
  };
}
