/** What DHCP clients may be told, and what is refused with the field that says it. */
import { describe, expect, test } from "vitest";
import { checkSite } from "./check.ts";
import { loadSite } from "./load.ts";

const site = (addressing: string, tell = "{}"): string => `kind: network
name: n
spec: { prefix4: 10.0.0.0/24, gateway4: 10.0.0.1, wiring: { kind: bridged, bridge: br0 }, addressing: { ${addressing} } }
---
kind: guest
name: g
spec: { nics: [{ network: n, tell: ${tell} }] }
`;

function check(text: string): void {
  checkSite(loadSite(text, "test"), { networks: new Map(), groups: new Map() });
}

const managed = (more: string): string => site(`kind: managed, ${more}`);
const good = "options: [{ code: 150, addresses: [10.0.0.5] }]";

describe("refused", () => {
  test.each([
    [
      "what the responder decides",
      "options: [{ code: 54, addresses: [10.0.0.5] }]",
      "spec.addressing.options[0].code: 54 is vifguard's own to say",
    ],
    [
      "what has a field",
      'options: [{ code: 6, hex: "0a000005" }]',
      "spec.addressing.options[0].code: 6 has a field of its own: dns",
    ],
    [
      "routes in disguise",
      'options: [{ code: 249, hex: "00" }]',
      "options[0].code: 249 has a field of its own: routes",
    ],
    ["the same for DHCPv6", 'options6: [{ code: 3, hex: "00" }]', "options6[0].code: 3 is vifguard's own to say"],
    [
      "one number twice",
      `options: [{ code: 150, hex: "00" }, { code: 150, hex: "01" }]`,
      "options[1].code: 150 is written twice",
    ],
    ["no value", "options: [{ code: 150 }]", "options[0]: has no value: hex, text or addresses"],
    ["two values", 'options: [{ code: 150, hex: "00", text: a }]', "options[0]: has several values: hex, text"],
    [
      "half an octet",
      "options: [{ code: 150, hex: abc }]",
      'options[0].hex: "abc" is not 1 to 1024 octets in hexadecimal',
    ],
    ["text that is not printable", String.raw`options: [{ code: 150, text: "a\u0007" }]`, "options[0].text: "],
    [
      "an address of the other family",
      'options: [{ code: 150, addresses: ["2001:db8::1"] }]',
      "is IPv6, and IPv4 is wanted here",
    ],
    [
      "too much of all",
      `options: [{ code: 150, hex: "${"00".repeat(800)}" }, { code: 151, hex: "${"00".repeat(300)}" }]`,
      "spec.addressing.options: take 1104 octets together",
    ],
    [
      "an option inside that is too long",
      `options: [{ code: 43, options: [{ code: 1, hex: "${"00".repeat(256)}" }] }]`,
      "options[0].options[0]: an option inside an option has 255 octets at most",
    ],
    [
      "a class without a condition",
      "classes: [{ name: a, when: {}, tell: {} }]",
      "spec.addressing.classes[0].when: names nothing",
    ],
    [
      "a class twice",
      "classes: [{ name: a, when: { userClass: x }, tell: {} }, { name: a, when: { userClass: y }, tell: {} }]",
      "spec.addressing.classes[1].name: 'a' is written twice",
    ],
    [
      "the same inside a class",
      'classes: [{ name: a, when: { userClass: x }, tell: { options: [{ code: 82, hex: "00" }] } }]',
      "classes[0].tell.options[0].code: 82 is",
    ],
  ])("%s", (_name, more, says) => {
    expect(() => check(managed(more))).toThrow(says);
    expect(() => check(managed(good))).not.toThrow();
  });

  test("words of a NIC that nobody would tell, and numbers that are not its to say", () => {
    const tell = "{ dns: [10.0.0.2] }";
    expect(() => check(site("kind: static", tell))).toThrow(
      "spec.nics[0].tell: goes with 'addressing: managed': nobody tells guests anything under 'static'",
    );
    expect(() => check(site("kind: managed", tell))).not.toThrow();
    const with6 = site("kind: managed", "{ mtu: 1200 }").replace("gateway4", 'prefix6: "2001:db8::/64", gateway4');
    expect(() => check(with6)).toThrow("spec.nics[0].tell.mtu: IPv6 needs 1280 at least, not 1200");
    expect(() => check(with6.replace("1200", "1280"))).not.toThrow();
    expect(() => check(site("kind: managed", "{ options: [{ code: 51, hex: '00' }] }"))).toThrow(
      "spec.nics[0].tell.options[0].code: 51 is vifguard's own to say",
    );
  });
});
