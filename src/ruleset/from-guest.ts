/** What a guest may put on its port: the chains behind `from_guest` (contract section 2). */
import { type Chain, goTo, inSet, oneOf, type Rule, rule, when } from "./ast.ts";
import { broutedArp, broutedNd } from "./brouted.ts";
import { fromArp } from "./from-arp.ts";
import { fromEnd } from "./from-end.ts";
import { fromIp4 } from "./from-ip4.ts";
import { fromIp6 } from "./from-ip6.ts";
import { fromNd } from "./from-nd.ts";
import { dropFrom, ETHER_TYPE, refuseFrom, VLAN } from "./parts.ts";

const OWN_MAC = inSet("macs", "iif", "etherSource");

/** By the outermost type, tags included. */
const byType: Rule["verdict"] = {
  kind: "dispatch",
  field: "etherType",
  cases: [
    { value: ETHER_TYPE.ip4, chain: "from_ip4" },
    { value: ETHER_TYPE.arp, chain: "from_arp" },
    { value: ETHER_TYPE.ip6, chain: "from_ip6" },
  ],
};

/** nft wants a chain defined before others lead to it. */
export const fromGuest: readonly Chain[] = [
  dropFrom,
  ...[...fromIp4, ...fromArp, ...fromIp6, ...fromNd, ...broutedArp, ...broutedNd, ...fromEnd].reverse(),
  { name: "from_other", rules: [refuseFrom("vlan", VLAN), refuseFrom("ethertype")] },
  {
    name: "from_guest",
    rules: [
      // The proof of the MAC, the number of the network (in the mark from here on) and the share of packets in one look.
      rule([], [{ kind: "markFrom", key: ["iif", "etherSource"], map: "identity" }], byType),
      refuseFrom("rate-packets", OWN_MAC, oneOf("etherType", ...Object.values(ETHER_TYPE))),
      when([OWN_MAC], byType),
      when([OWN_MAC], goTo("from_other")),
      refuseFrom("mac-source", inSet("ports", "iif")),
      refuseFrom("unbound"),
    ],
  },
];
