/** What is the same for IPv4 and IPv6 of a guest: how TCP opens flows (contract section 2, rate-syn), and to whom a packet may go (dest-mac, multicast). */
import { atLeast, type Chain, type Field, goTo, inSet, is, type Match, masked, type Rule, rule, when } from "./ast.ts";
import {
  BROADCAST,
  MULTICAST4,
  MULTICAST6,
  PROTOCOL,
  refuseFrom,
  UNICAST,
  UNICAST4,
  UNICAST6,
  withinShare,
} from "./parts.ts";

export type IpFamily = 4 | 6;

interface Facts {
  readonly protocol: Field;
  readonly destination: "ip4Destination" | "ip6Destination";
  readonly unicast: Match;
  readonly multicast: Match;
  /** IPv6 has none. */
  readonly broadcast: readonly Rule[];
}

const facts: Readonly<Record<IpFamily, Facts>> = {
  4: {
    protocol: "ip4Protocol",
    destination: "ip4Destination",
    unicast: UNICAST4,
    multicast: MULTICAST4,
    broadcast: [
      when([BROADCAST], goTo("from_broadcast")),
      when([is("ip4Destination", 0xff_ff_ff_ff)], goTo("from_broadcast")),
    ],
  },
  6: {
    protocol: "transport",
    destination: "ip6Destination",
    unicast: UNICAST6,
    multicast: MULTICAST6,
    broadcast: [],
  },
};

export function fromTcp(family: IpFamily): readonly Chain[] {
  const onwards = goTo(`from_dest${family}`);
  return [
    {
      name: `from_tcp${family}`,
      rules: [
        when([masked("tcpFlags", 0x12, "==", 0x02)], goTo(`from_syn${family}`)),
        when([atLeast("tcpFlags", 0)], onwards),
        // Of IPv6 the first fragment must hold the whole chain with the transport header (RFC 7112).
        refuseFrom(`ip${family}-shape`),
        when([], onwards),
      ],
    },
    { name: `from_syn${family}`, rules: withinShare("rate_syn", "rate-syn", onwards) },
  ];
}

export function fromDest(family: IpFamily): Chain {
  const { protocol, destination, unicast, multicast, broadcast } = facts[family];
  const isVrrp = is(protocol, PROTOCOL.vrrp);
  const isGroup = inSet(`groups${family}`, "mark", destination);
  return {
    name: `from_dest${family}`,
    rules: [
      when([inSet(`true${family}`, "mark", destination, "etherDestination")], goTo("from_end")),
      when([unicast, inSet("routers", "mark", "etherDestination")], goTo("from_end")),
      // What is used is remembered longer.
      rule(
        [unicast, inSet("gateway_macs", "mark", "etherDestination")],
        [{ kind: "learn", set: "gateway_macs", key: ["mark", "etherDestination"] }],
        goTo("from_end"),
      ),
      rule(
        [unicast, inSet(`resolved${family}`, "iif", destination, "etherDestination")],
        [{ kind: "learn", set: `resolved${family}`, key: ["iif", destination, "etherDestination"] }],
        goTo("from_end"),
      ),
      // Who shares no address has no say in who holds one: a single advertisement of a high priority takes it from all (RFC 5798 section 6.4.3).
      when([multicast, isVrrp, inSet("sharers", "iif"), isGroup], goTo("from_multicast")),
      refuseFrom("multicast", multicast, isVrrp),
      when([multicast, isGroup], goTo("from_multicast")),
      ...broadcast,
      when([UNICAST, unicast], goTo("from_unknown")),
      refuseFrom("multicast"),
      when([], goTo("from_end")),
    ],
  };
}
