/** Phrases to frames: every example is well formed and says what it should; a slip is told with the word and what was meant. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { GuardError } from "../model/errors.ts";
import { parseIpv4 } from "../model/ipv4.ts";
import { linkLocalOf, parseIpv6 } from "../model/ipv6.ts";
import { parseMac } from "../model/mac.ts";
import type { Direction } from "../model/reasons.ts";
import { decodeFrame } from "./frame.ts";
import { toHex } from "./hex.ts";
import { buildPhrase, phraseClauses, phraseForms } from "./phrase.ts";
import { transportSum } from "./phrase-frames.ts";
import type { Party, PhraseContext } from "./phrase-words.ts";
import { summarise } from "./summary.ts";

function party(mac: string, address4: string, address6: string): Party {
  const [parsed, ip4, ip6] = [parseMac(mac), parseIpv4(address4), parseIpv6(address6)];
  if (parsed === undefined || ip4 === undefined || ip6 === undefined) throw new TypeError(mac);
  return { mac: parsed, address4: ip4, address6: ip6, linkLocal6: linkLocalOf(parsed) };
}

const own = party("fe:00:0a:00:00:05", "10.0.0.5", "2001:db8::5");
const gateway = party("02:00:00:00:00:01", "10.0.0.1", "fe80::1");
const other = party("fe:00:0a:00:00:07", "10.0.0.7", "2001:db8::7");
const context: PhraseContext = {
  direction: "from-guest",
  own,
  gateway,
  neighbour: (address) => ([other.address4, other.address6].includes(address) ? other.mac : undefined),
};
const to = (direction: Direction): PhraseContext => ({ ...context, direction });

const said = (phrase: string, where = context): string => summarise(decodeFrame(buildPhrase(phrase, where)));

const examples = [...phraseForms, ...phraseClauses].flatMap((form) => form.examples);

test.each(examples)("%s: is well formed, both ways", (phrase) => {
  for (const direction of ["from-guest", "to-guest"] as const) {
    const frame = decodeFrame(buildPhrase(phrase, to(direction)));
    for (const layer of frame.layers) {
      if (layer.kind === "unread") expect(layer.why, phrase).toBe("unsupported");
      else expect(layer.fault, `${layer.kind} of ${phrase}`).toBeUndefined();
      if (layer.kind !== "ipv6" || layer.chain.end !== "upper") continue;
      const [source, destination] = [layer.source, layer.destination].map((bytes) =>
        parseIpv6(toHex(bytes).replace(/(....)(?=.)/g, "$1:")),
      );
      if (source === undefined || destination === undefined) throw new TypeError("addresses");
      const { protocol, at } = layer.chain;
      if ([6, 17, 58].includes(protocol))
        expect(transportSum({ source, destination }, protocol, layer.payload.subarray(at)), "a true checksum").toBe(0);
    }
  }
});

describe("what is left out is what an honest stack puts there", () => {
  test.each([
    ["arp request who-has gateway", "fe:00:0a:00:00:05 > ff:ff:ff:ff:ff:ff ARP request who-has 10.0.0.1 tell 10.0.0.5"],
    [
      "arp reply 10.0.0.1 is-at own",
      "fe:00:0a:00:00:05 > ff:ff:ff:ff:ff:ff ARP reply 10.0.0.1 is-at fe:00:0a:00:00:05 (gratuitous)",
    ],
    ["arp reply own is-at own", "fe:00:0a:00:00:05 > 02:00:00:00:00:01 ARP reply 10.0.0.5 is-at fe:00:0a:00:00:05"],
    [
      "arp reply own is-at 02:00:00:00:00:99 to 10.0.0.7",
      "fe:00:0a:00:00:05 > fe:00:0a:00:00:07 ARP reply 10.0.0.5 is-at 02:00:00:00:00:99",
    ],
    ["arp announce", "fe:00:0a:00:00:05 > ff:ff:ff:ff:ff:ff ARP request who-has 10.0.0.5 tell 10.0.0.5 (gratuitous)"],
    ["arp probe", "fe:00:0a:00:00:05 > ff:ff:ff:ff:ff:ff ARP request who-has 10.0.0.5 tell 0.0.0.0 (probe)"],
    ["udp own > 10.0.0.7:53", "fe:00:0a:00:00:05 > fe:00:0a:00:00:07 IPv4 10.0.0.5 > 10.0.0.7 UDP 49152 > 53"],
    ["udp 10.0.0.9:7>198.51.100.7:53", "fe:00:0a:00:00:05 > 02:00:00:00:00:01 IPv4 10.0.0.9 > 198.51.100.7 UDP 7 > 53"],
    [
      "tcp own to [2001:db8::7]:22 syn ack",
      "fe:00:0a:00:00:05 > fe:00:0a:00:00:07 IPv6 2001:db8::5 > 2001:db8::7 TCP 49152 > 22 syn,ack",
    ],
    ["udp own > broadcast:9", "fe:00:0a:00:00:05 > ff:ff:ff:ff:ff:ff IPv4 10.0.0.5 > 255.255.255.255 UDP 49152 > 9"],
    [
      "udp own > 224.0.0.251:5353",
      "fe:00:0a:00:00:05 > 01:00:5e:00:00:fb IPv4 10.0.0.5 > 224.0.0.251 UDP 49152 > 5353",
    ],
    ["ping fe80::1", "fe:00:0a:00:00:05 > 02:00:00:00:00:01 IPv6 fe80::fc00:aff:fe00:5 > fe80::1 ICMPv6 echo request"],
    ["ping 2001:db8::7", "fe:00:0a:00:00:05 > fe:00:0a:00:00:07 IPv6 2001:db8::5 > 2001:db8::7 ICMPv6 echo request"],
    ["ip own > gateway proto gre", "fe:00:0a:00:00:05 > 02:00:00:00:00:01 IPv4 10.0.0.5 > 10.0.0.1 GRE length 20"],
    [
      "dhcp discover",
      "fe:00:0a:00:00:05 > ff:ff:ff:ff:ff:ff IPv4 0.0.0.0 > 255.255.255.255 UDP 68 > 67 DHCP discover xid 1 chaddr fe:00:0a:00:00:05",
    ],
    [
      "dhcp request for 02:00:00:00:00:07",
      "fe:00:0a:00:00:05 > ff:ff:ff:ff:ff:ff IPv4 0.0.0.0 > 255.255.255.255 UDP 68 > 67 DHCP request xid 1 chaddr 02:00:00:00:00:07 requested 10.0.0.5",
    ],
    [
      "dhcp renew",
      "fe:00:0a:00:00:05 > 02:00:00:00:00:01 IPv4 10.0.0.5 > 10.0.0.1 UDP 68 > 67 DHCP request xid 1 chaddr fe:00:0a:00:00:05 ciaddr 10.0.0.5",
    ],
    ["dhcp6 solicit", "fe:00:0a:00:00:05 > 33:33:00:01:00:02 IPv6 fe80::fc00:aff:fe00:5 > ff02::1:2 UDP 546 > 547"],
    ["dad", "fe:00:0a:00:00:05 > 33:33:ff:00:00:05 IPv6 :: > ff02::1:ff00:5 ICMPv6 neighbour solicitation 2001:db8::5"],
    [
      "na fe80::1 is-at own",
      "fe:00:0a:00:00:05 > 33:33:00:00:00:01 IPv6 fe80::fc00:aff:fe00:5 > ff02::1 ICMPv6 neighbour advertisement fe80::1",
    ],
    ["rs", "fe:00:0a:00:00:05 > 33:33:00:00:00:02 IPv6 fe80::fc00:aff:fe00:5 > ff02::2 ICMPv6 router solicitation"],
    [
      "mld report ff02::fb",
      "fe:00:0a:00:00:05 > 33:33:00:00:00:fb IPv6 fe80::fc00:aff:fe00:5 > ff02::fb hop-by-hop ICMPv6 MLDv1 report",
    ],
    [
      "igmp report3 224.0.0.251",
      "fe:00:0a:00:00:05 > 01:00:5e:00:00:16 IPv4 10.0.0.5 > 224.0.0.22 options 4 octets IGMP v3 report 224.0.0.251",
    ],
    ["ethertype 0x88cc", "fe:00:0a:00:00:05 > 01:80:c2:00:00:0e LLDP length 46"],
    [
      "ping gateway mac from gateway to broadcast vlan 7 vlan 0",
      "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff vlan 7 802.1Q vlan 0 802.1Q IPv4 10.0.0.5 > 10.0.0.1 ICMP echo request id 1 seq 1",
    ],
  ])("%s", (phrase, frame) => expect(said(phrase)).toBe(frame));

  test.each([
    [
      "arp reply gateway is-at gateway",
      "02:00:00:00:00:01 > fe:00:0a:00:00:05 ARP reply 10.0.0.1 is-at 02:00:00:00:00:01",
    ],
    [
      "arp announce gateway is-at 02:00:00:00:00:99",
      "02:00:00:00:00:99 > ff:ff:ff:ff:ff:ff ARP request who-has 10.0.0.1 tell 10.0.0.1 (gratuitous)",
    ],
    ["ping own", "02:00:00:00:00:01 > fe:00:0a:00:00:05 IPv4 10.0.0.1 > 10.0.0.5 ICMP echo request id 1 seq 1"],
    ["tcp 10.0.0.7 > own:80", "fe:00:0a:00:00:07 > fe:00:0a:00:00:05 IPv4 10.0.0.7 > 10.0.0.5 TCP 49152 > 80 syn"],
    [
      "dhcp offer",
      "02:00:00:00:00:01 > ff:ff:ff:ff:ff:ff IPv4 10.0.0.1 > 255.255.255.255 UDP 67 > 68 DHCP offer xid 1 chaddr fe:00:0a:00:00:05 yiaddr 10.0.0.5 server 10.0.0.1",
    ],
    ["ra", "02:00:00:00:00:01 > 33:33:00:00:00:01 IPv6 fe80::200:ff:fe00:1 > ff02::1 ICMPv6 router advertisement"],
  ])("towards the guest: %s", (phrase, frame) => {
    const wanted = phrase === "ra" ? frame.replace("fe80::200:ff:fe00:1", String(gateway.linkLocal6)) : frame;
    expect(said(phrase, to("to-guest"))).toBe(wanted);
  });

  test("hex is taken as it is", () => {
    expect(toHex(buildPhrase("hex ffffffffffff 02:00:00:00:00:0a 88cc 0001", context))).toBe(
      "ffffffffffff02000000000a88cc0001",
    );
  });
});

describe("a slip is told with the word, what was expected and what was meant", () => {
  test.each([
    ["", "the phrase ends too early: expected the first word: arp, ip"],
    ["app reply", "'app': expected the first word: arp, ip"],
    ["arp replay 10.0.0.1", "'replay': expected what ARP says: request, reply, announce, probe; did you mean 'reply'?"],
    ["arp reply 10.0.0.300 is-at own", "'10.0.0.300': expected an address such as"],
    ["arp reply gatway is-at own", "did you mean 'gateway'?"],
    ["arp reply 10.0.0.1 isat own", "did you mean 'is-at'?"],
    ["arp reply 10.0.0.1 is-at", "the phrase ends too early: expected a MAC"],
    ["arp reply 10.0.0.1 is-at 02:00", "'02:00': expected a MAC, such as"],
    ["arp probe 2001:db8::1", "'2001:db8::1': expected an IPv4 address"],
    ["udp own > 10.0.0.1", "'10.0.0.1': expected a destination with its port"],
    ["udp own 10.0.0.1:53", "'10.0.0.1:53': expected the sign between source and destination: >, to"],
    ["udp 10.0.0.5 > [2001:db8::1]:53", "'2001:db8::1': expected an IPv4 address, as the rest of the phrase has it"],
    ["udp own > 10.0.0.1:66000", "'66000': expected a port from 0 to 65535"],
    ["ip own > gateway proto grr", "'grr': expected a protocol: icmp, igmp"],
    ["ip own > gateway:7", "an ip phrase has no ports"],
    ["dhcp disscover", "did you mean 'discover'?"],
    ["ethertype 0x0806", "'0x0806': say arp"],
    ["ethertype 20", "below 0x0600 it is the length"],
    ["ping gateway vlan 5000", "'5000': expected a VLAN from 0 to 4095"],
    ["ping gateway vlam 5", "'vlam': expected the end, or one of: mac, vlan; did you mean 'vlan'?"],
    ["ping gateway mac own", "'own': expected 'from MAC' or 'to MAC' behind 'mac'"],
    ["hex 0123", "expected 14 to 9018 octets of a frame, not 2"],
    ["hex 01 2", "expected a frame in hexadecimal digits"],
  ])("%s", (phrase, text) => {
    expect(() => buildPhrase(phrase, context)).toThrow(GuardError);
    expect(() => buildPhrase(phrase, context)).toThrow(text);
  });

  test("a NIC without IPv6 has no own6", () => {
    const only4: PhraseContext = {
      ...context,
      own: { mac: own.mac, ...(own.address4 === undefined ? {} : { address4: own.address4 }) },
    };
    expect(() => buildPhrase("ping 2001:db8::7 from own", only4)).toThrow("'own': the NIC has no IPv6 address");
  });
});

const words = [
  ...new Set([...examples, "own4", "gateway6", "for", "type", "vlan", "65536"].flatMap((text) => text.split(" "))),
];
const phrase = fc
  .array(fc.constantFrom(...words), { maxLength: 8 })
  .chain((list) => fc.constantFrom(...examples).map((example) => [example, ...list].join(" ")));
const anything = fc.array(fc.constantFrom(...words), { maxLength: 8 }).map((list) => list.join(" "));

test("any words are a whole frame or a GuardError that names one of them", () => {
  fc.assert(
    fc.property(
      fc.oneof(phrase, anything, fc.string()),
      fc.constantFrom("from-guest" as const, "to-guest" as const),
      (text, direction) => {
        try {
          const frame = decodeFrame(buildPhrase(text, to(direction)));
          expect(frame.length).toBeGreaterThanOrEqual(14);
          if (text.startsWith("hex")) return;
          for (const layer of frame.layers)
            if (layer.kind !== "unread" && layer.kind !== "dhcp4") expect(layer.fault, text).toBeUndefined();
        } catch (error) {
          if (!(error instanceof GuardError)) throw error;
          expect(error.code).toBe("PHRASE_INVALID");
        }
      },
    ),
    { numRuns: 2000 },
  );
});
