/** Where a NIC's MAC comes from: `ip` and `net` write the IPv4 address into it, `random` draws one that nobody holds. */
import { GuardError } from "../model/errors.ts";
import { type Ipv4Address, ipv4FromBytes, ipv4ToBytes } from "../model/ipv4.ts";
import { type MacAddress, macFromBytes, macToBytes } from "../model/mac.ts";
import { settingsFromMac } from "./net-mac.ts";

/** FE:00 is locally administered (bit 1 set) and unicast (bit 0 clear), IEEE 802 section 8.4. */
const SPACE = [0xfe, 0x00] as const;
/** Collisions in 2^46 addresses are chance; as many in a row are a broken source. */
const ATTEMPTS = 64;

/** FE:00:o1:o2:o3:o4. */
export function macFromIpv4(address: Ipv4Address): MacAddress {
  return macFromBytes(Uint8Array.of(...SPACE, ...ipv4ToBytes(address)));
}

/** Undefined when the MAC is not of the FE:00 space. */
export function ipv4FromMac(mac: MacAddress): Ipv4Address | undefined {
  const bytes = macToBytes(mac);
  return inSpace(bytes) ? ipv4FromBytes(bytes, SPACE.length) : undefined;
}

/** The address in a MAC of either scheme that writes one into it. */
export function spelledIpv4(mac: MacAddress): Ipv4Address | undefined {
  return ipv4FromMac(mac) ?? settingsFromMac(mac)?.address;
}

const inSpace = (bytes: Uint8Array): boolean => bytes[0] === SPACE[0] && bytes[1] === SPACE[1];

/**
 * A locally administered unicast MAC that spells no address, so that it can never be the derived MAC of one.
 * @param random as many random bytes as asked for
 */
export function randomMac(random: (count: number) => Uint8Array, taken: (mac: MacAddress) => boolean): MacAddress {
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const bytes = Uint8Array.from(random(6));
    bytes[0] = ((bytes[0] ?? 0) & 0xfc) | 0x02;
    const mac = macFromBytes(bytes);
    if (spelledIpv4(mac) === undefined && !taken(mac)) return mac;
  }
  throw new GuardError("INTERNAL", `no free MAC in ${ATTEMPTS} draws: the random source repeats itself`, {
    fields: { attempts: ATTEMPTS },
  });
}
