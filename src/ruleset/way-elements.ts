/** What the LAN of routed networks holds, as set elements (ruleset/ways.ts). */
import { bytesText } from "../model/bytes.ts";
import { blockOctets } from "../model/ip-block.ts";
import { prefix4Octets } from "../model/ipv4.ts";
import { prefix6Bounds } from "../model/ipv6.ts";
import { familyRange, type PlacedElement } from "./element-bytes.ts";
import type { NetworkFacts } from "./elements.ts";

interface Span {
  readonly first: Uint8Array;
  readonly last: Uint8Array;
}

const isAtMost = (a: Uint8Array, b: Uint8Array): boolean => bytesText(a) <= bytesText(b);
const isIn = (inner: Span, outer: Span): boolean =>
  isAtMost(outer.first, inner.first) && isAtMost(inner.last, outer.last);

/** Ranges of one set may not meet, and prefixes that meet lie one in the other: the widest says it all. */
function widest(spans: readonly Span[]): readonly Span[] {
  return spans.filter(
    (span, n) => !spans.some((other, m) => m !== n && isIn(span, other) && (!isIn(other, span) || m < n)),
  );
}

function ranges(set: string, family: 4 | 6, spans: readonly Span[]): readonly PlacedElement[] {
  return widest(spans).map(({ first, last }) => ({
    family: "inet",
    set,
    ...familyRange(family, first, last),
  }));
}

function lanOf({ prefix4, routed }: NetworkFacts): readonly Span[] {
  if (routed === undefined) return [];
  const held = (routed.lan ?? []).map(blockOctets);
  if (routed.isPool === true) return held;
  const six = routed.prefix6 === undefined ? [] : [prefix6Bounds(routed.prefix6)];
  return routed.isInside === true ? [...held, ...six] : [prefix4Octets(prefix4), ...six];
}

export function onLinkElements(networks: readonly NetworkFacts[]): readonly PlacedElement[] {
  const spans = networks.flatMap(lanOf);
  const ofFamily = (octets: number): readonly Span[] => spans.filter(({ first }) => first.length === octets);
  const inside = networks.filter(({ routed }) => routed?.isInside === true);
  return [
    ...ranges("on_link4", 4, ofFamily(4)),
    ...ranges("on_link6", 6, ofFamily(16)),
    ...ranges(
      "inside4",
      4,
      inside.map(({ prefix4 }) => prefix4Octets(prefix4)),
    ),
  ];
}
