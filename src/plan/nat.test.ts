/** What a guest inside comes to outside: by the site, by the connections the kernel knows, and in the words of `explain`. */
import { describe, expect, test } from "vitest";
import { siteOf } from "../../test/support/policy-sites.ts";
import { loadSite } from "../config/load.ts";
import type { Link } from "../kernel/links.ts";
import { parseIp } from "../model/ip-block.ts";
import { parseMac } from "../model/mac.ts";
import { parseInterfaceName } from "../model/names.ts";
import { desiredHost, type HostView, type SiteView } from "./desired.ts";
import { explainOffline } from "./explain-offline.ts";
import type { HostWish } from "./host.ts";
import { misledBy, publicAddresses } from "./nat.ts";
import { revokedBy, type TrackedFlow } from "./policy-flows.ts";
import { siteMembers } from "./policy-members.ts";
import { explainFlow } from "./policy-question.ts";
import { nicPolicyView } from "./policy-view.ts";

function sure<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError("no value");
  return value;
}
const mac = sure(parseMac("02:00:00:00:00:01"));
const link = (ifindex: number, name: string): Link => ({
  ifindex,
  name,
  mac,
  kind: "veth",
  up: true,
  master: 0,
  mtu: 1500,
  alias: "",
  bridgePort: undefined,
  carrier: true,
});
const host: HostView = {
  links: { byIndex: (ifindex) => link(ifindex, `vif${ifindex - 10}.0`), byName: (name) => link(1, name) },
  families: ["inet"],
  nat: true,
};

function desired(site: SiteView, view = host): ReturnType<typeof desiredHost> {
  const attachments = [...site.guests.keys()].map((guest, n) => ({
    port: sure(parseInterfaceName(`vif${n}.0`)),
    ifindex: n + 10,
    epoch: "now",
    guest,
    nic: 0,
    since: 0,
    fence: 1,
  }));
  return desiredHost(site, attachments, view, "now");
}

const guest = (name: string, octet: number, more: object): object => ({
  kind: "guest",
  name,
  spec: { nics: [{ network: "inside", address4: `10.66.0.${octet}`, ...more }] },
});
const services = (to = 80): readonly object[] => [{ public4: "203.0.113.6", protocol: "tcp", ports: [8080], to }];
const documents = (masquerade: boolean | string = false): readonly object[] => [
  {
    kind: "network",
    name: "inside",
    spec: {
      prefix4: "10.66.0.0/24",
      gateway4: "10.66.0.1",
      wiring: { kind: "nat", uplink: "eth0", masquerade },
      addressing: { kind: "managed", macScheme: "ip" },
      groups: ["web"],
    },
  },
  { kind: "group", name: "web", spec: { ingress: [{ protocol: "tcp", ports: [80], from: "any" }] } },
  {
    kind: "group",
    name: "out",
    spec: { egress: [{ protocol: "tcp", ports: [80], to: { prefix: "203.0.113.6/32" } }] },
  },
  guest("whole", 10, { public4: "203.0.113.5" }),
  guest("part", 11, { services: services() }),
  guest("none", 12, { groups: ["out"] }),
];
const wishOf = (masquerade?: boolean | string): HostWish => desired(siteOf(documents(masquerade))).wish;

test("every NIC is tracked, and seen outside by what it has", () => {
  const { ports } = wishOf("203.0.113.9");
  expect(ports.map(({ binding }) => binding.policy?.connections)).toEqual([8192, 8192, 8192]);
  expect(ports.map(({ binding: { nat } }) => (nat === undefined ? [] : publicAddresses(nat)))).toEqual([
    ["203.0.113.5"],
    ["203.0.113.9", "203.0.113.6"],
    ["203.0.113.9"],
  ]);
  expect(ports.map(({ routed }) => routed?.announced)).toEqual([
    ["203.0.113.5"],
    ["203.0.113.9", "203.0.113.6"],
    ["203.0.113.9"],
  ]);
  expect(wishOf(true).ports.map(({ binding }) => binding.nat?.leavesBy)).toEqual(["203.0.113.5", "uplink", "uplink"]);
});

test("where addresses cannot be translated its ports stay shut, each with the reason", () => {
  const { nat: _, ...without } = host;
  const { wish, refused } = desired(siteOf(documents()), without);
  expect(wish.ports).toEqual([]);
  expect(refused.map(({ error }) => error.code)).toEqual(["NAT_UNSUPPORTED", "NAT_UNSUPPORTED", "NAT_UNSUPPORTED"]);
  expect(
    wish.networks.map(({ routed }) => routed?.isInside),
    "and the rules are told nothing of it",
  ).toEqual([undefined]);
});

const [WHOLE, PART, NONE, LAN] = ["10.66.0.10", "10.66.0.11", "10.66.0.12", "198.51.100.7"];
const ip = (text = ""): TrackedFlow["from"] => sure(parseIp(text));
/** Opened, and answered. */
function flow(
  [from, fromPort, to, toPort]: readonly [string | undefined, number, string, number],
  [answerer, answererPort, back]: readonly [string | undefined, number, string | undefined],
): TrackedFlow {
  const reply = { from: ip(answerer), to: ip(back), fromPort: answererPort, toPort: fromPort };
  return { from: ip(from), to: ip(to), protocol: 6, fromPort, toPort, reply };
}

