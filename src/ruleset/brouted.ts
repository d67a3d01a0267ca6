/**
 * Ports of brouted networks at the guard: what a guest sends is taken off the bridge, what is sent to it is bridged. To the guest everybody is at one MAC, the host's, and
 * the rules themselves keep it so, with no agent: they turn its questions into their own answers, put the bridge's MAC into what it sends, and the host's MAC into what others ask it.
 *
 * The frame is changed at the port, before the bridge sees it. So no `meta broute` is needed, which nft 1.0.6 has no word for, and no proxying by the bridge, which would answer the LAN's questions as well.
 */
import { ipv6ToBytes } from "../model/ipv6.ts";
import { macToBytes } from "../model/mac.ts";
import { BROUTED_GATEWAY6, HOST_PORT_MAC } from "../model/wiring.ts";
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
  notToHost,
  type Rule,
  rule,
  type SetSpec,
  type Statement,
  sendBack,
  toHost,
  when,
  within,
} from "./ast.ts";
import {
  BROADCAST,
  clean,
  ETHER_TYPE,
  LEARN_SHARE,
  logGroups,
  ND_OPTION,
  PORTS,
  PROVEN,
  RANGES,
  RESPONDER_MARK,
  refuseFrom,
  refuseTo,
  TO_BRIDGE,
} from "./parts.ts";

export const broutedSets: readonly SetSpec[] = [
  { name: "brouted", key: ["iif"], size: PORTS, use: "static" },
  // The MAC of the bridge that the port is in, which is the host.
  { name: "brouters", key: ["iif"], to: "etherDestination", size: PORTS, use: "static" },
  // What a packet bears that this port has sent and the guard has let by, until the host has routed it (ruleset/brouted-ways.ts).
  { name: "brouted_mark", key: ["iif"], to: "mark", size: PORTS, use: "static" },
  // Who of the LAN waits for the guest's answer, and where.
  { name: "askers", key: ["oif", "arpSenderIp"], to: "arpSenderMac", size: 8 * PORTS, use: "askers" },
  { name: "askers6", key: ["oif", "ip6Source"], to: "etherSource", size: 8 * PORTS, use: "askers" },
  // The checksum of the answer to a guest that asks from this address for its router.
  { name: "router_sums", key: ["ip6Source"], to: "icmp6Checksum", size: 2 * PORTS, use: "static" },
  { name: "prefix6", key: ["mark", "ip6Destination"], size: RANGES, use: "ranges" },
  { name: "heard4", key: ["ip4Source"], size: PORTS, use: "briefly" },
  { name: "heard6", key: ["ip6Source"], size: PORTS, use: "briefly" },
  { name: "ask_share", key: ["iif"], size: PORTS, use: "buckets" },
  { name: "asked4", key: ["iif", "ip4Destination"], size: 4 * PORTS, use: "asked" },
  { name: "asked6", key: ["iif", "ip6Destination"], size: 4 * PORTS, use: "asked" },
];

const numberOf = (octets: Uint8Array): bigint => octets.reduce((sum, octet) => sum * 256n + BigInt(octet), 0n);
const HOST = numberOf(macToBytes(HOST_PORT_MAC));
const ROUTER = numberOf(ipv6ToBytes(BROUTED_GATEWAY6));
/** Router, solicited, override. */
export const ROUTER_FLAGS = 0xe0_00_00_00;

const REQUEST = is("arpOperation", 1);
const BROUTED = inSet("brouted", "iif");
const IP4 = is("etherType", ETHER_TYPE.ip4);
const IP6 = is("etherType", ETHER_TYPE.ip6);

const NO_MARK: Statement = { kind: "mark", value: 0 };
const BACK_TO_SENDER: readonly Statement[] = [
  { kind: "copy", field: "etherDestination", from: "etherSource" },
  { kind: "write", field: "etherSource", value: HOST },
  { kind: "mark", value: RESPONDER_MARK },
];
/** For the host's own stack, and for nobody else. */
const toStack = (name: string): Chain => ({ name, rules: [rule([], [TO_BRIDGE, NO_MARK], accept)] });

export const divertArp: Rule = when([BROUTED], goTo("brouted_arp"));
export const divertNd: Rule = when([BROUTED], goTo("brouted_nd"));
export const divertIp: Rule = when([is("groupBit", 0), BROUTED], goTo("brouted_ip"));

