/** What a transport network and its NICs may say: pools of links, ends of links, and nobody else's addresses among them. */
import { expect, test } from "vitest";
import { GuardError } from "../model/errors.ts";
import { checkSite } from "./check.ts";
import { readSite } from "./load.ts";

const network = (name: string, fields: string, wiring = "transport, uplink: eth0"): string =>
  `{ kind: network, name: ${name}, spec: { ${fields}, wiring: { kind: ${wiring} } } }`;
const links = (more = "", link4 = 31): string =>
  network("t", `prefix4: 10.0.0.0/24${more}`, `transport, uplink: eth0, link4: ${link4}`);
const guest = (nic: string): string => `{ kind: guest, name: a, spec: { nics: [{ network: t, ${nic} }] } }`;

function faultsOf(...documents: readonly string[]): readonly string[] {
  try {
    const { resources, locate } = readSite(documents.join("\n---\n"), "f");
    checkSite(resources, { networks: new Map(), groups: new Map() }, locate);
    return [];
  } catch (error) {
    if (!(error instanceof GuardError) || error.code !== "SITE_INVALID") throw error;
    const lines = error.message.split("\n");
    return (lines.length === 1 ? lines : lines.slice(1)).map((line) =>
      line.trim().replace(/^f:\d+:\d+: \w+ \w+: spec\./, ""),
    );
  }
}

const lan = network("lan", "prefix4: 203.0.113.0/24, gateway4: 203.0.113.1", "routed, uplink: eth0");

test.each([
  ["a pool with all its addresses", [links(", range4: [10.0.0.0-10.0.0.255]")]],
  ["a pool of one link", [network("t", "prefix4: 10.0.0.4/30, range4: [10.0.0.6]", "transport, uplink: e, link4: 30")]],
  ["IPv6 with room for all links", [links(", prefix6: 2001:db8::/119")]],
  ["right-hand ends", [links(", prefix6: 2001:db8::/64"), guest("address4: 10.0.0.255, address6: '2001:db8::1'")]],
  ["the right-hand end of a /30", [links("", 30), guest("address4: 10.0.0.2")]],
  ["what is routed behind a link", [links(), lan, guest("address4: 10.0.0.1, addresses: [203.0.113.7, 192.0.2.0/24]")]],
  [
    "the same addresses on a bridge",
    [links(), network("b", "prefix4: 10.0.0.0/24, gateway4: 10.0.0.1", "bridged, bridge: br0")],
  ],
  ["MACs that spell the link", [links(", addressing: { kind: managed, macScheme: net }"), guest("address4: 10.0.0.1")]],
])("%s is fine", (_, documents) => {
  expect(faultsOf(...documents)).toEqual([]);
});

test.each([
  [
    [network("t", "prefix4: 10.0.0.1/32")],
    ["prefix4: 10.0.0.1/32 has no room for a gateway and a guest: a network is a /31 or larger"],
  ],
  [
    [network("t", "prefix4: 10.0.0.0/31", "transport, uplink: e, link4: 30")],
    ["prefix4: 10.0.0.0/31 has no room for a link of /30"],
  ],
  [
    [links(", prefix6: 2001:db8::/120")],
    ["prefix6: 2001:db8::/120 has 127 links of /127 besides its first, and each of the 128 of 10.0.0.0/24 needs one"],
  ],
  [[links(", range4: [10.0.0.4, 10.0.0.6-10.0.0.9]")], ["range4[0]: has no right-hand address of a link of /31"]],
  [[links(", range4: [10.0.0.9-10.0.1.1]")], ["range4[0]: 10.0.1.1 is outside prefix4 10.0.0.0/24"]],
  [
    [links(", gatewayMac: 02:00:00:00:00:01")],
    ["gatewayMac: the gateway on a transport port is the host itself, fe:ff:ff:ff:ff:fe, fe80::1; leave it out"],
  ],
  [[links(", multicast: [224.0.0.251]")], ["multicast: a transport network forwards no multicast; leave it out"]],
  [
    [links(), guest("address4: 10.0.0.4")],
    [
      "nics[0].address4: 10.0.0.4 is the left-hand address, which is the host's, of the link 10.0.0.4/31: its guest has 10.0.0.5",
    ],
  ],
  [
    [links("", 30), guest("address4: 10.0.0.3")],
    ["nics[0].address4: 10.0.0.3 is the broadcast address of the link 10.0.0.0/30: its guest has 10.0.0.2"],
  ],
  [[links(), guest("address4: 10.0.1.1")], ["nics[0].address4: 10.0.1.1 is outside prefix4 10.0.0.0/24"]],
  [
    [links(", prefix6: 2001:db8::/64"), guest("address6: '2001:db8::8'")],
    [
      "nics[0].address6: 2001:db8::8 is the left-hand address, which is the host's, of the link 2001:db8::8/127: its guest has 2001:db8::9",
    ],
  ],
  [
    [links(), guest("addresses: [10.0.0.7, 10.0.0.0/16]")],
    [
      "nics[0].addresses[0]: 10.0.0.7 lies in the pool of network 't', which is cut into links and nothing else",
      "nics[0].addresses[1]: 10.0.0.0/16 lies in the pool of network 't', which is cut into links and nothing else",
    ],
  ],
  [
    [links(), guest("allowedPairs: [{ address: 192.0.2.1 }]")],
    ["nics[0].allowedPairs: a transport network has no link that guests share: an address is one NIC's ('addresses')"],
  ],
  [
    [links(), network("r", "prefix4: 10.0.0.128/25, gateway4: 10.0.0.129", "routed, uplink: eth0")],
    [
      "prefix4: 10.0.0.0/24 meets 10.0.0.128/25 of network 'r': the pool of a transport network is its alone",
      "prefix4: 10.0.0.128/25 meets 10.0.0.0/24 of network 't': the pool of a transport network is its alone",
    ],
  ],
  [
    [
      links(", prefix6: 2001:db8::/64"),
      network("r", "prefix4: 10.9.0.0/24, gateway4: 10.9.0.1, prefix6: 2001:db8::/48", "routed, uplink: eth0"),
    ],
    [
      "prefix6: 2001:db8::/64 meets 2001:db8::/48 of network 'r': the pool of a transport network is its alone",
      "prefix6: 2001:db8::/48 meets 2001:db8::/64 of network 't': the pool of a transport network is its alone",
    ],
  ],
])("%j is refused", (documents, says) => {
  expect(faultsOf(...documents)).toEqual(says);
});
