/** When an element that is held says what was asked for, so that it may stay. */
import { describe, expect, test } from "vitest";
import type { Element, HeldElement } from "../kernel/nft.ts";
import { bareElement, sameMeaning } from "./host.ts";

const key = Uint8Array.of(1);
const limit = { unit: "packets", perSecond: 5, burst: 9 } as const;
const meanings: readonly Element[] = [
  { key },
  { key, data: Uint8Array.of(7) },
  { key, data: Uint8Array.of(7, 0) },
  { key, limit },
  { key, limit: { ...limit, unit: "bytes" } },
  { key, limit: { ...limit, burst: 10 } },
  { key, connections: 5 },
  { key, connections: 6 },
];

describe.each([...meanings.entries()])("meaning %i", (i, wanted) => {
  test.each([...meanings.entries()])("is meant by %i only if it is the same", (j, element) => {
    const held: HeldElement = { ...element, packets: 3n, bytes: 4n };
    expect(sameMeaning(wanted, held)).toBe(i === j);
  });
  test("is no part of what a deletion names", () => {
    expect(bareElement({ ...wanted, keyEnd: key })).toEqual({ key, keyEnd: key });
    expect(bareElement(wanted)).toEqual({ key });
  });
});
