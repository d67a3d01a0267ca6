/**
 * A store that was restored knows an older past than the ports of a host. Who answers for a NIC is then what the host itself knew last: what it had it claims
 * anew, under a number that nobody had before; what the store says it has, and it had not, it gives back. No port is opened by what a restored store says (I18).
 */
import { keys } from "../model/keys.ts";
import type { HostId } from "../model/names.ts";
import type { Attachment, NicClaim, PortPlace } from "../model/resources.ts";
import type { Key, Revision, Transaction, Write } from "../store/store.ts";
import type { StoredSite } from "../store/stored-site.ts";
import { toJson } from "./json.ts";
import { holdOf, samePlace } from "./nic-claims.ts";

/** As much of a site as says where guests are. */
export type Places = Pick<StoredSite, "guests" | "attachments" | "nicClaims" | "revisions">;

export interface Restored {
  readonly host: HostId;
  /** What this host knew before; undefined when it remembers nothing. */
  readonly before: Places | undefined;
  readonly now: Places;
  /** What was written after this revision was written after the restore. */
  readonly marked: Revision;
  /** Whether a record under the host's name is not another machine's that has the name, too. */
  isOwn(attachment: Attachment): boolean;
  /** Whether the kernel holds the port open. Asked where nothing is remembered. */
  isOpen(attachment: Attachment): boolean;
}

export interface Reclaim {
  /** Each holds only while the store is as it was read. */
  readonly transactions: readonly Transaction[];
  /** Open until now, and another's or nobody's. */
  readonly shut: readonly Attachment[];
  /** Of these those of guests that the store does not know. */
  readonly lost: readonly Attachment[];
}

const nicOf = ({ guest, nic }: Pick<Attachment, "guest" | "nic">): string => `${guest}/${nic}`;

function own({ host, isOwn }: Restored, { attachments }: Places): ReadonlyMap<Key, Attachment> {
  return new Map([...attachments].filter(([key, one]) => key.startsWith(`attachment/${host}/`) && isOwn(one)));
}

const answers = (host: HostId, claim: NicClaim | undefined, attachment: Attachment): boolean =>
  ["ours", "asked"].includes(holdOf(claim, host, attachment));

/** What this host had. */
function had(restored: Restored): ReadonlyMap<Key, Attachment> {
  const { host, before, now, isOpen } = restored;
  const known = before ?? now;
  const isTrue = (attachment: Attachment): boolean => before !== undefined || isOpen(attachment);
  return new Map(
    [...own(restored, known)].filter(
      ([, attachment]) => answers(host, known.nicClaims.get(nicOf(attachment)), attachment) && isTrue(attachment),
    ),
  );
}

type Verdict = "take" | "holds" | "lost" | "unknown";

/** Whose the NIC is now. */
function verdictOf({ host, now, marked }: Restored, key: Key, attachment: Attachment): Verdict {
  const { guest, nic, port, fence } = attachment;
  if (now.guests.get(guest)?.nics[nic] === undefined) return "unknown";
  const claim = now.nicClaims.get(nicOf(attachment));
  const isSettled = (now.revisions.get(keys.claim(guest, nic)) ?? 0) > marked;
  const present = now.attachments.get(key);
  if (isSettled && present !== undefined && nicOf(present) === nicOf(attachment) && answers(host, claim, present))
    return "holds";
  const isOthers = claim?.holder !== undefined && !samePlace(claim.holder, { host, port });
  return isOthers && (isSettled || claim.fence > fence) ? "lost" : "take";
}

function expectations({ now }: Restored, wanted: readonly Key[]): Transaction["expect"] {
  return wanted.map((key) => ({ key, revision: now.revisions.get(key) ?? 0 }));
}

function taking(restored: Restored, key: Key, attachment: Attachment): Transaction {
  const { host, now } = restored;
  const { guest, nic, port } = attachment;
  const fence = Math.max(now.nicClaims.get(nicOf(attachment))?.fence ?? 0, attachment.fence) + 1;
  const claimKey = keys.claim(guest, nic);
  const claim: NicClaim = { fence, holder: { host, port } };
  return {
    expect: expectations(restored, [claimKey, key, keys.guest(guest)]),
    writes: [
      { op: "put", key: claimKey, value: toJson(claim) },
      { op: "put", key, value: toJson({ ...attachment, fence }) },
    ],
  };
}

/** Without this host, where it is named for a port that it has not. */
function without({ fence, holder, next }: NicClaim, isHere: (place: PortPlace) => boolean, least: number): NicClaim {
  return {
    fence: Math.max(fence, least),
    ...(holder === undefined || isHere(holder) ? {} : { holder }),
    ...(next === undefined || isHere(next) ? {} : { next }),
  };
}

function giving(restored: Restored, kept: ReadonlySet<Key>, kinds: ReadonlySet<string>): readonly Transaction[] {
  const { host, before, now, marked, isOwn } = restored;
  const isOld = (key: Key): boolean => (now.revisions.get(key) ?? 0) <= marked;
  const isGone = (place: PortPlace): boolean => {
    const key = keys.attachment(host, place.port);
    const present = now.attachments.get(key);
    if (place.host !== host || kept.has(key)) return false;
    return present === undefined || (isOld(key) && isOwn(present));
  };
  const gone = [...own(restored, now).keys()].filter((key) => !kept.has(key) && isOld(key));
  const claims = [...now.nicClaims].flatMap(([nic, claim]): Transaction[] => {
    const [guest = "", index = ""] = nic.split("/");
    const key = `claim/${guest}/${index}`;
    const named = [claim.holder, claim.next].some((place) => place !== undefined && isGone(place));
    if (!named || kinds.has(nic) || !isOld(key)) return [];
    const value = toJson(without(claim, isGone, before?.nicClaims.get(nic)?.fence ?? 0));
    return [{ expect: expectations(restored, [key]), writes: [{ op: "put", key, value }] }];
  });
  const deletions = gone.map((key): Write => ({ op: "delete", key }));
  return [...claims, ...(deletions.length === 0 ? [] : [{ expect: expectations(restored, gone), writes: deletions }])];
}

export function reclaim(restored: Restored): Reclaim {
  const judged = [...had(restored)].map(([key, attachment]) => ({
    key,
    attachment,
    verdict: verdictOf(restored, key, attachment),
  }));
  const taken = judged.filter(({ verdict }) => verdict === "take");
  const kept = judged.filter(({ verdict }) => verdict === "take" || verdict === "holds");
  const nics = new Set(kept.map(({ attachment }) => nicOf(attachment)));
  return {
    transactions: [
      ...giving(restored, new Set(kept.map(({ key }) => key)), nics),
      ...taken.map(({ key, attachment }) => taking(restored, key, attachment)),
    ],
    shut: judged.flatMap(({ attachment, verdict }) =>
      verdict === "unknown" || verdict === "lost" ? [attachment] : [],
    ),
    lost: judged.flatMap(({ attachment, verdict }) => (verdict === "unknown" ? [attachment] : [])),
  };
}
