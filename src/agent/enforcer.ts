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
  bareElement,
  type ElementGroup,
  guardChanges,
  type HeldGuard,
  type HostWish,
  isPortChain,
  judgedBridges,
  type LinkStep,
  linkSteps,
  mayRevoke,
  midstreamChanges,
  type PortWish,
  portChainPrefix,
  portChains,
  portElementGroups,
  sameMeaning,
  sharedElementGroups,
} from "../plan/host.ts";
import { wishedSets } from "../ruleset/elements.ts";
import type { JudgedBridge } from "../ruleset/policy-elements.ts";
import { type Skeleton, tablePrefix } from "../ruleset/skeleton.ts";
import { createBridgeNetfilter } from "./bridge-netfilter.ts";
import { quietly } from "./quietly.ts";
import { listingDigest, sealChain, sealedDigest } from "./seal.ts";
import { traceSweeper } from "./traces.ts";

/** What became of one port in a pass over all. */
export interface PortOutcome {
  readonly wish: PortWish;
  readonly error?: GuardError;
}

export interface PassResult {
  readonly ports: readonly PortOutcome[];
  /** How many nftables changes and link steps it took; 0 when everything was in place. */
  readonly changed: number;
  /** Whether something that groups allowed may not be allowed any more. */
  readonly revoked: boolean;
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
  /** Whether the bridge itself is set as its judged ports need it. */
  isJudging(bridge: JudgedBridge): boolean;
  /** Names of tables in the kernel that belong to vifguard. */
  readonly table: string;
  /** Where the service policy is judged. */
  readonly families: Skeleton["families"];
}

const families = ["netdev", "bridge", "inet", "arp"] as const;

