/** One pass over everything: what the store says, what the kernel holds, the smallest change between them. */
import type { Link } from "../kernel/links.ts";
import { ipBlockText } from "../model/ip-block.ts";
import type { InterfaceName } from "../model/names.ts";
import type { Attachment, IpBlock } from "../model/resources.ts";
import { type Desired, desiredHost, type HostView } from "../plan/desired.ts";
import { type PortWish, waitingWish } from "../plan/host.ts";
import { type Core, forget, hostView, setPort } from "./core.ts";
import type { Look, PassResult } from "./enforcer.ts";
import { holdIn, isHeldBack, isInDoubt, leaveLost, mayStand, sayWhatBecame, teach, tellWaiting } from "./moves.ts";
import { tellNewer } from "./newer.ts";
import { tellPools } from "./pools.ts";
import { shutState, tellExceptions } from "./ports.ts";
import { balance } from "./stand-ins.ts";

/** What is known of other programs at the rules. */
export interface Meddling {
  /** Heard since the last pass. */
  seen: boolean;
  /** Time for a full look at the constant rules, though nothing was heard: listing them takes a second with 4 000 ports. */
  auditDue: boolean;
  repairedAt: number;
  /** A link that concerns us is not as it was. */
  linksMoved: boolean;
}

/** How long a repair stays in `status`, in milliseconds. */
const REPAIR_SHOWN = 600_000;

export async function runPass(core: Core, meddling: Meddling): Promise<void> {
  const { mirror, enforcer, parts } = core;
  // Taken before the first wait: what others do from here on is for the next pass.
  const { seen } = meddling;
  meddling.seen = false;
  const isSuspect = seen || meddling.auditDue;
  const { loaded } = isSuspect ? await enforcer.ensureSkeleton() : { loaded: false };
  meddling.auditDue = false;
  const gone = leaveLost(core);
  await core.learning.sweep();
  const attachments = new Map([...mirror.attachments].filter(([, own]) => mayStand(core, own)));
  const look: Look = isSuspect || meddling.linksMoved || isAnyShut(core) ? "everything" : "changes";
  meddling.linksMoved = false;
  const desired = desiredOf(core, attachments, look);
  refuse(core, desired);
  announce(core, desired, attachments);
  const opened = openedBy(core, desired);
  const departed = departedBy(core, desired);
  const result = await enforcer.reconcile(desired.wish, look);
  // Behind the routes: what an agent before this one left of a port that is gone must not answer any more when its NIC is free.
  for (const attachment of [...gone, ...desired.stale]) await forget(core, attachment);
  record(core, result, attachments);
  core.flows.opened(opened, desired.wish);
  if (departed.length > 0) core.flows.departed(departed);
  if (result.revoked) core.flows.revoked(desired.wish);
  core.learning.sync();
  core.conditions.clear("RULES_REFUSED");
  tellFailures(core);
  tellWaiting(core);
  tellExceptions(core.ports, core.conditions);
  tellPools(core.pools(), core.conditions);
  tellNewer(core);
  const changed = loaded || result.changed > 0;
  if (changed) parts.log.info({ changed: result.changed, loaded }, "brought the kernel into line");
  tellRepair(core, meddling, seen && changed);
  await sayWhatBecame(core);
  await balance(core);
}

function desiredOf(core: Core, attachments: ReadonlyMap<InterfaceName, Attachment>, look: Look): Desired {
  const site = { networks: core.facts(), policy: core.policy() };
  const desired = desiredHost(core.mirror, attachments.values(), passView(core, look), core.parts.epoch, site);
  const isWaiting = ({ port }: PortWish): boolean => {
    const own = attachments.get(port);
    return own !== undefined && (isHeldBack(holdIn(core, own)) || isInDoubt(core, own));
  };
  const ports = desired.wish.ports.map((wish) => (isWaiting(wish) ? waitingWish(wish) : wish));
  return { ...desired, wish: { ...desired.wish, ports } };
}

