/** All of a fleet's site, for whoever asks about more than this host: read at the first question, current for as long as questions come. */
import { type Members, siteMembers } from "../plan/policy-members.ts";
import type { Revision, Store, Write } from "../store/store.ts";
import type { Core } from "./core.ts";
import { type Mirror, type MirrorOptions, startMirror } from "./mirror.ts";

export interface WholeSite {
  /** @throws STORE_UNAVAILABLE */
  mirror(): Promise<Mirror>;
  /** Resolves when it shows what was committed under that revision, where it is held at all. */
  wrote(writes: readonly Write[], revision: Revision): Promise<void>;
  stop(): Promise<void>;
}

/** Nobody asked for so long: it is let go, in milliseconds. */
const IDLE_MS = 60_000;

/** @param own what is held in any case, where that is the whole site */
export function createWholeSite(
  { host }: Core["parts"],
  siteStore: Store,
  options: MirrorOptions,
  own: Mirror | undefined,
): WholeSite {
  let open: Promise<Mirror> | undefined;
  let idle: NodeJS.Timeout | undefined;

  async function close(): Promise<void> {
    clearTimeout(idle);
    const was = open;
    open = undefined;
    await was?.then(
      (mirror) => mirror.stop(),
      () => undefined,
    );
  }

  function used(): Promise<Mirror> {
    clearTimeout(idle);
    idle = setTimeout(() => void close(), IDLE_MS).unref();
    open ??= startMirror(siteStore, host, () => void close(), { ...options, scope: "site" }).catch((cause: unknown) => {
      open = undefined;
      throw cause;
    });
    return open;
  }

  return {
    mirror: async () => own ?? used(),
    wrote: async (writes, revision) => {
      await (await open?.catch(() => undefined))?.wrote(writes, revision);
    },
    stop: close,
  };
}

/** The agent as one that holds the whole site would be. @throws STORE_UNAVAILABLE */
export async function wholeOf(core: Core): Promise<Core> {
  const mirror = await core.whole();
  if (mirror === core.mirror) return core;
  let members: Members | undefined;
  return {
    ...core,
    mirror,
    members: () => {
      members ??= siteMembers(mirror);
      return members;
    },
    news: (revision) => core.newsOf(mirror, revision),
  };
}

export const isAway = ({ parts }: Core): boolean => parts.storeHealth?.now() !== undefined;

/** While the store is away: no more than what concerns this host. */
export const asFarAsKnown = async (core: Core): Promise<Core> => (isAway(core) ? core : wholeOf(core));
