/** Networks whose addresses other DHCP servers give, as they are written. */
import { describe, expect, test } from "vitest";
import { checkSite } from "./check.ts";
import { toDocument } from "./document.ts";
import { loadSite } from "./load.ts";

const network = (addressing: string, more = "", wiring = "{ kind: bridged, bridge: br0 }"): string => `kind: network
name: lan0
spec:
  prefix4: 10.0.0.0/24
  gateway4: 10.0.0.1
${more}  wiring: ${wiring}
  addressing: ${addressing}
`;
const SIX = '  prefix6: "2001:db8::/64"\n';

function read(text: string) {
  const resources = loadSite(text, "site.yaml");
  checkSite(resources, { networks: new Map(), groups: new Map() });
  return resources;
}

function refusal(text: string): string {
  try {
    read(text);
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  throw new Error("the file was accepted");
}

describe("what is taken", () => {
  test.each([
    [
      "{ kind: relay, servers: [10.0.0.2] }",
      { kind: "relay", servers: ["10.0.0.2"], servers6: [], serverIdOverride: false },
    ],
    [
      "{ kind: relay, servers: [192.0.2.1, 192.0.2.2], giaddr: 10.0.0.3, serverIdOverride: true }",
      { kind: "relay", servers: ["192.0.2.1", "192.0.2.2"], servers6: [], giaddr: "10.0.0.3", serverIdOverride: true },
    ],
    [
      '{ kind: snoop, servers: [10.0.0.2, { address: 10.0.0.4, mac: "02:00:00:00:00:04" }], servers6: ["fe80::2"] }',
      {
        kind: "snoop",
        servers: [{ address: "10.0.0.2" }, { address: "10.0.0.4", mac: "02:00:00:00:00:04" }],
        servers6: [{ address: "fe80::2" }],
      },
    ],
  ])("%s, and as it is shown it can be applied again", (text, addressing) => {
    const [first] = read(network(text, SIX));
    if (first?.kind !== "network") throw new TypeError("no network");
    expect(first.spec.addressing).toEqual(addressing);
    expect(read(JSON.stringify(toDocument(first)))).toEqual([first]);
  });
});

describe("what is refused", () => {
  test.each([
    ["{ kind: relay }", "names no server: guests would never get an address"],
    ["{ kind: snoop }", "names no server: guests would never get an address"],
    [
      "{ kind: relay, servers: [10.0.0.2], leaseSeconds: 60 }",
      "leaseSeconds: goes with managed: with relay the DHCP server decides",
    ],
    ["{ kind: snoop, servers: [10.0.0.2], macScheme: ip }", "macScheme: goes with managed"],
    ["{ kind: snoop, servers: [10.0.0.2], dns: [10.0.0.2] }", "dns: goes with managed"],
    ["{ kind: snoop, servers: [10.0.0.2], giaddr: 10.0.0.3 }", "giaddr: goes with relay"],
    ["{ kind: snoop, servers: [10.0.0.2], serverIdOverride: true }", "serverIdOverride: goes with relay"],
    ['{ kind: relay, servers: [{ address: 10.0.0.2, mac: "02:00:00:00:00:04" }] }', "servers: a MAC goes with snoop"],
    ["{ kind: managed, servers: [10.0.0.2] }", "servers: goes with relay or snoop"],
    ["{ kind: managed, giaddr: 10.0.0.2 }", "giaddr: goes with relay"],
    ["{ kind: relay, servers: [224.0.0.1] }", "224.0.0.1 is no machine's own address"],
    ['{ kind: relay, servers6: ["2001:db8::2"] }', "servers6: goes with prefix6, which is not here"],
  ])("%s", (addressing, says) => {
    expect(refusal(network(addressing))).toContain(says);
  });

  test("a server that only one link knows, for a relay; with snoop it is the usual one (control)", () => {
    const text = (kind: string): string => network(`{ kind: ${kind}, servers6: ["fe80::2"] }`, SIX);
    expect(refusal(text("relay"))).toContain("fe80::2 is link-local: the relay would not know on which link");
    expect(read(text("snoop"))).toHaveLength(1);
  });

  test("wirings that do not go with it; one that does (control)", () => {
    const routed = (gives: string): string => `{ kind: routed, uplink: eth0, gives: ${gives} }`;
    const relay = "{ kind: relay, servers: [10.0.0.2] }";
    expect(refusal(network("{ kind: snoop, servers: [10.0.0.2] }", "", routed("prefix")))).toContain(
      "snoop needs a bridge",
    );
    expect(
      refusal(network(relay, "", "{ kind: transport, uplink: eth0 }").replace("  gateway4: 10.0.0.1\n", "")),
    ).toContain("with transport vifguard decides the addresses");
    expect(refusal(network(relay, "", routed("address")))).toContain("'gives: prefix' goes with relay");
    expect(read(network(relay, "", routed("prefix")))).toHaveLength(1);
  });

  test("addresses that a NIC names; other addresses of its own may be (control)", () => {
    const guest = (nic: string): string =>
      `${network("{ kind: relay, servers: [10.0.0.2] }", SIX)}---\nkind: guest\nname: web1\nspec: { nics: [{ network: lan0, ${nic} }] }\n`;
    for (const nic of ["address4: 10.0.0.9", 'address6: "2001:db8::9"'])
      expect(refusal(guest(nic))).toContain("the DHCP servers of network 'lan0' decide (relay): reserve it there");
    expect(read(guest("addresses: [10.0.0.9]"))).toHaveLength(2);
  });
});
