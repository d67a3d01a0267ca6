/** The builder: big-endian, modulo the size of the field, growing, and done() is the caller's own copy. */
import { expect, test } from "vitest";
import { hexBytes, ip4Of, macOf } from "../../test/codec-laws.ts";
import { createWriter } from "./writer.ts";

test("writes downwards and patches", () => {
  const writer = createWriter().u8(1).u16(0).u32(0xfffefdfc).mac(macOf("02:00:00:00:00:01")).ipv4(ip4Of("10.0.0.1"));
  expect(writer.length).toBe(17);
  expect(writer.patch16(1, 0x0203).done()).toEqual(hexBytes("01 0203 fffefdfc 020000000001 0a000001"));
});

test("numbers are taken modulo their size", () => {
  expect(createWriter().u8(0x1ff).u16(-1).u32(-2).done()).toEqual(hexBytes("ff ffff fffffffe"));
});

test("grows as far as it must", () => {
  const writer = createWriter();
  const part = Uint8Array.from({ length: 1000 }, (_, i) => i & 255);
  for (let i = 0; i < 70; i += 1) writer.bytes(part);
  expect(writer.length).toBe(70_000);
  expect(writer.done().subarray(69_000)).toEqual(part);
});

test("what is done does not change with the writer", () => {
  const writer = createWriter().u16(1);
  const first = writer.done();
  writer.patch16(0, 2);
  expect([first, writer.done()]).toEqual([hexBytes("0001"), hexBytes("0002")]);
});
