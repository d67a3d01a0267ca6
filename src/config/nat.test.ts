/** Address translation in a site file: what is read, and what is refused with its place. */
import { describe, expect, test } from "vitest";
import { GuardError } from "../model/errors.ts";
import { checkSite } from "./check.ts";
import { loadSite } from "./load.ts";

const network = (wiring: string, more = ""): string => `kind: network
name: n0
spec:
  prefix4: 10.66.0.0/24
  gateway4: 10.66.0.1
  wiring: { kind: ${wiring} }
${more}---
`;
const nat = network("nat, uplink: eth0");
const guest = (nic: string): string =>
  `kind: guest\nname: g1\nspec: { nics: [{ network: n0, address4: 10.66.0.10, ${nic} }] }\n`;
const service = (more: string): string => `services: [{ public4: 203.0.113.6, protocol: tcp, ${more} }]`;

function refusal(text: string): string {
  try {
    checkSite(loadSite(text, "site.yaml"), { networks: new Map(), groups: new Map() });
  } catch (error) {
    if (error instanceof GuardError) return error.message;
    throw error;
  }
  return "";
}

test("a nat network is read with its defaults", () => {
  const [first, second] = loadSite(nat + guest(service("ports: [80, '8000-8010']")), "site.yaml").slice(0, 2);
  expect(first?.kind === "network" && first.spec.wiring).toEqual({
    kind: "nat",
    uplink: "eth0",
    gives: "address",
    masquerade: false,
  });
  expect(second?.kind === "guest" && second.spec.nics[0]?.services).toEqual([
    {
      public4: "203.0.113.6",
      protocol: "tcp",
      ports: [
        { first: 80, last: 80 },
        { first: 8000, last: 8010 },
      ],
    },
  ]);
});

describe("a network", () => {
  test.each([
    ["nat, uplink: eth0, masquerade: true", "", ""],
    ["nat, uplink: eth0, masquerade: 203.0.113.9", "", ""],
    [
      "nat, uplink: eth0, masquerade: 10.66.0.9",
      "",
      "spec.wiring.masquerade: 10.66.0.9 is inside the network's own prefix4",
    ],
    ["nat, uplink: eth0, masquerade: 224.0.0.9", "", "spec.wiring.masquerade: 224.0.0.9 is no machine's own address"],
    ["nat, uplink: eth0, masquerade: maybe", "", "spec.wiring.masquerade"],
    [
      "nat, uplink: eth0",
      "  addressing: { kind: relay, servers: [203.0.113.9] }\n",
      "spec.addressing.kind: relay learns addresses from another server",
    ],
    [
      "nat, uplink: eth0",
      "  gatewayMac: 02:00:00:00:00:01\n",
      "spec.gatewayMac: the gateway on a nat port is the host itself",
    ],
  ])("%s", (wiring, more, says) => {
    const found = refusal(network(wiring, more));
    if (says === "") expect(found).toBe("");
    else expect(found).toContain(says);
  });
});

describe("a NIC", () => {
  const cases: readonly (readonly [nic: string, says: string, network?: string])[] = [
    ["public4: 203.0.113.5", ""],
    [`public4: 203.0.113.5, ${service("ports: [80]")}`, ""],
    [service("ports: ['8000-8010'], to: 9000"), ""],
    ["addresses: [10.66.0.11]", ""],
    ["public4: 10.66.0.5", "nics[0].public4: 10.66.0.5 is inside the network's own prefix4 10.66.0.0/24"],
    ["public4: 127.0.0.5", "nics[0].public4: 127.0.0.5 is no machine's own address"],
    [
      `public4: 203.0.113.6, ${service("ports: [80]")}`,
      "services[0].public4: all of 203.0.113.6 is this NIC's already ('public4')",
    ],
    [service("ports: [80, 443], to: 90"), "services[0].to: goes with one port or one range"],
    [service("ports: ['8000-8010'], to: 65530"), "services[0].to: 8000-8010 from 65530 on ends above port 65535"],
    [service("ports: [80, '70-90']"), "services[0].ports: 70-90 of 203.0.113.6 is written twice"],
    [service("ports: ['1-65535']"), "services: more than 4096 ports are too many for one NIC"],
    [service("ports: [0]"), '"0" is not a port'],
    ["services: [{ public4: 203.0.113.6, protocol: sctp, ports: [80] }]", "services[0].protocol"],
    [
      "addresses: [192.0.2.0/28]",
      "addresses[0]: on a nat network a guest has single IPv4 addresses inside 10.66.0.0/24",
    ],
    ["addresses: [192.0.2.1]", "addresses[0]: on a nat network"],
    ["roles: [router]", "roles: a nat network has no link that guests share"],
    [
      "public4: 203.0.113.5",
      "nics[0].public4: goes with a network of wiring nat, and 'n0' is routed",
      network("routed, uplink: eth0"),
    ],
    [
      service("ports: [80]"),
      "services[0].public4: goes with a network of wiring nat, and 'n0' is bridged",
      network("bridged, bridge: br0"),
    ],
  ];
  test.each(cases.map(([nic, says, first = nat]) => [nic, says, first] as const))("%s", (nic, says, first) => {
    const found = refusal(first + guest(nic));
    if (says === "") expect(found).toBe("");
    else expect(found).toContain(says);
  });
});
