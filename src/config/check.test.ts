/** Faults between the objects of a site, and between them and what exists. */
import { describe, expect, test } from "vitest";
import { GuardError } from "../model/errors.ts";
import type { GroupSpec } from "../model/policy.ts";
import type { NetworkSpec } from "../model/resources.ts";
import { checkSite, type ExistingSite } from "./check.ts";
import { readSite } from "./load.ts";

const nothing: ExistingSite = { networks: new Map(), groups: new Map() };

/** One object per line. */
const site = (...documents: readonly string[]): string => documents.join("\n---\n");
const network = (name: string, prefix: string, gateway: string, more = "", bridge = "br0"): string =>
  `{ kind: network, name: ${name}, spec: { prefix4: ${prefix}, gateway4: ${gateway}, wiring: { kind: bridged, bridge: ${bridge} }${more} } }`;
const lan0 = network("lan0", "10.0.0.0/24", "10.0.0.1", ", range4: [10.0.0.10-10.0.0.99]");
const web = "{ kind: group, name: web, spec: {} }";
const guest = (name: string, ...nics: readonly string[]): string =>
  `{ kind: guest, name: ${name}, spec: { nics: [${nics.join(", ")}] } }`;

/** Lines of the message, without file and column. */
function faultsOf(text: string, existing = nothing): readonly string[] {
  try {
    const { resources, locate } = readSite(text, "f");
    checkSite(resources, existing, locate);
    return [];
  } catch (error) {
    if (!(error instanceof GuardError) || error.code !== "SITE_INVALID") throw error;
    const lines = error.message.split("\n");
    return (lines.length === 1 ? lines : lines.slice(1)).map((line) => line.trim().replace(/^f:(\d+):\d+: /, "$1 "));
  }
}

function existing(text: string): ExistingSite {
  const networks = new Map<NonNullable<ReturnType<typeof nameOf>>, NetworkSpec>();
  const groups = new Map<NonNullable<ReturnType<typeof nameOf>>, GroupSpec>();
  for (const resource of readSite(text, "held").resources) {
    if (resource.kind === "network") networks.set(resource.name, resource.spec);
    if (resource.kind === "group") groups.set(resource.name, resource.spec);
  }
  return { networks, groups };
}
const nameOf = (text: string) => readSite(text, "held").resources[0]?.name;

describe("a site that holds together", () => {
  test.each([
    ["all in one file", site(lan0, web, guest("a", "{ network: lan0, groups: [web], address4: 10.0.0.200 }")), nothing],
    ["guests before what they name", site(guest("a", "{ network: lan0, groups: [web] }"), lan0, web), nothing],
    ["with what exists", guest("a", "{ network: lan0, groups: [web] }"), existing(site(lan0, web))],
    [
      "a range around the gateway",
      network("lan0", "10.0.0.0/24", "10.0.0.1", ", range4: [10.0.0.1-10.0.0.254]"),
      nothing,
    ],
    [
      "a /31",
      site(network("p2p", "10.0.0.0/31", "10.0.0.0", ", range4: [10.0.0.1]"), guest("a", "{ network: p2p }")),
      nothing,
    ],
    [
      "two ranges of one LAN",
      site(lan0, network("lan1", "10.0.0.0/24", "10.0.0.1", ", range4: [10.0.0.100-10.0.0.120]")),
      nothing,
    ],
    ["the same range on two bridges", site(lan0, lan0.replace("lan0", "lan1").replace("br0", "br1")), nothing],
    [
      "a group of itself",
      "{ kind: group, name: web, spec: { ingress: [{ protocol: tcp, from: { group: web } }] } }",
      nothing,
    ],
    [
      "a route on the link",
      network(
        "lan0",
        "10.0.0.0/24",
        "10.0.0.1",
        ", addressing: { kind: managed, routes: [{ to: 10.1.0.0/16, via: 0.0.0.0 }] }",
      ),
      nothing,
    ],
  ])("%s", (_, text, held) => {
    expect(faultsOf(text, held)).toEqual([]);
  });
});

