/** nftables as frozen data: enough of it to write the guard, to render it as text and to walk it when a frame is explained. */

export interface FieldSpec {
  readonly nft: string;
  readonly bytes: number;
  /** What sets are declared with where nft does not take the field itself. */
  readonly declared?: string;
}

/**
 * What a rule can look at: nft's spelling and the width it has inside a set key (unpadded bytes).
 *
 * Packet fields are raw offsets on purpose. Named ones (`ip saddr`, `ether daddr`) make nft add checks of its own to every rule: `meta protocol`, which
 * takes a VLAN-tagged frame for an untagged one, or `meta iiftype`, for which the egress hook has no interface; and each costs two more expressions a rule.
 */
export const fields = {
  iif: { nft: "meta iif", bytes: 4 },
  oif: { nft: "meta oif", bytes: 4 },
  iifname: { nft: "meta iifname", bytes: 16 },
  oifname: { nft: "meta oifname", bytes: 16 },
  /** Name of the bridge the frame came in by; only the family `bridge` has it, where `iifname` is the port. */
  ibrname: { nft: "meta ibrname", bytes: 16 },
  mark: { nft: "meta mark", bytes: 4 },
  /** On netdev ingress the Ethernet header is already off; on egress it is counted. */
  length: { nft: "meta length", bytes: 4 },
  /** Type of the packet, tags taken off: of itself no proof that there was none. */
  protocol: { nft: "meta protocol", bytes: 2 },
  etherDestination: { nft: "@ll,0,48", bytes: 6 },
  /** 01:00:5e is IPv4 multicast (RFC 1112), 33:33:ff the solicited nodes of IPv6 (RFC 2464). */
  etherDestination24: { nft: "@ll,0,24", bytes: 3 },
  /** 33:33 is IPv6 multicast (RFC 2464). */
  etherDestination16: { nft: "@ll,0,16", bytes: 2 },
  /** Least significant bit of the first octet of the destination: broadcast or multicast. */
  groupBit: { nft: "@ll,7,1", bytes: 1 },
  etherSource: { nft: "@ll,48,48", bytes: 6 },
  /** The kernel puts a VLAN tag it took off back in for this. */
  etherType: { nft: "@ll,96,16", bytes: 2 },
  arpHardware: { nft: "@nh,0,16", bytes: 2 },
  arpProtocol: { nft: "@nh,16,16", bytes: 2 },
  arpHardwareLength: { nft: "@nh,32,8", bytes: 1 },
  arpProtocolLength: { nft: "@nh,40,8", bytes: 1 },
  arpOperation: { nft: "@nh,48,16", bytes: 2 },
  arpSenderMac: { nft: "@nh,64,48", bytes: 6 },
  arpSenderIp: { nft: "@nh,112,32", bytes: 4 },
  arpTargetMac: { nft: "@nh,144,48", bytes: 6 },
  /** As wide as an address: of a request it means nothing, so there is room to keep one while two change places. */
  arpTargetMac32: { nft: "@nh,144,32", bytes: 4 },
  arpTargetIp: { nft: "@nh,192,32", bytes: 4 },
  /** Version and header length in one octet: 0x45 is IPv4 without options. */
  ip4VersionIhl: { nft: "@nh,0,8", bytes: 1 },
  ip4Length: { nft: "@nh,16,16", bytes: 2 },
  ip4Fragment: { nft: "@nh,48,16", bytes: 2 },
  ip4Protocol: { nft: "@nh,72,8", bytes: 1 },
  ip4Source: { nft: "@nh,96,32", bytes: 4 },
  ip4Destination: { nft: "@nh,128,32", bytes: 4 },
  /** First octet of the destination: 224 and above is multicast, reserved or broadcast. */
  ip4DestinationTop: { nft: "@nh,128,8", bytes: 1 },
  /** The one option of an IGMP packet, if the header is 24 octets: router alert is 94 04 00 00 (RFC 2113). */
  ip4Option: { nft: "@nh,160,32", bytes: 4 },
  ip6Version: { nft: "@nh,0,4", bytes: 1 },
  /** Of all behind the fixed header. */
  ip6Length: { nft: "@nh,32,16", bytes: 2 },
  ip6Next: { nft: "@nh,48,8", bytes: 1 },
  ip6HopLimit: { nft: "@nh,56,8", bytes: 1 },
  ip6Source: { nft: "@nh,64,128", bytes: 16 },
  ip6Destination: { nft: "@nh,192,128", bytes: 16 },
  /** ff is multicast. */
  ip6DestinationTop: { nft: "@nh,192,8", bytes: 1 },
  /** All but the last three octets: ff02::1:ff00:0/104 are the solicited nodes (RFC 4291 section 2.7.1). */
  ip6DestinationNode: { nft: "@nh,192,104", bytes: 13 },
  /** Next header and length (eight octets: 0) of the first extension header. */
  ip6ExtensionHead: { nft: "@nh,320,16", bytes: 2 },
  /** ICMPv6 right behind the fixed header, where neighbour discovery must be. */
  icmp6Type: { nft: "@nh,320,8", bytes: 1 },
  icmp6TypeCode: { nft: "@nh,320,16", bytes: 2 },
  icmp6Checksum: { nft: "@nh,336,16", bytes: 2 },
  /** Reserved in a solicitation, flags in an advertisement (RFC 4861 section 4.4). */
  ndFlags: { nft: "@nh,352,32", bytes: 4 },
  /** Of solicitation and advertisement (RFC 4861 sections 4.3, 4.4). */
  ndTarget: { nft: "@nh,384,128", bytes: 16 },
  ndTargetTop: { nft: "@nh,384,8", bytes: 1 },
  /** Type and length of the first option behind the target, and the MAC in it. */
  ndOption: { nft: "@nh,512,16", bytes: 2 },
  ndOptionMac: { nft: "@nh,528,48", bytes: 6 },
  /** The same of a router solicitation, which has no target. */
  rsOption: { nft: "@nh,384,16", bytes: 2 },
  rsOptionMac: { nft: "@nh,400,48", bytes: 6 },
  /** Protocol of the transport header, behind whatever IPv6 extension headers the kernel could walk. */
  transport: { nft: "meta l4proto", bytes: 1 },
  /** In units of eight octets; there only when the packet has a fragment header. */
  ip6FragmentOffset: { nft: "frag frag-off", bytes: 2 },
  /** Transport fields exist only where the kernel found a whole header chain and no later fragment. */
  icmpType: { nft: "@th,0,8", bytes: 1 },
  igmpGroup: { nft: "@th,32,32", bytes: 4 },
  mldGroup: { nft: "@th,64,128", bytes: 16 },
  tcpFlags: { nft: "@th,104,8", bytes: 1 },
  udpSource: { nft: "@th,0,16", bytes: 2 },
  udpDestination: { nft: "@th,16,16", bytes: 2 },
  udpLength: { nft: "@th,32,16", bytes: 2 },
  /**
   * The frame's own addresses, for the tables of the service policy: there nft itself names the raw offsets when it lists a rule that asks for the type, and
   * would not load its own listing, where sets were declared with offsets.
   */
  source4: { nft: "ip saddr", bytes: 4 },
  destination4: { nft: "ip daddr", bytes: 4 },
  source6: { nft: "ip6 saddr", bytes: 16 },
  destination6: { nft: "ip6 daddr", bytes: 16 },
  destinationMac: { nft: "ether daddr", bytes: 6 },
  /** Of whichever transport: `udp dport` in a declaration would have nft ask for UDP in every rule that looks there. */
  destinationPort: { nft: "th dport", bytes: 2 },
  /** Of the connection a packet belongs to: whoever opened it, whichever way this packet goes. Rules with them are skipped for untracked packets. */
  flowMark: { nft: "ct mark", bytes: 4 },
  opener4: { nft: "ct original ip saddr", bytes: 4 },
  /** What it was opened to: where an address is translated, the public one. */
  opened4: { nft: "ct original ip daddr", bytes: 4 },
  opener6: { nft: "ct original ip6 saddr", bytes: 16 },
  /** Who answers: whoever it was opened to, or whom the host's translation led it to. */
  answerer4: { nft: "ct reply ip saddr", bytes: 4 },
  answerer6: { nft: "ct reply ip6 saddr", bytes: 16 },
  answererPort: { nft: "ct reply proto-src", bytes: 2, declared: "udp dport" },
  openerPort: { nft: "ct original proto-src", bytes: 2, declared: "udp sport" },
  /** The port a flow was opened to; of ICMP type and code. Its width is only known beside a transport protocol, so sets are declared with another port. */
  service: { nft: "ct original proto-dst", bytes: 2, declared: "udp dport" },
  /** op, htype and hlen of the BOOTP header behind UDP (RFC 2131 section 2). */
  dhcpHead: { nft: "@th,64,24", bytes: 3 },
  dhcpChaddr: { nft: "@th,288,48", bytes: 6 },
} as const satisfies Record<string, FieldSpec>;
export type Field = keyof typeof fields;

