/** Where a proven IP packet of a guest may go in the end: its share of the port, and nothing of the host but what the network offers (contract section 2). */
import { accept, type Chain, goTo, inSet, is, notToHost, oneOf, toHost, when, within } from "./ast.ts";
import { broutedIp, divertIp } from "./brouted.ts";
import { clean, PROTOCOL, refuseFrom, withinShare } from "./parts.ts";

/** VXLAN (RFC 7348), its port before the registry, and Geneve (RFC 8926). */
const TUNNEL_PORTS = oneOf("udpDestination", 4789, 8472, 6081);

export const fromEnd: readonly Chain[] = [
  { name: "from_multicast", rules: withinShare("rate_multicast", "rate-multicast", goTo("from_end")) },
  { name: "from_broadcast", rules: [refuseFrom("broadcast"), when([], goTo("from_end"))] },
  { name: "from_unknown", rules: [refuseFrom("dest-mac"), when([], goTo("from_end"))] },
  {
    name: "from_end",
    rules: [
      divertIp,
      clean(accept, notToHost, within("rate_bytes", "iif")),
      when([toHost], goTo("from_host")),
      refuseFrom("rate-bytes"),
      clean(accept),
    ],
  },
  ...broutedIp,
  {
    name: "from_host",
    rules: [
      when([inSet("host_services", "mark", "transport", "udpDestination")], goTo("from_host_rate")),
      when([inSet("host_protocols", "mark", "transport")], goTo("from_host_rate")),
      when([is("transport", PROTOCOL.icmp), is("icmpType", 8), inSet("host_echo", "mark")], goTo("from_host_rate")),
      when([is("transport", PROTOCOL.icmp6), is("icmpType", 128), inSet("host_echo", "mark")], goTo("from_host_rate")),
      refuseFrom("tunnel", oneOf("transport", PROTOCOL.ipip, PROTOCOL.ip6, PROTOCOL.gre)),
      refuseFrom("tunnel", is("transport", PROTOCOL.udp), TUNNEL_PORTS),
      refuseFrom("host"),
      when([], goTo("from_host_rate")),
    ],
  },
  {
    name: "from_host_rate",
    rules: [clean(accept, within("rate_bytes", "iif")), refuseFrom("rate-bytes"), clean(accept)],
  },
];