export function createEnforcer(nft: Nft, links: Links, skeleton: Skeleton): Enforcer {
  const { table } = skeleton;
  const set = (family: SetRef["family"], name: string): SetRef => ({ family, table, set: name });
  const sweepTraces = traceSweeper(nft, skeleton);
  const netfilter = createBridgeNetfilter(nft, links, skeleton);

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

  const agentSets = wishedSets(skeleton.tables);
  const learnedSets = skeleton.tables.flatMap(({ family, sets }) =>
    sets.filter(({ use }) => use === "learned" || use === "notes").map(({ name }) => ({ family, name })),
  );
  /** What the rules had learned when they were last read: whose MAC a guest still speaks to, though nobody asks any more. */
  let learned: ReadonlyMap<string, readonly Element[]> = new Map();

  function readLearned(from: string): ReadonlyMap<string, readonly Element[]> {
    return new Map(
      learnedSets.map(({ family, name }) => {
        const held = nft.elements({ family, table: from, set: name }) ?? [];
        return [name, held.map(bareElement)];
      }),
    );
  }

  /** Into fresh tables, so that neither an upgrade nor another program's flush cuts a guest off from its gateway. */
  function teachAgain(known: ReadonlyMap<string, readonly Element[]>): void {
    for (const { family, name } of learnedSets) {
      const elements = known.get(name) ?? [];
      // An older version may have kept other keys under the name: then it is learned anew.
      if (elements.length > 0) quietly(() => nft.commit([{ op: "add-elements", set: set(family, name), elements }]));
    }
  }

  async function ensureSkeleton(): Promise<{ loaded: boolean }> {
    const present = ourTables();
    superseded = present.filter(({ name }) => name !== table);
    const own = present.filter(({ name }) => name === table);
    if (own.length === families.length && (await isWhole())) return { loaded: false };
    // An older version keeps guarding while the new tables are filled, so these take effect only afterwards (finishUpgrade).
    const hooks = superseded.length > 0 ? "" : skeleton.hooks;
    await nft.load(removal(own) + skeleton.body + hooks);
    // Before the first port's chains lead into them.
    teachAgain(learned);
    for (const { family, name } of superseded) if (family === "netdev") teachAgain(readLearned(name));
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
    const sets = agentSets.map(({ family, set: name }) => {
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
    netfilter.on(judgedBridges(wish));
    let changes = guardChanges(table, wish, readGuard());
    const total = changes.length;
    const revoked = changes.some(mayRevoke);
    if (changes.length > 0) {
      nft.commit([...changes, ...midstreamChanges(changes)]);
      changes = guardChanges(table, wish, readGuard());
      if (changes.length > 0)
        throw new GuardError("VERIFY_FAILED", `table '${table}' did not take ${changes.map(changeText).join(", ")}`);
    }
    await finishUpgrade();
    learned = readLearned(table);
    const { ports, steps } = connectAll(wish.ports);
    netfilter.offElsewhere(judgedBridges(wish));
    return { ports, changed: total + steps, revoked };
  }

  /** What went wrong, with the port down: an operator must never wonder whether it is half open. */
  function shut(wish: PortWish, error: unknown): GuardError {
    quietly(() => links.setUp(wish.binding.ifindex, false));
    if (error instanceof GuardError) return error;
    throw error;
  }

  const groupsFor = (wish: PortWish): readonly ElementGroup[] => [
    ...portElementGroups(table, wish.binding),
    ...sharedElementGroups(table, wish),
  ];

  function additions(wish: PortWish): readonly NftChange[] {
    const changes: NftChange[] = [];
    for (const chain of portChains(table, wish.port)) {
      const held = nft.portChain(table, chain.chain);
      if (isPortChain(chain, held)) continue;
      if (held !== undefined) changes.push({ op: "delete-port-chain", chain });
      changes.push({ op: "add-port-chain", chain });
    }
    for (const { set: ref, elements } of groupsFor(wish)) {
      const stale = heldOf(ref, elements).filter((held) => elements.some((wanted) => isStale(wanted, held)));
      if (stale.length > 0) changes.push({ op: "delete-elements", set: ref, elements: stale.map(bareElement) });
      changes.push({ op: "add-elements", set: ref, elements });
    }
    return changes;
  }

  /** Sets of ranges are looked up whole: they are small, and a kernel lookup wants a point, not a range. */
  function heldOf(ref: SetRef, elements: readonly Element[]): readonly HeldElement[] {
    if (elements.every(({ keyEnd }) => keyEnd === undefined))
      return nft.lookup(
        ref,
        elements.map(({ key }) => key),
      );
    return (nft.elements(ref) ?? []).filter((held) => elements.some((wanted) => sameKey(wanted, held)));
  }

  function verifyRules(wish: PortWish): void {
    const missing = groupsFor(wish).filter(({ set: ref, elements }) => {
      const held = heldOf(ref, elements);
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
      if (wish.judged !== undefined) netfilter.on([wish.judged]);
      const changes = additions(wish);
      nft.commit([...changes, ...midstreamChanges(changes)]);
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
      const elements = held.map(bareElement);
      if (elements.length > 0) changes.push({ op: "delete-elements", set: ref, elements });
    };
    if (wish !== undefined) {
      for (const { set: ref, elements } of portElementGroups(table, wish.binding)) forget(ref, heldOf(ref, elements));
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
    sweepTraces(ifindex);
  }

  return { ensureSkeleton, reconcile, isJudging: netfilter.isOn, attach, detach, table, families: skeleton.families };
}

function changeText(change: NftChange): string {
  if ("chain" in change) return `${change.op} '${change.chain.chain}'`;
  return `${change.op} of set '${change.set.set}' (${change.elements.length})`;
}

function portGone(port: string): GuardError {
  return new GuardError("PORT_MISSING", `interface '${port}' does not exist any more`, { fields: { port } });
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return a.length === b.length && a.every((byte, i) => byte === b[i]);
}

const sameKey = (a: Element, b: Element): boolean =>
  sameBytes(a.key, b.key) &&
  (a.keyEnd === undefined ? b.keyEnd === undefined : b.keyEnd !== undefined && sameBytes(a.keyEnd, b.keyEnd));

const sameElement = (wanted: Element, held: HeldElement): boolean => sameKey(wanted, held) && sameMeaning(wanted, held);
/** Under the wanted key, but meaning something else. */
const isStale = (wanted: Element, held: HeldElement): boolean => sameKey(wanted, held) && !sameMeaning(wanted, held);
