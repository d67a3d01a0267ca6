/**
 * Makes the kernel hold a wish: skeleton, elements, port chains, bridge ports. Reads back and never assumes.
 *
 * Invariants: a port goes up only after its rules were read back; a refused transaction leaves the old rules standing;
 * nothing here ever removes the skeleton without putting a closed one in its place in the same transaction.
 */
import type { FdbEntry, Link, Links } from "../kernel/links.ts";
import type { Nft, NftChange, SetRef } from "../kernel/nft.ts";
import { GuardError } from "../model/errors.ts";
import type { InterfaceName } from "../model/names.ts";
import {
  aroundBridges,
  guardChanges,
  type HeldGuard,
  type HostWish,
  judgedBridges,
  linkSteps,
  mayRevoke,
  midstreamChanges,
  type PortWish,
  portChainPrefix,
  routingOf,
} from "../plan/host.ts";
import { changesSince, type Since, type Standing, standingOf, withoutPort, withPort } from "../plan/standing.ts";
import { wishedSets } from "../ruleset/elements.ts";
import type { JudgedBridge } from "../ruleset/policy-elements.ts";
import { type Skeleton, tablePrefix } from "../ruleset/skeleton.ts";
import { createBridgeNetfilter } from "./bridge-netfilter.ts";
import { areHeld } from "./held.ts";
import { createLearned, type Learned } from "./learned.ts";
import { runLinkStep } from "./link-steps.ts";
import { createPortRules } from "./port-rules.ts";
import { quietly } from "./quietly.ts";
import { createRouter, type Router, type Routing } from "./router.ts";
import { listingDigest, sealChain, sealedDigest } from "./seal.ts";
import { traceSweeper } from "./traces.ts";
import { type OldTable, unhook } from "./unhook.ts";

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

export type Look = "everything" | "changes";

export interface Enforcer {
  /**
   * Puts the constant ruleset in place if it is not there whole; existing good tables are left alone.
   * `loaded` says that it had to be written. @throws NFT_REFUSED, KERNEL_UNSUPPORTED
   */
  ensureSkeleton(): Promise<{ readonly loaded: boolean }>;
  /**
   * From whatever the kernel holds to the wish, every port on its own feet. @throws NFT_REFUSED when the rules as a whole are refused.
   * @param look at everything; or, when nothing speaks for a change by others, only at what is wished otherwise than what was last read back
   */
  reconcile(wish: HostWish, look: Look): Promise<PassResult>;
  /** Link down, one transaction, read back, bridge port, link up. On failure the port is down and without rules. @throws GuardError */
  attach(wish: PortWish): void;
  /** Rules in and read back, link down: what a port can have while another host answers for its NIC. @throws GuardError */
  prepare(wish: PortWish): void;
  /** Removes every trace; fine when some or all of it is gone. `binding` tells which elements; the interface may no longer exist. */
  detach(port: InterfaceName, ifindex: number, wish: PortWish | undefined): void;
  /** Whether nothing of the port answers for its NIC any more: read back. */
  isShut(ifindex: number, wish: PortWish | undefined): boolean;
  /** What the rules have learned of whom the guest speaks to. */
  readonly learned: Pick<Learned, "of" | "teach">;
  /** Whether the bridge itself is set as its judged ports need it. */
  isJudging(bridge: JudgedBridge): boolean;
  readonly router: Router;
  /** Names of tables in the kernel that belong to vifguard. */
  readonly table: string;
  /** Where the service policy is judged. */
  readonly families: Skeleton["families"];
  readonly nat: boolean;
}

const families = ["netdev", "bridge", "inet", "arp"] as const;

