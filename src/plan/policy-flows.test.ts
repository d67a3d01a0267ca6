/** Which of the connections that the kernel knows are to be forgotten: those no group allows any more, and those of NICs that are judged no more. */
import { expect, test } from "vitest";
import { network, siteOf } from "../../test/support/policy-sites.ts";
import type { Link } from "../kernel/links.ts";
import { parseIp } from "../model/ip-block.ts";
import { parseMac } from "../model/mac.ts";
import { parseInterfaceName } from "../model/names.ts";
import { desiredHost, type SiteView } from "./desired.ts";
import type { HostWish } from "./host.ts";
import { leftBy, revokedBy } from "./policy-flows.ts";

function sure<T>(value: T | undefined): T {
  if (value === undefined) throw new TypeError("no value");
  return value;
}

const link = (ifindex: number, name: string, kind: string): Link => ({
  ifindex,
  name,
  mac: sure(parseMac("02:00:00:00:00:01")),
  kind,
  up: true,
  master: 0,
  mtu: 1500,
  alias: "",
  bridgePort: undefined,
  carrier: true,
});

/** Every guest attached, in order. */
function wishOf(site: SiteView): HostWish {
  const names = [...site.guests.keys()];
  const attachments = names.map((guest, n) => ({
    port: sure(parseInterfaceName(`vif${n}.0`)),
    ifindex: n + 10,
    epoch: "now",
    fence: 1,
    guest,
    nic: 0,
    since: 0,
  }));
  const links = {
    byIndex: (ifindex: number) => link(ifindex, `vif${ifindex - 10}.0`, "veth"),
    byName: (name: string) => link(1, name, "bridge"),
  };
  return desiredHost(site, attachments, { links, families: ["inet"] }, "now").wish;
}

const guest = (name: string, octet: number, groups: readonly string[]): object => ({
  kind: "guest",
  name,
  spec: { nics: [{ network: "lan0", address4: `10.0.0.${octet}`, groups }] },
});
const group = (name: string, spec: object): object => ({ kind: "group", name, spec });
const wish = wishOf(
  siteOf([
    network("lan0", 0),
    group("web", { ingress: [{ protocol: "tcp", ports: [80], from: "any" }] }),
    group("open", { ingress: [{ protocol: "any", from: "any" }] }),
    group("shut", { egress: [] }),
    guest("web", 10, ["web"]),
    guest("open", 11, ["open"]),
    guest("shut", 12, ["shut"]),
  ]),
);
const [WEB, OPEN, SHUT, LAN] = ["10.0.0.10", "10.0.0.11", "10.0.0.12", "198.51.100.7"];
const flow = (
  from: string | undefined,
  to: string | undefined,
  [fromPort, toPort]: readonly [number, number],
  protocol = 6,
) => ({
  from: sure(parseIp(from ?? "")),
  to: sure(parseIp(to ?? "")),
  protocol,
  fromPort,
  toPort,
});

test.each([
  ["what is let in", flow(LAN, WEB, [40_000, 80]), false],
  ["what is not", flow(LAN, WEB, [40_000, 81]), true],
  ["the same by UDP", flow(LAN, WEB, [40_000, 80], 17), true],
  ["what goes out", flow(WEB, LAN, [40_000, 443]), false],
  ["what may not go out", flow(SHUT, LAN, [40_000, 443]), true],
  ["an echo request nobody lets in", flow(LAN, WEB, [77, 0x0800], 1), true],
  ["first seen on its way back, allowed the other way round", flow(LAN, SHUT, [443, 40_000]), true],
  ["first seen on its way back", flow(LAN, WEB, [443, 40_000]), false],
  ["of nobody who is judged", flow(LAN, OPEN, [40_000, 81]), false],
] as const)("%s", (_, tracked, isRevoked) => {
  expect(revokedBy(wish)(tracked)).toBe(isRevoked);
});

test("of a NIC that is judged no more, what the other end is judged by is kept", () => {
  const opened = sure(wish.ports[1]).binding.sources.map(({ what }) => what);
  const isLeft = leftBy(opened, wish);
  expect(isLeft(flow(LAN, OPEN, [1, 2]))).toBe(true);
  expect(isLeft(flow(OPEN, LAN, [1, 2]))).toBe(true);
  expect(isLeft(flow(OPEN, WEB, [1, 2]))).toBe(false);
  expect(isLeft(flow(WEB, OPEN, [1, 2]))).toBe(false);
  expect(isLeft(flow(LAN, WEB, [1, 2]))).toBe(false);
});
