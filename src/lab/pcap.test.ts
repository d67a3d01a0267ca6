/** Captures in pieces of any size, in both byte orders, and what is none. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { parseHex, toHex } from "./hex.ts";
import { pcapReader } from "./pcap.ts";

function capture(frames: readonly Uint8Array[], little: boolean): Uint8Array {
  const bytes = new Uint8Array(24 + frames.reduce((sum, frame) => sum + 16 + frame.length, 0));
  const view = new DataView(bytes.buffer);
  view.setUint32(0, 0xa1b2c3d4, little);
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

test("hex goes both ways; half a byte and strangers are refused", () => {
  fc.assert(
    fc.property(fc.uint8Array(), (bytes) => {
      expect(parseHex(toHex(bytes))).toEqual(bytes);
    }),
  );
  expect(parseHex("DE:ad be ef")).toEqual(Uint8Array.of(0xde, 0xad, 0xbe, 0xef));
  for (const text of ["f", "0g", "0x00", "00-11"]) expect(parseHex(text)).toBeUndefined();
});
