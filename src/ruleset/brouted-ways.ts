/**
 * What a brouted guest sends, in the host's stack. It came in by the bridge as the LAN's packets do, so no interface tells it apart: the mark does, which the guard at the
 * port has set and nobody on the LAN can. And a bridge on which vifguard switched forwarding on forwards nothing else: the host does not become the LAN's router.
 */
import {
  accept,
  back,
  type Chain,
  drop,
  goTo,
  inSet,
  is,
  jumpTo,
  type Match,
  next,
  type Rule,
  rule,
  type SetSpec,
  type Statement,
  when,
} from "./ast.ts";
import { countedDrop, ETHER_TYPE, PORTS, PROTOCOL, RANGES } from "./parts.ts";

export const broutedWaySets: readonly SetSpec[] = [
  // Marks of the ports, each with the index of its port.
  { name: "brouted", key: ["mark"], size: PORTS, use: "static" },
  { name: "brouted_ways", key: ["mark", "oif"], size: PORTS, use: "static" },
  { name: "brouted4", key: ["ip4Source"], size: 4 * PORTS, use: "static" },
  { name: "brouted6", key: ["ip6Source"], size: 4 * PORTS, use: "static" },
  { name: "brouteds4", key: ["protocol", "ip4Source"], size: RANGES, use: "ranges" },
  { name: "brouteds6", key: ["protocol", "ip6Source"], size: RANGES, use: "ranges" },
  // Addresses of stateful NICs, as in the maps of the service policy: before Linux 6.5 a map cannot be asked whether it holds something, and what it holds would cost the mark.
  { name: "judged4", key: ["source4"], size: PORTS, use: "static" },
  { name: "judged6", key: ["source6"], size: PORTS, use: "static" },
  { name: "judgeds4", key: ["protocol", "source4"], size: RANGES, use: "ranges" },
  { name: "judgeds6", key: ["protocol", "source6"], size: RANGES, use: "ranges" },
  { name: "brouters", key: ["iif"], size: 1024, use: "static" },
  { name: "brouter_macs", key: ["iif", "destinationMac"], size: 1024, use: "static" },
  { name: "brouted_astray", key: ["mark"], size: PORTS, use: "counted" },
];

const IP4 = is("protocol", ETHER_TYPE.ip4);
const IP6 = is("protocol", ETHER_TYPE.ip6);
const NO_MARK: Statement = { kind: "mark", value: 0 };

const ofGuests = (
  end: "Source" | "Destination",
  verdict: Rule["verdict"],
  ...matches: readonly Match[]
): readonly Rule[] => [
  when([...matches, IP4, inSet("brouted4", `ip4${end}`)], verdict),
  when([...matches, IP6, inSet("brouted6", `ip6${end}`)], verdict),
  when([...matches, inSet("brouteds4", "protocol", `ip4${end}`)], verdict),
  when([...matches, inSet("brouteds6", "protocol", `ip6${end}`)], verdict),
];

export const broutedWayChains: readonly Chain[] = [
  {
    name: "brouted_astray",
    rules: [rule([], [{ kind: "count", set: "brouted_astray", key: ["mark"] }], next), when([], drop)],
  },
  {
    name: "way_brouted",
    rules: [
      rule([inSet("brouted_ways", "mark", "oif")], [NO_MARK], accept),
      rule([inSet("routed", "oif")], [NO_MARK], accept),
      when([], goTo("brouted_astray")),
    ],
  },
  {
    /**
     * Where bridges hand over what they forward it passes here as well, with the bridge as both interfaces; but then it is not for the bridge's own MAC,
     * and the host routes only what is.
     */
    name: "way_bridge",
    rules: [when([inSet("brouter_macs", "iif", "destinationMac")], goTo("way_unproven")), when([], accept)],
  },
  {
    // The guard has not let it by: somebody of the LAN says it is a guest.
    name: "way_unproven",
    rules: [
      ...ofGuests("Source", drop),
      // By way of the host instead of straight: a router may have been told so.
      ...ofGuests("Destination", accept, inSet("brouters", "oif")),
      when([], back),
    ],
  },
  {
    // The shorter way that the host would tell a guest of is the one that guests do not go. What the setting of one interface cannot stop: either of its own and that of all is enough.
    name: "brouted_redirects",
    hook: { hook: "output", priority: 0 },
    rules: [
      when([inSet("brouters", "oif"), IP4, is("transport", PROTOCOL.icmp), is("icmpType", 5)], drop),
      when([inSet("brouters", "oif"), IP6, is("transport", PROTOCOL.icmp6), is("icmpType", 137)], drop),
    ],
  },
];

/**
 * Connection tracking sees of an open guest only what it sends: its answers are bridged, and open NICs are not tracked there. Half a connection for each would fill
 * the table for nothing.
 */
export const trackBrouted: Chain = {
  name: "track_brouted",
  rules: [
    ...(["source", "destination"] as const).flatMap((end) => [
      when([inSet("judged4", `${end}4`)], accept),
      when([inSet("judged6", `${end}6`)], accept),
      when([inSet("judgeds4", "protocol", `${end}4`)], accept),
      when([inSet("judgeds6", "protocol", `${end}6`)], accept),
    ]),
    rule([], [{ kind: "untrack" }], accept),
  ],
};
export const tracksBrouted: Rule = when([inSet("brouted", "mark")], goTo("track_brouted"));

/** Ahead of all other ways. */
export const broutedWays: readonly Rule[] = [
  when([inSet("brouted", "mark")], goTo("way_brouted")),
  when([inSet("brouters", "iif")], jumpTo("way_bridge")),
  ...ofGuests("Destination", accept, inSet("routed", "iif"), inSet("brouters", "oif")),
];

/** Behind the guard, as a second layer: unicast IP of such a port is never the bridge's to forward, but for the advertisements that answer the LAN. */
export const unroutedSets: readonly SetSpec[] = [
  { name: "brouted", key: ["iif"], size: PORTS, use: "static" },
  { name: "unrouted_from", key: ["iif"], size: PORTS, use: "counted" },
];

export const unroutedChains: readonly Chain[] = [
  countedDrop("unrouted_from", "unrouted_from", "iif"),
  {
    name: "unrouted",
    hook: { hook: "forward", priority: 290 },
    rules: [
      when([inSet("brouted", "iif"), is("groupBit", 0), is("etherType", ETHER_TYPE.ip4)], goTo("unrouted_from")),
      when([inSet("brouted", "iif"), is("ip6Next", PROTOCOL.icmp6), is("icmp6Type", 136)], accept),
      when([inSet("brouted", "iif"), is("groupBit", 0), is("etherType", ETHER_TYPE.ip6)], goTo("unrouted_from")),
    ],
  },
];
