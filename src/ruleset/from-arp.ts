/** ARP of a guest (contract section 2: ARP shape, sender, target, destination MAC, rate-arp). */
import { accept, atLeast, type Chain, drop, goTo, inSet, is, rule, when } from "./ast.ts";
import { divertArp } from "./brouted.ts";
import {
  ARP_BYTES,
  ARP_SHAPE,
  askedFromBehind,
  BROADCAST,
  clean,
  logGroups,
  refuseFrom,
  UNICAST,
  withinShare,
} from "./parts.ts";

const REQUEST = is("arpOperation", 1);
const REPLY = is("arpOperation", 2);
const OWN_SENDER = inSet("bind4", "iif", "arpSenderMac", "arpSenderIp");
const OWN_TARGET = inSet("bind4", "iif", "arpSenderMac", "arpTargetIp");

/** In the order they are reached. */
export const fromArp: readonly Chain[] = [
  {
    name: "from_arp",
    rules: [when([atLeast("length", ARP_BYTES), ...ARP_SHAPE], goTo("from_arp_cast")), refuseFrom("arp-shape")],
  },
  {
    name: "from_arp_cast",
    rules: [
      when([BROADCAST], goTo("from_arp_sender")),
      when([UNICAST], goTo("from_arp_sender")),
      refuseFrom("multicast"),
    ],
  },
  {
    name: "from_arp_sender",
    rules: [
      when([OWN_SENDER], goTo("from_arp_target")),
      // RFC 5227 section 1.1: a probe asks for the own address with sender 0.0.0.0.
      when([REQUEST, is("arpSenderIp", 0), OWN_TARGET], goTo("from_arp_dest")),
      when(
        [REQUEST, inSet("routing", "mark"), inSet("binds4", "iif", "arpSenderMac", "arpSenderIp")],
        goTo("from_arp_behind"),
      ),
      when([inSet("binds4", "iif", "arpSenderMac", "arpSenderIp")], goTo("from_arp_target")),
      refuseFrom("arp-sender"),
    ],
  },
  askedFromBehind("from_arp_behind", "rate-arp", goTo("from_arp_target")),
  {
    name: "from_arp_target",
    rules: [
      when([REQUEST, inSet("prefix4", "mark", "arpTargetIp")], goTo("from_arp_dest")),
      when([REQUEST, inSet("link_gateways", "iif", "arpTargetIp")], goTo("from_arp_dest")),
      when([REPLY, UNICAST], goTo("from_arp_dest")),
      // Gratuitous, as reply or as request (RFC 5227 section 3).
      when([OWN_TARGET], goTo("from_arp_dest")),
      when([inSet("binds4", "iif", "arpSenderMac", "arpTargetIp")], goTo("from_arp_dest")),
      refuseFrom("arp-target"),
      when([], goTo("from_arp_dest")),
    ],
  },
  {
    name: "from_arp_dest",
    rules: [
      when([BROADCAST], goTo("from_arp_rate")),
      when([inSet("true4", "mark", "arpTargetIp", "etherDestination")], goTo("from_arp_rate")),
      when([inSet("routers", "mark", "etherDestination")], goTo("from_arp_rate")),
      when([inSet("gateway_macs", "mark", "etherDestination")], goTo("from_arp_rate")),
      when([inSet("resolved4", "iif", "arpTargetIp", "etherDestination")], goTo("from_arp_rate")),
      refuseFrom("dest-mac"),
      when([], goTo("from_arp_rate")),
    ],
  },
  { name: "from_arp_rate", rules: withinShare("rate_arp", "rate-arp", goTo("from_arp_answer")) },
  {
    // What the host knows it answers on the port, as long as the agent says that it is there to do so.
    name: "from_arp_answer",
    rules: [
      divertArp,
      clean(accept, OWN_TARGET),
      rule(
        [REQUEST, BROADCAST, inSet("suppress", "mark"), inSet("answers4", "mark", "arpTargetIp")],
        [{ kind: "log", group: logGroups.neighbours }],
        drop,
      ),
      clean(accept),
    ],
  },
];
