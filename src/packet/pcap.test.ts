/** Captures in pieces of any size, in both byte orders, and what is none. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { parseHex, toHex } from "./hex.ts";
import { pcapReader, readCapture } from "./pcap.ts";

function capture(frames: readonly Uint8Array[], little: boolean): Uint8Array {
  const bytes = new Uint8Array(24 + frames.reduce((sum, frame) => sum + 16 + frame.length, 0));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0xa1b2c3d4, little);
  view.setUint32(20, 1, little);
  let at = 24;
  for (const frame of frames) {
    view.setUint32(at + 8, frame.length, little);
    view.setUint32(at + 12, frame.length, little);
    bytes.set(frame, at + 16);
    at += 16 + frame.length;
  }
  return bytes;
}

test("frames come out whole however the pipe cuts them", () => {
  const frames = fc.array(fc.uint8Array({ maxLength: 80 }), { maxLength: 6 });
  fc.assert(
    fc.property(frames, fc.boolean(), fc.integer({ min: 1, max: 50 }), (given, little, size) => {
      const bytes = capture(given, little);
      const reader = pcapReader();
      const got: Uint8Array[] = [];
      for (let at = 0; at < bytes.length; at += size) got.push(...reader.push(bytes.subarray(at, at + size)));
      expect(got.map(toHex)).toEqual(given.map(toHex));
    }),
  );
});

test("what is no capture is refused", () => {
  expect(() => pcapReader().push(new Uint8Array(24))).toThrow("not a pcap stream");
  const huge = capture([new Uint8Array(4)], true);
  new DataView(huge.buffer).setUint32(24 + 8, 0x7fffffff, true);
  expect(() => pcapReader().push(huge)).toThrow("frame of");
});

test("a capture file is read whole, and what is none is refused with a reason", () => {
  const frame = Uint8Array.of(1, 2, 3);
  for (const little of [true, false])
    expect(readCapture(capture([frame, frame], little))).toEqual({ ok: true, frames: [frame, frame] });
  const cooked = capture([], true);
  cooked[20] = 113;
  const why = (bytes: Uint8Array): string => {
    const read = readCapture(bytes);
    return read.ok ? "" : read.why;
  };
  expect(why(cooked)).toContain("link type 113");
  expect(why(Uint8Array.of(0x0a, 0x0d, 0x0d, 0x0a, ...new Uint8Array(30)))).toContain("pcapng");
  expect(why(new Uint8Array(24))).toContain("not a pcap stream");
  expect(why(new Uint8Array(3))).toContain("3 octets");
  fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => typeof readCapture(bytes).ok === "boolean"));
});

test("hex goes both ways; half a byte and strangers are refused", () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      expect(parseHex(toHex(bytes))).toEqual(bytes);
    }),
  );
  expect(parseHex("DE:ad be ef")).toEqual(Uint8Array.of(0xde, 0xad, 0xbe, 0xef));
  for (const text of ["f", "0g", "0x00", "00-11"]) expect(parseHex(text)).toBeUndefined();
});
