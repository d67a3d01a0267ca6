/**
 * The daemon without its sockets: seams in, operations out. Level-triggered, one change at a time, an audit on kernel events and on a timer.
 * Stopping it leaves every rule where it is.
 */
import { randomFillSync } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Link, LinkEvent } from "../kernel/links.ts";
import { canTranslate } from "../model/capabilities.ts";
import { GuardError, isConflict } from "../model/errors.ts";
import type { ConditionCode } from "../model/health.ts";
import type { DropEvent, Operations } from "../model/operations.ts";
import type { Attachment } from "../model/resources.ts";
import { networkFacts } from "../plan/desired.ts";
import { linkSteps, routingOf } from "../plan/host.ts";
import { policyFacts } from "../plan/policy-classes.ts";
import { type Members, siteMembers } from "../plan/policy-members.ts";
import { type PoolUse, poolUses } from "../plan/pools.ts";
import { familiesOf } from "../ruleset/policy-sets.ts";
import { buildSkeleton } from "../ruleset/skeleton.ts";
import type { StoreHealth } from "../store/health.ts";
import { createAnnouncer } from "./announcer.ts";
import { type Conditions, createConditions } from "./conditions.ts";
import { type AgentParts, type Core, forget } from "./core.ts";
import { startPortDhcp } from "./dhcp.ts";
import { splitFrames } from "./dhcp-split.ts";
import { type PortLookup, startDrops } from "./drops.ts";
import { createEnforcer } from "./enforcer.ts";
import { createFlowSweeper } from "./flows.ts";
import { startHosts } from "./hosts.ts";
import { createLearning } from "./learning.ts";
import { startLoop } from "./loop.ts";
import { type Mirror, startMirror } from "./mirror.ts";
import { followClaims, shutForgotten } from "./moves.ts";
import { startNeighbours } from "./neighbours.ts";
import { createOperations } from "./operations.ts";
import { type Meddling, runPass } from "./pass.ts";
import { createPorts } from "./ports.ts";
import { isOfHost } from "./restores.ts";
import { watchRouting } from "./routing-watch.ts";
import { createSerial } from "./serial.ts";
import { watchCarriers } from "./stand-ins.ts";
import { createWholeSite } from "./whole-site.ts";

export interface Agent {
  readonly operations: Operations;
  /** Resolves when no pass is under way or due. */
  settled(): Promise<void>;
  stop(): Promise<void>;
}

/** Somebody else was faster so often in a row only when something is wrong. */
const WRITE_ATTEMPTS = 8;
/** In milliseconds. Whose the name is, is said before anything is touched, by a store that answers. */
const CLAIM_WITHIN = 1_000;
/** In milliseconds; what is waited for is on its way already. */
const NEWS_WITHIN = 1_000;

/** Learned addresses come by the thousand and change nothing of it. */
function ofDeclared({ declared }: Mirror): () => Members {
  let known: { readonly version: number; readonly members: Members } | undefined;
  return () => {
    const members = known?.version === declared.version ? known.members : siteMembers(declared);
    known = { version: declared.version, members };
    return members;
  };
}

/** Counted again only when the site has changed, or what cools down. */
function poolsOf(mirror: Mirror): () => readonly PoolUse[] {
  let known: { readonly at: string; readonly uses: readonly PoolUse[] } | undefined;
  return () => {
    const at = `${mirror.siteVersion}/${mirror.cooling.version}`;
    const uses = known?.at === at ? known.uses : poolUses(mirror.held());
    known = { at, uses };
    return uses;
  };
}

