/** Neighbour discovery of a guest (contract section 2: nd, ra, rate-nd; RFC 4861): right behind the IPv6 header, from this link, about itself. */
import { accept, below, type Chain, drop, goTo, inSet, is, oneOf, rule, when, within } from "./ast.ts";
import { divertNd } from "./brouted.ts";
import {
  ALL_NODES,
  askedFromBehind,
  clean,
  HOP_255,
  logGroups,
  NA,
  ND_BARE,
  ND_OPTION,
  NONCE,
  NS,
  refuseFrom,
  SLLA,
  SOLICITED_NODE,
  TLLA,
  UNICAST,
  UNICAST6,
  withinShare,
} from "./parts.ts";

const OWN_TARGET = inSet("addr6", "iif", "ndTarget");
const OWN_TARGETS = inSet("addrs6", "iif", "ndTarget");
const OWN_OPTION = inSet("macs", "iif", "ndOptionMac");

/** To all routers (RFC 4861 section 4.1). */
const RS = [
  HOP_255,
  is("icmp6TypeCode", 0x8500),
  is("etherDestination", 0x33_33_00_00_00_02),
  is("ip6Destination", 0xff02_0000_0000_0000_0000_0000_0000_0002n),
];

export const fromNd: readonly Chain[] = [
  {
    name: "from_icmp6",
    rules: [
      when([], {
        kind: "dispatch",
        field: "icmp6Type",
        cases: [
          ...[1, 2, 3, 4, 128, 129].map((value) => ({ value, chain: "from_dest6" })),
          { value: 133, chain: "from_rs" },
          { value: 134, chain: "from_ra" },
          { value: 135, chain: "from_ns" },
          { value: 136, chain: "from_na" },
          { value: 137, chain: "from_ra" },
        ],
      }),
      // Membership reports without their router alert are nobody's (RFC 2710 section 3).
      refuseFrom("multicast", oneOf("icmp6Type", 130, 131, 132, 143)),
      refuseFrom("nd"),
    ],
  },
  {
    name: "from_dad",
    rules: [
      when([HOP_255, NS, ...SOLICITED_NODE, OWN_TARGET, ND_BARE], goTo("from_dad_rate")),
      when([HOP_255, NS, ...SOLICITED_NODE, OWN_TARGET, ND_OPTION, NONCE], goTo("from_dad_rate")),
      when([HOP_255, NS, ...SOLICITED_NODE, OWN_TARGETS, ND_BARE], goTo("from_dad_rate")),
      when([HOP_255, NS, ...SOLICITED_NODE, OWN_TARGETS, ND_OPTION, NONCE], goTo("from_dad_rate")),
      refuseFrom("nd"),
    ],
  },
  {
    name: "from_dad_rate",
    rules: [clean(accept, within("rate_nd", "iif")), refuseFrom("rate-nd"), clean(accept)],
  },
  {
    name: "from_ns",
    rules: [
      when([inSet("addr6", "iif", "ip6Source")], goTo("from_ns_shape")),
      when([inSet("routing", "mark"), inSet("addrs6", "iif", "ip6Source")], goTo("from_ns_behind")),
      when([], goTo("from_ns_shape")),
    ],
  },
  askedFromBehind("from_ns_behind", "rate-nd", goTo("from_ns_shape")),
  {
    name: "from_ns_shape",
    rules: [
      when([HOP_255, NS, below("ndTargetTop", 0xff), ND_BARE], goTo("from_ns_cast")),
      when([HOP_255, NS, below("ndTargetTop", 0xff), ND_OPTION, SLLA, OWN_OPTION], goTo("from_ns_cast")),
      refuseFrom("nd"),
    ],
  },
  {
    name: "from_ns_cast",
    rules: [
      when([UNICAST, UNICAST6], goTo("from_nd_dest")),
      when(SOLICITED_NODE, goTo("from_nd_rate")),
      refuseFrom("nd"),
    ],
  },
  {
    name: "from_na",
    rules: [
      when([HOP_255, NA, OWN_TARGET, ND_OPTION, TLLA, OWN_OPTION], goTo("from_na_cast")),
      when([HOP_255, NA, OWN_TARGET, ND_BARE], goTo("from_na_cast")),
      when([HOP_255, NA, OWN_TARGETS, ND_OPTION, TLLA, OWN_OPTION], goTo("from_na_cast")),
      when([HOP_255, NA, OWN_TARGETS, ND_BARE], goTo("from_na_cast")),
      refuseFrom("nd"),
    ],
  },
  {
    name: "from_na_cast",
    rules: [when([UNICAST, UNICAST6], goTo("from_nd_dest")), when(ALL_NODES, goTo("from_nd_rate")), refuseFrom("nd")],
  },
  {
    name: "from_nd_dest",
    rules: [
      when([inSet("true6", "mark", "ip6Destination", "etherDestination")], goTo("from_nd_rate")),
      when([inSet("routers", "mark", "etherDestination")], goTo("from_nd_rate")),
      when([inSet("gateway_macs", "mark", "etherDestination")], goTo("from_nd_rate")),
      when([inSet("resolved6", "iif", "ip6Destination", "etherDestination")], goTo("from_nd_rate")),
      refuseFrom("dest-mac"),
      when([], goTo("from_nd_rate")),
    ],
  },
  { name: "from_nd_rate", rules: withinShare("rate_nd", "rate-nd", goTo("from_nd_answer")) },
  {
    name: "from_nd_answer",
    rules: [
      divertNd,
      rule(
        [
          is("icmp6Type", 135),
          ...SOLICITED_NODE,
          ND_OPTION,
          inSet("suppress", "mark"),
          inSet("answers6", "mark", "ndTarget"),
        ],
        [{ kind: "log", group: logGroups.neighbours }],
        drop,
      ),
      clean(accept, OWN_TARGET),
      rule(
        [is("icmp6Type", 135), ...SOLICITED_NODE, ND_OPTION, inSet("suppress", "mark"), inSet("answers_all6", "mark")],
        [{ kind: "log", group: logGroups.neighbours }],
        drop,
      ),
      clean(accept),
    ],
  },
  {
    // The host's responder answers on the port itself, as with DHCP.
    name: "from_rs",
    rules: [
      when([...RS, is("ip6Length", 8)], goTo("from_rs_rate")),
      when(
        [...RS, is("ip6Length", 16), is("rsOption", 0x0101), inSet("macs", "iif", "rsOptionMac")],
        goTo("from_rs_rate"),
      ),
      refuseFrom("nd"),
    ],
  },
  {
    name: "from_rs_rate",
    rules: [
      clean(accept, inSet("observed", "iif")),
      rule([within("rate_nd", "iif")], [{ kind: "log", group: logGroups.neighbours }], drop),
      refuseFrom("rate-nd"),
    ],
  },
  {
    name: "from_ra",
    rules: [when([HOP_255, inSet("ra_senders", "iif")], goTo("from_dad_rate")), refuseFrom("ra")],
  },
];
