/** A store that forgets: for tests of what stands on a store, held to the same contract as the durable one. */
import type { Clock } from "../model/clock.ts";
import { GuardError } from "../model/errors.ts";
import { committed, createState } from "./state.ts";
import type { LeaseId, Store, Transaction } from "./store.ts";

export function memoryStore(clock: Clock): Store {
  const state = createState(clock, new Map(), 0);
  let closed = false;
  const open = (): void => {
    if (closed) throw new GuardError("STORE_UNAVAILABLE", "the store is closed");
  };

  function run(transaction: Transaction): ReturnType<typeof committed> {
    const verdict = state.stage().judge(transaction);
    if (!verdict.ok) return verdict;
    state.settle(verdict.staged);
    return committed(verdict.staged);
  }
  function expire(leases: readonly LeaseId[]): void {
    for (const lease of leases) {
      const transaction = state.end(lease);
      if (transaction.writes.length > 0) run(transaction);
    }
  }
  const timer = setInterval(() => expire(state.overdue()), 250);
  timer.unref();

  return {
    read: async (prefix) => {
      open();
      expire(state.overdue());
      return state.read(prefix);
    },
    watch: (prefix, after, signal) => {
      open();
      return state.watch(prefix, after, signal);
    },
    commit: async (transaction) => {
      open();
      expire(state.overdue());
      return run(transaction);
    },
    grantLease: async (ttlSeconds) => state.grant(ttlSeconds),
    keepAlive: async (lease) => {
      expire(state.overdue());
      return state.keepAlive(lease);
    },
    revokeLease: async (lease) => expire([lease]),
    close: async () => {
      closed = true;
      clearInterval(timer);
      state.endWatches();
    },
  };
}
