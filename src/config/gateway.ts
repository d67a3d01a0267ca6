/** `gateway4` of a network: every wiring needs it but `transport`, where every link has a gateway of its own and there is nothing to write. */
import type { Ipv4Address, Ipv4Prefix } from "../model/ipv4.ts";
import type { Wiring } from "../model/resources.ts";
import { firstLeftHand, linkLength } from "../model/transport.ts";

interface WrittenNetwork {
  readonly prefix4: Ipv4Prefix;
  readonly gateway4?: Ipv4Address;
  readonly wiring: Wiring;
}

const isRecord = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null;

/** A wiring with a fault of its own has no kind here: then that is the one thing to say. */
function kindOf(network: Readonly<Record<string, unknown>>): unknown {
  const { wiring } = network;
  return isRecord(wiring) ? wiring["kind"] : "none";
}

/** Also asked while other fields are wrong, so that all is said at once. */
export function lacksGateway(network: unknown): boolean {
  if (!isRecord(network) || Object.hasOwn(network, "gateway4")) return false;
  const kind = kindOf(network);
  return kind !== undefined && kind !== "transport";
}

export function hasNeedlessGateway(network: unknown): boolean {
  return isRecord(network) && Object.hasOwn(network, "gateway4") && kindOf(network) === "transport";
}

export const NEEDLESS_GATEWAY =
  "a transport network has no gateway of its own: each guest's is the left-hand address of its link; leave it out";

export function withGateway<T extends WrittenNetwork>({
  gateway4,
  ...network
}: T): Omit<T, "gateway4"> & { readonly gateway4: Ipv4Address } {
  const length = linkLength(network.wiring);
  const filled = gateway4 ?? firstLeftHand(network.prefix4, length ?? 31);
  return { ...network, gateway4: filled };
}
