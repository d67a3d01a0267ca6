/** Verdicts in words: the sentence of each line, the object that decided, what is waived, observed, answered, and what a file cannot know. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { loadSite } from "../config/load.ts";
import { GuardError } from "../model/errors.ts";
import type { ExplainAnswer, ExplanationView } from "../model/operations.ts";
import { toHex } from "../packet/hex.ts";
import { phraseForms } from "../packet/phrase.ts";
import { guardTable } from "../ruleset/guard.ts";
import { keyTexts } from "./explain-fields.ts";
import { explainOffline } from "./explain-offline.ts";
import { setWords } from "./explain-words.ts";

const text = `kind: network
name: lan0
spec:
  prefix4: 10.0.0.0/24
  gateway4: 10.0.0.1
  gatewayMac: 02:00:00:00:00:01
  prefix6: 2001:db8::/64
  gateway6: fe80::1
  range4: [10.0.0.5-10.0.0.99]
  multicast: [224.0.0.18, 224.0.0.251, 'ff02::12']
  hostServices: [{ protocol: udp, ports: [53] }]
  wiring: { kind: bridged, bridge: br0 }
  addressing: { kind: managed, macScheme: ip }
  groups: [open]
---
kind: group
name: open
spec: { ingress: [{ protocol: any, from: any }] }
---
kind: network
name: lan1
spec:
  prefix4: 10.1.0.0/24
  gateway4: 10.1.0.1
  range4: [10.1.0.5-10.1.0.99]
  wiring: { kind: bridged, bridge: br1 }
  addressing: { kind: managed, macScheme: random }
---
kind: guest
name: web
spec: { nics: [{ network: lan0, address4: 10.0.0.5 }] }
---
kind: guest
name: db
spec: { nics: [{ network: lan0, address4: 10.0.0.7 }, { network: lan1 }] }
---
kind: guest
name: router
spec: { nics: [{ network: lan0, address4: 10.0.0.9, roles: [router, dhcp-server], unchecked: [dest-mac], addresses: [10.0.0.128/28] }] }
---
kind: guest
name: watched
spec: { nics: [{ network: lan0, address4: 10.0.0.11, mode: observe }] }
---
kind: guest
name: sharer
spec: { nics: [{ network: lan0, address4: 10.0.0.13, allowedPairs: [{ address: 10.0.0.100 }] }] }
`;
const site = loadSite(text, "site.yaml");
const zeros = (count: number): Uint8Array => new Uint8Array(count);

function ask(target: string, phrase: string, direction: "from-guest" | "to-guest" = "from-guest"): ExplainAnswer {
  return explainOffline(site, { target, direction, phrase }, zeros);
}
function view(...question: Parameters<typeof ask>): ExplanationView {
  const [only] = ask(...question).frames;
  if (only === undefined) throw new TypeError("one frame");
  return only;
}

describe("what the guest sends", () => {
  test.each([
    ["arp reply 10.0.0.1 is-at own", "dropped: arp-sender – 10.0.0.1 is not an address of web/0 (10.0.0.5)"],
    [
      "arp reply own is-at gateway to gateway",
      "dropped: arp-sender – sender MAC 02:00:00:00:00:01 is not a MAC of web/0 (fe:00:0a:00:00:05)",
    ],
    ["arp probe 10.0.0.7", "dropped: arp-sender – 10.0.0.7 is not an address of web/0 (10.0.0.5)"],
    ["arp request who-has 192.0.2.1", "dropped: arp-target – 192.0.2.1 is outside the prefix of lan0 (10.0.0.0/24)"],
    ["ip 10.0.0.7 > gateway", "dropped: ip4-source – 10.0.0.7 is not an address of web/0 (10.0.0.5)"],
    [
      "udp own > 10.0.0.50:7",
      "dropped: dest-mac – 02:76:66:67:00:02 is neither the gateway's MAC nor that of a member of lan0 with 10.0.0.50, and no ARP or ND answer has named it to this port",
    ],
    [
      "udp own > 224.0.0.5:7",
      "dropped: multicast – lan0 does not allow 224.0.0.5 (allowed groups: 224.0.0.18, 224.0.0.251)",
    ],
    ["udp own > gateway:520", "dropped: routing – udp tells 10.0.0.1 of routes, which is not a guest's to say"],
    [
      "ip own > gateway proto 89",
      "dropped: routing – protocol 89 tells 10.0.0.1 of routes, which is not a guest's to say",
    ],
    ["udp own > broadcast:7", "dropped: broadcast – only ARP and DHCP requests may go to everybody"],
    [
      "dhcp discover for gateway",
      "dropped: dhcp-client – the client's hardware address 02:00:00:00:00:01 in the request is not the MAC of web/0 (fe:00:0a:00:00:05)",
    ],
    ["dhcp offer", "dropped: dhcp-server – only a server speaks so, and web/0 does not have the role dhcp-server"],
    [
      "ping gateway mac from gateway",
      "dropped: mac-source – 02:00:00:00:00:01 is not a MAC of web/0 (fe:00:0a:00:00:05)",
    ],
    ["ping gateway vlan 3", "dropped: vlan – the frame has a tag (Ethernet type 0x8100)"],
    ["ethertype 0x88cc", "dropped: ethertype – Ethernet type 0x88cc is not ARP, IPv4 or IPv6"],
    ["ra", "dropped: ra – web/0 does not have the role router"],
    [
      "ping 2001:db8::7 from 2001:db8::99",
      "dropped: ip6-source – 2001:db8::99 is not an address of web/0 (fe80::fc00:aff:fe00:5, 2001:db8::fc00:aff:fe00:5)",
    ],
    ["ip own > gateway6 proto 43", "dropped: ip6-shape – IPv6 extension headers or fragments that hide something"],
    [
      "tcp own > 255.255.255.255:22 mac to gateway",
      "dropped: broadcast – only ARP and DHCP requests may go to everybody",
    ],
  ])("%s", (phrase, sentence) => {
    const said = view("web", phrase);
    expect(said.sentence).toBe(sentence);
    expect(said.verdict).toBe("drop");
    expect(said.line?.section).toBe(2);
  });

  test.each([
    [
      "udp own > 10.0.0.7:7",
      "passes: 10.0.0.5 is an address of web/0; 10.0.0.7 is db/0 and fe:00:0a:00:00:07 is its MAC",
    ],
    ["ping 198.51.100.1", "passes: 10.0.0.5 is an address of web/0; 02:00:00:00:00:01 is the gateway's MAC on lan0"],
    ["udp own > 224.0.0.251:5353", "passes: 10.0.0.5 is an address of web/0; lan0 allows the group 224.0.0.251"],
    ["arp announce", "passes: 10.0.0.5 with fe:00:0a:00:00:05 is web/0's; 10.0.0.5 is inside the prefix of lan0"],
  ])("%s", (phrase, sentence) => expect(view("web", phrase).sentence).toBe(sentence));

  test("what the host answers itself", () => {
    expect(view("web", "dhcp discover")).toMatchObject({ verdict: "answered", answeredBy: "dhcp" });
    expect(view("web", "arp request who-has gateway")).toMatchObject({ verdict: "answered", answeredBy: "neighbours" });
  });
});

describe("what comes to the guest", () => {
  test.each([
    [
      "arp announce 10.0.0.7 is-at 02:00:00:00:00:99",
      "dropped: arp-sender – 10.0.0.7 belongs to db/0, whose MAC is not 02:00:00:00:00:99",
    ],
    [
      "arp reply gateway is-at 02:00:00:00:00:99",
      "dropped: arp-sender – 10.0.0.1 belongs to the gateway of lan0, whose MAC is not 02:00:00:00:00:99",
    ],
    ["ping 10.0.0.7", "dropped: not-for-guest – it is for fe:00:0a:00:00:07, and web/0 is fe:00:0a:00:00:05"],
    ["ping 10.0.0.7 mac to own", "dropped: not-for-guest – 10.0.0.7 is not an address of web/0 (10.0.0.5)"],
    [
      "arp request who-has 10.0.0.50",
      "dropped: not-for-guest – 10.0.0.50 is not an address of web/0 (10.0.0.5), and it is no announcement of a member or the gateway",
    ],
    ["dhcp offer", "dropped: dhcp-server – DHCP reaches a guest only from the host's own responder, on its port"],
    [
      "udp gateway:67 > own:68",
      "dropped: dhcp-server – DHCP reaches a guest only from the host's own responder, on its port",
    ],
    ["ra from fe80::99", "dropped: ra – fe80::99 is not the gateway of lan0 (gateway6: fe80::1)"],
    [
      "ns 2001:db8::99",
      "dropped: not-for-guest – 2001:db8::99 is not an address of web/0 (fe80::fc00:aff:fe00:5, 2001:db8::fc00:aff:fe00:5)",
    ],
  ])("%s", (phrase, sentence) => {
    const said = view("web", phrase, "to-guest");
    expect(said.sentence).toBe(sentence);
    expect(said.line?.section).toBe(3);
  });
});

test("the object that decided says where an operator finds it", () => {
  expect(view("web", "ra").object).toEqual({
    what: "role router of NIC web/0",
    set: "ra_senders",
    key: "",
    holds: false,
  });
  expect(view("web", "arp reply 10.0.0.1 is-at own").object).toEqual({
    what: "IPv4 addresses of NIC web/0",
    set: "bind4",
    key: "fe:00:0a:00:00:05 10.0.0.1",
    holds: false,
  });
  expect(view("web", "ping gateway").object).toMatchObject({
    what: "members and gateway of network lan0",
    holds: true,
  });
});

describe("VRRP is for those who share an address", () => {
  test.each([
    [
      "ip own > 224.0.0.18 proto vrrp",
      "passes: 10.0.0.13 is an address of sharer/0; sharer/0 shares an address (allowedPairs); lan0 allows the group 224.0.0.18",
    ],
    [
      "ip own > ff02::12 proto vrrp",
      /^passes: .*sharer\/0; sharer\/0 shares an address \(allowedPairs\); lan0 allows the group ff02::12$/,
    ],
  ])("%s of one that does", (phrase, sentence) => expect(view("sharer", phrase).sentence).toMatch(sentence));

  test.each(["224.0.0.18", "ff02::12"])("to %s of one that does not", (group) => {
    expect(view("web", `ip own > ${group} proto vrrp`)).toMatchObject({
      sentence: "dropped: multicast – web/0 shares no address (allowedPairs), so VRRP is not its business",
      object: { what: "allowedPairs of NIC web/0", set: "sharers", key: "", holds: false },
    });
    expect(view("web", `ip own > ${group} proto 111`).verdict, "control: the group itself is allowed").toBe("pass");
  });

  test("of one that does, to a group that the network does not allow", () => {
    const { sentence, object } = view("sharer", "ip own > 224.0.0.19 proto vrrp");
    expect(sentence).toMatch(/^dropped: multicast – lan0 does not allow 224\.0\.0\.19 /);
    expect(object?.set).toBe("groups4");
  });
});

test("roles, prefixes, waived lines and observed NICs", () => {
  expect(view("router", "ra").verdict).toBe("pass");
  expect(view("router", "dhcp offer").line?.reason).toBe("broadcast");
  const waived = view("router", "udp 10.0.0.130 > 10.0.0.50:7");
  expect(waived).toMatchObject({ verdict: "pass", waived: ["dest-mac"] });
  expect(waived.sentence).toBe("passes: 10.0.0.130 is an address of router/0 (switched off for this NIC: dest-mac)");
  const watched = view("watched", "ping gateway vlan 3");
  expect(watched).toMatchObject({ verdict: "pass", observed: true, line: { reason: "vlan" } });
  expect(watched.sentence).toMatch(/^passes, because the NIC is only observed; otherwise dropped: vlan – /);
});

test("what a file cannot know is said", () => {
  expect(ask("web", "ping gateway").notes).toEqual([]);
  expect(ask("web", "udp own > 10.0.0.50:7").notes).toEqual([
    expect.stringContaining("not known without the agent: nothing is taken to be"),
  ]);
  expect(ask("web", "ping 198.51.100.1").notes).toEqual([
    expect.stringContaining("host's own addresses are not known"),
  ]);
  const other = ask("db/1", "ping gateway");
  expect(other.nic).toBe("db/1");
  expect(other.notes.join("\n")).toMatch(/would assign\n.*gateway's MAC is not pinned/);
  // Only web's network lets everything in.
  const asksGroups = expect.stringContaining("whether a security group allows the flow");
  expect(other.notes).toContainEqual(asksGroups);
  expect(ask("db/1", "arp request who-has gateway").notes).not.toContainEqual(asksGroups);
});

test.each([
  ["nobody", "there is no guest 'nobody' in the file"],
  ["vif1.0", "there is no guest 'vif1.0' in the file (ports are not known to it"],
  ["web/3", "guest 'web' has no NIC 3: it has 1"],
])("%s is not found", (target, says) => {
  expect(() => ask(target, "stp")).toThrow(GuardError);
  expect(() => ask(target, "stp")).toThrow(says);
});

test("every set the rules look into has words, and a key is told field by field", () => {
  const looked = guardTable.sets.filter(({ use }) => use !== "counted" && use !== "buckets").map(({ name }) => name);
  expect(Object.keys(setWords).sort()).toEqual([...looked].sort());
  expect(keyTexts("host_services", Uint8Array.of(1, 0, 0, 0, 6, 0, 0, 0, 0, 22, 0, 0))).toEqual(["tcp", "22"]);
});

test("any frame gets a sentence that agrees with its verdict", () => {
  const targets = fc.constantFrom("web", "db/1", "router", "watched");
  const examples = phraseForms.flatMap((form) => form.examples);
  const built = fc.constantFrom(...examples).filter((phrase) => !/6|2001|\b(?:dad|na|ns|rs|ra)\b/.test(phrase));
  const bytes = fc.uint8Array({ minLength: 14, maxLength: 90 }).map((frame) => `hex ${toHex(frame)}`);
  fc.assert(
    fc.property(
      targets,
      fc.oneof(built, bytes),
      fc.constantFrom("from-guest" as const, "to-guest" as const),
      (target, phrase, direction) => {
        const { sentence, verdict, line, chains } = view(target, phrase, direction);
        expect(sentence).not.toMatch(/undefined|\[object/);
        expect(sentence.startsWith({ pass: "passes", drop: "dropped", answered: "answered" }[verdict])).toBe(true);
        if (verdict === "drop") expect(line).toBeDefined();
        expect(chains.length).toBeGreaterThan(0);
      },
    ),
  );
});

describe("a routed port", () => {
  const far = loadSite(
    `kind: network
name: far
spec:
  prefix4: 10.2.0.0/24
  gateway4: 10.2.0.1
  prefix6: 2001:db8:2::/64
  wiring: { kind: routed, uplink: eth0 }
  addressing: { kind: managed, macScheme: ip }
---
kind: guest
name: web
spec: { nics: [{ network: far, address4: 10.2.0.5 }] }
---
kind: guest
name: db
spec: { nics: [{ network: far, address4: 10.2.0.7 }] }
`,
    "far.yaml",
  );
  const verdict = (phrase: string): string | undefined => {
    const [told] = explainOffline(far, { target: "web", direction: "from-guest", phrase }, zeros).frames;
    return told?.line?.reason ?? told?.verdict;
  };

  test.each([
    ["udp own > 10.2.0.50:7", "pass"],
    ["udp own > 10.2.0.7:7", "pass"],
    ["udp own > 198.51.100.1:7", "pass"],
    ["arp request who-has 169.254.0.1", "answered"],
    ["ns gateway", "answered"],
    ["ns 2001:db8:2::99", "answered"],
    ["ns own", "pass"],
    ["udp own > 10.2.0.7:7 mac to fe:00:0a:02:00:07", "dest-mac"],
    ["arp request who-has 169.254.0.2", "arp-target"],
    ["arp announce gateway", "arp-sender"],
  ])("%s: %s", (phrase, says) => {
    expect(verdict(phrase)).toBe(says);
  });
});

describe("a brouted port", () => {
  const near = loadSite(
    `kind: network
name: near
spec:
  prefix4: 10.2.0.0/24
  gateway4: 10.2.0.1
  prefix6: 2001:db8:2::/64
  wiring: { kind: brouted, bridge: br0 }
  addressing: { kind: managed, macScheme: ip }
---
kind: guest
name: web
spec: { nics: [{ network: near, address4: 10.2.0.5 }] }
---
kind: guest
name: db
spec: { nics: [{ network: near, address4: 10.2.0.7 }] }
`,
    "near.yaml",
  );
  const verdict = (phrase: string, direction: "from-guest" | "to-guest" = "from-guest"): string | undefined => {
    const [told] = explainOffline(near, { target: "web", direction, phrase }, zeros).frames;
    return told?.line?.reason ?? told?.verdict;
  };

  test.each([
    ["udp own > 10.2.0.50:7", "pass"],
    ["udp own > 10.2.0.7:7", "pass"],
    ["udp own > 198.51.100.1:7", "pass"],
    ["arp request who-has 10.2.0.1", "answered"],
    ["arp request who-has 10.2.0.7", "answered"],
    ["arp request who-has 10.2.0.99", "answered"],
    ["arp announce own", "pass"],
    ["ns gateway", "answered"],
    ["ns 2001:db8:2::99", "answered"],
    ["ns own", "pass"],
    ["udp own > 10.2.0.7:7 mac to fe:00:0a:02:00:07", "dest-mac"],
    ["arp request who-has 169.254.0.1", "arp-target"],
    ["arp announce gateway", "arp-sender"],
  ])("%s: %s", (phrase, says) => {
    expect(verdict(phrase)).toBe(says);
  });
});