export type Family = "netdev" | "bridge" | "inet" | "arp";
export type Match =
  | { readonly kind: "in"; readonly key: readonly Field[]; readonly set: string }
  /** In the set, and the element's own token bucket still has tokens; takes one. */
  | { readonly kind: "within"; readonly key: readonly Field[]; readonly set: string }
  /** Wide values as bigint. */
  | { readonly kind: "is"; readonly field: Field; readonly value: number | bigint }
  | { readonly kind: "oneOf"; readonly field: Field; readonly values: readonly number[] }
  | { readonly kind: "atLeast"; readonly field: Field; readonly value: number }
  | { readonly kind: "below"; readonly field: Field; readonly value: number }
  | {
      readonly kind: "masked";
      readonly field: Field;
      readonly mask: number;
      readonly test: "==" | ">=";
      readonly value: number;
    }
  /** An IPv6 routing header, wherever in the chain. */
  | { readonly kind: "routingHeader" }
  /** Whether the destination is an address of this host (or a broadcast address of a network it is on), as its routing table says now. */
  | { readonly kind: "toHost"; readonly holds: boolean }
  | { readonly kind: "startsWith"; readonly field: "iifname" | "oifname"; readonly prefix: string }
  /** What connection tracking says of the packet. */
  | { readonly kind: "state"; readonly state: "untracked" | "invalid" | "related" }
  /** Nothing of the flow was let by so far. "New" alone would be every packet that nobody has answered yet. */
  | { readonly kind: "opens" }
  /** The connection bears the label. */
  | { readonly kind: "labelled"; readonly label: number }
  /** The connection was led to another destination than it was opened to. */
  | { readonly kind: "redirected" }
  /** Goes back to who opened the connection. */
  | { readonly kind: "answers" };

