/** What may reach a guest: the chains behind `to_guest` (contract section 3). */
import { accept, atLeast, type Chain, goTo, inSet, is, masked, next, rule, when } from "./ast.ts";
import {
  ARP_BYTES,
  ARP_SHAPE,
  BROADCAST,
  clean,
  dropChain,
  ETHER_TYPE,
  ETHERNET_HEADER,
  IPV4_HEADER,
  logGroups,
  PROTOCOL,
  RESPONDER_MARK,
  refuseTo,
  UDP_HEADER,
  UNICAST,
  VLAN,
} from "./parts.ts";

export const toGuest: readonly Chain[] = [
  dropChain("drop_to", "oif", "drops_to", "log_to", logGroups.dropsToGuest),
  {
    name: "to_udp4",
    rules: [
      refuseTo("dhcp-server", is("udpDestination", 68)),
      refuseTo("dhcp-server", is("udpSource", 67)),
      when([atLeast("ip4Length", IPV4_HEADER + UDP_HEADER), atLeast("udpLength", UDP_HEADER)], accept),
      refuseTo("ip4-shape"),
    ],
  },
  {
    name: "to_ip4_own",
    rules: [
      when([masked("ip4Fragment", 0x1fff, ">=", 1)], accept),
      when([is("ip4Protocol", PROTOCOL.udp)], goTo("to_udp4")),
      when([], accept),
    ],
  },
  {
    name: "to_ip4",
    rules: [when([inSet("addr4", "oif", "ip4Destination")], goTo("to_ip4_own")), refuseTo("not-for-guest")],
  },
  {
    name: "to_arp_target",
    rules: [clean(accept, inSet("addr4", "oif", "arpTargetIp")), refuseTo("not-for-guest")],
  },
  {
    // The sender is true or nobody we know: who asks for the guest may; announcements only of the gateway and of members.
    name: "to_arp_announce",
    rules: [
      clean(accept, inSet("addr4", "oif", "arpTargetIp")),
      clean(
        accept,
        inSet("true4", "mark", "arpSenderIp", "arpSenderMac"),
        inSet("true4", "mark", "arpTargetIp", "arpSenderMac"),
      ),
      clean(accept, inSet("gateways4", "mark", "arpSenderIp"), inSet("gateways4", "mark", "arpTargetIp")),
      refuseTo("not-for-guest"),
    ],
  },
  {
    name: "to_arp_cast",
    rules: [when([BROADCAST], goTo("to_arp_announce")), when([], goTo("to_arp_target"))],
  },
  {
    name: "to_arp",
    rules: [
      rule(
        [atLeast("length", ARP_BYTES + ETHERNET_HEADER), ...ARP_SHAPE],
        [{ kind: "markFrom", key: "oif", map: "network" }],
        next,
      ),
      when(
        [
          atLeast("length", ARP_BYTES + ETHERNET_HEADER),
          ...ARP_SHAPE,
          inSet("true4", "mark", "arpSenderIp", "arpSenderMac"),
        ],
        goTo("to_arp_cast"),
      ),
      refuseTo("arp-sender", inSet("known4", "mark", "arpSenderIp")),
      when([atLeast("length", ARP_BYTES + ETHERNET_HEADER), ...ARP_SHAPE], goTo("to_arp_cast")),
      refuseTo("arp-shape"),
    ],
  },
  {
    // Its answers may be broadcast: a client without an address may not hear unicast yet (RFC 2131 section 4.1).
    name: "to_responder",
    rules: [
      clean(
        accept,
        is("etherType", ETHER_TYPE.ip4),
        is("ip4Protocol", PROTOCOL.udp),
        is("udpSource", 67),
        is("udpDestination", 68),
      ),
      refuseTo("dhcp-server"),
    ],
  },
  { name: "to_ip6", rules: [refuseTo("ip6-source")] },
  { name: "to_other", rules: [refuseTo("vlan", VLAN), refuseTo("ethertype")] },
  {
    name: "to_guest",
    rules: [
      when([is("mark", RESPONDER_MARK)], goTo("to_responder")),
      when([inSet("identity", "oif", "etherDestination")], {
        kind: "dispatch",
        field: "etherType",
        cases: [
          { value: ETHER_TYPE.ip4, chain: "to_ip4" },
          { value: ETHER_TYPE.arp, chain: "to_arp" },
          { value: ETHER_TYPE.ip6, chain: "to_ip6" },
        ],
      }),
      when([inSet("identity", "oif", "etherDestination")], goTo("to_other")),
      when([BROADCAST, is("etherType", ETHER_TYPE.arp)], goTo("to_arp")),
      refuseTo("broadcast", BROADCAST),
      refuseTo("not-for-guest", UNICAST),
      refuseTo("multicast"),
    ],
  },
];
