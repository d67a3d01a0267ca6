/**
 * Service policy of the guests (contract section 4): a constant ruleset in the families that forward, `inet` and, where the kernel tracks connections in the bridge, `bridge`.
 *
 * Every packet is judged, not only the first of a flow: by the addresses and the port its connection was opened with, whichever way it goes. So a rule that is
 * taken back cuts in the same transaction. A NIC is known by its addresses, which the guard at its port has proven; a *class* is one distinct set of security groups,
 * and two classes lead to a number for what the one may open to the other. Members are elements, and so are rules: what a packet meets does not grow with either.
 *
 * While it is judged a packet's mark holds, in turn, the class of the opener, the number of a set of services, and the NIC; the connection's mark the class of the other end.
 */
import {
  accept,
  atLeast,
  back,
  below,
  type Chain,
  goTo,
  inSet,
  is,
  jumpTo,
  type Match,
  masked,
  oneOf,
  type Rule,
  rule,
  when,
  within,
} from "./ast.ts";
import { trackBrouted, tracksBrouted } from "./brouted-ways.ts";
import { countedDrop, ETHER_TYPE, PROTOCOL } from "./parts.ts";
import {
  EPHEMERAL,
  MIDSTREAM,
  marked,
  OPENED_HERE,
  POLICED_MARK,
  refusal,
  refusalOfMarked,
  TRACKED,
  tell,
} from "./policy-parts.ts";
import { deviceOf, type PolicyFamily } from "./policy-sets.ts";
import { intoMark, judges, NOBODY, straight, turned } from "./policy-sides.ts";

/** First packet of a TCP connection, and nothing else. */
const SYN = masked("tcpFlags", 0x17, "==", 0x02);

/** What opens a flow counts for both NICs, and TCP opens one only with its first packet. */
const flow: readonly Chain[] = [
  refusal("over_from", "nic_opener", "limit-from"),
  refusal("over_to", "nic_opened", "limit-to"),
  refusal("over_rate", "nic_opener", "rate-from"),
  refusalOfMarked("stray_from", "stray-from"),
  refusalOfMarked("stray_to", "stray-to"),
  {
    /**
     * In the middle of a connection that nobody saw begin. A flow that was cut must not come back by its own next packet, so this passes only
     * in the first minute in which a NIC is judged at all: what ran before goes on, if it is allowed whichever end is taken for the opener.
     */
    name: "flow_midstream",
    rules: [
      when([SYN], back),
      when([], jumpTo("nic_opened")),
      rule([inSet("midstream", "mark")], [{ kind: "label", label: MIDSTREAM }], back),
      when([], jumpTo("nic_opener")),
      rule([inSet("midstream", "mark")], [{ kind: "label", label: MIDSTREAM }], back),
      when([atLeast("mark", 1)], goTo("stray_from")),
      when([], jumpTo("nic_opened")),
      when([atLeast("mark", 1)], goTo("stray_to")),
      // What the host routes for open NICs is nobody's to judge.
    ],
  },
  {
    name: "flow_rate",
    rules: [
      when([NOBODY], back),
      // It has its share at the port already.
      when([is("transport", PROTOCOL.tcp)], back),
      when([within("flows", "mark")], back),
      when([], goTo("over_rate")),
    ],
  },
  {
    name: "flow_new",
    rules: [
      when([], jumpTo("nic_opener")),
      when([inSet("connections", "mark")], goTo("over_from")),
      when([], jumpTo("flow_rate")),
      when([], jumpTo("nic_opened")),
      when([inSet("connections", "mark")], goTo("over_to")),
    ],
  },
];

/** Neighbour discovery and redirects, which connection tracking leaves alone (RFC 4861); the guard at the port has judged them. */
const DISCOVERY = [
  is("protocol", ETHER_TYPE.ip6),
  is("ip6Next", PROTOCOL.icmp6),
  oneOf("icmp6Type", 133, 134, 135, 136, 137),
];
const GROUP4 = [is("protocol", ETHER_TYPE.ip4), atLeast("ip4DestinationTop", 224)];
const GROUP6 = [is("protocol", ETHER_TYPE.ip6), is("ip6DestinationTop", 0xff)];

/** By the packet's own addresses. */
const byPacket = (end: "source" | "destination", verdict: Rule["verdict"]): readonly Rule[] =>
  intoMark(TRACKED, `${end}4`, `${end}6`, verdict);

/** What belongs to no connection: of a stateful NIC nothing passes so but what is never tracked. */
const stray: Chain = {
  name: "policy_stray",
  rules: [
    when(DISCOVERY, goTo("policy_passed")),
    when(GROUP4, accept),
    when(GROUP6, accept),
    ...byPacket("source", goTo("stray_from")),
    ...byPacket("destination", goTo("stray_to")),
    when([], accept),
  ],
};

const seenFromTheMiddle: Match = { kind: "labelled", label: MIDSTREAM };
const OPENS: Match = { kind: "opens" };

/** Of a connection known from the middle nobody can say who opened it. One port below those that systems open flows from (Linux: 32768 on) is the service. */
const SERVICE_AHEAD = [is("transport", PROTOCOL.tcp), atLeast("openerPort", EPHEMERAL), below("service", EPHEMERAL)];
const SERVICE_BEHIND = [is("transport", PROTOCOL.tcp), below("openerPort", EPHEMERAL), atLeast("service", EPHEMERAL)];

