/** Questions about flows in words: who is meant, what is answered, and what is refused with a reason. */
import { describe, expect, test } from "vitest";
import { loadSite } from "../config/load.ts";
import { GuardError } from "../model/errors.ts";
import type { FlowAnswer } from "../model/operations.ts";
import { siteMembers } from "./policy-members.ts";
import { explainFlow, explainFlowOffline } from "./policy-question.ts";
import { nicPolicyView } from "./policy-view.ts";
import { freshSite } from "./site.ts";

const text = `
kind: network
name: lan0
spec:
  prefix4: 10.0.0.0/24
  gateway4: 10.0.0.1
  range4: [10.0.0.5-10.0.0.99]
  prefix6: 2001:db8::/64
  groups: [base]
  connections: 100
  rates: { toGuestPackets: 1000 }
  wiring: { kind: bridged, bridge: br0 }
  addressing: { kind: managed, macScheme: ip }
---
kind: network
name: lan1
spec:
  prefix4: 10.0.1.0/24
  gateway4: 10.0.1.1
  range4: [10.0.1.5-10.0.1.99]
  wiring: { kind: bridged, bridge: br1 }
  addressing: { kind: managed, macScheme: ip }
---
kind: group
name: base
spec: { ingress: [{ protocol: icmp, type: echo-request, from: any }, { protocol: icmpv6, from: any }] }
---
kind: group
name: admin
spec: { egress: [{ protocol: any, to: any }], ingress: [{ protocol: any, from: any }] }
---
kind: group
name: web
spec:
  ingress:
    - { protocol: tcp, ports: [80, 443], from: any }
    - { protocol: tcp, ports: [22], from: { group: admin } }
    - { protocol: icmp, type: echo-request, from: any }
    - { protocol: udp, from: network }
---
kind: group
name: db
spec: { ingress: [{ protocol: tcp, ports: [5432], from: { group: web } }], egress: [] }
---
kind: group
name: dns
spec: { egress: [{ protocol: udp, ports: [53], to: { prefix: 10.0.0.0/28 } }] }
---
{ kind: guest, name: web1, spec: { nics: [{ network: lan0, groups: [web, base], connections: 7, rates: { syn: 5 } }] } }
---
{ kind: guest, name: db1, spec: { nics: [{ network: lan0, groups: [db], address4: 10.0.0.50 }] } }
---
{ kind: guest, name: two, spec: { nics: [{ network: lan1, groups: [admin] }, { network: lan0, groups: [admin] }] } }
---
{ kind: guest, name: plain, spec: { nics: [{ network: lan0 }, { network: lan1 }] } }
---
{ kind: guest, name: watched, spec: { nics: [{ network: lan0, mode: observe, groups: [db, dns] }] } }
`;
const resources = loadSite(text, "site.yaml");
const zeros = (count: number): Uint8Array => new Uint8Array(count);
const members = siteMembers(freshSite(resources, zeros));
const ask = (from: string, to: string): FlowAnswer => explainFlow(members, { from, to });

/** Verdict and sentence of every family, and the notes. */
const told = ({ flows, notes }: FlowAnswer): readonly string[] => [
  ...flows.map(({ verdict, sentence }) => `${verdict} ${sentence}`),
  ...notes,
];