/** Addresses of NICs that were judged and will be no more. */
function openedBy({ ports }: Core, { wish }: Desired): readonly IpBlock[] {
  const before = wish.ports.flatMap(({ port, binding }) => {
    const known = ports.get(port)?.wish;
    return known?.binding.policy !== undefined && binding.policy === undefined ? known.binding.sources : [];
  });
  return before.filter(({ shared }) => shared !== true).map(({ what }) => what);
}

/** Addresses that a judged NIC had and has no more: whoever gets them next must not find its flows. */
function departedBy({ ports }: Core, { wish }: Desired): readonly IpBlock[] {
  return wish.ports.flatMap(({ port, binding }) => {
    const known = ports.get(port)?.wish?.binding;
    if (known?.policy === undefined || known.sources === binding.sources) return [];
    const kept = new Set(binding.sources.map(({ what }) => ipBlockText(what)));
    return known.sources
      .filter(({ what, shared }) => shared !== true && !kept.has(ipBlockText(what)))
      .map(({ what }) => what);
  });
}

/** What is not as it should be is tried again each time. */
const isAnyShut = ({ ports }: Core): boolean =>
  ports.list().some(({ state, wish }) => state === "failed" || (state === "pending" && wish?.waits !== true));

/**
 * One reading of all links, or none: of a link that changes we hear, and then everything is looked at. Asked one by one, the links of a thousand ports
 * take longer than all the rest.
 */
function passView(core: Core, look: Look): HostView {
  const { links } = core.parts;
  const host = hostView(core);
  const all = look === "everything" ? links.list() : undefined;
  const byIndex = new Map((all ?? []).map((link) => [link.ifindex, link]));
  const byName = new Map<string, Link | undefined>((all ?? []).map((link) => [link.name, link]));
  return {
    ...host,
    links: {
      byIndex: (ifindex) => {
        if (all !== undefined) return byIndex.get(ifindex);
        const known = core.ports.byIndex(ifindex);
        return known === undefined ? links.byIndex(ifindex) : { name: known.attachment.port };
      },
      byName: (name) => {
        if (!byName.has(name)) byName.set(name, links.byName(name));
        return byName.get(name);
      },
    },
  };
}

/** Ports whose guest, network or bridge is not there: down, and `status` says why. */
function refuse(core: Core, desired: Desired): void {
  for (const { attachment, error } of desired.refused) {
    core.parts.links.setUp(attachment.ifindex, false);
    setPort(core, { attachment, state: "failed", wish: undefined, error });
  }
}

/** Before the rules, so that a guest's first request finds its answer. */
function announce(core: Core, desired: Desired, attachments: ReadonlyMap<InterfaceName, Attachment>): void {
  for (const wish of desired.wish.ports) {
    const attachment = attachments.get(wish.port);
    if (attachment === undefined || core.ports.get(wish.port)?.state === "applied") continue;
    if (wish.waits !== true) teach(core, attachment, wish);
    setPort(core, { attachment, state: "pending", wish });
  }
}

function record(core: Core, result: PassResult, attachments: ReadonlyMap<InterfaceName, Attachment>): void {
  for (const { wish, error } of result.ports) {
    const attachment = attachments.get(wish.port);
    if (attachment === undefined) continue;
    const state = wish.waits !== true ? "applied" : shutState(attachment);
    setPort(core, error === undefined ? { attachment, state, wish } : { attachment, state: "failed", wish, error });
  }
}

function tellFailures({ ports, conditions }: Core): void {
  const failed = ports.list().filter(({ state }) => state === "failed");
  if (failed.length === 0) conditions.clear("PORT_FAILED");
  else
    conditions.raise(
      "PORT_FAILED",
      failed.map(({ attachment, error }) => `${attachment.port}: ${error?.message ?? "unknown"}`).join("; "),
    );
}

/** A second program at the rules must not go unnoticed just because its work was undone. */
function tellRepair({ parts, conditions }: Core, meddling: Meddling, isRepair: boolean): void {
  const now = parts.clock.now();
  if (isRepair) {
    meddling.repairedAt = now;
    conditions.raise("RULES_REPAIRED", new Date(now).toISOString());
  } else if (now - meddling.repairedAt > REPAIR_SHOWN) conditions.clear("RULES_REPAIRED");
}