export type Statement =
  /** Goes on only while the key's own token bucket has tokens; a full set stops it as well. */
  | {
      readonly kind: "rate";
      readonly set: string;
      readonly key: Field;
      readonly perSecond: number;
      readonly burst: number;
    }
  /** One bucket for all. */
  | { readonly kind: "limit"; readonly perSecond: number }
  | { readonly kind: "count"; readonly set: string; readonly key: readonly Field[] }
  /** Puts the key into a set that forgets; if it is there already, it is forgotten later. */
  | { readonly kind: "learn"; readonly set: string; readonly key: readonly Field[] }
  /** The same into a map: what the key leads to is the field as the frame has it. */
  | { readonly kind: "learnAs"; readonly set: string; readonly key: readonly Field[]; readonly to: Field }
  | { readonly kind: "log"; readonly group: number; readonly snaplen?: number }
  | { readonly kind: "mark"; readonly value: number }
  /** Sets these bits besides those that are set. */
  | { readonly kind: "markAlso"; readonly value: number }
  /** Where the map has element buckets, goes on only while there are tokens. */
  | { readonly kind: "markFrom"; readonly key: readonly Field[]; readonly map: string }
  /** The connection's own mark; goes on only if the map has the key. */
  | { readonly kind: "flowMarkFrom"; readonly key: readonly Field[]; readonly map: string }
  | { readonly kind: "flowMark"; readonly value: number }
  | { readonly kind: "label"; readonly label: number }
  | { readonly kind: "untrack" }
  /** Of the connection's first packet, in a chain of type nat: another IPv4 source or destination (with its port where the map has one). Ends the chain when the map has the key. */
  | {
      readonly kind: "translate";
      readonly end: "source" | "destination";
      readonly key: readonly Field[];
      readonly map: string;
    }
  /** The address of the interface it leaves by as its source. */
  | { readonly kind: "masquerade" }
  /** Into the frame itself, as the octets are: no checksum is touched. */
  | { readonly kind: "write"; readonly field: Field; readonly value: number | bigint }
  | { readonly kind: "copy"; readonly field: Field; readonly from: Field }
  /** Goes on only if the map has the key. */
  | { readonly kind: "writeFrom"; readonly field: Field; readonly key: readonly Field[]; readonly map: string };

