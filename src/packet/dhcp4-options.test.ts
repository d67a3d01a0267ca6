/** Option values: what goes in comes out, and what a guest invents costs little and throws never. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { type Ipv4Address, type Ipv4Prefix, ipv4FromNumber, parseIpv4, parsePrefix4 } from "../model/ipv4.ts";
import { type DhcpOption, dhcp4Options, readOption } from "./dhcp4-options.ts";

function ip(text: string): Ipv4Address {
  const address = parseIpv4(text);
  if (address === undefined) throw new TypeError(text);
  return address;
}

function prefix(text: string): Ipv4Prefix {
  const parsed = parsePrefix4(text);
  if (parsed === undefined) throw new TypeError(text);
  return parsed;
}

function bytesOf(hex: string): Uint8Array {
  return Uint8Array.from(hex.match(/[0-9a-f]{2}/g) ?? [], (pair) => Number.parseInt(pair, 16));
}

const anyAddress = fc.integer({ min: 0, max: 0xffffffff }).map(ipv4FromNumber);
const anyPrefix = fc
  .tuple(fc.integer({ min: 0, max: 0xffffffff }), fc.integer({ min: 0, max: 32 }))
  .map(([n, length]) => {
    return prefix(`${ipv4FromNumber(length === 0 ? 0 : (n & (0xffffffff << (32 - length))) >>> 0)}/${length}`);
  });
const label = fc.stringMatching(/^[A-Za-z0-9_-]{1,20}$/);
const domain = fc.array(label, { minLength: 1, maxLength: 6 }).map((labels) => labels.join("."));
const bytes = fc.uint8Array({ maxLength: 600 });

const valuesByKind: Readonly<Record<string, fc.Arbitrary<unknown>>> = {
  unsigned8: fc.integer({ min: 0, max: 255 }),
  unsigned16: fc.integer({ min: 0, max: 0xffff }),
  "unsigned16 list": fc.array(fc.integer({ min: 0, max: 0xffff }), { minLength: 1, maxLength: 40 }),
  unsigned32: fc.integer({ min: 0, max: 0xffffffff }),
  address: anyAddress,
  addresses: fc.array(anyAddress, { minLength: 1, maxLength: 80 }),
  opaque: bytes,
  flag: fc.constant(true),
  text: fc.stringMatching(/^[ -~]{1,300}$/),
  numbers: fc.array(fc.integer({ min: 0, max: 255 }), { minLength: 1, maxLength: 80 }),
  type: fc.constantFrom("discover", "offer", "request", "decline", "ack", "nak", "release", "inform"),
  domains: fc.array(domain, { minLength: 1, maxLength: 64 }),
  routes: fc.array(fc.record({ to: anyPrefix, via: anyAddress }), { minLength: 1, maxLength: 60 }),
};

const table: readonly DhcpOption<unknown>[] = Object.values(dhcp4Options);

test("every number stands in the table once", () => {
  const all = table.map(({ number }) => number);
  expect(new Set(all).size).toBe(all.length);
  expect(all).toEqual([...all].sort((a, b) => a - b));
});

describe.each(table.map((option) => ({ ...option, kind: option.value.name })))(
  "$number $name ($kind)",
  ({ value, kind }) => {
    test("decode undoes encode", () => {
      const values = valuesByKind[kind];
      if (values === undefined) throw new TypeError(`no values for ${kind}`);
      fc.assert(
        fc.property(values, (one) => {
          expect(value.decode(value.encode(one))).toEqual({ ok: true, value: one });
        }),
        { numRuns: 50 },
      );
    });

    test("any bytes are read or refused, and what is accepted is stable", () => {
      fc.assert(
        fc.property(bytes, (one) => {
          const first = value.decode(one);
          if (first.ok) expect(value.decode(value.encode(first.value))).toEqual(first);
        }),
        { numRuns: 200 },
      );
    });
  },
);

test.each([
  // RFC 3442, the table of examples.
  ["00 0a000001", "0.0.0.0/0"],
  ["08 0a 0a000001", "10.0.0.0/8"],
  ["18 0a0000 0a000001", "10.0.0.0/24"],
  ["10 0a11 0a000001", "10.17.0.0/16"],
  ["18 0a1b81 0a000001", "10.27.129.0/24"],
  ["19 0a e5 00 80 0a000001", "10.229.0.128/25"],
  ["20 0ac67a2f 0a000001", "10.198.122.47/32"],
])("RFC 3442: %s is %s", (hex, to) => {
  const { value } = dhcp4Options.classlessRoutes;
  const routes = [{ to: prefix(to), via: ip("10.0.0.1") }];
  expect(value.decode(bytesOf(hex))).toEqual({ ok: true, value: routes });
  expect(value.encode(routes)).toEqual(bytesOf(hex));
});

test("RFC 3442: bits outside the mask are cleared", () => {
  const read = dhcp4Options.classlessRoutes.value.decode(bytesOf("0c 0aff 0a000001"));
  expect(read).toEqual({ ok: true, value: [{ to: prefix("10.240.0.0/12"), via: ip("10.0.0.1") }] });
});

test.each([
  ["21 0a000000 0a000001", "bad-length"],
  ["18 0a0000 0a0000", "truncated"],
  ["", "bad-length"],
])("RFC 3442: %s is refused as %s", (hex, why) => {
  expect(dhcp4Options.classlessRoutes.value.decode(bytesOf(hex))).toEqual({ ok: false, why });
});

describe("domain search (RFC 3397)", () => {
  const { value } = dhcp4Options.domainSearch;
  const eng = "03656e67 056170706c65 03636f6d 00";

  test("the example of section 3: a pointer to 'apple.com'", () => {
    const marketing = "096d61726b6574696e67 c004";
    expect(value.decode(bytesOf(`${eng} ${marketing}`))).toEqual({
      ok: true,
      value: ["eng.apple.com", "marketing.apple.com"],
    });
  });

  test.each([
    ["points at itself", "c000", "unsupported"],
    ["points forwards", "0161 c004 0162 00", "unsupported"],
    ["points to where it began: a loop", "0161 0162 c000", "unsupported"],
    ["two pointers at each other", "c002 c000", "unsupported"],
    ["reserved label type 01", "4161 00", "bad-length"],
    ["a label over the end", "0561 62", "truncated"],
    ["a pointer cut in half", "0161 c0", "truncated"],
    ["no root", "0161", "truncated"],
    ["the root alone", "00", "unsupported"],
    ["a dot inside a label", "03612e62 00", "unsupported"],
    ["nothing", "", "bad-length"],
  ])("%s", (_name, hex, why) => {
    expect(value.decode(bytesOf(hex))).toEqual({ ok: false, why });
  });

  test("a name of 255 octets is the longest (RFC 1035 section 2.3.4)", () => {
    const name = (last: number) => [63, 63, 63, last].map((length) => "x".repeat(length)).join(".");
    expect(value.decode(value.encode([name(61)]))).toEqual({ ok: true, value: [name(61)] });
    const tooLong = [63, 63, 63, 62].flatMap((length) => [length, ...new Array<number>(length).fill(0x78)]);
    expect(value.decode(Uint8Array.from([...tooLong, 0]))).toEqual({ ok: false, why: "bad-length" });
    expect(value.encode([name(62), "example.com"])).toEqual(value.encode(["example.com"]));
  });

  test("thousands of names that all point at a long one are refused before they cost anything", () => {
    const long = [...Array.from({ length: 126 }, () => [1, 0x61]).flat(), 0];
    const bomb = Uint8Array.from([...long, ...Array.from({ length: 30_000 }, () => [0xc0, 0]).flat()]);
    const start = performance.now();
    expect(value.decode(bomb)).toEqual({ ok: false, why: "bad-length" });
    expect(performance.now() - start).toBeLessThan(500);
  });

  test("a staircase of pointers is climbed a little way only", () => {
    const stairs = (count: number) =>
      Uint8Array.from([1, 0x61, 0, ...Array.from({ length: count }, (_, i) => [0xc0, i === 0 ? 0 : 1 + i * 2]).flat()]);
    expect(value.decode(stairs(16))).toEqual({ ok: true, value: new Array<string>(17).fill("a") });
    expect(value.decode(stairs(18))).toEqual({ ok: false, why: "unsupported" });
  });
});

test("trailing zeros of text are taken off, and what is not printable is refused (RFC 2132 section 2)", () => {
  const { value } = dhcp4Options.hostname;
  expect(value.decode(bytesOf("77656231 0000"))).toEqual({ ok: true, value: "web1" });
  expect(value.decode(bytesOf("1b5b324a"))).toEqual({ ok: false, why: "unsupported" });
  expect(value.decode(bytesOf("0000"))).toEqual({ ok: false, why: "bad-length" });
  expect(value.encode("wéb")).toEqual(bytesOf("77 3f 62"));
});

test("readOption: there, absent, broken", () => {
  const options = new Map([
    [50, bytesOf("0a000001")],
    [54, bytesOf("0a")],
  ]);
  expect(readOption(options, dhcp4Options.requestedAddress)).toBe("10.0.0.1");
  expect(readOption(options, dhcp4Options.type)).toBeUndefined();
  expect(readOption(options, dhcp4Options.serverId)).toBeUndefined();
});
