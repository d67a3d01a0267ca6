/**
 * Where the host may route for guests (contract section 2, host): a routed port's packets leave by another routed port or by its network's uplink and by nothing else the
 * host is connected to, and come in the same way. And an uplink on which vifguard switched forwarding on forwards nothing but that: the host becomes nobody's router.
 */
import { accept, type Chain, drop, goTo, inSet, is, rule, type SetSpec, when } from "./ast.ts";
import { broutedWayChains, broutedWaySets, broutedWays } from "./brouted-ways.ts";
import { natWays } from "./nat.ts";
import { countedDrop, ETHER_TYPE, PORTS } from "./parts.ts";

export const waySets: readonly SetSpec[] = [
  ...broutedWaySets,
  { name: "routed", key: ["iif"], size: PORTS, use: "static" },
  /** In by the first, out by the second: port and uplink, both ways round. */
  { name: "ways", key: ["iif", "oif"], size: 2 * PORTS, use: "static" },
  // By family (ETH_P_IP, ETH_P_IPV6): one may have been on before.
  { name: "opened", key: ["iif", "protocol"], size: 1024, use: "notes" },
  // Number of the setting and what it was before, for an agent with no memory.
  { name: "settings", key: ["iif", "mark"], size: 16 * PORTS, use: "notes" },
  // What the LAN behind the uplinks holds, and who of it was heard from lately.
  { name: "on_link4", key: ["protocol", "ip4Destination"], size: PORTS, use: "ranges" },
  { name: "on_link6", key: ["protocol", "ip6Destination"], size: PORTS, use: "ranges" },
  { name: "heard4", key: ["ip4Source"], size: PORTS, use: "briefly" },
  { name: "heard6", key: ["ip6Source"], size: PORTS, use: "briefly" },
  { name: "ask_share", key: ["iif"], size: PORTS, use: "buckets" },
  { name: "asked_from", key: ["iif"], size: PORTS, use: "counted" },
  { name: "astray_from", key: ["iif"], size: PORTS, use: "counted" },
  { name: "astray_to", key: ["oif"], size: PORTS, use: "counted" },
];

const IP4 = is("protocol", ETHER_TYPE.ip4);
const IP6 = is("protocol", ETHER_TYPE.ip6);

/** @param nat whether this host translates: then what goes in and out of guests inside has rules of its own first */
export const wayChains = (nat: boolean): readonly Chain[] => [
  ...broutedWayChains,
  countedDrop("astray_from", "astray_from", "iif"),
  countedDrop("astray_to", "astray_to", "oif"),
  countedDrop("asked_from", "asked_from", "iif"),
  {
    /**
     * For a guest the host asks the LAN who has an address, and keeps what it asked for: the table has room for some hundred (gc_thresh), for all guests and the host itself.
     * A port may make it ask for twenty in a second that did not speak lately; an unanswered question stands for three.
     */
    name: "way_ask",
    rules: [
      rule([], [{ kind: "rate", set: "ask_share", key: "iif", perSecond: 20, burst: 60 }], accept),
      when([], goTo("asked_from")),
    ],
  },
  {
    name: "way_out",
    rules: [
      when([IP4, inSet("heard4", "ip4Destination")], accept),
      when([IP6, inSet("heard6", "ip6Destination")], accept),
      when([IP4, inSet("on_link4", "protocol", "ip4Destination")], goTo("way_ask")),
      when([IP6, inSet("on_link6", "protocol", "ip6Destination")], goTo("way_ask")),
      when([], accept),
    ],
  },
  {
    name: "way_in",
    rules: [
      rule(
        [IP4, inSet("on_link4", "protocol", "ip4Source")],
        [{ kind: "learn", set: "heard4", key: ["ip4Source"] }],
        accept,
      ),
      rule(
        [IP6, inSet("on_link6", "protocol", "ip6Source")],
        [{ kind: "learn", set: "heard6", key: ["ip6Source"] }],
        accept,
      ),
      when([], accept),
    ],
  },
  {
    // Before the service policy, which then judges only what has a way.
    name: "way",
    hook: { hook: "forward", priority: -10 },
    rules: [
      ...(nat ? natWays : []),
      ...broutedWays,
      when([inSet("ways", "iif", "oif"), inSet("routed", "iif")], goTo("way_out")),
      when([inSet("ways", "iif", "oif")], goTo("way_in")),
      when([inSet("routed", "iif"), inSet("routed", "oif")], accept),
      when([inSet("routed", "iif")], goTo("astray_from")),
      when([inSet("routed", "oif")], goTo("astray_to")),
      when([inSet("opened", "iif", "protocol")], drop),
    ],
  },
];
