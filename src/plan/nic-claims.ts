/**
 * One NIC, one host (invariant I18), as a function of one record: who may answer for a NIC, who waits, and what each of them may write.
 * A holder gives the NIC away itself, when its port is shut; only an operator's override takes it without asking.
 */
import type { HostId } from "../model/names.ts";
import type { Attachment, NicClaim, PortPlace } from "../model/resources.ts";

/**
 * What a port may do. `ours`: answer. `asked`: answer, and let go at once. `waiting`: be prepared, and answer nobody. `prepared`: the same, and nobody was asked.
 * `lost`: nothing; somebody else has the NIC, or nobody.
 */
export type Hold = "ours" | "asked" | "waiting" | "prepared" | "lost";

type Party = Pick<Attachment, "port" | "fence" | "prepared">;

export const samePlace = (a: PortPlace | undefined, b: PortPlace): boolean => a?.host === b.host && a.port === b.port;

export function holdOf(claim: NicClaim | undefined, host: HostId, { port, fence, prepared }: Party): Hold {
  const here = { host, port };
  if (prepared === true) return "prepared";
  if (claim === undefined) return "lost";
  if (samePlace(claim.holder, here) && claim.fence === fence) return claim.next === undefined ? "ours" : "asked";
  return samePlace(claim.next, here) && claim.fence + 1 === fence ? "waiting" : "lost";
}

/** The number under which the next holder opens its port. */
export const nextFence = (claim: NicClaim | undefined): number => (claim?.fence ?? 0) + 1;

/** Of a NIC that nobody holds; or whose holder an operator declares to be off. */
export const taken = (claim: NicClaim | undefined, here: PortPlace): NicClaim => ({
  fence: nextFence(claim),
  holder: here,
  ...(claim?.knows === undefined ? {} : { knows: claim.knows }),
});

/** The holder is to let go. */
export const asked = ({ fence, holder }: NicClaim, here: PortPlace): NicClaim => ({
  fence,
  ...(holder === undefined ? {} : { holder }),
  next: here,
});

/** By a holder that has taken up what came with the NIC. */
export const settled = ({ knows: _, ...claim }: NicClaim): NicClaim => claim;

/** By a holder whose port is shut, or a waiting one that gives up; undefined when the port has no part in the claim. */
export function released(
  claim: NicClaim | undefined,
  host: HostId,
  attachment: Party,
  knows: readonly string[] = [],
): NicClaim | undefined {
  if (claim === undefined) return undefined;
  const { fence, holder, next } = claim;
  switch (holdOf(claim, host, attachment)) {
    case "ours":
    case "asked":
      return {
        ...(next === undefined ? { fence } : { fence: fence + 1, holder: next }),
        ...(knows.length === 0 ? {} : { knows }),
      };
    case "waiting":
      return holder === undefined ? { fence } : { fence, holder };
    default:
      return undefined;
  }
}
