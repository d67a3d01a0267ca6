/** DHCPv4 messages: a whole one from the wire, joining, overload, and bytes made to hurt. */
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ipv4FromNumber } from "../model/ipv4.ts";
import { macFromBytes } from "../model/mac.ts";
import { dhcp4Codec, dhcp4Size } from "./dhcp4.ts";
import type { Dhcp4Message } from "./dhcp4-message.ts";

const address = fc.integer({ min: 0, max: 0xffffffff }).map(ipv4FromNumber);
const latin = (maxLength: number) =>
  fc.array(fc.integer({ min: 1, max: 255 }), { maxLength }).map((codes) => String.fromCharCode(...codes));
const optionNumber = fc.integer({ min: 1, max: 254 }).filter((number) => {
  return number !== 52;
});
const options = fc
  .array(fc.tuple(optionNumber, fc.uint8Array({ maxLength: 700 })), { maxLength: 12 })
  .map((entries) => new Map(entries));

/** Every message of the canonical form. */
const message: fc.Arbitrary<Dhcp4Message> = fc.record({
  op: fc.constantFrom("request", "reply"),
  hops: fc.integer({ min: 0, max: 255 }),
  xid: fc.integer({ min: 0, max: 0xffffffff }),
  secs: fc.integer({ min: 0, max: 0xffff }),
  broadcast: fc.boolean(),
  ciaddr: address,
  yiaddr: address,
  siaddr: address,
  giaddr: address,
  chaddr: fc.uint8Array({ minLength: 6, maxLength: 6 }).map((bytes) => macFromBytes(bytes)),
  sname: latin(64),
  file: latin(128),
  options,
});

const plain: Dhcp4Message = {
  op: "request",
  hops: 0,
  xid: 0x3903_f326,
  secs: 0,
  broadcast: false,
  ciaddr: ipv4FromNumber(0),
  yiaddr: ipv4FromNumber(0),
  siaddr: ipv4FromNumber(0),
  giaddr: ipv4FromNumber(0),
  chaddr: macFromBytes(Uint8Array.of(0xfe, 0, 0xcb, 0, 0x71, 0x0a)),
  sname: "",
  file: "",
  options: new Map([[53, Uint8Array.of(1)]]),
};

/** Header without options, and the options behind it. */
function raw(tail: readonly number[], change: (bytes: Uint8Array) => void = () => undefined): Uint8Array {
  const bytes = new Uint8Array(240 + tail.length);
  bytes.set(dhcp4Codec.encode(plain).subarray(0, 240));
  bytes.set(tail, 240);
  change(bytes);
  return bytes;
}

describe("laws", () => {
  test("decode undoes encode", () => {
    fc.assert(
      fc.property(message, (value) => {
        const read = dhcp4Codec.decode(dhcp4Codec.encode(value));
        expect(read).toEqual({ ok: true, value });
        // The order on the wire carries meaning: preference of the client, mask before router.
        if (read.ok) expect([...read.value.options.keys()]).toEqual([...value.options.keys()]);
      }),
    );
  });

  test("any bytes are read or refused, and what is accepted is stable", () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 700 }), fc.boolean(), (bytes, isHeaded) => {
        const first = dhcp4Codec.decode(isHeaded ? raw([...bytes]) : bytes);
        if (first.ok) expect(dhcp4Codec.decode(dhcp4Codec.encode(first.value))).toEqual(first);
      }),
      { numRuns: 500 },
    );
  });

  test("a changed byte or a cut never throws, and what is accepted is stable", () => {
    fc.assert(
      fc.property(message, fc.nat(), fc.nat(255), fc.nat(), (value, at, byte, cut) => {
        const bytes = dhcp4Codec.encode(value);
        bytes[at % bytes.length] = byte;
        const read = dhcp4Codec.decode(bytes.subarray(0, bytes.length - (cut % bytes.length)));
        if (read.ok) expect(dhcp4Codec.decode(dhcp4Codec.encode(read.value))).toEqual(read);
      }),
    );
  });

  test("dhcp4Size is the size on the wire before padding", () => {
    fc.assert(
      fc.property(options, (some) => {
        const bytes = dhcp4Codec.encode({ ...plain, options: some });
        expect(bytes.length).toBe(Math.max(300, dhcp4Size(some)));
        expect(bytes[dhcp4Size(some) - 1]).toBe(255);
      }),
    );
  });
});

test("a DISCOVER as udhcpc writes it", () => {
  const tail = [
    53, 1, 1, 61, 7, 1, 0xfe, 0, 0xcb, 0, 0x71, 0x0a, 57, 2, 2, 0x40, 55, 7, 1, 3, 6, 12, 15, 28, 42, 60, 4,
  ];
  const read = dhcp4Codec.decode(raw([...tail, ...new TextEncoder().encode("udhc"), 255, 0, 0, 0]));
  expect(read).toEqual({
    ok: true,
    value: {
      ...plain,
      options: new Map([
        [53, Uint8Array.of(1)],
        [61, Uint8Array.of(1, 0xfe, 0, 0xcb, 0, 0x71, 0x0a)],
        [57, Uint8Array.of(2, 0x40)],
        [55, Uint8Array.of(1, 3, 6, 12, 15, 28, 42)],
        [60, new TextEncoder().encode("udhc")],
      ]),
    },
  });
});

test("the smallest message is padded to 300 octets (RFC 1542 section 2.1)", () => {
  const bytes = dhcp4Codec.encode(plain);
  expect(bytes.length).toBe(300);
  expect(bytes.subarray(243, 300)).toEqual(Uint8Array.from([255, ...new Array<number>(56).fill(0)]));
});

