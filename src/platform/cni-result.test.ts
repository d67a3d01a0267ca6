/** What a container is given, by the wiring of its network. */
import { expect, test } from "vitest";
import { loadSite } from "../config/load.ts";
import { parseIpv4 } from "../model/ipv4.ts";
import { parseIpv6 } from "../model/ipv6.ts";
import type { PortView } from "../model/operations.ts";
import { addressesOfPort, addressLines } from "./cni-result.ts";
import { networkView } from "./site.ts";

function specOf(fields: string): unknown {
  const [network] = loadSite(`{ kind: network, name: n, spec: { ${fields} } }`, "test");
  return network?.spec;
}

function linesOf(fields: string, address4: string, address6: string): readonly string[] {
  const [four, six] = [parseIpv4(address4), parseIpv6(address6)];
  if (four === undefined || six === undefined) throw new TypeError(address4);
  const port: Pick<PortView, "addresses4" | "addresses6"> = { addresses4: [four], addresses6: [six] };
  return addressLines("eth0", addressesOfPort(port, networkView(specOf(fields))));
}

test("a network of one subnet: its prefixes and its gateways", () => {
  const fields =
    "prefix4: 10.0.0.0/24, gateway4: 10.0.0.1, prefix6: 2001:db8::/64, gateway6: fe80::9, wiring: { kind: bridged, bridge: br0 }";
  expect(linesOf(fields, "10.0.0.5", "2001:db8::5")).toEqual([
    "address add 10.0.0.5/24 dev eth0",
    "address add 2001:db8::5/64 dev eth0 nodad",
    "route add 0.0.0.0/0 via 10.0.0.1 dev eth0 onlink",
    "route add ::/0 via fe80::9 dev eth0 onlink",
  ]);
});

test.each([
  [31, "10.0.0.5", "10.0.0.4"],
  [30, "10.0.0.6", "10.0.0.5"],
])("links of /%i: the end of its own, and the other one as the gateway", (link4, right, left) => {
  const fields = `prefix4: 10.0.0.0/24, prefix6: 2001:db8::/64, wiring: { kind: transport, uplink: eth0, link4: ${link4} }`;
  expect(linesOf(fields, right, "2001:db8::7")).toEqual([
    `address add ${right}/${link4} dev eth0`,
    "address add 2001:db8::7/127 dev eth0 nodad",
    `route add 0.0.0.0/0 via ${left} dev eth0 onlink`,
    "route add ::/0 via fe80::1 dev eth0 onlink",
  ]);
});
