/** What a change means to a mirror, by its keys. */
import { isMember } from "../model/keys.ts";
import type { HostId, InterfaceName } from "../model/names.ts";
import type { NicClaim } from "../model/resources.ts";
import type { Change, Key, Write } from "../store/store.ts";

export const isSite = (key: Key): boolean => /^(?:network|group|guest)\//.test(key) || isMember(key);

/** By these it is known what else a host needs. */
export const isLeading = (key: Key): boolean => /^(?:network|group|guest|attachment)\//.test(key);

/** Ports of this host that a claim names. */
export function concerned(claim: NicClaim | undefined, host: HostId): readonly InterfaceName[] {
  return [claim?.holder, claim?.next].flatMap((place) => (place?.host === host ? [place.port] : []));
}

export const asChange = (write: Write): Change["changes"][number] =>
  write.op === "put" ? { key: write.key, value: write.value } : { key: write.key, deleted: true };
