/**
 * Carries plans out, made anew while other hosts are faster, with what they let cool down. Such a claim stands under a lease of the store, so what ends it is
 * the time that passes there: no host's clock, right or wrong, frees an address early, and nobody has to sweep.
 */
import type { Cooling } from "../model/cool-down.ts";
import { GuardError, isConflict } from "../model/errors.ts";
import type { ChangeView } from "../model/operations.ts";
import { toJson } from "../plan/json.ts";
import type { SitePlan } from "../plan/site.ts";
import type { LeaseId, Revision, Store, Write } from "../store/store.ts";
import type { Core } from "./core.ts";

/** What of an agent it takes. */
export interface Planner extends Pick<Core, "write" | "news"> {
  readonly parts: Pick<Core["parts"], "store" | "clock">;
  readonly mirror: Pick<Core["mirror"], "revision" | "revisionOf">;
}

async function grantFor({ cooling }: SitePlan, store: Store): Promise<ReadonlyMap<number, LeaseId>> {
  const leases = new Map<number, LeaseId>();
  for (const { seconds } of cooling) if (!leases.has(seconds)) leases.set(seconds, await store.grantLease(seconds));
  return leases;
}

/** What is not done here costs a lease that ends by itself, or a cool-down that began some moments early. */
async function ofAll(leases: ReadonlyMap<number, LeaseId>, act: (lease: LeaseId) => Promise<unknown>): Promise<void> {
  await Promise.allSettled([...leases.values()].map(act));
}

/** @throws CONFLICT, STORE_UNAVAILABLE */
async function carryOut({ parts: { store, clock }, write }: Planner, plan: SitePlan): Promise<void> {
  const leases = await grantFor(plan, store);
  const now = clock.now();
  const cooled = [...leases].flatMap(([length, lease]) => {
    const cooling: Cooling = { until: new Date(now + length * 1000).toISOString() };
    return plan.cooling
      .filter(({ seconds }) => seconds === length)
      .map(({ key, claim }): Write => ({ op: "put", key, value: toJson({ ...claim, cooling }), lease }));
  });
  try {
    await write({ ...plan.transaction, writes: [...plan.transaction.writes, ...cooled] });
  } catch (error) {
    // Whatever else went wrong, it may have been made.
    if (isConflict(error)) await ofAll(leases, store.revokeLease);
    throw error;
  }
  // Counted from now: an agent that slept between the grant and the transaction has shortened nothing.
  await ofAll(leases, store.keepAlive);
}

/** Hosts of a fleet plan at once, and one of them is first: the others plan again with what that one left. */
const PLANS_MOST = 20;

/** Until what was in the way is known here: news of other things come first while many write, and a plan without it would be as late again. */
async function seen(planner: Planner, plan: SitePlan, cause: unknown, revision: Revision): Promise<void> {
  const key = cause instanceof GuardError ? cause.fields["key"] : undefined;
  const expected = plan.transaction.expect.find((one) => one.key === key);
  for (let before: Revision | undefined, at = revision; before !== at; at = planner.mirror.revision) {
    before = at;
    await planner.news(at);
    if (expected === undefined || planner.mirror.revisionOf(expected.key) !== expected.revision) return;
  }
}

/** @param make told whether another host was faster before; sees the site as it is now, and may throw */
export async function planned(
  planner: Planner,
  make: (isLate: boolean) => SitePlan,
  dryRun = false,
): Promise<readonly ChangeView[]> {
  for (let attempt = 1; ; attempt += 1) {
    const { revision } = planner.mirror;
    const plan = make(attempt > 1);
    if (dryRun || plan.transaction.writes.length === 0) return plan.changes;
    try {
      await carryOut(planner, plan);
      return plan.changes;
    } catch (cause) {
      if (attempt === PLANS_MOST || !isConflict(cause)) throw cause;
      await seen(planner, plan, cause, revision);
    }
  }
}