export function createEnforcer(nft: Nft, links: Links, routing: Routing, skeleton: Skeleton): Enforcer {
  const { table } = skeleton;
  const set = (family: SetRef["family"], name: string): SetRef => ({ family, table, set: name });
  const sweepTraces = traceSweeper(nft, skeleton);
  const netfilter = createBridgeNetfilter(nft, links, skeleton);
  const router = createRouter(nft, links, routing, skeleton);
  const rules = createPortRules(nft, table);

  function ourTables(): readonly OldTable[] {
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

  const removal = (tables: readonly OldTable[]): string =>
    tables.map(({ family, name }) => `delete table ${family} ${name}\n`).join("");

  /** Other versions of our tables, still in force: they stay until the new ones are filled. */
  let superseded: readonly OldTable[] = [];

  const agentSets = wishedSets(skeleton.tables);
  const learned = createLearned(nft, skeleton);

  async function ensureSkeleton(): Promise<{ loaded: boolean }> {
    const present = ourTables();
    superseded = present.filter(({ name }) => name !== table);
    const own = present.filter(({ name }) => name === table);
    if (own.length === families.length && (await isWhole())) return { loaded: false };
    // An older version keeps guarding while the new tables are filled, so these take effect only afterwards (finishUpgrade).
    const hooks = superseded.length > 0 ? "" : skeleton.hooks;
    await nft.load(removal(own) + skeleton.body + hooks);
    // Before the first port's chains lead into them.
    learned.teachAgain();
    for (const { family, name } of superseded) if (family === "netdev") learned.teachAgain(name);
    if (superseded.length === 0) await seal();
    return { loaded: true };
  }

  async function finishUpgrade(): Promise<void> {
    if (superseded.length === 0) return;
    await nft.load(skeleton.hooks + (await unhook(nft, superseded)));
    await nft.load(removal(superseded));
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

  /** Bridge port of a guarded port; read back, so that what `status` says is what the kernel does. */
  function connect(wish: PortWish, link: Link | undefined, fdb: readonly FdbEntry[]): number {
    if (link === undefined || link.name !== wish.port) throw portGone(wish.port);
    router.prepare(wish);
    const steps = linkSteps(wish, link, fdb);
    for (const step of steps) runLinkStep(links, step);
    if (steps.length > 0) verifyLink(wish);
    return steps.length;
  }

  function connectOne(wish: PortWish): number {
    const link = links.byIndex(wish.binding.ifindex);
    return connect(wish, link, link?.master === wish.bridge ? links.fdb(wish.binding.ifindex) : []);
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

  /** What was last read back; undefined when only a look at everything can tell. */
  let standing: Standing | undefined;

  /** What becomes of the memory when it is changed by one port; forgotten first, so that no failure leaves it wrong. */
  function remembering(change: () => void, after: (before: Standing) => Standing | undefined): void {
    const before = standing;
    standing = undefined;
    change();
    standing = before === undefined ? undefined : after(before);
  }

  async function reconcile(wish: HostWish, look: Look): Promise<PassResult> {
    const known = look === "changes" && superseded.length === 0 ? standing : undefined;
    const since = known === undefined ? undefined : changesSince(table, known, wish);
    standing = undefined;
    const isPut = since !== undefined && putChanges(wish, since);
    const result = route(isPut ? connectChanged(wish, since) : await reconcileEverything(wish));
    standing = standingOf(wish);
    return { ...result, revoked: result.revoked || since?.changes.some(mayRevoke) === true };
  }

  const commit = (changes: readonly NftChange[]): void => {
    if (changes.length > 0) nft.commit(changes);
  };

  /** The rules in one transaction; before it and behind it what bridges must know while they hand frames over. */
  function put(wish: HostWish, changes: readonly NftChange[]): void {
    const bridges = judgedBridges(wish);
    const { before, main, after } = aroundBridges(changes);
    commit(before);
    netfilter.on(bridges);
    commit([...main, ...midstreamChanges(main)]);
    netfilter.offElsewhere(bridges);
    commit(after);
  }

  /** What only ports that are up can have. */
  function route(result: PassResult): PassResult {
    const wishes = result.ports.flatMap(({ wish, error }) => (error === undefined ? [wish] : []));
    if (!router.isInUse() && wishes.every((wish) => routingOf(wish) === undefined)) return result;
    const { changed, failed } = router.reconcile(wishes);
    const ports = result.ports.map((outcome): PortOutcome => {
      const refused = failed.get(outcome.wish.binding.ifindex);
      return refused === undefined ? outcome : { wish: outcome.wish, error: shut(outcome.wish, refused) };
    });
    return { ...result, ports, changed: result.changed + changed };
  }

  /** False when it was refused or does not hold: then what was remembered was wrong, and everything is read. */
  function putChanges(wish: HostWish, { changes }: Since): boolean {
    try {
      put(wish, changes);
      return areHeld(nft, changes);
    } catch (error) {
      if (!(error instanceof GuardError)) throw error;
      return false;
    }
  }

  function connectChanged(wish: HostWish, { changes, ports }: Since): PassResult {
    let steps = 0;
    const failed = new Map<PortWish, GuardError>();
    for (const port of ports) {
      try {
        steps += connectOne(port);
      } catch (error) {
        failed.set(port, shut(port, error));
      }
    }
    const outcomes = wish.ports.map((port): PortOutcome => {
      const error = failed.get(port);
      return error === undefined ? { wish: port } : { wish: port, error };
    });
    return { ports: outcomes, changed: changes.length + steps, revoked: false };
  }

  async function reconcileEverything(wish: HostWish): Promise<PassResult> {
    let changes = guardChanges(table, wish, readGuard());
    const total = changes.length;
    const revoked = changes.some(mayRevoke);
    put(wish, changes);
    if (changes.length > 0) {
      changes = guardChanges(table, wish, readGuard());
      if (changes.length > 0)
        throw new GuardError("VERIFY_FAILED", `table '${table}' did not take ${changes.map(changeText).join(", ")}`);
    }
    await finishUpgrade();
    learned.keep();
    const { ports, steps } = connectAll(wish.ports);
    return { ports, changed: total + steps, revoked };
  }

  /** What went wrong, with the port down: an operator must never wonder whether it is half open. */
  function shut(wish: PortWish, error: unknown): GuardError {
    quietly(() => links.setUp(wish.binding.ifindex, false));
    if (error instanceof GuardError) return error;
    throw error;
  }

  function open(wish: PortWish): void {
    const { ifindex } = wish.binding;
    try {
      links.setUp(ifindex, false);
      const changes = rules.additions(wish);
      nft.commit([...changes, ...midstreamChanges(changes)]);
      rules.verify(wish);
      if (wish.judged !== undefined) netfilter.on([wish.judged]);
      connectOne(wish);
      router.connect(wish);
    } catch (error) {
      quietly(() => close(wish.port, ifindex, wish));
      throw error;
    }
  }

  function prepare(wish: PortWish): void {
    const { ifindex } = wish.binding;
    try {
      links.setUp(ifindex, false);
      commit(rules.additions(wish));
      rules.verify(wish);
      connectOne(wish);
    } catch (error) {
      quietly(() => close(wish.port, ifindex, wish));
      throw error;
    }
  }

  function isShut(ifindex: number, wish: PortWish | undefined): boolean {
    const link = links.byIndex(ifindex);
    const isOff = link === undefined || (!link.up && link.master === 0);
    return isOff && (wish === undefined || router.isWithdrawn(wish));
  }

  function disconnect(port: InterfaceName, ifindex: number): void {
    const link = links.byIndex(ifindex);
    if (link?.name !== port) return;
    links.setUp(ifindex, false);
    if (link.master !== 0) links.setMaster(ifindex, 0);
  }

  function close(port: InterfaceName, ifindex: number, wish: PortWish | undefined): void {
    try {
      router.release(ifindex, wish);
    } finally {
      disconnect(port, ifindex);
    }
    const changes = rules.removals(port, wish);
    if (changes.length > 0) nft.commit(changes);
    sweepTraces(ifindex);
  }

  return {
    ensureSkeleton,
    reconcile,
    isJudging: netfilter.isOn,
    attach: (wish) =>
      remembering(
        () => open(wish),
        (before) => withPort(before, wish),
      ),
    prepare: (wish) =>
      remembering(
        () => prepare(wish),
        (before) => withPort(before, wish),
      ),
    isShut,
    learned,
    detach: (port, index, wish) =>
      remembering(
        () => close(port, index, wish),
        (before) => withoutPort(before, port, wish),
      ),
    router,
    table,
    families: skeleton.families,
    nat: skeleton.nat,
  };
}

function changeText(change: NftChange): string {
  if ("chain" in change) return `${change.op} '${change.chain.chain}'`;
  return `${change.op} of set '${change.set.set}' (${change.elements.length})`;
}

function portGone(port: string): GuardError {
  return new GuardError("PORT_MISSING", `interface '${port}' does not exist any more`, { fields: { port } });
}
