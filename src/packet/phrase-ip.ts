/** Phrases of IP and what it carries: packets, datagrams, segments and echoes of both families. */
import { type IpAddress, isIpv6 } from "../model/ip-block.ts";
import { icmp4Codec } from "./icmp4.ts";
import { igmpCodec, igmpTypes } from "./igmp.ts";
import { ipProtocols } from "./ipv4.ts";
import { extensionHeaders } from "./ipv6.ts";
import { type Ends, type FrameDraft, icmp6Frame, ipFrame, summed } from "./phrase-frames.ts";
import {
  type AddressFamily,
  familyOf,
  linkLocal,
  number,
  type Party,
  type PhraseContext,
  parseAddress,
  parseNumber,
  speaker,
  type Words,
} from "./phrase-words.ts";
import { tcpCodec, tcpFlags } from "./tcp.ts";
import { udpCodec } from "./udp.ts";
import { createWriter } from "./writer.ts";

/** Where a client's own port usually lies (RFC 6335 section 6). */
const CLIENT_PORT = 49_152;
/** For experiments: means nothing anywhere (RFC 3692). */
const EXPERIMENT = 253;

/** What an operator may call protocols that have no phrase of their own. */
const protocolNames: Readonly<Record<string, number>> = {
  icmp: 1,
  igmp: 2,
  ipip: 4,
  tcp: 6,
  udp: 17,
  "6in4": 41,
  gre: 47,
  esp: 50,
  ah: 51,
  icmp6: 58,
  ospf: 89,
  pim: 103,
  vrrp: 112,
  sctp: 132,
};

interface Endpoint {
  readonly text: string;
  readonly port: number | undefined;
}

/** `203.0.113.7:53`, `[2001:db8::7]:53`, `own:53`; without a port also a bare IPv6 address. */
function endpoint(words: Words, what: string): Endpoint {
  const word = words.next(what);
  const [, bracketed, inside = ""] = /^\[([^\]]*)\](?::(\w+))?$/.exec(word) ?? [];
  if (bracketed !== undefined)
    return { text: bracketed, port: inside === "" ? undefined : parseNumber(words, inside, "a port", 65_535) };
  const colon = word.indexOf(":");
  if (colon === -1 || colon !== word.lastIndexOf(":")) return { text: word, port: undefined };
  return { text: word.slice(0, colon), port: parseNumber(words, word.slice(colon + 1), "a port", 65_535) };
}

const isOpen = (text: string): boolean => text === "own" || text === "gateway";

/** Both ends in one family: words that fit both follow the other end. */
function sameFamily(words: Words, context: PhraseContext, from: string, to: string): Ends {
  if (isOpen(from) && !isOpen(to)) {
    const destination = parseAddress(words, to, context);
    return { source: parseAddress(words, from, context, familyOf(destination)), destination };
  }
  const source = parseAddress(words, from, context);
  return { source, destination: parseAddress(words, to, context, familyOf(source)) };
}

function arrow(words: Words): void {
  words.oneOf([">", "to"], "the sign between source and destination");
}

function endpoints(
  words: Words,
  context: PhraseContext,
): { readonly from: Endpoint; readonly to: Endpoint; readonly ends: Ends } {
  const from = endpoint(words, "a source ADDRESS[:PORT]");
  arrow(words);
  const to = endpoint(words, "a destination ADDRESS:PORT");
  return { from, to, ends: sameFamily(words, context, from.text, to.text) };
}

function ports(
  words: Words,
  context: PhraseContext,
): { readonly ends: Ends; readonly sourcePort: number; readonly destinationPort: number } {
  const { from, to, ends } = endpoints(words, context);
  if (to.port === undefined)
    throw words.fail(to.text, "expected a destination with its port, such as 203.0.113.7:53 or [2001:db8::7]:53");
  return { ends, sourcePort: from.port ?? CLIENT_PORT, destinationPort: to.port };
}

export function datagram(ends: Ends, sourcePort: number, destinationPort: number, payload: Uint8Array): Uint8Array {
  return summed(ends, ipProtocols.udp, 6, udpCodec.encode({ sourcePort, destinationPort, checksum: 0, payload }));
}

function segment(ends: Ends, sourcePort: number, destinationPort: number, flags: number): Uint8Array {
  const bytes = tcpCodec.encode({
    sourcePort,
    destinationPort,
    sequence: 1,
    acknowledgement: 0,
    flags,
    window: 64_240,
    checksum: 0,
    urgent: 0,
    options: new Uint8Array(0),
    payload: new Uint8Array(0),
  });
  return summed(ends, ipProtocols.tcp, 16, bytes);
}

