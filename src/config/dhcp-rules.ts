/** What DHCP clients may be told by the operator: which numbers are whose, and what cannot be told at all. */
import type { ClientClass, NicTell, RawOption, SubOption, Tell } from "../model/dhcp.ts";
import type { NetworkSpec } from "../model/resources.ts";
import type { FieldPath } from "./faults.ts";
import type { FieldFault } from "./issues.ts";

const OWN = "is vifguard's own to say";
const field = (name: string): string => `has a field of its own: ${name}`;

/** Numbers that say who the guest is, where it goes, or how the exchange runs; and those that are written elsewhere. */
const taken4: ReadonlyMap<number, string> = new Map([
  ...[1, 3, 28, 50, 51, 52, 53, 54, 55, 56, 57, 58, 59, 61, 80, 81, 82, 90, 118].map((code) => [code, OWN] as const),
  ...[33, 121, 249].map((code) => [code, field("routes")] as const),
  [6, field("dns")],
  [12, field("hostname")],
  [15, field("domain")],
  [26, field("mtu")],
  [42, field("ntp")],
  [66, field("boot.serverName")],
  [67, field("boot.file")],
  [119, field("search")],
]);

/** RFC 8415 section 21 whole, and what has fields. */
const taken6: ReadonlyMap<number, string> = new Map([
  ...[1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 12, 13, 14, 15, 18, 19, 20, 25, 26, 39].map((code) => [code, OWN] as const),
  [23, field("dns6")],
  [24, field("search")],
  [31, field("ntp6")],
  [56, field("ntp6")],
  [59, field("boot.url")],
]);

/** What a client that reads no more than 576 octets (RFC 2131 section 2) has room for besides everything else is far less; this is a slip, not a wish. */
const MOST_OCTETS = 1024;
const SUBOPTION_MOST = 255;

function lengthOf<A>({ hex, text, addresses = [] }: SubOption<A>, addressOctets: number): number {
  if (hex !== undefined) return hex.length / 2;
  return text === undefined ? addresses.length * addressOctets : text.length;
}

function* optionFaults<A>(
  options: readonly RawOption<A>[],
  path: FieldPath,
  taken: ReadonlyMap<number, string>,
  addressOctets: number,
): Iterable<FieldFault> {
  let total = 0;
  for (const [n, option] of options.entries()) {
    const here = [...path, n];
    const why = taken.get(option.code);
    if (why !== undefined) yield { field: [...here, "code"], says: `${option.code} ${why}` };
    if (options.findIndex(({ code }) => code === option.code) < n)
      yield { field: [...here, "code"], says: `${option.code} is written twice` };
    for (const [i, inner] of (option.options ?? []).entries())
      if (lengthOf(inner, addressOctets) > SUBOPTION_MOST)
        yield {
          field: [...here, "options", i],
          says: `an option inside an option has ${SUBOPTION_MOST} octets at most`,
        };
    total += (option.options ?? [option]).reduce((sum, one) => sum + lengthOf(one, addressOctets) + 2, 0);
  }
  if (total > MOST_OCTETS)
    yield { field: path, says: `take ${total} octets together, and ${MOST_OCTETS} are the most` };
}

function* tellFaults({ options = [], options6 = [] }: Tell, path: FieldPath): Iterable<FieldFault> {
  yield* optionFaults(options, [...path, "options"], taken4, 4);
  yield* optionFaults(options6, [...path, "options6"], taken6, 16);
}

function* classFaults(classes: readonly ClientClass[], path: FieldPath): Iterable<FieldFault> {
  for (const [n, { name, when, tell }] of classes.entries()) {
    const here = [...path, n];
    if (classes.findIndex((other) => other.name === name) < n)
      yield { field: [...here, "name"], says: `'${name}' is written twice` };
    if (Object.keys(when).length === 0)
      yield { field: [...here, "when"], says: "names nothing: vendorClass, userClass or arch" };
    yield* tellFaults(tell, [...here, "tell"]);
  }
}

export function* responderFaults({ addressing, wiring }: NetworkSpec): Iterable<FieldFault> {
  if (addressing.kind !== "managed") return;
  const path = ["spec", "addressing"];
  if (addressing.conflictDetection === true && wiring.kind !== "bridged")
    yield {
      field: [...path, "conflictDetection"],
      says: `goes with bridged, not with ${wiring.kind}`,
    };
  yield* tellFaults(addressing, path);
  yield* classFaults(addressing.classes ?? [], [...path, "classes"]);
}

/** RFC 8200 section 5: guests take no smaller MTU for a link with IPv6. */
const SMALLEST_MTU6 = 1280;

/** @param network of the NIC, where that is known */
export function* nicTellFaults(
  tell: NicTell | undefined,
  network: NetworkSpec | undefined,
  path: FieldPath,
): Iterable<FieldFault> {
  if (tell === undefined) return;
  const kind = network?.addressing.kind ?? "managed";
  if (kind !== "managed")
    yield { field: path, says: `goes with 'addressing: managed': nobody tells guests anything under '${kind}'` };
  if (network?.prefix6 !== undefined && tell.mtu !== undefined && tell.mtu < SMALLEST_MTU6)
    yield { field: [...path, "mtu"], says: `IPv6 needs ${SMALLEST_MTU6} at least, not ${tell.mtu}` };
  yield* tellFaults(tell, path);
}
