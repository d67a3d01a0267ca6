/** An agent whose store was restored starts anew within its process: nothing that it remembers of the store is true any more, and its rules stand meanwhile. */
import type { Operations } from "../model/operations.ts";
import type { Store } from "../store/store.ts";
import type { Agent } from "./agent.ts";

export interface Life {
  readonly agent: Agent;
  readonly store: Store;
  /** Resolves when this life is over though nobody asked for it. */
  readonly restored: Promise<void>;
}

export interface Lives {
  /** Of whichever life there is. */
  readonly operations: Operations;
  /** Until `ended` resolves, and the last life with it. */
  run(ended: Promise<void>): Promise<void>;
}

async function stop({ agent, store }: Life): Promise<void> {
  await agent.stop();
  await store.close();
}

/** @param again told before a new life begins */
export async function startLives(begin: () => Promise<Life>, again: () => void): Promise<Lives> {
  let life = await begin();
  const operations: Operations = new Proxy(life.agent.operations, {
    get: (_, name) => Reflect.get(life.agent.operations, name),
  });
  return {
    operations,
    run: async (ended) => {
      const isOver = ended.then(() => true);
      while (!(await Promise.race([isOver, life.restored.then(() => false)]))) {
        again();
        await stop(life);
        life = await begin();
      }
      await stop(life);
    },
  };
}
