/**
 * A small language for frames, as an operator would say them: `arp reply 10.0.0.1 is-at own`, `udp own > 10.0.0.2:53`.
 * It is relative to a port: `own` is the NIC, `gateway` its network's gateway, and what a phrase leaves out is what an honest stack would put there.
 */
import { ethernetCodec } from "./ethernet.ts";
import { parseHex } from "./hex.ts";
import { dhcp6Phrase, dhcpPhrase } from "./phrase-dhcp.ts";
import type { FrameDraft } from "./phrase-frames.ts";
import { ipPhrase, pingPhrase, tcpPhrase, udpPhrase } from "./phrase-ip.ts";
import {
  arpPhrase,
  dadPhrase,
  ethertypePhrase,
  igmpPhrase,
  mldPhrase,
  naPhrase,
  nsPhrase,
  raPhrase,
  rsPhrase,
  stpPhrase,
} from "./phrase-link.ts";
import { macAddress, number, type PhraseContext, readWords, type Words } from "./phrase-words.ts";
import { createWriter } from "./writer.ts";

type Reader = (words: Words, context: PhraseContext) => FrameDraft;

/** First words; both families have the same ones where they mean the same. */
const readers = {
  arp: arpPhrase,
  ip: ipPhrase,
  udp: udpPhrase,
  tcp: tcpPhrase,
  ping: pingPhrase,
  icmp: pingPhrase,
  dhcp: dhcpPhrase,
  dhcp6: dhcp6Phrase,
  ns: nsPhrase,
  na: naPhrase,
  rs: rsPhrase,
  ra: raPhrase,
  dad: dadPhrase,
  mld: mldPhrase,
  igmp: igmpPhrase,
  stp: stpPhrase,
  ethertype: ethertypePhrase,
} as const satisfies Readonly<Record<string, Reader>>;
const isVerb = (word: string): word is keyof typeof readers => Object.hasOwn(readers, word);
const verbs: readonly string[] = [...Object.keys(readers), "hex"];

/** The grammar, where help and reference read it. */
export interface PhraseForm {
  readonly form: string;
  readonly text: string;
  readonly examples: readonly string[];
}

export const phraseForms: readonly PhraseForm[] = [
  {
    form: "arp request who-has ADDRESS [tell ADDRESS]",
    text: "asks everybody",
    examples: ["arp request who-has gateway", "arp request who-has 203.0.113.1 tell 203.0.113.99"],
  },
  {
    form: "arp reply ADDRESS is-at MAC [to ADDRESS]",
    text: "tells the gateway, or everybody when it is about the gateway",
    examples: ["arp reply gateway is-at own", "arp reply own is-at own to gateway"],
  },
  {
    form: "arp announce [ADDRESS] [is-at MAC]",
    text: "gratuitous, to everybody",
    examples: ["arp announce", "arp announce gateway is-at own"],
  },
  { form: "arp probe [ADDRESS]", text: "asks whether the address is free", examples: ["arp probe"] },
  {
    form: "ip ADDRESS > ADDRESS [proto PROTOCOL]",
    text: "a packet of either family; the protocol by number or name (gre, ipip, vrrp …)",
    examples: ["ip 203.0.113.99 > gateway", "ip own > gateway proto gre"],
  },
  {
    form: "udp ADDRESS[:PORT] > ADDRESS:PORT",
    text: "a datagram; IPv6 with a port stands in brackets",
    examples: ["udp own > gateway:53", "udp own > [2001:db8::53]:53"],
  },
  {
    form: "tcp ADDRESS[:PORT] > ADDRESS:PORT [FLAG…]",
    text: "a segment: syn, ack, rst, fin, psh; without a flag a syn",
    examples: ["tcp own > 198.51.100.7:443", "tcp own:22 > gateway:50000 syn ack"],
  },
  {
    form: "ping ADDRESS [from ADDRESS] [type N] [code N]",
    text: "an echo request of either family, or another ICMP message (also: icmp)",
    examples: ["ping gateway", "ping own from gateway", "icmp 198.51.100.7 type 3 code 4"],
  },
  {
    form: "dhcp MESSAGE [for MAC]",
    text: "discover, request, renew, inform, decline, release; offer, ack, nak of a server; MAC is the client's inside",
    examples: ["dhcp discover", "dhcp request for 02:00:00:00:00:07", "dhcp offer"],
  },
  {
    form: "dhcp6 MESSAGE [for MAC]",
    text: "solicit, request, confirm, renew, rebind, release, decline, information-request; advertise, reply, reconfigure of a server",
    examples: ["dhcp6 solicit", "dhcp6 advertise"],
  },
  {
    form: "ns ADDRESS [from ADDRESS]",
    text: "neighbour solicitation",
    examples: ["ns fe80::1", "ns own6 from gateway6"],
  },
  {
    form: "na [ADDRESS] [is-at MAC] [to ADDRESS] [from ADDRESS]",
    text: "neighbour advertisement, to everybody or to one",
    examples: ["na", "na fe80::1 is-at own", "na own6 to fe80::1"],
  },
  { form: "rs [from ADDRESS]", text: "router solicitation", examples: ["rs"] },
  { form: "ra [from ADDRESS]", text: "router advertisement", examples: ["ra"] },
  { form: "dad [ADDRESS]", text: "duplicate address detection", examples: ["dad", "dad fe80::1"] },
  {
    form: "mld report|report2|done|query [GROUP]",
    text: "group membership of IPv6, version 1 and 2",
    examples: ["mld report ff02::fb", "mld report2 ff02::fb", "mld query"],
  },
  {
    form: "igmp report|report3|leave|query [GROUP]",
    text: "group membership of IPv4, version 2 and 3",
    examples: ["igmp report 224.0.0.251", "igmp report3 224.0.0.251", "igmp query"],
  },
  { form: "stp", text: "a bridge that claims to be the root", examples: ["stp"] },
  { form: "ethertype NUMBER", text: "anything else behind an Ethernet header", examples: ["ethertype 0x88cc"] },
  {
    form: "hex OCTETS",
    text: "a whole frame, byte by byte; nothing stands behind it",
    examples: ["hex ffffffffffff 02000000000a 88cc 0000"],
  },
];

