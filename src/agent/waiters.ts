/** Those who wait for a mirror to show a revision. */
import type { Revision } from "../store/store.ts";

interface Waiter {
  readonly revision: Revision;
  readonly done: () => void;
  readonly fail: (error: unknown) => void;
}

export interface Waiters {
  /** Resolves when it is shown; rejects when it never will be. */
  for(revision: Revision): Promise<void>;
  /** It may be shown by now. */
  look(): void;
  fail(error: unknown): void;
}

/** @param shown the newest revision that all is shown of; undefined while it is not known */
export function createWaiters(shown: () => Revision | undefined): Waiters {
  let waiting: readonly Waiter[] = [];
  let broken: { readonly error: unknown } | undefined;
  return {
    for: (revision) =>
      new Promise((resolve, reject) => {
        const now = shown();
        if (now !== undefined && revision <= now) resolve();
        else if (broken !== undefined) reject(broken.error);
        else waiting = [...waiting, { revision, done: resolve, fail: reject }];
      }),
    look: () => {
      const now = shown();
      if (now === undefined) return;
      const due = waiting.filter((waiter) => waiter.revision <= now);
      waiting = waiting.filter((waiter) => waiter.revision > now);
      for (const { done } of due) done();
    },
    fail: (error) => {
      broken ??= { error };
      const all = waiting;
      waiting = [];
      for (const { fail } of all) fail(error);
    },
  };
}
