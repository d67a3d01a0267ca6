/** What counts as a slip of the finger. */
import { expect, test } from "vitest";
import { editDistance, nearest } from "./nearest.ts";

test.each([
  ["", "", 0],
  ["bridge", "bridge", 0],
  ["brigde", "bridge", 1],
  ["bridg", "bridge", 1],
  ["bridgee", "bridge", 1],
  ["bredge", "bridge", 1],
  ["brdige", "bridge", 1],
  ["birdeg", "bridge", 2],
  ["kitten", "sitting", 3],
])("from %j to %j are %i steps", (a, b, steps) => {
  expect(editDistance(a, b)).toBe(steps);
  expect(editDistance(b, a)).toBe(steps);
});

test.each([
  ["brigde", "bridge"],
  ["Bridge", "bridge"],
  ["uplnk", "uplink"],
  ["gateway", undefined],
  ["x", undefined],
  ["to", "tp"],
])("%j was probably meant as %j", (word, expected) => {
  expect(nearest(word, ["bridge", "uplink", "kind", "tp"])).toBe(expected);
});

test("the nearer of two is named", () => {
  expect(nearest("lan1", ["lan22", "lan2", "lan3"])).toBe("lan2");
});