describe("of one network", () => {
  test.each<[string, readonly string[]]>([
    [network("n", "10.0.0.0/24", "10.0.1.1"), ["1 network n: spec.gateway4: 10.0.1.1 is outside prefix4 10.0.0.0/24"]],
    [
      network("n", "10.0.0.0/24", "10.0.0.0"),
      ["1 network n: spec.gateway4: 10.0.0.0 is the network address of 10.0.0.0/24"],
    ],
    [
      network("n", "10.0.0.0/24", "10.0.0.255"),
      ["1 network n: spec.gateway4: 10.0.0.255 is the broadcast address of 10.0.0.0/24"],
    ],
    [
      network("n", "10.0.0.1/32", "10.0.0.1"),
      ["1 network n: spec.prefix4: 10.0.0.1/32 has no room for a gateway and a guest: a network is a /31 or larger"],
    ],
    [
      network("n", "224.0.0.0/8", "224.0.0.1"),
      ["1 network n: spec.prefix4: 224.0.0.0/8 meets 224.0.0.0/4, which is multicast"],
    ],
    [
      network("n", "64.0.0.0/2", "100.0.0.1"),
      [
        "1 network n: spec.prefix4: 64.0.0.0/2 is too large: a network is a /8 or smaller",
        "1 network n: spec.prefix4: 64.0.0.0/2 meets 127.0.0.0/8, which is loopback",
      ],
    ],
    [
      network("n", "10.0.0.0/24", "10.0.0.1", ", range4: [10.0.0.0-10.0.0.9]"),
      ["1 network n: spec.range4[0]: 10.0.0.0 is the network address of 10.0.0.0/24"],
    ],
    [
      network("n", "10.0.0.0/24", "10.0.0.1", ", range4: [10.0.0.9, 10.0.0.10-10.0.0.255]"),
      ["1 network n: spec.range4[1]: 10.0.0.255 is the broadcast address of 10.0.0.0/24"],
    ],
    [
      network("n", "10.0.0.0/24", "10.0.0.1", ", range4: [10.0.0.9-10.0.1.9]"),
      ["1 network n: spec.range4[0]: 10.0.1.9 is outside prefix4 10.0.0.0/24"],
    ],
    [
      network("n", "10.0.0.0/24", "10.0.0.1", ", range4: [10.0.0.5-10.0.0.9, 10.0.0.9-10.0.0.12]"),
      ["1 network n: spec.range4[1]: 10.0.0.9-10.0.0.12 overlaps 10.0.0.5-10.0.0.9 of the same network"],
    ],
    [
      network("n", "10.0.0.0/24", "10.0.0.1", ", gatewayMac: 01:00:5e:00:00:01"),
      [
        "1 network n: spec.gatewayMac: 01:00:5e:00:00:01 is a group address: the lowest bit of its first octet must be 0",
      ],
    ],
    [
      network("n", "10.0.0.0/24", "10.0.0.1").replace("br0", "br0, uplink: br0"),
      ["1 network n: spec.wiring.uplink: 'br0' is the bridge itself: name the interface towards the LAN"],
    ],
    [
      network("n", "10.0.0.0/24", "10.0.0.1", ", gatewayMac: 02:00:00:00:00:01, multicast: [224.0.0.18]").replace(
        "kind: bridged, bridge: br0",
        "kind: routed, uplink: eth0",
      ),
      [
        "1 network n: spec.gatewayMac: the gateway on a routed port is the host itself, fe:ff:ff:ff:ff:fe, fe80::1; leave it out",
        "1 network n: spec.multicast: a routed network forwards no multicast; leave it out",
      ],
    ],
    [
      network("n", "10.0.0.0/24", "10.0.0.1", ", gatewayMac: 02:00:00:00:00:01, multicast: [224.0.0.18]").replace(
        "kind: bridged",
        "kind: brouted",
      ),
      [
        "1 network n: spec.gatewayMac: the gateway on a brouted port is the host itself, fe:ff:ff:ff:ff:fe, fe80::fcff:ffff:feff:fffe; leave it out",
        "1 network n: spec.multicast: a brouted network forwards no multicast; leave it out",
      ],
    ],
    [
      network(
        "n",
        "10.0.0.0/24",
        "10.0.0.1",
        ", addressing: { kind: managed, routes: [{ to: 10.1.0.0/16, via: 10.0.0.2 }] }",
      ).replace("kind: bridged, bridge: br0", "kind: routed, uplink: eth0"),
      ["1 network n: spec.addressing.routes: guests of a routed network have one router, which decides"],
    ],
    [
      network(
        "n",
        "10.0.0.0/24",
        "10.0.0.1",
        ", addressing: { kind: managed, routes: [{ to: 10.1.0.0/16, via: 10.2.0.1 }] }",
      ),
      [
        "1 network n: spec.addressing.routes[0].via: a guest cannot reach this router: 10.2.0.1 is outside prefix4 10.0.0.0/24",
      ],
    ],
    [
      network(
        "n",
        "10.0.0.0/24",
        "10.0.0.1",
        ", addressing: { kind: managed, routes: [{ to: 0.0.0.0/0, via: 10.0.0.1 }] }",
      ),
      ["1 network n: spec.addressing.routes[0].to: the default route is gateway4 and needs no entry"],
    ],
  ])("%s", (text, faults) => {
    expect(faultsOf(lan0)).toEqual([]);
    expect(faultsOf(text)).toEqual(faults);
  });
});