describe("long options (RFC 3396)", () => {
  test("are split at 255 octets when written", () => {
    const bytes = dhcp4Codec.encode({ ...plain, options: new Map([[121, new Uint8Array(300).fill(7)]]) });
    expect([bytes[240], bytes[241], bytes[240 + 257], bytes[240 + 258], bytes[240 + 304]]).toEqual([
      121, 255, 121, 45, 255,
    ]);
  });

  test("are joined when read, in the order of options, file, sname", () => {
    const bytes = raw([43, 1, 1, 52, 1, 3, 53, 1, 1, 43, 1, 2, 255], (all) => {
      all.set([43, 1, 4, 255], 44);
      all.set([0, 0, 43, 1, 3, 12, 1, 0x61], 108);
    });
    const read = dhcp4Codec.decode(bytes);
    expect(read).toMatchObject({ ok: true, value: { sname: "", file: "" } });
    expect(read.ok && read.value.options).toEqual(
      new Map([
        [43, Uint8Array.of(1, 2, 3, 4)],
        [53, Uint8Array.of(1)],
        [12, Uint8Array.of(0x61)],
      ]),
    );
  });
});

describe("overload (RFC 2132 section 9.3)", () => {
  const fill = (all: Uint8Array) => {
    all.set([12, 1, 0x73, 255], 44);
    all.set([15, 1, 0x66, 255], 108);
  };
  test.each([
    [1, [15], "\f\u0001s\u00ff", ""],
    [2, [12], "", "\u000f\u0001f\u00ff"],
    [3, [15, 12], "", ""],
  ])("%i", (overload, numbers, sname, file) => {
    const read = dhcp4Codec.decode(raw([52, 1, overload, 255], fill));
    expect(read).toMatchObject({ ok: true, value: { sname, file } });
    expect(read.ok && [...read.value.options.keys()]).toEqual(numbers);
  });

  test("inside an overloaded field it means nothing, and a field may be full without an end", () => {
    const read = dhcp4Codec.decode(
      raw([52, 1, 1, 255], (all) => {
        all.set([52, 1, 2, 60, 123], 108);
      }),
    );
    expect(read.ok && read.value.options).toEqual(new Map([[60, new Uint8Array(123)]]));
  });

  test.each([
    ["a value that is none", [52, 1, 0, 255], "unsupported"],
    ["a value that is none", [52, 1, 4, 255], "unsupported"],
    ["two octets", [52, 2, 1, 1, 255], "bad-length"],
    ["twice", [52, 1, 1, 52, 1, 2, 255], "bad-length"],
  ])("%s: %j", (_name, tail, why) => {
    expect(dhcp4Codec.decode(raw(tail))).toEqual({ ok: false, why });
  });

  test("an option over the end of an overloaded field", () => {
    const bytes = raw([52, 1, 2, 255], (all) => {
      all.set([12, 63], 44);
    });
    expect(dhcp4Codec.decode(bytes)).toEqual({ ok: false, why: "truncated" });
  });
});

describe("what is forgiven, and what is not", () => {
  test.each([
    ["padding of zeros", [53, 1, 1, 255, 0, 0, 0, 0]],
    ["anything behind the end", [53, 1, 1, 255, 1, 2, 3, 99]],
    ["no end", [53, 1, 1]],
    ["padding between options", [0, 0, 53, 1, 1, 0, 255]],
  ])("%s", (_name, tail) => {
    expect(dhcp4Codec.decode(raw(tail))).toEqual({ ok: true, value: plain });
  });

  test("an empty option is there", () => {
    const read = dhcp4Codec.decode(raw([80, 0, 255]));
    expect(read.ok && read.value.options).toEqual(new Map([[80, new Uint8Array(0)]]));
  });

  test.each([
    ["nothing", new Uint8Array(0), "truncated"],
    ["BOOTP without the cookie's end", raw([]).subarray(0, 239), "truncated"],
    ["another cookie", raw([255], (all) => all.fill(0, 236, 240)), "unsupported"],
    ["token ring (htype 6)", raw([255], (all) => all.fill(6, 1, 2)), "unsupported"],
    ["InfiniBand (hlen 0)", raw([255], (all) => all.fill(0, 2, 3)), "unsupported"],
    ["neither request nor reply", raw([255], (all) => all.fill(3, 0, 1)), "unsupported"],
    ["an option over the end", raw([53, 2, 1]), "truncated"],
    ["a number without a length", raw([53]), "truncated"],
  ])("%s", (_name, bytes, why) => {
    expect(dhcp4Codec.decode(bytes)).toEqual({ ok: false, why });
  });
});

test("sname and file are cut to their fields, and no character breaks out of them", () => {
  const read = dhcp4Codec.decode(dhcp4Codec.encode({ ...plain, sname: "s".repeat(99), file: "ĀĀ" }));
  expect(read).toEqual({ ok: true, value: { ...plain, sname: "s".repeat(64) } });
});

test("a datagram of one option repeated 20 000 times is joined in linear time", () => {
  const bomb = raw(Array.from({ length: 20_000 }, () => [43, 1, 7]).flat());
  const start = performance.now();
  const read = dhcp4Codec.decode(bomb);
  expect(performance.now() - start).toBeLessThan(500);
  expect(read.ok && read.value.options.get(43)?.length).toBe(20_000);
});

test("what was read does not change with the buffer it came from", () => {
  const bytes = dhcp4Codec.encode(plain);
  const read = dhcp4Codec.decode(bytes);
  bytes.fill(0);
  expect(read).toEqual({ ok: true, value: plain });
});
