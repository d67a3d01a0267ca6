/** One producer, any number of followers, none of which can hold up the others: a slow one loses its oldest entries. */
export interface FanOut<T> {
  publish(item: T): void;
  follow(signal: AbortSignal): AsyncIterable<T>;
  readonly followers: number;
}

interface Queue<T> {
  readonly items: T[];
  wake: () => void;
}

async function* drain<T>(queue: Queue<T>, signal: AbortSignal): AsyncGenerator<T> {
  while (!signal.aborted) {
    const item = queue.items.shift();
    if (item !== undefined) yield item;
    else {
      await new Promise<void>((resolve) => {
        queue.wake = resolve;
      });
    }
  }
}

export function createFanOut<T>(bound: number): FanOut<T> {
  const queues = new Set<Queue<T>>();

  /** Registered at once, so that nothing published between the call and the first reading is missed. */
  function follow(signal: AbortSignal): AsyncIterable<T> {
    const queue: Queue<T> = { items: [], wake: () => undefined };
    queues.add(queue);
    signal.addEventListener("abort", () => {
      queues.delete(queue);
      queue.wake();
    });
    return drain(queue, signal);
  }

  return {
    publish(item) {
      for (const queue of queues) {
        queue.items.push(item);
        if (queue.items.length > bound) queue.items.shift();
        queue.wake();
      }
    },
    follow,
    get followers() {
      return queues.size;
    },
  };
}
