/** The cursor: in order, big-endian, and zeros for ever once the bytes have run out. */
import { expect, test } from "vitest";
import { hexBytes } from "../../test/codec-laws.ts";
import { createReader, strict, unreadable } from "./reader.ts";

test("reads downwards", () => {
  const reader = createReader(hexBytes("01 0203 fffefdfc 020000000001 0a000001 aabb cc"));
  expect([reader.u8(), reader.u16(), reader.u32()]).toEqual([1, 0x0203, 0xfffefdfc]);
  expect([reader.mac(), reader.ipv4()]).toEqual(["02:00:00:00:00:01", "10.0.0.1"]);
  expect([reader.bytes(2), reader.rest(), reader.rest()]).toEqual([hexBytes("aabb"), hexBytes("cc"), hexBytes("")]);
  expect(reader.truncated).toBe(false);
});

test("past the end there are zeros, and it stays truncated", () => {
  const reader = createReader(hexBytes("ffff"));
  expect(reader.u32()).toBe(0);
  expect(reader.truncated).toBe(true);
  expect([reader.u8(), reader.mac(), reader.ipv4()]).toEqual([0, "00:00:00:00:00:00", "0.0.0.0"]);
  expect([reader.bytes(3), reader.rest()]).toEqual([hexBytes("000000"), hexBytes("")]);
  expect(reader.truncated).toBe(true);
});

test("asking for nothing at the end is not past it", () => {
  const reader = createReader(hexBytes(""));
  expect([reader.bytes(0), reader.rest(), reader.truncated]).toEqual([hexBytes(""), hexBytes(""), false]);
});

test("a fault makes a reading a refusal, with a value or without", () => {
  expect(strict({ value: 1, fault: undefined })).toEqual({ ok: true, value: 1 });
  expect(strict({ value: 1, fault: "bad-checksum" })).toEqual({ ok: false, why: "bad-checksum" });
  expect(strict(unreadable("truncated"))).toEqual({ ok: false, why: "truncated" });
});
