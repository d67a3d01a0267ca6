/** Single elements read back, and whether they are as they were asked for. */

import type { Element, HeldElement, Nft, NftChange, SetRef } from "../kernel/nft.ts";
import { bytesText, sameBytes } from "../model/bytes.ts";
import { sameMeaning } from "../plan/host.ts";

/** Sets of ranges are looked up whole: they are small, and a kernel lookup wants a point, not a range. */
export function heldOf(nft: Nft, ref: SetRef, elements: readonly Element[]): readonly HeldElement[] {
  if (elements.every(({ keyEnd }) => keyEnd === undefined))
    return nft.lookup(
      ref,
      elements.map(({ key }) => key),
    );
  const wanted = new Set(elements.map(keyText));
  return (nft.elements(ref) ?? []).filter((held) => wanted.has(keyText(held)));
}

/** Of one set, whose keys are all of one length. */
const keyText = ({ key, keyEnd }: Element): string => bytesText(key) + (keyEnd === undefined ? "" : bytesText(keyEnd));

const sameKey = (a: Element, b: Element): boolean =>
  sameBytes(a.key, b.key) &&
  (a.keyEnd === undefined ? b.keyEnd === undefined : b.keyEnd !== undefined && sameBytes(a.keyEnd, b.keyEnd));

export const sameElement = (wanted: Element, held: HeldElement): boolean =>
  sameKey(wanted, held) && sameMeaning(wanted, held);
/** Under the wanted key, but meaning something else. */
export const isStale = (wanted: Element, held: HeldElement): boolean =>
  sameKey(wanted, held) && !sameMeaning(wanted, held);

/** Whether the kernel holds what was added and nothing of what was only deleted. A group that many carry changes thousands of elements at once. */
export function areHeld(nft: Nft, changes: readonly NftChange[]): boolean {
  const added = new Map<string, Set<string>>();
  for (const change of changes) {
    if (change.op !== "add-elements") continue;
    const keys = added.get(setText(change.set)) ?? new Set();
    added.set(setText(change.set), keys);
    for (const element of change.elements) keys.add(keyText(element));
  }
  return changes.every((change) => {
    if (change.op !== "add-elements" && change.op !== "delete-elements") return false;
    const held = new Map(heldOf(nft, change.set, change.elements).map((one) => [keyText(one), one]));
    if (change.op === "add-elements")
      return change.elements.every((wanted) => {
        const one = held.get(keyText(wanted));
        return one !== undefined && sameMeaning(wanted, one);
      });
    const again = added.get(setText(change.set));
    return [...held.keys()].every((key) => again?.has(key) === true);
  });
}

const setText = ({ family, set }: SetRef): string => `${family} ${set}`;
