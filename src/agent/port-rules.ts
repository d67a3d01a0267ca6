/** The rules of one port, written, read back and removed without a look at the others. */
import type { HeldElement, Nft, NftChange, SetRef } from "../kernel/nft.ts";
import { GuardError } from "../model/errors.ts";
import type { InterfaceName } from "../model/names.ts";
import {
  bareElement,
  type ElementGroup,
  isPortChain,
  type PortWish,
  portChains,
  portElementGroups,
  sharedElementGroups,
} from "../plan/host.ts";
import { heldOf, isStale, sameElement } from "./held.ts";

export interface PortRules {
  /** What puts the port in force; what it finds under the same keys goes first. */
  additions(wish: PortWish): readonly NftChange[];
  /** @throws VERIFY_FAILED */
  verify(wish: PortWish): void;
  removals(port: InterfaceName, wish: PortWish | undefined): readonly NftChange[];
}

export function createPortRules(nft: Nft, table: string): PortRules {
  const groupsFor = (wish: PortWish): readonly ElementGroup[] => [
    ...portElementGroups(table, wish.binding),
    ...sharedElementGroups(table, wish),
  ];

  function additions(wish: PortWish): readonly NftChange[] {
    const changes: NftChange[] = [];
    for (const chain of portChains(table, wish.port, wish.binding)) {
      const held = nft.portChain(table, chain.chain);
      if (isPortChain(chain, held)) continue;
      if (held !== undefined) changes.push({ op: "delete-port-chain", chain });
      changes.push({ op: "add-port-chain", chain });
    }
    for (const { set: ref, elements } of groupsFor(wish)) {
      const stale = heldOf(nft, ref, elements).filter((held) => elements.some((wanted) => isStale(wanted, held)));
      if (stale.length > 0) changes.push({ op: "delete-elements", set: ref, elements: stale.map(bareElement) });
      changes.push({ op: "add-elements", set: ref, elements });
    }
    return changes;
  }

  function verify(wish: PortWish): void {
    const missing = groupsFor(wish).filter(({ set: ref, elements }) => {
      const held = heldOf(nft, ref, elements);
      return !elements.every((element) => held.some((h) => sameElement(element, h)));
    });
    const open = portChains(table, wish.port, wish.binding).filter(
      (chain) => !isPortChain(chain, nft.portChain(table, chain.chain)),
    );
    const faults = [...missing.map(({ set: ref }) => ref.set), ...open.map(({ chain }) => chain)];
    if (faults.length > 0) {
      throw new GuardError(
        "VERIFY_FAILED",
        `port '${wish.port}': the kernel does not hold ${faults.join(", ")} as asked`,
        { fields: { port: wish.port } },
      );
    }
  }

  /** Elements of the port that are there, so that the deletion cannot fail on one that is not. */
  function removals(port: InterfaceName, wish: PortWish | undefined): readonly NftChange[] {
    const changes: NftChange[] = [];
    for (const { chain } of portChains(table, port)) {
      if (nft.portChain(table, chain) !== undefined)
        changes.push({ op: "delete-port-chain", chain: { family: "netdev", table, chain } });
    }
    const forget = (ref: SetRef, held: readonly HeldElement[]): void => {
      const elements = held.map(bareElement);
      if (elements.length > 0) changes.push({ op: "delete-elements", set: ref, elements });
    };
    if (wish !== undefined) {
      for (const { set: ref, elements } of portElementGroups(table, wish.binding))
        forget(ref, heldOf(nft, ref, elements));
    }
    return changes;
  }

  return { additions, verify, removals };
}
