/** What both directions of the guard are made of: header constants, how a frame is refused, counted and sampled. */
import { type Reason, reasonTable } from "../model/reasons.ts";
import {
  type accept,
  type Chain,
  drop,
  type Field,
  goTo,
  is,
  masked,
  next,
  oneOf,
  type Rule,
  rule,
  when,
} from "./ast.ts";

/** NFLOG groups: what the agent hears. Per network namespace, chosen away from the small numbers other programs use. */
export const logGroups = { dhcp: 7067, dropsFromGuest: 7068, dropsToGuest: 7069 } as const;

/** Packet mark of what the host's own responder puts on a port ("vfgd"). A guest's frame has it taken away before anything looks at it. */
export const RESPONDER_MARK = 0x76_66_67_64;

// Room for 65 536 ports; a bound makes loads and dumps 1.4-2.4 times faster than none.
export const PORTS = 65_536;

/** Ethernet payload of an ARP packet for IPv4: 8 octets header, twice MAC and address (RFC 826). */
export const ARP_BYTES = 28;
export const ETHERNET_HEADER = 14;
export const IPV4_HEADER = 20;
export const UDP_HEADER = 8;
export const ETHER_TYPE = { ip4: 0x0800, arp: 0x0806, ip6: 0x86dd } as const;
export const PROTOCOL = { icmp: 1, igmp: 2, tcp: 6, udp: 17 } as const;

/** Counts the frame under its reason, and hands a sample of it to the drop log: 5/s a port, 200/s in all, so that one guest cannot flood it. */
export function dropChain(name: string, port: Field, counts: string, samples: string, group: number): Chain {
  return {
    name,
    rules: [
      rule([], [{ kind: "count", set: counts, key: [port, "mark"] }], next),
      rule(
        [],
        [
          { kind: "rate", set: samples, key: port, perSecond: 5, burst: 10 },
          { kind: "limit", perSecond: 200 },
          { kind: "log", group, snaplen: 600 },
        ],
        next,
      ),
      when([], drop),
    ],
  };
}

/** The last resort of a chain, or of a match: count under `reason` and drop. */
function refuse(direction: "from" | "to", reason: Reason, ...matches: Parameters<typeof when>[0]): Rule {
  return rule(matches, [{ kind: "mark", value: reasonTable[reason].code }], goTo(`drop_${direction}`));
}
export const refuseFrom = (reason: Reason, ...matches: Parameters<typeof when>[0]): Rule =>
  refuse("from", reason, ...matches);
export const refuseTo = (reason: Reason, ...matches: Parameters<typeof when>[0]): Rule =>
  refuse("to", reason, ...matches);

export const BROADCAST = is("etherDestination", 0xff_ff_ff_ff_ff_ff);
export const UNICAST = is("groupBit", 0);
/** 802.1Q, 802.1ad and the two old stacked types. */
export const VLAN = oneOf("etherType", 0x8100, 0x88a8, 0x9100, 0x9200);
/** More-fragments and offset both zero; the two upper flags do not matter. */
export const NOT_FRAGMENT = masked("ip4Fragment", 0x3fff, "==", 0);
export const ARP_SHAPE = [
  is("arpHardware", 1),
  is("arpProtocol", ETHER_TYPE.ip4),
  is("arpHardwareLength", 6),
  is("arpProtocolLength", 4),
  oneOf("arpOperation", 1, 2),
];
/** The mark is only ours to use inside the guard: frames leave it with none. */
export const clean = (verdict: typeof accept, ...matches: Parameters<typeof when>[0]): Rule =>
  rule(matches, [{ kind: "mark", value: 0 }], verdict);
