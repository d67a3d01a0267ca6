/** Phrases of DHCP, both families and both sides: what a client asks, and what only a server may answer. */

import { ipv4FromNumber } from "../model/ipv4.ts";
import { type Ipv6Address, ipv6FromBytes } from "../model/ipv6.ts";
import type { MacAddress } from "../model/mac.ts";
import { dhcp4Codec } from "./dhcp4.ts";
import { type DhcpType, dhcpTypes } from "./dhcp4-message.ts";
import { dhcp4Options } from "./dhcp4-options.ts";
import { dhcp6Types } from "./dhcp6.ts";
import { ipProtocols } from "./ipv4.ts";
import { type Ends, type FrameDraft, ipFrame } from "./phrase-frames.ts";
import { datagram } from "./phrase-ip.ts";
import {
  ALL4,
  hearer,
  linkLocal,
  macAddress,
  type Party,
  type PhraseContext,
  speaker,
  type Words,
} from "./phrase-words.ts";
import { createWriter } from "./writer.ts";

const NONE4 = ipv4FromNumber(0);

/** `renew` is the request of a client that has its address already. */
const dhcpWords = [...Object.keys(dhcpTypes), "renew"] as const;
const answers: readonly string[] = ["offer", "ack", "nak"];
/** What a client without a usable address says (RFC 2131 section 4.4.1): from nobody, to everybody. */
const fromNobody: readonly string[] = ["discover", "request", "decline"];

function dhcpType(word: string): DhcpType {
  const type = Object.keys(dhcpTypes).find((name): name is DhcpType => name === word);
  return type ?? "request";
}

function dhcpOptions(word: string, client: Party, server: Party): ReadonlyMap<number, Uint8Array> {
  const { type, requestedAddress, serverId, leaseTime } = dhcp4Options;
  const options = new Map([[type.number, type.value.encode(dhcpType(word))]]);
  const needsServer = answers.includes(word) || word === "decline" || word === "release";
  if (needsServer && server.address4 !== undefined)
    options.set(serverId.number, serverId.value.encode(server.address4));
  if ((word === "request" || word === "decline") && client.address4 !== undefined)
    options.set(requestedAddress.number, requestedAddress.value.encode(client.address4));
  if (word === "offer" || word === "ack") options.set(leaseTime.number, leaseTime.value.encode(3600));
  return options;
}

function dhcpEnds(word: string, client: Party, server: Party): Ends {
  const [asker, asked] = [client.address4 ?? NONE4, server.address4 ?? ALL4];
  if (answers.includes(word)) return { source: server.address4 ?? NONE4, destination: ALL4 };
  if (fromNobody.includes(word)) return { source: NONE4, destination: ALL4 };
  return { source: asker, destination: word === "inform" ? ALL4 : asked };
}

export function dhcpPhrase(words: Words, context: PhraseContext): FrameDraft {
  const word = words.oneOf(dhcpWords, "a DHCP message");
  const isAnswer = answers.includes(word);
  const client = isAnswer ? hearer(context) : speaker(context);
  const server = isAnswer ? speaker(context) : hearer(context);
  const chaddr = words.take("for") === undefined ? client.mac : macAddress(words, context, "the client's MAC");
  const ends = dhcpEnds(word, client, server);
  const hasAddress = !isAnswer && !fromNobody.includes(word);
  const payload = dhcp4Codec.encode({
    op: isAnswer ? "reply" : "request",
    xid: 1,
    secs: 0,
    broadcast: false,
    hops: 0,
    ciaddr: hasAddress ? (client.address4 ?? NONE4) : NONE4,
    yiaddr: isAnswer && word !== "nak" ? (client.address4 ?? NONE4) : NONE4,
    siaddr: NONE4,
    giaddr: NONE4,
    chaddr,
    sname: "",
    file: "",
    options: dhcpOptions(word, client, server),
  });
  const [sourcePort, destinationPort] = isAnswer ? [67, 68] : [68, 67];
  const draft = ipFrame(context, ends, ipProtocols.udp, datagram(ends, sourcePort, destinationPort, payload));
  return { ...draft, source: speaker(context).mac };
}

/** Those of relays are between relays and servers. */
const { relayForward: _f, relayReply: _r, informationRequest, ...plainTypes } = dhcp6Types;
const words6 = { ...plainTypes, "information-request": informationRequest } as const;
type Dhcp6Word = keyof typeof words6;
const answers6: readonly string[] = ["advertise", "reply", "reconfigure"];
const isDhcp6Word = (word: string): word is Dhcp6Word => word in words6;

/** All relay agents and servers: ff02::1:2. */
const SERVERS6: Ipv6Address = ipv6FromBytes(Uint8Array.of(0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2));

/** A DUID of the link-layer address (RFC 8415 section 11.4) in option 1 (client) or 2 (server). */
const duid = (option: 1 | 2, mac: MacAddress): Uint8Array =>
  createWriter().u16(option).u16(10).u16(3).u16(1).mac(mac).done();

export function dhcp6Phrase(words: Words, context: PhraseContext): FrameDraft {
  const word = words.oneOf(Object.keys(words6), "a DHCPv6 message");
  const type = isDhcp6Word(word) ? words6[word] : 0;
  const isAnswer = answers6.includes(word);
  const [from, to] = [speaker(context), hearer(context)];
  const client = isAnswer ? to : from;
  const chaddr = words.take("for") === undefined ? client.mac : macAddress(words, context, "the client's MAC");
  const ends: Ends = { source: linkLocal(from), destination: isAnswer ? linkLocal(to) : SERVERS6 };
  const message = createWriter().u8(type).u8(0).u16(1).bytes(duid(1, chaddr));
  const needsServer = isAnswer || ["request", "renew", "release", "decline"].includes(word);
  if (needsServer) message.bytes(duid(2, isAnswer ? from.mac : to.mac));
  if (!isAnswer) message.u16(8).u16(2).u16(0);
  if (word !== "information-request" && word !== "reconfigure") message.u16(3).u16(12).u32(1).u32(0).u32(0);
  const [sourcePort, destinationPort] = isAnswer ? [547, 546] : [546, 547];
  const draft = ipFrame(context, ends, ipProtocols.udp, datagram(ends, sourcePort, destinationPort, message.done()));
  return isAnswer ? { ...draft, destination: to.mac } : draft;
}
