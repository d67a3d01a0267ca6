/** What the LAN holds: of prefixes that lie one in the other only the widest, because ranges of one set may not meet. */
import { expect, test } from "vitest";
import { parseIpv4, parsePrefix4 } from "../model/ipv4.ts";
import { parsePrefix6 } from "../model/ipv6.ts";
import type { NetworkFacts } from "./elements.ts";
import { onLinkElements } from "./way-elements.ts";

function facts(four: string, six: string | undefined, routed = true): NetworkFacts {
  const [prefix4, gateway4, prefix6] = [parsePrefix4(four), parseIpv4("10.0.0.1"), parsePrefix6(six ?? "")];
  if (prefix4 === undefined || gateway4 === undefined) throw new TypeError(four);
  const own = { network: 1, prefix4, gateway4, hostServices: [], multicast: [], members: [] };
  return routed ? { ...own, routed: prefix6 === undefined ? {} : { prefix6 } } : own;
}

const texts = (networks: readonly NetworkFacts[]): readonly string[] =>
  onLinkElements(networks).map(({ set, key, keyEnd }) => `${set} ${key.slice(4, 8)} ${keyEnd?.slice(4, 8)}`);

test("each routed network has its prefixes, bridged ones none", () => {
  expect(texts([facts("10.0.0.0/24", "2001:db8::/64"), facts("10.1.0.0/24", undefined, false)])).toEqual([
    "on_link4 10,0,0,0 10,0,0,255",
    "on_link6 32,1,13,184 32,1,13,184",
  ]);
});

test("the widest of those that meet, and one of those that are the same", () => {
  const networks = ["10.0.1.0/24", "10.0.0.0/16", "10.0.0.0/16", "10.1.0.0/24", "10.0.255.128/25"];
  expect(texts(networks.map((prefix) => facts(prefix, undefined)))).toEqual([
    "on_link4 10,0,0,0 10,0,255,255",
    "on_link4 10,1,0,0 10,1,0,255",
  ]);
});
