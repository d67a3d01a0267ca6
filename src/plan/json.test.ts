/** Differences between stored values, as sentences. */
import fc from "fast-check";
import { expect, test } from "vitest";
import { differences, sameJson, toJson } from "./json.ts";

test.each<[object, object, readonly string[]]>([
  [{ a: 1 }, { a: 1 }, []],
  [{ a: 1, b: 2 }, { b: 2, a: 1 }, []],
  [{ a: { b: 1 } }, { a: { b: 2 } }, ["change a.b from 1 to 2"]],
  [{ a: "x" }, {}, ["remove a (x)"]],
  [{}, { a: "x" }, ["set a to x"]],
  [{ a: ["x", "y"] }, { a: ["y", "z"] }, ["remove a x", "add a z"]],
  [{ a: ["x", "y"] }, { a: ["y", "x"] }, ["reorder a to y, x"]],
  [{ a: [{ b: 1 }] }, { a: [{ b: 2 }, { b: 3 }] }, ["change a[0].b from 1 to 2", 'set a[1] to {"b":3}']],
  [{ a: "any" }, { a: { group: "web" } }, ['change a from any to {"group":"web"}']],
])("%j to %j", (before, after, sentences) => {
  expect(differences(toJson(before), toJson(after)).map(({ text }) => text)).toEqual(sentences);
});

test("fields that are undefined are not there", () => {
  expect(toJson({ a: undefined, b: [{ c: undefined }] })).toEqual({ b: [{}] });
  expect(() => toJson({ a: 1n })).toThrow("no JSON: bigint");
});

test("values are the same exactly when they have no differences, but for words repeated in a list", () => {
  fc.assert(
    fc.property(fc.jsonValue(), fc.jsonValue(), (a, b) => {
      const [x, y] = [toJson(a), toJson(b)];
      expect(sameJson(x, toJson(a))).toBe(true);
      expect(differences(x, toJson(a))).toEqual([]);
      if (sameJson(x, y)) expect(differences(x, y)).toEqual([]);
      expect(sameJson(x, y)).toBe(sameJson(y, x));
    }),
  );
});
