/** Whose address it is from now on, told to a whole LAN though nobody asked (RFC 5227 section 3; RFC 4861 section 7.2.6). */
import { isIpv6 } from "../model/ip-block.ts";
import type { Ipv4Address } from "../model/ipv4.ts";
import { type Ipv6Address, ipv6ToBytes, multicastMac6, parseIpv6 } from "../model/ipv6.ts";
import { BROADCAST_MAC, type MacAddress, macFromBytes } from "../model/mac.ts";
import { arpCodec, arpOperations } from "../packet/arp.ts";
import { ethernetCodec, etherTypes } from "../packet/ethernet.ts";
import { icmp6Frame } from "../packet/frame6.ts";
import { neighbourAdvertisement } from "../packet/nd.ts";

const NO_MAC = macFromBytes(new Uint8Array(6));

/** A request, which every kernel takes for an announcement; some take no answer that they did not ask for. */
function gratuitousArp(mac: MacAddress, address: Ipv4Address): Uint8Array {
  const fields = {
    operation: arpOperations.request,
    senderMac: mac,
    senderIp: address,
    targetMac: NO_MAC,
    targetIp: address,
  };
  const payload = arpCodec.encode(fields);
  return ethernetCodec.encode({ destination: BROADCAST_MAC, source: mac, type: etherTypes.arp, payload });
}

const ALL_NODES = parseIpv6("ff02::1");

/** With the override flag, as a home agent sends for those it stands for (RFC 6275 section 10.4.1): else a guest that moved would stay where it was. */
function unsolicitedAdvertisement(mac: MacAddress, address: Ipv6Address): readonly Uint8Array[] {
  if (ALL_NODES === undefined) return [];
  const target = ipv6ToBytes(address);
  const ends = {
    destinationMac: macFromBytes(multicastMac6(ALL_NODES)),
    sourceMac: mac,
    source: target,
    destination: ipv6ToBytes(ALL_NODES),
  };
  return [icmp6Frame(ends, neighbourAdvertisement(target, mac, "unasked"))];
}

/** @param mac of the interface that answers for them */
export function announcements(
  mac: MacAddress,
  addresses: readonly (Ipv4Address | Ipv6Address)[],
): readonly Uint8Array[] {
  return addresses.flatMap((address) =>
    isIpv6(address) ? unsolicitedAdvertisement(mac, address) : [gratuitousArp(mac, address)],
  );
}