/** In the order they are reached: ARP of the guest, judged already. */
export const broutedArp: readonly Chain[] = [
  {
    name: "brouted_arp",
    rules: [
      // Probes and announcements are the LAN's to hear.
      clean(accept, BROADCAST, inSet("bind4", "iif", "arpSenderMac", "arpTargetIp")),
      clean(accept, BROADCAST, inSet("binds4", "iif", "arpSenderMac", "arpTargetIp")),
      when([inSet("bind4", "iif", "arpSenderMac", "arpTargetIp")], goTo("brouted_arp_host")),
      when([REQUEST], goTo("brouted_arp_answer")),
      // It answered the host's MAC, because it knows no other: on to who asked.
      rule(
        [],
        [
          { kind: "writeFrom", field: "arpTargetMac", key: ["iif", "arpTargetIp"], map: "askers" },
          { kind: "writeFrom", field: "etherDestination", key: ["iif", "arpTargetIp"], map: "askers" },
          NO_MARK,
        ],
        accept,
      ),
      when([], goTo("brouted_arp_host")),
    ],
  },
  toStack("brouted_arp_host"),
  {
    // Whoever is asked for is where the host is (RFC 826, the question turned into its answer): both addresses change places, by way of the field that means nothing yet.
    name: "brouted_arp_answer",
    rules: [
      rule(
        [],
        [
          { kind: "copy", field: "arpTargetMac32", from: "arpTargetIp" },
          { kind: "copy", field: "arpTargetIp", from: "arpSenderIp" },
          { kind: "copy", field: "arpSenderIp", from: "arpTargetMac32" },
          { kind: "copy", field: "arpTargetMac", from: "arpSenderMac" },
          { kind: "write", field: "arpSenderMac", value: HOST },
          { kind: "write", field: "arpOperation", value: 2 },
          ...BACK_TO_SENDER,
        ],
        sendBack,
      ),
    ],
  },
];

const SOLICITATION = is("icmp6Type", 135);
const HANDED_UP: readonly Statement[] = [{ kind: "log", group: logGroups.neighbours }];

export const broutedNd: readonly Chain[] = [
  {
    name: "brouted_nd",
    rules: [
      when([SOLICITATION, inSet("addr6", "iif", "ndTarget")], goTo("brouted_nd_host")),
      when([SOLICITATION, ND_OPTION, is("ndTarget", ROUTER)], goTo("brouted_nd_answer")),
      // Of everybody else the agent says that they are where the host is; without it the host's stack knows itself.
      rule([SOLICITATION, inSet("suppress", "mark"), inSet("answers_all6", "mark")], HANDED_UP, drop),
      rule([SOLICITATION, inSet("suppress", "mark"), inSet("answers6", "mark", "ndTarget")], HANDED_UP, drop),
      when([SOLICITATION], goTo("brouted_nd_host")),
      when([inSet("routers", "mark", "etherDestination")], goTo("brouted_na")),
      clean(accept),
    ],
  },
  {
    /**
     * The one question that IPv6 of a guest hangs on, answered as ARP is. All of the answer but the guest's address is known beforehand, and so is its checksum,
     * which no rule could compute. From an address without one (out of a prefix) it is the agent's.
     */
    name: "brouted_nd_answer",
    rules: [
      rule(
        [],
        [{ kind: "writeFrom", field: "icmp6Checksum", key: ["ip6Source"], map: "router_sums" }],
        goTo("brouted_nd_turn"),
      ),
      rule([inSet("suppress", "mark")], HANDED_UP, drop),
      when([], goTo("brouted_nd_host")),
    ],
  },
  {
    // Advertisement by a router, asked for, overriding (RFC 4861 section 4.4), with the target's MAC.
    name: "brouted_nd_turn",
    rules: [
      rule(
        [],
        [
          { kind: "copy", field: "ip6Destination", from: "ip6Source" },
          { kind: "write", field: "ip6Source", value: ROUTER },
          { kind: "write", field: "icmp6TypeCode", value: 0x8800 },
          { kind: "write", field: "ndFlags", value: ROUTER_FLAGS },
          { kind: "write", field: "ndOption", value: 0x0201 },
          { kind: "write", field: "ndOptionMac", value: HOST },
          ...BACK_TO_SENDER,
        ],
        sendBack,
      ),
    ],
  },
  {
    // As ARP is, to who asked.
    name: "brouted_na",
    rules: [
      rule(
        [],
        [{ kind: "writeFrom", field: "etherDestination", key: ["iif", "ip6Destination"], map: "askers6" }, NO_MARK],
        accept,
      ),
      when([], goTo("brouted_nd_host")),
    ],
  },
  toStack("brouted_nd_host"),
];

