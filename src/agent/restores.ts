/** What a host does when its store was restored: makes sure of the ports it has (`plan/reclaim.ts`), and says what the store has lost. */
import { GuardError } from "../model/errors.ts";
import type { HostIdentity } from "../model/hosts.ts";
import { RESTORE } from "../model/keys.ts";
import type { HostId } from "../model/names.ts";
import type { Attachment } from "../model/resources.ts";
import { reclaim } from "../plan/reclaim.ts";
import { markOf } from "../store/restore-mark.ts";
import type { Revision, Snapshot, Store } from "../store/store.ts";
import { loadSite } from "../store/stored-site.ts";
import type { Log } from "./core.ts";

export interface RestoreParts {
  readonly host: HostId;
  /** Whether a record under this host's name is this host's. */
  isOwn(attachment: Attachment): boolean;
  /** Whether the kernel holds the port open. */
  isOpen(attachment: Attachment): boolean;
  /** Takes a port down that is open and has no record any more; the rules go with the first pass. */
  shut(attachment: Attachment): void;
  /** Told of guests that are attached here and that the store does not know. */
  lost(text: string | undefined): void;
  readonly log: Log;
}

/** Without an instance: an agent that was told nothing of other hosts. */
type Own = Pick<HostIdentity, "epoch"> & { readonly instance: string | undefined };

/** Of two machines of one name each goes by its own (I19). */
export const isOfHost = ({ instance, epoch }: Attachment, identity: Own): boolean =>
  instance === undefined || instance === identity.instance || epoch === identity.epoch;

/** Every host of the fleet does so at once, each with its own records: what conflicts is a claim that two have a part in. */
const ATTEMPTS = 20;

/** One transaction after the other; false when somebody was faster. */
async function commitAll(store: Store, transactions: ReturnType<typeof reclaim>["transactions"]): Promise<boolean> {
  for (const transaction of transactions) if (!(await store.commit(transaction)).ok) return false;
  return true;
}

/** @throws STORE_UNAVAILABLE, STORE_CORRUPT */
export async function settleRestore(
  { host, isOwn, isOpen, shut, lost, log }: RestoreParts,
  store: Store,
  before: Snapshot | undefined,
  marked: Revision,
): Promise<void> {
  const known = before === undefined ? undefined : loadSite(before);
  for (let attempt = 1; attempt <= ATTEMPTS; attempt += 1) {
    const now = loadSite(await store.read(""));
    const found = reclaim({ host, before: known, now, marked, isOwn, isOpen });
    if (!(await commitAll(store, found.transactions))) continue;
    for (const attachment of found.shut) if (isOpen(attachment)) shut(attachment);
    log.warn(
      { changed: found.transactions.length, lost: found.lost },
      "the store was restored; made sure of the ports",
    );
    const names = found.lost.map(({ port, guest, nic }) => `${port} (${guest}/${nic})`);
    lost(names.length === 0 ? undefined : names.join(", "));
    return;
  }
  throw new GuardError("STORE_UNAVAILABLE", "the store was restored, and other hosts change it all the time");
}

/** A store of one host: nobody changes it while no agent runs. @throws STORE_UNAVAILABLE, STORE_CORRUPT */
export async function settleOwn(parts: RestoreParts, store: Store): Promise<void> {
  const entry = (await store.read({ key: RESTORE })).entries.get(RESTORE);
  const mark = markOf(entry?.value);
  if (entry === undefined || mark === undefined) return;
  if (mark.phase === "done") {
    await settleRestore(parts, store, undefined, entry.revision);
    return;
  }
  const message = `the import of ${mark.of} into this store is not done: run 'vifguard import state' with that file again`;
  throw new GuardError("STORE_CORRUPT", message);
}
