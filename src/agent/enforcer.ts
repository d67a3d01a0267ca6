/**
 * Makes the kernel hold a wish: skeleton, elements, port chains, bridge ports. Reads back and never assumes.
 *
 * Invariants: a port goes up only after its rules were read back; a refused transaction leaves the old rules standing;
 * nothing here ever removes the skeleton without putting a closed one in its place in the same transaction.
 */
import type { FdbEntry, Link, Links } from "../kernel/links.ts";
import type { Element, HeldElement, Nft, NftChange, SetRef } from "../kernel/nft.ts";
import { GuardError } from "../model/errors.ts";
import type { InterfaceName } from "../model/names.ts";
import { unreachable } from "../model/never.ts";
import {
  guardChanges,
  type HeldGuard,
  type HostWish,
  isPortChain,
  type LinkStep,
  linkSteps,
  type PortWish,
  portChainPrefix,
  portChains,
  portElementGroups,
} from "../plan/host.ts";
import { hostU32At, staticSets } from "../ruleset/elements.ts";
import { type Skeleton, tablePrefix } from "../ruleset/skeleton.ts";
import { listingDigest, sealChain, sealedDigest } from "./seal.ts";

/** What became of one port in a pass over all. */
export interface PortOutcome {
  readonly wish: PortWish;
  readonly error?: GuardError;
}

export interface PassResult {
  readonly ports: readonly PortOutcome[];
  /** How many nftables changes and link steps it took; 0 when everything was in place. */
  readonly changed: number;
}

export interface Enforcer {
  /**
   * Puts the constant ruleset in place if it is not there whole; existing good tables are left alone.
   * `loaded` says that it had to be written. @throws NFT_REFUSED, KERNEL_UNSUPPORTED
   */
  ensureSkeleton(): Promise<{ readonly loaded: boolean }>;
  /** From whatever the kernel holds to the wish, every port on its own feet. @throws NFT_REFUSED when the rules as a whole are refused. */
  reconcile(wish: HostWish): Promise<PassResult>;
  /** Link down, one transaction, read back, bridge port, link up. On failure the port is down and without rules. @throws GuardError */
  attach(wish: PortWish): void;
  /** Removes every trace; fine when some or all of it is gone. `binding` tells which elements; the interface may no longer exist. */
  detach(port: InterfaceName, ifindex: number, wish: PortWish | undefined): void;
  /** Names of tables in the kernel that belong to vifguard. */
  readonly table: string;
}

const families = ["netdev", "bridge", "inet", "arp"] as const;