export async function startAgent(parts: AgentParts): Promise<Agent> {
  const { nft, links, frames, store, siteStore = store, clock, log } = parts;
  const enforcer = createEnforcer(
    nft,
    links,
    parts.routing,
    buildSkeleton(parts.portPrefixes, familiesOf(parts.kernel.policy), canTranslate(parts.kernel)),
  );
  const conditions = createConditions(clock, (code, view) => {
    if (view === undefined) log.info({ condition: code }, "condition over");
    else log[view.severity === "error" ? "error" : "warn"]({ condition: code }, view.text);
  });
  let wake = (): void => undefined;
  const storeWatches = [
    parts.storeHealth?.watch(() => wake()) ?? (() => undefined),
    watchStore(parts.storeHealth, conditions, "STORE_AWAY"),
    watchStore(parts.copyHealth, conditions, "COPY_FAILED"),
    watchStore(parts.restoreHealth, conditions, "RESTORE_LOST"),
  ];
  const meddling: Meddling = { seen: false, auditDue: false, repairedAt: 0, linksMoved: true };
  const hosts = startHosts(parts, conditions);
  const claimed = hosts.claim();
  // A store that does not answer holds up nothing that shuts.
  await Promise.race([claimed, sleep(CLAIM_WITHIN, undefined, { ref: false })]);
  // Listening first: what others do from the first look on is heard.
  const nftWatch = nft.watch(() => {
    meddling.seen = true;
    wake();
  });
  // Closed before anything else is known: the store may be slow, or broken.
  await enforcer.ensureSkeleton();
  const ports = createPorts();
  const serial = createSerial();
  const failed = (error: unknown): void => {
    conditions.raise("STORE_FAILED", error instanceof Error ? error.message : String(error));
  };
  const isOwn = (attachment: Attachment): boolean =>
    isOfHost(attachment, { instance: hosts.instance, epoch: parts.epoch });
  const [mirror] = await Promise.all([startMirror(store, parts.host, failed, { isOwn, scope: parts.scope }), claimed]);
  const site = createWholeSite(parts, siteStore, { isOwn }, parts.scope === "host" ? undefined : mirror);

  const loop = startLoop(
    () => serial(() => runPass(core, meddling)),
    (error, attempt) => {
      meddling.auditDue = true;
      conditions.raise("RULES_REFUSED", error instanceof Error ? error.message : String(error));
      return Math.min(30_000, 250 * 2 ** Math.min(attempt, 7));
    },
  );
  /** Made again only when the site has changed. */
  function ofSite<T>(make: (site: Mirror) => T): () => T {
    let known: { readonly site: number; readonly value: T } | undefined;
    return () => {
      const value = known?.site === mirror.siteVersion ? known.value : make(mirror);
      known = { site: mirror.siteVersion, value };
      return value;
    };
  }
  const facts = ofSite(networkFacts);
  const core: Core = {
    parts,
    mirror,
    siteStore,
    whole: site.mirror,
    enforcer,
    ports,
    conditions,
    serial,
    loop,
    startedAt: clock.now(),
    drops: startDrops({ nft, frames, table: enforcer.table, clock, portOf, sampled: logDrop }),
    dhcp: startPortDhcp({
      // Only a guest's question makes them look, and then the core is whole.
      frames: splitFrames(
        frames,
        (frame) => core.learning.isLearner(frame),
        (batch) => core.learning.hear(batch),
      ),
      store,
      mirror,
      clock,
      conditions,
      probes: parts.probes,
      bridgeOf,
    }),
    get learning() {
      return learning;
    },
    announcer: createAnnouncer(frames),
    hosts,
    flows: createFlowSweeper(parts.conntrack, (error) =>
      log.warn({ error: String(error) }, "flows that are not allowed any more were not forgotten; they stay cut"),
    ),
    neighbours: startNeighbours({
      frames,
      nft,
      table: enforcer.table,
      mirror,
      ports,
      facts,
      failed: (error) => log.warn({ error: String(error) }, "suppression of ARP and ND is off until the next try"),
    }),
    facts,
    members: ofSite(siteMembers),
    pools: poolsOf(mirror),
    declaredMembers: ofDeclared(mirror),
    policy: ofSite(policyFacts),
    write: async (transaction) => {
      const commit = await store.commit(transaction);
      if (!commit.ok)
        throw new GuardError("CONFLICT", `'${commit.conflict}' was changed meanwhile`, {
          fields: { key: commit.conflict },
        });
      await mirror.wrote(transaction.writes, commit.revision);
      await site.wrote(transaction.writes, commit.revision);
    },
    writeAnew: async (make) => {
      for (let attempt = 1; ; attempt += 1) {
        const { revision } = mirror;
        const error = await core.write(make()).catch((refused: unknown) => refused);
        if (error === undefined) return;
        if (!isConflict(error) || attempt === WRITE_ATTEMPTS) throw error;
        await core.news(revision);
      }
    },
    news: (revision) => core.newsOf(mirror, revision),
    newsOf: (of, revision) => Promise.race([of.caughtUp(revision + 1), sleep(NEWS_WITHIN, undefined, { ref: false })]),
    random: (count) => randomFillSync(new Uint8Array(count)),
  };

  const learning = createLearning(core);

  function bridgeOf(ifindex: number): number | undefined {
    return ports.byIndex(ifindex)?.wish?.bridge || undefined;
  }

  function portOf(ifindex: number): ReturnType<PortLookup> {
    const state = ports.byIndex(ifindex);
    if (state === undefined)
      return { port: links.byIndex(ifindex)?.name ?? `#${ifindex}`, guest: undefined, observed: false };
    const { port, guest } = state.attachment;
    return { port, guest, observed: state.wish?.binding.observed === true };
  }

  function logDrop(event: DropEvent): void {
    log.info({ drop: event }, event.observed ? "observed, let by" : "dropped");
  }

  function lookAtLinks(): void {
    meddling.linksMoved = true;
    loop.wake();
  }

  function onLink(event: LinkEvent): void {
    switch (event.kind) {
      case "lost":
        conditions.raise("EVENTS_LOST", "netlink buffer was full");
        lookAtLinks();
        return;
      case "removed":
        if (ports.list().some(({ wish }) => routingOf(wish)?.uplink.ifindex === event.ifindex)) lookAtLinks();
        if (ports.byIndex(event.ifindex) !== undefined) void serial(() => removed(event.ifindex)).catch(lookAtLinks);
        return;
      default:
        if (isDisplaced(event.link.ifindex) || mayHeal(event.link) || isUnjudged(event.link) || isUplink(event.link))
          lookAtLinks();
    }
  }

  /** Looks at the port as it is now: the event may be an echo of our own work, half way through. */
  function isDisplaced(ifindex: number): boolean {
    const state = ports.byIndex(ifindex);
    const isHeld = state?.state === "applied" || state?.wish?.waits === true;
    const link = isHeld ? links.byIndex(ifindex) : undefined;
    if (link === undefined || state?.wish === undefined) return false;
    return linkSteps(state.wish, link, [{ ifindex, mac: state.wish.binding.mac, isSticky: true }]).length > 0;
  }

  function mayHeal(link: Link): boolean {
    const isPlace = link.kind === "bridge" || uplinks().has(link.name);
    return isPlace && ports.list().some(({ state }) => state === "failed");
  }

  const uplinks = (): ReadonlySet<string> =>
    new Set([...mirror.networks.values()].map(({ wiring }) => ("bridge" in wiring ? "" : wiring.uplink)));

  /** An uplink came back as another interface, or has another MAC to answer with. */
  function isUplink({ name, ifindex, mac }: Link): boolean {
    return ports.list().some(({ wish }) => {
      const uplink = routingOf(wish)?.uplink;
      return uplink?.name === name && (uplink.ifindex !== ifindex || uplink.mac !== mac);
    });
  }

  /** A bridge with judged ports is not as it was: its switch, or its own MAC. */
  function isUnjudged(link: Link): boolean {
    return ports.list().some(({ wish }) => wish?.judged?.name === link.name && !enforcer.isJudging(wish.judged));
  }

  async function removed(ifindex: number): Promise<void> {
    const state = ports.byIndex(ifindex);
    if (state !== undefined && links.byIndex(ifindex) === undefined) await forget(core, state.attachment);
  }

  const linkWatch = links.watch(onLink);
  const routingWatch = watchRouting(parts.routing, enforcer.router, lookAtLinks);
  wake = loop.wake;
  mirror.onSiteChange(loop.wake);
  mirror.onClaimChange((changed) => void serial(() => followClaims(core, changed)).catch(loop.wake));
  const audit = setInterval(() => {
    meddling.auditDue = true;
    loop.wake();
  }, parts.auditEvery);
  audit.unref();
  shutForgotten(core);
  const carriers = watchCarriers(core);
  loop.wake();
  await loop.settled();
  hosts.begin(async (revision) => {
    // What was decided while this host was not heard holds before it is heard again.
    await core.news(revision - 1);
    loop.wake();
    await loop.settled();
  });

  return {
    operations: createOperations(core),
    settled: loop.settled,
    stop: async () => {
      clearInterval(audit);
      carriers.stop();
      linkWatch.close();
      routingWatch.close();
      nftWatch.close();
      for (const end of storeWatches) end();
      await loop.stop();
      await serial(() => undefined);
      await core.learning.stop();
      await core.dhcp.stop();
      core.neighbours.stop();
      core.flows.stop();
      core.drops.close();
      await site.stop();
      await hosts.stop();
      await mirror.stop();
    },
  };
}

/** Told for as long as it is so. */
function watchStore(health: StoreHealth | undefined, conditions: Conditions, code: ConditionCode): () => void {
  const tell = (fault: string | undefined): void => {
    if (fault === undefined) conditions.clear(code);
    else conditions.raise(code, fault);
  };
  tell(health?.now());
  return health?.watch(tell) ?? (() => undefined);
}
