/** Site files that are right, and what an operator reads about those that are not. */
import { describe, expect, test } from "vitest";
import { GuardError } from "../model/errors.ts";
import { loadSite, readSite } from "./load.ts";

/** The site of the design page, without IPv6. */
const site = `
kind: network
name: lan0
spec:
  prefix4: 203.0.113.0/24
  gateway4: 203.0.113.1
  range4: [203.0.113.10-203.0.113.250]
  wiring: { kind: bridged, bridge: br0, uplink: eth0 }
  addressing: { kind: managed, leaseSeconds: 600, dns: [203.0.113.2], macScheme: ip }
---
kind: group
name: web
spec:
  ingress:
    - { protocol: tcp, ports: [80, 443, "8000-8100"], from: any }
    - { protocol: 17, from: { group: web } }
  egress:
    - { protocol: icmp, to: network }
    - { protocol: 89, to: { prefix: 10.0.0.0/8 } }
---
kind: guest
name: web1
spec:
  nics:
    - { network: lan0, groups: [web] }
    - { network: lan0, mac: 02-00-5E-10-00-01, address4: 203.0.113.99 }
`;

function refusal(text: string, path = "site.yaml"): GuardError {
  try {
    loadSite(text, path);
  } catch (error) {
    if (error instanceof GuardError) return error;
    throw error;
  }
  throw new Error("the file was accepted");
}

/** Reads its positive control first, so that only what the test adds can be the reason. */
function messageOf(text: string): string {
  expect(loadSite(site, "site.yaml")).toHaveLength(3);
  return refusal(text).message;
}

const network = (spec: string): string => `kind: network\nname: lan0\nspec:\n${spec.replace(/^/gm, "  ")}\n`;
const lan = `prefix4: 10.0.0.0/24
gateway4: 10.0.0.1
wiring: { kind: bridged, bridge: br0 }`;
/** What a NIC that names nothing of it is read with. */
const bare = { addresses: [], allowedPairs: [], roles: [], unchecked: [], rates: {} };
const one = (port: number) => ({ first: port, last: port });
const guest = (nic: string): string => `kind: guest\nname: web1\nspec:\n  nics:\n    - ${nic}\n`;

describe("a site that is right", () => {
  test("is read with every default filled in", () => {
    const addressing = {
      kind: "managed",
      leaseSeconds: 600,
      macScheme: "ip",
      dns: ["203.0.113.2"],
      dns6: [],
      ntp: [],
      search: [],
      routes: [],
    };
    const open = {
      hostServices: [],
      multicast: [],
      suppression: true,
      mode: "enforce",
      rates: {},
      groups: [],
      connections: 8192,
    };
    expect(loadSite(site, "site.yaml")).toEqual([
      {
        kind: "network",
        name: "lan0",
        spec: {
          prefix4: "203.0.113.0/24",
          gateway4: "203.0.113.1",
          range4: [{ first: "203.0.113.10", last: "203.0.113.250" }],
          ...open,
          wiring: { kind: "bridged", bridge: "br0", uplink: "eth0" },
          addressing,
        },
      },
      {
        kind: "group",
        name: "web",
        spec: {
          ingress: [
            {
              service: { kind: "tcp", ports: [one(80), one(443), { first: 8000, last: 8100 }] },
              peer: { kind: "any" },
            },
            { service: { kind: "udp", ports: [] }, peer: { kind: "group", group: "web" } },
          ],
          egress: [
            { service: { kind: "icmp" }, peer: { kind: "network" } },
            { service: { kind: "protocol", number: 89 }, peer: { kind: "prefix4", prefix: "10.0.0.0/8" } },
          ],
        },
      },
      {
        kind: "guest",
        name: "web1",
        spec: {
          nics: [
            { network: "lan0", ...bare, groups: ["web"] },
            { network: "lan0", mac: "02:00:5e:10:00:01", address4: "203.0.113.99", ...bare, groups: [] },
          ],
        },
      },
    ]);
  });

  test("needs no more than the network's own fields", () => {
    expect(loadSite(network(lan), "site.yaml")[0]?.spec).toMatchObject({
      range4: [],
      addressing: { kind: "managed", leaseSeconds: 3600, macScheme: "random", dns: [] },
    });
  });

  test.each([
    ["one object", '{"kind": "group", "name": "a", "spec": {}}'],
    ["a list, with tabs", '[\n\t{"kind": "group",\n\t\t"name": "a", "spec": {}}\n]'],
    ["YAML with empty documents around it", "---\n---\nkind: group\nname: a\nspec: {}\n---\n# the end\n"],
    ["YAML with a byte order mark", "\uFEFFkind: group\nname: a\nspec: {}\n"],
  ])("may be JSON or YAML: %s", (_, text) => {
    expect(loadSite(text, "site")).toEqual([{ kind: "group", name: "a", spec: { ingress: [] } }]);
  });

  test("may use aliases, in measure", () => {
    const text = guest("&nic { network: lan0 }\n    - *nic");
    expect(loadSite(text, "site.yaml")[0]?.spec).toEqual({
      nics: [
        { network: "lan0", ...bare, groups: [] },
        { network: "lan0", ...bare, groups: [] },
      ],
    });
  });

  test("tells where its fields stand", () => {
    const { locate } = readSite(site, "site.yaml");
    expect(locate({ kind: "guest", name: "web1" }, ["spec", "nics", 1, "address4"])).toEqual({
      path: "site.yaml",
      line: 26,
      column: 58,
    });
    expect(locate({ kind: "guest", name: "web2" }, [])).toBeUndefined();
  });
});