export function createEnforcer(nft: Nft, links: Links, skeleton: Skeleton): Enforcer {
  const { table } = skeleton;
  const set = (family: SetRef["family"], name: string): SetRef => ({ family, table, set: name });

  function ourTables(): readonly { family: (typeof families)[number]; name: string }[] {
    return families.flatMap((family) =>
      nft
        .tables(family)
        .filter((name) => name.startsWith(tablePrefix))
        .map((name) => ({ family, name })),
    );
  }

  /** The listings of all four tables; undefined when one is missing. */
  async function listing(): Promise<string | undefined> {
    const texts = await Promise.all(families.map((family) => nft.listTable(family, table)));
    return texts.every((text) => text !== undefined) ? texts.join("") : undefined;
  }

  /** Remembers in the kernel itself how the untouched tables are listed, so that an agent with no memory can tell. */
  async function seal(): Promise<void> {
    const text = await listing();
    if (text === undefined) throw new GuardError("VERIFY_FAILED", `table '${table}' is gone right after it was loaded`);
    await nft.load(`add chain netdev ${table} ${sealChain(listingDigest(text))}\n`);
  }

  async function isWhole(): Promise<boolean> {
    const text = await listing();
    return text !== undefined && sealedDigest(text) === listingDigest(text);
  }

  const removal = (tables: readonly { family: string; name: string }[]): string =>
    tables.map(({ family, name }) => `delete table ${family} ${name}\n`).join("");

  /** Other versions of our tables, still in force: they stay until the new ones are filled. */
  let superseded: readonly { family: string; name: string }[] = [];

  async function ensureSkeleton(): Promise<{ loaded: boolean }> {
    const present = ourTables();
    superseded = present.filter(({ name }) => name !== table);
    const own = present.filter(({ name }) => name === table);
    if (own.length === families.length && (await isWhole())) return { loaded: false };
    // An older version keeps guarding while the new tables are filled, so these take effect only afterwards (finishUpgrade).
    const hooks = superseded.length > 0 ? "" : skeleton.hooks;
    await nft.load(removal(own) + skeleton.body + hooks);
    if (superseded.length === 0) await seal();
    return { loaded: true };
  }

  async function finishUpgrade(): Promise<void> {
    if (superseded.length === 0) return;
    await nft.load(skeleton.hooks + removal(superseded));
    superseded = [];
    await seal();
  }

  function readGuard(): HeldGuard {
    const sets = staticSets.map(({ family, set: name }) => {
      const elements = nft.elements(set(family, name));
      if (elements === undefined)
        throw new GuardError("VERIFY_FAILED", `set '${name}' of table '${family} ${table}' is missing`);
      return { set: set(family, name), elements };
    });
    const chains = Object.values(portChainPrefix).flatMap((prefix) => nft.portChains(table, prefix) ?? []);
    return { sets, chains };
  }

  function runStep(step: LinkStep): void {
    switch (step.op) {
      case "set-master":
        links.setMaster(step.ifindex, step.master);
        break;
      case "set-flags":
        links.setBridgePort(step.ifindex, step.flags);
        break;
      case "add-fdb":
        links.addFdb(step.entry);
        break;
      case "delete-fdb":
        links.deleteFdb(step.entry);
        break;
      case "set-up":
        links.setUp(step.ifindex, step.up);
        break;
      default:
        unreachable(step);
    }
  }

  /** Bridge port of a guarded port; read back, so that what `status` says is what the kernel does. */
  function connect(wish: PortWish, link: Link | undefined, fdb: readonly FdbEntry[]): number {
    if (link === undefined || link.name !== wish.port) throw portGone(wish.port);
    const steps = linkSteps(wish, link, fdb);
    for (const step of steps) runStep(step);
    if (steps.length > 0) verifyLink(wish);
    return steps.length;
  }

  function connectOne(wish: PortWish): void {
    const link = links.byIndex(wish.binding.ifindex);
    connect(wish, link, link?.master === wish.bridge ? links.fdb(wish.binding.ifindex) : []);
  }

  /** One reading for all ports: with 4 000 of them one reading each takes seconds. */
  function connectAll(wishes: readonly PortWish[]): { readonly ports: readonly PortOutcome[]; readonly steps: number } {
    const byIndex = new Map(links.list().map((link) => [link.ifindex, link]));
    const entries = new Map<number, FdbEntry[]>();
    for (const entry of links.fdb()) entries.set(entry.ifindex, [...(entries.get(entry.ifindex) ?? []), entry]);
    let steps = 0;
    const ports = wishes.map((wish): PortOutcome => {
      const { ifindex } = wish.binding;
      try {
        steps += connect(wish, byIndex.get(ifindex), entries.get(ifindex) ?? []);
        return { wish };
      } catch (error) {
        return { wish, error: shut(wish, error) };
      }
    });
    return { ports, steps };
  }

  function verifyLink(wish: PortWish): void {
    const link = links.byIndex(wish.binding.ifindex);
    if (link === undefined) throw portGone(wish.port);
    const left = linkSteps(wish, link, links.fdb(wish.binding.ifindex));
    if (left.length > 0) {
      throw new GuardError(
        "VERIFY_FAILED",
        `port '${wish.port}' did not take ${left.map((step) => step.op).join(", ")}`,
        { fields: { port: wish.port } },
      );
    }
  }

  async function reconcile(wish: HostWish): Promise<PassResult> {
    let changes = guardChanges(table, wish, readGuard());
    const total = changes.length;
    if (changes.length > 0) {
      nft.commit(changes);
      changes = guardChanges(table, wish, readGuard());
      if (changes.length > 0)
        throw new GuardError("VERIFY_FAILED", `${changes.length} changes to table '${table}' did not hold`);
    }
    await finishUpgrade();
    const { ports, steps } = connectAll(wish.ports);
    return { ports, changed: total + steps };
  }

  /** What went wrong, with the port down: an operator must never wonder whether it is half open. */
  function shut(wish: PortWish, error: unknown): GuardError {
    quietly(() => links.setUp(wish.binding.ifindex, false));
    if (error instanceof GuardError) return error;
    throw error;
  }

  function additions(wish: PortWish): readonly NftChange[] {
    const changes: NftChange[] = [];
    for (const chain of portChains(table, wish.port)) {
      const held = nft.portChain(table, chain.chain);
      if (isPortChain(chain, held)) continue;
      if (held !== undefined) changes.push({ op: "delete-port-chain", chain });
      changes.push({ op: "add-port-chain", chain });
    }
    for (const { set: ref, elements } of portElementGroups(table, wish.binding))
      changes.push({ op: "add-elements", set: ref, elements });
    return changes;
  }

  function verifyRules(wish: PortWish): void {
    const missing = portElementGroups(table, wish.binding).filter(({ set: ref, elements }) => {
      const held = nft.lookup(
        ref,
        elements.map(({ key }) => key),
      );
      return !elements.every((element) => held.some((h) => sameElement(element, h)));
    });
    const open = portChains(table, wish.port).filter((chain) => !isPortChain(chain, nft.portChain(table, chain.chain)));
    const faults = [...missing.map(({ set: ref }) => ref.set), ...open.map(({ chain }) => chain)];
    if (faults.length > 0) {
      throw new GuardError(
        "VERIFY_FAILED",
        `port '${wish.port}': the kernel does not hold ${faults.join(", ")} as asked`,
        { fields: { port: wish.port } },
      );
    }
  }

  function attach(wish: PortWish): void {
    const { ifindex } = wish.binding;
    try {
      links.setUp(ifindex, false);
      nft.commit(additions(wish));
      verifyRules(wish);
      connectOne(wish);
    } catch (error) {
      quietly(() => detach(wish.port, ifindex, wish));
      throw error;
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
      const elements: Element[] = held.map(({ key }) => ({ key }));
      if (elements.length > 0) changes.push({ op: "delete-elements", set: ref, elements });
    };
    if (wish !== undefined) {
      for (const { set: ref, elements } of portElementGroups(table, wish.binding))
        forget(
          ref,
          nft.lookup(
            ref,
            elements.map(({ key }) => key),
          ),
        );
    }
    return changes;
  }

  function detach(port: InterfaceName, ifindex: number, wish: PortWish | undefined): void {
    const link = links.byIndex(ifindex);
    if (link !== undefined && link.name === port) {
      links.setUp(ifindex, false);
      if (link.master !== 0) links.setMaster(ifindex, 0);
    }
    const changes = removals(port, wish);
    if (changes.length > 0) nft.commit(changes);
    sweep(ifindex);
  }

  /** Counters and token buckets that rules made for the port. A bucket may lapse by itself while it is being removed: each set on its own. */
  function sweep(ifindex: number): void {
    for (const { family, sets } of skeleton.tables) {
      for (const { name, use } of sets) {
        if (use !== "counted" && use !== "buckets") continue;
        const mine = (nft.elements(set(family, name)) ?? []).filter(({ key }) => hostU32At(key, 0) === ifindex);
        const elements = mine.map(({ key }) => ({ key }));
        if (elements.length > 0)
          quietly(() => nft.commit([{ op: "delete-elements", set: set(family, name), elements }]));
      }
    }
  }

  return { ensureSkeleton, reconcile, attach, detach, table };
}

function portGone(port: string): GuardError {
  return new GuardError("PORT_MISSING", `interface '${port}' does not exist any more`, { fields: { port } });
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

function sameElement(wanted: Element, held: HeldElement): boolean {
  return (
    sameBytes(wanted.key, held.key) &&
    (wanted.data === undefined || (held.data !== undefined && sameBytes(wanted.data, held.data)))
  );
}

/** For the way back after a failure: the first error is the one to tell. */
function quietly(action: () => void): void {
  try {
    action();
  } catch {
    // Nothing depends on it: an unbound port is shut by the birth tables.
  }
}