const SYN = 2;

export function udpPhrase(words: Words, context: PhraseContext): FrameDraft {
  const { ends, sourcePort, destinationPort } = ports(words, context);
  return ipFrame(context, ends, ipProtocols.udp, datagram(ends, sourcePort, destinationPort, new Uint8Array(0)));
}

export function tcpPhrase(words: Words, context: PhraseContext): FrameDraft {
  const { ends, sourcePort, destinationPort } = ports(words, context);
  let flags = 0;
  for (let flag = words.take(...tcpFlags); flag !== undefined; flag = words.take(...tcpFlags))
    flags |= 1 << tcpFlags.indexOf(flag);
  return ipFrame(context, ends, ipProtocols.tcp, segment(ends, sourcePort, destinationPort, flags === 0 ? SYN : flags));
}

const echo = (type: number, code = 0): Uint8Array =>
  icmp4Codec.encode({ type, code, rest: 0x0001_0001, payload: new Uint8Array(0) });

function icmpFrame(context: PhraseContext, ends: Ends, type: number | undefined, code: number): FrameDraft {
  if (isIpv6(ends.source))
    return icmp6Frame(
      context,
      ends,
      createWriter()
        .u8(type ?? 128)
        .u8(code)
        .u16(0)
        .u32(0x0001_0001)
        .done(),
    );
  return ipFrame(context, ends, ipProtocols.icmp, echo(type ?? 8, code));
}

/** The speaker's address towards `other`: link-local only to what is link-local itself. */
export function answeringTo(words: Words, party: Party, other: IpAddress): IpAddress {
  const scoped =
    isIpv6(other) && /^(?:fe[89ab]|ff.2)/.test(other) ? linkLocal(party) : (party.address6 ?? linkLocal(party));
  const address = isIpv6(other) ? scoped : party.address4;
  if (address === undefined) throw words.fail(other, "nobody is there to speak to it: name one with 'from ADDRESS'");
  return address;
}

export function pingPhrase(words: Words, context: PhraseContext): FrameDraft {
  const to = words.next("a destination ADDRESS");
  const ends =
    words.take("from") === undefined
      ? pingEnds(words, context, parseAddress(words, to, context))
      : sameFamily(words, context, words.next("a source ADDRESS"), to);
  const type = words.take("type") === undefined ? undefined : number(words, "an ICMP type", 255);
  const code = words.take("code") === undefined ? 0 : number(words, "an ICMP code", 255);
  return icmpFrame(context, ends, type, code);
}

function pingEnds(words: Words, context: PhraseContext, destination: IpAddress): Ends {
  return { source: answeringTo(words, speaker(context), destination), destination };
}

const extensions: readonly number[] = Object.values(extensionHeaders).filter((type) => type !== extensionHeaders.none);

/** As little as makes a whole packet of that protocol. */
function bodyOf(ends: Ends, protocol: number, family: AddressFamily): Uint8Array {
  if (protocol === ipProtocols.udp) return datagram(ends, CLIENT_PORT, 9, new Uint8Array(0));
  if (protocol === ipProtocols.tcp) return segment(ends, CLIENT_PORT, 9, SYN);
  if (family === 6) {
    if (protocol === ipProtocols.icmp6) return summed(ends, protocol, 2, Uint8Array.of(128, 0, 0, 0, 0, 1, 0, 1));
    // An extension header of eight octets with nothing behind it: as options, zeros are padding.
    if (extensions.includes(protocol)) return Uint8Array.of(extensionHeaders.none, 0, 0, 0, 0, 0, 0, 0);
  } else if (!isIpv6(ends.destination)) {
    if (protocol === ipProtocols.icmp) return echo(8);
    if (protocol === ipProtocols.igmp)
      return igmpCodec.encode({
        type: igmpTypes.report2,
        maxResponse: 0,
        group: ends.destination,
        more: new Uint8Array(0),
      });
  }
  return new Uint8Array(20);
}

export function ipPhrase(words: Words, context: PhraseContext): FrameDraft {
  const { from, to, ends } = endpoints(words, context);
  for (const { port, text } of [from, to])
    if (port !== undefined) throw words.fail(`${text}:${port}`, "an ip phrase has no ports: say udp or tcp");
  const named = words.take("proto") === undefined ? undefined : words.next("a protocol, by number or name");
  const protocol =
    named === undefined
      ? EXPERIMENT
      : (protocolNames[named] ??
        parseNumber(words, named, `a protocol: ${Object.keys(protocolNames).join(", ")}, or a number`, 255));
  return ipFrame(context, ends, protocol, bodyOf(ends, protocol, familyOf(ends.source)));
}
