/**
 * ARP and neighbour discovery on their way to a guest (contract section 3): true or of nobody we know, meant for this guest,
 * and remembered, so that the guest may speak to whom it was told about (contract section 2, dest-mac).
 */
import {
  accept,
  atLeast,
  type Chain,
  goTo,
  inSet,
  is,
  type Match,
  next,
  type Rule,
  rule,
  type Statement,
  when,
} from "./ast.ts";
import { remembersAsker } from "./brouted.ts";
import {
  ALL_NODES,
  ARP_BYTES,
  ARP_SHAPE,
  BROADCAST,
  clean,
  ETHERNET_HEADER,
  HOP_255,
  LEARN_SHARE,
  NA,
  ND_BARE,
  ND_OPTION,
  NS,
  refuseTo,
  SLLA,
  SOLICITED_NODE,
  TLLA,
} from "./parts.ts";

/** Puts the number of the receiving port's network into the mark. */
export const NETWORK: Rule = rule([], [{ kind: "markFrom", key: ["oif"], map: "network" }], next);

type LearnKey = Extract<Statement, { kind: "learn" }>["key"];

/** Remembers and goes on to accept; a port that has learned its share accepts without. */
const learn = (set: string, key: LearnKey, ...matches: readonly Match[]): Rule =>
  rule(matches, [LEARN_SHARE, { kind: "learn", set, key }], next);

/** The gateway's, where its MAC is not pinned, is learned for the whole network and has no share: a guest cannot make one. */
const learnGateway = (mac: "arpSenderMac" | "etherSource" | "ndOptionMac", ...matches: readonly Match[]): Rule =>
  rule(matches, [{ kind: "learn", set: "gateway_macs", key: ["mark", mac] }], next);

const WHOLE_ARP = [atLeast("length", ARP_BYTES + ETHERNET_HEADER), ...ARP_SHAPE];

export const toArp: readonly Chain[] = [
  {
    name: "to_arp",
    rules: [
      rule(WHOLE_ARP, [{ kind: "markFrom", key: ["oif"], map: "network" }], next),
      when([...WHOLE_ARP, inSet("brouted", "oif")], goTo("brouted_to_arp")),
      when([...WHOLE_ARP, inSet("true4", "mark", "arpSenderIp", "arpSenderMac")], goTo("to_arp_cast")),
      refuseTo("arp-sender", inSet("known4", "mark", "arpSenderIp")),
      when(WHOLE_ARP, goTo("to_arp_cast")),
      refuseTo("arp-shape"),
    ],
  },
  {
    name: "to_arp_cast",
    rules: [
      when([inSet("addr4", "oif", "arpTargetIp")], goTo("to_arp_learn")),
      when([inSet("addrs4", "oif", "arpTargetIp")], goTo("to_arp_learn")),
      when([BROADCAST], goTo("to_arp_announce")),
      // The answer to a probe of an address the guest gave up names nobody (RFC 5227 section 2.1.1).
      refuseTo("not-for-guest"),
    ],
  },
  {
    // Announcements only of the gateway and of members, whose truth was judged above.
    name: "to_arp_announce",
    rules: [
      when(
        [inSet("true4", "mark", "arpSenderIp", "arpSenderMac"), inSet("true4", "mark", "arpTargetIp", "arpSenderMac")],
        goTo("to_arp_learn"),
      ),
      when(
        [inSet("gateways4", "mark", "arpSenderIp"), inSet("gateways4", "mark", "arpTargetIp")],
        goTo("to_arp_learn"),
      ),
      refuseTo("not-for-guest"),
    ],
  },
  {
    name: "to_arp_learn",
    rules: [
      clean(accept, inSet("known4", "mark", "arpSenderIp")),
      learnGateway("arpSenderMac", inSet("gateways4", "mark", "arpSenderIp")),
      clean(accept, inSet("gateways4", "mark", "arpSenderIp")),
      learn("resolved4", ["oif", "arpSenderIp", "arpSenderMac"]),
      clean(accept),
    ],
  },
];

const FROM_TRUE = inSet("true6", "mark", "ip6Source", "etherSource");
const OPTION_TRUE_SOURCE = inSet("true6", "mark", "ip6Source", "ndOptionMac");
const TARGET_TRUE = inSet("true6", "mark", "ndTarget", "etherSource");
const OPTION_TRUE_TARGET = inSet("true6", "mark", "ndTarget", "ndOptionMac");
const FROM_GATEWAY = inSet("gateways6", "mark", "ip6Source");
const TARGET_GATEWAY = inSet("gateways6", "mark", "ndTarget");

