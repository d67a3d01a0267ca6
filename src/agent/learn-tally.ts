/** What became of DHCP on ports whose addresses are learned: counted since the start, and addresses that were refused told for as long as they matter. */
import { type Refusal, refusals } from "../addressing/learn4.ts";
import type { IpAddress } from "../model/ip-block.ts";
import type { LearningView } from "../model/operations.ts";
import type { Attachment } from "../model/resources.ts";
import type { Conditions } from "./conditions.ts";

type Total = "questions" | "answers" | "bound" | "ended" | "lost";

export interface LearnTally {
  add(total: Total): void;
  silent(why: string): void;
  refused(why: Refusal): void;
  /** An address that a server of the network gave, and that cannot be had: its own operator must mend it. */
  refusedAddress(at: Pick<Attachment, "port" | "guest">, address: IpAddress, why: Refusal): void;
  /** The port has an address by now, or is gone. */
  settled(port: string): void;
  view(): LearningView;
}

const bump = (map: Map<string, number>, why: string): void => {
  map.set(why, (map.get(why) ?? 0) + 1);
};

export function createLearnTally(conditions: Conditions): LearnTally {
  const totals: Record<Total, number> = { questions: 0, answers: 0, bound: 0, ended: 0, lost: 0 };
  const [silent, refused] = [new Map<string, number>(), new Map<string, number>()];
  const told = new Map<string, string>();

  function tell(): void {
    if (told.size === 0) conditions.clear("ADDRESS_REFUSED");
    else conditions.raise("ADDRESS_REFUSED", [...told.values()].sort().slice(0, 8).join("; "));
  }

  return {
    add: (total) => {
      totals[total] += 1;
    },
    silent: (why) => bump(silent, why),
    refused: (why) => bump(refused, why),
    refusedAddress: ({ port, guest }, address, why) => {
      bump(refused, why);
      told.set(port, `${port} (${guest}): ${address} ${refusals[why]}`);
      tell();
    },
    settled: (port) => {
      if (told.delete(port)) tell();
    },
    view: () => ({ ...totals, silent: Object.fromEntries(silent), refused: Object.fromEntries(refused) }),
  };
}
