/** What a DHCPv6 client is told besides its address: what it asks for (RFC 8415 section 21.7), as far as a datagram holds it. */
import { ipv6ToBytes } from "../model/ipv6.ts";
import { dhcp6Codes as codes, type Dhcp6Message, type Dhcp6Option, writeDnsNames } from "../packet/dhcp6.ts";
import { fqdnReply6 } from "../packet/fqdn.ts";
import { createWriter } from "../packet/writer.ts";
import type { PortOffer6 } from "./responder.ts";

/** The smallest MTU of IPv6 without the headers of IPv6, UDP and the message: no reply is ever fragmented. */
const ROOM = 1280 - 40 - 8 - 4;
const OPTION_HEAD = 4;

function option(code: number, body: Uint8Array): Dhcp6Option {
  return { code, body };
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const writer = createWriter();
  for (const part of parts) writer.bytes(part);
  return writer.done();
}

/** Suboption 1, a server's address, once for each (RFC 5908 section 4.1). */
const ntpServers = (addresses: readonly Uint8Array[]): Uint8Array =>
  joined(addresses.flatMap((address) => [Uint8Array.of(0, 1, 0, 16), address]));

/** In the order in which they are dearest; what the operator wants told to all comes first. */
function known({ dns, ntp = [], search, bootUrl, options = [] }: PortOffer6): readonly Dhcp6Option[] {
  const [servers, clocks] = [dns.map(ipv6ToBytes), ntp.map(ipv6ToBytes)];
  const own = [...options].sort((a, b) => Number(b.always) - Number(a.always));
  const [always, asked] = [own.filter((one) => one.always), own.filter((one) => !one.always)];
  const written = ({ number, value }: { readonly number: number; readonly value: Uint8Array }): Dhcp6Option =>
    option(number, value);
  return [
    ...always.map(written),
    ...(servers.length === 0 ? [] : [option(codes.dnsServers, joined(servers))]),
    ...(bootUrl === undefined ? [] : [option(codes.bootfileUrl, new TextEncoder().encode(bootUrl))]),
    ...(search.length === 0 ? [] : [option(codes.domainList, writeDnsNames(search))]),
    ...(clocks.length === 0 ? [] : [option(codes.ntpServer, ntpServers(clocks))]),
    // Obsolete, and all that many clients ask for (RFC 4075).
    ...(clocks.length === 0 ? [] : [option(codes.sntpServers, joined(clocks))]),
    ...asked.map(written),
  ];
}

function isAskedBy(message: Dhcp6Message): ((code: number) => boolean) | undefined {
  const asked = message.options.find(({ code }) => code === codes.optionRequest)?.body;
  if (asked === undefined) return undefined;
  return (code) => asked.some((byte, i) => i % 2 === 0 && byte === code >> 8 && asked[i + 1] === (code & 255));
}

/** RFC 4704 section 6: only to a client that has sent one and asks for one. */
function fqdnOf(message: Dhcp6Message, { hostname, domain }: PortOffer6): readonly Dhcp6Option[] {
  const said = message.options.find(({ code }) => code === codes.clientFqdn)?.body;
  if (said === undefined || said.length === 0 || hostname === undefined) return [];
  return isAskedBy(message)?.(codes.clientFqdn) === true
    ? [option(codes.clientFqdn, fqdnReply6(said, hostname, domain))]
    : [];
}

/** @param taken octets of the options that stand before */
export function parameters6(message: Dhcp6Message, offer: PortOffer6, taken: number): readonly Dhcp6Option[] {
  const isAsked = isAskedBy(message);
  const always = new Set((offer.options ?? []).flatMap((one) => (one.always ? [one.number] : [])));
  const wanted = known(offer).filter(({ code }) => always.has(code) || (isAsked?.(code) ?? true));
  let room = ROOM - taken;
  return [...wanted, ...fqdnOf(message, offer)].filter(({ body }) => {
    const size = OPTION_HEAD + body.length;
    if (size > room) return false;
    room -= size;
    return true;
  });
}
