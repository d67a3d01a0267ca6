/** What comes from more than one source, handed on in the order it came. */

export interface Feed<T> {
  push(one: T): void;
  /** After what was pushed; with a cause whoever drains is told. */
  end(cause?: unknown): void;
  /** Ends with the signal, too. */
  drain(): AsyncGenerator<T>;
}

export function createFeed<T>(signal: AbortSignal): Feed<T> {
  const waiting: T[] = [];
  let failure: { readonly cause: unknown } | undefined;
  let ended = false;
  let wake = (): void => undefined;
  const stop = (): void => wake();
  const news = (): Promise<void> =>
    new Promise((resolve) => {
      wake = resolve;
    });
  return {
    push: (one) => {
      waiting.push(one);
      wake();
    },
    end: (cause) => {
      ended = true;
      if (cause !== undefined) failure = { cause };
      wake();
    },
    drain: async function* () {
      signal.addEventListener("abort", stop);
      try {
        while (!signal.aborted) {
          const next = waiting.shift();
          if (next !== undefined) yield next;
          else if (failure !== undefined) throw failure.cause;
          else if (ended) return;
          else await news();
        }
      } finally {
        signal.removeEventListener("abort", stop);
      }
    },
  };
}
