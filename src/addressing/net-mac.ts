/**
 * A MAC that tells a guest everything it needs: 32 less the prefix length in the high four bits of octet 0 and 2 (local, unicast: IEEE 802 section 8.4) in the
 * low ones, the last octet of the gateway in octet 1, the address in octets 2 to 5. The gateway's other octets are those of the prefix's first address.
 * `guest/vifguard-net` reads it inside the guest.
 */
import {
  hosts4Bounds,
  type Ipv4Address,
  type Ipv4Prefix,
  ipv4FromBytes,
  ipv4FromNumber,
  ipv4ToBytes,
  ipv4ToNumber,
  parsePrefix4,
  prefix4Bounds,
} from "../model/ipv4.ts";
import { type MacAddress, macFromBytes, macToBytes } from "../model/mac.ts";

export interface NetSettings {
  readonly address: Ipv4Address;
  /** Of the prefix the address is in. */
  readonly length: number;
  readonly gateway: Ipv4Address;
}

export type NetMac = { readonly ok: true; readonly mac: MacAddress } | { readonly ok: false; readonly why: string };

/** Four bits are there for 32 less the length. */
const SHORTEST_PREFIX = 17;
const LOCAL_UNICAST = 0x02;

const prefixOf = (address: Ipv4Address, length: number) =>
  parsePrefix4(
    `${ipv4FromNumber(Math.floor(ipv4ToNumber(address) / 2 ** (32 - length)) * 2 ** (32 - length))}/${length}`,
  );

/** The 256 addresses one of which is the gateway's. */
function gatewayBase({ address, length }: Omit<NetSettings, "gateway">): number {
  const prefix = prefixOf(address, length);
  const first = prefix === undefined ? 0 : prefix4Bounds(prefix).first;
  return first - (first % 256);
}

const isUnicast = (address: Ipv4Address): boolean => {
  const [first = 0] = ipv4ToBytes(address);
  return first >= 1 && first <= 223 && first !== 127;
};

/** What two machines can have; a host route's gateway is never in its prefix. */
function isPossible({ address, length, gateway }: NetSettings): boolean {
  const prefix = prefixOf(address, length);
  if (prefix === undefined || !isUnicast(address) || address === gateway) return false;
  if (length === 32) return true;
  const { first, last } = hosts4Bounds(prefix);
  return [address, gateway].every((one) => ipv4ToNumber(one) >= first && ipv4ToNumber(one) <= last);
}

/** Undefined for a MAC that was made in another way. */
export function settingsFromMac(mac: MacAddress): NetSettings | undefined {
  const bytes = macToBytes(mac);
  const [head = 0, gate = 0] = bytes;
  if ((head & 0x0f) !== LOCAL_UNICAST) return undefined;
  const own = { address: ipv4FromBytes(bytes, 2), length: 32 - (head >> 4) };
  const settings = { ...own, gateway: ipv4FromNumber(gatewayBase(own) + gate) };
  return isPossible(settings) ? settings : undefined;
}

/** Why no guest of such a network can have a MAC that spells it; undefined when all can. */
export function unspellable(prefix: Ipv4Prefix, gateway: Ipv4Address): string | undefined {
  const { first, last } = hosts4Bounds(prefix);
  const address = [first, last].map(ipv4FromNumber).find((host) => host !== gateway) ?? gateway;
  const spelled = macFromSettings({ address, length: prefix4Bounds(prefix).length, gateway });
  return spelled.ok ? undefined : spelled.why;
}

export function macFromSettings(settings: NetSettings): NetMac {
  const { address, length, gateway } = settings;
  if (length < SHORTEST_PREFIX || length > 32)
    return { ok: false, why: `a MAC can spell prefixes from /${SHORTEST_PREFIX} to /32, and this one is a /${length}` };
  const base = gatewayBase(settings);
  const gate = ipv4ToNumber(gateway) - base;
  if (gate < 0 || gate > 255) {
    const why = `a MAC has one octet for the gateway: ${gateway} is not in ${ipv4FromNumber(base)}/24, where the prefix begins`;
    return { ok: false, why };
  }
  if (!isPossible(settings))
    return { ok: false, why: `${address}/${length} with gateway ${gateway} is nothing that a guest can have` };
  const head = ((32 - length) << 4) | LOCAL_UNICAST;
  return { ok: true, mac: macFromBytes(Uint8Array.of(head, gate, ...ipv4ToBytes(address))) };
}