const ASK_SHARE: Statement = { kind: "rate", set: "ask_share", key: "iif", perSecond: 20, burst: 60 };

/** Unicast IP of the guest, judged up to where it goes to. One chain behind the other where it can be helped: the kernel follows sixteen, and no more. */
export const broutedIp: readonly Chain[] = [
  {
    name: "brouted_ip",
    rules: [
      when([], jumpTo("brouted_known")),
      rule([], [TO_BRIDGE], next),
      rule([notToHost, within("rate_bytes", "iif")], [PROVEN], accept),
      when([toHost], goTo("from_host")),
      refuseFrom("rate-bytes"),
      rule([], [PROVEN], accept),
    ],
  },
  {
    name: "brouted_known",
    rules: [
      when([IP4, inSet("answers4", "mark", "ip4Destination")], back),
      when([IP6, inSet("answers6", "mark", "ip6Destination")], back),
      when([IP4, inSet("heard4", "ip4Destination")], back),
      when([IP6, inSet("heard6", "ip6Destination")], back),
      when([IP4, inSet("prefix4", "mark", "ip4Destination")], goTo("brouted_ask")),
      when([IP6, inSet("prefix6", "mark", "ip6Destination")], goTo("brouted_ask")),
    ],
  },
  {
    /**
     * For a guest the host asks the LAN who has an address, and keeps what it asked for: the table has room for some hundred (gc_thresh), for all guests and the host itself.
     * A port may make it ask for twenty in a second that did not speak to a guest lately; a question, and an entry that nobody answers, stands for three. Guests of this
     * host are known without asking.
     */
    name: "brouted_ask",
    rules: [
      when([toHost], back),
      when([IP4, inSet("asked4", "iif", "ip4Destination")], back),
      when([IP6, inSet("asked6", "iif", "ip6Destination")], back),
      rule([IP4], [ASK_SHARE, { kind: "learn", set: "asked4", key: ["iif", "ip4Destination"] }], back),
      rule([IP6], [ASK_SHARE, { kind: "learn", set: "asked6", key: ["iif", "ip6Destination"] }], back),
      refuseFrom("rate-arp"),
    ],
  },
];

/** A guest that knows who asks it by the host's MAC answers that. */
export const remembersAsker: Rule = rule(
  [inSet("brouted", "oif")],
  [LEARN_SHARE, { kind: "learnAs", set: "askers6", key: ["oif", "ip6Source"], to: "etherSource" }],
  next,
);
/** Before a packet to a guest is accepted: who sends it need not be asked for. */
export const hears = (family: 4 | 6): Rule => when([inSet("brouted", "oif")], jumpTo(`brouted_heard${family}`));

const heard = (family: 4 | 6): Chain => {
  const source = family === 4 ? "ip4Source" : "ip6Source";
  return {
    name: `brouted_heard${family}`,
    rules: [
      rule([], [{ kind: "markFrom", key: ["oif"], map: "network" }], next),
      rule([inSet(`prefix${family}`, "mark", source)], [{ kind: "learn", set: `heard${family}`, key: [source] }], next),
      rule([], [NO_MARK], back),
    ],
  };
};

export const broutedTo: readonly Chain[] = [
  {
    // Nothing but questions for the guest itself: of others it is told by its host alone.
    name: "brouted_to_arp",
    rules: [
      when([REQUEST, inSet("addr4", "oif", "arpTargetIp")], goTo("brouted_to_asked")),
      when([REQUEST, inSet("addrs4", "oif", "arpTargetIp")], goTo("brouted_to_asked")),
      refuseTo("not-for-guest"),
    ],
  },
  {
    name: "brouted_to_asked",
    rules: [
      // Members do not ask: their hosts do.
      refuseTo("arp-sender", inSet("known4", "mark", "arpSenderIp")),
      rule(
        [],
        [
          LEARN_SHARE,
          { kind: "learnAs", set: "askers", key: ["oif", "arpSenderIp"], to: "arpSenderMac" },
          { kind: "write", field: "arpSenderMac", value: HOST },
          { kind: "write", field: "etherSource", value: HOST },
          NO_MARK,
        ],
        accept,
      ),
      refuseTo("rate-arp"),
    ],
  },
  heard(4),
  heard(6),
];