export type Verdict =
  | { readonly kind: "accept" }
  | { readonly kind: "drop" }
  | { readonly kind: "goto"; readonly chain: string }
  /** Goes on with the next rule if that chain returns. */
  | { readonly kind: "jump"; readonly chain: string }
  | { readonly kind: "return" }
  /** To the chain of the field's value; a value without a case goes on to the next rule. */
  | {
      readonly kind: "dispatch";
      readonly field: Field;
      readonly cases: readonly { readonly value: number; readonly chain: string }[];
    }
  | { readonly kind: "next" }
  /** Out by the port it came in by. */
  | { readonly kind: "sendBack" };

export interface Rule {
  readonly matches: readonly Match[];
  readonly statements: readonly Statement[];
  readonly verdict: Verdict;
}

export interface Chain {
  readonly name: string;
  /** Only for base chains that stand for the whole host; those of single ports are made and removed with the port. */
  readonly hook?: { readonly hook: string; readonly priority: number; readonly type?: "nat" };
  readonly rules: readonly Rule[];
}

export interface SetSpec {
  readonly name: string;
  readonly key: readonly Field[];
  /** Present on maps: what the key leads to, one field or several. */
  readonly to?: Field | readonly Field[];
  /** At most so many elements; absent where the kernel must choose a table that grows. */
  readonly size?: number;
  /**
   * static: filled by the agent. limited, limitedBytes: filled by the agent, a token bucket of its own in every element. ranges: filled by the agent, prefixes.
   * counted: filled by rules, with counters. buckets: filled by rules, forgotten after a minute. learned: filled by rules, forgotten after a day without use.
   * beats: filled by the agent again and again, forgotten when it stops. briefly: filled by the agent, forgotten soon.
   * connections: filled by the agent, in every element a count of connections that is found only when it is exceeded.
   * lapsing: filled by the agent, each element forgotten after a time of its own.
   * notes: what the agent wants to know again after a restart; no rule looks there.
   * askers: filled by rules, forgotten when an answer can no longer come.
   * asked: filled by rules, forgotten when a neighbour is given up that did not answer.
   */
  readonly use:
    | "static"
    | "limited"
    | "limitedBytes"
    | "ranges"
    | "counted"
    | "buckets"
    | "learned"
    | "beats"
    | "briefly"
    | "connections"
    | "askers"
    | "asked"
    | "notes"
    | "lapsing";
}

export interface Table {
  readonly family: Family;
  readonly sets: readonly SetSpec[];
  readonly chains: readonly Chain[];
}

export const inSet = (set: string, ...key: Field[]): Match => ({ kind: "in", key, set });
export const within = (set: string, ...key: Field[]): Match => ({ kind: "within", key, set });
export const is = (field: Field, value: number | bigint): Match => ({ kind: "is", field, value });
export const oneOf = (field: Field, ...values: number[]): Match => ({ kind: "oneOf", field, values });
export const atLeast = (field: Field, value: number): Match => ({ kind: "atLeast", field, value });
export const below = (field: Field, value: number): Match => ({ kind: "below", field, value });
export const masked = (field: Field, mask: number, test: "==" | ">=", value: number): Match => ({
  kind: "masked",
  field,
  mask,
  test,
  value,
});

export const toHost: Match = { kind: "toHost", holds: true };
export const notToHost: Match = { kind: "toHost", holds: false };
export const routingHeader: Match = { kind: "routingHeader" };

export const accept: Verdict = { kind: "accept" };
export const drop: Verdict = { kind: "drop" };
export const next: Verdict = { kind: "next" };
export const sendBack: Verdict = { kind: "sendBack" };
export const back: Verdict = { kind: "return" };
export const jumpTo = (chain: string): Verdict => ({ kind: "jump", chain });
export const goTo = (chain: string): Verdict => ({ kind: "goto", chain });

/** A rule from what it asks, what it does and where it leads; either list may be left empty. */
export function rule(matches: readonly Match[], statements: readonly Statement[], verdict: Verdict): Rule {
  return { matches, statements, verdict };
}
/** `when(matches, verdict)`: a rule that does nothing but decide. */
export const when = (matches: readonly Match[], verdict: Verdict): Rule => rule(matches, [], verdict);