export const toNd: readonly Chain[] = [
  {
    name: "to_icmp6",
    rules: [
      when([], {
        kind: "dispatch",
        field: "icmp6Type",
        cases: [
          ...[1, 2, 3, 4, 128, 129].map((value) => ({ value, chain: "to_pass" })),
          { value: 134, chain: "to_ra" },
          { value: 135, chain: "to_ns" },
          { value: 136, chain: "to_na" },
          { value: 137, chain: "to_redirect" },
        ],
      }),
      when([is("icmp6Type", 133), inSet("ra_senders", "oif")], accept),
      refuseTo("nd"),
    ],
  },
  { name: "to_pass", rules: [when([], accept)] },
  { name: "to_redirect", rules: [refuseTo("ra")] },
  {
    name: "to_nd_multicast",
    rules: [
      when([...SOLICITED_NODE, is("icmp6Type", 135)], goTo("to_ns")),
      when([...ALL_NODES, is("icmp6Type", 134)], goTo("to_ra")),
      when([...ALL_NODES, is("icmp6Type", 136)], goTo("to_na_announce")),
      when([is("icmp6Type", 133), inSet("ra_senders", "oif")], accept),
      when([], goTo("to_ip6_group")),
    ],
  },
  {
    name: "to_ns",
    rules: [
      rule([HOP_255, NS], [{ kind: "markFrom", key: ["oif"], map: "network" }], next),
      when([HOP_255, NS, ND_BARE, FROM_TRUE], goTo("to_ns_target")),
      when([HOP_255, NS, SLLA, FROM_TRUE, OPTION_TRUE_SOURCE], goTo("to_ns_target")),
      refuseTo("nd", HOP_255, NS, inSet("known6", "mark", "ip6Source")),
      when([HOP_255, NS], goTo("to_ns_target")),
      refuseTo("nd"),
    ],
  },
  {
    name: "to_ns_target",
    rules: [
      when([inSet("addr6", "oif", "ndTarget")], goTo("to_ns_learn")),
      when([inSet("addrs6", "oif", "ndTarget")], goTo("to_ns_learn")),
      refuseTo("not-for-guest"),
    ],
  },
  {
    name: "to_ns_learn",
    rules: [
      remembersAsker,
      clean(accept, inSet("known6", "mark", "ip6Source")),
      learnGateway("etherSource", FROM_GATEWAY),
      clean(accept, FROM_GATEWAY),
      learn("resolved6", ["oif", "ip6Source", "etherSource"]),
      clean(accept),
    ],
  },
  {
    name: "to_na",
    rules: [
      rule([HOP_255, NA], [{ kind: "markFrom", key: ["oif"], map: "network" }], next),
      when([HOP_255, NA, TLLA, OPTION_TRUE_TARGET], goTo("to_na_learn")),
      when([HOP_255, NA, ND_BARE, TARGET_TRUE], goTo("to_na_learn")),
      refuseTo("nd", HOP_255, NA, inSet("known6", "mark", "ndTarget")),
      when([HOP_255, NA], goTo("to_na_learn")),
      refuseTo("nd"),
    ],
  },
  {
    // To everybody: only of the gateway and of members (contract section 3), so that failover and moves work.
    name: "to_na_announce",
    rules: [
      rule([HOP_255, NA], [{ kind: "markFrom", key: ["oif"], map: "network" }], next),
      when([HOP_255, NA, TLLA, OPTION_TRUE_TARGET], goTo("to_na_learn")),
      when([HOP_255, NA, ND_BARE, TARGET_TRUE], goTo("to_na_learn")),
      when([HOP_255, NA, TARGET_GATEWAY], goTo("to_na_learn")),
      refuseTo("nd", inSet("known6", "mark", "ndTarget")),
      refuseTo("not-for-guest"),
    ],
  },
  {
    name: "to_na_learn",
    rules: [
      clean(accept, inSet("known6", "mark", "ndTarget")),
      learnGateway("ndOptionMac", TARGET_GATEWAY, ND_OPTION, TLLA),
      learnGateway("etherSource", TARGET_GATEWAY, ND_BARE),
      clean(accept, TARGET_GATEWAY),
      learn("resolved6", ["oif", "ndTarget", "ndOptionMac"], TLLA),
      learn("resolved6", ["oif", "ndTarget", "etherSource"], ND_BARE),
      clean(accept),
    ],
  },
  {
    // Only of the network's gateway (RFC 6105), and where its MAC is pinned, only from there.
    name: "to_ra",
    rules: [
      rule([HOP_255], [{ kind: "markFrom", key: ["oif"], map: "network" }], next),
      clean(accept, HOP_255, FROM_TRUE, inSet("routers6", "mark", "ip6Source")),
      learnGateway("etherSource", HOP_255, FROM_GATEWAY),
      clean(accept, HOP_255, FROM_GATEWAY),
      refuseTo("ra"),
    ],
  },
];