describe("answers", () => {
  test("name the group and the rule of both ends, for every family", () => {
    expect(ask("web1", "db1:5432/tcp")).toEqual({
      notes: [],
      flows: [
        ["10.0.0.5", "10.0.0.50"],
        ["2001:db8::fc00:aff:fe00:5", "2001:db8::fc00:aff:fe00:32"],
      ].map(([from, to]) => ({
        verdict: "pass",
        sentence: "passes: web1/0 may open tcp 5432 to db1/0",
        service: "tcp 5432",
        ends: [
          {
            end: "from",
            nics: ["web1/0"],
            address: from,
            verdict: "allowed",
            observed: false,
            group: "web",
            sentence: "everything goes out: group web names no egress",
          },
          {
            end: "to",
            nics: ["db1/0"],
            address: to,
            verdict: "allowed",
            observed: false,
            group: "db",
            rule: "tcp 5432 from group web",
            sentence: "group db lets in tcp 5432 from group web",
          },
        ],
      })),
    });
  });

  test.each<[string, string, readonly string[]]>([
    ["db1", "web1:80/tcp", Array(2).fill("drop dropped: policy-egress – db1/0: group db lets nothing out")],
    [
      "198.51.100.7",
      "db1:5432/tcp",
      [
        "drop dropped: policy-ingress – db1/0: the one ingress rule of group db does not let in tcp 5432 from 198.51.100.7",
      ],
    ],
    [
      "10.0.1.200",
      "web1:53/udp",
      [
        "drop dropped: policy-ingress – web1/0: none of the 6 ingress rules of groups web, base lets in udp 53 from 10.0.1.200",
      ],
    ],
    ["10.0.0.200", "web1/0:53/udp", ["pass passes: 10.0.0.200 may open udp 53 to web1/0"]],
    ["web1", "198.51.100.7:443/tcp", ["pass passes: web1/0 may open tcp 443 to 198.51.100.7"]],
    ["web1", "[2001:db8:9::1]:443/tcp", ["pass passes: web1/0 may open tcp 443 to 2001:db8:9::1"]],
    ["web1", "2001:db8:9::1/icmpv6", ["pass passes: web1/0 may open icmpv6 echo-request to 2001:db8:9::1"]],
    ["[2001:db8:9::1]", "web1/58", ["pass passes: 2001:db8:9::1 may open icmpv6 echo-request to web1/0"]],
    ["fe80::1", "web1/icmpv6", ["pass passes: fe80::1 may open icmpv6 echo-request to web1/0"]],
    [
      "web1",
      "plain/0:timestamp-request/icmp",
      [
        "drop dropped: policy-ingress – plain/0: none of the 2 ingress rules of group base lets in icmp timestamp-request from web1/0",
      ],
    ],
    ["web1", "plain/0:8/icmp", ["pass passes: web1/0 may open icmp echo-request to plain/0"]],
    ["web1", "plain/1/47", ["drop dropped: policy-ingress – plain/1: it carries no group: nothing comes in"]],
    // The NIC on the common network is taken, and that it was is said.
    [
      "two",
      "web1:22/tcp",
      [
        ...Array(2).fill("pass passes: two/1 may open tcp 22 to web1/0"),
        "two has several NICs: two/1 is taken; name another as two/N",
      ],
    ],
    ["two/0", "web1:22/tcp", ["pass passes: two/0 may open tcp 22 to web1/0"]],
    // Addresses of guests are guests.
    ["10.0.0.5", "10.0.0.50:5432/tcp", ["pass passes: web1/0 may open tcp 5432 to db1/0"]],
    ["198.51.100.7", "198.51.100.8:80/tcp", ["pass not judged: neither end is a guest of this site"]],
    [
      "watched",
      "web1:80/tcp",
      Array(2).fill(
        "pass passes, because the NIC is only observed; otherwise dropped: policy-egress – watched/0: the one egress rule of groups db, dns does not let out tcp 80 to web1/0",
      ),
    ],
  ])("%s > %s", (from, to, expected) => {
    expect(told(ask(from, to))).toEqual(expected);
  });

  test("an observed end does not stop, the other one does", () => {
    const [flow] = ask("watched", "plain/0:80/tcp").flows;
    expect(flow?.verdict).toBe("drop");
    expect(flow?.ends.map(({ verdict, observed }) => [verdict, observed])).toEqual([
      ["dropped", true],
      ["dropped", false],
    ]);
  });

  test("of a site file say which addresses are guesses", () => {
    const { notes, flows } = explainFlowOffline(resources, { from: "web1", to: "db1:5432/tcp" }, zeros);
    expect(notes).toEqual(["address of web1/0: as a host that holds nothing else would assign"]);
    expect(flows).toEqual(ask("web1", "db1:5432/tcp").flows);
  });
});

