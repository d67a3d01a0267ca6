/** What a brouted port needs of the host besides its rules and its bridge: that the host knows the guest without asking, and routes what it sends. */
import type { Link } from "../kernel/links.ts";
import type { RouteItem } from "../kernel/routes.ts";
import { prefix4Contains } from "../model/ipv4.ts";
import { prefix6Contains } from "../model/ipv6.ts";
import type { InterfaceName } from "../model/names.ts";
import type { NetworkSpec } from "../model/resources.ts";
import { BROUTED_GATEWAY6, HOST_PORT_MAC } from "../model/wiring.ts";
import type { NetworkFacts, PortBinding, Source } from "../ruleset/elements.ts";
import { announcedOf, inOrder, type RoutedWish, settingsOn, sourceItems, type Values } from "./routed.ts";

/** To a guest everybody is where its host is. */
export function broutedFacts({ prefix6 }: NetworkSpec, facts: NetworkFacts): NetworkFacts {
  return {
    ...facts,
    gatewayMac: HOST_PORT_MAC,
    ...(prefix6 === undefined ? { brouted: {} } : { gateway6: BROUTED_GATEWAY6, brouted: { prefix6 } }),
  };
}

const BRIDGE4: Values = [
  ["redirectsIn4", 0],
  ["redirectsOut4", 0],
  ["forwarding4", 1],
];
const BRIDGE6: Values = [
  ["off6", 0],
  ["redirectsIn6", 0],
  ["forwarding6", 1],
];

/** On the bridge, where the guest is for the host as it is for the LAN; nothing on the port. */
export function broutedWish(
  name: InterfaceName,
  { ifindex, mac }: Pick<Link, "ifindex" | "mac">,
  { sources, mac: guest }: Pick<PortBinding, "sources" | "mac">,
  { prefix4, prefix6 }: Pick<NetworkSpec, "prefix4" | "prefix6">,
): RoutedWish {
  // The bridge's own route leads there; one more would tell a routing daemon to bring the guest's packets here.
  const isOnLink = ({ what }: Source): boolean =>
    (what.kind === "address4" && prefix4Contains(prefix4, what.address)) ||
    (what.kind === "address6" && prefix6 !== undefined && prefix6Contains(prefix6, what.address));
  const itemsOf = (source: Source): readonly RouteItem[] =>
    [...sourceItems(source, { ifindex, mac: guest, sources })].filter(
      ({ kind }) => kind !== "route" || !isOnLink(source),
    );
  const values = prefix6 === undefined ? BRIDGE4 : [...BRIDGE4, ...BRIDGE6];
  return {
    uplink: { ifindex, mac, name },
    items: inOrder(sources.flatMap(itemsOf)),
    settings: settingsOn({ ifindex, device: name }, values),
    // Its own, which switches look for where they saw it last: nothing else that the guest sends shows it to them.
    announced: announcedOf({ sources }),
    announcedAt: guest,
  };
}
