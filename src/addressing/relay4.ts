/** A relay agent's part of DHCPv4 (RFC 1542 section 4.1, RFC 3046): what it adds to a guest's message, and takes off the answer. */
import { sameBytes } from "../model/bytes.ts";
import { type Ipv4Address, ipv4FromNumber, ipv4ToBytes } from "../model/ipv4.ts";
import type { Dhcp4Message } from "../packet/dhcp4-message.ts";
import { dhcp4Options as known } from "../packet/dhcp4-options.ts";
import { type RelaySubOption, relayInfoCodec, relaySubOptions as subOptions } from "../packet/dhcp4-relay.ts";

const ANY: Ipv4Address = ipv4FromNumber(0);

/** Where the guest is, as its servers are told. */
export interface RelayPlace {
  /** The host's address that servers answer to. */
  readonly giaddr: Ipv4Address;
  /** Name of the port. */
  readonly circuitId: string;
  /** Name of the host. */
  readonly remoteId: string;
  /** An address of the guest's network, where `giaddr` is of another one (RFC 3527). */
  readonly link?: Ipv4Address;
  /** RFC 5107. */
  readonly serverId?: Ipv4Address;
}

const text = (value: string): Uint8Array => new TextEncoder().encode(value);

function placeOption({ circuitId, remoteId, link, serverId }: RelayPlace): Uint8Array {
  const list: RelaySubOption[] = [
    { code: subOptions.circuitId, body: text(circuitId) },
    { code: subOptions.remoteId, body: text(remoteId) },
  ];
  if (link !== undefined) list.push({ code: subOptions.linkSelection, body: ipv4ToBytes(link) });
  if (serverId !== undefined) list.push({ code: subOptions.serverIdOverride, body: ipv4ToBytes(serverId) });
  return relayInfoCodec.encode(list);
}

/** Option 82 is the last one (RFC 3046 section 2.1). */
export function toServer(message: Dhcp4Message, place: RelayPlace): Dhcp4Message {
  const options = new Map(message.options);
  options.set(known.relayAgent.number, placeOption(place));
  return { ...message, hops: message.hops + 1, giaddr: place.giaddr, options };
}

/**
 * The guest's answer in what a server sent; undefined when it is not for this place: another relay's, another port's, or of a server that does not send
 * back what it was told, so that nobody can know.
 */
export function fromServer(message: Dhcp4Message, place: RelayPlace): Dhcp4Message | undefined {
  const said = message.options.get(known.relayAgent.number);
  const info = said === undefined ? undefined : relayInfoCodec.decode(said);
  if (info?.ok !== true || message.giaddr !== place.giaddr) return undefined;
  const one = (code: number): Uint8Array | undefined => {
    const found = info.value.filter((option) => option.code === code);
    return found.length === 1 ? found[0]?.body : undefined;
  };
  const isHere = (code: number, own: string): boolean => sameBytes(one(code) ?? new Uint8Array(), text(own));
  if (!isHere(subOptions.circuitId, place.circuitId) || !isHere(subOptions.remoteId, place.remoteId)) return undefined;
  const options = new Map(message.options);
  options.delete(known.relayAgent.number);
  return { ...message, hops: 0, giaddr: ANY, options };
}
