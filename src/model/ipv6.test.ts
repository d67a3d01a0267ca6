import fc from "fast-check";
import { describe, expect, test } from "vitest";
import {
  eui64Address,
  type Ipv6Prefix,
  ipv6FromBytes,
  ipv6ToBytes,
  isLinkLocal6,
  isMulticast6,
  linkLocalOf,
  multicastMac6,
  parseIpv6,
  parsePrefix6,
  prefix6Bounds,
  prefix6Contains,
  solicitedNode,
} from "./ipv6.ts";
import { type MacAddress, parseMac } from "./mac.ts";

const mac = parseMac("fe:00:cb:00:71:0a") as MacAddress;
const sixteen = fc.uint8Array({ minLength: 16, maxLength: 16 });

describe("parseIpv6", () => {
  test.each([
    ["::", "::"],
    ["::1", "::1"],
    ["1::", "1::"],
    ["2001:DB8:0:0:1:0:0:1", "2001:db8::1:0:0:1"],
    ["2001:db8:0:1:1:1:1:1", "2001:db8:0:1:1:1:1:1"],
    ["2001:0db8::0001", "2001:db8::1"],
    ["::ffff:203.0.113.7", "::ffff:cb00:7107"],
    ["fe80::fc00:cbff:fe00:710a", "fe80::fc00:cbff:fe00:710a"],
    ["1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"],
  ])("%s", (text, canonical) => expect(parseIpv6(text)).toBe(canonical));

  test.each([
    "",
    ":",
    ":::",
    "1",
    "1:2:3:4:5:6:7",
    "1:2:3:4:5:6:7:8:9",
    "1::2::3",
    "12345::",
    "g::",
    "::1%eth0",
    "[::1]",
    " ::1",
    "1:2:3:4:5:6:7:8::",
    "::1.2.3",
    "1.2.3.4",
    "::1.2.3.4:5",
  ])("refuses '%s'", (text) => expect(parseIpv6(text)).toBeUndefined());

  test("text and bytes go both ways", () => {
    fc.assert(
      fc.property(sixteen, (bytes) => {
        const text = ipv6FromBytes(bytes);
        expect([...ipv6ToBytes(text)]).toEqual([...bytes]);
        expect(parseIpv6(text)).toBe(text);
      }),
    );
  });
});

describe("prefixes", () => {
  test.each([
    ["2001:db8:66::/64", "2001:db8:66::/64"],
    ["::/0", "::/0"],
    ["2001:DB8::8/125", "2001:db8::8/125"],
    ["::1/128", "::1/128"],
  ])("%s", (text, canonical) => expect(parsePrefix6(text)).toBe(canonical));
  test.each(["2001:db8::1/64", "2001:db8::/129", "2001:db8::", "2001:db8::/", "2001:db8::/64/1", "2001:db8::/-1"])(
    "refuses '%s'",
    (text) => expect(parsePrefix6(text)).toBeUndefined(),
  );
  test("bounds hold exactly the addresses of the prefix", () => {
    fc.assert(
      fc.property(sixteen, fc.integer({ min: 0, max: 128 }), sixteen, (bytes, length, other) => {
        const { first } = prefix6Bounds(`${ipv6FromBytes(bytes)}/${length}` as Ipv6Prefix);
        const prefix = parsePrefix6(`${ipv6FromBytes(first)}/${length}`);
        if (prefix === undefined) throw new Error("the first address of a prefix names it");
        const bits = (of: Uint8Array): string =>
          [...of]
            .map((byte) => byte.toString(2).padStart(8, "0"))
            .join("")
            .slice(0, length);
        expect(prefix6Contains(prefix, ipv6FromBytes(other))).toBe(bits(other) === bits(bytes));
        expect(prefix6Contains(prefix, ipv6FromBytes(bytes))).toBe(true);
      }),
    );
  });
});

test("addresses that a MAC makes", () => {
  expect(linkLocalOf(mac)).toBe("fe80::fc00:cbff:fe00:710a");
  expect(eui64Address(parsePrefix6("2001:db8:66::/64") as Ipv6Prefix, mac)).toBe("2001:db8:66:0:fc00:cbff:fe00:710a");
  expect(solicitedNode(linkLocalOf(mac))).toBe("ff02::1:ff00:710a");
  expect([...multicastMac6(solicitedNode(linkLocalOf(mac)))]).toEqual([0x33, 0x33, 0xff, 0x00, 0x71, 0x0a]);
  expect(isLinkLocal6(linkLocalOf(mac))).toBe(true);
  expect(isMulticast6(solicitedNode(linkLocalOf(mac)))).toBe(true);
  expect(isMulticast6(linkLocalOf(mac))).toBe(false);
});
