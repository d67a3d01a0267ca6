/** Phrases of the link's own business: ARP, neighbour discovery, group membership, spanning tree and types that are none of ours. */
import { type IpAddress, isIpv6 } from "../model/ip-block.ts";
import { ipv4FromNumber, ipv4ToBytes, parseIpv4 } from "../model/ipv4.ts";
import { ANY6, type Ipv6Address, ipv6ToBytes, parseIpv6, solicitedNode } from "../model/ipv6.ts";
import { BROADCAST_MAC, type MacAddress, macFromBytes } from "../model/mac.ts";
import { arpCodec, arpOperations } from "./arp.ts";
import { etherTypes, FIRST_ETHERTYPE } from "./ethernet.ts";
import { igmpCodec, igmpTypes } from "./igmp.ts";
import { ipProtocols } from "./ipv4.ts";
import { accessPoints, llcCodec } from "./llc.ts";
import { type FrameDraft, icmp6Frame, ipFrame, linkOption, macFor, ND_HOPS, sourceMac } from "./phrase-frames.ts";
import { answeringTo } from "./phrase-ip.ts";
import {
  address4,
  address6,
  hearer,
  linkLocal,
  macAddress,
  type Party,
  type PhraseContext,
  parseNumber,
  speaker,
  type Words,
} from "./phrase-words.ts";
import { stpCodec } from "./stp.ts";
import { createWriter } from "./writer.ts";

const NONE4 = ipv4FromNumber(0);
const NO_MAC: MacAddress = macFromBytes(new Uint8Array(6));

interface ArpFields {
  readonly operation: number;
  readonly senderMac: MacAddress;
  readonly senderIp: IpAddress;
  readonly targetMac: MacAddress;
  readonly targetIp: IpAddress;
}

function arpFrame(words: Words, fields: ArpFields, link: Pick<FrameDraft, "source" | "destination">): FrameDraft {
  const { senderIp, targetIp } = fields;
  if (isIpv6(senderIp) || isIpv6(targetIp)) throw words.fail("arp", "is for IPv4 only: IPv6 says ns and na");
  return { ...link, type: etherTypes.arp, payload: arpCodec.encode({ ...fields, senderIp, targetIp }) };
}

/** The IPv4 address of a party that a phrase leaves out. */
function defaultAddress4(words: Words, party: Party): IpAddress {
  if (party.address4 !== undefined) return party.address4;
  throw words.fail(undefined, "expected an ADDRESS, because there is no IPv4 address to take for it");
}

const optionalAddress4 = (words: Words, context: PhraseContext, party: Party): IpAddress =>
  startsClause(words.peek()) || words.peek() === "is-at"
    ? defaultAddress4(words, party)
    : address4(words, context, "an address");

/** Whether what a phrase says is over. */
function startsClause(word: string | undefined): boolean {
  return word === undefined || word === "mac" || word === "vlan";
}

function arpRequest(words: Words, context: PhraseContext): FrameDraft {
  words.oneOf(["who-has"], "the word");
  const targetIp = address4(words, context, "the address that is asked for");
  const senderIp =
    words.take("tell") === undefined
      ? defaultAddress4(words, speaker(context))
      : address4(words, context, "the address that asks");
  const senderMac = sourceMac(context, senderIp);
  const fields = { operation: arpOperations.request, senderMac, senderIp, targetMac: NO_MAC, targetIp };
  return arpFrame(words, fields, { source: senderMac, destination: BROADCAST_MAC });
}

/** Whoever a reply speaks of is not told that himself: without `to` a reply about the hearer is an announcement. */
function arpReply(words: Words, context: PhraseContext): FrameDraft {
  const senderIp = address4(words, context, "the address that is spoken of");
  words.oneOf(["is-at"], "the word");
  const senderMac = macAddress(words, context, "a MAC");
  const named = words.take("to") === undefined ? undefined : address4(words, context, "whom it is told");
  const usual = named ?? hearer(context).address4 ?? senderIp;
  const targetMac = usual === senderIp ? BROADCAST_MAC : macFor(context, usual);
  const source = context.direction === "from-guest" ? context.own.mac : senderMac;
  const fields = { operation: arpOperations.reply, senderMac, senderIp, targetMac, targetIp: usual };
  return arpFrame(words, fields, { source, destination: targetMac });
}

function arpAnnounce(words: Words, context: PhraseContext): FrameDraft {
  const senderIp = optionalAddress4(words, context, speaker(context));
  const senderMac =
    words.take("is-at") === undefined ? sourceMac(context, senderIp) : macAddress(words, context, "a MAC");
  const source = context.direction === "from-guest" ? context.own.mac : senderMac;
  const fields = { operation: arpOperations.request, senderMac, senderIp, targetMac: NO_MAC, targetIp: senderIp };
  return arpFrame(words, fields, { source, destination: BROADCAST_MAC });
}

