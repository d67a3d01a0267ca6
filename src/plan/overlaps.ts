/** What is one NIC's alone must meet nobody else's on the wire: single addresses are claimed one by one, prefixes and derived addresses are compared here. */
import { bytesText } from "../model/bytes.ts";
import { GuardError } from "../model/errors.ts";
import { blockOctets, ipBlockText } from "../model/ip-block.ts";
import type { ObjectName } from "../model/names.ts";
import type { Guest, IpBlock, NetworkSpec } from "../model/resources.ts";
import { link4At, link6At, linkLength } from "../model/transport.ts";
import { wireOf } from "../model/wiring.ts";
import { address6Of, nicsOf, type SiteNic } from "./sources.ts";

/** First and last address as text that sorts as the addresses do, families apart. */
interface Span {
  readonly first: string;
  readonly last: string;
  readonly text: string;
  /** Who has it, in words. */
  readonly holder: string;
}

const keyOf = (bytes: Uint8Array): string => `${bytes.length}/${bytesText(bytes)}`;

function spanOf(block: IpBlock, holder: string): Span {
  const { first, last } = blockOctets(block);
  return { first: keyOf(first), last: keyOf(last), text: ipBlockText(block), holder };
}

/** By wire: there one address is one machine, whatever the network's name. */
type Wires = Map<string, Span[]>;

function add(wires: Wires, { wiring }: NetworkSpec, ...spans: readonly Span[]): void {
  const wire = wires.get(wireOf(wiring));
  if (wire === undefined) wires.set(wireOf(wiring), [...spans]);
  else wire.push(...spans);
}

function gatewaySpans(name: ObjectName, { gateway4, gateway6, wiring }: NetworkSpec): readonly Span[] {
  // Each link's goes with its guest.
  if (linkLength(wiring) !== undefined) return [];
  const holder = `the gateway of network '${name}'`;
  return [
    spanOf({ kind: "address4", address: gateway4 }, holder),
    ...(gateway6 === undefined ? [] : [spanOf({ kind: "address6", address: gateway6 }, holder)]),
  ];
}

function wiresOf(networks: ReadonlyMap<ObjectName, NetworkSpec>, guests: Iterable<Guest>): Wires {
  const wires: Wires = new Map();
  for (const [name, spec] of networks) add(wires, spec, ...gatewaySpans(name, spec));
  for (const guest of guests) {
    for (const [n, nic] of nicsOf(guest).entries()) {
      const network = networks.get(nic.identity.network);
      if (network === undefined) continue;
      const holder = `NIC ${n} of guest '${guest.name}'`;
      const own = ownBlocks(nic, network);
      add(wires, network, ...[...own, ...nic.spec.addresses].map((block) => spanOf(block, holder)));
    }
  }
  return wires;
}

/** Of a link both ends: the other one is nobody else's either. */
function ownBlocks(nic: SiteNic, network: NetworkSpec): readonly IpBlock[] {
  const length = linkLength(network.wiring);
  const address6 = address6Of(nic, network);
  const four = nic.identity.addresses4.map(
    (address): IpBlock =>
      length === undefined
        ? { kind: "address4", address }
        : { kind: "prefix4", prefix: link4At(address, length).prefix },
  );
  if (address6 === undefined) return four;
  const six: IpBlock =
    length === undefined
      ? { kind: "address6", address: address6 }
      : { kind: "prefix6", prefix: link6At(address6).prefix };
  return [...four, six];
}

/** Networks may share a gateway, and a NIC may name an address and its prefix. */
function meeting(spans: readonly Span[]): readonly [Span, Span] | undefined {
  const sorted = [...spans].sort((a, b) => (a.first < b.first ? -1 : a.first > b.first ? 1 : 0));
  let widest: Span | undefined;
  for (const span of sorted) {
    if (
      widest !== undefined &&
      span.first <= widest.last &&
      span.holder !== widest.holder &&
      !areGateways(span, widest)
    )
      return [widest, span];
    if (widest === undefined || span.last > widest.last) widest = span;
  }
  return undefined;
}

const areGateways = (a: Span, b: Span): boolean => a.holder.startsWith("the ") && b.holder.startsWith("the ");

const needsLook = (guest: Guest): boolean =>
  guest.spec.nics.some(({ addresses, address6 }) => addresses.length > 0 || address6 !== undefined);

/** @throws ADDRESS_TAKEN naming both; costs nothing while no NIC names more than its IPv4 address */
export function assertAlone(networks: ReadonlyMap<ObjectName, NetworkSpec>, guests: readonly Guest[]): void {
  if (!guests.some(needsLook)) return;
  for (const spans of wiresOf(networks, guests).values()) {
    const [one, other] = meeting(spans) ?? [];
    if (one === undefined || other === undefined) continue;
    throw new GuardError("ADDRESS_TAKEN", `${other.text} of ${other.holder} meets ${one.text} of ${one.holder}`, {
      fields: { address: other.text, holder: one.holder },
    });
  }
}
