/** What a newer version wrote into the store and this one passes over: told in `status`, and a reason not to plan. */
import { GuardError } from "../model/errors.ts";
import { kindOf } from "../model/keys.ts";
import { someOf } from "../model/some-of.ts";
import type { Core } from "./core.ts";

export function tellNewer({ mirror, conditions }: Pick<Core, "mirror" | "conditions">): void {
  const kinds = new Map<string, number>();
  for (const key of mirror.unread.keys()) {
    const kind = kindOf(key);
    kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  }
  if (kinds.size === 0) conditions.clear("NEWER_RECORDS");
  else conditions.raise("NEWER_RECORDS", someOf([...kinds].map(([kind, count]) => `${count} of kind '${kind}'`)));
}

/** What is planned without knowing all that there is may give an address twice. @throws STORE_NEWER */
export function assertReadable({ mirror }: Pick<Core, "mirror">): void {
  for (const [key, { isMissed, why }] of mirror.unread)
    if (isMissed)
      throw new GuardError("STORE_NEWER", `this version of vifguard cannot read all of the site: ${why}`, {
        fields: { key },
      });
}
