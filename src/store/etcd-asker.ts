/** Calls that may be asked twice: at one member after the other until one answers, and who is told when none does. */
import { setTimeout as sleep } from "node:timers/promises";
import { GuardError } from "../model/errors.ts";
import { RESTORE } from "../model/keys.ts";
import { CallFailed, type EtcdClient, mayPass } from "./etcd-client.ts";
import type { Fields, Message } from "./protobuf.ts";
import type { Key } from "./store.ts";

/** Keys of one vifguard in etcd (docs/fleet.md). */
export interface EtcdLayout {
  readonly data: string;
  /** The mark of the client's last transaction. */
  readonly slot: string;
  /** How values are to be read: the number of the store's format. */
  readonly format: string;
  /** Changes when another past was put into etcd. */
  readonly restored: string;
}

export const layoutOf = (root: string, client: string): EtcdLayout => ({
  data: `${root}/data/`,
  slot: `${root}/slot/${client}`,
  format: `${root}/format`,
  restored: `${root}/data/${RESTORE}`,
});

export interface Asker {
  ask<T>(method: string, message: Message, read: (fields: Fields) => T): Promise<T>;
  /** What is wrong with etcd now; `undefined` when it answers. */
  tell(fault: string | undefined): void;
}

/** Between two tries, in milliseconds. */
export const RETRY_EVERY = 100;

/** @param patience how long one call is tried, in milliseconds */
export function createAsker(client: EtcdClient, patience: number, health: (fault: string | undefined) => void): Asker {
  let fault: string | undefined;
  /** Told when it goes and when it comes; each member says it in other words. */
  function tell(now: string | undefined): void {
    const isNews = (now === undefined) !== (fault === undefined);
    fault = now;
    if (isNews) health(now);
  }
  async function once<T>(method: string, message: Message, read: (fields: Fields) => T): Promise<T> {
    const answer = read(await client.call(method, message));
    tell(undefined);
    return answer;
  }
  return {
    tell,
    ask: async (method, message, read) => {
      for (const until = performance.now() + patience; ; await sleep(RETRY_EVERY)) {
        const turns = client.turns;
        try {
          return await once(method, message, read);
        } catch (cause) {
          if (!(cause instanceof CallFailed) || !mayPass(cause)) throw cause;
          tell(cause.message);
          if (performance.now() >= until) throw cause;
          client.turn(turns);
        }
      }
    },
  };
}

/** What a caller of the store is told. */
export function refused(cause: unknown): unknown {
  if (!(cause instanceof CallFailed)) return cause;
  const isLimit = /too many operations|too large|larger than max/.test(cause.message);
  const limit = isLimit ? "; etcd needs the limits that docs/fleet.md names" : "";
  const full = /space exceeded/.test(cause.message) ? "; docs/fleet.md says how it is mended" : "";
  return new GuardError("STORE_UNAVAILABLE", `etcd: ${cause.message}${limit}${full}`, { cause });
}

const utf8 = new TextDecoder();

/** @throws STORE_CORRUPT */
export function jsonOf(key: Key, value: Uint8Array) {
  try {
    return JSON.parse(utf8.decode(value));
  } catch (cause) {
    throw new GuardError("STORE_CORRUPT", `store entry '${key}' is no JSON`, { fields: { key }, cause });
  }
}
