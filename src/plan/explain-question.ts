/** From a question about frames to its answer: who the port is, what its phrases are relative to, and each frame told. */
import { GuardError } from "../model/errors.ts";
import { isIpv6 } from "../model/ip-block.ts";
import { type Ipv4Address, ipv4FromNumber, prefix4Bounds, prefix4Contains } from "../model/ipv4.ts";
import { type Ipv6Address, isLinkLocal6, prefix6Contains } from "../model/ipv6.ts";
import { BROADCAST_MAC, type MacAddress, macFromBytes } from "../model/mac.ts";
import { type ObjectName, parseObjectName } from "../model/names.ts";
import type { ExplainQuestion, ExplanationView } from "../model/operations.ts";
import type { Direction } from "../model/reasons.ts";
import type { Attachment, Guest, IpBlock } from "../model/resources.ts";
import { decodeFrame } from "../packet/frame.ts";
import { parseHex, toHex } from "../packet/hex.ts";
import { buildPhrase } from "../packet/phrase.ts";
import type { Party, PhraseContext } from "../packet/phrase-words.ts";
import { summarise } from "../packet/summary.ts";
import type { NetworkFacts, PortBinding, Source } from "../ruleset/elements.ts";
import type { World } from "../ruleset/judge.ts";
import type { SiteView } from "./desired.ts";
import { explainFrame, type HostDoor } from "./explain.ts";
import type { ExplainedPort } from "./explain-words.ts";
import { sourcesOf } from "./sources.ts";

/** What ARP and ND have taught, as far as anybody can tell. */
export interface Learned {
  readonly gatewayMac: MacAddress;
  neighbour(address: Ipv4Address | Ipv6Address): MacAddress | undefined;
}

/** Stands for the MAC of a gateway nobody has heard yet: locally administered, and none that is ever assigned here. */
export const UNHEARD_GATEWAY: MacAddress = macFromBytes(Uint8Array.of(2, 0x76, 0x66, 0x67, 0, 1));

/** The same for a neighbour on the link. */
const UNHEARD_NEIGHBOUR: MacAddress = macFromBytes(Uint8Array.of(2, 0x76, 0x66, 0x67, 0, 2));

/** `web1` or `web1/0`. undefined when it is no such thing. */
export function parseNic(text: string): { readonly guest: ObjectName; readonly nic: number | undefined } | undefined {
  const [, name = "", number] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(text) ?? [];
  const guest = parseObjectName(name);
  return guest === undefined ? undefined : { guest, nic: number === undefined ? undefined : Number(number) };
}

const isOf =
  (address: string) =>
  ({ what }: Source): boolean =>
    "address" in what && what.address === address;

function guestWith(site: SiteView, network: ObjectName, address: string): string | undefined {
  const spec = site.networks.get(network);
  if (spec === undefined) return undefined;
  const nicOf = (guest: Guest): number =>
    guest.nics.findIndex((identity, n) => {
      const own = guest.spec.nics[n];
      return (
        identity.network === network &&
        own !== undefined &&
        sourcesOf({ spec: own, identity }, spec).some(isOf(address))
      );
    });
  for (const guest of site.guests.values()) {
    const nic = nicOf(guest);
    if (nic !== -1) return `${guest.name}/${nic}`;
  }
  return undefined;
}

/** The same function, asked once for every text. */
export function remembering<T>(ask: (text: string) => T): (text: string) => T {
  const known = new Map<string, { readonly answer: T }>();
  return (text) => {
    const held = known.get(text) ?? { answer: ask(text) };
    known.set(text, held);
    return held.answer;
  };
}

