/** Translated addresses as set elements (ruleset/nat.ts). */
import { be16 } from "../model/bytes.ts";
import { type Ipv4Address, ipv4ToBytes } from "../model/ipv4.ts";
import type { Forward } from "../model/translation.ts";
import { concatKey, type PlacedElement } from "./element-bytes.ts";
import { PROTOCOL } from "./parts.ts";

/** How one NIC is seen outside. */
export interface Translation {
  /** Its own addresses; what is sent to a public one reaches the first. */
  readonly insides: readonly Ipv4Address[];
  readonly public4?: Ipv4Address;
  readonly forwards: readonly Forward[];
  /** By which address it leaves; the uplink's own where it is that of nobody else; absent: it does not. */
  readonly leavesBy?: Ipv4Address | "uplink";
}

type Element = Omit<PlacedElement, "family">;

function* elementsOf(port: Uint8Array, { insides, public4, forwards, leavesBy }: Translation): Iterable<Element> {
  yield { set: "inside", key: port };
  const own = insides.map(ipv4ToBytes);
  const [first] = own;
  for (const source of own) {
    if (leavesBy === "uplink") yield { set: "masqueraded4", key: source };
    else if (leavesBy !== undefined) yield { set: "leaves4", key: source, data: ipv4ToBytes(leavesBy) };
  }
  if (first === undefined) return;
  if (public4 !== undefined) yield { set: "public4", key: ipv4ToBytes(public4), data: first };
  for (const { public4: address, protocol, port: number, to } of forwards) {
    const key = concatKey(ipv4ToBytes(address), Uint8Array.of(PROTOCOL[protocol]), be16(number));
    yield { set: "services4", key, data: concatKey(first, be16(to)) };
  }
  const [offered] = forwards;
  if (offered === undefined) return;
  // With its own address as the source it would drop its own packet.
  for (const source of own)
    yield { set: "itself4", key: concatKey(source, first), data: ipv4ToBytes(public4 ?? offered.public4) };
}

export function translationElements(port: Uint8Array, translation: Translation): readonly PlacedElement[] {
  return [...elementsOf(port, translation)].map((element) => ({ family: "inet", ...element }));
}
