/** What the LAN of routed networks holds, as set elements (ruleset/ways.ts). */
import { type Ipv4Prefix, ipv4FromNumber, ipv4ToBytes, prefix4Bounds } from "../model/ipv4.ts";
import { type Ipv6Prefix, prefix6Bounds } from "../model/ipv6.ts";
import { concatKey, type PlacedElement } from "./element-bytes.ts";
import type { NetworkFacts } from "./elements.ts";
import { ETHER_TYPE } from "./parts.ts";

interface Span {
  readonly first: Uint8Array;
  readonly last: Uint8Array;
}

const span4 = (prefix: Ipv4Prefix): Span => {
  const { first, last } = prefix4Bounds(prefix);
  return { first: ipv4ToBytes(ipv4FromNumber(first)), last: ipv4ToBytes(ipv4FromNumber(last)) };
};
const span6 = (prefix: Ipv6Prefix): Span => prefix6Bounds(prefix);

const textOf = (bytes: Uint8Array): string => String.fromCharCode(...bytes);
const isAtMost = (a: Uint8Array, b: Uint8Array): boolean => textOf(a) <= textOf(b);
const isIn = (inner: Span, outer: Span): boolean =>
  isAtMost(outer.first, inner.first) && isAtMost(inner.last, outer.last);

/** Ranges of one set may not meet, and prefixes that meet lie one in the other: the widest says it all. */
function widest(spans: readonly Span[]): readonly Span[] {
  return spans.filter(
    (span, n) => !spans.some((other, m) => m !== n && isIn(span, other) && (!isIn(other, span) || m < n)),
  );
}

function ranges(family: 4 | 6, spans: readonly Span[]): readonly PlacedElement[] {
  const type = family === 4 ? ETHER_TYPE.ip4 : ETHER_TYPE.ip6;
  const keyOf = (address: Uint8Array): Uint8Array => concatKey(Uint8Array.of(type >> 8, type & 255), address);
  return widest(spans).map(({ first, last }) => ({
    family: "inet",
    set: `on_link${family}`,
    key: keyOf(first),
    keyEnd: keyOf(last),
  }));
}

export function onLinkElements(networks: readonly NetworkFacts[]): readonly PlacedElement[] {
  const routed = networks.filter(({ routed: own }) => own !== undefined);
  return [
    ...ranges(
      4,
      routed.map(({ prefix4 }) => span4(prefix4)),
    ),
    ...ranges(
      6,
      routed.flatMap(({ routed: own }) => (own?.prefix6 === undefined ? [] : [span6(own.prefix6)])),
    ),
  ];
}
