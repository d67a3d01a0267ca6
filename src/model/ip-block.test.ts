/** Addresses and prefixes of either family: their octets, what lies in them, and which meet. */
import { describe, expect, test } from "vitest";
import { bytesText } from "./bytes.ts";
import { blockHolds, blockOctets, type IpAddress, ipToBytes, parseIp, parseIpBlock } from "./ip-block.ts";
import { parsePrefix4, prefix4Meets } from "./ipv4.ts";
import { parsePrefix6, prefix6Meets } from "./ipv6.ts";
import type { IpBlock } from "./resources.ts";

function blockOf(text: string): IpBlock {
  const block = parseIpBlock(text);
  if (block === undefined) throw new TypeError(text);
  return block;
}

function addressOf(text: string): IpAddress {
  const address = parseIp(text);
  if (address === undefined) throw new TypeError(text);
  return address;
}

test.each([
  ["203.0.113.7", "203.0.113.7", "203.0.113.7"],
  ["203.0.113.0/28", "203.0.113.0", "203.0.113.15"],
  ["0.0.0.0/0", "0.0.0.0", "255.255.255.255"],
  ["2001:db8::7", "2001:db8::7", "2001:db8::7"],
  ["2001:db8::/63", "2001:db8::", "2001:db8:0:1:ffff:ffff:ffff:ffff"],
])("%s begins and ends", (text, first, last) => {
  expect(blockOctets(blockOf(text))).toMatchObject({
    first: ipToBytes(addressOf(first)),
    last: ipToBytes(addressOf(last)),
  });
});

test.each([
  ["203.0.113.7", "203.0.113.7", true],
  ["203.0.113.7", "203.0.113.8", false],
  ["203.0.113.0/28", "203.0.113.15", true],
  ["203.0.113.0/28", "203.0.113.16", false],
  ["0.0.0.0/0", "2001:db8::7", false],
  ["2001:db8::7", "2001:db8::7", true],
  ["2001:db8::/64", "2001:db8::ffff", true],
  ["2001:db8::/64", "2001:db8:0:1::", false],
  ["::/0", "203.0.113.7", false],
])("%s and %s", (block, address, holds) => {
  expect(blockHolds(blockOf(block), addressOf(address))).toBe(holds);
});

describe("prefixes meet when one lies in the other", () => {
  test.each([
    ["10.0.0.0/8", "10.1.0.0/16", true],
    ["10.0.0.0/9", "10.128.0.0/9", false],
    ["10.0.0.0/24", "10.0.0.0/24", true],
    ["0.0.0.0/0", "203.0.113.0/24", true],
  ])("%s, %s", (one, other, meet) => {
    const [a, b] = [parsePrefix4(one), parsePrefix4(other)];
    if (a === undefined || b === undefined) throw new TypeError("prefixes");
    expect([prefix4Meets(a, b), prefix4Meets(b, a)]).toEqual([meet, meet]);
  });

  test.each([
    ["2001:db8::/32", "2001:db8:1::/48", true],
    ["2001:db8::/33", "2001:db8:8000::/33", false],
    ["::/0", "2001:db8::/64", true],
  ])("%s, %s", (one, other, meet) => {
    const [a, b] = [parsePrefix6(one), parsePrefix6(other)];
    if (a === undefined || b === undefined) throw new TypeError("prefixes");
    expect([prefix6Meets(a, b), prefix6Meets(b, a)]).toEqual([meet, meet]);
  });
});

test("the text of octets sorts as the octets do", () => {
  const addresses = ["0.0.0.0", "9.255.255.255", "10.0.0.0", "127.0.0.1", "128.0.0.0", "255.255.255.255"];
  const texts = addresses.map((address) => bytesText(ipToBytes(addressOf(address))));
  expect([...texts].sort()).toEqual(texts);
});