describe("a connection the kernel goes on translating", () => {
  test.each([
    ["to a whole address", flow([LAN, 4000, "203.0.113.5", 22], [WHOLE, 22, LAN]), false],
    ["to one that is another's now", flow([LAN, 4000, "203.0.113.5", 22], [PART, 22, LAN]), true],
    ["to a port that is offered", flow([LAN, 4000, "203.0.113.6", 8080], [PART, 80, LAN]), false],
    ["to a port that is offered no more", flow([LAN, 4000, "203.0.113.6", 8081], [PART, 80, LAN]), true],
    ["to another port behind it", flow([LAN, 4000, "203.0.113.6", 8080], [PART, 81, LAN]), true],
    ["out by its own address", flow([WHOLE, 4000, "198.51.100.7", 80], [LAN, 80, "203.0.113.5"]), false],
    [
      "out by one that is not its own any more",
      flow([WHOLE, 4000, "198.51.100.7", 80], [LAN, 80, "203.0.113.4"]),
      true,
    ],
    [
      "out of a guest that has no way out any more",
      flow([NONE, 4000, "198.51.100.7", 80], [LAN, 80, "203.0.113.3"]),
      true,
    ],
    ["to itself", flow([PART, 4000, "203.0.113.6", 8080], [PART, 80, "203.0.113.6"]), false],
    ["between guests as they are", flow([NONE, 4000, "10.66.0.11", 80], [PART, 80, NONE]), false],
    ["of somebody else's translation", flow([LAN, 4000, "203.0.113.7", 80], ["192.0.2.1", 80, LAN]), false],
  ] as const)("%s", (_, tracked, isMisled) => {
    expect(misledBy(wishOf())(tracked)).toBe(isMisled);
  });

  test("by the uplink's address, while the network says so", () => {
    const out = flow([NONE, 4000, "198.51.100.7", 80], [LAN, 80, "203.0.113.3"]);
    expect(misledBy(wishOf(true))(out)).toBe(false);
    expect(misledBy(wishOf("203.0.113.9"))(out)).toBe(true);
  });

  test.each([
    ["whole address, allowed port", flow([LAN, 40_000, "203.0.113.5", 80], [WHOLE, 80, LAN]), false],
    ["whole address, another", flow([LAN, 40_000, "203.0.113.5", 81], [WHOLE, 81, LAN]), true],
    ["the guest's port is what counts", flow([LAN, 40_000, "203.0.113.6", 8080], [PART, 80, LAN]), false],
    ["not the public one", flow([LAN, 40_000, "203.0.113.6", 80], [PART, 8080, LAN]), true],
    ["out to a prefix by the address it dials", flow([NONE, 40_000, "203.0.113.6", 8080], [PART, 80, NONE]), false],
    ["out to another", flow([NONE, 40_000, "203.0.113.5", 80], [WHOLE, 80, NONE]), true],
  ] as const)("is judged behind its address: %s", (_, tracked, isRevoked) => {
    expect(revokedBy(wishOf())(tracked)).toBe(isRevoked);
  });
});

test("a NIC that its groups leave open is described as tracked, with its bound", () => {
  const open = { kind: "group", name: "open", spec: { ingress: [{ protocol: "any", from: "any" }] } };
  const site = siteOf([...documents(), open, guest("open", 13, { groups: ["open"] })]);
  const members = siteMembers(site);
  const member = sure(members.all.find(({ name }) => name === "open/0"));
  const { state, limits } = nicPolicyView(members, member);
  expect([state, limits[0]]).toEqual(["stateful", "8192 tracked connections"]);
});

describe("explained", () => {
  const members = siteMembers(siteOf(documents()));
  const ask = (from: string, to: string): string => {
    const { flows, notes } = explainFlow(members, { from, to });
    return [...flows.map(({ sentence }) => sentence), ...notes].join("; ");
  };
  test.each([
    ["198.51.100.7", "203.0.113.5:80/tcp", "passes: 198.51.100.7 may open tcp 80 to whole/0"],
    ["198.51.100.7", "203.0.113.5:81/tcp", "dropped: policy-ingress – whole/0"],
    ["198.51.100.7", "203.0.113.6:8080/tcp", "passes: 198.51.100.7 may open tcp 80 to part/0"],
    [
      "198.51.100.7",
      "203.0.113.6:8080/tcp",
      "tcp 8080 of 203.0.113.6 leads to tcp 80 of part/0, which is what groups judge",
    ],
    [
      "198.51.100.7",
      "203.0.113.6:80/tcp",
      "nobody offers tcp 80 of 203.0.113.6: the host leads it nowhere, and it ends there",
    ],
    [
      "part",
      "198.51.100.7:443/tcp",
      "part/0 has no public address to leave by: outside its host it is dropped (untranslated)",
    ],
  ])("%s to %s: %s", (from, to, says) => {
    expect(ask(from, to)).toContain(says);
  });
  test.each([
    [
      "to-guest",
      "udp 198.51.100.7:9 > 203.0.113.5:9",
      "whole",
      "the host translates 203.0.113.5 before whole/0 is asked: what reaches its port is for 10.66.0.10",
    ],
    ["from-guest", "udp own > 198.51.100.7:9", "part", "part/0 has no public address to leave by"],
  ] as const)("a frame %s: %s", (direction, phrase, target, says) => {
    const answer = explainOffline(
      loadSite(
        documents()
          .map((one) => JSON.stringify(one))
          .join("\n---\n"),
        "site",
      ),
      { target, direction, phrase },
      (count) => new Uint8Array(count),
    );
    expect(answer.notes.join("; ")).toContain(says);
  });
  test("control: one with a public address leaves", () => {
    expect(ask("whole", "198.51.100.7:443/tcp")).not.toContain("untranslated");
  });
});