const verdicts: readonly Chain[] = [
  {
    name: "policy_allowed",
    rules: [when([OPENS], jumpTo("flow_new")), when([], goTo("policy_passed"))],
  },
  {
    name: "policy_straight",
    rules: [when([], jumpTo("policy_out")), when([], jumpTo("policy_in")), when([], goTo("policy_allowed"))],
  },
  {
    name: "policy_turned",
    rules: [
      when([], jumpTo("policy_out_turned")),
      when([], jumpTo("policy_in_turned")),
      when([], goTo("policy_allowed")),
    ],
  },
  {
    // Two ports of services, or two of none: allowed only if it is both ways.
    name: "policy_both",
    rules: [
      when([], jumpTo("policy_out_turned")),
      when([], jumpTo("policy_in_turned")),
      when([], goTo("policy_straight")),
    ],
  },
  {
    name: "policy_midstream",
    rules: [
      when(SERVICE_AHEAD, goTo("policy_straight")),
      when(SERVICE_BEHIND, goTo("policy_turned")),
      when([], goTo("policy_both")),
    ],
  },
  {
    name: "policy_judged",
    rules: [
      when([{ kind: "state", state: "untracked" }], goTo("policy_stray")),
      when([{ kind: "state", state: "invalid" }], goTo("policy_stray")),
      // An error that speaks of a connection somebody has.
      when(
        [{ kind: "state", state: "related" }, oneOf("transport", PROTOCOL.icmp, PROTOCOL.icmp6)],
        goTo("policy_passed"),
      ),
      when([seenFromTheMiddle], goTo("policy_midstream")),
      when([{ kind: "labelled", label: OPENED_HERE }], goTo("policy_straight")),
      // Also what connection tracking knows already, from a time when nobody judged.
      when([is("transport", PROTOCOL.tcp)], jumpTo("flow_midstream")),
      when([seenFromTheMiddle], goTo("policy_midstream")),
      rule([], [{ kind: "label", label: OPENED_HERE }], goTo("policy_straight")),
    ],
  },
];

/** What the host forwards between networks that are not ours keeps its marks, and is not looked at. */
const forward = (family: PolicyFamily): Chain => ({
  name: "policy_forward",
  hook: { hook: "forward", priority: 0 },
  rules: [
    when([inSet("bridges", deviceOf(family))], goTo("policy_judged")),
    ...(family === "inet" ? [when([inSet("bridges", "oifname")], goTo("policy_judged"))] : []),
  ],
});

/** The bridge's gate wants to see that the packet was judged; one that is routed on leaves with no mark of ours. */
const passed = (family: PolicyFamily): Chain => ({
  name: "policy_passed",
  rules:
    family === "bridge"
      ? [rule([], [marked(POLICED_MARK)], accept)]
      : [
          rule([inSet("bridges", "iifname"), inSet("bridges", "oifname")], [marked(POLICED_MARK)], accept),
          rule([], [marked(0)], accept),
        ],
});

/** Only what a stateful NIC sends or is sent is tracked; what is for the host itself is left to the host. */
const tracking = (family: PolicyFamily): readonly Chain[] => [
  {
    name: "track_bridged",
    rules: [
      when([inSet("bridge_macs", deviceOf(family), "destinationMac")], accept),
      rule(GROUP4, [{ kind: "untrack" }], accept),
      rule(GROUP6, [{ kind: "untrack" }], accept),
      ...byPacket("source", goTo("track_it")),
      ...byPacket("destination", goTo("track_it")),
      rule([], [{ kind: "untrack" }], accept),
    ],
  },
  ...(family === "inet" ? [trackBrouted] : []),
  {
    name: "track",
    hook: { hook: "prerouting", priority: -300 },
    rules: [
      ...(family === "inet" ? [tracksBrouted] : []),
      when([inSet("bridges", deviceOf(family))], goTo("track_bridged")),
    ],
  },
];

export const policyChains = (family: PolicyFamily): readonly Chain[] => [
  passed(family),
  tell,
  ...judges(straight),
  ...judges(turned),
  ...flow,
  stray,
  { name: "track_it", rules: [rule([], [marked(0)], accept)] },
  ...tracking(family),
  ...verdicts,
  forward(family),
];

const UNICAST_IP = [is("groupBit", 0), oneOf("etherType", ETHER_TYPE.ip4, ETHER_TYPE.ip6)];

/** What the bridge forwards from or to the port of a stateful NIC must have been judged, whoever switched off what. */
export const gateChains: readonly Chain[] = [
  countedDrop("unjudged_from", "unjudged_from", "iif"),
  countedDrop("unjudged_to", "unjudged_to", "oif"),
  {
    name: "gate",
    hook: { hook: "forward", priority: 300 },
    rules: [
      rule([is("mark", POLICED_MARK)], [marked(0)], accept),
      when([inSet("stateful", "iif"), ...UNICAST_IP], goTo("unjudged_from")),
      when([inSet("stateful", "oif"), ...UNICAST_IP], goTo("unjudged_to")),
    ],
  },
];
