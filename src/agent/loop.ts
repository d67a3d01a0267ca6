/** Level-triggered passes: any number of wakes while one is under way fold into one more. */
export interface Loop {
  wake(): void;
  /** Resolves when no pass is under way or due. */
  settled(): Promise<void>;
  stop(): Promise<void>;
}

/**
 * @param pass must not throw for what it can tell in its own words; whatever it throws goes to `failed`, and it is tried again
 * @param failed told of each failure; answers after how many milliseconds to try again
 */
export function startLoop(pass: () => Promise<void>, failed: (error: unknown, attempt: number) => number): Loop {
  let due = false;
  let stopped = false;
  let attempt = 0;
  let retry: NodeJS.Timeout | undefined;
  let running: Promise<void> | undefined;

  async function run(): Promise<void> {
    while (due && !stopped) {
      due = false;
      try {
        await pass();
        attempt = 0;
      } catch (error) {
        attempt += 1;
        retry = setTimeout(wake, failed(error, attempt));
        retry.unref();
      }
    }
    running = undefined;
  }

  function wake(): void {
    if (stopped) return;
    clearTimeout(retry);
    due = true;
    running ??= run();
  }

  return {
    wake,
    settled: async () => {
      while (running !== undefined) await running;
    },
    stop: async () => {
      stopped = true;
      clearTimeout(retry);
      await running;
    },
  };
}