/** The port of a NIC with the names that sentences use. @throws NOT_FOUND */
export function explainedPort(
  site: SiteView,
  allFacts: ReadonlyMap<ObjectName, NetworkFacts>,
  { guest, nic }: Pick<Attachment, "guest" | "nic">,
  binding: PortBinding,
): ExplainedPort {
  const network = site.guests.get(guest)?.nics[nic]?.network;
  const facts = network === undefined ? undefined : allFacts.get(network);
  if (network === undefined || facts === undefined)
    throw new GuardError("NOT_FOUND", `guest '${guest}' has no NIC ${nic}`, { fields: { guest, nic } });
  const isGateway = (address: string): boolean =>
    (binding.gateway4 ?? facts.gateway4) === address || facts.gateway6 === address;
  // Asked for every frame of a capture, and a site may have many guests.
  const owner = remembering((address: string): string | undefined =>
    isGateway(address) ? `the gateway of ${network}` : guestWith(site, network, address),
  );
  const prefix6 = site.networks.get(network)?.prefix6;
  const isOnLink: ExplainedPort["isOnLink"] = (address) => {
    if (!isIpv6(address)) return prefix4Contains(facts.prefix4, address) && facts.routed?.isPool !== true;
    return isLinkLocal6(address) || (prefix6 !== undefined && prefix6Contains(prefix6, address));
  };
  return { nic: `${guest}/${nic}`, network, binding, facts, owner, isOnLink };
}

const addresses = (sources: readonly Source[]): readonly (Ipv4Address | Ipv6Address)[] =>
  sources.flatMap(({ what }: { readonly what: IpBlock }) => ("address" in what ? [what.address] : []));

/** What the port itself may speak as; prefixes have no address of their own to speak with. */
function ownParty({ binding }: ExplainedPort): Party {
  const own = addresses(binding.sources.filter(({ shared }) => shared !== true));
  const address4 = own.find((address): address is Ipv4Address => !isIpv6(address));
  const six = own.filter(isIpv6);
  const [address6, linkLocal6] = [six.find((address) => !isLinkLocal6(address)), six.find(isLinkLocal6)];
  return {
    mac: binding.mac,
    ...(address4 === undefined ? {} : { address4 }),
    ...(address6 === undefined ? {} : { address6 }),
    ...(linkLocal6 === undefined ? {} : { linkLocal6 }),
  };
}

function gatewayParty({ facts, binding }: ExplainedPort, mac: MacAddress): Party {
  const { gateway6 } = facts;
  const gateway4 = binding.gateway4 ?? facts.gateway4;
  const six =
    gateway6 === undefined ? {} : { address6: gateway6, ...(isLinkLocal6(gateway6) ? { linkLocal6: gateway6 } : {}) };
  return { mac, address4: gateway4, ...six };
}

export function phraseContext(port: ExplainedPort, direction: Direction, learned: Learned): PhraseContext {
  const { facts } = port;
  const everybody = ipv4FromNumber(prefix4Bounds(facts.prefix4).last);
  const neighbour: PhraseContext["neighbour"] = (address) => {
    if (address === everybody && facts.routed?.isPool !== true) return BROADCAST_MAC;
    // By the gateway, which is the port.
    if (facts.routed !== undefined || facts.brouted !== undefined) return undefined;
    const known = facts.members.find(isOf(address))?.mac ?? learned.neighbour(address);
    return known ?? (port.isOnLink(address) ? UNHEARD_NEIGHBOUR : undefined);
  };
  return { direction, own: ownParty(port), gateway: gatewayParty(port, learned.gatewayMac), neighbour };
}

/** @throws PHRASE_INVALID */
export function framesOf({ phrase, frames }: ExplainQuestion, context: () => PhraseContext): readonly Uint8Array[] {
  const built = phrase === undefined ? [] : [buildPhrase(phrase, context())];
  const given = (frames ?? []).map((text, n) => {
    const bytes = parseHex(text);
    if (bytes !== undefined) return bytes;
    throw new GuardError("PHRASE_INVALID", `frame ${n + 1} is not in hexadecimal digits, two for each octet`, {
      fields: { frame: n + 1 },
    });
  });
  return [...built, ...given];
}

export function frameText(frame: Uint8Array): Pick<ExplanationView, "frame" | "hex"> {
  return { frame: summarise(decodeFrame(frame)), hex: toHex(frame) };
}

export function tellFrames(
  port: ExplainedPort,
  frames: readonly Uint8Array[],
  direction: Direction,
  world: World,
  door?: HostDoor,
): readonly ExplanationView[] {
  return frames.map((frame) => ({ ...explainFrame(port, frame, direction, world, door), ...frameText(frame) }));
}
