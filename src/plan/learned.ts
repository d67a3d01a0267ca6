/** Whether an address that another server gives can be a guest's: of the network, and nobody's who must not lose it. */
import type { Refusal } from "../addressing/learn4.ts";
import { isAssignable } from "../addressing/pool.ts";
import { bytesText } from "../model/bytes.ts";
import { type IpAddress, ipToBytes, isIpv6 } from "../model/ip-block.ts";
import { ipv4ToNumber, prefix4Meets } from "../model/ipv4.ts";
import { prefix6Bounds, prefix6Contains } from "../model/ipv6.ts";
import type { ObjectName } from "../model/names.ts";
import type { NetworkSpec } from "../model/resources.ts";
import { wireOf } from "../model/wiring.ts";

/** By the network alone. */
export function unfit(spec: NetworkSpec, address: IpAddress): Refusal | undefined {
  const { gateway4, gateway6, prefix6, range4 } = spec;
  if (address === gateway4 || address === gateway6) return "gateway";
  if (isIpv6(address)) {
    if (prefix6 === undefined || !prefix6Contains(prefix6, address)) return "out-of-range";
    // The routers of the subnet (RFC 4291 section 2.6.1).
    return bytesText(prefix6Bounds(prefix6).first) === bytesText(ipToBytes(address)) ? "out-of-range" : undefined;
  }
  const value = ipv4ToNumber(address);
  const isInRange = range4.some(({ first, last }) => value >= ipv4ToNumber(first) && value <= ipv4ToNumber(last));
  return isAssignable(spec, address) && (range4.length === 0 || isInRange) ? undefined : "out-of-range";
}

/** The network and all others of its wire in which the address would be the same machine's. */
export function networksSharing(
  networks: ReadonlyMap<ObjectName, NetworkSpec>,
  name: ObjectName,
): readonly { readonly name: ObjectName; readonly spec: NetworkSpec }[] {
  const own = networks.get(name);
  if (own === undefined) return [];
  const wire = wireOf(own.wiring);
  return [...networks]
    .filter(
      ([other, spec]) => other === name || (wireOf(spec.wiring) === wire && prefix4Meets(spec.prefix4, own.prefix4)),
    )
    .map(([other, spec]) => ({ name: other, spec }));
}