/** RFC 5227 section 1.1 */
function arpProbe(words: Words, context: PhraseContext): FrameDraft {
  const targetIp = optionalAddress4(words, context, speaker(context));
  const source = speaker(context).mac;
  const fields = { operation: arpOperations.request, senderMac: source, senderIp: NONE4, targetMac: NO_MAC, targetIp };
  return arpFrame(words, fields, { source, destination: BROADCAST_MAC });
}

const arpWords = ["request", "reply", "announce", "probe"] as const;

export function arpPhrase(words: Words, context: PhraseContext): FrameDraft {
  const readers = { request: arpRequest, reply: arpReply, announce: arpAnnounce, probe: arpProbe };
  return readers[words.oneOf(arpWords, "what ARP says")](words, context);
}

function fixed6(text: string): Ipv6Address {
  return parseIpv6(text) ?? ANY6;
}
const ALL_NODES = fixed6("ff02::1");
const ALL_ROUTERS = fixed6("ff02::2");
const MLD2_ROUTERS = fixed6("ff02::16");

/** Both have type, code, sum, four octets of flags, target, one option (RFC 4861 sections 4.3 and 4.4). */
function neighbourMessage(
  type: number,
  flags: number,
  target: Ipv6Address,
  ...options: readonly Uint8Array[]
): Uint8Array {
  const writer = createWriter().u8(type).u8(0).u16(0).u8(flags).u8(0).u16(0).bytes(ipv6ToBytes(target));
  for (const option of options) writer.bytes(option);
  return writer.done();
}

/** From whom, if the phrase says it. */
function source6(words: Words, context: PhraseContext, other: IpAddress): Ipv6Address {
  if (words.take("from") !== undefined) return address6(words, context, "a source");
  const address = answeringTo(words, speaker(context), other);
  return isIpv6(address) ? address : ANY6;
}

export function nsPhrase(words: Words, context: PhraseContext): FrameDraft {
  const target = address6(words, context, "the address that is asked for");
  const source = source6(words, context, target);
  const message = neighbourMessage(135, 0, target, linkOption(1, sourceMac(context, source)));
  return icmp6Frame(context, { source, destination: solicitedNode(target) }, message, { hops: ND_HOPS });
}

/** Override, and where it is told to one: solicited (RFC 4861 section 4.4). */
const NA_FLAGS = { override: 0x20, solicited: 0x60 } as const;

export function naPhrase(words: Words, context: PhraseContext): FrameDraft {
  const word = words.peek();
  const isBare = startsClause(word) || word === "is-at" || word === "to" || word === "from";
  const target = isBare ? own6(words, speaker(context)) : address6(words, context, "the address that is spoken of");
  const mac = words.take("is-at") === undefined ? sourceMac(context, target) : macAddress(words, context, "a MAC");
  const to = words.take("to") === undefined ? undefined : address6(words, context, "whom it is told");
  const source = source6(words, context, target);
  const message = neighbourMessage(
    136,
    to === undefined ? NA_FLAGS.override : NA_FLAGS.solicited,
    target,
    linkOption(2, mac),
  );
  return icmp6Frame(context, { source, destination: to ?? ALL_NODES }, message, { hops: ND_HOPS });
}

export function rsPhrase(words: Words, context: PhraseContext): FrameDraft {
  const source = source6(words, context, ALL_ROUTERS);
  const message = createWriter()
    .u8(133)
    .u8(0)
    .u16(0)
    .u32(0)
    .bytes(linkOption(1, sourceMac(context, source)))
    .done();
  return icmp6Frame(context, { source, destination: ALL_ROUTERS }, message, { hops: ND_HOPS });
}

/** A router for half an hour, by what it says (RFC 4861 section 4.2). */
export function raPhrase(words: Words, context: PhraseContext): FrameDraft {
  const source = source6(words, context, ALL_NODES);
  const head = createWriter().u8(134).u8(0).u16(0).u8(64).u8(0).u16(1800).u32(0).u32(0);
  const message = head.bytes(linkOption(1, sourceMac(context, source))).done();
  return icmp6Frame(context, { source, destination: ALL_NODES }, message, { hops: ND_HOPS });
}

function own6(words: Words, party: Party): Ipv6Address {
  const address = party.address6 ?? party.linkLocal6;
  if (address !== undefined) return address;
  throw words.fail(undefined, "expected an ADDRESS, because there is no IPv6 address to take for it");
}

/** RFC 4862 section 5.4.2: from nobody, without an option. */
export function dadPhrase(words: Words, context: PhraseContext): FrameDraft {
  const target = startsClause(words.peek())
    ? own6(words, speaker(context))
    : address6(words, context, "the address to be had");
  const draft = icmp6Frame(
    context,
    { source: ANY6, destination: solicitedNode(target) },
    neighbourMessage(135, 0, target),
    { hops: ND_HOPS },
  );
  return { ...draft, source: speaker(context).mac };
}

const multicast6 = (words: Words, context: PhraseContext): Ipv6Address =>
  address6(words, context, "a group such as ff02::fb");

/** One record of version 2 that says "from everybody" (RFC 3810 section 5.2.12). */
function mld2Report(group: Ipv6Address): Uint8Array {
  return createWriter().u8(143).u8(0).u16(0).u16(0).u16(1).u8(4).u8(0).u16(0).bytes(ipv6ToBytes(group)).done();
}

