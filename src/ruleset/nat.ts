/**
 * Address translation of guests inside (wiring `nat`): constant rules over maps, in the kernel's own chains for it, which see the first packet of a connection; the others
 * follow it by connection tracking, whatever becomes of rules and agent meanwhile.
 *
 * Public addresses stand in the maps, so nothing that is not for one of them, and does not come from a port inside, is ever touched. They are routed to the
 * loopback device (plan/nat.ts): what no map leads on, because nobody offers it, ends there and reaches neither the host nor the LAN again.
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
  next,
  type Rule,
  rule,
  type SetSpec,
  when,
} from "./ast.ts";
import { countedDrop, ETHER_TYPE, PORTS, RANGES } from "./parts.ts";

/** What stands for single addresses has no size: most hosts translate none, and room would be allotted ahead. */
export const natSets: readonly SetSpec[] = [
  /** Ports whose guests have private addresses, and those addresses. */
  { name: "inside", key: ["iif"], size: PORTS, use: "static" },
  { name: "inside4", key: ["protocol", "source4"], size: RANGES, use: "ranges" },
  /** Public address to guest; public address and port to guest and its port. */
  { name: "public4", key: ["destination4"], to: "source4", use: "static" },
  {
    name: "services4",
    key: ["destination4", "transport", "destinationPort"],
    to: ["source4", "destinationPort"],
    use: "static",
  },
  /** Guest to the address by which it is seen outside: its own public one, or the network's. */
  { name: "leaves4", key: ["source4"], to: "destination4", use: "static" },
  { name: "masqueraded4", key: ["source4"], use: "static" },
  /** A guest that uses a service of its own by the public address: twice the guest, to that address. */
  { name: "itself4", key: ["source4", "destination4"], to: "destination4", use: "static" },
  { name: "untranslated_from", key: ["iif"], size: PORTS, use: "counted" },
  { name: "untranslated_to", key: ["oif"], size: PORTS, use: "counted" },
];

const IP4 = is("protocol", ETHER_TYPE.ip4);
const FROM_INSIDE = inSet("inside", "iif");
const TO_INSIDE = inSet("inside", "oif");
/** LOOPBACK_IFINDEX (include/net/net_namespace.h): the same in every network namespace. */
export const LOOPBACK = 1;
const TO_NOBODY = is("oif", LOOPBACK);

/** First of all ways: what nobody offers, and what reaches for a guest inside past its public address. */
export const natWays: readonly Rule[] = [
  when([TO_NOBODY, FROM_INSIDE], goTo("untranslated_from")),
  when([TO_NOBODY], drop),
  when([TO_INSIDE, IP4], jumpTo("nat_way_in")),
];

export const natChains: readonly Chain[] = [
  countedDrop("untranslated_from", "untranslated_from", "iif"),
  countedDrop("untranslated_to", "untranslated_to", "oif"),
  {
    name: "nat_way_in",
    rules: [
      when([FROM_INSIDE], back),
      // From outside it speaks for a guest of this host, whose groups it would be judged by.
      when([inSet("inside4", "protocol", "source4")], goTo("untranslated_to")),
      when([{ kind: "redirected" }], back),
      when([{ kind: "answers" }], back),
      when([], goTo("untranslated_to")),
    ],
  },
  {
    // Not in the base chain: that is loaded later than the maps in an upgrade, and nft 1.0.6 cannot read back the type of a map of any transport's ports.
    name: "nat_lead",
    rules: [
      rule([], [{ kind: "translate", end: "destination", key: ["destination4"], map: "public4" }], next),
      rule(
        [],
        [
          {
            kind: "translate",
            end: "destination",
            key: ["destination4", "transport", "destinationPort"],
            map: "services4",
          },
        ],
        next,
      ),
    ],
  },
  {
    name: "nat_in",
    // NF_IP_PRI_NAT_DST: before the route is looked up.
    hook: { hook: "prerouting", priority: -100, type: "nat" },
    rules: [when([], jumpTo("nat_lead"))],
  },
  {
    /**
     * Between guests of this host nothing is translated that was opened to a private address. What was opened to a public one comes from the opener's public
     * address, as it would from another host; of an opener without one from its private address, which its neighbour reaches.
     */
    name: "nat_out",
    // NF_IP_PRI_NAT_SRC: behind the route, before the packet leaves.
    hook: { hook: "postrouting", priority: 100, type: "nat" },
    rules: [
      when([FROM_INSIDE, TO_INSIDE, { kind: "redirected" }], jumpTo("nat_hairpin")),
      when([FROM_INSIDE, TO_INSIDE], accept),
      rule([FROM_INSIDE], [{ kind: "translate", end: "source", key: ["source4"], map: "leaves4" }], next),
      // To a routed port of this host it goes as it is: the address of that port is the gateway's, of which a guest reaches nothing.
      when([FROM_INSIDE, inSet("routed", "oif")], accept),
      rule([FROM_INSIDE, inSet("masqueraded4", "source4")], [{ kind: "masquerade" }], next),
    ],
  },
  {
    name: "nat_hairpin",
    rules: [
      rule([], [{ kind: "translate", end: "source", key: ["source4", "destination4"], map: "itself4" }], next),
      rule([], [{ kind: "translate", end: "source", key: ["source4"], map: "leaves4" }], next),
    ],
  },
  {
    // Behind all translation: a private address never leaves the host, nor is it looked for outside, whatever let it get so far.
    name: "nat_left",
    rules: [
      when([TO_INSIDE], accept),
      when([inSet("inside4", "protocol", "destination4")], goTo("untranslated_from")),
      when([inSet("routed", "oif"), inSet("masqueraded4", "source4")], accept),
      when([inSet("inside4", "protocol", "source4")], goTo("untranslated_from")),
    ],
  },
  {
    name: "nat_check",
    hook: { hook: "postrouting", priority: 150 },
    rules: [when([FROM_INSIDE, IP4], goTo("nat_left"))],
  },
];
