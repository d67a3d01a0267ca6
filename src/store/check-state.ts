/** A state as a whole, before any of it is written: every record readable, and what the records say of each other true. */
import { GuardError } from "../model/errors.ts";
import type { Guest } from "../model/resources.ts";
import type { Json, Key } from "./store.ts";
import { loadSite, type StoredSite } from "./stored-site.ts";

const invalid = (why: string): GuardError => new GuardError("STATE_INVALID", why);

function assertHolds(what: string, claim: { guest: string; nic: number } | undefined, guest: Guest, nic: number): void {
  if (claim?.guest === guest.name && claim.nic === nic) return;
  const whose = claim === undefined ? "nobody's" : `claimed by guest '${claim.guest}' NIC ${claim.nic}`;
  throw invalid(`${what} of guest '${guest.name}' NIC ${nic} is ${whose}`);
}

function assertGuest(site: StoredSite, guest: Guest): void {
  for (const [n, { network, mac, addresses4 }] of guest.nics.entries()) {
    if (!site.networks.has(network))
      throw invalid(`guest '${guest.name}' NIC ${n} is on network '${network}', which is not there`);
    assertHolds(`MAC ${mac}`, site.macClaims.get(mac), guest, n);
    for (const address of addresses4)
      assertHolds(`address ${address}`, site.addressClaims.get(`${network}/${address}`), guest, n);
  }
}

/** A record of a file is not a damaged store. */
function loaded(entries: ReadonlyMap<Key, Json>): StoredSite {
  const held = new Map([...entries].map(([key, value]) => [key, { key, value, revision: 1 }]));
  try {
    return loadSite({ revision: 1, entries: held });
  } catch (cause) {
    throw cause instanceof GuardError && cause.code === "STORE_CORRUPT" ? invalid(cause.message) : cause;
  }
}

/** @throws STATE_INVALID naming the entry */
export function checkState(entries: ReadonlyMap<Key, Json>): void {
  const site = loaded(entries);
  const [unread] = site.unread;
  if (unread !== undefined)
    throw invalid(`entry '${unread}' is of a newer version of vifguard: import it with the version that wrote it`);
  for (const guest of site.guests.values()) assertGuest(site, guest);
}