const mldMessage = (type: number, group: Ipv6Address): Uint8Array =>
  createWriter().u8(type).u8(0).u16(0).u32(0).bytes(ipv6ToBytes(group)).done();

const mldWords = ["report", "report2", "done", "query"] as const;

export function mldPhrase(words: Words, context: PhraseContext): FrameDraft {
  const word = words.oneOf(mldWords, "what MLD says");
  const isGeneral = word === "query" && startsClause(words.peek());
  const group = isGeneral ? ANY6 : multicast6(words, context);
  const source = linkLocal(speaker(context));
  const send = (destination: Ipv6Address, message: Uint8Array): FrameDraft =>
    icmp6Frame(context, { source, destination }, message, { alert: true });
  if (word === "report2") return send(MLD2_ROUTERS, mld2Report(group));
  if (word === "done") return send(ALL_ROUTERS, mldMessage(132, group));
  if (word === "query") return send(isGeneral ? ALL_NODES : group, mldMessage(130, group));
  return send(group, mldMessage(131, group));
}

const igmpWords = ["report", "report3", "leave", "query"] as const;
const fixed4 = (text: string): IpAddress => parseIpv4(text) ?? NONE4;

export function igmpPhrase(words: Words, context: PhraseContext): FrameDraft {
  const word = words.oneOf(igmpWords, "what IGMP says");
  const isGeneral = word === "query" && startsClause(words.peek());
  const group = isGeneral ? NONE4 : address4(words, context, "a group such as 224.0.0.251");
  const source = defaultAddress4(words, speaker(context));
  const send = (destination: IpAddress, type: number, more = new Uint8Array(0)): FrameDraft => {
    const maxResponse = type === igmpTypes.query ? 100 : 0;
    // A version 3 report has the number of its records where others have the group (RFC 3376 section 4.2).
    const second = type === igmpTypes.report3 ? ipv4FromNumber(1) : group;
    const message = igmpCodec.encode({ type, maxResponse, group: second, more });
    return ipFrame(context, { source, destination }, ipProtocols.igmp, message, { alert: true });
  };
  if (word === "report3")
    return send(fixed4("224.0.0.22"), igmpTypes.report3, Uint8Array.of(4, 0, 0, 0, ...ipv4ToBytes(group)));
  if (word === "leave") return send(fixed4("224.0.0.2"), igmpTypes.leave);
  if (word === "query") return send(isGeneral ? fixed4("224.0.0.1") : group, igmpTypes.query);
  return send(group, igmpTypes.report2);
}

/** IEEE 802.1D section 7.12.3 */
const BRIDGES = macFromBytes(Uint8Array.of(1, 0x80, 0xc2, 0, 0, 0));

/** A bridge that claims to be the root. */
export function stpPhrase(_words: Words, context: PhraseContext): FrameDraft {
  const { mac } = speaker(context);
  const bridge = { priority: 0, mac };
  const times = { messageAge: 0, maxAge: 20 * 256, helloTime: 2 * 256, forwardDelay: 15 * 256 };
  const bpdu = stpCodec.encode({
    bpdu: "config",
    version: 0,
    flags: 0,
    root: bridge,
    cost: 0,
    bridge,
    port: 0x8001,
    ...times,
    more: new Uint8Array(0),
  });
  const point = accessPoints.spanningTree;
  const payload = llcCodec.encode({ dsap: point, ssap: point, control: 3, sequence: 0, payload: bpdu });
  return { destination: BRIDGES, source: mac, type: payload.length, payload };
}

const LLDP = 0x88cc;
/** IEEE 802.1AB section 7.1 */
const LLDP_GROUP = macFromBytes(Uint8Array.of(1, 0x80, 0xc2, 0, 0, 0x0e));
/** As much as makes the smallest frame (IEEE 802.3 section 3.2.7). */
const SMALLEST_PAYLOAD = 46;

const spoken = new Map<number, string>([
  [etherTypes.arp, "say arp"],
  [etherTypes.ipv4, "say ip, udp, tcp or ping"],
  [etherTypes.ipv6, "say ip, udp, tcp or ping"],
  [etherTypes.vlan, "say what is inside, with 'vlan N' behind"],
  [etherTypes.providerVlan, "say hex"],
  [0x9100, "say hex"],
  [0x9200, "say hex"],
]);

export function ethertypePhrase(words: Words, context: PhraseContext): FrameDraft {
  const word = words.next("an Ethernet type such as 0x88cc");
  const type = parseNumber(words, word, "an Ethernet type such as 0x88cc,", 0xffff);
  const better =
    type < FIRST_ETHERTYPE ? "below 0x0600 it is the length of an 802.3 frame: say stp or hex" : spoken.get(type);
  if (better !== undefined) throw words.fail(word, better);
  const { mac } = speaker(context);
  const destination = type === LLDP ? LLDP_GROUP : hearer(context).mac;
  return { destination, source: mac, type, payload: new Uint8Array(SMALLEST_PAYLOAD) };
}