describe("between objects", () => {
  const fixed = (nic: string): string => site(lan0, guest("a", `{ network: lan0, ${nic} }`));
  test.each<[string, string, readonly string[]]>([
    [
      "a network that is not there",
      site(lan0, guest("a", "{ network: lan1 }")),
      ["3 guest a: spec.nics[0].network: there is no network 'lan1'; did you mean 'lan0'?"],
    ],
    [
      "a group that is not there",
      site(lan0, web, guest("a", "{ network: lan0, groups: [web, wbe] }")),
      ["5 guest a: spec.nics[0].groups[1]: there is no group 'wbe'; did you mean 'web'?"],
    ],
    [
      "a peer that is not there",
      "{ kind: group, name: web, spec: { egress: [{ protocol: tcp, to: { group: db } }] } }",
      ["1 group web: spec.egress[0].to.group: there is no group 'db'"],
    ],
    [
      "a network's group that is not there",
      site(network("lan1", "10.1.0.0/24", "10.1.0.1", ", groups: [web, wbe]"), web),
      ["1 network lan1: spec.groups[1]: there is no group 'wbe'; did you mean 'web'?"],
    ],
    [
      "an address outside",
      fixed("address4: 10.0.1.9"),
      ["3 guest a: spec.nics[0].address4: 10.0.1.9 is outside prefix4 10.0.0.0/24"],
    ],
    [
      "the broadcast address",
      fixed("address4: 10.0.0.255"),
      ["3 guest a: spec.nics[0].address4: 10.0.0.255 is the broadcast address of 10.0.0.0/24"],
    ],
    [
      "the gateway's address",
      fixed("address4: 10.0.0.1"),
      ["3 guest a: spec.nics[0].address4: 10.0.0.1 is the gateway of network 'lan0'"],
    ],
    [
      "the gateway of another network on the bridge",
      site(lan0, network("lan1", "10.0.0.0/24", "10.0.0.2"), guest("a", "{ network: lan0, address4: 10.0.0.2 }")),
      ["5 guest a: spec.nics[0].address4: 10.0.0.2 is the gateway of network 'lan1'"],
    ],
    [
      "a group MAC",
      fixed("mac: 03:00:00:00:00:01"),
      [
        "3 guest a: spec.nics[0].mac: 03:00:00:00:00:01 is a group address: the lowest bit of its first octet must be 0",
      ],
    ],
    [
      "no MAC at all",
      fixed("mac: 00:00:00:00:00:00"),
      ["3 guest a: spec.nics[0].mac: 00:00:00:00:00:00 is no address"],
    ],
    [
      "the gateway's MAC",
      site(
        network("n", "10.0.0.0/24", "10.0.0.1", ", gatewayMac: 02:00:00:00:00:01"),
        guest("a", "{ network: n, mac: 02:00:00:00:00:01 }"),
      ),
      ["3 guest a: spec.nics[0].mac: 02:00:00:00:00:01 is the gateway's MAC"],
    ],
    [
      "one MAC for two, on whatever network",
      site(
        lan0,
        lan0.replace("lan0", "lan1").replace("br0", "br1"),
        guest("a", "{ network: lan0, mac: 02:00:00:00:00:01 }"),
        guest("b", "{ network: lan1, mac: 02-00-00-00-00-01 }"),
      ),
      ["7 guest b: spec.nics[0].mac: 02:00:00:00:00:01: NIC 0 of guest 'a' has the same (f:5:62)"],
    ],
    [
      "one address for two NICs of a guest",
      site(lan0, guest("a", "{ network: lan0, address4: 10.0.0.9 }", "{ network: lan0, address4: 10.0.0.9 }")),
      ["3 guest a: spec.nics[1].address4: 10.0.0.9: NIC 0 of guest 'a' has the same (f:3:67)"],
    ],
    [
      "one address on one bridge by two networks",
      site(
        lan0,
        network("lan1", "10.0.0.0/16", "10.0.0.1"),
        guest("a", "{ network: lan0, address4: 10.0.0.9 }"),
        guest("b", "{ network: lan1, address4: 10.0.0.9 }"),
      ),
      ["7 guest b: spec.nics[0].address4: 10.0.0.9: NIC 0 of guest 'a' has the same (f:5:67)"],
    ],
    [
      "ranges that overlap on one bridge",
      site(lan0, network("lan1", "10.0.0.0/16", "10.0.0.1", ", range4: [10.0.0.99-10.0.1.9]")),
      [
        "1 network lan0: spec.range4[0]: 10.0.0.10-10.0.0.99 overlaps 10.0.0.99-10.0.1.9 of network 'lan1' on the same bridge 'br0'",
        "3 network lan1: spec.range4[0]: 10.0.0.99-10.0.1.9 overlaps 10.0.0.10-10.0.0.99 of network 'lan0' on the same bridge 'br0'",
      ],
    ],
    [
      "a group twice",
      site(lan0, web, guest("a", "{ network: lan0, groups: [web, web] }")),
      ["5 guest a: spec.nics[0].groups[1]: 'web' is written twice"],
    ],
  ])("%s", (_, text, faults) => {
    expect(faultsOf(site(lan0, web, guest("a", "{ network: lan0, groups: [web] }")))).toEqual([]);
    expect(faultsOf(text)).toEqual(faults);
  });

  test("the same address on two bridges is two machines", () => {
    const other = lan0.replace("lan0", "lan1").replace("br0", "br1");
    const guests = [
      guest("a", "{ network: lan0, address4: 10.0.0.9 }"),
      guest("b", "{ network: lan1, address4: 10.0.0.9 }"),
    ];
    expect(faultsOf(site(lan0, other, ...guests))).toEqual([]);
  });
});

describe("with what exists", () => {
  test("a range that overlaps an existing one on its bridge", () => {
    const lan1 = network("lan1", "10.0.0.0/24", "10.0.0.1", ", range4: [10.0.0.50]");
    expect(faultsOf(lan1)).toEqual([]);
    expect(faultsOf(lan1, existing(lan0))).toEqual([
      "1 network lan1: spec.range4[0]: 10.0.0.50 overlaps 10.0.0.10-10.0.0.99 of network 'lan0' on the same bridge 'br0'",
    ]);
  });

  test("the file's network counts, not the one it replaces", () => {
    const text = site(network("lan0", "10.9.0.0/24", "10.9.0.1"), guest("a", "{ network: lan0, address4: 10.9.0.5 }"));
    expect(faultsOf(text, existing(lan0))).toEqual([]);
  });

  test("without a file the faults name objects and fields", () => {
    const { resources } = readSite(guest("a", "{ network: lan0 }"), "f");
    expect(() => checkSite(resources, nothing)).toThrow(
      expect.objectContaining({
        message: "guest a: spec.nics[0].network: there is no network 'lan0'",
        fields: { faults: 1 },
      }),
    );
  });
});
