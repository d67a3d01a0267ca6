/** What cools down, as callers ask for it, and its end by hand. */
import { spelledIpv4 } from "../addressing/mac-scheme.ts";
import { GuardError } from "../model/errors.ts";
import { parseMac } from "../model/mac.ts";
import type { CoolingView } from "../model/operations.ts";
import { type CoolingClaim, siteKeys } from "../plan/claims.ts";
import type { Core } from "./core.ts";

const viewOf = ([what, { guest, nic, cooling }]: readonly [string, CoolingClaim]): CoolingView => ({
  what,
  guest,
  nic,
  until: cooling.until,
});

export const coolingViews = ({ mirror: { cooling } }: Pick<Core, "mirror">): readonly CoolingView[] =>
  [...cooling.addresses, ...cooling.macs]
    .map(viewOf)
    .sort((a, b) => a.what.localeCompare(b.what, "en", { numeric: true }));

const keyOf = ({ what }: Pick<CoolingView, "what">): string =>
  what.includes("/") ? siteKeys.address(what) : siteKeys.mac(what);

/** Who has the address next has the MAC that spells it, too. @throws NOT_FOUND */
export async function endCooling(core: Core, what: string): Promise<readonly CoolingView[]> {
  const address = what.slice(what.indexOf("/") + 1);
  let ended: readonly CoolingView[] = [];
  await core.writeAnew(() => {
    const all = coolingViews(core);
    const named = all.find((view) => view.what === what);
    if (named === undefined)
      throw new GuardError("NOT_FOUND", `nothing that cools down is called ${JSON.stringify(what)}`, {
        fields: { what },
      });
    const spells = (view: CoolingView): boolean => {
      const mac = view.guest === named.guest ? parseMac(view.what) : undefined;
      return mac !== undefined && spelledIpv4(mac) === address;
    };
    ended = all.filter((view) => view === named || spells(view));
    const keys = ended.map(keyOf);
    return {
      expect: keys.map((key) => ({ key, revision: core.mirror.revisionOf(key) })),
      writes: keys.map((key) => ({ op: "delete", key }) as const),
    };
  });
  return ended;
}