describe("what cannot be asked is refused in words", () => {
  test.each<[string, string, string, RegExp]>([
    ["nobody", "web1:80/tcp", "NOT_FOUND", /'nobody' is neither a guest nor an address/],
    ["web1/3", "db1:80/tcp", "NOT_FOUND", /guest 'web1' has no NIC 3: it has 1/],
    ["web1", "web1:80/tcp", "PHRASE_INVALID", /never leaves the guest/],
    ["web1", "10.0.0.5:80/tcp", "PHRASE_INVALID", /never leaves the guest/],
    ["web1", "db1", "PHRASE_INVALID", /does not say what is opened: such as db1:443\/tcp/],
    ["web1", "db1/tcp", "PHRASE_INVALID", /tcp needs the port/],
    ["web1", "db1:0/tcp", "PHRASE_INVALID", /'0' is not a port/],
    ["web1", "db1:65536/udp", "PHRASE_INVALID", /'65536' is not a port/],
    ["web1", "db1:80/tpc", "PHRASE_INVALID", /did you mean 'tcp'\?/],
    ["web1", "db1:80/256", "PHRASE_INVALID", /'256' is not tcp/],
    ["web1", "db1:80/47", "PHRASE_INVALID", /protocol 47 has no ports/],
    ["web1", "db1:3/icmp", "PHRASE_INVALID", /'3' is no type of icmp that opens a flow; there is: echo-request \(8\)/],
    ["web1", "2001:db8::9:443/tcp", "PHRASE_INVALID", /tcp needs the port/],
    ["web1", "[2001:db8::9/tcp", "PHRASE_INVALID", /'db8::9' is not a port/],
    ["10.0.0.5", "web1.example/icmp", "NOT_FOUND", /'web1.example' is neither a guest nor an address/],
    ["web1", "224.0.0.5/icmp", "PHRASE_INVALID", /no single machine's/],
    ["web1", "ff02::1/icmpv6", "PHRASE_INVALID", /no single machine's/],
    ["two/0", "2001:db8::9/icmpv6", "PHRASE_INVALID", /two\/0 has no IPv6 address/],
    ["two/0", "plain/1/icmpv6", "PHRASE_INVALID", /no addresses in common that icmpv6 echo-request could use/],
    ["10.0.0.200", "2001:db8::9/icmpv6", "PHRASE_INVALID", /no flow has both/],
    ["web1", "10.0.0.200/icmpv6", "PHRASE_INVALID", /no addresses in common/],
  ])("%s > %s", (from, to, code, words) => {
    expect(ask("web1", "db1:5432/tcp").flows, "control").toHaveLength(2);
    try {
      ask(from, to);
    } catch (error) {
      if (!(error instanceof GuardError)) throw error;
      expect(error.code).toBe(code);
      expect(error.message).toMatch(words);
      return;
    }
    throw new Error("it was answered");
  });
});

describe("the policy of a NIC, as describe shows it", () => {
  const view = (name: string) => {
    const member = members.all.find((one) => one.name === name);
    if (member === undefined) throw new Error(name);
    return nicPolicyView(members, member);
  };

  test("is told in sentences, with what a group comes to now", () => {
    expect(view("web1/0")).toEqual({
      groups: ["web", "base"],
      groupsFrom: "NIC",
      state: "stateful",
      rules: [
        "in: tcp 80, 443 from anyone (group web)",
        "in: tcp 22 from 2 NICs of group admin (group web)",
        "in: icmp echo-request from anyone (groups web, base)",
        "in: udp from network lan0 (group web)",
        "in: icmpv6 from anyone (group base)",
        "out: everything (group web names no egress)",
      ],
      limits: [
        "7 tracked connections",
        "5 new flows a second, 10 at once",
        "300000 packets from the guest a second, 150000 at once",
        "1250000000 octets from the guest a second, 312500000 at once",
        "1000 packets to the guest a second, 2000 at once",
        "1250000000 octets to the guest a second, 312500000 at once",
      ],
    });
  });

  test.each<[string, string, string, readonly string[]]>([
    [
      "db1/0",
      "stateful",
      "NIC",
      ["in: tcp 5432 from 1 NIC of group web (group db)", "out: nothing (no rule of group db)"],
    ],
    ["two/0", "open", "NIC", ["in: everything from anyone (group admin)", "out: everything to anywhere (group admin)"]],
    [
      "plain/0",
      "stateful",
      "network",
      [
        "in: icmp echo-request from anyone (group base)",
        "in: icmpv6 from anyone (group base)",
        "out: everything (group base names no egress)",
      ],
    ],
    [
      "plain/1",
      "stateful",
      "network",
      ["in: nothing (the NIC carries no group)", "out: everything (the NIC carries no group)"],
    ],
    [
      "watched/0",
      "stateful",
      "NIC",
      ["in: tcp 5432 from 1 NIC of group web (group db)", "out: udp 53 to 10.0.0.0/28 (group dns)"],
    ],
  ])("%s is %s by the groups of its %s", (name, state, groupsFrom, rules) => {
    expect(view(name)).toMatchObject({ state, groupsFrom, rules });
    expect(view(name).limits[0]).toBe(
      state === "open"
        ? "no connections are tracked"
        : `${name.startsWith("plain/1") ? 8192 : 100} tracked connections`,
    );
  });
});
