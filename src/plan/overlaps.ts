/** What is one NIC's alone must meet nobody else's on the wire: single addresses are claimed one by one, prefixes and derived addresses are compared here. */
import { GuardError } from "../model/errors.ts";
import { type Ipv4Address, ipv4FromNumber, ipv4ToBytes, prefix4Bounds } from "../model/ipv4.ts";
import { type Ipv6Address, ipv6ToBytes, prefix6Bounds } from "../model/ipv6.ts";
import type { ObjectName } from "../model/names.ts";
import { unreachable } from "../model/never.ts";
import type { Guest, IpBlock, NetworkSpec } from "../model/resources.ts";
import { wireOf } from "../model/wiring.ts";
import { address6Of, nicsOf } from "./sources.ts";

/** First and last address as text that sorts as the addresses do, families apart. */
interface Span {
  readonly first: string;
  readonly last: string;
  readonly text: string;
  /** Who has it, in words. */
  readonly holder: string;
}

const keyOf = (bytes: Uint8Array): string => `${bytes.length}/${String.fromCharCode(...bytes)}`;
const one = (address: Ipv4Address | Ipv6Address, bytes: Uint8Array, holder: string): Span => {
  const key = keyOf(bytes);
  return { first: key, last: key, text: address, holder };
};

function spanOf(block: IpBlock, holder: string): Span {
  switch (block.kind) {
    case "address4":
      return one(block.address, ipv4ToBytes(block.address), holder);
    case "address6":
      return one(block.address, ipv6ToBytes(block.address), holder);
    case "prefix4": {
      const { first, last } = prefix4Bounds(block.prefix);
      const [from, to] = [first, last].map((value) => keyOf(ipv4ToBytes(ipv4FromNumber(value))));
      return { first: from ?? "", last: to ?? "", text: block.prefix, holder };
    }
    case "prefix6": {
      const { first, last } = prefix6Bounds(block.prefix);
      return { first: keyOf(first), last: keyOf(last), text: block.prefix, holder };
    }
    default:
      return unreachable(block);
  }
}

/** By wire: there one address is one machine, whatever the network's name. */
type Wires = Map<string, Span[]>;

function add(wires: Wires, { wiring }: NetworkSpec, ...spans: readonly Span[]): void {
  const wire = wires.get(wireOf(wiring));
  if (wire === undefined) wires.set(wireOf(wiring), [...spans]);
  else wire.push(...spans);
}

function gatewaySpans(name: ObjectName, { gateway4, gateway6 }: NetworkSpec): readonly Span[] {
  const holder = `the gateway of network '${name}'`;
  return [
    one(gateway4, ipv4ToBytes(gateway4), holder),
    ...(gateway6 === undefined ? [] : [one(gateway6, ipv6ToBytes(gateway6), holder)]),
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
      const own: IpBlock[] = nic.identity.addresses4.map((address) => ({ kind: "address4", address }));
      const address6 = address6Of(nic, network);
      if (address6 !== undefined) own.push({ kind: "address6", address: address6 });
      add(wires, network, ...[...own, ...nic.spec.addresses].map((block) => spanOf(block, holder)));
    }
  }
  return wires;
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