describe("the guard's settings", () => {
  test("of a network", () => {
    const text = network(
      `${lan}
prefix6: 2001:db8:0::/64
gateway6: FE80::1
hostServices: [{ protocol: udp, ports: [53, 123] }, { protocol: icmp }, { protocol: 112 }]
multicast: [224.0.0.18, "ff02::12"]
groups: [web, base]
connections: 1000000
suppression: false
mode: observe
rates: { arp: 7, bytes: { perSecond: 1000, burst: 9000 } }
addressing: { kind: managed, dns6: ["2001:db8::53"] }`,
    );
    expect(loadSite(text, "site.yaml")[0]?.spec).toMatchObject({
      prefix6: "2001:db8::/64",
      gateway6: "fe80::1",
      hostServices: [
        { protocol: "udp", ports: [53, 123] },
        { protocol: "icmp", ports: [] },
        { protocol: 112, ports: [] },
      ],
      multicast: ["224.0.0.18", "ff02::12"],
      groups: ["web", "base"],
      connections: 1_000_000,
      suppression: false,
      mode: "observe",
      rates: { arp: { perSecond: 7, burst: 14 }, bytes: { perSecond: 1000, burst: 9000 } },
      addressing: { dns6: ["2001:db8::53"] },
    });
  });

  test("of a NIC", () => {
    const text = guest(
      '{ network: lan0, address6: "2001:db8::9", addresses: [10.0.0.9, 10.1.0.0/24, "2001:db8:1::/64"], allowedPairs: [{ address: 10.0.0.99, mac: 00-00-5E-00-01-33 }], roles: [router], unchecked: [dest-mac], mode: enforce, rates: { syn: 5, toGuestPackets: 9, toGuestBytes: { perSecond: 70000000000, burst: 1 } }, connections: 1 }',
    );
    expect(loadSite(text, "site.yaml")[0]?.spec).toMatchObject({
      nics: [
        {
          address6: "2001:db8::9",
          addresses: [
            { kind: "address4", address: "10.0.0.9" },
            { kind: "prefix4", prefix: "10.1.0.0/24" },
            { kind: "prefix6", prefix: "2001:db8:1::/64" },
          ],
          allowedPairs: [{ what: { kind: "address4", address: "10.0.0.99" }, mac: "00:00:5e:00:01:33" }],
          roles: ["router"],
          unchecked: ["dest-mac"],
          mode: "enforce",
          rates: {
            syn: { perSecond: 5, burst: 10 },
            toGuestPackets: { perSecond: 9, burst: 18 },
            toGuestBytes: { perSecond: 70_000_000_000, burst: 1 },
          },
          connections: 1,
        },
      ],
    });
  });

  test.each<[string, string, RegExp]>([
    ["prefix6 with host bits", "prefix6: 2001:db8::1/64", /spec\.prefix6: .*host bits/],
    [
      "prefix6 that is multicast",
      "prefix6: ff00::/16",
      /spec\.prefix6: ff00::\/16 meets ff00::\/8, which is multicast/,
    ],
    ["prefix6 that is link-local", "prefix6: fe80::/64", /spec\.prefix6: .* is link-local/],
    ["prefix6 of one address", "prefix6: 2001:db8::1/128", /spec\.prefix6: .* has no room for a guest/],
    ["gateway6 alone", "gateway6: fe80::1", /spec\.gateway6: goes with prefix6, which is not here/],
    [
      "gateway6 that is no router's address",
      "prefix6: 2001:db8::/64\ngateway6: 2001:db8::1",
      /spec\.gateway6: .* is not link-local/,
    ],
    [
      "an MTU that IPv6 cannot have",
      "prefix6: 2001:db8::/64\naddressing: { kind: managed, mtu: 1200 }",
      /spec\.addressing\.mtu: IPv6 needs 1280 at least, not 1200/,
    ],
    ["tcp without ports", "hostServices: [{ protocol: tcp }]", /hostServices\[0\]\.ports: tcp needs its ports/],
    ["icmp with ports", "hostServices: [{ protocol: icmp, ports: [8] }]", /ports go with tcp or udp, not with icmp/],
    ["a protocol that is none", "hostServices: [{ protocol: tpc }]", /hostServices\[0\]\.protocol: "tpc"/],
    ["a group that is none", "multicast: [10.0.0.1]", /spec\.multicast\[0\]: 10\.0\.0\.1 is not a multicast group/],
    ["a mode that is none", "mode: observ", /spec\.mode: "observ" .*did you mean 'observe'/],
    ["a share that is none", "rates: { arps: 5 }", /spec\.rates\.arps: there is no such field; did you mean 'arp'/],
    ["a share of nothing", "rates: { arp: 0 }", /spec\.rates\.arp/],
    ["no connections at all", "connections: 0", /spec\.connections: must be at least 1, not 0/],
    ["more connections than there can be", "connections: 1000001", /spec\.connections: must be at most 1000000/],
    ["a group twice", "groups: [web, web]", /spec\.groups\[1\]: 'web' is written twice/],
    ["a word for a switch", "suppression: maybe", /spec\.suppression: must be/],
  ])("of a network, wrong: %s", (_, more, words) => {
    expect(messageOf(network(`${lan}\n${more}`))).toMatch(words);
  });

  test.each<[string, string, RegExp]>([
    [
      "an address nobody has",
      "addresses: [224.0.0.1]",
      /nics\[0\]\.addresses\[0\]: 224\.0\.0\.1 is no machine's own address/,
    ],
    ["the unspecified address", 'addresses: ["::"]', /addresses\[0\]: :: is no machine's own address/],
    [
      "a pair with a group MAC",
      "allowedPairs: [{ address: 10.0.0.9, mac: 01:00:5e:00:00:01 }]",
      /allowedPairs\[0\]\.mac: .* group address/,
    ],
    ["a pair without address", "allowedPairs: [{ mac: 02:00:5e:00:00:01 }]", /allowedPairs\[0\]\.address: is missing/],
    ["a role that is none", "roles: [dhcp]", /roles\[0\]: "dhcp"/],
    ["a line that cannot be switched off", "unchecked: [mac-source]", /unchecked\[0\]: "mac-source"/],
  ])("of a NIC, wrong: %s", (_, more, words) => {
    expect(messageOf(guest(`{ network: lan0, ${more} }`))).toMatch(words);
  });
});

describe("one fault is one line", () => {
  test.each<[string, string, string]>([
    [
      "a field that does not exist",
      network(lan.replace("bridge:", "brigde:")),
      "site.yaml:6:28: network lan0: spec.wiring.brigde: there is no such field; did you mean 'bridge'?",
    ],
    [
      "a field like no other",
      network(`${lan}\ncolour: red`),
      "site.yaml:7:3: network lan0: spec.colour: there is no such field (there are: prefix4, gateway4, range4, gatewayMac, prefix6, gateway6, hostServices, multicast, suppression, mode, rates, groups, connections, coolDown, wiring, addressing)",
    ],
    [
      "a field beside spec",
      `${network(lan)}metadata: {}\n`,
      "site.yaml:7:1: network lan0: metadata: there is no such field (there are: kind, name, spec)",
    ],
    [
      "status",
      `${network(lan)}status: {}\n`,
      "site.yaml:7:1: network lan0: status: is what vifguard tells, not what is declared; leave it out",
    ],
    [
      "a key of JavaScript",
      network(`${lan}\n__proto__: {a: 1}`),
      "site.yaml:7:3: network lan0: spec.__proto__: there is no such field (there are: prefix4, gateway4, range4, gatewayMac, prefix6, gateway6, hostServices, multicast, suppression, mode, rates, groups, connections, coolDown, wiring, addressing)",
    ],
    [
      "a missing field",
      network(lan.replace(/^gateway4.*\n/m, "")),
      "site.yaml:4:3: network lan0: spec.gateway4: is missing (IPv4 address)",
    ],
    [
      "an empty field",
      network(lan.replace("10.0.0.1", "")),
      "site.yaml:5:13: network lan0: spec.gateway4: is empty: give it a value (IPv4 address) or leave the field out",
    ],
    [
      "a missing kind",
      "name: a\nspec: {}\n",
      "site.yaml:1:1: document 1: kind: is missing: a document is {kind: network | group | guest, name, spec}",
    ],
    [
      "an unknown kind",
      "kind: gest\nname: a\nspec: {}\n",
      "site.yaml:1:7: document 1: kind: \"gest\" is no kind (there are: network, group, guest); did you mean 'guest'?",
    ],
    [
      "a document that is no object",
      "- hello\n",
      'site.yaml:1:3: document 1: a document is {kind: network | group | guest, name, spec}, not "hello"',
    ],
    [
      "a name that is a number",
      "kind: group\nname: 12\nspec: {}\n",
      'site.yaml:2:7: group (document 1): name: must be text: write "12" in quotes',
    ],
    [
      "text for a list",
      network(`${lan}\nrange4: 10.0.0.2-10.0.0.9`),
      'site.yaml:7:11: network lan0: spec.range4: must be a list (list of IPv4 range), not "10.0.0.2-10.0.0.9"',
    ],
    [
      "text for a number",
      network(`${lan}\naddressing: { kind: managed, leaseSeconds: 1h }`),
      'site.yaml:7:46: network lan0: spec.addressing.leaseSeconds: must be a number (number 10-31536000), not "1h"',
    ],
    [
      "a number out of bounds",
      network(`${lan}\naddressing: { kind: managed, mtu: 100 }`),
      "site.yaml:7:37: network lan0: spec.addressing.mtu: must be at least 576, not 100",
    ],
    [
      "a word that is none of the choices",
      network(`${lan}\naddressing: { kind: managed, macScheme: ipp }`),
      "site.yaml:7:43: network lan0: spec.addressing.macScheme: \"ipp\" is not ip or net or random; did you mean 'ip'?",
    ],
    [
      "an empty list of NICs",
      "kind: guest\nname: a\nspec: { nics: [] }\n",
      "site.yaml:3:15: guest a: spec.nics: must have at least 1 entry, not 0",
    ],
    [
      "host bits in a prefix",
      network(lan.replace("10.0.0.0/24", "10.0.0.1/24")),
      "site.yaml:4:12: network lan0: spec.prefix4: \"10.0.0.1/24\" has host bits set; did you mean '10.0.0.0/24'?",
    ],
    [
      "a prefix without length",
      network(lan.replace("/24", "")),
      'site.yaml:4:12: network lan0: spec.prefix4: "10.0.0.0" is not an IPv4 prefix such as 203.0.113.0/24',
    ],
    [
      "leading zeros",
      guest("{ network: lan0, address4: 10.0.0.010 }"),
      'site.yaml:5:34: guest web1: spec.nics[0].address4: "10.0.0.010" is not an IPv4 address such as 203.0.113.10 (four numbers 0-255 without leading zeros)',
    ],
    [
      "a range the wrong way round",
      network(`${lan}\nrange4: [10.0.0.9-10.0.0.2]`),
      'site.yaml:7:12: network lan0: spec.range4[0]: "10.0.0.9-10.0.0.2" is not an IPv4 range such as 203.0.113.10-203.0.113.250 (first not above last) or one address',
    ],
    [
      "a short MAC",
      guest("{ network: lan0, mac: 02:00:00:00:01 }"),
      'site.yaml:5:29: guest web1: spec.nics[0].mac: "02:00:00:00:01" is not a MAC address such as 02:00:5e:10:00:01',
    ],
    [
      "a mistyped field that was required",
      guest("{ netwrk: lan0 }"),
      "site.yaml:5:9: guest web1: spec.nics[0].netwrk: there is no such field; did you mean 'network'?",
    ],
    [
      "an object twice",
      "kind: group\nname: a\nspec: {}\n---\nkind: group\nname: a\nspec: {}\n",
      "site.yaml:6:7: group a: name: is declared twice; the first is at site.yaml:1:1",
    ],
    ["a key twice", "kind: group\nname: a\nname: b\nspec: {}\n", "site.yaml:3:1: the field is written twice"],
    ["an empty file", "# nothing yet\n", "site.yaml:1:1: there is no object in the file"],
    [
      "broken YAML",
      "kind: [group\n",
      "site.yaml:2:1: cannot be read: Flow sequence in block collection must be sufficiently indented and end with a ]",
    ],
    [
      "a tag",
      "kind: group\nname: a\nspec: !!js/function {}\n",
      "site.yaml:3:7: cannot be read: Unresolved tag: tag:yaml.org,2002:js/function",
    ],
    [
      "an alias to nothing",
      "kind: *group\n",
      "site.yaml:1:1: cannot be read: Unresolved alias (the anchor must be set before the alias): group",
    ],
  ])("%s", (_, text, message) => {
    expect(messageOf(text)).toBe(message);
  });

  const rule = (text: string): string => `kind: group\nname: web\nspec:\n  ingress:\n    - ${text}\n`;
  test.each<[string, string]>([
    [
      "{ protocol: tcpp, from: any }",
      "site.yaml:5:19: group web: spec.ingress[0].protocol: \"tcpp\" is not any, tcp, udp, icmp, icmpv6 or a protocol number 1-255; did you mean 'tcp'?",
    ],
    [
      "{ protocol: 256, from: any }",
      'site.yaml:5:19: group web: spec.ingress[0].protocol: "256" is not any, tcp, udp, icmp, icmpv6 or a protocol number 1-255',
    ],
    [
      "{ protocol: tcp, ports: [0], from: any }",
      'site.yaml:5:32: group web: spec.ingress[0].ports[0]: "0" is not a port 1-65535 or a range such as "8000-8100" (first not above last)',
    ],
    [
      "{ protocol: tcp, ports: [9-8], from: any }",
      'site.yaml:5:32: group web: spec.ingress[0].ports[0]: "9-8" is not a port 1-65535 or a range such as "8000-8100" (first not above last)',
    ],
    [
      "{ protocol: icmp, ports: [8], from: any }",
      "site.yaml:5:32: group web: spec.ingress[0].ports: ports go with tcp or udp, not with icmp",
    ],
    [
      "{ protocol: tcp }",
      "site.yaml:5:7: group web: spec.ingress[0].from: is missing (any | network | {group} | {prefix})",
    ],
    [
      "{ protocol: tcp, to: any }",
      "site.yaml:5:24: group web: spec.ingress[0].to: there is no such field; did you mean 'from'?",
    ],
    [
      "{ protocol: tcp, from: ani }",
      "site.yaml:5:30: group web: spec.ingress[0].from: \"ani\" is not any | network | {group} | {prefix}; did you mean 'any'?",
    ],
    [
      "{ protocol: tcp, from: { grup: web } }",
      "site.yaml:5:32: group web: spec.ingress[0].from.grup: there is no such field; did you mean 'group'?",
    ],
    [
      "{ protocol: tcp, from: { group: web, prefix: 10.0.0.0/8 } }",
      "site.yaml:5:30: group web: spec.ingress[0].from: must name one of group and prefix",
    ],
    ...(
      [
        ["{ protocol: any, ports: [8], from: any }", "31 ports", "ports go with tcp or udp, not with any"],
        ["{ protocol: 17, ports: [80, 90-99, 95], from: any }", "42 ports[2]", "95 overlaps 90-99 of the same rule"],
        ["{ protocol: tcp, ports: [80, 80], from: any }", "36 ports[1]", "80 overlaps 80 of the same rule"],
        [
          "{ protocol: tcp, ports: [65536], from: any }",
          "32 ports[0]",
          '"65536" is not a port 1-65535 or a range such as "8000-8100" (first not above last)',
        ],
        ["{ protocol: tcp, ports: [], from: any }", "31 ports", "must have at least 1 entry, not 0"],
        ["{ protocol: tcp, type: 8, from: any }", "30 type", "a type goes with icmp or icmpv6, not with tcp"],
        ["{ protocol: 47, code: 0, from: any }", "29 code", "a code goes with icmp or icmpv6, not with 47"],
        ["{ protocol: icmp, code: 0, from: any }", "31 code", "a code needs its type"],
        ["{ protocol: icmp, type: 8, code: 256, from: any }", "40 code", "must be at most 255, not 256"],
        [
          "{ protocol: icmp, type: 3, from: any }",
          "31 type",
          "type 3 of icmp is an error: it passes with the flow that it speaks of",
        ],
        [
          "{ protocol: 1, type: 11, from: any }",
          "28 type",
          "type 11 of icmp is an error: it passes with the flow that it speaks of",
        ],
        [
          "{ protocol: 58, type: 2, from: any }",
          "29 type",
          "type 2 of icmpv6 is an error: it passes with the flow that it speaks of",
        ],
        [
          "{ protocol: icmp, type: 0, from: any }",
          "31 type",
          "type 0 of icmp is an answer: it passes with the flow of its question",
        ],
        [
          "{ protocol: icmpv6, type: 134, from: any }",
          "33 type",
          "type 134 of icmpv6 is the link's own business, which the guard judges and no group",
        ],
        [
          "{ protocol: icmpv6, type: 143, from: any }",
          "33 type",
          "type 143 of icmpv6 is the link's own business, which the guard judges and no group",
        ],
        [
          "{ protocol: icmpv6, type: 8, from: any }",
          "33 type",
          "type 8 of icmpv6 opens no flow; there is: echo-request (128)",
        ],
        [
          "{ protocol: icmpv6, type: echo, from: any }",
          "33 type",
          '"echo" is no type that opens a flow of icmpv6 (there is: echo-request, or its number)',
        ],
        [
          "{ protocol: icmp, type: __proto__, from: any }",
          "31 type",
          '"__proto__" is no type that opens a flow of icmp (there is: echo-request, timestamp-request, information-request, address-mask-request, or its number)',
        ],
        ["{ protocol: 0, from: any }", "19 protocol", '"0" is an extension header of IPv6, not a service'],
        ["{ protocol: 2, from: any }", "19 protocol", "\"2\" is IGMP: what the network's 'multicast' allows"],
        [
          "{ protocol: icmpv6, from: { prefix: 10.0.0.0/8 } }",
          "43 from.prefix",
          "10.0.0.0/8 is IPv4, and icmpv6 is IPv6's",
        ],
        [
          "{ protocol: icmp, from: { prefix: 2001:db8::/32 } }",
          "41 from.prefix",
          "2001:db8::/32 is IPv6, and icmp is IPv4's: icmpv6",
        ],
        [
          "{ protocol: tcp, from: { prefix: 10.0.0.1/8 } }",
          "40 from.prefix",
          "\"10.0.0.1/8\" has host bits set; did you mean '10.0.0.0/8'?",
        ],
        [
          "{ protocol: tcp, from: { prefix: 2001:db8::1/32 } }",
          "40 from.prefix",
          "\"2001:db8::1/32\" has host bits set; did you mean '2001:db8::/32'?",
        ],
        [
          "{ protocol: tcp, from: { prefix: 10.0.0.1 } }",
          "40 from.prefix",
          "\"10.0.0.1\" is one address; did you mean '10.0.0.1/32'?",
        ],
        [
          "{ protocol: tcp, from: { prefix: 224.0.0.0/4 } }",
          "40 from.prefix",
          "\"224.0.0.0/4\" is multicast or reserved: no group judges it, but what the network's 'multicast' allows",
        ],
        [
          "{ protocol: tcp, from: { prefix: ff02::/16 } }",
          "40 from.prefix",
          "\"ff02::/16\" is multicast or reserved: no group judges it, but what the network's 'multicast' allows",
        ],
      ] as const
    ).map(([text, at, says]): [string, string] => {
      const [column = "", field = ""] = at.split(" ");
      return [text, `site.yaml:5:${column}: group web: spec.ingress[0].${field}: ${says}`];
    }),
    [
      "{ protocol: tcp, ports: [443, 80], from: any }\n    - { protocol: 6, ports: [80, 443], from: any }",
      "site.yaml:6:7: group web: spec.ingress[1]: says the same as spec.ingress[0]",
    ],
  ])("of a rule: %s", (text, message) => {
    expect(messageOf(rule(text))).toBe(message);
  });
});

test("rules say one thing in one form, whatever they were written as", () => {
  const text = `kind: group
name: web
spec:
  ingress:
    - { protocol: any, from: network }
    - { protocol: 6, ports: ["443", 80, 8000-8100], from: { prefix: "2001:DB8::/32" } }
    - { protocol: icmp, type: echo-request, from: { prefix: 203.0.113.0/24 } }
    - { protocol: 58, type: "128", code: 0, from: any }
    - { protocol: icmp, from: any }
    - { protocol: 132, from: { prefix: "ff::/16" } }
  egress: []
`;
  expect(loadSite(text, "site.yaml")[0]?.spec).toEqual({
    ingress: [
      { service: { kind: "any" }, peer: { kind: "network" } },
      {
        service: { kind: "tcp", ports: [one(80), one(443), { first: 8000, last: 8100 }] },
        peer: { kind: "prefix6", prefix: "2001:db8::/32" },
      },
      { service: { kind: "icmp", type: 8 }, peer: { kind: "prefix4", prefix: "203.0.113.0/24" } },
      { service: { kind: "icmpv6", type: 128, code: 0 }, peer: { kind: "any" } },
      { service: { kind: "icmp" }, peer: { kind: "any" } },
      { service: { kind: "protocol", number: 132 }, peer: { kind: "prefix6", prefix: "ff::/16" } },
    ],
    egress: [],
  });
});

describe("what the design names and this version does not do is refused in words", () => {
  test.each([
    ["bridged, uplink: eth0", "bridge: is missing (interface name)"],
    ["routed", "uplink: is missing (interface name): there the host answers for its guests"],
    ["routed, uplink: eth0, bridge: br0", "bridge: goes with bridged; leave it out"],
    ["bridged, bridge: br0, gives: prefix", "gives: goes with routed and nat; leave it out"],
    ["bridged, bridge: br0, masquerade: true", "masquerade: goes with nat; leave it out"],
    ["routed, uplink: eth0, masquerade: true", "masquerade: goes with nat; leave it out"],
    ["nat", "uplink: is missing (interface name): there the host answers for public addresses"],
    ["nat, uplink: eth0, masquerade: 10.0.0.7", "masquerade: 10.0.0.7 is inside the network's own prefix4"],
    ["nat, uplink: eth0, link4: 31", "link4: goes with transport; leave it out"],
    ["brouted", "bridge: is missing (interface name)"],
    ["brouted, bridge: br0, uplink: eth0", "uplink: is the bridge itself; leave it out"],
    ["brouted, bridge: br0, gives: prefix", "gives: goes with routed and nat; leave it out"],
    ["brouted, bridge: br0, masquerade: true", "masquerade: goes with nat; leave it out"],
    ["bridged, bridge: br0, link4: 30", "link4: goes with transport; leave it out"],
    ["routed, uplink: eth0, link4: 31", "link4: goes with transport; leave it out"],
    ["transport", "uplink: is missing (interface name): by it the host routes for its guests"],
    ["transport, uplink: eth0, bridge: br0", "bridge: goes with bridged; leave it out"],
    ["transport, uplink: eth0, gives: prefix", "gives: goes with routed and nat; leave it out"],
    ["transport, uplink: eth0, masquerade: true", "masquerade: goes with nat; leave it out"],
    ["transport, uplink: eth0, link4: 29", "link4: 29 is not 30 or 31"],
  ])("wiring %s: what each kind needs, and what goes with another", (wiring, says) => {
    expect(messageOf(network(lan.replace("bridged, bridge: br0", wiring)))).toContain(
      `network lan0: spec.wiring.${says}`,
    );
  });
  test("a transport network is read with its defaults, and needs no gateway: every link has its own", () => {
    const text = network(lan.replace("bridged, bridge: br0", "transport, uplink: eth0").replace(/^gateway4.*\n/m, ""));
    const [resource] = loadSite(text, "site.yaml");
    expect(resource?.kind === "network" && resource.spec).toMatchObject({
      gateway4: "10.0.0.0",
      wiring: { kind: "transport", uplink: "eth0", link4: 31 },
    });
    expect(messageOf(network(lan.replace("bridged, bridge: br0", "transport, uplink: eth0")))).toBe(
      "site.yaml:5:13: network lan0: spec.gateway4: a transport network has no gateway of its own: each guest's is the left-hand address of its link; leave it out",
    );
  });
  test("a missing gateway is told together with what else is wrong, and not where the wiring alone is", () => {
    const without = lan.replace(/^gateway4.*\n/m, "");
    expect(messageOf(network(`${without}\nmode: wild`))).toMatch(/2 faults[\s\S]*gateway4: is missing[\s\S]*mode/);
    expect(messageOf(network(without.replace("bridged, bridge: br0", "transport")))).not.toContain("gateway4");
  });
  test("a routed network is read with its defaults", () => {
    const [resource] = loadSite(network(lan.replace("bridged, bridge: br0", "routed, uplink: eth0")), "site.yaml");
    expect(resource?.kind === "network" && resource.spec.wiring).toEqual({
      kind: "routed",
      uplink: "eth0",
      gives: "address",
    });
  });
  test("range6", () => {
    expect(messageOf(network(`${lan}\nrange6: [2001:db8::1-2001:db8::2]`))).toBe(
      "site.yaml:7:3: network lan0: spec.range6: a range of IPv6 addresses is not in this version; leave the field out",
    );
  });
});

describe("text that could do harm elsewhere is refused by rule and shown escaped", () => {
  const rule =
    "a name: 1 to 63 of the small letters a-z, digits, '.' and '-', beginning and ending with a letter or digit";
  test.each([
    ["web;reboot", '"web;reboot"'],
    ["web }; flush ruleset", '"web }; flush ruleset"'],
    ["$(reboot)", '"$(reboot)"'],
    ["../../etc", '"../../etc"'],
    ["a\nb", String.raw`"a\nb"`],
    ["a\u001b[31m", String.raw`"a\u001b[31m"`],
    ["a\u202egnp", String.raw`"a\u202egnp"`],
    ["a\u0000", String.raw`"a\u0000"`],
    ["ä", String.raw`"\u00e4"`],
    ["", '""'],
    ["a".repeat(64), `"${"a".repeat(60)}"… (64 characters)`],
  ])("a name: %j", (name, shown) => {
    const text = JSON.stringify({ kind: "group", name, spec: {} });
    expect(messageOf(text)).toBe(`site.yaml:1:24: group ${shown}: name: ${shown} is not ${rule}`);
    expect(loadSite(JSON.stringify({ kind: "group", name: "a".repeat(63), spec: {} }), "site.yaml")).toHaveLength(1);
  });

  test.each(["br0; reboot", 'br"0', "br0 br1", "br/0", "abcdefghijklmnop", "-br0", "br0\n"])(
    "an interface: %j",
    (bridge) => {
      const spec = { prefix4: "10.0.0.0/24", gateway4: "10.0.0.1", wiring: { kind: "bridged", bridge } };
      const text = JSON.stringify({ kind: "network", name: "lan0", spec });
      expect(messageOf(text)).toContain(
        `spec.wiring.bridge: ${JSON.stringify(bridge)} is not an interface name: 1 to 15 of letters, digits, '_', '.' and '-', not beginning with '.' or '-'`,
      );
    },
  );

  test("a field's name and the file's own name", () => {
    const error = refusal('{"kind": "group", "name": "a", "spec": {"\\u001b[2J": 1}}', "a\u001b[31m.yaml");
    expect(error.message).toBe(
      String.raw`a\u001b[31m.yaml:1:41: group a: spec."\u001b[2J": there is no such field (there are: ingress, egress)`,
    );
  });
});

describe("several faults", () => {
  test("are told all at once, in the order of the file, with the place of the first in the fields", () => {
    const text = `${guest("{ network: LAN, mac: x }")}---\n${network(lan.replace("prefix4:", "prefix:"))}---\nkind: x\n`;
    const error = refusal(text, "a.yaml");
    expect(error.message.split("\n")).toEqual([
      "a.yaml has 4 faults:",
      "  a.yaml:5:18: guest web1: spec.nics[0].network: \"LAN\" is not a name: 1 to 63 of the small letters a-z, digits, '.' and '-', beginning and ending with a letter or digit",
      '  a.yaml:5:28: guest web1: spec.nics[0].mac: "x" is not a MAC address such as 02:00:5e:10:00:01',
      "  a.yaml:10:3: network lan0: spec.prefix: there is no such field; did you mean 'prefix4'?",
      '  a.yaml:14:7: document 3: kind: "x" is no kind (there are: network, group, guest)',
    ]);
    expect(error).toMatchObject({ code: "SITE_INVALID", fields: { path: "a.yaml", line: 5, column: 18, faults: 4 } });
  });

  test("of form and of content stand in one list", () => {
    expect(refusal("kind: group\nname: A\nspec: {}\n---\na: [\n").message).toMatch(/^site.yaml has 2 faults:/);
  });

  test("beyond two hundred are counted", () => {
    const error = refusal(Array.from({ length: 250 }, () => "kind: x\n").join("---\n"));
    expect(error.message.split("\n")).toHaveLength(202);
    expect(error.message).toMatch(/\n {2}and 50 more$/);
  });
});

describe("a file that would cost more than its length", () => {
  test.each([20_000, 200_000])("nested %i deep", (depth) => {
    expect(messageOf("[".repeat(depth))).toBe("site.yaml:1:33: more than 32 levels of nesting");
    expect(messageOf("{a: ".repeat(depth))).toContain("more than 32 levels of nesting");
    expect(messageOf("- ".repeat(depth))).toContain("more than 32 levels of nesting");
  });

  test("with aliases of aliases", () => {
    const lines = Array.from({ length: 9 }, (_, n) => `a${n + 1}: &a${n + 1} [${Array(9).fill(`*a${n}`).join(", ")}]`);
    expect(messageOf(["a0: &a0 [x]", ...lines].join("\n"))).toContain("Excessive alias count");
  });

  test("with one object of very many fields", () => {
    const text = Array.from({ length: 100_000 }, (_, n) => `a${n}: 1`).join("\n");
    expect(messageOf(text)).toBe("site.yaml:1:1: more than 1024 fields in one place");
  });

  test("with more objects than a file may have", () => {
    const text = `[${Array(65_537).fill("1").join(",")}]`;
    expect(messageOf(text)).toContain("the file has 65537 objects; at most 65536 are read");
  });
});
