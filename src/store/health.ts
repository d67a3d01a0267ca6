/** Whether a store behind a network answers, and who wants to know. */

export interface StoreHealth {
  /** What is wrong; `undefined` when it answers. */
  now(): string | undefined;
  /** @returns ends it */
  watch(changed: (fault: string | undefined) => void): () => void;
}

export function createStoreHealth(): StoreHealth & { tell(fault: string | undefined): void } {
  const watching = new Set<(fault: string | undefined) => void>();
  let fault: string | undefined;
  return {
    now: () => fault,
    watch: (changed) => {
      watching.add(changed);
      return () => watching.delete(changed);
    },
    tell: (now) => {
      fault = now;
      for (const changed of watching) changed(now);
    },
  };
}
