/** Single elements read back, and whether they are as they were asked for. */

import type { Element, HeldElement, Nft, NftChange, SetRef } from "../kernel/nft.ts";
import { sameBytes } from "../model/bytes.ts";
import { sameMeaning } from "../plan/host.ts";

/** Sets of ranges are looked up whole: they are small, and a kernel lookup wants a point, not a range. */
export function heldOf(nft: Nft, ref: SetRef, elements: readonly Element[]): readonly HeldElement[] {
  if (elements.every(({ keyEnd }) => keyEnd === undefined))
    return nft.lookup(
      ref,
      elements.map(({ key }) => key),
    );
  return (nft.elements(ref) ?? []).filter((held) => elements.some((wanted) => sameKey(wanted, held)));
}

const sameKey = (a: Element, b: Element): boolean =>
  sameBytes(a.key, b.key) &&
  (a.keyEnd === undefined ? b.keyEnd === undefined : b.keyEnd !== undefined && sameBytes(a.keyEnd, b.keyEnd));

export const sameElement = (wanted: Element, held: HeldElement): boolean =>
  sameKey(wanted, held) && sameMeaning(wanted, held);
/** Under the wanted key, but meaning something else. */
export const isStale = (wanted: Element, held: HeldElement): boolean =>
  sameKey(wanted, held) && !sameMeaning(wanted, held);

/** Whether the kernel holds what was added and nothing of what was only deleted. */
export function areHeld(nft: Nft, changes: readonly NftChange[]): boolean {
  const added = changes.flatMap((change) => (change.op === "add-elements" ? change : []));
  return changes.every((change) => {
    if (change.op !== "add-elements" && change.op !== "delete-elements") return false;
    const held = heldOf(nft, change.set, change.elements);
    if (change.op === "add-elements")
      return change.elements.every((wanted) => held.some((one) => sameElement(wanted, one)));
    const again = added.filter(({ set }) => sameSet(set, change.set)).flatMap(({ elements }) => elements);
    return held.every((one) => again.some((wanted) => sameKey(wanted, one)));
  });
}

const sameSet = (a: SetRef, b: SetRef): boolean => a.family === b.family && a.set === b.set;
