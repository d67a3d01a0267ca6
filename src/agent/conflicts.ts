/**
 * Whether somebody on the LAN has an address that is about to be given (`conflictDetection`; RFC 2131 section 3.1 item 2, RFC 5227): asked on the network's
 * bridge, and waited for so shortly that no client notices. Nothing else waits for it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Probes } from "../kernel/probes.ts";
import { type Ipv4Address, ipv4ToBytes } from "../model/ipv4.ts";
import type { MacAddress } from "../model/mac.ts";

export interface Suspect {
  /** Where the question is put. */
  readonly ifindex: number;
  readonly address: Ipv4Address;
  /** Whose address it is: that it answers itself is no conflict. */
  readonly mac: MacAddress;
  /** For people. */
  readonly guest: string;
}

/** `busy`: too many questions are open; the client asks again. */
export type Verdict = "free" | "taken" | "busy";

export interface Conflicts {
  /** undefined: it was asked a moment ago, and is free. */
  check(suspect: Suspect): Promise<Verdict> | undefined;
  /** Nobody asks for this guest any more: what was found is no news. */
  forget(guest: string): void;
}

export interface ConflictParts {
  readonly probes: Probes;
  readonly now: () => number;
  /** The conflicts that stand, in words. */
  readonly tell: (standing: readonly string[]) => void;
  /** Of one question, in milliseconds: an answer on a LAN takes one, udhcpc asks again after a second and others after three and more. */
  readonly patience?: number;
}

const PATIENCE_MS = 400;
const LOOK_MS = 40;
/** Open questions: each is an entry of the kernel's neighbour table. */
const MOST = 128;
/** From DISCOVER to REQUEST; an answer is not asked for twice. */
const FRESH_MS = 10_000;

export function createConflicts({ probes, now, tell, patience = PATIENCE_MS }: ConflictParts): Conflicts {
  const fresh = new Map<string, number>();
  const open = new Set<string>();
  const standing = new Map<string, { readonly guest: string; readonly says: string }>();
  const tellAll = (): void => tell([...standing.values()].map(({ says }) => says));

  const placeOf = ({ ifindex, address }: Suspect): string => `${ifindex} ${address}`;

  /** Who answers besides the guest itself, waited for no longer than that. */
  async function stranger({ ifindex, address, mac }: Suspect): Promise<MacAddress | undefined> {
    const octets = ipv4ToBytes(address);
    if (!probes.ask(ifindex, octets)) return undefined;
    for (let waited = 0; waited < patience; waited += LOOK_MS) {
      await sleep(LOOK_MS);
      const answered = probes.answer(ifindex, octets);
      if (answered === undefined) continue;
      probes.forget(ifindex, octets);
      return answered === mac ? undefined : answered;
    }
    probes.forget(ifindex, octets);
    return undefined;
  }

  function note(suspect: Suspect, other: MacAddress | undefined): Verdict {
    const place = placeOf(suspect);
    const before = standing.size;
    if (other === undefined) standing.delete(place);
    else {
      const { guest, address } = suspect;
      standing.set(place, { guest, says: `${address} of ${guest} is used by ${other}` });
    }
    if (other !== undefined || before !== standing.size) tellAll();
    if (other === undefined) fresh.set(place, now() + FRESH_MS);
    return other === undefined ? "free" : "taken";
  }

  function forgetOld(): void {
    if (fresh.size < 2 * MOST) return;
    for (const [place, until] of fresh) if (until <= now()) fresh.delete(place);
  }

  async function ask(suspect: Suspect): Promise<Verdict> {
    const place = placeOf(suspect);
    open.add(place);
    try {
      return note(suspect, await stranger(suspect));
    } finally {
      open.delete(place);
    }
  }

  return {
    check: (suspect) => {
      const place = placeOf(suspect);
      if ((fresh.get(place) ?? 0) > now()) return undefined;
      if (open.has(place) || open.size >= MOST) return Promise.resolve("busy");
      forgetOld();
      return ask(suspect);
    },
    forget: (guest) => {
      const before = standing.size;
      for (const [place, found] of standing) if (found.guest === guest) standing.delete(place);
      if (standing.size !== before) tellAll();
    },
  };
}
