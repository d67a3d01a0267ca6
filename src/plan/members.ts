/**
 * What other hosts must know of a guest's NICs, as records by network and by group: a host reads and watches those of the networks it has ports of and of the groups
 * that rules of its own NICs name, and never all guests of the site.
 */
import { keys } from "../model/keys.ts";
import type { ObjectName } from "../model/names.ts";
import type { Guest, NicIdentity, NicMember, NicSpec } from "../model/resources.ts";
import type { Key, Revision, Write } from "../store/store.ts";
import { sameJson, toJson } from "./json.ts";
import type { Draft } from "./site-draft.ts";

const some = <T>(list: readonly T[]): readonly T[] | undefined => (list.length === 0 ? undefined : list);

function memberOf(spec: NicSpec, identity: NicIdentity): NicMember {
  const more = {
    address6: spec.address6,
    public4: spec.public4,
    addresses: some(spec.addresses),
    allowedPairs: some(spec.allowedPairs),
    groups: some(spec.groups),
  };
  return { ...identity, ...Object.fromEntries(Object.entries(more).filter(([, value]) => value !== undefined)) };
}

/** The records of a guest. One that names no group of its own is found by its network alone. */
export function memberRecords(guest: Guest | undefined): ReadonlyMap<Key, NicMember> {
  const records = new Map<Key, NicMember>();
  for (const [n, identity] of (guest?.nics ?? []).entries()) {
    const spec = guest?.spec.nics[n];
    if (guest === undefined || spec === undefined) continue;
    const record = memberOf(spec, identity);
    records.set(keys.member(identity.network, guest.name, n), record);
    for (const group of spec.groups) records.set(keys.carrier(group, guest.name, n), record);
  }
  return records;
}

/** Written with the guest itself. Both with the addresses that they learned. */
export function writeMembers(draft: Draft, before: Guest | undefined, after: Guest | undefined): void {
  const records = memberRecords(after);
  for (const key of memberRecords(before).keys()) if (!records.has(key)) draft.delete(key);
  for (const [key, record] of records) draft.put(key, toJson(record));
}

/** What differs when the guest has learned other addresses; demands that nobody has written the guest's records meanwhile. */
export function memberChanges(
  before: Guest,
  after: Guest,
  revisionOf: (key: Key) => Revision,
): {
  readonly expect: readonly { readonly key: Key; readonly revision: Revision }[];
  readonly writes: readonly Write[];
} {
  const old = memberRecords(before);
  const changed = [...memberRecords(after)].filter(([key, record]) => !sameJson(toJson(old.get(key)), toJson(record)));
  return {
    expect: changed.flatMap(([key]) => (key.startsWith("member/") ? [{ key, revision: revisionOf(key) }] : [])),
    writes: changed.map(([key, record]) => ({ op: "put", key, value: toJson(record) })),
  };
}

const BARE = { roles: [], unchecked: [], rates: {} } as const;

/** A guest of which no more is known than its records: as the rules of other hosts' ports see it. */
export function guestOfMembers(name: ObjectName, members: readonly NicMember[]): Guest {
  const nics = members.map(({ network, mac, addresses4, addresses6 }): NicIdentity => {
    const identity = { network, mac, addresses4 };
    return addresses6 === undefined ? identity : { ...identity, addresses6 };
  });
  const specs = members.map(
    ({ network, address6, public4, addresses = [], allowedPairs = [], groups = [] }): NicSpec => {
      const own = { ...BARE, network, addresses, allowedPairs, groups };
      return { ...own, ...(address6 === undefined ? {} : { address6 }), ...(public4 === undefined ? {} : { public4 }) };
    },
  );
  return { name, spec: { nics: specs }, nics };
}

/** Without what it learned. */
export function unlearned(guest: Guest): Guest {
  if (guest.nics.every(({ addresses6 }) => addresses6 === undefined)) return guest;
  const nics = guest.nics.map((nic) =>
    nic.addresses6 === undefined ? nic : { ...nic, addresses4: [], addresses6: [] },
  );
  return { ...guest, nics };
}