export const phraseClauses: readonly PhraseForm[] = [
  {
    form: "mac [from MAC] [to MAC]",
    text: "other addresses in the Ethernet header",
    examples: ["ping gateway mac from 02:00:00:00:00:07", "ping gateway mac to broadcast"],
  },
  {
    form: "vlan N",
    text: "an 802.1Q tag (0: priority only); the first said is the outermost",
    examples: ["ping gateway vlan 7", "ping gateway vlan 7 vlan 8"],
  },
];

/** What may stand for ADDRESS and MAC. */
export const phraseWords: readonly (readonly [string, string])[] = [
  [
    "ADDRESS",
    "203.0.113.7, 2001:db8::7, own, gateway, broadcast; own4, own6, gateway4, gateway6 where the family is not clear",
  ],
  ["MAC", "02:00:00:00:00:07, own, gateway, broadcast"],
  [">", "may be written 'to', which needs no quotes in a shell"],
];

const SMALLEST_FRAME = 14;
const LARGEST_FRAME = 9018;

function hexFrame(words: Words): Uint8Array {
  const text = words.rest().join("");
  const bytes = parseHex(text);
  if (bytes === undefined)
    throw words.fail(text.slice(0, 40), "expected a frame in hexadecimal digits, two for each octet");
  if (bytes.length < SMALLEST_FRAME || bytes.length > LARGEST_FRAME)
    throw words.fail(
      text.slice(0, 40),
      `expected ${SMALLEST_FRAME} to ${LARGEST_FRAME} octets of a frame, not ${bytes.length}`,
    );
  return bytes;
}

function macClause(words: Words, context: PhraseContext, draft: FrameDraft): FrameDraft {
  const source = words.take("from") === undefined ? undefined : macAddress(words, context, "a source MAC");
  const destination = words.take("to") === undefined ? undefined : macAddress(words, context, "a destination MAC");
  if (source === undefined && destination === undefined)
    throw words.fail(words.peek(), "expected 'from MAC' or 'to MAC' behind 'mac'");
  return { ...draft, source: source ?? draft.source, destination: destination ?? draft.destination };
}

const VLAN = 0x8100;
const tagged = (id: number, { type, ...draft }: FrameDraft): FrameDraft => ({
  ...draft,
  type: VLAN,
  payload: createWriter().u16(id).u16(type).bytes(draft.payload).done(),
});

const clauses: readonly string[] = ["mac", "vlan"];

function withClauses(words: Words, context: PhraseContext, draft: FrameDraft): FrameDraft {
  let frame = draft;
  const tags: number[] = [];
  while (words.peek() !== undefined) {
    if (words.oneOf(clauses, "the end, or one of") === "mac") frame = macClause(words, context, frame);
    else tags.push(number(words, "a VLAN", 4095));
  }
  return tags.reduceRight((inner, id) => tagged(id, inner), frame);
}

/**
 * The whole frame a phrase stands for, without padding.
 * @throws PHRASE_INVALID naming the word and what was expected there
 */
export function buildPhrase(text: string, context: PhraseContext): Uint8Array {
  const words = readWords(text);
  const verb = words.oneOf(verbs, "the first word");
  if (!isVerb(verb)) return hexFrame(words);
  const { destination, source, type, payload } = withClauses(words, context, readers[verb](words, context));
  return ethernetCodec.encode({ destination, source, type, payload });
}
